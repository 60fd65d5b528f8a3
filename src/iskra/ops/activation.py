"""Activation functions of one element: relu and its relatives, gelu, silu, shrinkages.

All keep shape and dtype and act on floats unless they say otherwise; with ``inplace=True`` they
write their result into the input and return it.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#non-linear-activation-functions
"""

import math

import numpy as np

from iskra.dispatch import SAME, calling, composite, pointwise
from iskra.dispatch.execute import number
from iskra.ops.arithmetic import conj_of
from iskra.ops.comparison import where
from iskra.ops.mathematics import abs, exp, sigmoid, tanh
from iskra.ops.primitives import Primitive, erf, ndtr
from iskra.ops.slopes import (
    hardsigmoid_backward,
    hardswish_backward,
    hardtanh_backward,
    log_sigmoid_backward,
    mish_backward,
    shrink_backward,
    softplus_backward,
    threshold_backward,
)

F = "nn.functional"
_internal = dict(method=False, function=False, inplace=False, out=False)

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_SQRT_HALF = math.sqrt(0.5)
_GELU_BETA = math.sqrt(2 / math.pi)  # the tanh approximation's slope at zero
_GELU_CUBE = 0.044715


class _Zeros(dict):
    """Zero of each NumPy dtype, without dimensions: NumPy takes it faster than a number."""

    def __missing__(self, kind):
        self[kind] = found = np.zeros((), kind)
        return found


ZERO = _Zeros()


def gated(condition, g):
    """`g` where the condition holds, else zero: the gradient through a flat stretch."""
    return where(condition, g, 0)


# relu and piecewise linear functions


@pointwise(SAME, **_internal, grad=lambda g, output: relu_backward(g, output))
def relu_backward(grad, output):
    """The gradient of `relu`, told by its result."""
    zero = ZERO[grad.dtype]
    return np.where(np.less_equal(output, zero), zero, grad)  # NaN lets the gradient through


@pointwise(
    SAME, operands="input", namespace=f"torch {F}", accepts="int float",
    grad=calling(relu_backward, "g result"),
)
def relu(input, inplace=False):
    """Return each element if it is positive, else 0; takes integers too.

    Raises NotImplementedError for bools and complex numbers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu.html

    >>> import iskra as torch
    >>> torch.nn.functional.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return np.maximum(input, ZERO[input.dtype])


@pointwise(
    SAME, operands="input", namespace=F, accepts="int float",
    grad=calling(hardtanh_backward, "g input min_val max_val"),
)
def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """Limit elements to between `min_val` and `max_val`.

    Raises ValueError where `min_val` is greater than `max_val`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardtanh.html

    >>> import iskra as torch
    >>> torch.nn.functional.hardtanh(torch.tensor([-2.0, 0.5, 2.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if input.dtype.kind in "iu":
        min_val, max_val = int(min_val), int(max_val)
        if input.dtype.kind == "u" and (min_val < 0 or max_val < 0):
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return np.minimum(np.maximum(input, min_val), max_val)


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="int float",
    node="HardtanhBackward0", grad=lambda g, input: hardtanh_backward(g, input, 0, 6),
)
def relu6(input, inplace=False):
    """Limit elements to between 0 and 6.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.relu6.html

    >>> import iskra as torch
    >>> torch.nn.functional.relu6(torch.tensor([-2.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """
    return np.minimum(np.maximum(input, 0), 6)


@pointwise(
    SAME, **_internal, operands="grad input",
    grad=lambda g, input, negative_slope: leaky_relu_backward(g, input, negative_slope),
    samples=lambda make: [((make((3, 4)), make((3, 4)), 0.1), {})],
)
def leaky_relu_backward(grad, input, negative_slope):
    """The gradient of `leaky_relu`."""
    return np.where(np.greater(input, 0), grad, np.multiply(grad, negative_slope))


@pointwise(
    SAME, operands="input", namespace=F, accepts="float",
    grad=calling(leaky_relu_backward, "g input negative_slope"),
)
def leaky_relu(input, negative_slope=0.01, inplace=False):
    """Return x where x is positive, else ``negative_slope * x``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.leaky_relu.html

    >>> import iskra as torch
    >>> torch.nn.functional.leaky_relu(torch.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    return np.where(np.greater(input, 0), input, np.multiply(input, negative_slope))


def _along_channels(weight, ndim):
    """`weight` shaped so that it broadcasts along dimension 1 of `ndim` dimensions."""
    if weight.ndim == 0 or weight.shape[0] == 1:
        return weight.reshape(()) if ndim == 0 else weight.reshape([1] * ndim)
    return weight.reshape([-1 if d == 1 else 1 for d in range(ndim)])


def _check_prelu(input, weight):
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.dtype != input.dtype:
        raise RuntimeError(
            "prelu: Type promoting not supported. Got "
            f"{input.dtype} and {weight.dtype}"
        )
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )


@pointwise(SAME, **_internal, node="PreluKernelBackward0", accepts="float", grad={
    "input": lambda g, input, weight: where(input > 0, g, g * weight),
    "weight": lambda g, input: gated(input <= 0, g * input),
})
def prelu_kernel(input, weight):
    """`prelu` with a weight that broadcasts."""
    return np.where(np.greater(input, 0), input, np.multiply(input, weight))


@composite(autocast="lower", namespace=f"torch {F}")
def prelu(input, weight):
    """Return x where x is positive, else ``weight * x``; `weight` holds one number or C.

    A weight of several numbers goes along dimension 1. Raises RuntimeError for other sizes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.prelu.html

    >>> import iskra as torch
    >>> torch.nn.functional.prelu(torch.tensor([[-1.0, -1.0]]), torch.tensor([0.25, 0.5]))
    tensor([[-0.2500, -0.5000]])
    """
    _check_prelu(input, weight)
    return prelu_kernel(input, _along_channels(weight, input.ndim))


@pointwise(
    SAME, operands="input", namespace=f"torch {F}", method=False, accepts="int float",
    grad=calling(threshold_backward, "g input threshold"),
    samples=lambda make: [((make((3, 4)), 0.5, 3), {})],
)
def threshold(input, threshold, value, inplace=False):
    """Return x where ``x > threshold``, else `value`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.threshold.html

    >>> import iskra as torch
    >>> torch.nn.functional.threshold(torch.tensor([0.5, 2.0]), 1.0, -1.0)
    tensor([-1.,  2.])
    """
    if input.dtype.kind in "iu":
        threshold, value = int(threshold), int(value)
    return np.where(np.less_equal(input, threshold), number(value, input.dtype), input)


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float",
    grad=calling(hardsigmoid_backward, "g input"),
)
def hardsigmoid(input, inplace=False):
    """Return ``(x + 3) / 6`` limited to between 0 and 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardsigmoid.html

    >>> import iskra as torch
    >>> torch.nn.functional.hardsigmoid(torch.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return np.divide(np.minimum(np.maximum(np.add(input, 3), 0), 6), 6)


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float",
    grad=calling(hardswish_backward, "g input"),
)
def hardswish(input, inplace=False):
    """Return ``x * hardsigmoid(x)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardswish.html

    >>> import iskra as torch
    >>> torch.nn.functional.hardswish(torch.tensor([-4.0, 1.5, 4.0]))
    tensor([-0.0000, 1.1250, 4.0000])
    """
    return np.divide(np.multiply(input, np.minimum(np.maximum(np.add(input, 3), 0), 6)), 6)


@pointwise(
    SAME, operands="input", inplace=False, namespace=f"torch {F}", accepts="float",
    grad=calling(shrink_backward, "g input lambd"),
)
def hardshrink(input, lambd=0.5):
    """Return x where ``|x| > lambd``, else 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardshrink.html

    >>> import iskra as torch
    >>> torch.nn.functional.hardshrink(torch.tensor([-1.0, 0.3, 1.0]))
    tensor([-1.,  0.,  1.])
    """
    return np.where(np.less_equal(np.absolute(input), lambd), input.dtype.type(0), input)


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float",
    grad=calling(shrink_backward, "g input lambd"),
)
def softshrink(input, lambd=0.5):
    """Move elements towards zero by `lambd`, those closer than that onto it.

    Raises RuntimeError for a negative `lambd`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softshrink.html

    >>> import iskra as torch
    >>> torch.nn.functional.softshrink(torch.tensor([-1.0, 0.3, 1.0]))
    tensor([-0.5000,  0.0000,  0.5000])
    """
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}")
    return np.subtract(input, np.minimum(np.maximum(input, -lambd), lambd))


@composite(namespace=F, method=False)
def tanhshrink(input):
    """Return ``x - tanh(x)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.tanhshrink.html

    >>> import iskra as torch
    >>> torch.nn.functional.tanhshrink(torch.tensor([0.0, 2.0]))
    tensor([0.0000, 1.0360])
    """
    return input - tanh(input)


@composite(namespace=F, method=False)
def softsign(input):
    """Return ``x / (1 + |x|)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softsign.html

    >>> import iskra as torch
    >>> torch.nn.functional.softsign(torch.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    return input / (abs(input) + 1)


# Exponential linear units


def _elu(x, alpha, scale, input_scale):
    """``scale * x`` above zero, ``scale * alpha * (exp(input_scale * x) - 1)`` below."""
    below = np.minimum(x, 0)
    if input_scale != 1:
        below = np.multiply(below, input_scale)
    below = np.multiply(np.expm1(below), alpha * scale)
    return np.where(np.greater(x, 0), x if scale == 1 else np.multiply(x, scale), below)


@pointwise(SAME, **_internal, operands="grad input", grad={
    "grad": lambda g, input, alpha, scale, input_scale: elu_backward(
        g, input, alpha, scale, input_scale
    ),
    "input": lambda g, grad, input, alpha, scale, input_scale: gated(
        input <= 0, g * grad * (alpha * scale * input_scale**2) * exp(input * input_scale)
    ),
}, samples=lambda make: [((make((3, 4)), make((3, 4)), 1.5, 1.1, 0.7), {})])
def elu_backward(grad, input, alpha, scale, input_scale):
    """The gradient of `elu`, `selu` and `celu`."""
    slope = np.exp(np.multiply(np.minimum(input, 0), input_scale))
    slope = np.multiply(slope, alpha * scale * input_scale)
    return np.multiply(grad, np.where(np.greater(input, 0), number(scale, input.dtype), slope))


@pointwise(
    SAME, operands="input", namespace=F, accepts="float",
    grad=lambda g, input, alpha: elu_backward(g, input, alpha, 1.0, 1.0),
)
def elu(input, alpha=1.0, inplace=False):
    """Return x where x is positive, else ``alpha * (exp(x) - 1)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.elu.html

    >>> import iskra as torch
    >>> torch.nn.functional.elu(torch.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return _elu(input, alpha, 1.0, 1.0)


@pointwise(
    SAME, operands="input", namespace=f"torch {F}", method=False, accepts="float",
    node="EluBackward0",
    grad=lambda g, input: elu_backward(g, input, _SELU_ALPHA, _SELU_SCALE, 1.0),
)
def selu(input, inplace=False):
    """Return `elu` with the scale and alpha that keep mean 0 and variance 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.selu.html

    >>> import iskra as torch
    >>> torch.nn.functional.selu(torch.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    return _elu(input, _SELU_ALPHA, _SELU_SCALE, 1.0)


@pointwise(
    SAME, operands="input", namespace=f"torch {F}", method=False, accepts="float",
    grad=lambda g, input, alpha: elu_backward(g, input, alpha, 1.0, 1.0 / alpha),
)
def celu(input, alpha=1.0, inplace=False):
    """Return x where x is positive, else ``alpha * (exp(x / alpha) - 1)``.

    Raises RuntimeError for an alpha of 0.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.celu.html

    >>> import iskra as torch
    >>> torch.nn.functional.celu(torch.tensor([-1.0, 2.0]), alpha=2.0)
    tensor([-0.7869,  2.0000])
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


# Smooth units


def _gelu_of(x):
    return np.multiply(x, ndtr(x))  # by 1 + erf, nothing would be left of small results


def _gelu_by_tanh(x):
    cube = np.add(np.multiply(np.multiply(x, x), _GELU_CUBE), 1)
    bent = np.tanh(np.multiply(np.multiply(x, _GELU_BETA), cube))
    return np.multiply(np.multiply(x, 0.5), np.add(bent, 1))


# For these, kernels have polynomials of their own: half the cost of going by erf and tanh.
_GELU = {"none": Primitive("gelu", _gelu_of), "tanh": Primitive("gelu_tanh", _gelu_by_tanh)}


def _normal_density(x):
    """The density of the standard normal distribution; `x` is a tensor."""
    return exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


def _gelu_slope(x, approximate):
    """The derivative of gelu at an array."""
    if approximate == "none":
        density = np.multiply(np.exp(np.multiply(np.multiply(x, x), -0.5)), _GELU_BETA * 0.5)
        below = np.multiply(np.add(erf(np.multiply(x, _SQRT_HALF)), 1), 0.5)
        return np.add(below, np.multiply(x, density))
    squared = np.multiply(x, x)
    inner = np.multiply(np.multiply(x, _GELU_BETA), np.add(np.multiply(squared, _GELU_CUBE), 1))
    t = np.tanh(inner)
    inner_slope = np.multiply(np.add(np.multiply(squared, 3 * _GELU_CUBE), 1), _GELU_BETA)
    t_slope = np.multiply(np.subtract(1, np.multiply(t, t)), inner_slope)
    return np.multiply(np.add(np.add(t, 1), np.multiply(x, t_slope)), 0.5)


def _gelu_curvature(x, approximate):
    """The second derivative of gelu at a tensor."""
    if approximate == "none":
        return _normal_density(x) * (2 - x * x)
    squared = x * x
    t = tanh(x * _GELU_BETA * (squared * _GELU_CUBE + 1))
    t_slope = 1 - t * t
    slope = (squared * (3 * _GELU_CUBE) + 1) * _GELU_BETA
    bend = x * (6 * _GELU_CUBE * _GELU_BETA)
    return t_slope * (slope + x * (bend * 0.5 - t * slope * slope))


@pointwise(SAME, **_internal, operands="grad input", grad={
    "grad": lambda g, input, approximate: gelu_backward(g, input, approximate),
    "input": lambda g, grad, input, approximate: g * grad * _gelu_curvature(input, approximate),
}, samples=lambda make: [((make((3, 4)), make((3, 4)), form), {}) for form in ("none", "tanh")])
def gelu_backward(grad, input, approximate):
    """The gradient of `gelu`."""
    return np.multiply(grad, _gelu_slope(input, approximate))


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float",
    grad=calling(gelu_backward, "g input approximate"),
)
def gelu(input, *, approximate="none"):
    """Return x times the normal distribution's probability of a value below x.

    ``approximate="tanh"`` takes a formula with tanh instead of the error function.
    Raises RuntimeError for another name.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gelu.html

    >>> import iskra as torch
    >>> torch.nn.functional.gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    if approximate not in _GELU:
        raise RuntimeError(
            "approximate argument must be either none or tanh, but found "
            f"'{approximate}'"
        )
    return _GELU[approximate](input)


def _sigmoid(x):
    return np.reciprocal(np.add(np.exp(np.negative(x)), 1))


def _silu_curvature(x):
    """The second derivative of silu at a tensor."""
    s = sigmoid(x)
    slope = s * (1 - s)
    return slope * (x * (1 - 2 * s) + 2)


@pointwise(SAME, **_internal, grad={
    "grad": lambda g, input: g * conj_of(_silu_slope(input)),
    "input": lambda g, grad, input: g * conj_of(_silu_curvature(input)) * grad.conj()
    if input.is_complex() else g * grad * _silu_curvature(input),
})
def silu_backward(grad, input):
    """The gradient of `silu`."""
    s = _sigmoid(input)
    slope = np.multiply(s, np.add(np.multiply(input, np.subtract(1, s)), 1))
    return np.multiply(grad, np.conjugate(slope) if input.dtype.kind == "c" else slope)


def _silu_slope(x):
    s = sigmoid(x)
    return s * (x * (1 - s) + 1)


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float complex",
    grad=calling(silu_backward, "g input"),
)
def silu(input, inplace=False):
    """Return ``x * sigmoid(x)``, also called swish; takes complex numbers too.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.silu.html

    >>> import iskra as torch
    >>> torch.nn.functional.silu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """
    return np.divide(input, np.add(np.exp(np.negative(input)), 1))


def _softplus(x):
    """log(1 + exp(x)) of an array, without overflow."""
    return np.add(np.maximum(x, 0), np.log1p(np.exp(np.negative(np.absolute(x)))))


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float",
    grad=calling(mish_backward, "g input"),
)
def mish(input, inplace=False):
    """Return ``x * tanh(softplus(x))``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mish.html

    >>> import iskra as torch
    >>> torch.nn.functional.mish(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])
    """
    return np.multiply(input, np.tanh(_softplus(input)))


@pointwise(
    SAME, operands="input", inplace=False, namespace=F, accepts="float",
    grad=calling(softplus_backward, "g input beta threshold"),
)
def softplus(input, beta=1, threshold=20):
    """Return ``log(1 + exp(beta * x)) / beta``; x itself where ``beta * x > threshold``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softplus.html

    >>> import iskra as torch
    >>> torch.nn.functional.softplus(torch.tensor([-1.0, 0.0, 30.0]))
    tensor([ 0.3133,  0.6931, 30.0000])
    """
    scaled = input if beta == 1 else np.multiply(input, beta)
    soft = _softplus(scaled)
    return np.where(np.greater(scaled, threshold), input, soft if beta == 1 else soft / beta)


@pointwise(
    SAME, inplace=False, namespace=F, accepts="float", node="LogSigmoidBackward0",
    grad=calling(log_sigmoid_backward, "g input"),
)
def logsigmoid(input):
    """Return ``log(sigmoid(x))``, without overflow.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.logsigmoid.html

    >>> import iskra as torch
    >>> torch.nn.functional.logsigmoid(torch.tensor([-100.0, 0.0]))
    tensor([-100.0000,   -0.6931])
    """
    return np.subtract(np.minimum(input, 0), np.log1p(np.exp(np.negative(np.absolute(input)))))
