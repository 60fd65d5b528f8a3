"""Pointwise mathematics: exponentials, logarithms, trigonometry, rounding, signs.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#pointwise-ops
"""

import math
from operator import index

import numpy as np

from iskra.dispatch import FLOAT, SAME, calling, operator, pointwise
from iskra.ops.arithmetic import conj_of
from iskra.ops.comparison import where
from iskra.ops.slopes import sigmoid_backward, tanh_backward


@pointwise(FLOAT, ufunc=np.exp, grad=lambda g, result: g * conj_of(result))
def exp(input):
    """Return e to the power of each element.

    >>> import iskra as torch
    >>> torch.exp(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return np.exp(input)


@pointwise(
    FLOAT, ufunc=np.exp2, namespace="torch special",
    grad=lambda g, result: g * conj_of(result) * math.log(2),
)
def exp2(input):
    """Return 2 to the power of each element.

    >>> import iskra as torch
    >>> torch.exp2(torch.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    return np.exp2(input)


@pointwise(
    FLOAT, ufunc=np.expm1, namespace="torch special",
    grad=lambda g, result: g * conj_of(result + 1),
)
def expm1(input):
    """Return ``exp(input) - 1``, accurate near zero.

    >>> import iskra as torch
    >>> torch.expm1(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    return np.expm1(input)


@pointwise(FLOAT, ufunc=np.log, domain=(0.01, 10), grad=lambda g, input: g / conj_of(input))
def log(input):
    """Return the natural logarithm.

    >>> import iskra as torch
    >>> torch.log(torch.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    return np.log(input)


@pointwise(
    FLOAT, ufunc=np.log2, domain=(0.01, 10),
    grad=lambda g, input: g / conj_of(input * math.log(2)),
)
def log2(input):
    """Return the logarithm to base 2.

    >>> import iskra as torch
    >>> torch.log2(torch.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return np.log2(input)


@pointwise(
    FLOAT, ufunc=np.log10, domain=(0.01, 10),
    grad=lambda g, input: g / conj_of(input * math.log(10)),
)
def log10(input):
    """Return the logarithm to base 10.

    >>> import iskra as torch
    >>> torch.log10(torch.tensor([1.0, 50.0]))
    tensor([0.0000, 1.6990])
    """
    return np.log10(input)


@pointwise(
    FLOAT, ufunc=np.log1p, namespace="torch special", domain=(-0.9, 10),
    grad=lambda g, input: g / conj_of(input + 1),
)
def log1p(input):
    """Return ``log(1 + input)``, accurate near zero.

    >>> import iskra as torch
    >>> torch.log1p(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return np.log1p(input)


@pointwise(FLOAT, ufunc=np.sqrt, domain=(0.01, 10), grad=lambda g, result: g / conj_of(2 * result))
def sqrt(input):
    """Return the square root; NaN below zero.

    >>> import iskra as torch
    >>> torch.sqrt(torch.tensor([4.0, 2.0]))
    tensor([2.0000, 1.4142])
    """
    return np.sqrt(input)


@pointwise(FLOAT, domain=(0.01, 10), grad=lambda g, result: g * conj_of(-0.5 * result**3))
def rsqrt(input):
    """Return one over the square root.

    >>> import iskra as torch
    >>> torch.rsqrt(torch.tensor([4.0]))
    tensor([0.5000])
    """
    return np.reciprocal(np.sqrt(input))


@pointwise(FLOAT, domain=(0.1, 10), grad=lambda g, result: -g * conj_of(result * result))
def reciprocal(input):
    """Return one over each element.

    >>> import iskra as torch
    >>> torch.reciprocal(torch.tensor([4.0]))
    tensor([0.2500])
    """
    return np.reciprocal(input)


@pointwise(SAME, out="casts", node="PowBackward0", grad=lambda g, input: g * conj_of(2 * input))
def square(input):
    """Return the square of each element.

    >>> import iskra as torch
    >>> torch.square(torch.tensor([3.0]))
    tensor([9.])
    """
    return np.multiply(input, input) if input.dtype != bool else np.square(input.astype(np.int64))


@pointwise(FLOAT, ufunc=np.sin, grad=lambda g, input: g * conj_of(input.cos()))
def sin(input):
    """Return the sine of angles in radians.

    >>> import iskra as torch
    >>> torch.sin(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return np.sin(input)


@pointwise(FLOAT, ufunc=np.cos, grad=lambda g, input: g * conj_of(-input.sin()))
def cos(input):
    """Return the cosine of angles in radians.

    >>> import iskra as torch
    >>> torch.cos(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return np.cos(input)


@pointwise(FLOAT, ufunc=np.sinh, grad=lambda g, input: g * conj_of(input.cosh()))
def sinh(input):
    """Return the hyperbolic sine.

    >>> import iskra as torch
    >>> torch.sinh(torch.tensor([1.0]))
    tensor([1.1752])
    """
    return np.sinh(input)


@pointwise(FLOAT, ufunc=np.cosh, grad=lambda g, input: g * conj_of(input.sinh()))
def cosh(input):
    """Return the hyperbolic cosine.

    >>> import iskra as torch
    >>> torch.cosh(torch.tensor([1.0]))
    tensor([1.5431])
    """
    return np.cosh(input)


@pointwise(
    FLOAT, ufunc=np.tan, domain=(-1.2, 1.2),
    grad=lambda g, result: g * conj_of(result * result + 1),
)
def tan(input):
    """Return the tangent of angles in radians.

    >>> import iskra as torch
    >>> torch.tan(torch.tensor([1.0]))
    tensor([1.5574])
    """
    return np.tan(input)


@pointwise(FLOAT, ufunc=np.tanh, grad=calling(tanh_backward, "g result"))
def tanh(input):
    """Return the hyperbolic tangent.

    >>> import iskra as torch
    >>> torch.tanh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return np.tanh(input)


@pointwise(
    FLOAT, ufunc=np.arcsin, aliases=("arcsin",), domain=(-0.9, 0.9),
    grad=lambda g, input: g * conj_of((1 - input * input).rsqrt()),
)
def asin(input):
    """Return the arc sine, in radians.

    >>> import iskra as torch
    >>> torch.asin(torch.tensor([1.0]))
    tensor([1.5708])
    """
    return np.arcsin(input)


@pointwise(
    FLOAT, ufunc=np.arccos, aliases=("arccos",), domain=(-0.9, 0.9),
    grad=lambda g, input: -g * conj_of((1 - input * input).rsqrt()),
)
def acos(input):
    """Return the arc cosine, in radians.

    >>> import iskra as torch
    >>> torch.acos(torch.tensor([0.0]))
    tensor([1.5708])
    """
    return np.arccos(input)


@pointwise(
    FLOAT, ufunc=np.arctan, aliases=("arctan",),
    grad=lambda g, input: g / conj_of(input * input + 1),
)
def atan(input):
    """Return the arc tangent, in radians.

    >>> import iskra as torch
    >>> torch.atan(torch.tensor([1.0]))
    tensor([0.7854])
    """
    return np.arctan(input)


@pointwise(
    FLOAT, ufunc=np.arcsinh, aliases=("arcsinh",),
    grad=lambda g, input: g * conj_of((input * input + 1).rsqrt()),
)
def asinh(input):
    """Return the inverse hyperbolic sine.

    >>> import iskra as torch
    >>> torch.asinh(torch.tensor([1.0]))
    tensor([0.8814])
    """
    return np.arcsinh(input)


@pointwise(
    FLOAT, ufunc=np.arccosh, aliases=("arccosh",), domain=(1.1, 10),
    grad=lambda g, input: g * conj_of((input - 1).rsqrt() * (input + 1).rsqrt()),
)
def acosh(input):
    """Return the inverse hyperbolic cosine; NaN below 1.

    >>> import iskra as torch
    >>> torch.acosh(torch.tensor([2.0]))
    tensor([1.3170])
    """
    return np.arccosh(input)


@pointwise(
    FLOAT, ufunc=np.arctanh, aliases=("arctanh",), domain=(-0.9, 0.9),
    grad=lambda g, input: g / conj_of(1 - input * input),
)
def atanh(input):
    """Return the inverse hyperbolic tangent.

    >>> import iskra as torch
    >>> torch.atanh(torch.tensor([0.5]))
    tensor([0.5493])
    """
    return np.arctanh(input)


@pointwise(FLOAT, namespace="torch nn.functional", grad=calling(sigmoid_backward, "g result"))
def sigmoid(input):
    """Return ``1 / (1 + exp(-input))``.

    >>> import iskra as torch
    >>> torch.sigmoid(torch.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    return np.reciprocal(np.add(np.exp(np.negative(input)), input.dtype.type(1)))


@pointwise(SAME, ufunc=np.absolute, aliases=("absolute",), grad=lambda g, input: g * sgn(input))
def abs(input):
    """Return the absolute value (the modulus of complex numbers).

    >>> import iskra as torch
    >>> torch.abs(torch.tensor([-1.5, 2.0]))
    tensor([1.5000, 2.0000])
    """
    return np.absolute(input)


@pointwise(SAME, accepts="bool int float", grad=lambda g: g * 0)
def sign(input):
    """Return -1, 0 or 1; 0 for NaN, as PyTorch has it.

    >>> import iskra as torch
    >>> torch.sign(torch.tensor([-1.5, 0.0, 2.0]))
    tensor([-1.,  0.,  1.])
    """
    return np.copy(input) if input.dtype == bool else _side(input)


def _side(x):
    """On which side of zero real numbers lie; NaN lies on none."""
    return np.subtract(np.greater(x, 0).astype(x.dtype), np.less(x, 0).astype(x.dtype))


@pointwise(SAME, accepts="int float", grad=lambda g: g * 0)
def floor(input):
    """Return the largest integer not above each element, in the same dtype.

    >>> import iskra as torch
    >>> torch.floor(torch.tensor([-0.5, 1.7]))
    tensor([-1.,  1.])
    """
    return np.floor(input) if input.dtype.kind == "f" else np.copy(input)


@pointwise(SAME, accepts="int float", grad=lambda g: g * 0)
def ceil(input):
    """Return the smallest integer not below each element, in the same dtype.

    >>> import iskra as torch
    >>> torch.ceil(torch.tensor([-0.5, 1.2]))
    tensor([-0., 2.])
    """
    return np.ceil(input) if input.dtype.kind == "f" else np.copy(input)


@pointwise(SAME, aliases=("fix",), accepts="int float", grad=lambda g: g * 0)
def trunc(input):
    """Return the integer part, in the same dtype.

    >>> import iskra as torch
    >>> torch.trunc(torch.tensor([-1.5, 1.7]))
    tensor([-1.,  1.])
    """
    return np.trunc(input) if input.dtype.kind == "f" else np.copy(input)


@pointwise(SAME, accepts="float", grad=lambda g: g)
def frac(input):
    """Return the fractional part, with the element's sign.

    >>> import iskra as torch
    >>> torch.frac(torch.tensor([-1.5, 2.25]))
    tensor([-0.5000,  0.2500])
    """
    return np.subtract(input, np.trunc(input))


@pointwise(FLOAT, grad=lambda g: g * (math.pi / 180))
def deg2rad(input):
    """Return angles in radians, given in degrees.

    >>> import iskra as torch
    >>> torch.deg2rad(torch.tensor([180.0]))
    tensor([3.1416])
    """
    return np.multiply(input, input.dtype.type(math.pi / 180))


@pointwise(FLOAT, grad=lambda g: g * (180 / math.pi))
def rad2deg(input):
    """Return angles in degrees, given in radians.

    >>> import iskra as torch
    >>> torch.rad2deg(torch.tensor([3.1416]))
    tensor([180.0004])
    """
    return np.multiply(input, input.dtype.type(180 / math.pi))


@pointwise(
    SAME,
    grad=lambda g, input, result: (
        g * 0 if not input.is_complex() else _sgn_gradient(g, input, result)
    ),
)
def sgn(input):
    """Return the sign; for complex numbers the number of modulus 1 in the same direction.

    >>> import iskra as torch
    >>> torch.sgn(torch.tensor([-2.0, 0.0]))
    tensor([-1.,  0.])
    """
    if input.dtype == bool:
        return np.copy(input)
    return np.sign(input) if input.dtype.kind == "c" else _side(input)


def _sgn_gradient(g, input, result):
    modulus = input.abs()
    inner = (g - (result.conj() * g).real * result) / modulus
    return where(modulus == 0, inner.new_zeros(()), inner)


@pointwise(SAME, accepts="int float", grad=lambda g: g * 0)
def round(input, *, decimals=0):
    """Return each element rounded to `decimals` digits; halves go to the even neighbour.

    >>> import iskra as torch
    >>> torch.round(torch.tensor([0.5, 1.5, 2.7]))
    tensor([0., 2., 3.])
    """
    try:
        decimals = index(decimals)
    except TypeError:
        raise TypeError(
            f"round(): argument 'decimals' must be int, not {type(decimals).__name__}"
        ) from None
    if input.dtype.kind != "f":
        if decimals:
            raise NotImplementedError(
                f'"round" to decimals is not implemented for integers, got {input.dtype}'
            )
        return np.copy(input)
    if decimals == 0:
        return np.rint(input)
    scale = input.dtype.type(10.0 ** math.fabs(decimals))
    if decimals > 0:
        return np.divide(np.rint(np.multiply(input, scale)), scale)
    return np.multiply(np.rint(np.divide(input, scale)), scale)


@pointwise(
    FLOAT, inplace=False,
    grad=lambda g, input: (
        g * 0 if not input.is_complex() else _angle_gradient(g, input)
    ),
)
def angle(input):
    """Return the argument of complex numbers, in radians; 0 or pi for real ones.

    >>> import iskra as torch
    >>> torch.angle(torch.tensor([-1.0, 1.0]))
    tensor([3.1416, 0.0000])
    """
    if input.dtype.kind == "c":
        return np.angle(input)
    turned = np.where(np.less(input, 0), input.dtype.type(math.pi), input.dtype.type(0))
    return np.where(np.isnan(input), input, turned)


def _angle_gradient(g, input):
    modulus = input.abs()
    slope = g / (modulus * modulus)
    return where(modulus == 0, input.new_zeros(()), input * slope * 1j)


@operator(
    out="aligned", outputs=2, result=("mantissa", "exponent"), accepts="float", computes=True,
    grad=lambda g, result: g[0] / 2.0 ** result[1],
)
def frexp(input):
    """Return mantissas in [0.5, 1) and int32 exponents: ``input = mantissa * 2 ** exponent``.

    >>> import iskra as torch
    >>> torch.frexp(torch.tensor([6.0])).exponent
    tensor([3], dtype=iskra.int32)
    """
    return np.frexp(input)
