"""Linear maps along dimensions in which each result is made of a few neighbours.

Pooling by means, resizing, and the gradients of both are such maps. They are written as tables:
which elements each result is made of, and with which weights. Tables depend on sizes alone and are
kept.
"""

import functools

import numpy as np

from iskra.codegen import kernels
from iskra.ops.formats import as_planes, from_planes, is_channels_last
from iskra.ops.large import is_large


class Band:
    """A map from `size` elements to `output` results.

    places, weights: ``(taps, output)``, the elements that a result is the weighted sum of; the
    place -1 stands for none. weights is None where all are 1.
    """

    __slots__ = ("size", "places", "weights")

    def __init__(self, size, places, weights=None):
        self.size, self.places, self.weights = size, places, weights

    @property
    def output(self):
        """How many results there are."""
        return self.places.shape[1]

    def matrix(self):
        """The same as a float64 matrix ``(output, size)``."""
        matrix = np.zeros((self.output, self.size))
        there = self.places >= 0
        columns = np.broadcast_to(np.arange(self.output), there.shape)
        weights = 1.0 if self.weights is None else self.weights[there]
        np.add.at(matrix, (columns[there], self.places[there]), weights)
        return matrix


@functools.lru_cache(512)
def transposed(band, divisors=None):
    """The map whose matrix is that of `band` transposed, after a division by these, one by one.

    divisors: None, or a tuple of as many numbers as the band has results.
    """
    taps, results = np.nonzero(band.places >= 0)
    places = band.places[taps, results]
    weights = None if band.weights is None else band.weights[taps, results]
    if divisors is not None:
        weights = (1.0 if weights is None else weights) / np.take(np.asarray(divisors), results)
    order = np.lexsort((results, places))
    places, results = places[order], results[order]
    rank = np.arange(len(places)) - np.searchsorted(places, places)
    shape = (int(rank.max(initial=0)) + 1, band.size)
    table = np.full(shape, -1)
    table[rank, places] = results
    if weights is None:
        return Band(band.output, table)
    factors = np.zeros(shape)
    factors[rank, places] = weights[order]
    return Band(band.output, table, factors)


def windows_band(size, starts, ends):
    """The sums of the elements from `starts` to below `ends` (arrays), of those that there are."""
    starts, ends = np.maximum(starts, 0), np.minimum(ends, size)
    places = starts + np.arange(max(int((ends - starts).max(initial=1)), 1))[:, None]
    return Band(size, np.where(places < ends, places, -1))


@functools.lru_cache(512)
def _identity(size):
    return Band(size, np.arange(size)[None])


def mapped(array, bands, divisors=None):
    """Map each spatial dimension of an array ``(N, C, *sizes)``; then divide by these.

    bands: a tuple, one for each dimension; divisors: a tuple of numbers for each. Where the
    array's channels come last, the result's do too.
    """
    if is_channels_last(array):
        channels = array.shape[1]
        divisors = None if divisors is None else (*divisors, (1,) * channels)
        return from_planes(mapped(as_planes(array), (*bands, _identity(channels)), divisors))
    if is_large(array):
        found = kernels.bands.mapped(array, bands, divisors)
        if found is not None:
            return found
    for axis, band in enumerate(bands, 2):
        array = _along(array, band, axis)
    if divisors is None:
        return array
    by = np.ones(())
    for axis in divisors:
        by = np.multiply.outer(by, axis)
    return np.divide(array, by.astype(array.dtype))


def _along(array, band, axis):
    """The map along one dimension, tap by tap."""
    total, after = None, (-1,) + (1,) * (array.ndim - 1 - axis)
    for tap, places in enumerate(band.places):
        part = np.take(array, np.maximum(places, 0), axis)
        if (places < 0).any():
            part = np.where((places >= 0).reshape(after), part, array.dtype.type(0))
        if band.weights is not None:
            part = part * band.weights[tap].astype(array.dtype).reshape(after)
        total = part if total is None else total + part
    return total


def picked(array, bands):
    """Bands of one tap without weights, for any dtype: copies of elements."""
    if is_channels_last(array):
        bands = (*bands, _identity(array.shape[1]))
        return from_planes(picked(as_planes(array), bands))
    if is_large(array):
        found = kernels.bands.picked(array, bands)
        if found is not None:
            return found
    for axis, band in enumerate(bands, 2):
        array = np.take(array, band.places[0], axis)
    return array
