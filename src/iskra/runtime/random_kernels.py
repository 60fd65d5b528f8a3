"""Random streams in machine code: the same bits as the NumPy code's beside it, many times sooner.

Where the compiler cannot be had, `usable` is False and NumPy serves. Whoever calls the functions
that draw holds the generator's lock. A stream is made in order, by one thread, and in pieces, so
that other threads of Python get their turn; what is done to each number by itself is split.

Imported on first use, through `iskra.runtime`: the compiler is slow to import.
"""

import functools
import types

import numpy as np

from iskra.core.generator import Generator
from iskra.runtime import jit, memory, native, normal_ir, random_ir

_PIECE = 1 << 20  # elements at a time
_F4, _F8 = np.dtype(np.float32), np.dtype(np.float64)


@functools.cache
def _kernels():
    """The kernels as Python functions; None where there is no compiler for this machine."""
    if not native.available():
        return None
    try:
        streams, normals = jit.load(random_ir.text()), jit.load(normal_ir.text())
    except (ImportError, OSError, RuntimeError):
        return None

    def made(code, source, **kinds):
        return {
            name: native.builtin(name, code.address(name), kind, source)
            for name, kind in kinds.items()
        }

    kernels = types.SimpleNamespace(
        **made(
            streams, random_ir.text,
            words="iain", wide_words="iain", shuffle="iain", remainder="iaiffin",
            uniform32="iaifffn", uniform64="iaifffn", bernoulli8="iaiin", bernoulli32="iaiifn",
        ),
        **made(
            normals, normal_ir.text,
            normal32="iaiffn", normal_blocks="ain", normal_pairs="ain", fma64="aiffn",
            **{f"map_{name}": "ain" for name in normal_ir.FUNCTIONS},
        ),
    )
    return kernels if _knows_the_state(kernels) else None


def _knows_the_state(kernels):
    """Whether NumPy keeps the twister's state as the kernels take it: tried over two renewals."""
    ours, numpy = Generator().manual_seed(1), Generator().manual_seed(1)
    drawn = np.empty(1000, np.uint32)
    kernels.words(ours.address(), drawn, drawn.size, 1)
    return np.array_equal(drawn, numpy.draw32(drawn.size)) and ours.random() == numpy.random()


def usable():
    """Whether there is machine code for this machine."""
    return _kernels() is not None


def _filled(kernel, generator, out, *parameters):
    """Let the kernel fill the one-dimensional array `out`, piece by piece."""
    state = generator.address()
    for start in range(0, out.size, _PIECE):
        piece = out[start:start + _PIECE]
        kernel(state, piece, piece.size, *parameters, 1)
    return out


def draw32(generator, count):
    """`count` words of the stream: uint32."""
    return _filled(_kernels().words, generator, memory.empty((count,), np.dtype(np.uint32)))


def draw64(generator, count):
    """`count` numbers of 64 bits: uint64, each from two words, the upper half first."""
    return _filled(_kernels().wide_words, generator, memory.empty((count,), np.dtype(np.uint64)))


def uniform(generator, count, kind, low=0.0, high=1.0):
    """`count` uniform numbers in ``[low, high)`` of the NumPy dtype `kind`, float32 or float64.

    The bounds are rounded to that dtype first. What would be rounded up to `high` becomes `low`.
    """
    low, high = kind.type(low), kind.type(high)
    kernel = _kernels().uniform32 if kind == _F4 else _kernels().uniform64
    out = memory.empty((count,), kind)
    return _filled(kernel, generator, out, float(low), float(high - low), float(high))


def bernoulli(generator, count, threshold):
    """`count` bools: whether the low 53 bits of a draw are less than `threshold`, an int."""
    out = memory.empty((count,), np.dtype(np.bool_))
    return _filled(_kernels().bernoulli8, generator, out, threshold)


def bernoulli_times(generator, count, threshold, value):
    """`bernoulli` as float32: `value`, which a float32 holds, or 0."""
    out = memory.empty((count,), _F4)
    return _filled(_kernels().bernoulli32, generator, out, threshold, float(value))


def integers(generator, count, divisor, low):
    """`count` numbers ``word % divisor + low``, int64; `divisor` from 1 to ``2**31``."""
    out = memory.empty((count,), np.dtype(np.int64))
    return _filled(_kernels().remainder, generator, out, float(divisor), 1.0 / divisor, int(low))


def permutation(generator, size):
    """A random order of ``0 ... size - 1``, int32; `size` from 2 to ``2**31 - 1``."""
    order = np.arange(size, dtype=np.int32)
    _kernels().shuffle(generator.address(), order, size, 1)
    return order


def normal32(generator, out, std, mean):
    """Fill `out`, float32 of a multiple of 16 elements, with normal samples in blocks of 16."""
    _filled(_kernels().normal32, generator, out, float(std), float(mean))


def normal_blocks(units):
    """From uniform to standard normal numbers in blocks of 16, in place; float64, contiguous."""
    _kernels().normal_blocks(units, units.size, _tasks(units))


def normal_pairs(units):
    """From uniform to standard normal numbers pair by pair, in place; float64, contiguous."""
    _kernels().normal_pairs(units, units.size, _tasks(units))


def fma64(values, factor, term):
    """``values * factor + term``, rounded once: a new array; `values` float64, the others numbers.
    """
    out = values.copy()
    _kernels().fma64(out, out.size, float(factor), float(term), _tasks(out))
    return out


def libm(name, values):
    """The C library's function of this name on each element: a new float64 array."""
    out = values.copy()
    getattr(_kernels(), f"map_{name}")(out, out.size, _tasks(out))
    return out


def _tasks(array):
    return -(-array.size // normal_ir.PER_TASK)
