"""Sliding blocks as columns, and columns added back into an image: unfold and fold.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#vision-functions
"""

import math

import numpy as np

from iskra.codegen import kernels
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.conv import padded, windows
from iskra.ops.large import is_large

INTERNAL = dict(method=False, function=False, out=False, computes=True)
FUNCTIONAL = dict(namespace="nn.functional", method=False)


def _blocks(size, kernel, dilation, padding, stride):
    """How many blocks fit along each dimension."""
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    )


@operator(**INTERNAL, node="Im2ColBackward0", grad=(
    lambda g, input_shape, kernel, dilation, padding, stride: columns_to_image(
        g, input_shape[2:], kernel, dilation, padding, stride
    )
))
def image_to_columns(input, kernel, dilation, padding, stride):
    """``(N, C, H, W)`` to ``(N, C * places in the kernel, blocks)``."""
    if is_large(input):
        blocks = _blocks(input.shape[2:], kernel, dilation, padding, stride)
        grid = kernels.windows.Grid(input.shape[2:], blocks, kernel, stride, padding, dilation)
        found = kernels.windows.unfold(input, grid)
        if found is not None:
            return found
    seen = windows(padded(input, padding), kernel, stride, dilation)
    count, channels = input.shape[:2]
    columns = seen.transpose(0, 1, 4, 5, 2, 3)
    return columns.reshape(count, channels * math.prod(kernel), math.prod(seen.shape[2:4]))


@operator(**INTERNAL, node="Col2ImBackward0", grad=(
    lambda g, kernel, dilation, padding, stride: image_to_columns(
        g, kernel, dilation, padding, stride
    )
))
def columns_to_image(input, size, kernel, dilation, padding, stride):
    """``(N, C * places, blocks)`` to ``(N, C, *size)``; overlapping elements are summed."""
    blocks = _blocks(size, kernel, dilation, padding, stride)
    if is_large(input):
        grid = kernels.windows.Grid(tuple(size), blocks, kernel, stride, padding, dilation)
        found = kernels.windows.fold(input, grid)
        if found is not None:
            return found
    count = input.shape[0]
    channels = input.shape[1] // math.prod(kernel)
    columns = input.reshape(count, channels, *kernel, *blocks)
    wide = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    result = np.zeros((count, channels, *wide), input.dtype)
    for row, column in np.ndindex(*kernel):
        top, left = row * dilation[0], column * dilation[1]
        rows = slice(top, top + stride[0] * (blocks[0] - 1) + 1, stride[0])
        places = slice(left, left + stride[1] * (blocks[1] - 1) + 1, stride[1])
        result[:, :, rows, places] += columns[:, :, row, column]
    inner = tuple(slice(p, p + n) for p, n in zip(padding, size, strict=True))
    return np.ascontiguousarray(result[(slice(None), slice(None), *inner)])


def _pair(name, label, value):
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) == 1:
        pair *= 2
    if len(pair) != 2:
        raise RuntimeError(f"{name}: {label} must be one or two ints, got {value}")
    return pair


def _settings(name, kernel_size, dilation, padding, stride):
    kernel = _pair(name, "kernel_size", kernel_size)
    dilation = _pair(name, "dilation", dilation)
    padding = _pair(name, "padding", padding)
    stride = _pair(name, "stride", stride)
    for label, values, least in (
        ("kernel_size", kernel, 1), ("dilation", dilation, 1), ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        if min(values) < least:
            what = "greater than zero" if least else "non-negative"
            raise RuntimeError(f"{name}: {label} should be {what}, but got {values}")
    return kernel, dilation, padding, stride


@composite(**FUNCTIONAL, out=True, samples=lambda make: [
    ((make((2, 3, 4, 5)), (2, 3)), {"padding": 1}),
    ((make((2, 4, 5)), 2), {"stride": 2, "dilation": 2}),
])
def functional_unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Sliding blocks of ``(N, C, H, W)`` as columns: ``(N, C * places, blocks)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html

    >>> import iskra as torch
    >>> torch.nn.functional.unfold(torch.arange(4.0).reshape(1, 1, 2, 2), (1, 2))
    tensor([[[0., 2.],
             [1., 3.]]])
    """
    kernel, dilation, padding, stride = _settings("unfold", kernel_size, dilation, padding, stride)
    if input.dim() not in (3, 4) or 0 in input.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {format_shape(input.shape)}"
        )
    blocks = _blocks(input.shape[-2:], kernel, dilation, padding, stride)
    if min(blocks) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(input.shape[-2:])}, kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, stride={stride}, calculated shape of the "
            f"array of sliding blocks as {blocks}, but its components must be at least one."
        )
    batch = input if input.dim() == 4 else input.unsqueeze(0)
    result = image_to_columns(batch, kernel, dilation, padding, stride)
    return result if input.dim() == 4 else result.squeeze(0)


@composite(**FUNCTIONAL, out=True, samples=lambda make: [
    ((make((2, 12, 6)), (3, 4), (2, 2)), {}), ((make((12, 12)), (4, 5), 2), {}),
])
def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Add columns ``(N, C * places, blocks)`` back into an image ``(N, C, *output_size)``.

    Raises RuntimeError where the columns cannot be those of such an image.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fold.html

    >>> import iskra as torch
    >>> torch.nn.functional.fold(torch.ones(1, 2, 2), (1, 3), (1, 2))
    tensor([[[[1., 2., 1.]]]])
    """
    kernel, dilation, padding, stride = _settings("fold", kernel_size, dilation, padding, stride)
    size = _pair("fold", "output_size", output_size)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {format_shape(input.shape)}"
        )
    if input.shape[-2] % math.prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={input.shape[-2]} and kernel_size={kernel}."
        )
    blocks = _blocks(size, kernel, dilation, padding, stride)
    if math.prod(blocks) != input.shape[-1] or min(blocks) < 1:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, expected size of input's dimension 2 to match "
            f"the calculated number of sliding blocks {blocks[0]} * {blocks[1]} = "
            f"{math.prod(blocks)}, but got input.size(2)={input.shape[-1]}."
        )
    batch = input if input.dim() == 3 else input.unsqueeze(0)
    result = columns_to_image(batch, size, kernel, dilation, padding, stride)
    return result if input.dim() == 3 else result.squeeze(0)
