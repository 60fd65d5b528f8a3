"""Graphs of expressions: tracing operators' bodies, fusing them into kernels, running those.

What stands here is light; the compiler itself is loaded with the first large operand.
"""

import importlib
import os

# Elements of the largest operand from which on machine code serves a call. A call of a kernel costs
# what some calls of NumPy cost, so it depends on how many of those a body makes: one for add, five
# for softmax, of which 64 elements would do; but below some hundreds the compiler would be loaded
# for little. `tools/thresholds.py` measures both tiers around these sizes.
LARGE = 4096
_LARGE = {"pointwise": 1024, "reduction": 1, "fused": 1}


def threshold(kind, ufunc):
    """From how many elements on kernels serve an operator of this kind.

    `ufunc`: whether its body is a single one of NumPy's functions.
    """
    return LARGE if ufunc else _LARGE.get(kind, LARGE)


_PLACES = {"run": "tier", "run_plain": "tier", "known": "tier", "sweep_arrays": "sweep",
           "write_plain": "writing"}
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
