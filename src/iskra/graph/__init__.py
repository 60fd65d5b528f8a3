"""Graphs of expressions: tracing operators' bodies, fusing them into kernels, running those.

What stands here is light; the compiler itself is loaded with the first large operand.
"""

import importlib
import os

from iskra.codegen.exactness import EXACT, ROUNDED

# Elements of the largest operand from which on machine code serves what NumPy does by one call, and
# what merely moves elements. A kernel's first call costs what some calls of NumPy cost; where both
# give the same bits, repeated calls of smaller operands come to kernels all the same
# (`iskra.dispatch.quick`). `tools/thresholds.py` measures both tiers around such sizes.
LARGE = 4096
VAST = 1 << 22  # from so many on results are left out of quick calls, and zeros to the system
NEVER = 1 << 62


def threshold(kind, ufunc):
    """From how many elements on kernels serve an operator of this kind.

    `ufunc`: the one of NumPy's functions that is its body, or None.
    """
    if kind == "general" or ufunc is not None and ufunc.__name__ in EXACT | ROUNDED:
        return LARGE
    return 1


_PLACES = {"run": "tier", "run_plain": "tier", "known": "tier", "given_numbers": "tier",
           "sweep_arrays": "sweep", "write_plain": "writing"}
# Told what the kernel tier does with each call that reaches it; see `iskra.graph.replay`.
observers = []
UNSERVED = object()  # the kernel tier's sign that the reference tier must do the work


def __getattr__(name):
    """Load the compiler when its first function is called for."""
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "ISKRA_REPLAY" in os.environ and not any(f in globals() for f in _PLACES):
        importlib.import_module("iskra.graph.replay").begin(os.environ["ISKRA_REPLAY"])
    found = globals()[name] = getattr(importlib.import_module(f"iskra.graph.{module}"), name)
    return found
