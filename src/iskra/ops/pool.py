"""Pooling over sliding windows: maxima with their places, averages, powers.

The operators work on ``(N, C, *space)``; the public functions also take ``(C, *space)``.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#pooling-functions
"""

import functools
import math

import numpy as np

from iskra.autograd import is_grad_enabled
from iskra.codegen import kernels
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.bands import mapped, transposed, windows_band
from iskra.ops.conv import windows
from iskra.ops.formats import as_planes, from_planes, is_channels_last, laid_out_as
from iskra.ops.large import is_large

INTERNAL = dict(method=False, function=False, out=False, computes=True)
FUNCTIONAL = dict(namespace="nn.functional", method=False)
BOTH = dict(namespace="torch nn.functional", method=False)


def numbers(name, label, value, rank):
    """A setting per spatial dimension, from one number or one per dimension."""
    if not isinstance(value, (tuple, list)):
        return (value,) * rank
    if len(value) not in (1, rank):
        raise RuntimeError(
            f"{name}: {label} must either be a single int, or a tuple of {rank} ints, got {value}"
        )
    return tuple(value) * rank if len(value) == 1 else tuple(value)


def batched(name, input, rank, pool):
    """Run `pool` on a batch; a single sample is made one and taken out again."""
    if input.dim() == rank + 2:
        _check_not_empty(name, input, 1)
        return pool(input)
    if input.dim() != rank + 1:
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D input, but got a tensor of shape "
            f"{format_shape(input.shape)}"
        )
    _check_not_empty(name, input, 0)
    result = pool(input.unsqueeze(0))
    if isinstance(result, tuple):
        return type(result)([r.squeeze(0) for r in result])
    return result.squeeze(0)


def _check_not_empty(name, input, first):
    if 0 in input.shape[first:]:
        raise RuntimeError(
            f"{name}: Expected {len(input.shape)}D tensor with optional 0 dim batch size and other "
            f"dimensions non-zero, but got {format_shape(input.shape)}"
        )


def output_size(size, kernel, stride, padding, dilation, ceil_mode):
    """How many windows fit; with `ceil_mode` also those that reach over the end."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # a window must begin inside the input or its left padding
    return count


def _output(name, shape, kernel, stride, padding, dilation, ceil_mode):
    sizes = [
        output_size(*v, ceil_mode)
        for v in zip(shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    if any(n <= 0 for n in sizes):
        raise RuntimeError(
            f"{name}: Given input size: {format_shape(shape[1:])}. Calculated output size: "
            f"{format_shape((shape[1], *sizes))}. Output size is too small"
        )
    return tuple(sizes)


def _settings(name, rank, kernel, stride, padding, dilation=1):
    kernel = numbers(name, "kernel_size", kernel, rank)
    given = stride is not None and not (isinstance(stride, (tuple, list)) and not stride)
    stride = numbers(name, "stride", stride, rank) if given else kernel
    padding = numbers(name, "padding", padding, rank)
    dilation = numbers(name, "dilation", dilation, rank)
    for label, values in (("kernel size", kernel), ("stride", stride), ("dilation", dilation)):
        if any(v <= 0 for v in values):
            raise RuntimeError(f"{name}: {label} should be greater than zero, but got {values}")
    if any(p < 0 for p in padding):
        raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {padding}")
    if any(p > ((k - 1) * d + 1) // 2 for p, k, d in zip(padding, kernel, dilation, strict=True)):
        raise RuntimeError(
            f"{name}: pad should be at most half of effective kernel size, but got pad={padding}, "
            f"kernel_size={kernel} and dilation={dilation}"
        )
    return kernel, stride, padding, dilation


def _extended(array, output, kernel, stride, padding, dilation, value):
    """`array` with `value` around it, wide enough for every window."""
    low = padding
    needed = [
        (o - 1) * s + d * (k - 1) + 1
        for o, s, d, k in zip(output, stride, dilation, kernel, strict=True)
    ]
    sizes = [
        max(n + 2 * p, w) for n, p, w in zip(array.shape[2:], padding, needed, strict=True)
    ]
    if tuple(sizes) == array.shape[2:]:
        return array
    result = np.full((*array.shape[:2], *sizes), value, array.dtype)
    inner = tuple(slice(p, p + n) for p, n in zip(low, array.shape[2:], strict=True))
    result[(slice(None), slice(None), *inner)] = array
    return result


def _lowest(dtype):
    if dtype.kind == "f":
        return -np.inf
    return np.iinfo(dtype).min if dtype.kind in "iu" else False


def _taps(array, output, kernel, stride, dilation):
    """For each place of the kernel, the elements that it meets: ``(N, C, *output)``."""
    for place in np.ndindex(*kernel):
        yield array[(slice(None), slice(None), *(
            slice(k * d, k * d + s * (n - 1) + 1, s)
            for k, d, s, n in zip(place, dilation, stride, output, strict=True)
        ))]


def _by_taps(kernel, output):
    """Whether to go through the kernel's places: there are few of them, or many windows."""
    return math.prod(kernel) <= max(32, 4 * math.prod(output))


def _visible(array, output, kernel, stride, dilation):
    """The windows, cut to the output and flattened: ``(N, C, *output, places)``."""
    seen = windows(array, kernel, stride, dilation)
    seen = seen[(slice(None), slice(None), *[slice(n) for n in output])]
    return seen.reshape(*seen.shape[:2 + len(kernel)], math.prod(kernel))


def _largest(array, output, kernel, stride, dilation, places):
    """The largest element of each window, and its place in the kernel (the first, or NaN's)."""
    if not _by_taps(kernel, output):
        seen = _visible(array, output, kernel, stride, dilation)
        best = seen.argmax(-1)
        return np.take_along_axis(seen, best[..., None], -1)[..., 0], best
    taps = list(_taps(array, output, kernel, stride, dilation))
    values = taps[0].copy()
    for tap in taps[1:]:
        np.maximum(values, tap, out=values)
    if not places:
        return values, None
    best = np.zeros(values.shape, np.intp)
    for place in range(len(taps) - 1, -1, -1):
        np.copyto(best, place, where=np.equal(taps[place], values))
    if values.dtype.kind == "f" and np.isnan(values).any():
        for place, tap in enumerate(taps):
            np.copyto(best, place, where=np.isnan(tap))
    return values, best


def _first_inside(output, kernel, stride, padding, dilation):
    """The first place in the kernel of each window that meets an element: ``output``."""
    first = np.zeros((), np.intp)
    for o, k, s, p, d in zip(output, kernel, stride, padding, dilation, strict=True):
        before = np.maximum(p - np.arange(o) * s, 0)
        first = first[..., None] * k + -(-before // d)
    return first


def _positions(best, shape, kernel, stride, padding, dilation):
    """Positions in the flattened input of each window's chosen element."""
    offset, origin = np.zeros((), np.int64), np.zeros((), np.int64)
    for axis, size in enumerate(shape[2:]):
        offset = offset[..., None] * size + np.arange(kernel[axis]) * dilation[axis]
        start = np.arange(best.shape[2 + axis]) * stride[axis] - padding[axis]
        origin = origin[..., None] * size + start
    return np.take(offset.reshape(-1), best) + origin


def gradient_at(g, input_shape, result):
    """Each output's gradient goes to the element that it was taken from."""
    return put_back(g[0], result[1].detach(), tuple(input_shape))


@operator(**INTERNAL, operands="grad indices", repeats=True, grad={
    "grad": lambda g, grad_shape, indices: g.flatten(2).gather(2, indices.flatten(2)).reshape(
        grad_shape
    ),
})
def put_back(grad, indices, shape):
    """Zeros of this shape, with gradients added at positions in the flattened input."""
    if not grad.size:
        return np.zeros(shape, grad.dtype)
    found = None
    if is_large(grad, indices):
        if is_channels_last(indices):
            planes = (shape[0], 1, *shape[2:], shape[1])
            found = kernels.windows.spread_rows(as_planes(grad), as_planes(indices), planes)
            found = None if found is None else from_planes(found)
        else:
            found = kernels.windows.spread(grad, indices, shape)
    return laid_out_as(_put_back(grad, indices, shape) if found is None else found, indices)


def _put_back(grad, indices, shape):
    """`put_back` in NumPy."""
    count, size = math.prod(shape[:2]), math.prod(shape[2:])
    rows = np.arange(0, count * size, size).reshape(count, 1)
    places = (indices.reshape(count, -1) + rows).reshape(-1)
    total = np.bincount(places, grad.reshape(-1), count * size)
    return total.astype(grad.dtype, copy=False).reshape(shape)


@operator(
    **INTERNAL, outputs=2, accepts="int float", repeats=True,
    node=lambda kernel: f"MaxPool{len(kernel)}DWithIndicesBackward0", grad=gradient_at,
    samples=lambda make: [((make((2, 3, 5, 4)), (2, 3), (2, 1), (1, 0), (1, 1), True), {})],
)
def max_windows(input, kernel, stride, padding, dilation, ceil_mode, places=True):
    """The largest element of each window, and where it is."""
    output = _output("max_pool", input.shape, kernel, stride, padding, dilation, ceil_mode)
    if is_large(input):
        grid = kernels.windows.Grid(input.shape[2:], output, kernel, stride, padding, dilation)
        found = maxima_by_kernels(input, grid, places)
        if found is not None:
            return found
    found = _maxima(input, output, kernel, stride, padding, dilation, places)
    return tuple(laid_out_as(part, input) for part in found)


def maxima_by_kernels(input, grid, places=True):
    """`kernels.windows.maxima`, whose results lie in memory as the input does."""
    if not is_channels_last(input):
        return kernels.windows.maxima(input, grid, places)
    channels = input.shape[1]
    added = (channels, channels, 1, 1, 0, 1)
    wide = type(grid)(*((*sizes, n) for sizes, n in zip(grid, added, strict=True)))
    found = kernels.windows.maxima(as_planes(input), wide, places, rows=True)
    if found is None:
        return None
    return tuple(None if part is None else from_planes(part) for part in found)


def _maxima(input, output, kernel, stride, padding, dilation, places):
    """`max_windows` in NumPy."""
    wide = _extended(input, output, kernel, stride, padding, dilation, _lowest(input.dtype))
    values, best = _largest(wide, output, kernel, stride, dilation, places)
    if not places:
        return values, None
    if any(padding):  # which holds the lowest number: it is not what was found
        first = _first_inside(output, kernel, stride, padding, dilation)
        np.copyto(best, first, where=np.equal(values, _lowest(input.dtype)))
    return values, _positions(best, input.shape, kernel, stride, padding, dilation)


def _max_pool(rank, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    name = f"max_pool{rank}d"
    settings = _settings(name, rank, kernel_size, stride, padding, dilation)
    places = return_indices or input.requires_grad and is_grad_enabled()
    if places:
        values, indices = batched(name, input, rank, lambda x: max_windows(x, *settings, ceil_mode))
        return (values, indices) if return_indices else values
    return batched(name, input, rank, lambda x: max_windows(x, *settings, ceil_mode, False)[0])


@composite(**BOTH)
def max_pool1d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """The largest element of each window of ``(N, C, L)``; with `return_indices` also where.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html

    >>> import iskra as torch
    >>> torch.nn.functional.max_pool1d(torch.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[5., 3.]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(**BOTH)
def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """The largest element of each window of ``(N, C, H, W)``; with `return_indices` also where.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html

    >>> import iskra as torch
    >>> torch.nn.functional.max_pool2d(torch.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(autocast="float32", **BOTH)
def max_pool3d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """The largest element of each window of ``(N, C, D, H, W)``; see `max_pool2d`.

    >>> import iskra as torch
    >>> torch.nn.functional.max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[7.]]]])
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _with_indices(pool):
    def pool_with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
                          return_indices=True):
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode, True)

    pool_with_indices.__name__ = f"{pool.__name__}_with_indices"
    pool_with_indices.__doc__ = f"""`{pool.__name__}` with the indices of the elements taken.

    >>> import iskra as torch
    >>> f = torch.nn.functional.{pool.__name__}_with_indices
    >>> f(torch.ones([1] + [2] * {pool.__name__[-2]}), 2)[1].sum()
    tensor(0)
    """
    return composite(namespace="nn.functional", method=False)(pool_with_indices)


max_pool1d_with_indices = _with_indices(max_pool1d)
max_pool2d_with_indices = _with_indices(max_pool2d)
max_pool3d_with_indices = _with_indices(max_pool3d)


@functools.lru_cache(512)
def _mean_tables(shape, output, kernel, stride, padding, count_include_pad, divisor):
    """Of each dimension, the sums of its windows, and what they are divided by."""
    bands, divisors = [], []
    for n, o, k, s, p in zip(shape, output, kernel, stride, padding, strict=True):
        start = np.arange(o) * s - p
        bands.append(windows_band(n, start, start + k))
        start, end = start, np.minimum(start + k, n + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        divisors.append(tuple((end - start).tolist()))
    if divisor is not None:
        divisors = [(1 if i else divisor,) * len(d) for i, d in enumerate(divisors)]
    return tuple(bands), tuple(divisors)


def _sums(array, output, kernel, stride):
    """The sum of each window."""
    ones = (1,) * len(kernel)
    if not _by_taps(kernel, output):
        return np.add.reduce(_visible(array, output, kernel, stride, ones), axis=-1)
    first, *rest = _taps(array, output, kernel, stride, ones)
    total = first.copy()
    for tap in rest:
        total += tap
    return total


@operator(
    **INTERNAL, node=lambda kernel: f"AvgPool{len(kernel)}DBackward0",
    grad=lambda g, input_shape, kernel, stride, padding, ceil_mode, count_include_pad, divisor: (
        average_spread(
            g, input_shape, kernel, stride, padding, ceil_mode, count_include_pad, divisor
        )
    ),
    samples=lambda make: [
        ((make((2, 3, 5, 4)), (2, 3), (2, 1), (1, 0), True, False, None), {}),
        ((make((1, 2, 5)), (3,), (2,), (1,), True, True, None), {}),
    ],
)
def average_windows(
    input, kernel, stride, padding, ceil_mode, count_include_pad, divisor
):
    """The mean of each window."""
    ones = (1,) * len(kernel)
    output = _output("avg_pool", input.shape, kernel, stride, padding, ones, ceil_mode)
    bands, divisors = _mean_tables(
        tuple(input.shape[2:]), output, kernel, stride, padding, count_include_pad, divisor
    )
    if input.dtype.kind == "f" and is_large(input):
        return mapped(input, bands, divisors)
    wide = _extended(input, output, kernel, stride, padding, ones, 0)
    total, by = _sums(wide, output, kernel, stride), np.ones(())
    for divisor in divisors:
        by = np.multiply.outer(by, divisor)
    if input.dtype.kind in "iu":
        return laid_out_as(np.trunc(np.divide(total, by)).astype(input.dtype), input)
    return laid_out_as(np.divide(total, by.astype(input.dtype)), input)


@operator(
    **INTERNAL, grad=lambda g, kernel, stride, padding, ceil_mode, count_include_pad, divisor: (
        average_windows(g, kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    ),
)
def average_spread(
    grad, shape, kernel, stride, padding, ceil_mode, count_include_pad, divisor
):
    """The gradient of `average_windows`: each output's share for every element of its window."""
    bands, divisors = _mean_tables(
        tuple(shape[2:]), tuple(grad.shape[2:]), kernel, stride, padding, count_include_pad, divisor
    )
    return mapped(grad, tuple(
        transposed(b, d) for b, d in zip(bands, divisors, strict=True)
    ))


def _avg_pool(rank, input, kernel_size, stride, padding, ceil_mode, include, divisor):
    name = f"avg_pool{rank}d"
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    kernel, stride, padding, _ = _settings(name, rank, kernel_size, stride, padding)
    return batched(
        name, input, rank,
        lambda x: average_windows(x, kernel, stride, padding, ceil_mode, include, divisor),
    )


@composite(**BOTH)
def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window of ``(N, C, L)``; padding counts unless told otherwise.

    >>> import iskra as torch
    >>> torch.nn.functional.avg_pool1d(torch.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[3.0000, 2.5000]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@composite(**FUNCTIONAL, out="exact")
def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):
    """The mean of each window of ``(N, C, H, W)``; `divisor_override` replaces the count.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html

    >>> import iskra as torch
    >>> torch.nn.functional.avg_pool2d(torch.arange(4.0).reshape(1, 2, 2), 2)
    tensor([[[1.5000]]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@composite(autocast="float32", **FUNCTIONAL, out="exact")
def avg_pool3d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):
    """The mean of each window of ``(N, C, D, H, W)``; see `avg_pool2d`.

    >>> import iskra as torch
    >>> torch.nn.functional.avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 2)
    tensor([[[[3.5000]]]])
    """
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _lp_pool(rank, input, norm_type, kernel_size, stride, ceil_mode):
    kernel = numbers(f"lp_pool{rank}d", "kernel_size", kernel_size, rank)
    powers = input.pow(norm_type)
    mean = _avg_pool(rank, powers, kernel, stride, 0, ceil_mode, True, None)
    return (mean.sign() * mean.abs().relu() * math.prod(kernel)).pow(1.0 / norm_type)


@composite(**FUNCTIONAL)
def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The p-norm of each window: the root of the sum of powers.

    >>> import iskra as torch
    >>> torch.nn.functional.lp_pool1d(torch.tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@composite(**FUNCTIONAL)
def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The p-norm of each window of ``(N, C, H, W)``.

    >>> import iskra as torch
    >>> torch.nn.functional.lp_pool2d(torch.tensor([[[3.0, 4.0]]]), 2, (1, 2))
    tensor([[[5.]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@composite(**FUNCTIONAL)
def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The p-norm of each window of ``(N, C, D, H, W)``.

    >>> import iskra as torch
    >>> torch.nn.functional.lp_pool3d(torch.tensor([[[[3.0, 4.0]]]]), 2, (1, 1, 2))
    tensor([[[[5.]]]])
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)
