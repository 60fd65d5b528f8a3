"""Normalisation: layers and batches; what norms have in common.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#normalization-functions
"""

import math

import numpy as np

from iskra.autograd import no_grad
from iskra.core.size import as_count, format_shape
from iskra.dispatch import calling, composite, fused, pointwise
from iskra.dispatch.execute import number

INTERNAL = dict(method=False, function=False, out=False)
BOTH = dict(namespace="torch nn.functional", method=False, out=False)
FUNCTIONAL = dict(namespace="nn.functional", method=False, out=False)


# Standardising: less the mean, over the standard deviation


def _standard(array, axes, eps):
    """``(array - mean) * scale``, the mean, the variance, ``scale = 1 / sqrt(variance + eps)``."""
    count = as_count(math.prod(array.shape[a] for a in axes), array.dtype)
    mean = np.add.reduce(array, axis=axes, keepdims=True) / count
    centred = array - mean
    variance = np.add.reduce(centred * centred, axis=axes, keepdims=True) / count
    scale = np.reciprocal(np.sqrt(variance + number(eps, array.dtype)))
    centred *= scale
    return centred, mean, variance, scale


def _standard_gradient(g, result, dims):
    """Both outputs' part: of the standardised elements and of the scale."""
    standard, scale = result
    total = None
    if g[0] is not None:
        total = _through_standard(g[0], standard, scale, dims)
    if g[1] is not None:
        count = math.prod(standard.shape[d] for d in dims)
        part = -g[1] * scale * scale * standard / count
        total = part if total is None else total + part
    return total


def _through_standard(g, standard, scale, dims):
    """The gradient of the standardised elements, passed on to what they were made of."""
    inner = g - g.mean(dims, keepdim=True) - standard * (g * standard).mean(dims, keepdim=True)
    return scale * inner


@fused(
    **INTERNAL, outputs=2, accepts="float", grad=_standard_gradient,
    samples=lambda make: [((make((3, 4)), (1,), 1e-5), {}), ((make((2, 3, 4)), (0, 2), 1e-5), {})],
)
def standardize(input, dims, eps):
    """Elements less their mean, over their standard deviation along `dims`; and one over it."""
    standard, _, _, scale = _standard(input, dims, eps)
    return standard, scale


def norm_curvature(g, needs, grad, input, weight, dims, eps):
    """The gradient of `norm_backward`, whose three outputs are linear in `grad`."""
    standard, scale = standardize(input, dims, eps)
    weighted = grad if weight is None else grad * weight
    to_grad = to_input = to_weight = None
    if g[0] is not None:
        spread = _through_standard(g[0], standard, scale, dims)
        to_grad = spread if weight is None else weight * spread
        inner = (weighted * standard).mean(dims, keepdim=True)
        bent = -scale * (
            g[0] * inner + weighted * (g[0] * standard).mean(dims, keepdim=True)
        )
        centred = weighted - weighted.mean(dims, keepdim=True) - standard * inner
        to_scale = (g[0] * centred).sum(dims, keepdim=True)
        to_input = _standard_gradient((bent, to_scale), (standard, scale), dims)
        to_weight = grad * spread
    if g[1] is not None:
        part = g[1] * standard
        to_grad = part if to_grad is None else to_grad + part
        part = _through_standard(grad * g[1], standard, scale, dims)
        to_input = part if to_input is None else to_input + part
    if g[2] is not None:
        part = g[2].expand(grad.shape)
        to_grad = part if to_grad is None else to_grad + part
    return to_grad, to_input, to_weight if needs[2] else None


@fused(
    **INTERNAL, operands="input grad weight mean scale", outputs=3, accepts="float",
    grad={("grad", "input", "weight"): norm_curvature},
    samples=lambda make: [
        ((make((3, 4)), make((3, 4)), make((4,)), None, None, (1,)), {}),
        ((make((3, 2, 4)), make((3, 2, 4)), make((2, 1)), None, None, (0, 2)), {}),
    ],
)
def norm_backward(grad, input, weight=None, mean=None, scale=None, dims=(), eps=1e-5,
                  shape=None, wanted=(True, True, True)):
    """The gradients of ``standardize(input) * weight + bias`` for the input, weight and bias.

    The last two are of the weight's shape, or without a weight of `shape`. `mean` and `scale`
    are those of `input` (see `_hidden`), which depend on it; without them they are computed.
    """
    if mean is None:
        standard, _, _, scale = _standard(input, dims, eps)
    else:
        scale = scale.astype(input.dtype, copy=False)
        standard = (input - mean.astype(input.dtype, copy=False)) * scale
    shape = shape if weight is None else weight.shape
    common = _common(dims, input.ndim, shape) if wanted[1] or wanted[2] else ()
    along, total = _summed(grad * standard, common), _summed(grad, common)
    to_input = None
    if wanted[0]:
        count = as_count(math.prod(input.shape[d] for d in dims), input.dtype)
        weighted, inner, outer = grad, along, total
        if weight is not None:
            weighted, inner, outer = grad * weight, along * weight, total * weight
        others = tuple(d for d in dims if d not in common)
        standard *= _summed(inner, others) / count
        to_input = weighted - standard
        to_input -= _summed(outer, others) / count
        to_input *= scale
    return (
        to_input,
        summed_to(along, shape) if wanted[1] else None,
        summed_to(total, shape) if wanted[2] else None,
    )


def _common(dims, rank, shape):
    """Over which of `dims` the sums for the parameters go too: they are taken first, and once."""
    new = rank - len(shape)
    return tuple(d for d in dims if d < new or shape[d - new] == 1)


def _summed(array, axes):
    return np.add.reduce(array, axis=axes, keepdims=True) if axes else array


def summed_to(array, shape):
    """`array` summed over the dimensions in which `shape` has 1, or has none."""
    new = array.ndim - len(shape)
    axes = tuple(range(new)) + tuple(i for i, n in enumerate(shape, new) if n == 1)
    total = np.add.reduce(array, axis=axes, keepdims=True)
    return total.reshape(shape)


def _hidden(*statistics):
    """Statistics as they are kept for the gradient: in double precision, which is never narrowed.

    They are few, and rounded to float16 they would be too coarse.
    """
    return tuple(s.astype(np.float64, copy=False) for s in statistics)


def _affine(standard, weight, bias):
    if weight is not None:
        standard *= weight
    if bias is not None:
        standard += bias
    return standard


@fused(**INTERNAL, hidden="mean scale", operands="input weight bias", accepts="float")
def affine_standard(input, weight, bias, dims, eps):
    """Elements standardised along `dims`, times a weight and plus a bias that broadcast.

    Also their mean, and one over the standard deviation.
    """
    standard, mean, _, scale = _standard(input, dims, eps)
    return _affine(standard, weight, bias), *_hidden(mean, scale)


def last_dims(rank, normalized_shape):
    """The last dimensions, as many as `normalized_shape` has."""
    return tuple(range(rank - len(normalized_shape), rank))


def check_normalized_shape(name, shape, normalized_shape, weight, bias):
    """Raise RuntimeError where the last dimensions of `shape` or the parameters are others."""
    given = tuple(normalized_shape)
    for label, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.shape != given:
            raise RuntimeError(
                f"{name}: Expected {label} to be of same shape as normalized_shape, but got "
                f"{label} of shape {format_shape(value.shape)} and normalized_shape = "
                f"{format_shape(given)}"
            )
    if not given:
        raise RuntimeError(
            f"{name}: Expected normalized_shape to be at least 1-dimensional, i.e., containing at "
            "least one element, but got normalized_shape = []"
        )
    if tuple(shape[-len(given):]) != given or len(shape) < len(given):
        raise RuntimeError(
            f"{name}: Given normalized_shape={format_shape(given)}, expected input with shape "
            f"[*, {format_shape(given)[1:-1]}], but got input of size{format_shape(shape)}"
        )


@fused(
    **INTERNAL, operands="input grad weight mean scale", outputs=3, accepts="float",
    grad={("grad", "input", "weight"):
          lambda g, needs, grad, input, normalized_shape, weight, eps: norm_curvature(
              g, needs, grad, input, weight, last_dims(input.ndim, normalized_shape), eps)},
    samples=lambda make: [
        ((make((3, 4)), make((3, 4)), (4,), make((4,)), None, None, 1e-5), {}),
    ],
)
def layer_norm_backward(grad, input, normalized_shape, weight, mean, scale, eps,
                        wanted=(True, True, True)):
    """The gradients of `layer_norm`."""
    dims = last_dims(input.ndim, normalized_shape)
    return norm_backward.operator.body(
        grad, input, weight, mean, scale, dims, eps, normalized_shape, wanted)


@fused(
    **INTERNAL, hidden="mean scale", operands="input weight bias", accepts="float",
    node="NativeLayerNormBackward0",
    grad={("input", "weight", "bias"): calling(
        layer_norm_backward, "g input normalized_shape weight mean scale eps needs")},
)
def native_layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """`layer_norm`, and what its gradient needs: the mean and one over the standard deviation."""
    check_normalized_shape("layer_norm", input.shape, normalized_shape, weight, bias)
    axes = last_dims(input.ndim, normalized_shape)
    standard, mean, _, scale = _standard(input, axes, eps)
    return _affine(standard, weight, bias), *_hidden(mean, scale)


@composite(
    **BOTH,
    samples=lambda make: [
        ((make((3, 4)), (4,)), {}), ((make((2, 3, 4)), (3, 4), make((3, 4)), make((3, 4))), {}),
    ],
)
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """Standardise over the last dimensions, then scale by `weight` and shift by `bias`.

    `normalized_shape` is the shape of those dimensions. Raises RuntimeError where shapes differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.layer_norm.html

    >>> import iskra as torch
    >>> torch.nn.functional.layer_norm(torch.tensor([[1.0, 3.0], [0.0, 10.0]]), (2,))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """
    return native_layer_norm(input, normalized_shape, weight, bias, eps)[0]


def _by_channel(values, rank):
    """Values per channel, shaped to broadcast along dimension 1."""
    return None if values is None else values.reshape([1, -1] + [1] * (rank - 2))


def _channel_sum(g):
    return g.sum(_all_but_channels(g.dim()))


def _all_but_channels(rank):
    return (0, *range(2, rank))


def _channel_norm_curvature(g, needs, grad, input, weight, eps):
    rank = input.ndim
    to_grad, to_input, to_weight = norm_curvature(
        (g[0], _by_channel(g[1], rank), _by_channel(g[2], rank)), needs, grad, input,
        _by_channel(weight, rank), _all_but_channels(rank), eps)
    return to_grad, to_input, None if to_weight is None else _channel_sum(to_weight)


@fused(
    **INTERNAL, operands="input grad weight mean scale", outputs=3, accepts="float",
    grad={("grad", "input", "weight"): _channel_norm_curvature},
    samples=lambda make: [
        ((make((3, 2, 4)), make((3, 2, 4)), make((2,)), None, None, 1e-5), {}),
    ],
)
def batch_norm_backward(grad, input, weight, mean, scale, eps, wanted=(True, True, True)):
    """The gradients of `batch_norm_training`."""
    rank = input.ndim
    weight, mean, scale = (_by_channel(v, rank) for v in (weight, mean, scale))
    to_input, *others = norm_backward.operator.body(
        grad, input, weight, mean, scale, _all_but_channels(rank), eps,
        (1, input.shape[1], *(1,) * (rank - 2)), wanted)
    return to_input, *(None if v is None else v.reshape(-1) for v in others)


@fused(
    **INTERNAL, hidden="mean variance scale", operands="input weight bias", accepts="float",
    node="NativeBatchNormBackward0",
    grad={("input", "weight", "bias"): calling(
        batch_norm_backward, "g input weight mean scale eps needs")},
)
def batch_norm_training(input, weight=None, bias=None, eps=1e-5):
    """Batch normalisation by the batch's own statistics; also those: mean and unbiased variance.

    Last what the gradient needs: one over the standard deviation.
    """
    rank, axes = input.ndim, _all_but_channels(input.ndim)
    standard, mean, variance, scale = _standard(input, axes, eps)
    count = as_count(math.prod(input.shape[d] for d in axes), input.dtype)
    variance *= count / np.maximum(count - input.dtype.type(1), 1)
    result = _affine(standard, _by_channel(weight, rank), _by_channel(bias, rank))
    return result, *(s.reshape(-1) for s in _hidden(mean, variance, scale))


@pointwise(**INTERNAL, inplace=False, samples=lambda make: [((make(3), make(3), 0.25), {})])
def moved_towards(input, other, amount):
    """Running statistics moved towards others by a part of the way: 0 not at all, 1 all of it."""
    return input * (1 - amount) + other * amount


def _fixed_standard(input, mean, var, eps):
    """Elements standardised by given statistics, and the scale that does it; per channel."""
    rank = input.ndim
    scale = _by_channel(np.reciprocal(np.sqrt(var + number(eps, input.dtype))), rank)
    return (input - _by_channel(mean, rank)) * scale, scale


def _fixed_curvature(g, needs, grad, input, running_mean, running_var, weight, eps):
    """The gradient of `batch_norm_fixed_backward`, whose three outputs are linear in `grad`."""
    rank = input.ndim
    scale = _by_channel((running_var + eps).rsqrt(), rank)
    affine = scale if weight is None else scale * _by_channel(weight, rank)
    to_grad = to_input = to_weight = None
    if g[0] is not None:
        to_grad = g[0] * affine
        to_weight = _channel_sum(g[0] * grad * scale) if needs[2] else None
    if g[1] is not None:
        outer = _by_channel(g[1], rank) * scale
        part = outer * (input - _by_channel(running_mean, rank))
        to_grad = part if to_grad is None else to_grad + part
        to_input = outer * grad
    if g[2] is not None:
        part = _by_channel(g[2], rank).expand(grad.shape)
        to_grad = part if to_grad is None else to_grad + part
    return to_grad, to_input, to_weight


@fused(
    **INTERNAL, operands="input grad running_mean running_var weight", outputs=3, accepts="float",
    grad={("grad", "input", "weight"): _fixed_curvature},
    samples=lambda make: [(
        (make((3, 2, 4)), make((3, 2, 4)), make((2,), requires_grad=False),
         make((2,), 0.5, 2, requires_grad=False), make((2,)), 1e-5), {},
    )],
)
def batch_norm_fixed_backward(grad, input, running_mean, running_var, weight, eps,
                              wanted=(True, True, True)):
    """The gradients of `batch_norm_fixed`."""
    rank = input.ndim
    standard, scale = _fixed_standard(input, running_mean, running_var, eps)
    if weight is not None:
        scale = scale * _by_channel(weight, rank)
    axes = _all_but_channels(rank)
    return (
        (grad * scale).astype(input.dtype, copy=False) if wanted[0] else None,
        np.add.reduce(grad * standard, axis=axes) if wanted[1] else None,
        np.add.reduce(grad, axis=axes) if wanted[2] else None,
    )


@fused(
    **INTERNAL, operands="input running_mean running_var weight bias", accepts="float",
    node="NativeBatchNormBackward0",
    grad={("input", "weight", "bias"): calling(
        batch_norm_fixed_backward, "g input running_mean running_var weight eps needs")},
    samples=lambda make: [(
        (make((3, 4)), make((4,), requires_grad=False), make((4,), 0.5, 2, requires_grad=False),
         make((4,)), make((4,)), 1e-5), {},
    )],
)
def batch_norm_fixed(input, running_mean, running_var, weight=None, bias=None, eps=1e-5):
    """Batch normalisation by given statistics."""
    rank = input.ndim
    scale = np.reciprocal(np.sqrt(running_var + number(eps, input.dtype)))
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    result = np.multiply(input, _by_channel(scale, rank)) + _by_channel(shift, rank)
    return result.astype(input.dtype, copy=False)


def check_batch_norm(input, running_mean, running_var, weight, bias, training):
    """Raise RuntimeError or ValueError where the parameters and statistics do not fit."""
    channels = input.shape[1] if input.ndim > 1 else 0
    for name, value in (("running_mean", running_mean), ("running_var", running_var),
                        ("weight", weight), ("bias", bias)):
        if value is not None and value.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {value.numel()}")
    if (running_mean is None) is not (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError(
            "batch_norm: Expected running_mean and running_var to be defined when training=False"
        )
    if input.ndim < 2 and input.numel():
        raise RuntimeError(
            f"batch_norm: expected at least a 2D input, got shape {format_shape(input.shape)}"
        )


def check_several_values(shape):
    """Raise ValueError where a channel has one value: its variance would be zero."""
    if math.prod(shape) == shape[1]:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {shape}"
        )


@composite(**FUNCTIONAL)
def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1,
    eps=1e-05,
):
    """Standardise each channel (dimension 1), then scale by `weight` and shift by `bias`.

    In training by the batch's statistics, and the running ones, if given, move towards them by
    `momentum` (the variance unbiased); otherwise by the running ones.
    Raises ValueError in training where a channel has one value only.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.batch_norm.html

    >>> import iskra as torch
    >>> x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> torch.nn.functional.batch_norm(x, None, None, training=True)
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    """
    check_batch_norm(input, running_mean, running_var, weight, bias, training)
    if input.ndim < 2:  # no channels, no elements
        return input.clone()
    if not training:
        return batch_norm_fixed(input, running_mean, running_var, weight, bias, eps)
    check_several_values(input.shape)
    result, mean, variance, _ = batch_norm_training(input, weight, bias, eps)
    if running_mean is not None:
        with no_grad():
            running_mean.copy_(moved_towards(running_mean, mean, momentum))
            running_var.copy_(moved_towards(running_var, variance, momentum))
    return result
