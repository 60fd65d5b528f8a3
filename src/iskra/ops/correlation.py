"""Convolution on arrays: three products of an input, a kernel and an output of a convolution.

Of an input x ``(N, C, *S)``, a weight w ``(O, C / groups, *K)`` and an output y ``(N, O, *L)``,
`correlate` makes y from x and w, `spread` x from y and w, and `correlation_of` w from y and x. All
three are sums of the same products ``x[n, c, s] * w[o, c, k] * y[n, o, l]`` with
``s = l * stride + k * dilation - padding``. So each is the gradient of the others.

They lay the windows of the padded input out as a matrix, a few samples at a time, and leave the
sums to BLAS. With many channels a window's row runs along the channels, which copies faster; with
few it runs along the output. Where each channel has a kernel of its own, they add up the kernel's
taps instead. The choice depends on shapes alone.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

# The windows of one matrix product hold about this many elements: they should stay in the cache.
_WINDOWS = 1 << 18
# From so many channels on, rows along the channels are copied faster.
_MANY_CHANNELS = 16


class Geometry:
    """How a kernel moves over the input: one entry per spatial dimension, and the groups."""

    __slots__ = ("stride", "padding", "dilation", "groups")

    def __init__(self, stride, padding, dilation, groups):
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def settings(self):
        """``(stride, padding, dilation, groups)``, as tuples and a number."""
        return tuple(self.stride), tuple(self.padding), tuple(self.dilation), self.groups

    def output_size(self, size, kernel):
        """The spatial shape of the output."""
        return tuple(
            (s + 2 * p - d * (k - 1) - 1) // t + 1
            for s, k, t, p, d in zip(
                size, kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def padded_size(self, size):
        """The spatial shape of the padded input."""
        return tuple(s + 2 * p for s, p in zip(size, self.padding, strict=True))

    def inner(self, size):
        """What lies inside the padding: one slice per spatial dimension."""
        return tuple(slice(p, p + s) for s, p in zip(size, self.padding, strict=True))

    def tap(self, place, output):
        """The index of the elements that meet the kernel's element at `place`."""
        return (slice(None), slice(None), *(
            slice(k * d, k * d + (n - 1) * t + 1, t)
            for k, n, t, d in zip(place, output, self.stride, self.dilation, strict=True)
        ))

    def steps(self, strides):
        """The strides of a window's elements, and those of the windows."""
        return (
            tuple(s * d for s, d in zip(strides, self.dilation, strict=True)),
            tuple(s * t for s, t in zip(strides, self.stride, strict=True)),
        )

    def turned(self, kernel):
        """The geometry whose `correlate` with a turned kernel is this one's `spread`, or None."""
        padding = tuple(
            d * (k - 1) - p
            for k, p, d in zip(kernel, self.padding, self.dilation, strict=True)
        )
        if any(t != 1 for t in self.stride) or any(p < 0 for p in padding) or self.groups != 1:
            return None
        return Geometry(self.stride, padding, self.dilation, 1)


def _padded(x, geometry):
    """`x` with zeros around its spatial dimensions."""
    if not any(geometry.padding):
        return x
    size = x.shape[2:]
    result = np.zeros((*x.shape[:2], *geometry.padded_size(size)), x.dtype)
    result[(slice(None), slice(None), *geometry.inner(size))] = x
    return result


def _columns(x, kernel, output, geometry):
    """The windows of `x` as a view ``(N, groups, C / groups, *K, *L)``."""
    x = _padded(x, geometry)
    groups, size = geometry.groups, x.shape[1] // geometry.groups
    within, between = geometry.steps(x.strides[2:])
    strides = (x.strides[0], x.strides[1] * size, x.strides[1], *within, *between)
    return as_strided(x, (x.shape[0], groups, size, *kernel, *output), strides)


def _rows(x, kernel, output, geometry):
    """The windows of `x` as a view ``(N, *L, *K, C)`` of an array whose channels come last."""
    size = x.shape[2:]
    last = np.zeros((x.shape[0], *geometry.padded_size(size), x.shape[1]), x.dtype)
    last[(slice(None), *geometry.inner(size))] = np.moveaxis(x, 1, -1)
    within, between = geometry.steps(last.strides[1:-1])
    strides = (last.strides[0], *between, *within, last.strides[-1])
    return as_strided(last, (x.shape[0], *output, *kernel, x.shape[1]), strides)


def _per_channel(channels, weight, groups):
    """Whether each channel has one kernel of its own."""
    return groups > 1 and weight[0] == channels == groups


def _parts(count, per_sample):
    """Slices of the batch whose windows fit the cache."""
    step = max(1, _WINDOWS // max(per_sample, 1))
    return [slice(i, i + step) for i in range(0, count, step)]


def _channelwise(values, ndim):
    """One number per channel, shaped to broadcast over ``(N, C, *S)``."""
    return values.reshape((-1,) + (1,) * (ndim - 2))


def correlate(x, w, geometry):
    """The convolution of `x` with `w`."""
    kernel, groups = w.shape[2:], geometry.groups
    output = geometry.output_size(x.shape[2:], kernel)
    if not (x.size and w.size):
        return np.zeros((x.shape[0], w.shape[0], *output), x.dtype)
    if _per_channel(x.shape[1], w.shape, groups):
        return _correlate_taps(x, w, output, geometry)
    shape = (x.shape[0], w.shape[0], *output)
    count = math.prod(output)
    if groups == 1 and x.shape[1] >= _MANY_CHANNELS and math.prod(kernel) > 1:
        result = np.empty((x.shape[0], w.shape[0], count), x.dtype)
        windows = _rows(x, kernel, output, geometry)
        matrix = np.ascontiguousarray(np.moveaxis(w, 1, -1)).reshape(w.shape[0], -1)
        for part in _parts(x.shape[0], math.prod(windows.shape[1:])):
            rows = windows[part]
            rows = rows.reshape(rows.shape[0], count, -1).transpose(0, 2, 1)
            np.matmul(matrix, rows, out=result[part])
        return result.reshape(shape)
    result = np.empty((x.shape[0], groups, w.shape[0] // groups, count), x.dtype)
    windows = _columns(x, kernel, output, geometry)
    matrix = w.reshape(groups, w.shape[0] // groups, -1)
    for part in _parts(x.shape[0], math.prod(windows.shape[1:])):
        columns = windows[part]
        np.matmul(matrix, columns.reshape(columns.shape[0], groups, -1, count), out=result[part])
    return result.reshape(shape)


def _correlate_taps(x, w, output, geometry):
    x = _padded(x, geometry)
    result = np.zeros((x.shape[0], w.shape[0], *output), x.dtype)
    for place in np.ndindex(*w.shape[2:]):
        taps = _channelwise(w[(slice(None), 0, *place)], x.ndim)
        result += x[geometry.tap(place, output)] * taps
    return result


def spread(y, w, shape, geometry):
    """The gradient of `correlate` with respect to its input, of shape `shape`."""
    kernel, output = w.shape[2:], y.shape[2:]
    size = shape[2:]
    turned = geometry.turned(kernel)
    if turned is not None and w.shape[0] <= 2 * w.shape[1] and y.size and w.size:
        if turned.output_size(output, kernel) == size:
            flip = (slice(None), slice(None)) + (slice(None, None, -1),) * len(kernel)
            return correlate(y, w[flip].swapaxes(0, 1), turned)
    result = np.zeros((*shape[:2], *geometry.padded_size(size)), y.dtype)
    if y.size and w.size:
        if _per_channel(shape[1], w.shape, geometry.groups):
            for place in np.ndindex(*kernel):
                taps = _channelwise(w[(slice(None), 0, *place)], y.ndim)
                result[geometry.tap(place, output)] += y * taps
        else:
            _spread_columns(y, w, result, geometry)
    if not any(geometry.padding):
        return result
    return np.ascontiguousarray(result[(slice(None), slice(None), *geometry.inner(size))])


def _spread_columns(y, w, result, geometry):
    """Add each output's share of its window into `result`, the padded input's place."""
    kernel, output, groups = w.shape[2:], y.shape[2:], geometry.groups
    count = math.prod(output)
    matrix = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
    grouped = y.reshape(y.shape[0], groups, -1, count)
    for part in _parts(y.shape[0], matrix.shape[0] * matrix.shape[1] * count):
        columns = np.matmul(matrix, grouped[part])
        columns = columns.reshape(columns.shape[0], result.shape[1], *kernel, *output)
        target = result[part]
        for place in np.ndindex(*kernel):
            target[geometry.tap(place, output)] += columns[(slice(None), slice(None), *place)]


def correlation_of(y, x, shape, geometry):
    """The gradient of `correlate` with respect to its weight, of shape `shape`."""
    kernel, output, groups = shape[2:], y.shape[2:], geometry.groups
    if not (y.size and x.size and math.prod(shape)):
        return np.zeros(shape, y.dtype)
    if _per_channel(x.shape[1], shape, groups):
        return _taps_of(y, _padded(x, geometry), shape, geometry)
    count = math.prod(output)
    if groups == 1 and x.shape[1] >= _MANY_CHANNELS // 2:
        windows = _rows(x, kernel, output, geometry)
        total = np.zeros((shape[0], math.prod(shape[1:])), y.dtype)
        by_channel = y.swapaxes(0, 1)
        for part in _parts(x.shape[0], math.prod(windows.shape[1:])):
            rows = windows[part]
            rows = rows.reshape(rows.shape[0] * count, -1)
            total += np.dot(by_channel[:, part].reshape(shape[0], -1), rows)
        total = total.reshape(shape[0], *kernel, shape[1])
        return np.ascontiguousarray(np.moveaxis(total, -1, 1))
    windows = _columns(x, kernel, output, geometry)
    grouped = y.reshape(y.shape[0], groups, -1, count)
    total = np.zeros((groups, shape[0] // groups, math.prod(shape[1:])), y.dtype)
    for part in _parts(x.shape[0], math.prod(windows.shape[1:])):
        columns = windows[part]
        columns = columns.reshape(columns.shape[0], groups, -1, count).swapaxes(2, 3)
        total += np.add.reduce(np.matmul(grouped[part], columns), axis=0)
    return total.reshape(shape)


def _taps_of(y, x, shape, geometry):
    result = np.empty(shape, y.dtype)
    letters = "nc" + "xyz"[: len(shape) - 2]
    for place in np.ndindex(*shape[2:]):
        product = np.einsum(f"{letters},{letters}->c", x[geometry.tap(place, y.shape[2:])], y)
        result[(slice(None), 0, *place)] = product
    return result
