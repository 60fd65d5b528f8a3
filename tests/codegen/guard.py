"""What tests of kernels that run on arrays share: memory under guard, and the interpreter."""

import ctypes
import mmap

import numpy as np

from iskra.codegen import interpret


def guarded(x, at_end):
    """A copy of `x` that ends (or begins) where memory that cannot be accessed begins (ends)."""
    page, protect = mmap.PAGESIZE, ctypes.CDLL(None).mprotect
    inside = -(-x.nbytes // page) * page
    memory = mmap.mmap(-1, inside + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for address in (start, start + page + inside):
        assert protect(ctypes.c_void_p(address), ctypes.c_size_t(page), 0) == 0     # PROT_NONE
    offset = page + (inside - x.nbytes if at_end else 0)
    copy = np.frombuffer(memory, x.dtype, x.size, offset).reshape(x.shape)
    copy[...] = x
    return copy


def interpreted_kernels(monkeypatch, module):
    """Let the kernels that `module` compiles run in the interpreter, which checks every access and
    looks for races; returns the list of them, which grows."""
    kernels = []

    def compiled(build, arguments, kinds):
        function = build(*arguments)
        kernels.append(function)

        def call(*values):
            *values, tasks = values
            slots = [s for v in values for s in (v if isinstance(v, tuple) else (v,))]
            interpret.run(function, slots, tasks, order="shuffled", races=True)
        return call

    monkeypatch.setattr(module, "compiled", compiled)
    return kernels
