"""Gradients of reductions that take more than one step, each one operator.

What was reduced arrives with dimensions of size 1 for `dims`, or broadcasts otherwise.
"""

import math

import numpy as np

from iskra.core.size import as_count
from iskra.dispatch import SAME, fused, pointwise

_INTERNAL = dict(method=False, function=False, out=False)


def _extremum_samples(make):
    x = make((3, 4), requires_grad=False)
    return [
        ((make((3, 1)), x, x.amax(1, True), (1,)), {}), ((make(()), x, x.amax(), (0, 1)), {}),
    ]


@fused(
    **_INTERNAL, operands="input grad extreme",
    grad={"grad": lambda g, input, extreme, dims: extremum_backward(g, input, extreme, dims)},
    samples=lambda make: _extremum_samples(make) if make.dtype.is_floating_point else [],
)
def extremum_backward(grad, input, extreme, dims):
    """`grad`, shared equally among the elements that attain the extremum along `dims`."""
    attained = np.logical_or(
        np.equal(input, extreme), np.logical_and(np.isnan(input), np.isnan(extreme))
    )
    share = attained.astype(grad.dtype)
    if dims:
        share = np.divide(share, np.add.reduce(share, axis=dims, keepdims=True))
    return np.multiply(grad, share)


def _scaled_spread(g, grad, dims, scale):
    product = g * grad
    return scale * (product - product.mean(dims, keepdim=True))


@fused(
    **_INTERNAL, operands="input grad", grad={
        "grad": lambda g, input, dims, scale: variance_backward(g, input, dims, scale),
        "input": _scaled_spread,
    },
    samples=lambda make: [((make((3, 1)), make((3, 4)), (1,), 0.4), {})]
    if make.dtype.is_floating_point else [],
)
def variance_backward(grad, input, dims, scale):
    """The gradient of real elements' variance: `scale` times how far they are from their mean."""
    count = as_count(math.prod(input.shape[d] for d in dims), input.dtype)
    center = np.divide(np.add.reduce(input, axis=dims, keepdims=True), count)
    return np.multiply(np.subtract(input, center), np.multiply(grad, scale))


@pointwise(SAME, **_INTERNAL, inplace=False, grad={
    "grad": lambda g, input, total: logsumexp_backward(g, input, total),
    "input": lambda g, grad, input, total: logsumexp_backward(g * grad, input, total),
    "total": lambda g, grad, input, total: -logsumexp_backward(g * grad, input, total),
})
def logsumexp_backward(grad, input, total):
    """The gradient of `logsumexp` of real numbers: each one's share of the sum."""
    return np.multiply(grad, np.exp(np.subtract(input, total)))
