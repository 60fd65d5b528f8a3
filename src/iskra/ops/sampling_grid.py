"""Sampling an image at the places of a grid, and grids of affine maps.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#vision-functions
"""

import itertools

import numpy as np

from iskra.autograd import grad as gradients_of
from iskra.autograd import is_grad_enabled
from iskra.codegen import kernels
from iskra.core import bool_
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.comparison import clamp, where
from iskra.tensor import wrap

FUNCTIONAL = dict(namespace="nn.functional", method=False, out=False)
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _unnormalise(place, size, align_corners):
    """From -1..1 to positions among the elements."""
    if align_corners:
        return (place + 1) * ((size - 1) / 2)
    return ((place + 1) * size - 1) / 2


def _reflect(place, low, span):
    """Fold positions back between `low` and `low + span`."""
    distance = place - low
    away = where(distance < 0, -distance, distance)
    rest = away - (away / (2 * span)).trunc().detach() * (2 * span)
    return where(rest > 2 * span - rest, 2 * span - rest, rest) + low


def _settle(place, size, padding_mode, align_corners):
    """Positions that lie outside, put where the padding mode says; those nowhere, at the first."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        if align_corners and size == 1:
            return place.nan_to_num(0.0, 0.0, 0.0) * 0
        low, span = (0, size - 1) if align_corners else (-0.5, size)
        place = _reflect(place.nan_to_num(0.0, 0.0, 0.0), low, span)
    # At the outermost elements too the derivative is 0.
    inside = (place > 0) & (place < size - 1)
    return where(inside, place, clamp(place.detach(), 0, size - 1).nan_to_num(0.0))


def _taken(input, places):
    """Elements ``(N, C, *grid)`` at whole positions, zero outside. One position per dimension."""
    sizes = input.shape[2:]
    count, channels = input.shape[:2]
    inside = np.ones(places[0].shape, bool)
    index = np.zeros(places[0].shape, np.int64)
    for place, size in zip(places, sizes, strict=True):
        inside &= (place >= 0) & (place < size)
        index = index * size + np.clip(place, 0, size - 1)
    grid = index.shape[1:]
    flat = wrap(np.ascontiguousarray(np.broadcast_to(
        index.reshape(count, 1, -1), (count, channels, index[0].size)
    )))
    values = input.reshape(count, channels, -1).gather(2, flat)
    mask = wrap(np.ascontiguousarray(inside.reshape(count, 1, -1)))
    return where(mask, values, values.new_zeros(())).reshape(count, channels, *grid)


def _whole(place):
    """Positions rounded down, as an integer array; NaN and far positions lie outside."""
    with np.errstate(invalid="ignore"):
        values = np.nan_to_num(np.floor(place.detach()._array), nan=-2, posinf=-2, neginf=-2)
    return np.clip(values, -(2**31), 2**31).astype(np.int64)


def _linear(input, places):
    """Weighted means of the corners around each place."""
    lows = [_whole(p) for p in places]
    parts = [p - wrap(low.astype(p._array.dtype)) for p, low in zip(places, lows, strict=True)]
    total = None
    for corner in itertools.product((0, 1), repeat=len(places)):
        weight = None
        for up, part in zip(corner, parts, strict=True):
            factor = part if up else 1 - part
            weight = factor if weight is None else weight * factor
        values = _taken(input, [low + up for low, up in zip(lows, corner, strict=True)])
        share = values * weight.unsqueeze(1)
        total = share if total is None else total + share
    return total


def _cubic_weights(t):
    """Keys' weights of four neighbours for a fraction `t`."""
    a = -0.75

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def _cubic(input, places, settle):
    lows = [p.detach().floor() for p in places]
    weights = [_cubic_weights(p - low) for p, low in zip(places, lows, strict=True)]
    total = None
    for row, column in itertools.product(range(4), repeat=2):
        values = _taken(input, settle([lows[0] + (row - 1), lows[1] + (column - 1)]))
        share = values * (weights[0][row] * weights[1][column]).unsqueeze(1)
        total = share if total is None else total + share
    return total


def _composed(input, grid, mode, padding_mode, align):
    """`grid_sample` as a composition of operators."""
    sizes = input.shape[2:]
    # The grid names the last dimension first.
    places = [
        _unnormalise(grid[..., len(sizes) - 1 - d], n, align) for d, n in enumerate(sizes)
    ]

    def settle(at):
        return [_settle(p, n, padding_mode, align) for p, n in zip(at, sizes, strict=True)]

    if mode == "bicubic":
        return _cubic(input, places, lambda at: [_whole(p) for p in settle(at)])
    if mode == "nearest":
        taken = _taken(input, [_whole(p.detach().round()) for p in settle(places)])
        # The grid's gradient is 0, not absent.
        return where(taken.new_zeros((), dtype=bool_), places[0].unsqueeze(1), taken)
    return _linear(input, settle(places))


_INTERNAL = dict(
    method=False, function=False, out=False,
    node=lambda input: f"GridSampler{input.ndim - 2}DBackward0",
)


def _setting(input, mode, padding_mode, align):
    return kernels.sampling.Setting(mode, padding_mode, align, input.ndim - 2)


@operator(**_INTERNAL, operands="grad input grid", outputs=2)
def sample_backward(grad, input, grid, mode, padding_mode, align, needs):
    """The gradients of `grid_sampler` for its operands."""
    setting = _setting(input, mode, padding_mode, align)
    return kernels.sampling.gradients(grad, input, grid, setting, *needs)


def _gradients(g, input, grid, needs, mode, padding_mode, align):
    if not is_grad_enabled():
        return sample_backward(g, input, grid, mode, padding_mode, align, needs)
    # To be differentiated again: by way of the composition.
    wanted = [x for x, need in zip((input, grid), needs, strict=True) if need]
    found = iter(gradients_of(
        _composed(input, grid, mode, padding_mode, align), wanted, g, create_graph=True,
        allow_unused=True,
    ))
    return tuple(next(found) if need else None for need in needs)


@operator(**_INTERNAL, operands="input grid", grad={("input", "grid"): _gradients})
def grid_sampler(input, grid, mode, padding_mode, align):
    """`_composed` in machine code, for what `sampling.serves` names."""
    setting = _setting(input, mode, padding_mode, align)
    return kernels.sampling.sample(input, grid, setting)


def _check_grid(input, grid, mode, padding_mode):
    if mode not in _MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in _PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if input.dim() not in (4, 5) or input.dim() != grid.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got input with sizes {format_shape(input.shape)} and grid with sizes "
            f"{format_shape(grid.shape)}"
        )
    if input.size(0) != grid.size(0):
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            f"sizes {format_shape(input.shape)} and grid with sizes {format_shape(grid.shape)}"
        )
    if grid.size(-1) != input.dim() - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.dim() - 2} in last dimension, but "
            f"got grid with sizes {format_shape(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            f"sizes {format_shape(input.shape)}"
        )
    if mode == "bicubic" and input.dim() != 4:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


@composite(autocast="float32", **FUNCTIONAL)
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """Sample ``(N, C, H, W)`` (or 5-D) at ``grid``: ``(N, h, w, 2)`` of x, y between -1 and 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html

    >>> import iskra as torch
    >>> x = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> torch.nn.functional.grid_sample(x, torch.zeros(1, 1, 1, 2), align_corners=False)
    tensor([[[[1.5000]]]])
    """
    _check_grid(input, grid, mode, padding_mode)
    how = mode, padding_mode, bool(align_corners)
    if kernels.sampling.serves(input._array, grid._array):
        return grid_sampler(input, grid, *how)
    return _composed(input, grid, *how)


@composite(**FUNCTIONAL)
def affine_grid(theta, size, align_corners=None):
    """The grid of an affine map: `theta` is ``(N, 2, 3)`` for size ``(N, C, H, W)``, or 5-D.

    >>> import iskra as torch
    >>> theta = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> torch.nn.functional.affine_grid(theta, (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    rank = len(size) - 2
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {tuple(size)}."
        )
    if theta.dim() != 3 or tuple(theta.shape[1:]) != (rank, rank + 1):
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size "
            f"{tuple(size)}. Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    axes = []
    for n in size[2:]:
        places = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        axes.append(places if align_corners else places * ((n - 1) / n))
    grids = np.meshgrid(*axes, indexing="ij")
    points = np.stack([*reversed(grids), np.ones_like(grids[0])], -1).reshape(1, -1, rank + 1)
    base = wrap(points.astype(theta._array.dtype)).expand(size[0], -1, -1)
    return (base @ theta.transpose(1, 2)).reshape(size[0], *size[2:], rank)


