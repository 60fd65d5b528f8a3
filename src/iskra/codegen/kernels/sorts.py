"""Sorting the rows of NumPy arrays, and what follows from their order, in machine code.

>>> import numpy as np
>>> values, places = sort(np.array([3, 1, 2]), 0)
>>> values, places
(array([1, 2, 3]), array([1, 2, 0]))
"""

import functools
import math

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.kernels import copies, long_sort_kernel, sort_kernel
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.kernels.sort_kernel import BUCKETS, Spec
from iskra.codegen.primitives import KINDS, kind_of
from iskra.runtime.memory import empty

SHORT = 128  # elements up to which rows are ordered by counting
CHUNK = 1 << 16  # elements of a chunk of a long row
_LONG = 4        # chunks from which a row is cut
_FEW = 16        # rows that are too few to keep all threads busy
_INT64 = np.dtype(np.int64)
_WORD = np.dtype(np.float64)  # of memory that a quick call may make


def sort(array, axis, descending=False, kept=None):
    """Return the elements in order along `axis`, and their places (int64); None: not served.

    Equal ones keep their order; NaN counts as larger than every number. array: any real dtype, any
    strides, at least one dimension. kept: how many of the first along the axis, if not all.
    """
    if not is_sorted(array):
        return None
    length = array.shape[axis]
    kept = length if kept is None else kept
    if 0 < kept * 8 <= length:
        capacity = math.ceil((4 * kept + LANES) / LANES) * LANES
        return _run(sort_kernel.selected, descending, array, axis, kept, capacity)
    return _run(sort_kernel.ordered, descending, array, axis, kept)


def mode(array, axis):
    """The most frequent elements along `axis` (of several the smallest) and their last places.

    The axis is left with size 1. As `sort`.
    """
    return _run(sort_kernel.modes, False, array, axis, 1) if is_sorted(array) else None


def ranked(array, axis, rank):
    """The elements of a rank, counted from 0, along `axis` and their places. As `mode`."""
    if not is_sorted(array):
        return None
    return _run(sort_kernel.ranked, False, array, axis, 1, rank=rank)


def median(array, axis, skip_nan):
    """The lower medians along `axis` and their places; with `skip_nan` of the numbers alone."""
    if not is_sorted(array):
        return None
    return _run(sort_kernel.medians, False, array, axis, 1, settings=(skip_nan,))


@functools.cache
def _kind(dtype):
    """The kind of a dtype that is sorted here; None of others."""
    return kind_of(dtype) if dtype.name in KINDS and dtype.isnative else None


def is_sorted(array):
    """Whether kernels sort such an array."""
    return _kind(array.dtype) is not None and is_served(array.size)


def _run(build, descending, array, axis, kept, room=None, settings=(), rank=0):
    """Call a kernel on rows that lie along `axis`, with room for so many records of each."""
    last = array.ndim - 1
    moved = _contiguous(array if axis == last else np.moveaxis(array, axis, -1))
    length = moved.shape[-1]
    shape = (*moved.shape[:-1], kept)
    values = empty(shape, array.dtype)
    # As what is only moved on may be of a quick call, whose memory is made of floats.
    places = empty(shape, _INT64 if axis == last else _WORD)
    room = room or length
    # Looking for it does not pay where few elements are brought into order.
    is_worth_it = room > SHORT and build is not sort_kernel.selected
    least = _least(moved) if is_worth_it else None
    spec = Spec(_kind(array.dtype), descending, least is not None)
    rows = moved.size // length
    if build is sort_kernel.ordered and rows < _FEW and length >= _LONG * CHUNK:
        for row in zip(moved.reshape(rows, -1), values.reshape(rows, -1), places.reshape(rows, -1)):
            if spec.size == 1 and kept == length:
                _sort_bytes(spec, *row)
            else:
                _sort_long(spec, *row, least)
    else:
        variant = spec, room <= SHORT, *settings
        _sort_rows(build, variant, moved, values, places, room, rank, least)
    if axis == last:
        return values, places
    values, places = (np.moveaxis(a, -1, axis) for a in (values, places))
    return _contiguous(values), _contiguous(places, _INT64)


def _sort_rows(build, variant, moved, values, places, room, rank, least):
    """A task for some rows."""
    length, kept = moved.shape[-1], values.shape[-1]
    rows = moved.size // length
    tasks = tasks_for(rows, moved.size)
    capacity = math.ceil(room / LANES) * LANES
    words = capacity * (3 if variant[0].is_wide else 2)
    kernel = compiled(build, variant, "aaaaatn")
    kernel(moved, values, places, empty((tasks * words,), _WORD), least,
           (length, kept, capacity, words, rank, rows, tasks), tasks)


def _sort_long(spec, row, values, places, least):
    """A launch of tasks for each step, by chunks of the row."""
    length, chunks = len(row), math.ceil(len(row) / CHUNK)
    tasks = tasks_for(chunks, length)
    memory = empty((length * (3 if spec.is_wide else 2),), _WORD)
    counts, varying = np.empty((chunks, BUCKETS), np.uint32), np.empty(chunks, np.uint64)
    numbers = [length, len(values), 0, 0, CHUNK, chunks, tasks]
    compiled(long_sort_kernel.fill, (spec,), "aaaatn")(
        row, varying, memory, least, (*numbers,), tasks)
    differing = int(np.bitwise_or.reduce(varying)) >> (0 if spec.is_wide else 32)
    for number in range(spec.size):
        if differing >> 8 * number & (BUCKETS - 1):
            numbers[3] = number
            kernel = compiled(long_sort_kernel.count, (spec,), "aaatn")
            kernel(counts, memory, least, (*numbers,), tasks)
            counts = _starts(counts)
            kernel = compiled(long_sort_kernel.move, (spec,), "aaatn")
            kernel(counts, memory, least, (*numbers,), tasks)
            numbers[2] = length - numbers[2]
    kernel = compiled(long_sort_kernel.write, (spec,), "aaaaatn")
    kernel(row, values, places, memory, least, (*numbers,), tasks)


def _sort_bytes(spec, row, values, places):
    """The same of keys of one digit, which need no records."""
    length, chunks = len(row), math.ceil(len(row) / CHUNK)
    tasks = tasks_for(chunks, length)
    counts = np.empty((chunks, BUCKETS), np.uint32)
    numbers = length, length, 0, 0, CHUNK, chunks, tasks
    kernel = compiled(long_sort_kernel.count_bytes, (spec,), "aaaatn")
    kernel(row, counts, None, None, numbers, tasks)
    kernel = compiled(long_sort_kernel.move_bytes, (spec,), "aaaaaatn")
    kernel(row, _starts(counts), values, places, None, None, numbers, tasks)


def _starts(counts):
    """Where the first of each chunk's records of each digit goes: behind those before it."""
    sizes = counts.T.reshape(-1)
    starts = np.cumsum(sizes) - sizes
    return np.ascontiguousarray(starts.reshape(BUCKETS, -1).T, np.uint32)


def _contiguous(array, dtype=None):
    """The array, or a contiguous copy; its elements' bits taken for such of `dtype`."""
    dtype = dtype or array.dtype
    if array.flags.c_contiguous:
        return array.view(dtype)
    made = empty(array.shape, dtype)
    return made if copies.put(made, array) else np.ascontiguousarray(array).view(dtype)


def _least(array):
    """A vector of the least element, if 4 bytes tell integers of 8 apart; else None."""
    if array.dtype.itemsize < 8 or array.dtype.kind not in "iu":
        return None
    least = int(array.min())
    if int(array.max()) - least >= 1 << 32:
        return None
    return np.array([least], array.dtype)
