"""The kernels written by hand: products, convolutions, attention, scans, moves, windows.

They are written in the loop IR, each with a shape rule. Their modules load when they are first
named, as in ``kernels.scans.scan(...)``: until then nobody needs them.
"""

import importlib

_KERNELS = (
    "attention", "bags", "bands", "convolutions", "copies", "counts", "gathers", "joins",
    "masks", "points", "poisson", "products", "ranges", "recurrent", "runs", "sampling",
    "scans", "scatters", "searches", "sorts", "windows",
)


def __getattr__(name):
    if name not in _KERNELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"iskra.codegen.kernels.{name}")
