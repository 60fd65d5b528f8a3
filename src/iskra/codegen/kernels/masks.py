"""Where NumPy arrays are not zero, and their elements where a mask is true, by machine code.

>>> import numpy as np
>>> places(np.array([[0, 1], [2, 0]]))
array([[0, 1],
       [1, 0]])
>>> elements(np.array([5, 6, 7]), np.array([True, False, True]))
array([5, 7])
"""

import math

import numpy as np

from iskra.codegen.kernels import mask_kernel
from iskra.codegen.kernels.moving import word_of
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.primitives import KINDS, kind_of
from iskra.runtime.memory import empty

PIECE = 1 << 14  # elements of a unit of work
_MOST = 8        # dimensions
_INT64 = np.dtype(np.int64)


def places(array):
    """``numpy.argwhere`` of an array of any real dtype and one to eight dimensions, or None."""
    if array.dtype.name not in KINDS or not array.dtype.isnative or not is_served(array.size):
        return None
    if not 1 <= array.ndim <= _MOST:
        return None
    array = np.ascontiguousarray(array)
    kind = "u8" if array.dtype.kind == "b" else kind_of(array.dtype)
    starts, stops, total, (units, tasks) = _tallied(array, kind)
    found = empty((total, array.ndim), _INT64)
    kernel = compiled(mask_kernel.places, (kind, array.ndim), "aaaatn")
    kernel(array, starts, stops, found, (*array.shape, PIECE, units, tasks), tasks)
    return found


def elements(array, mask):
    """``array[mask]`` for a mask of the array's shape, or None."""
    word = word_of(array.dtype)
    if word is None or word[1] != 1 or array.shape != mask.shape or not is_served(array.size):
        return None
    array, mask = np.ascontiguousarray(array), np.ascontiguousarray(mask)
    starts, stops, total, (units, tasks) = _tallied(mask, "u8")
    found = empty((total,), array.dtype)
    kernel = compiled(mask_kernel.elements, (word[0],), "aaaaatn")
    kernel(array, mask, starts, stops, found, (PIECE, units, tasks), tasks)
    return found


def _tallied(array, kind):
    """Of each piece: the number of its first find and where its last stands; how many in all."""
    units = math.ceil(array.size / PIECE)
    tasks = tasks_for(units, array.size)
    counts, stops = empty((units,), _INT64), empty((units,), _INT64)
    kernel = compiled(mask_kernel.tallies, (kind,), "aaatn")
    kernel(array, counts, stops, (array.size, PIECE, units, tasks), tasks)
    ends = np.cumsum(counts)
    return ends - counts, stops, int(ends[-1]), (units, tasks)
