"""The kernel compiler: expressions, loop IR, LLVM's language; and the kernels written by hand.

Modules of kernels load when they are first named, as in ``codegen.scans.scan(...)``: until then
nobody needs them.
"""

import importlib

_KERNELS = (
    "attention", "bags", "bands", "convolutions", "gathers", "joins", "products",
    "recurrent", "sampling", "scans", "scatters", "windows",
)


def __getattr__(name):
    if name not in _KERNELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"iskra.codegen.{name}")
