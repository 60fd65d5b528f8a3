"""Services below tensors: random streams, memory, machine code and the threads that run it.

What is about machine code loads when it is first named, so that `import iskra` stays quick.
"""

import importlib

_LAZY = ("jit", "memory", "native", "quick", "random_kernels", "threads")


def __getattr__(name):
    if name in _LAZY:
        return importlib.import_module(f"iskra.runtime.{name}")
    raise AttributeError(f"module 'iskra.runtime' has no attribute '{name}'")
