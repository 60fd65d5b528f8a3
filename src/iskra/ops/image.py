"""Resizing images and shuffling their channels: interpolate, upsample, pixel_shuffle.

Each kind of interpolation is a linear map along every spatial dimension, one after the other.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#vision-functions
"""

import functools
import math

import numpy as np

from iskra.codegen import kernels
from iskra.core.dtypes import uint8
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.adaptive_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from iskra.ops.bands import Band, mapped, picked, transposed
from iskra.ops.formats import laid_out_as
from iskra.ops.large import is_large
from iskra.ops.slicing import as_int

INTERNAL = dict(method=False, function=False, out=False, computes=True)
FUNCTIONAL = dict(namespace="nn.functional", method=False)
BOTH = dict(namespace="torch nn.functional", method=False)

_RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_AREA = (None, adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)


def _step(size, output, factor, align_corners):
    """How far apart the sources of neighbouring outputs are."""
    if align_corners:
        return (size - 1) / (output - 1) if output > 1 else 0.0
    return 1 / factor if factor else size / output


def _sources(size, output, factor, align_corners):
    """Where each output lies among the inputs."""
    step = _step(size, output, factor, align_corners)
    places = np.arange(output)
    return places * step if align_corners else (places + 0.5) * step - 0.5


def _triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x, a):
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _plain_band(size, output, factor, cubic, align_corners):
    """Weights of two (or four) neighbours; those beyond the edge count as the edge."""
    source = _sources(size, output, factor, align_corners)
    if not cubic and not align_corners:
        source = np.maximum(source, 0)
    places = np.floor(source).astype(np.int64) + np.arange(-1 if cubic else 0, 3 if cubic else 2)[
        :, None]
    weights = _cubic(source - places, -0.75) if cubic else _triangle(source - places)
    return Band(size, np.clip(places, 0, size - 1), weights)


def _antialiased_band(size, output, factor, cubic, align_corners):
    """Weights of all inputs under a filter that is as wide as an output."""
    step = _step(size, output, factor, align_corners)
    wide = max(step, 1.0)
    support = (2.0 if cubic else 1.0) * wide
    centers = step * (np.arange(output) + 0.5)
    low = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centers + support + 0.5).astype(np.int64), size)
    places = low + np.arange(max((high - low).max(), 1))[:, None]
    distance = (places - centers + 0.5) / wide
    weights = _cubic(distance, -0.5) if cubic else _triangle(distance)
    weights = np.where(places < high, weights, 0)
    return Band(size, np.where(places < high, places, -1), weights / weights.sum(0))


@functools.lru_cache(512)
def _bands(shape, sizes, factors, mode, align_corners, antialias):
    """The maps of all dimensions."""
    make = _antialiased_band if antialias else _plain_band
    return tuple(
        make(n, o, f, mode == "bicubic", align_corners)
        for n, o, f in zip(shape, sizes, factors, strict=True)
    )


def _resample_node(sizes, mode, antialias):
    kind = "AA" if antialias else ""
    return f"Upsample{mode.capitalize()}{len(sizes)}D{kind}Backward0"


@operator(**INTERNAL, accepts="float", node=_resample_node, grad=(
    lambda g, input_shape, factors, mode, align_corners, antialias: resample_back(
        g, input_shape, factors, mode, align_corners, antialias
    )
), samples=lambda make: [
    ((make((1, 2, 3, 4)), (5, 2), (None, None), "bilinear", False, False), {}),
    ((make((1, 2, 5)), (3,), (None,), "linear", True, False), {}),
])
def resample(input, sizes, factors, mode, align_corners, antialias):
    """The operator behind the linear and cubic modes of `interpolate`."""
    return mapped(input, _bands(
        tuple(input.shape[2:]), tuple(sizes), tuple(factors), mode, align_corners, antialias
    ))


@operator(**INTERNAL, grad=(
    lambda g, grad_shape, factors, mode, align_corners, antialias: resample(
        g, tuple(grad_shape[2:]), factors, mode, align_corners, antialias
    )
))
def resample_back(grad, shape, factors, mode, align_corners, antialias):
    """The gradient of `resample` for an input of this shape."""
    bands = _bands(
        tuple(shape[2:]), tuple(grad.shape[2:]), tuple(factors), mode, align_corners, antialias
    )
    return mapped(grad, tuple(map(transposed, bands)))


def _fixed_point(matrix):
    """The weights as whole numbers of 1/2**bits, as many bits as int16 has room for; the bits."""
    bits = 0
    while bits < 22 and int(0.5 + matrix.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    scaled = matrix * (1 << bits)
    return np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int64), bits


@operator(method=False, function=False, out=False)
def resample_bytes(input, sizes, factors, mode, align_corners, antialias):
    """`resample` of uint8 images: in fixed point, rounded to bytes after each dimension."""
    bands = _bands(
        tuple(input.shape[2:]), tuple(sizes), tuple(factors), mode, align_corners, antialias
    )
    for axis in reversed(range(2, input.ndim)):  # the last dimension first
        if input.shape[axis] == sizes[axis - 2]:
            continue
        weights, bits = _fixed_point(bands[axis - 2].matrix())
        sums = np.moveaxis(np.moveaxis(input, axis, -1) @ weights.T, -1, axis)
        input = np.clip((sums + (1 << bits >> 1)) >> bits, 0, 255).astype(np.uint8)
    return np.copy(input)


def _nearest_places(size, output, factor, exact):
    """The element into which each output falls."""
    step = np.float32(1 / factor if factor else size / output)
    places = np.arange(output, dtype=np.float32) + np.float32(0.5 if exact else 0)
    return np.minimum(np.floor(places * step), size - 1).astype(np.int64)


@functools.lru_cache(512)
def _nearest_bands(shape, sizes, factors, exact):
    return tuple(
        Band(n, _nearest_places(n, o, f, exact)[None])
        for n, o, f in zip(shape, sizes, factors, strict=True)
    )


_NEAREST = dict(method=False, function=False, out=False)


@operator(
    **_NEAREST, node=lambda sizes, exact: (
        f"UpsampleNearest{'Exact' if exact else ''}{len(sizes)}DBackward0"
    ),
    grad=lambda g, input_shape, factors, exact: nearest_back(g, input_shape, factors, exact),
    samples=lambda make: [
        ((make((1, 2, 3, 4)), (5, 2), (None, None), False), {}),
        ((make((1, 2, 5)), (7,), (None,), True), {}),
    ],
)
def nearest(input, sizes, factors, exact):
    """The operator behind the modes nearest and nearest-exact of `interpolate`."""
    return picked(input, _nearest_bands(
        tuple(input.shape[2:]), tuple(sizes), tuple(factors), exact
    ))


@operator(**_NEAREST, computes=True, grad=lambda g, grad_shape, factors, exact: nearest(
    g, tuple(grad_shape[2:]), factors, exact
))
def nearest_back(grad, shape, factors, exact):
    """The gradient of `nearest` for an input of this shape."""
    if grad.dtype.kind == "f" and is_large(grad):
        bands = _nearest_bands(tuple(shape[2:]), tuple(grad.shape[2:]), tuple(factors), exact)
        return mapped(grad, tuple(map(transposed, bands)))
    total = grad
    for axis, (size, factor) in enumerate(zip(shape[2:], factors, strict=True), 2):
        places = _nearest_places(size, total.shape[axis], factor, exact)
        starts = np.flatnonzero(np.diff(places, prepend=-1))  # places never go back
        sums = np.add.reduceat(total, starts, axis)
        spread = (*total.shape[:axis], size, *total.shape[axis + 1:])
        total = np.zeros_like(sums, shape=spread, subok=False)
        total[(slice(None),) * axis + (places[starts],)] = sums
    return laid_out_as(total, grad)


def _output(input, size, scale_factor, recompute):
    """The output's sizes, and the factors that set the sources (None: set by the sizes)."""
    rank = input.dim() - 2
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "only one of size or scale_factor should be defined"
            if size is not None else "either size or scale_factor should be defined"
        )
    given = size if size is not None else scale_factor
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * rank
    if len(values) != rank:
        raise ValueError(
            f"Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(input.shape[2:])} and output size of {given}. Please "
            "provide input tensor in (N, C, d1, d2, ...,dK) format and output size in "
            "(o1, o2, ...,oK) format."
        )
    if size is not None:
        return tuple(as_int(v, "interpolate", "size") for v in values), (None,) * rank
    sizes = tuple(math.floor(n * v) for n, v in zip(input.shape[2:], values, strict=True))
    return sizes, (None,) * rank if recompute else tuple(float(v) for v in values)


def _check_interpolate(input, mode, align_corners, antialias, recompute, size):
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | "
                "bilinear | bicubic | trilinear"
            )
    elif mode not in _RANKS:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the "
            f"modes: nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact "
            f"(got {mode})"
        )
    elif _RANKS[mode] != input.dim() - 2:
        raise NotImplementedError(
            f"Got {input.dim()}D input, but {mode} mode needs {_RANKS[mode] + 2}D input"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )
    if recompute and size is not None:
        raise ValueError(
            "recompute_scale_factor is not meaningful with an explicit size."
        )
    if input.dim() not in (3, 4, 5):
        raise NotImplementedError(
            f"interpolate: expected a 3D, 4D or 5D input, got shape {format_shape(input.shape)}"
        )


@composite(**FUNCTIONAL)
def interpolate(
    input, size=None, scale_factor=None, mode="nearest", align_corners=None,
    recompute_scale_factor=None, antialias=False,
):
    """Resize ``(N, C, *space)`` to `size`, or by `scale_factor`.

    `mode` is nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area.
    Raises ValueError unless exactly one of size and factor is given.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html

    >>> import iskra as torch
    >>> x = torch.tensor([[[0.0, 2.0]]])
    >>> torch.nn.functional.interpolate(x, size=4, mode="linear")
    tensor([[[0.0000, 0.5000, 1.5000, 2.0000]]])
    """
    _check_interpolate(input, mode, align_corners, antialias, recompute_scale_factor, size)
    sizes, factors = _output(input, size, scale_factor, recompute_scale_factor)
    if min(sizes) <= 0 or 0 in input.shape[1:]:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"{format_shape(input.shape)} and output {format_shape(sizes)}"
        )
    if mode.startswith("nearest"):
        return nearest(input, sizes, factors, mode == "nearest-exact")
    if mode == "area":
        return _AREA[len(sizes)](input, sizes)
    kernel = resample
    if input.dtype is uint8 and mode in ("bilinear", "bicubic"):
        kernel = resample_bytes
    return kernel(input, sizes, factors, mode, bool(align_corners), antialias)


@composite(**FUNCTIONAL)
def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """`interpolate` under an older name.

    >>> import iskra as torch
    >>> torch.nn.functional.upsample(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@composite(**FUNCTIONAL)
def upsample_nearest(input, size=None, scale_factor=None):
    """`interpolate` with mode nearest.

    >>> import iskra as torch
    >>> torch.nn.functional.upsample_nearest(torch.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return interpolate(input, size, scale_factor, "nearest")


@composite(**FUNCTIONAL)
def upsample_bilinear(input, size=None, scale_factor=None):
    """`interpolate` with mode bilinear and aligned corners.

    >>> import iskra as torch
    >>> torch.nn.functional.upsample_bilinear(torch.tensor([[[[0.0, 2.0]]]]), size=(1, 3))
    tensor([[[[0., 1., 2.]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


def _pixel_grid(size, r):
    """The blocks of r × r pixels of an image."""
    blocks = tuple(n // r for n in size)
    return kernels.windows.Grid(tuple(size), blocks, (r, r), (r, r), (0, 0), (1, 1))


@operator(
    method=False, function=False, out=False, node="PixelShuffleBackward0",
    grad=lambda g, factor: unshuffle_pixels(g, factor),
    samples=lambda make: [((make((2, 8, 3, 2)), 2), {}), ((make((9, 1, 2)), 3), {})],
)
def shuffle_pixels(input, factor):
    """The operator behind `pixel_shuffle`."""
    *lead, channels, height, width = input.shape
    shape = (*lead, channels // factor**2, height * factor, width * factor)
    if is_large(input):  # channels are what blocks of pixels were laid out as
        columns = input.reshape(-1, channels, height * width)
        found = kernels.windows.fold(columns, _pixel_grid(shape[-2:], factor))
        if found is not None:
            return found.reshape(shape)
    planes = math.prod(shape[:-2])
    split = np.reshape(input, (planes, factor, factor, height, width))
    return np.reshape(np.transpose(split, (0, 3, 1, 4, 2)), shape)


@operator(
    method=False, function=False, out=False, node="PixelUnshuffleBackward0",
    grad=lambda g, factor: shuffle_pixels(g, factor),
    samples=lambda make: [((make((2, 3, 4, 6)), 2), {}), ((make((1, 3, 3)), 3), {})],
)
def unshuffle_pixels(input, factor):
    """The operator behind `pixel_unshuffle`."""
    *lead, channels, height, width = input.shape
    shape = (*lead, channels * factor**2, height // factor, width // factor)
    if is_large(input):
        images = input.reshape(-1, *input.shape[-3:])
        found = kernels.windows.unfold(images, _pixel_grid(input.shape[-2:], factor))
        if found is not None:
            return found.reshape(shape)
    planes = math.prod(input.shape[:-2])
    split = np.reshape(input, (planes, height // factor, factor, width // factor, factor))
    return np.reshape(np.transpose(split, (0, 2, 4, 1, 3)), shape)


@composite(**BOTH)
def pixel_shuffle(input, upscale_factor):
    """Rearrange ``(*, C * r**2, H, W)`` to ``(*, C, H * r, W * r)``.

    >>> import iskra as torch
    >>> torch.nn.functional.pixel_shuffle(torch.arange(4.0).reshape(4, 1, 1), 2)
    tensor([[[0., 1.],
             [2., 3.]]])
    """
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    return shuffle_pixels(input, r)


@composite(**BOTH)
def pixel_unshuffle(input, downscale_factor):
    """Rearrange ``(*, C, H * r, W * r)`` to ``(*, C * r**2, H, W)``.

    >>> import iskra as torch
    >>> torch.nn.functional.pixel_unshuffle(torch.arange(4.0).reshape(1, 2, 2), 2).flatten()
    tensor([0., 1., 2., 3.])
    """
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if height % r or width % r:
        raise RuntimeError(
            "pixel_unshuffle expects height and width to be divisible by downscale_factor, but "
            f"got {height} x {width} and {r}"
        )
    return unshuffle_pixels(input, r)


@composite(**BOTH)
def channel_shuffle(input, groups):
    """Mix the channels of `groups` groups: ``(N, g * c, *)`` in the order of c, then g.

    >>> import iskra as torch
    >>> torch.nn.functional.channel_shuffle(torch.arange(4).reshape(1, 4, 1), 2).flatten()
    tensor([0, 2, 1, 3])
    """
    if input.dim() < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{format_shape(input.shape)}"
        )
    if groups <= 0 or input.size(1) % groups:
        raise RuntimeError(
            "Number of channels must be divisible by groups. Got "
            f"{input.size(1)} channels and {groups} groups."
        )
    split = input.reshape(input.size(0), groups, input.size(1) // groups, *input.shape[2:])
    return split.transpose(1, 2).reshape(input.shape)
