"""Normalisation of each sample by itself: groups of channels, single channels, neighbouring ones.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#normalization-functions
"""

import math

from iskra.autograd import no_grad
from iskra.core.size import format_shape
from iskra.dispatch import calling, composite, operator
from iskra.dispatch.execute import on_arrays
from iskra.ops.joining import cat
from iskra.ops.normalization import (
    BOTH,
    FUNCTIONAL,
    INTERNAL,
    affine_standard,
    batch_norm,
    check_batch_norm,
    moved_towards,
    norm_backward,
    norm_curvature,
)


def _grouped(input, weight, bias, count):
    """Input, weight and bias with the channels split into groups; and the dims of one group."""
    channels = input.shape[1]
    split = (count, channels // count)
    ones = (1,) * (input.ndim - 2)
    rows = input.reshape((input.shape[0], *split, *input.shape[2:]))
    affine = [None if v is None else v.reshape((*split, *ones)) for v in (weight, bias)]
    return rows, *affine, tuple(range(2, rows.ndim))


def _reshaped(values, *shapes):
    return tuple(None if v is None else v.reshape(s) for v, s in zip(values, shapes, strict=True))


def _group_norm_curvature(g, needs, grad, input, num_groups, weight, eps):
    rows, weights, _, dims = _grouped(input, weight, None, num_groups)
    shape = rows.shape[1:3] + (1,) * (input.ndim - 2)
    to_grad, to_input, to_weight = norm_curvature(
        _reshaped(g, rows.shape, shape, shape), needs, grad.reshape(rows.shape), rows, weights,
        dims, eps)
    if to_weight is not None:
        to_weight = to_weight.sum_to_size(shape)
    return _reshaped((to_grad, to_input, to_weight), grad.shape, input.shape, (-1,))


@operator(
    **INTERNAL, operands="input grad weight mean scale", outputs=3, accepts="float",
    computes=True, repeats=True, grad={("grad", "input", "weight"): _group_norm_curvature},
    samples=lambda make: [
        ((make((2, 4, 3)), make((2, 4, 3)), 2, make((4,)), None, None, 1e-5), {}),
    ],
)
def group_norm_backward(grad, input, num_groups, weight, mean, scale, eps,
                        wanted=(True, True, True)):
    """The gradients of `group_norm`."""
    rows, weights, _, dims = _grouped(input, weight, None, num_groups)
    shape = rows.shape[1:3] + (1,) * (input.ndim - 2)
    found = on_arrays(norm_backward, grad.reshape(rows.shape), rows, weights, mean, scale, dims,
                      eps, shape, wanted)
    return _reshaped(found, input.shape, (-1,), (-1,))


def _check_group_norm(input, num_groups, weight, bias):
    """Raise RuntimeError where the channels cannot be split, or the parameters don't fit them."""
    if input.ndim < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    channels = input.shape[1]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {format_shape(input.shape)} and num_groups={num_groups}"
        )
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.shape != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in "
                f"input, but got {name} of shape {format_shape(value.shape)} and input of shape "
                f"{format_shape(input.shape)}"
            )


@operator(
    **INTERNAL, hidden="mean scale", operands="input weight bias", accepts="float", computes=True,
    repeats=True, node="NativeGroupNormBackward0",
    grad={("input", "weight", "bias"): calling(
        group_norm_backward, "g input num_groups weight mean scale eps needs")},
)
def native_group_norm(input, num_groups, weight=None, bias=None, eps=1e-05):
    """`group_norm`, and what its gradient needs: the mean and one over the standard deviation."""
    _check_group_norm(input, num_groups, weight, bias)
    rows, weight, bias, axes = _grouped(input, weight, bias, num_groups)
    result, mean, scale = on_arrays(affine_standard, rows, weight, bias, axes, eps)
    return result.reshape(input.shape), mean, scale


@composite(
    **BOTH,
    samples=lambda make: [
        ((make((2, 4, 3)), 2, make((4,)), make((4,))), {}), ((make((2, 4, 2)), 4), {}),
    ],
)
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-05):
    """Standardise each sample over groups of channels, then scale and shift per channel.

    Raises RuntimeError where the channels cannot be split into `num_groups`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.group_norm.html

    >>> import iskra as torch
    >>> torch.nn.functional.group_norm(torch.tensor([[[1.0], [3.0], [0.0], [10.0]]]), 2)
    tensor([[[-1.0000],
             [ 1.0000],
             [-1.0000],
             [ 1.0000]]])
    """
    return native_group_norm(input, num_groups, weight, bias, eps)[0]


@composite(**FUNCTIONAL)
def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True,
    momentum=0.1, eps=1e-05,
):
    """Standardise each channel of each sample on its own (see `batch_norm`).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.instance_norm.html

    >>> import iskra as torch
    >>> torch.nn.functional.instance_norm(torch.tensor([[[1.0, 3.0], [0.0, 10.0]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """
    if use_input_stats and math.prod(input.shape[2:]) == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"{input.shape}"
        )
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    check_batch_norm(input, running_mean, running_var, weight, bias, True)
    result = native_group_norm(input, input.shape[1], weight, bias, eps)[0]
    if running_mean is not None:
        with no_grad():
            dims = tuple(range(2, input.ndim))
            for running, found in (
                (running_mean, input.mean(dims)), (running_var, input.var(dims))
            ):
                running.copy_(moved_towards(running, found.mean(0), momentum))
    return result.view(input.shape)


@composite(**FUNCTIONAL)
def local_response_norm(input, size, alpha=0.0001, beta=0.75, k=1.0):
    """Divide each element by a power of the mean square of its `size` neighbouring channels.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.local_response_norm.html

    >>> import iskra as torch
    >>> torch.nn.functional.local_response_norm(torch.ones(1, 2, 1), 2, alpha=2.0)
    tensor([[[0.5946],
             [0.4387]]])
    """
    if input.dim() < 3:
        raise ValueError(
            "Expected 3D or higher dimensionality input (got "
            f"{input.dim()} dimensions)"
        )
    if not input.numel():
        return input
    squares = input * input
    shape = list(input.shape)
    parts = [squares]
    for place, count in ((0, size // 2), (2, (size - 1) // 2)):
        shape[1] = count
        parts.insert(place, squares.new_zeros(shape))
    total = cat(parts, 1).unfold(1, size, 1).sum(-1)
    mean = total / size if input.is_floating_point() else total // size
    return input / (mean * alpha + k) ** beta
