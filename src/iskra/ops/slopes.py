"""Gradients of functions of one element that take more than one step, each one operator.

They compute ``grad * slope`` in one pass over memory, and keep the shape.
"""

import numpy as np

from iskra.dispatch import SAME, pointwise
from iskra.ops.arithmetic import conj_of
from iskra.ops.comparison import where

_INTERNAL = dict(method=False, function=False, inplace=False, out=False)


def _passing(condition, grad):
    """`grad` where the condition holds, else zero; of arrays."""
    return np.where(condition, grad, grad.dtype.type(0))


# Told by the result; complex too


@pointwise(SAME, **_INTERNAL, grad={
    "grad": lambda g, output: g * (1 - output) * output,
    "output": lambda g, grad, output: conj_of(g) * grad * conj_of(1 - 2 * output),
})
def sigmoid_backward(grad, output):
    """The gradient of `sigmoid`."""
    slope = np.multiply(np.subtract(1, output), output)
    return np.multiply(grad, np.conjugate(slope) if output.dtype.kind == "c" else slope)


@pointwise(SAME, **_INTERNAL, grad={
    "grad": lambda g, output: g * (1 - output * output),
    "output": lambda g, grad, output: conj_of(g) * grad * conj_of(-2 * output),
})
def tanh_backward(grad, output):
    """The gradient of `tanh`."""
    slope = np.subtract(1, np.multiply(output, output))
    return np.multiply(grad, np.conjugate(slope) if output.dtype.kind == "c" else slope)


# Piecewise linear


@pointwise(
    SAME, **_INTERNAL, operands="grad input",
    grad=lambda g, input, min_val, max_val: hardtanh_backward(g, input, min_val, max_val),
    samples=lambda make: [((make((3, 4)), make((3, 4)), -1.0, 0.5), {})],
)
def hardtanh_backward(grad, input, min_val, max_val):
    """The gradient of `hardtanh` and `relu6`."""
    return _passing(np.logical_and(np.greater(input, min_val), np.less(input, max_val)), grad)


@pointwise(
    SAME, **_INTERNAL, operands="grad input",
    grad=lambda g, input, lambd: shrink_backward(g, input, lambd),
    samples=lambda make: [((make((3, 4)), make((3, 4)), 0.5), {})],
)
def shrink_backward(grad, input, lambd):
    """The gradient of `hardshrink` and `softshrink`."""
    return _passing(np.logical_or(np.less(input, -lambd), np.greater(input, lambd)), grad)


@pointwise(
    SAME, **_INTERNAL, operands="grad input",
    grad=lambda g, input, threshold: threshold_backward(g, input, threshold),
    samples=lambda make: [((make((3, 4)), make((3, 4)), 0.5), {})],
)
def threshold_backward(grad, input, threshold):
    """The gradient of `threshold`."""
    return _passing(np.greater(input, threshold), grad)


@pointwise(
    SAME, **_INTERNAL, operands="grad input", grad=lambda g, input: hardsigmoid_backward(g, input),
)
def hardsigmoid_backward(grad, input):
    """The gradient of `hardsigmoid`."""
    inside = np.logical_and(np.greater(input, -3), np.less(input, 3))
    return _passing(inside, np.divide(grad, 6))


@pointwise(SAME, **_INTERNAL, grad={
    "grad": lambda g, input: hardswish_backward(g, input),
    "input": lambda g, grad, input: hardtanh_backward(g * grad / 3, input, -3, 3),
})
def hardswish_backward(grad, input):
    """The gradient of `hardswish`."""
    rising = np.multiply(grad, np.add(np.divide(input, 3), 0.5))
    return _passing(np.greater(input, -3), np.where(np.less(input, 3), rising, grad))


# Smooth


def _sigmoid(x):
    return np.reciprocal(np.add(np.exp(np.negative(x)), 1))


def _softplus_bend(g, grad, input, beta, threshold):
    s = (input * beta).sigmoid()
    return where(input * beta > threshold, 0.0, g * grad * s * (1 - s) * beta)


@pointwise(SAME, **_INTERNAL, operands="grad input", grad={
    "grad": lambda g, input, beta, threshold: softplus_backward(g, input, beta, threshold),
    "input": _softplus_bend,
}, samples=lambda make: [((make((3, 4)), make((3, 4)), 2, 3), {})])
def softplus_backward(grad, input, beta, threshold):
    """The gradient of `softplus`."""
    scaled = input if beta == 1 else np.multiply(input, beta)
    return np.where(np.greater(scaled, threshold), grad, np.multiply(grad, _sigmoid(scaled)))


@pointwise(SAME, **_INTERNAL, grad={
    "grad": lambda g, input: log_sigmoid_backward(g, input),
    "input": lambda g, grad, input: -g * grad * input.sigmoid() * (-input).sigmoid(),
})
def log_sigmoid_backward(grad, input):
    """The gradient of `logsigmoid`."""
    return np.multiply(grad, _sigmoid(np.negative(input)))


def _mish_bend(g, grad, input):
    s = input.sigmoid()
    t = (-_log_sigmoid(-input)).tanh()
    return g * grad * (1 - t * t) * s * (2 + input * (1 - s - 2 * t * s))


def _log_sigmoid(x):
    """log(sigmoid(x)) of a tensor, without overflow."""
    return x.clamp(max=0) - (-x.abs()).exp().log1p()


@pointwise(SAME, **_INTERNAL, grad={
    "grad": lambda g, input: mish_backward(g, input),
    "input": _mish_bend,
})
def mish_backward(grad, input):
    """The gradient of `mish`."""
    powers = np.exp(np.negative(np.absolute(input)))
    t = np.tanh(np.add(np.maximum(input, 0), np.log1p(powers)))
    slope = np.multiply(np.multiply(input, _sigmoid(input)), np.subtract(1, np.multiply(t, t)))
    return np.multiply(grad, np.add(t, slope))
