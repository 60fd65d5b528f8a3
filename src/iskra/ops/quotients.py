"""Gradients of products, and of quotients and powers of real numbers, each one operator."""

import numpy as np

from iskra.dispatch import SAME, pointwise

_INTERNAL = dict(method=False, function=False, inplace=False, out=False)


@pointwise(SAME, **_INTERNAL, node="MulBackward0", scalars=True, grad={
    "grad": lambda g, factor: g * factor,
    "factor": lambda g, grad: (g.conj() if g.is_complex() else g) * grad,
})
def mul_backward(grad, factor):
    """The gradient of a product for its other factor."""
    return np.multiply(grad, np.conjugate(factor) if grad.dtype.kind == "c" else factor)


@pointwise(SAME, **_INTERNAL, grad={
    "grad": lambda g, input, other: quotient_backward(g, input, other),
    "input": lambda g, grad, other: -g * grad / (other * other),
    "other": lambda g, grad, input, other: -2 * quotient_backward(g * grad, input, other) / other,
})
def quotient_backward(grad, input, other):
    """The gradient of ``input / other`` for `other`."""
    return np.multiply(np.negative(grad), np.divide(np.divide(input, other), other))


@pointwise(SAME, **_INTERNAL, operands="grad input", node="MulBackward0", grad={
    "grad": lambda g, input, exponent: power_backward(g, input, exponent),
    "input": lambda g, grad, input, exponent: (
        exponent * power_backward(g * grad, input, exponent - 1)
    ),
}, samples=lambda make: [
    ((make((3, 4)), make((3, 4), 0.5, 2), e), {}) for e in (0, 1, 2, 3, 0.5, -1, -1.5)
])
def power_backward(grad, input, exponent):
    """The gradient of ``input ** exponent`` for `input`; the exponent is a number."""
    if exponent == 0:
        return np.zeros_like(grad)
    if exponent == 1:
        return np.copy(grad)
    if exponent == 2:
        return np.multiply(grad, np.multiply(input, 2))
    if exponent == 0.5:
        return np.divide(np.multiply(grad, 0.5), np.sqrt(input))
    if exponent == -1:
        return np.divide(np.negative(grad), np.multiply(input, input))
    power = np.multiply(input, input) if exponent == 3 else np.power(input, exponent - 1)
    return np.multiply(grad, np.multiply(power, exponent))
