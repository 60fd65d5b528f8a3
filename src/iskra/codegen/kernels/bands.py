"""Linear maps along the dimensions of NumPy arrays, each result from a few elements, in machine
code: means of windows, resized images, and their gradients.

>>> import numpy as np
>>> class Band:
...     size, output, places, weights = 2, 3, np.array([[0, 0, 1], [-1, 1, -1]]), None
>>> mapped(np.array([[[1.0, 2.0]] * 3]), (Band,))[0]
array([[1., 3., 2.],
       [1., 3., 2.],
       [1., 3., 2.]])
"""

import functools
import math

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.kernels import band_kernel
from iskra.codegen.kernels.band_kernel import KINDS, ROOM, Bands, taps_known
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.primitives import kind_of
from iskra.runtime.memory import empty

_TOGETHER = 64  # elements of the result that are worth being made together
_PICKED = 16  # rows that are copied together
_MOST_TAPS = 1 << 22  # entries of a table


def mapped(array, bands, divisors=None):
    """Return the array (N, C, *output) that the bands make of `array` (N, C, *size); or None.

    bands: one for each spatial dimension, with `size`, `output`, and tables (taps, output) of
    `places`, -1 where there is none, and of `weights`, or None where all are 1. They are kept by
    their identity, so the same ones should be given for the same shapes. divisors: a tuple of
    numbers for each dimension, by all of which results are divided. None: kernels do not serve
    this dtype, or such large rows or tables.
    """
    shape = (*array.shape[:2], *(b.output for b in bands))
    if array.dtype.name not in ("float32", "float64") or not _fits(array, bands, shape):
        return None
    width = array.shape[-1]
    group = max(1, min(_TOGETHER // shape[-1], ROOM // (width * array.itemsize)))
    tables = _tables(bands, array.dtype, group)
    by = None if divisors is None else _table_of_divisors(divisors, array.dtype, group)
    spec = Bands(kind_of(array.dtype), taps_known(len(bands[-1].places)), tables[1] is not None,
                 divisors is not None, min(4, -(-width // LANES)), _is_identity(bands[-1]))
    taps = math.prod(len(b.places) for b in bands)
    return _run(band_kernel.mapped, (spec,), array, empty(shape, array.dtype), (*tables, by), taps,
                group)


def picked(array, bands):
    """The same for bands of one tap each, without weights: elements of any dtype are copied."""
    shape = (*array.shape[:2], *(b.output for b in bands))
    if array.dtype.itemsize not in (1, 2, 4, 8) or not _fits(array, bands, shape):
        return None
    dtype = np.dtype(f"u{array.dtype.itemsize}")
    result = empty(shape, array.dtype)
    tables = (*_tables(bands, dtype, 1), None)
    source = np.ascontiguousarray(array).view(dtype)
    spec = kind_of(dtype), _is_identity(bands[-1])
    _run(band_kernel.picked, spec, source, result.view(dtype), tables, 1, _PICKED)
    return result


@functools.lru_cache(512)
def _is_identity(band):
    """Whether a band leaves elements where they are, and as they are."""
    return (band.weights is None and band.size == band.output and len(band.places) == 1
            and bool((band.places[0] == np.arange(band.size)).all()))


def _fits(array, bands, shape):
    width = array.shape[-1] * array.itemsize
    rows = math.prod(len(b.places) * b.output for b in bands[:-1])
    return (is_served(array.size) and is_served(math.prod(shape)) and width <= ROOM
            and max(rows, bands[-1].places.size) <= _MOST_TAPS)


def _run(build, spec, array, result, tables, taps, group):
    array = np.ascontiguousarray(array)
    rows, out_rows = (math.prod(a.shape[2:-1]) for a in (array, result))
    all_rows = math.prod(array.shape[:2]) * out_rows
    units = -(-all_rows // group)
    tasks = tasks_for(units, max(array.size, result.size * taps // 4))
    numbers = (rows, array.shape[-1], out_rows, result.shape[-1], tables[0].shape[-1],
               len(tables[2]), group, all_rows, units, tasks)
    compiled(build, spec, KINDS)(array, result, *tables, numbers, tasks)
    return result


@functools.lru_cache(512)
def _tables(bands, dtype, group):
    """Row places (rows, taps) and weights, column places (taps, group * columns) and weights."""
    *outer, last = bands
    places, weights = np.zeros((1, 1), np.int64), np.ones((1, 1))
    for band in outer:
        new, factors = band.places.T, _weights(band).T
        absent = (places < 0)[:, None, :, None] | (new < 0)[None, :, None, :]
        joined = places[:, None, :, None] * band.size + new[None, :, None, :]
        places = np.where(absent, -1, joined).reshape(len(places) * len(new), -1)
        weights = (weights[:, None, :, None] * factors[None, :, None, :]).reshape(places.shape)
    starts = np.repeat(np.arange(group), last.output) * last.size
    columns = np.tile(last.places, group)
    columns = np.where(columns < 0, -1, columns + starts).astype(np.int32)
    places = np.ascontiguousarray(places)
    if all(band.weights is None for band in bands):
        return places, None, columns, None
    return (places, np.ascontiguousarray(weights, dtype), columns,
            np.ascontiguousarray(np.tile(_weights(last), group), dtype))


def _weights(band):
    return np.ones(band.places.shape) if band.weights is None else band.weights


@functools.lru_cache(512)
def _table_of_divisors(divisors, dtype, group):
    """What each element of a plane is divided by; after the last row, the plane begins again."""
    table = np.ones(1)
    for axis in divisors:
        table = np.multiply.outer(table, axis)
    table = table.reshape(-1, table.shape[-1])
    return table[np.arange(len(table) + group) % len(table)].astype(dtype)
