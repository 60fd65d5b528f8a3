"""Joining NumPy arrays along an axis in machine code: parallel copies.

>>> import numpy as np
>>> join([np.zeros((2, 4096)), np.ones((2, 8))], 1)[:, 4094:4098]
array([[0., 0., 1., 1.],
       [0., 0., 1., 1.]])
"""

import functools
import math

import numpy as np

from iskra.codegen.ir import INT, Function
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import VECTOR, copy, word_of
from iskra.codegen.kernels.sharing import compiled, folded, is_served, my_units, tasks_for
from iskra.runtime import memory
from iskra.runtime.hardware import past_caches

PIECE = 1 << 14  # words that a unit of work copies
_NARROW = 32  # bytes: shorter rows NumPy copies as quickly
STREAM = past_caches()  # bytes that are read and written


def join(arrays, axis):
    """Return ``numpy.concatenate(arrays, axis)``, or None where that is left to NumPy.

    Serves contiguous arrays of one dtype and, but for the axis, of one shape. The axis is not
    negative.
    """
    first = arrays[0]
    rest = first.shape[:axis], first.shape[axis + 1:]
    if any((a.shape[:axis], a.shape[axis + 1:]) != rest for a in arrays):
        return None
    words = word_of(first.dtype)
    total = sum(a.shape[axis] for a in arrays)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1:])
    if words is None or not is_served(math.prod(shape) * words[1]):
        return None
    if not all(a.flags.c_contiguous and a.dtype == first.dtype for a in arrays):
        return None
    kind, count = words
    outer, _, inner = folded(shape, axis)
    inner *= count
    widths = tuple([a.shape[axis] * inner for a in arrays])
    narrowest = min(w for w in widths if w) * first.itemsize // count
    if outer > 1 and narrowest < _NARROW:
        return None
    listing, units = _listing(widths, outer)
    moved = 2 * math.prod(shape) * first.itemsize
    streams = moved >= STREAM and memory.start() and not any(
        w * first.itemsize // count % VECTOR for w in widths)
    made = memory.empty(shape, first.dtype)  # on whole vectors where the allocator has started
    tasks = tasks_for(units, made.size * count)
    call = compiled(kernel, (kind, streams), "laatn")
    call(list(arrays), made, listing, (total * inner, units, tasks), tasks)
    return made


@functools.lru_cache(256)
def _listing(widths, outer):
    """``(array, number)`` of units: which array, from and to which word, how many rows, how wide.

    An array is `outer` rows of its width; a unit is some whole rows, or a piece of one.
    """
    units, total, column = [], sum(widths), 0
    for place, width in enumerate(widths):
        step = max(1, PIECE // max(width, 1))
        for row in range(0, outer, step):
            for low in range(0, width, PIECE):
                units.append((place, row * width + low, row * total + column + low,
                              min(step, outer - row), min(PIECE, width - low)))
        column += width
    return np.array(units, np.int64).reshape(-1, 5), len(units)


def kernel(kind, streams):
    """Copies the rows of each unit; those of the result are `total` words apart."""
    f = Function(f"join_{kind}{'_past_caches' if streams else ''}")
    arg = Arguments(f, ("arrays", "result", "listing"), ("total", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        place, start, target, rows, width = (
            f.load(arg.listing, unit * 5 + n, INT) for n in range(5))
        source = f.table(arg.arrays, place)
        with f.loop(0, rows) as row:
            copy(f, source, start + row * width, arg.result, target + row * arg.total, width, kind,
                 streams)
    return f
