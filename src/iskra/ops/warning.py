"""Warnings from operators' bodies."""

import sys
import warnings
from pathlib import Path

from iskra.core.local import local

_PACKAGE = str(Path(__file__).parents[1])


def warn(message):
    """Warn of the line outside this package that led here, in each call anew.

    So a body that warns is not traced.
    """
    if local.tracing:
        raise RuntimeError("a call that warns is left to its body")
    frame, level = sys._getframe(), 0
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level + 1)
