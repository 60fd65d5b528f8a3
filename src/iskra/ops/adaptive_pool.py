"""Pooling to a given output size, at random places, and the reverse of max pooling.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#pooling-functions
"""

import functools
import math

import numpy as np

from iskra.codegen import kernels
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.bands import mapped, transposed, windows_band
from iskra.ops.formats import laid_out_as
from iskra.ops.large import is_large
from iskra.ops.pool import (
    BOTH,
    FUNCTIONAL,
    INTERNAL,
    batched,
    gradient_at,
    maxima_by_kernels,
    numbers,
)
from iskra.ops.slicing import as_int


def _bounds(size, output):
    """Where each of `output` windows over `size` elements begins and ends."""
    places = np.arange(output)
    return places * size // output, -(-(places + 1) * size // output)


@functools.lru_cache(512)
def _mean_tables(sizes, output):
    """Of each dimension, the sums of its windows, and the windows' sizes."""
    bounds = [_bounds(n, o) for n, o in zip(sizes, output, strict=True)]
    bands = tuple(windows_band(n, *b) for n, b in zip(sizes, bounds, strict=True))
    return bands, tuple(tuple((end - start).tolist()) for start, end in bounds)


@operator(
    **INTERNAL, accepts="float",
    node=lambda sizes: f"AdaptiveAvgPool{len(sizes)}DBackward0",
    grad=lambda g, input_shape: adaptive_spread(g, input_shape),
    samples=lambda make: [((make((2, 3, 5, 4)), (3, 2)), {}), ((make((1, 2, 7)), (3,)), {})],
)
def adaptive_means(input, sizes):
    """Means of windows that tile the input into `sizes`."""
    bands, counts = _mean_tables(tuple(input.shape[2:]), tuple(sizes))
    return mapped(input, bands, counts)


@operator(**INTERNAL, grad=lambda g, grad_shape: adaptive_means(g, tuple(grad_shape[2:])))
def adaptive_spread(grad, shape):
    """The gradient of `adaptive_means` for an input of this shape."""
    bands, counts = _mean_tables(tuple(shape[2:]), tuple(grad.shape[2:]))
    return mapped(grad, tuple(
        transposed(b, c) for b, c in zip(bands, counts, strict=True)
    ))


def _sizes(name, input, output_size, rank):
    """The output sizes; None keeps the input's."""
    if isinstance(output_size, (tuple, list)) and len(output_size) not in (1, rank):
        raise RuntimeError(f"{name}: output_size must be {rank}, got {format_shape(output_size)}")
    given = numbers(name, "output_size", output_size, rank)
    sizes = tuple(
        n if o is None else as_int(o, name, "output_size")
        for n, o in zip(input.shape[-rank:], given, strict=True)
    )
    if any(s < 0 for s in sizes):
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{format_shape(sizes)}"
        )
    return sizes


def _adaptive_avg(rank, input, output_size):
    name = f"adaptive_avg_pool{rank}d"
    sizes = _sizes(name, input, output_size, rank)
    if rank == 2 and sizes == (1, 1) and input.dim() in (3, 4):
        return input.mean((-1, -2), keepdim=True)  # exact for any dtype, and what PyTorch does
    return batched(name, input, rank, lambda x: adaptive_means(x, sizes))


@composite(**BOTH)
def adaptive_avg_pool1d(input, output_size):
    """Means of windows such that the output has `output_size` elements.

    >>> import iskra as torch
    >>> torch.nn.functional.adaptive_avg_pool1d(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), 2)
    tensor([[2., 6.]])
    """
    return _adaptive_avg(1, input, output_size)


@composite(**FUNCTIONAL)
def adaptive_avg_pool2d(input, output_size):
    """Means of windows such that the output is of `output_size`; None keeps a size.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool2d.html

    >>> import iskra as torch
    >>> torch.nn.functional.adaptive_avg_pool2d(torch.arange(4.0).reshape(1, 2, 2), 1)
    tensor([[[1.5000]]])
    """
    return _adaptive_avg(2, input, output_size)


@composite(autocast="float32", **FUNCTIONAL)
def adaptive_avg_pool3d(input, output_size):
    """Means of windows such that the output is of `output_size`; None keeps a size.

    >>> import iskra as torch
    >>> torch.nn.functional.adaptive_avg_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
    tensor([[[[3.5000]]]])
    """
    return _adaptive_avg(3, input, output_size)


def _cells(shape, bounds):
    """Index tuples of all windows, and of the output cells that they belong to."""
    for cell in np.ndindex(*[len(b[0]) for b in bounds]):
        window = tuple(
            slice(int(b[0][i]), int(b[1][i])) for b, i in zip(bounds, cell, strict=True)
        )
        yield cell, window


def _max_of_cells(input, bounds):
    """The largest element of each window, and its place in the flattened input."""
    space = input.shape[2:]
    sizes = [len(b[0]) for b in bounds]
    values = np.empty((*input.shape[:2], *sizes), input.dtype)
    indices = np.empty(values.shape, np.int64)
    places = np.arange(math.prod(space)).reshape(space)
    for cell, window in _cells(space, bounds):
        seen = input[(slice(None), slice(None), *window)]
        seen = seen.reshape(*input.shape[:2], math.prod(seen.shape[2:]))
        best = _last_nan_or_maximum(seen)
        values[(slice(None), slice(None), *cell)] = np.take_along_axis(
            seen, best[..., None], -1
        )[..., 0]
        indices[(slice(None), slice(None), *cell)] = places[window].reshape(-1)[best]
    return values, indices


def _last_nan_or_maximum(seen):
    """Where the last NaN of each row is, or else the first of the largest elements."""
    best = seen.argmax(-1)
    absent = np.isnan(seen)
    if absent.any():
        last = seen.shape[-1] - 1 - absent[..., ::-1].argmax(-1)
        best = np.where(absent.any(-1), last, best)
    return best


def _as_grid(sizes, output):
    """Windows of one size that tile the input; None where they do not."""
    if any(n % o for n, o in zip(sizes, output, strict=True)):
        return None
    steps, nothing = tuple(n // o for n, o in zip(sizes, output, strict=True)), (0,) * len(sizes)
    return kernels.windows.Grid(sizes, output, steps, steps, nothing, (1,) * len(sizes))


@operator(
    **INTERNAL, outputs=2, accepts="float", grad=gradient_at,
    node=lambda sizes: f"AdaptiveMaxPool{len(sizes)}DBackward0",
    samples=lambda make: [((make((2, 3, 5, 4)), (3, 2)), {})],
)
def adaptive_maxima(input, sizes):
    """The largest elements of windows that tile the input into `sizes`, and their places."""
    bounds = [_bounds(n, o) for n, o in zip(input.shape[2:], sizes, strict=True)]
    found = None
    if is_large(input) and 0 not in sizes:
        grid = _as_grid(input.shape[2:], tuple(sizes))
        if grid is not None:
            found = maxima_by_kernels(input, grid)
        if found is None:
            found = kernels.windows.bounded_maxima(input, bounds)
    found = _max_of_cells(input, bounds) if found is None else found
    return tuple(laid_out_as(part, input) for part in found)


def _adaptive_max(rank, input, output_size, return_indices):
    name = f"adaptive_max_pool{rank}d"
    sizes = _sizes(name, input, output_size, rank)
    values, indices = batched(name, input, rank, lambda x: adaptive_maxima(x, sizes))
    return (values, indices) if return_indices else values


@composite(**FUNCTIONAL)
def adaptive_max_pool1d(input, output_size, return_indices=False):
    """The largest elements of windows such that the output has `output_size` elements.

    >>> import iskra as torch
    >>> torch.nn.functional.adaptive_max_pool1d(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), 2)
    tensor([[3., 7.]])
    """
    return _adaptive_max(1, input, output_size, return_indices)


@composite(**FUNCTIONAL)
def adaptive_max_pool2d(input, output_size, return_indices=False):
    """The largest elements of windows such that the output is of `output_size`.

    >>> import iskra as torch
    >>> torch.nn.functional.adaptive_max_pool2d(torch.arange(4.0).reshape(1, 2, 2), 1)
    tensor([[[3.]]])
    """
    return _adaptive_max(2, input, output_size, return_indices)


@composite(autocast="float32", **FUNCTIONAL)
def adaptive_max_pool3d(input, output_size, return_indices=False):
    """The largest elements of windows such that the output is of `output_size`.

    >>> import iskra as torch
    >>> torch.nn.functional.adaptive_max_pool3d(torch.arange(8.0).reshape(1, 2, 2, 2), 1)
    tensor([[[[7.]]]])
    """
    return _adaptive_max(3, input, output_size, return_indices)


def _interval_starts(samples, size, output, kernel):
    """Where the windows of fractional pooling begin, steered by one random number for each plane.

    samples: (N, C); the result: (N, C, output).
    """
    starts = np.empty((*samples.shape, output), np.int64)
    if output > 1:
        # In the samples' precision, as PyTorch does it: rounding decides where a window begins.
        alpha = samples.dtype.type(size - kernel) / samples.dtype.type(output - 1)
        places = np.arange(output, dtype=samples.dtype)
        starts[:] = ((places + samples[..., None]) * alpha).astype(np.int64)
        starts -= (samples * alpha).astype(np.int64)[..., None]
    starts[..., -1] = size - kernel
    return starts


@operator(
    **INTERNAL, outputs=2, operands="input samples", grad=gradient_at,
    node=lambda kernel: f"FractionalMaxPool{len(kernel)}DBackward0",
)
def fractional_maxima(input, samples, kernel, sizes):
    """Max pooling over windows at pseudo-random places, which `samples` choose per channel."""
    bounds, rank = [], len(kernel)
    for axis in range(rank):
        # In two dimensions the first random number is that of the last, in three the first's.
        chosen = samples[..., axis if rank == 3 else rank - 1 - axis]
        starts = _interval_starts(chosen, input.shape[2 + axis], sizes[axis], kernel[axis])
        bounds.append((starts, starts + kernel[axis]))
    if is_large(input) and 0 not in sizes:
        found = kernels.windows.bounded_maxima(input, bounds)
        if found is not None:
            return found
    shape = (*input.shape[:2], *sizes)
    values, places = np.empty(shape, input.dtype), np.empty(shape, np.int64)
    for n, c in np.ndindex(*shape[:2]):
        here = [tuple(b[n, c] for b in pair) for pair in bounds]
        values[n:n + 1, c:c + 1], places[n:n + 1, c:c + 1] = _max_of_cells(
            input[n:n + 1, c:c + 1], here)
    return values, places


def _fractional(rank, input, kernel_size, output_size, output_ratio, return_indices, samples):
    name = f"fractional_max_pool{rank}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    kernel = numbers(name, "kernel_size", kernel_size, rank)
    if output_size is None:
        ratio = numbers(name, "output_ratio", output_ratio, rank)
        output_size = [int(n * r) for n, r in zip(input.shape[-rank:], ratio, strict=True)]
    sizes = numbers(name, "output_size", output_size, rank)
    for n, o, k in zip(input.shape[-rank:], sizes, kernel, strict=True):
        if o + k - 1 > n:
            raise RuntimeError(
                f"{name}: pool size ({k}) too large relative to input size ({n}) and output "
                f"size ({o})"
            )

    def pool(x):
        chosen = x.new_empty((*x.shape[:2], rank)).uniform_() if samples is None else samples
        return fractional_maxima(x, chosen, kernel, sizes)

    values, indices = batched(name, input, rank, pool)
    return (values, indices) if return_indices else values


@composite(autocast="float32", **FUNCTIONAL)
def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
    _random_samples=None,
):
    """Max pooling over windows at pseudo-random places, to `output_size` or a ratio of the input.

    >>> import iskra as torch
    >>> torch.nn.functional.fractional_max_pool2d(torch.ones(1, 5, 5), 2, output_size=3).shape
    iskra.Size([1, 3, 3])
    """
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


@composite(autocast="float32", **FUNCTIONAL)
def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
    _random_samples=None,
):
    """Max pooling over windows at pseudo-random places in three dimensions.

    >>> import iskra as torch
    >>> torch.nn.functional.fractional_max_pool3d(torch.ones(1, 4, 4, 4), 2, output_size=2).shape
    iskra.Size([1, 2, 2, 2])
    """
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def _unpool(rank, input, indices, kernel_size, stride, padding, output_size):
    name = f"max_unpool{rank}d"
    kernel = numbers(name, "kernel_size", kernel_size, rank)
    stride = kernel if stride is None else numbers(name, "stride", stride, rank)
    padding = numbers(name, "padding", padding, rank)
    default = [
        (n - 1) * s + k - 2 * p
        for n, s, k, p in zip(input.shape[-rank:], stride, kernel, padding, strict=True)
    ]
    sizes = default if output_size is None else list(output_size)[-rank:]
    for size, usual, step in zip(sizes, default, stride, strict=True):
        if not usual - step < size < usual + step:
            raise ValueError(
                f"invalid output_size {sizes}: each must be within its stride {stride} of {default}"
            )
    if input.shape != indices.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be: {format_shape(input.shape)} but got: "
            f"{format_shape(indices.shape)}"
        )
    lead = input.shape[:-rank]
    count = math.prod(sizes)
    if indices.numel() and not 0 <= indices.min().item() <= indices.max().item() < count:
        raise RuntimeError(f"{name}: Found an invalid max index (output volumes are {sizes})")
    flat = input.new_zeros((*lead, count))
    flat = flat.scatter(-1, indices.flatten(-rank), input.flatten(-rank))
    return flat.reshape((*lead, *sizes))


@composite(**FUNCTIONAL)
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put maxima back where `max_pool1d` took them from; zeros elsewhere.

    >>> import iskra as torch
    >>> x, at = torch.nn.functional.max_pool1d(torch.tensor([[1.0, 5.0]]), 2, return_indices=True)
    >>> torch.nn.functional.max_unpool1d(x, at, 2)
    tensor([[0., 5.]])
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@composite(autocast="float32", **FUNCTIONAL)
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put maxima back where `max_pool2d` took them from; zeros elsewhere.

    >>> import iskra as torch
    >>> f = torch.nn.functional
    >>> f.max_unpool2d(torch.ones(1, 1, 1), torch.tensor([[[3]]]), 2)
    tensor([[[0., 0.],
             [0., 1.]]])
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@composite(autocast="float32", **FUNCTIONAL)
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put maxima back where `max_pool3d` took them from; zeros elsewhere.

    >>> import iskra as torch
    >>> f = torch.nn.functional
    >>> f.max_unpool3d(torch.ones(1, 1, 1, 1), torch.tensor([[[[1]]]]), (1, 1, 2))
    tensor([[[[0., 1.]]]])
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
