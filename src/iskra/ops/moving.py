"""Moving elements to and from places that are computed: by kernels where that pays, or by NumPy.

Which of them serves follows from shapes, dtypes and layouts alone.
"""

import functools

import numpy as np

from iskra import graph, runtime
from iskra.codegen import kernels
from iskra.ops.large import is_large

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def is_served(moved, *others):
    """Whether kernels should move elements of `moved`, given these index or other arrays too.

    Of float32 and float64 that is so from one element on: such calls can become quick calls
    (`iskra.dispatch.quick_bodies`). Few elements of other dtypes NumPy moves sooner.
    """
    if moved.__class__ is not np.ndarray or not all(a.__class__ is np.ndarray for a in others):
        return False
    return moved.size >= (1 if moved.dtype in _FLOATS else graph.LARGE)


def put(target, source):
    """``target[...] = source`` for arrays of one shape and dtype that share no element."""
    if not is_large(source, target) or not kernels.copies.put(target, source):
        target[...] = source


def arranged(source):
    """A C-ordered copy of an array of whatever strides."""
    if source.__class__ is not np.ndarray:
        return np.copy(source, order="C")
    made = runtime.memory.empty(source.shape, source.dtype)
    put(made, source)
    return made


def filled(target, value):
    """Write a number of Python's to each place of an array."""
    if is_large(target):
        if kernels.copies.put(target, _seen_everywhere(value, target.shape, target.dtype)):
            return
    target[...] = value


def _seen_everywhere(value, shape, dtype):
    """A view of this shape that shows a number everywhere; its memory stays where it is."""
    return np.broadcast_to(_kept(np.full((), value, dtype).tobytes(), dtype), shape)


@functools.lru_cache(256)
def _kept(bits, dtype):
    return np.frombuffer(bits, dtype).reshape(())


def triangle(array, start, upper):
    """The matrices with zeros in row r up to the column ``start + r``, or from it on if not
    `upper`.
    """
    if is_served(array):
        found = kernels.copies.triangle(array, start, upper)
        if found is not None:
            return found
    kept = np.tri(*array.shape[-2:], start - 1, bool)
    return np.where(kept ^ upper, array, array.dtype.type(0))


def taken(array, index, axis, from_end=False):
    """``np.take(array, index, axis)``; with `from_end` indices below 0 count from the end."""
    found = taken_by_kernels(array, index, axis, from_end)
    return np.take(array, index, axis) if found is None else found


def taken_by_kernels(array, index, axis, from_end=False):
    """The same; None where kernels do not serve, or an index lies outside."""
    if array.ndim and array.size and index.size and (
            is_served(array, index) or index.__class__ is array.__class__ is np.ndarray
            and index.size * array.size >= graph.LARGE * array.shape[axis]):
        return kernels.gathers.take(array, index, axis, from_end)
    return None


def taken_along(array, index, axis):
    """``np.take_along_axis`` for indices from 0 on; None where kernels do not serve."""
    if not index.ndim == array.ndim > 0 or not is_served(array, index):
        return None
    return kernels.gathers.take_along(array, index, axis)


def _run_of_indices(entries):
    """``(first dimension, index arrays)`` of an index whose arrays of ints are neighbours; None
    for others. Of NumPy's entries: arrays and full slices.
    """
    there = [n for n, e in enumerate(entries) if e.__class__ is not slice]
    if not there or there[-1] - there[0] + 1 != len(there):
        return None
    arrays = [entries[n] for n in there]
    return None if any(a.dtype == np.bool_ for a in arrays) else (there[0], arrays)


def shape_at(array, entries):
    """The shape of ``array[entries]`` for such an index; None where kernels do not serve."""
    found = _run_of_indices(entries)
    if found is None or not is_served(array, *found[1]):
        return None
    dim, arrays = found
    try:
        points = np.broadcast_shapes(*[a.shape for a in arrays])
    except ValueError:
        return None
    return (*array.shape[:dim], *points, *array.shape[dim + len(arrays):])


def taken_at(array, entries):
    """``array[entries]`` for index arrays and full slices; None where kernels do not serve."""
    found = _run_of_indices(entries)
    if found is None or not is_served(array, *found[1]):
        return None
    return kernels.points.take(array, found[1], found[0])


def write_at(how, target, entries, values):
    """Whether kernels have let `target` take in `values` at such an index; see `kernels.points`."""
    found = _run_of_indices(entries)
    return found is not None and is_served(target, values, *found[1]) and (
        kernels.points.write(how, target, found[1], values, found[0]))


def reduced_bags(mode, table, indices, bounds, weights):
    """`kernels.bags.reduce_bags`; None where it does not serve."""
    if indices.size * table.shape[1] < graph.LARGE or not is_large(table, indices, bounds):
        return None
    return kernels.bags.reduce_bags(mode, table, indices, bounds, weights)


def joined(arrays, axis):
    """``np.concatenate(arrays, axis)``."""
    if is_large(*arrays) and -arrays[0].ndim <= axis < arrays[0].ndim:
        axis %= arrays[0].ndim
        found = kernels.joins.join(arrays, axis)
        if found is None:
            found = _laid_side_by_side(arrays, axis)
        if found is not None:
            return found
    return np.concatenate(arrays, axis)


def _laid_side_by_side(arrays, axis):
    """The arrays copied one after the other; None where they do not fit together."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    rest = shape[:axis], shape[axis + 1:]
    if any((a.shape[:axis], a.shape[axis + 1:]) != rest or a.dtype != dtype for a in arrays):
        return None
    total = sum(a.shape[axis] for a in arrays)
    made = runtime.memory.empty((*rest[0], total, *rest[1]), dtype)
    start, before = 0, (slice(None),) * axis
    for array in arrays:
        put(made[(*before, slice(start, start + array.shape[axis]))], array)
        start += array.shape[axis]
    return made


def copied(array):
    """A contiguous copy to write into; a large one's memory is recycled."""
    if is_large(array) and array.flags.c_contiguous and (
            2 * array.nbytes >= kernels.joins.STREAM):
        found = kernels.joins.join([array.reshape(-1)], 0)
        if found is not None:
            return found.reshape(array.shape)
    if not is_served(array):
        return arranged(array)
    made = runtime.memory.empty(array.shape, array.dtype)
    if not kernels.copies.put(made, array):
        made[...] = array
    return made


def repeated(value, shape, dtype):
    """An array of this shape that holds a number, already of the dtype, everywhere."""
    made = runtime.memory.empty(shape, dtype)
    if not is_served(made) or not kernels.copies.put(made, _seen_everywhere(value, shape, dtype)):
        made[...] = value
    return made


def write_rows(how, target, index, values, axis, from_end=False):
    """Whether kernels have let `target` take in the entries of `values` at a vector of indices.

    See `iskra.codegen.kernels.scatters.scatter_rows`.
    """
    return target.ndim == values.ndim > 0 and is_served(values, target, index) and (
        kernels.scatters.scatter_rows(
            how, target, index.reshape(-1), values, axis, from_end))


def summed_rows(values, index, size, dropped=-1):
    """`size` rows of zeros, with those of `values` added at the index; the row `dropped` stays.

    None where kernels do not serve; see `iskra.codegen.kernels.scatters.sum_rows`. Of large sums
    the system makes the zeros page by page, as they are touched: they are left to the caller, and
    (`dispatch.quick_bodies`) no quick calls.
    """
    if values.size < graph.LARGE or not is_large(values, index):
        return None
    if size * values.shape[1] >= graph.VAST:
        return None
    return kernels.scatters.sum_rows(values, index, size, dropped)


def write_along(how, target, index, values, axis):
    """The same at an index for each of `values`; see `kernels.scatters.scatter_along`."""
    return index.ndim == target.ndim > 0 and is_served(values, target, index) and (
        kernels.scatters.scatter_along(how, target, index, values, axis))


def masked(array, mask):
    """``array[mask]`` for a mask of the array's shape."""
    found = kernels.masks.elements(array, mask) if is_large(array, mask) else None
    return array[mask] if found is None else found


def nonzero_places(array):
    """``numpy.argwhere(array)``, contiguous."""
    if not array.ndim:
        return np.empty((int(bool(array)), 0), np.int64)
    found = kernels.masks.places(array) if is_large(array) else None
    return np.ascontiguousarray(np.argwhere(array)) if found is None else found
