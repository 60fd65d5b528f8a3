"""Padding: constants, reflections, repeated edges, and wrapping around.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html
"""

import functools
from operator import index as operator_index

import numpy as np

from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.large import is_large
from iskra.ops.moving import arranged, filled, put
from iskra.tensor import Tensor

_ALL = slice(None)
INTERNAL = dict(method=False, function=False, out=False)
_NAMES = {"reflect": "reflection_pad", "replicate": "replication_pad", "circular": "circular_pad"}
_NODES = {"reflect": "ReflectionPad{}DBackward0", "replicate": "ReplicationPad{}DBackward0"}


def _sides(pad, rank):
    """``(dimension, before, after)`` for every padded dimension; `pad` begins with the last."""
    return [(rank - 1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]


def _check_constant(shape, pad):
    if len(pad) % 2:
        raise RuntimeError(
            f"constant_pad_nd: Length of pad must be even but instead it equals {len(pad)}"
        )
    if len(pad) > 2 * len(shape):
        raise RuntimeError(
            "constant_pad_nd: Length of pad should be no more than twice the number of dimensions "
            f"of the input. Pad length is {len(pad)} while the input has {len(shape)} dimensions."
        )
    for dim, before, after in _sides(pad, len(shape)):
        if shape[dim] + min(before, 0) + min(after, 0) < 0:
            raise RuntimeError(
                f"constant_pad_nd: The input size {shape[dim]}, plus negative padding {before} and "
                f"{after} resulted in a negative output size, which is invalid. Check dimension "
                f"{dim} of your input."
            )


def _shared(size, before, after):
    """The part of a dimension that padding keeps: a slice of the input, and of the output."""
    start = max(0, -before)
    stop = max(size + min(0, after), start)
    return slice(start, stop), slice(start + before, stop + before)


@operator(
    method=False, out=False, rearranges=True, repeats=True,
    grad=lambda g, pad: constant_pad_nd(g, tuple(-p for p in pad)),
    samples=lambda make: [
        ((make((3, 4)), (1, 2)), {}), ((make((2, 3, 4)), (0, 1, -1, 2), 1), {}),
        ((make((3,)), (-1, -1)), {}),
    ],
)
def constant_pad_nd(input, pad, value=0):
    """Return a copy with `value` around it: see `torch.nn.functional.pad`.

    >>> import iskra as torch
    >>> torch.constant_pad_nd(torch.tensor([1, 2]), (1, 0), 7)
    tensor([7, 1, 2])
    """
    _check_constant(input.shape, pad)
    shape = list(input.shape)
    source, target = [slice(None)] * input.ndim, [slice(None)] * input.ndim
    for dim, before, after in _sides(pad, input.ndim):
        source[dim], target[dim] = _shared(shape[dim], before, after)
        shape[dim] += before + after
    result = np.empty_like(input, shape=tuple(shape), order="C", subok=False)
    if is_large(result):
        _surround(result, target, value)
    else:
        result[...] = input.dtype.type(value)
    put(result[tuple(target)], input[tuple(source)])
    return result


def _surround(array, inside, value):
    """Write `value` wherever an array is not `inside`, a list with a slice for each dimension."""
    region = list(inside)
    for dim, part in enumerate(inside):
        low, high, _ = part.indices(array.shape[dim])
        for side in (slice(None, low), slice(max(low, high), None)):
            region[dim] = side
            filled(array[tuple(region)], value)
        region[dim] = _ALL


def _places(size, before, after, mode):
    """Which element of a dimension each place of the padded one shows."""
    places = np.arange(-before, size + after)
    if mode == "replicate":
        return np.clip(places, 0, size - 1)
    if mode == "circular":  # around what is left after cropping
        start, kept = max(0, -before), size + min(0, before) + min(0, after)
        return start + (places - start) % kept
    return size - 1 - np.abs(size - 1 - np.abs(places))


def _node_of_edges(pad, mode):
    return _NODES[mode].format(len(pad) // 2) if mode in _NODES else "CopySlices"


@operator(
    **INTERNAL, node=_node_of_edges, rearranges=True, repeats=True,
    grad=lambda g, input_shape, pad, mode: edge_fold(g, tuple(input_shape), pad, mode),
    samples=lambda make: [
        ((make((2, 3, 4)), (2, 1), "reflect"), {}),
        ((make((3, 4)), (5, -1, 0, 2), "replicate"), {}),
        ((make((2, 3)), (3, -1), "circular"), {}),
    ],
)
def edge_pad(input, pad, mode):
    """The input with elements of its own around it."""
    if min(pad) >= 0 and input.size:
        return _with_strips(input, pad, mode)
    for dim, before, after in _sides(pad, input.ndim):
        input = np.take(input, _places(input.shape[dim], before, after, mode), dim)
    return np.ascontiguousarray(input)


def _with_strips(input, pad, mode):
    """The same, of copies: first the middle, then strips of what is there already."""
    shape, region = list(input.shape), [_ALL] * input.ndim
    for dim, before, after in _sides(pad, input.ndim):
        region[dim] = slice(before, before + shape[dim])
        shape[dim] += before + after
    result = np.empty_like(input, shape=tuple(shape), order="C", subok=False)
    put(result[tuple(region)], input)
    for dim, before, after in _sides(pad, input.ndim):
        first, size = before, input.shape[dim]
        for count, places, shown in (
                (before, slice(0, before), _STRIPS[mode, "before"](first, size, before)),
                (after, slice(first + size, None), _STRIPS[mode, "after"](first, size, after))):
            if count:
                part = (*region[:dim], places, *region[dim + 1:])
                of = (*region[:dim], shown, *region[dim + 1:])
                put(result[part], np.broadcast_to(result[of], result[part].shape))
        region[dim] = _ALL
    return result


def _backwards(low, high):
    """The places from `high` - 1 down to `low`."""
    return slice(high - 1, low - 1 if low else None, -1)


# What the strips of `count` places before and after `size` places from `first` on show.
_STRIPS = {
    ("reflect", "before"): lambda first, size, count: _backwards(first + 1, first + 1 + count),
    ("reflect", "after"): lambda first, size, count: _backwards(
        first + size - 1 - count, first + size - 1),
    ("replicate", "before"): lambda first, size, count: slice(first, first + 1),
    ("replicate", "after"): lambda first, size, count: slice(first + size - 1, first + size),
    ("circular", "before"): lambda first, size, count: slice(first + size - count, first + size),
    ("circular", "after"): lambda first, size, count: slice(first, first + count),
}


def _fold(array, dim, size, before, after, mode):
    """Add each place's number to the element that the place shows."""
    if min(before, after) < 0:
        return _fold_cropped(array, dim, size, before, _places(size, before, after, mode))
    along = (_ALL,) * dim
    total = arranged(array[*along, slice(before, before + size)])
    strips = (("before", before, slice(0, before)), ("after", after, slice(before + size, None)))
    for side, count, places in strips:
        if count:
            strip = array[*along, places]
            if mode == "replicate":
                strip = strip.sum(dim, keepdims=True)
            total[*along, _STRIPS[mode, side](0, size, count)] += strip
    return total


def _fold_cropped(array, dim, size, before, places):
    """The same where some elements are not shown."""
    rows = np.moveaxis(array, dim, 0)
    total = np.zeros_like(rows, shape=(size, *rows.shape[1:]), order="C")
    inner, outer = _shared(size, before, len(places) - size - before)
    total[inner] = rows[outer]
    for place, element in enumerate(places):
        if not outer.start <= place < outer.stop:
            total[element] += rows[place]
    return np.moveaxis(total, 0, dim)


@operator(
    **INTERNAL, computes=True,
    grad=lambda g, pad, mode: edge_pad(g, pad, mode),
)
def edge_fold(grad, shape, pad, mode):
    """The gradient of `edge_pad` for an input of this shape."""
    for dim, before, after in _sides(pad, grad.ndim):
        grad = _fold(grad, dim, shape[dim], before, after, mode)
    return np.ascontiguousarray(grad)


@functools.lru_cache(512)
def _check_edges(shape, pad, mode):
    """What PyTorch asks of an input that is padded with elements of its own."""
    count, name = len(pad) // 2, f"{_NAMES[mode]}{len(pad) // 2}d"
    batch = len(shape) == count + 2
    if mode != "circular" and 0 in shape[1 if batch else 0:]:
        raise RuntimeError(
            f"{name}: Expected {count + 1}D or {count + 2}D (batch mode) tensor with possibly 0 "
            f"batch size and other non-zero dimensions for input, but got: {format_shape(shape)}"
        )
    for dim, before, after in _sides(pad, len(shape)):
        size = shape[dim]
        if mode == "reflect" and (before >= size or after >= size):
            raise RuntimeError(
                f"{name}: Padding size should be less than the corresponding input dimension, but "
                f"got: padding ({before}, {after}) at dimension {dim} of input "
                f"{format_shape(shape)}"
            )
        left = size + (min(before, 0) + min(after, 0) if mode == "circular" else before + after)
        if mode == "circular" and max(before, after) > max(left, 0):
            raise RuntimeError(
                f"{name}: Padding value causes wrapping around more than once: padding ({before}, "
                f"{after}) at dimension {dim} of input {format_shape(shape)}"
            )
        if left < (mode != "circular"):
            raise RuntimeError(
                f"{name}: input {format_shape(shape)} is too small. Calculated output size: "
                f"{left} at dimension {dim}, from padding ({before}, {after})"
            )


def _pad_numbers(pad):
    """`pad` as a tuple of ints."""
    if not isinstance(pad, (tuple, list)):
        raise TypeError(
            f"pad(): argument 'pad' (position 2) must be tuple of ints, not {type(pad).__name__}"
        )
    try:
        return tuple(map(operator_index, pad))
    except TypeError:
        raise TypeError(
            f"pad(): argument 'pad' (position 2) must be tuple of ints, not {pad}"
        ) from None


def _pad_edges(input, pad, mode):
    rank = input.dim()
    if mode not in _NAMES:
        raise NotImplementedError(
            f"Unrecognised padding mode {mode}; there are 'constant', 'reflect', 'replicate' and "
            "'circular'"
        )
    if len(pad) not in (2, 4, 6) or rank not in (len(pad) // 2 + 1, len(pad) // 2 + 2):
        raise NotImplementedError(
            f"Padding size {len(pad)} is not supported for {rank}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )
    _check_edges(input.shape, pad, mode)
    return edge_pad(input, pad, mode)


@composite(
    namespace="nn.functional",
    samples=lambda make: [
        ((make((2, 3)), (1, 2)), {}), ((make((2, 3)), (1, 0, 2, -1), "constant", 1), {}),
        ((make((2, 3, 4)), (2, 1), "reflect"), {}), ((make((3, 4, 5)), (3, -1, 1, 2)), {}),
        ((make((3, 4, 4)), (3, -1, 1, 2), "reflect"), {}),
        ((make((2, 3, 4)), (5, -1), "replicate"), {}),
        ((make((1, 2, 2, 3)), (1, 1, 0, 2, 1, 0), "replicate"), {}),
        ((make((1, 2, 3, 4)), (4, 1, -1, 2), "circular"), {}),
    ],
)
def pad(input, pad, mode="constant", value=None):
    """Return a copy with elements added around it, or, where a number is negative, cut off.

    `pad` holds two numbers, before and after, for each padded dimension, the last dimension
    first. `mode` says what is added: "constant" (`value`, 0 by default; any number of dimensions),
    or, for the last 1 to 3 dimensions of a batch or sample with channels, "reflect" (mirrored
    without the edge), "replicate" (the edge repeated) or "circular" (the other end).

    Raises NotImplementedError for another mode or a `pad` that does not fit the rank,
    RuntimeError for an odd number of numbers, for too much padding, or a negative size.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html

    >>> import iskra as torch
    >>> x = torch.tensor([[1.0, 2.0, 3.0]])
    >>> torch.nn.functional.pad(x, (1, 2))
    tensor([[0., 1., 2., 3., 0., 0.]])
    >>> torch.nn.functional.pad(x, (2, -1), "reflect")
    tensor([[3., 2., 1., 2.]])
    """
    if not isinstance(input, Tensor):
        raise TypeError(
            f"pad(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    pad = _pad_numbers(pad)
    if len(pad) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {len(pad)} numbers")
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    if value:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument, got {value}')
    return _pad_edges(input, pad, mode)
