"""Normalisation by the root of the mean square.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rms_norm.html
"""

import math

import numpy as np

from iskra.core.dtypes import finfo
from iskra.core.size import as_count
from iskra.dispatch import calling, composite, fused
from iskra.dispatch.execute import number
from iskra.ops.normalization import (
    BOTH,
    INTERNAL,
    check_normalized_shape,
    last_dims,
    summed_to,
)


def _mean(array, axes):
    count = as_count(math.prod(array.shape[a] for a in axes), array.dtype)
    return np.divide(np.add.reduce(array, axis=axes, keepdims=True), count)


def _scale(array, axes, eps):
    """One over the root of the mean square of an array."""
    squares = _mean(np.multiply(array, array), axes)
    return np.reciprocal(np.sqrt(np.add(squares, number(eps, array.dtype))))


def _curvature(g, needs, grad, input, weight, dims, eps):
    """The gradient of `rms_backward`, whose outputs are linear in `grad`."""
    scale = ((input * input).mean(dims, keepdim=True) + eps).rsqrt()
    cube = scale * scale * scale

    def mean(x):
        return x.mean(dims, keepdim=True)

    def through(x):
        return scale * x - cube * input * mean(x * input)

    to_grad = to_input = to_weight = None
    if g[0] is not None:
        weighted = grad if weight is None else grad * weight
        along, across = mean(weighted * input), mean(g[0] * input)
        spread = through(g[0])
        to_grad = spread if weight is None else spread * weight
        to_weight = grad * spread
        to_input = 3 * scale * scale * cube * input * along * across - cube * (
            input * mean(g[0] * weighted) + weighted * across + g[0] * along
        )
    if g[1] is not None:
        part = g[1] * input * scale
        to_grad = part if to_grad is None else to_grad + part
        part = through(grad * g[1])
        to_input = part if to_input is None else to_input + part
    return to_grad, to_input, to_weight if needs[2] else None


@fused(
    **INTERNAL, operands="input grad weight scale", outputs=2, accepts="float",
    grad={("grad", "input", "weight"): _curvature},
    samples=lambda make: [
        ((make((3, 4)), make((3, 4)), make((4,)), None, (1,), 1e-5, (True, True)), {}),
        ((make((2, 3, 4)), make((2, 3, 4)), None, None, (1, 2), 1e-5, (True, False)), {}),
    ],
)
def rms_backward(grad, input, weight, scale, dims, eps, wanted):
    """The gradients of `rms_scaled` for the input and the weight; computes `scale` if None."""
    if scale is None:
        scale = _scale(input, dims, eps)
    scale = scale.astype(input.dtype, copy=False)
    to_input = to_weight = None
    if wanted[0]:
        weighted = grad if weight is None else np.multiply(grad, weight)
        inner = np.multiply(_mean(np.multiply(weighted, input), dims), np.multiply(scale, scale))
        to_input = np.subtract(weighted, np.multiply(input, inner))
        to_input = np.multiply(to_input, scale)
    if wanted[1]:
        to_weight = summed_to(np.multiply(grad, np.multiply(input, scale)), weight.shape)
    return to_input, to_weight


@fused(
    **INTERNAL, operands="input weight", hidden="scale", accepts="float", node="MulBackward0",
    grad={("input", "weight"): calling(rms_backward, "g input weight scale dims eps needs")},
)
def rms_scaled(input, weight, dims, eps):
    """Elements over the root of their mean square along `dims`, times a weight that broadcasts.

    Also one over that root, which the gradient needs.
    """
    scale = _scale(input, dims, eps)
    result = np.multiply(input, scale)
    if weight is not None:
        result = np.multiply(result, weight)
    return result, scale.astype(np.float64, copy=False)  # which is never narrowed


@composite(
    **BOTH,
    samples=lambda make: [
        ((make((3, 4)), (4,)), {}), ((make((2, 3, 4)), (3, 4), make((3, 4))), {}),
    ],
)
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """Divide by the root of the mean square over the last dimensions, then scale by `weight`.

    Without `eps` that of the dtype is used in which it is computed: float32 for narrow ones.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rms_norm.html

    >>> import iskra as torch
    >>> torch.nn.functional.rms_norm(torch.tensor([[3.0, 4.0]]), (2,))
    tensor([[0.8485, 1.1314]])
    """
    check_normalized_shape("rms_norm", input.shape, normalized_shape, weight, None)
    dims = last_dims(input.ndim, normalized_shape)
    wide = input.float() if input._dtype.is_narrow else input  # squares leave float16's range
    eps = finfo(wide.dtype).eps if eps is None else eps
    if input.is_floating_point() and (weight is None or weight.dtype == input.dtype):
        return rms_scaled(input, weight, dims, eps)[0]
    result = wide * ((wide * wide).mean(dims, keepdim=True) + eps).rsqrt()
    result = result if weight is None else result * weight
    return result if wide is input else result.to(input.dtype)
