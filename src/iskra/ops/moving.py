"""Moving elements to and from places that are computed: by kernels where that pays, or by NumPy.

Which of them serves follows from shapes, dtypes and layouts alone.
"""

import numpy as np

from iskra import graph, runtime
from iskra.codegen import kernels
from iskra.ops.large import is_large


def taken(array, index, axis, from_end=False):
    """``np.take(array, index, axis)``; with `from_end` indices below 0 count from the end."""
    found = taken_by_kernels(array, index, axis, from_end)
    return np.take(array, index, axis) if found is None else found


def taken_by_kernels(array, index, axis, from_end=False):
    """The same; None where kernels do not serve, or an index lies outside."""
    if array.__class__ is index.__class__ is np.ndarray and array.ndim and (
            index.size * array.size >= graph.LARGE * array.shape[axis] > 0):
        return kernels.gathers.take(array, index, axis, from_end)
    return None


def taken_along(array, index, axis):
    """``np.take_along_axis`` for indices from 0 on; None where kernels do not serve."""
    if index.ndim != array.ndim or not is_large(index) or array.__class__ is not np.ndarray:
        return None
    return kernels.gathers.take_along(array, index, axis)


def reduced_bags(mode, table, indices, bounds, weights):
    """`kernels.bags.reduce_bags`; None where it does not serve."""
    if indices.size * table.shape[1] < graph.LARGE or not is_large(table, indices, bounds):
        return None
    return kernels.bags.reduce_bags(mode, table, indices, bounds, weights)


def joined(arrays, axis):
    """``np.concatenate(arrays, axis)``."""
    if is_large(*arrays) and -arrays[0].ndim <= axis < arrays[0].ndim:
        found = kernels.joins.join(arrays, axis % arrays[0].ndim)
        if found is not None:
            return found
    return np.concatenate(arrays, axis)


def copied(array):
    """A contiguous copy to write into; a large one's memory is recycled."""
    if not is_large(array):
        return np.array(array, order="C")
    if array.flags.c_contiguous:
        found = kernels.joins.join([array.reshape(-1)], 0)
        if found is not None:
            return found.reshape(array.shape)
    made = runtime.memory.empty(array.shape, array.dtype)
    made[...] = array
    return made


def write_rows(how, target, index, values, axis, from_end=False):
    """Whether kernels have let `target` take in the entries of `values` at a vector of indices.

    See `iskra.codegen.kernels.scatters.scatter_rows`.
    """
    return is_large(target, values) and values.size >= graph.LARGE and (
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
    return is_large(target, values) and values.size >= graph.LARGE and (
        kernels.scatters.scatter_along(how, target, index, values, axis))
