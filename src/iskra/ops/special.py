"""Special functions. SciPy evaluates them; it is imported when one is first called.

Source of every operator here: https://docs.pytorch.org/docs/stable/special.html
"""

import math

import numpy as np

from iskra.core import dtypes
from iskra.dispatch import FLOAT, SAME, composite, pointwise
from iskra.ops.arithmetic import conj_of
from iskra.ops.comparison import where
from iskra.ops.mathematics import exp, log, sigmoid
from iskra.ops.primitives import Primitive, scipy_function
from iskra.ops.slicing import as_int
from iskra.tensor import Tensor

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch special",
    grad=lambda g, input: g * _TWO_OVER_ROOT_PI * exp(-input * input),
)
def erf(input):
    """Return the error function.

    >>> import iskra as torch
    >>> torch.erf(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return scipy_function("erf")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch special",
    grad=lambda g, input: -g * _TWO_OVER_ROOT_PI * exp(-input * input),
)
def erfc(input):
    """Return one minus the error function, accurate for large arguments.

    >>> import iskra as torch
    >>> torch.erfc(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return scipy_function("erfc")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch special", domain=(-0.9, 0.9),
    grad=lambda g, result: g / _TWO_OVER_ROOT_PI * exp(result * result),
)
def erfinv(input):
    """Return the inverse of the error function; infinite at -1 and 1, NaN beyond.

    >>> import iskra as torch
    >>> torch.erfinv(torch.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    return scipy_function("erfinv")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch", domain=(0.2, 5),
    grad=lambda g, input: g * digamma(input),
)
def lgamma(input):
    """Return the logarithm of the absolute value of the gamma function.

    >>> import iskra as torch
    >>> torch.lgamma(torch.tensor([1.0, 5.0]))
    tensor([0.0000, 3.1781])
    """
    found = scipy_function("gammaln")(input)
    return np.where(np.isinf(input), np.absolute(found), found)  # SciPy has -inf at -inf


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch special", domain=(0.2, 5),
    grad=lambda g, input: g * polygamma(1, input),
)
def digamma(input):
    """Return the derivative of the logarithm of the gamma function.

    >>> import iskra as torch
    >>> torch.digamma(torch.tensor([1.0]))
    tensor([-0.5772])
    """
    return _digamma(input)


def _digamma(x):
    """SciPy's function; at zero it is infinite, with the sign that the zero has not."""
    return np.where(np.equal(x, 0), np.copysign(x.dtype.type(np.inf), -x),
                    scipy_function("digamma")(x))


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch special",
    grad=lambda g, input: g * i1(input),
)
def i0(input):
    """Return the modified Bessel function of order 0.

    >>> import iskra as torch
    >>> torch.i0(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])
    """
    return scipy_function("i0")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False,
    grad=lambda g, input, result: (
    g * (i1e(input) - input.sign() * result)
))
def i0e(input):
    """Return the exponentially scaled modified Bessel function of order 0.

    >>> import iskra as torch
    >>> torch.special.i0e(torch.tensor([1.0]))
    tensor([0.4658])
    """
    return scipy_function("i0e")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 2),
    grad=lambda g, input, result: (
    g * where(input == 0, 0.5, i0(input) - result / input)
))
def i1(input):
    """Return the modified Bessel function of order 1.

    >>> import iskra as torch
    >>> torch.special.i1(torch.tensor([1.0]))
    tensor([0.5652])
    """
    return scipy_function("i1")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 2),
    grad=lambda g, input, result: (
    g * where(input == 0, 0.5, i0e(input) - result * (input.sign() + 1 / input))
))
def i1e(input):
    """Return the exponentially scaled modified Bessel function of order 1.

    >>> import iskra as torch
    >>> torch.special.i1e(torch.tensor([1.0]))
    tensor([0.2079])
    """
    return scipy_function("i1e")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", inplace=False,
    grad=lambda g, input: g * exp(-input * input / 2) / math.sqrt(2 * math.pi),
)
def ndtr(input):
    """Return the area under the standard normal density up to `input`.

    >>> import iskra as torch
    >>> torch.special.ndtr(torch.tensor([0.0]))
    tensor([0.5000])
    """
    return scipy_function("ndtr")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.1, 0.9),
    grad=lambda g, result: g * exp(result * result / 2) * math.sqrt(2 * math.pi),
)
def ndtri(input):
    """Return the inverse of `ndtr`.

    >>> import iskra as torch
    >>> torch.special.ndtri(torch.tensor([0.5]))
    tensor([0.])
    """
    return scipy_function("ndtri")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", inplace=False,
    grad=lambda g, input, result: g * exp(-input * input / 2 - result) / math.sqrt(2 * math.pi),
)
def log_ndtr(input):
    """Return the logarithm of `ndtr`.

    >>> import iskra as torch
    >>> torch.special.log_ndtr(torch.tensor([0.0]))
    tensor([-0.6931])
    """
    return scipy_function("log_ndtr")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", inplace=False,
    grad=lambda g, input, result: g * (2 * input * result - _TWO_OVER_ROOT_PI),
)
def erfcx(input):
    """Return ``exp(input ** 2) * erfc(input)``.

    >>> import iskra as torch
    >>> torch.special.erfcx(torch.tensor([0.0]))
    tensor([1.])
    """
    return scipy_function("erfcx")(input)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.1, 2),
    grad=lambda g, input: -g * (log(input) + 1),
)
def entr(input):
    """Return ``-input * log(input)``; 0 at 0 and -inf below.

    >>> import iskra as torch
    >>> torch.special.entr(torch.tensor([0.5]))
    tensor([0.3466])
    """
    return scipy_function("entr")(input)


@pointwise(
    FLOAT, namespace="torch special", domain=(0.2, 2),
    grad=lambda g, input: _sinc_gradient(g, input),
)
def sinc(input):
    """Return ``sin(pi * input) / (pi * input)``; 1 at 0.

    >>> import iskra as torch
    >>> torch.sinc(torch.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    angle = np.multiply(np.where(np.equal(input, 0), 1e-20, input), math.pi)
    return np.divide(np.sin(angle), angle)


def _sinc_gradient(g, input):
    angle = input * math.pi
    slope = g * conj_of((angle * angle.cos() - angle.sin()) / (angle * input))
    return where(input == 0, g.new_zeros(()), slope)


@pointwise(FLOAT, accepts="bool int float", namespace="torch special", domain=(0.1, 0.9), grad=(
    lambda g, input, eps: _logit_gradient(g, input, eps)
))
def logit(input, eps=None):
    """Return ``log(input / (1 - input))``; `eps` keeps the argument that far from 0 and 1.

    >>> import iskra as torch
    >>> torch.logit(torch.tensor([0.5, 0.8]))
    tensor([0.0000, 1.3863])
    """
    if eps is not None:
        input = np.clip(input, eps, 1 - eps).astype(input.dtype)
    return np.log(np.divide(input, np.subtract(input.dtype.type(1), input)))


def _logit_gradient(g, input, eps):
    slope = g / (input * (1 - input))
    if eps is None:
        return slope
    return where((input >= eps) & (input <= 1 - eps), slope, g.new_zeros(()))


@pointwise(FLOAT, accepts="bool int float", namespace="torch special", scalars=True, grad={
    "input": lambda g, input, other: _xlogy_gradient(g, input, other),
    "other": lambda g, input, other: g * input / other,
}, domain=(0.5, 2))
def xlogy(input, other):
    """Return ``input * log(other)``; 0 where `input` is 0, unless `other` is NaN.

    >>> import iskra as torch
    >>> torch.xlogy(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    return scipy_function("xlogy")(input, other)


def _xlogy_gradient(g, input, other):
    return xlogy(g, other).masked_fill((input == 0) & (other <= 0), 0)


@pointwise(FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False, grad={
    "input": lambda g, input, other: xlog1py(g, other).masked_fill(
        (input == 0) & (other <= -1), 0),
    "other": lambda g, input, other: g * input / (other + 1),
}, domain=(0.5, 2))
def xlog1py(input, other):
    """Return ``input * log1p(other)``; 0 where `input` is 0, unless `other` is NaN.

    >>> import iskra as torch
    >>> torch.special.xlog1py(torch.tensor([0.0]), torch.tensor([-1.0]))
    tensor([0.])
    """
    return scipy_function("xlog1py")(input, other)


@pointwise(
    FLOAT, accepts="bool int float", namespace="torch special", inplace=False, operands="input",
    method=False, grad=lambda g, n, input: g * polygamma(n + 1, input),
    samples=lambda make: [((1, make((3,), 0.5, 3)), {}), ((2, make((), 0.5, 3)), {})],
)
def polygamma(n, input):
    """Return the `n`-th derivative of `digamma`.

    >>> import iskra as torch
    >>> torch.polygamma(1, torch.tensor([1.0]))
    tensor([1.6449])
    """
    n = as_int(n, "polygamma", "n")
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    if n == 0:
        return _digamma(input)
    if n == 1:
        return _trigamma(input)
    factorial = float(math.factorial(n)) if n <= _LARGEST_FACTORIAL else math.inf
    wide = input.astype(np.float64)  # in which the factorials of float32's range fit
    zeta_of = scipy_function("zeta")(np.full_like(wide, n + 1), wide)
    return np.multiply(zeta_of, -factorial if n % 2 == 0 else factorial).astype(input.dtype)


_LARGEST_FACTORIAL = 170  # that is a float
_trigamma = Primitive(
    "trigamma", lambda x: scipy_function("polygamma")(1, x).astype(x.dtype))


def _polygamma_method(self, n):
    """Return the `n`-th derivative of `digamma` of this tensor."""
    return polygamma(n, self)


def _polygamma_inplace(self, n):
    """Write the `n`-th derivative of `digamma` into this tensor; return it."""
    return self.copy_(polygamma(n, self))


Tensor.polygamma = _polygamma_method
Tensor.polygamma_ = _polygamma_inplace


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    domain=(1.5, 4),
)
def zeta(input, other):
    """Return the Hurwitz zeta function.

    >>> import iskra as torch
    >>> torch.special.zeta(torch.tensor([2.0]), torch.tensor([1.0]))
    tensor([1.6449])
    """
    return scipy_function("zeta")(input, other)


def _gamma_density(g, input, other):
    """The derivative of the incomplete gamma functions with respect to their bound."""
    return g * exp((input - 1) * log(other) - other - lgamma(input))


def _incomplete_gamma(name, input, other):
    """SciPy's function; integers alone are refused, beside floats they are promoted."""
    if input.dtype.kind != "f":
        raise NotImplementedError(
            f'"{name}" not implemented for \'{dtypes.of_numpy(input.dtype).scalar_name}\''
        )
    return scipy_function(name)(input, other)


@pointwise(
    SAME, numbers=False, namespace="special", inplace=False,
    samples=lambda make: [] if not make.dtype.is_floating_point else [
        ((make((3,), 0.5, 3, requires_grad=False), make((3,), 0.5, 3)), {}),
    ],
    grad={"other": lambda g, input, other: _gamma_density(g, input, other)},
)
def gammainc(input, other):
    """Return the regularised lower incomplete gamma function.

    >>> import iskra as torch
    >>> torch.special.gammainc(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.6321])
    """
    return _incomplete_gamma("gammainc", input, other)


@pointwise(
    SAME, numbers=False, namespace="special", inplace=False,
    samples=lambda make: [] if not make.dtype.is_floating_point else [
        ((make((3,), 0.5, 3, requires_grad=False), make((3,), 0.5, 3)), {}),
    ],
    grad={"other": lambda g, input, other: -_gamma_density(g, input, other)},
)
def gammaincc(input, other):
    """Return the regularised upper incomplete gamma function.

    >>> import iskra as torch
    >>> torch.special.gammaincc(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.3679])
    """
    return _incomplete_gamma("gammaincc", input, other)


@composite(out="aligned", inplace=True)
def igamma(input, other):
    """`special.gammainc` under its older name.

    >>> import iskra as torch
    >>> torch.igamma(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.6321])
    """
    return gammainc(input, other)


@composite(out="aligned", inplace=True)
def igammac(input, other):
    """`special.gammaincc` under its older name.

    >>> import iskra as torch
    >>> torch.igammac(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.3679])
    """
    return gammaincc(input, other)


@composite(out=True, inplace=True)
def mvlgamma(input, p):
    """Return the logarithm of the multivariate gamma function of dimension `p`.

    Raises RuntimeError where an element is not above ``(p - 1) / 2``.

    >>> import iskra as torch
    >>> torch.mvlgamma(torch.tensor([2.0]), 2)
    tensor([0.4516])
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if not input.is_floating_point():
        input = input.float()
    constant = 0.25 * p * (p - 1) * math.log(math.pi)
    total = lgamma(input)
    for j in range(1, p):
        total = total + lgamma(input - j / 2)
    return total + constant


@composite(namespace="special", out=True)
def expit(input):
    """`sigmoid` under its name in statistics.

    >>> import iskra as torch
    >>> torch.special.expit(torch.tensor([0.0]))
    tensor([0.5000])
    """
    return sigmoid(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def bessel_j0(input):
    """Return the Bessel function of the first kind of order 0.

    >>> import iskra as torch
    >>> torch.special.bessel_j0(torch.tensor([1.0]))
    tensor([0.7652])
    """
    return scipy_function("j0")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def bessel_j1(input):
    """Return the Bessel function of the first kind of order 1.

    >>> import iskra as torch
    >>> torch.special.bessel_j1(torch.tensor([1.0]))
    tensor([0.4401])
    """
    return scipy_function("j1")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def bessel_y0(input):
    """Return the Bessel function of the second kind of order 0.

    >>> import iskra as torch
    >>> torch.special.bessel_y0(torch.tensor([1.0]))
    tensor([0.0883])
    """
    return scipy_function("y0")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def bessel_y1(input):
    """Return the Bessel function of the second kind of order 1.

    >>> import iskra as torch
    >>> torch.special.bessel_y1(torch.tensor([1.0]))
    tensor([-0.7812])
    """
    return scipy_function("y1")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def modified_bessel_i0(input):
    """Return the modified Bessel function of the first kind of order 0.

    >>> import iskra as torch
    >>> torch.special.modified_bessel_i0(torch.tensor([1.0]))
    tensor([1.2661])
    """
    return scipy_function("i0")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def modified_bessel_i1(input):
    """Return the modified Bessel function of the first kind of order 1.

    >>> import iskra as torch
    >>> torch.special.modified_bessel_i1(torch.tensor([1.0]))
    tensor([0.5652])
    """
    return scipy_function("i1")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def modified_bessel_k0(input):
    """Return the modified Bessel function of the second kind of order 0.

    >>> import iskra as torch
    >>> torch.special.modified_bessel_k0(torch.tensor([1.0]))
    tensor([0.4210])
    """
    return scipy_function("k0")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def modified_bessel_k1(input):
    """Return the modified Bessel function of the second kind of order 1.

    >>> import iskra as torch
    >>> torch.special.modified_bessel_k1(torch.tensor([1.0]))
    tensor([0.6019])
    """
    return scipy_function("k1")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def scaled_modified_bessel_k0(input):
    """Return the exponentially scaled modified Bessel function of the second kind of order 0.

    >>> import iskra as torch
    >>> torch.special.scaled_modified_bessel_k0(torch.tensor([1.0]))
    tensor([1.1445])
    """
    return scipy_function("k0e")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def scaled_modified_bessel_k1(input):
    """Return the exponentially scaled modified Bessel function of the second kind of order 1.

    >>> import iskra as torch
    >>> torch.special.scaled_modified_bessel_k1(torch.tensor([1.0]))
    tensor([1.6362])
    """
    return scipy_function("k1e")(input)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def spherical_bessel_j0(input):
    """Return the spherical Bessel function of the first kind of order 0.

    >>> import iskra as torch
    >>> torch.special.spherical_bessel_j0(torch.tensor([1.0]))
    tensor([0.8415])
    """
    quotient = np.divide(np.sin(input), input)
    quotient = np.where(np.equal(input, 0), input.dtype.type(1), quotient)
    return np.where(np.isinf(input), input.dtype.type(0), quotient)


@pointwise(FLOAT, accepts="bool int float", namespace="special", inplace=False, domain=(0.2, 3))
def airy_ai(input):
    """Return the Airy function Ai.

    >>> import iskra as torch
    >>> torch.special.airy_ai(torch.tensor([1.0]))
    tensor([0.1353])
    """
    return _airy_ai(input)


def _airy_of_arrays(x):
    """SciPy's function; NaN at infinities, as in PyTorch."""
    return np.where(np.isinf(x), x - x, scipy_function("airy")(x)[0])


_airy_ai = Primitive("airy_ai", _airy_of_arrays)
