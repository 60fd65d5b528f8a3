"""Layers, losses, containers and everything else a model is built from.

Page: https://docs.pytorch.org/docs/stable/nn.html
"""

from iskra.nn import attention, functional, grad, init, modules, parallel, parameter, utils
from iskra.nn.modules import *  # noqa: F403
from iskra.nn.parallel import DataParallel
from iskra.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    "Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    "attention", "functional", "grad", "init", "modules", "parallel", "parameter", "utils",
]
__all__ += modules.__all__
