"""Maxima of sliding windows, and windows laid out as columns, of NumPy arrays in machine code.

>>> import numpy as np
>>> grid = Grid((64, 64), (32, 32), (2, 2), (2, 2), (0, 0), (1, 1))
>>> values, places = maxima(np.arange(4096.0).reshape(1, 1, 64, 64), grid)
>>> values[0, 0, 0, :3], places[0, 0, 0, :3]
(array([65., 67., 69.]), array([65, 67, 69]))
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.kernels import bounded_kernels, window_kernels
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.kernels.window_kernels import Maxima
from iskra.codegen.primitives import KINDS, kind_of
from iskra.runtime.memory import empty

_WIDEST = 32  # windows: for each of their columns there is code
_UNITS = 16  # pieces of work that keep all threads busy
_INT64 = np.dtype(np.int64)


class Grid(NamedTuple):
    """Windows over planes: an entry for each of one to three spatial dimensions."""

    size: tuple
    output: tuple
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple

    def numbers(self):
        """All of them in three dimensions, in the order of the kernels' arguments."""
        missing = 3 - len(self.size)
        return sum((((1, 1, 1, 1, 0, 1)[i],) * missing + sizes for i, sizes in enumerate(self)), ())


def maxima(array, grid, places=True, rows=False):
    """Return the largest element of each window and its place in the plane, an int64 (or None).

    array: (N, C, *size), of floats but the narrow ones, or of integers. Of equal elements the
    first counts; NaN is above all, and of NaNs the last counts. rows: whether places count rows,
    for windows that are one element wide. None where it is not served.
    """
    if not _is_computed(array) or grid.kernel[-1] > _WIDEST:
        return None
    shape = (*array.shape[:2], *grid.output)
    if not (is_served(array.size) and is_served(math.prod(shape))):
        return None
    array = np.ascontiguousarray(array)
    made = [empty(shape, array.dtype)] + [empty(shape, _INT64)] * places
    step = grid.stride[-1]
    spec = Maxima(kind_of(array.dtype), grid.kernel[-1], step if step < 3 else 0, places,
                  rows)
    planes, rows = math.prod(shape[:2]), math.prod(grid.output[:-1])
    bands = min(rows, -(-_UNITS // planes))
    units, work = planes * bands, max(array.size, made[0].size * math.prod(grid.kernel) // 4)
    tasks = tasks_for(units, work)
    kernel = compiled(window_kernels.maxima, (spec,), "aa" + "a" * places + "tn")
    kernel(array, *made, (*grid.numbers(), bands, units, tasks), tasks)
    return made[0], made[1] if places else None


def bounded_maxima(array, bounds):
    """Return the largest element of each window and its place in the plane, an int64.

    array: (N, C, *size), of what `maxima` takes; bounds: of each spatial dimension, where its
    windows begin and end, two arrays (windows,), or (N, C, windows) where each plane has its own.
    No window is empty. None where it is not served.
    """
    count, sizes = array.shape[:2], tuple(begin.shape[-1] for begin, _ in bounds)
    shape = (*count, *sizes)
    if not _is_computed(array) or not (is_served(array.size) and is_served(math.prod(shape))):
        return None
    array, windows = np.ascontiguousarray(array), math.prod(sizes)
    values, places = empty(shape, array.dtype), empty(shape, _INT64)
    missing = 3 - len(sizes)
    one = (np.zeros(1, np.int32), np.ones(1, np.int32))
    if bounds[0][0].ndim > 1:
        one = tuple(np.broadcast_to(b, (*count, 1)) for b in one)
    bounds = (one,) * missing + tuple(bounds)
    widest = [int((end - begin).max()) for begin, end in bounds]
    tables = [np.ascontiguousarray(b, np.int32) for b in (*(b for b, _ in bounds),
                                                          *(e for _, e in bounds))]
    blocks = -(-windows // LANES)
    units = math.prod(count) * blocks
    tasks = tasks_for(units, max(array.size, math.prod(shape) * math.prod(widest)))
    kernel = compiled(bounded_kernels.maxima, (kind_of(array.dtype),), bounded_kernels.KINDS)
    kernel(array, values, places, *_numbers((1,) * missing + sizes), *tables,
           ((1,) * missing + array.shape[2:] + (1,) * missing + sizes
            + (*widest, int(bounds[0][0].ndim > 1), blocks, units, tasks)), tasks)
    return values, places


@functools.lru_cache(256)
def _numbers(sizes):
    """Of the cells of a grid, the number along each dimension."""
    return tuple(np.ascontiguousarray(n.reshape(-1), np.int32) for n in np.indices(sizes))


def spread(grad, places, shape):
    """Return zeros of `shape` (N, C, *size) with the numbers of `grad` added at their places.

    places: int64, positions within the flattened planes, as from `maxima`. None: not served.
    """
    count, size = math.prod(shape[:2]), math.prod(shape[2:])
    if grad.dtype.name not in ("float32", "float64") or places.dtype != _INT64:
        return None
    if not (is_served(count * size) and is_served(grad.size)) or count < 2 and size > 1 << 20:
        return None
    grad, places = np.ascontiguousarray(grad), np.ascontiguousarray(places)
    result = empty(shape, grad.dtype)
    tasks = tasks_for(count, max(result.size, grad.size))
    kernel = compiled(window_kernels.spread, (kind_of(grad.dtype),), "aaatn")
    kernel(grad, places, result, (grad.size // count, size, count, tasks), tasks)
    return result


def spread_rows(grad, places, shape):
    """`spread` where places count rows: those of `maxima` with `rows`.

    grad, places: (N, C, *output); shape: (N, C, *size), with the last sizes alike.
    """
    planes, width = math.prod(shape[:2]), shape[-1]
    if grad.dtype.name not in ("float32", "float64") or places.dtype != _INT64:
        return None
    if not (is_served(math.prod(shape)) and is_served(grad.size)):
        return None
    grad, places = np.ascontiguousarray(grad), np.ascontiguousarray(places)
    result, units = empty(shape, grad.dtype), planes * -(-width // LANES)
    tasks = tasks_for(units, max(result.size, grad.size))
    kernel = compiled(window_kernels.spread_rows, (kind_of(grad.dtype),), "aaatn")
    numbers = (grad.size // (planes * width), result.size // (planes * width), width, units, tasks)
    kernel(grad, places, result, numbers, tasks)
    return result


def unfold(image, grid):
    """Return the windows of an image (N, C, H, W) as columns (N, C * places, windows).

    None where it is not served.
    """
    places, windows = math.prod(grid.kernel), math.prod(grid.output)
    count, channels = image.shape[:2]
    shape = (count, channels * places, windows)
    if not _is_computed(image) or not (is_served(image.size) and is_served(math.prod(shape))):
        return None
    return _move("unfold", np.ascontiguousarray(image), empty(shape, image.dtype), grid,
                 count * channels * places)


def fold(columns, grid):
    """Return the image (N, C, H, W) whose elements are the sums of what columns hold for them.

    columns: as from `unfold`, of float32 or float64, or, where windows do not overlap, of any dtype
    that `unfold` takes. None where it is not served.
    """
    apart = (grid.kernel == grid.stride and not any(grid.padding) and set(grid.dilation) == {1})
    count, channels = columns.shape[0], columns.shape[1] // math.prod(grid.kernel)
    shape = (count, channels, *grid.size)
    if columns.dtype.name not in ("float32", "float64") and not (apart and _is_computed(columns)):
        return None
    if not (is_served(columns.size) and is_served(math.prod(shape))):
        return None
    if apart:
        return _tile(np.ascontiguousarray(columns), empty(shape, columns.dtype), grid)
    return _move("fold", np.ascontiguousarray(columns), empty(shape, columns.dtype), grid,
                 count * channels)


def _move(name, source, target, grid, units):
    """Run one of the kernels between images and columns."""
    step = grid.stride[-1]
    arguments = kind_of(source.dtype), step if step < 3 else 0
    tasks = tasks_for(units, max(source.size, target.size))
    image, columns = (source, target) if name == "unfold" else (target, source)
    kernel = compiled(getattr(window_kernels, name), arguments, "aatn")
    kernel(image, columns, (*grid.numbers(), units, tasks), tasks)
    return target


def _tile(columns, image, grid):
    """`fold` where each element of the image is in one block or in none."""
    units, tasks = math.prod(image.shape[:2]), tasks_for(math.prod(image.shape[:2]), image.size)
    kernel = compiled(window_kernels.tile, (kind_of(columns.dtype),), "aaatn")
    places = _places_in_blocks(grid.size[1], grid.kernel[1], *grid.output)
    kernel(image, columns, places, (*grid.numbers(), units, tasks), tasks)
    return image


@functools.lru_cache(256)
def _places_in_blocks(width, kernel, rows, blocks):
    """Where each element of an image's row lies in the columns, by its number in its block."""
    block, place = np.divmod(np.arange(width), kernel)
    return np.where(block < blocks, place * rows * blocks + block, -1).astype(np.int32)


def _is_computed(array):
    dtype = array.dtype
    return (dtype.name in KINDS and dtype.isnative
            and dtype.name not in ("bool", "float16", "bfloat16"))
