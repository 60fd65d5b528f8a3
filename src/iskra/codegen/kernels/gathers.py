"""Reading NumPy arrays at index arrays in machine code.

Both functions return None where they do not serve, and where an index lies outside: then NumPy
does it, and says what is wrong.

>>> import numpy as np
>>> take(np.arange(8192).reshape(4096, 2), np.array([4095, 0]), 0)
array([[8190, 8191],
       [   0,    1]])
"""

import math

import numpy as np

from iskra.codegen.kernels import gather_kernel
from iskra.codegen.kernels.moving import as_vector, flags_for, index_kind, word_of
from iskra.codegen.kernels.sharing import compiled, folded, is_served, tasks_for
from iskra.runtime.memory import empty

_AHEAD = 4096  # bytes of rows that are asked for ahead of time


def take(array, index, axis, from_end=False):
    """Return ``numpy.take(array, index, axis)``, or None.

    array: any dtype of whole words, any strides; index: int32 or int64, of any shape. With
    `from_end` indices below 0 count from the end. The axis is not negative.
    """
    shape = (*array.shape[:axis], *index.shape, *array.shape[axis + 1:])
    found = _prepare(array, index, math.prod(shape))
    if found is None:
        return None
    array, index, (word, words), kind = found
    outer, size, inner = folded(array.shape, axis)
    made = empty(shape, array.dtype)
    if inner * words == 1:
        return _elements(array, index, made, (outer, size, index.size), word, kind, from_end, True)
    units = outer * index.size
    tasks = tasks_for(units, made.size * words)
    ahead = max(2, min(32, _AHEAD // (inner * array.itemsize)))
    call = compiled(gather_kernel.rows, (word, kind, from_end), "aaaatn")
    return _checked(call, array, index, made,
                    (size, index.size, inner * words, ahead, units, tasks), tasks)


def take_along(array, index, axis):
    """Return ``numpy.take_along_axis(array, index, axis)`` for indices from 0 on, or None.

    But for the axis, array and index have one shape; of each neither is broadcast.
    """
    if index.shape[:axis] != array.shape[:axis] or index.shape[axis + 1:] != array.shape[axis + 1:]:
        return None
    vector = as_vector(index, axis) if index.size else None
    if vector is not None:
        return take(array, vector, axis)
    found = _prepare(array, index, index.size)
    if found is None or found[2][1] != 1:
        return None
    array, index, (word, _), kind = found
    outer, size, inner = folded(array.shape, axis)
    count = index.shape[axis]
    made = empty(index.shape, array.dtype)
    if inner == 1:
        return _elements(array, index, made, (outer, size, count), word, kind, False, False)
    units = outer * count
    tasks = tasks_for(units, made.size)
    call = compiled(gather_kernel.columns, (word, kind, False), "aaaatn")
    return _checked(call, array, index, made, (size, count, inner, units, tasks), tasks)


def _prepare(array, index, elements):
    """The operands as kernels take them: ``(array, index, words, kind of index)``, or None."""
    word, kind = word_of(array.dtype), index_kind(index)
    if word is None or kind is None or not is_served(elements) or not is_served(array.size):
        return None
    if array.size * word[1] >= 2**31:
        return None
    return np.ascontiguousarray(array), np.ascontiguousarray(index), word, kind


def _elements(array, index, made, sizes, word, kind, from_end, shared):
    outer, size, count = sizes
    segments = math.ceil(count / gather_kernel.SEGMENT)
    units = outer * segments
    tasks = tasks_for(units, made.size)
    call = compiled(gather_kernel.elements, (word, kind, from_end, shared), "aaaatn")
    return _checked(call, array, index, made, (size, count, segments, units, tasks), tasks)


def _checked(call, array, index, made, numbers, tasks):
    """Run a kernel; the result, or None if an index lies outside."""
    flags = flags_for(tasks)
    call(array, index, made, flags, numbers, tasks)
    return None if flags.any() else made
