"""Activation functions: what one exponential and at most one division make."""

from iskra.codegen.ir import fma, select
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.exponentials import exp2_of_negative, exp_of_negative
from iskra.codegen.mathematics.floats import (
    at_least,
    at_most,
    format_of,
    polynomial,
    wide_polynomial,
)
from iskra.codegen.mathematics.logarithms import bare_log1p
from iskra.codegen.mathematics.special_functions import erfc_tail

# 2 (2 / pi)^(1/2), and 0.044715 times as much.
GELU_SCALE = 1.5957691216057308
GELU_CUBE = 0.07135481627260025


def sigmoid(x):
    """1 / (1 + exp(-x)), also where that is subnormal."""
    small = exp_of_negative(-abs(x))
    return select(x < 0.0, small, 1.0) / (1.0 + small)


def silu(x):
    """x * sigmoid(x); NaN at minus infinity, as in PyTorch."""
    small = exp_of_negative(-abs(x))
    return select(x < 0.0, x * small, x) / (1.0 + small)


def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; x itself where beta x exceeds the threshold."""
    kind = x.type.kind
    inner = x if beta == 1.0 else x * beta
    small = exp_of_negative(-abs(inner))
    if kind in coefficients.LOG1P:
        # On 0 to 1 one polynomial does.
        log = small * polynomial(small, coefficients.LOG1P[kind])
    else:
        log = bare_log1p(small)
    result = at_least(inner, 0.0) + log
    return select(inner > threshold, x, result if beta == 1.0 else result / beta)


def mish(x):
    """x tanh(log(1 + exp(x))); NaN at minus infinity, as in PyTorch.

    With z = exp(-|x|), tanh is (1 + 2z) / (1 + 2z + 2z^2) for x >= 0, and for x < 0 it is
    (z^2 + 2z) / (z^2 + 2z + 2).
    """
    z = exp_of_negative(-abs(x))
    square, negative = z * z, x < 0.0
    above = select(negative, z * (z + 2.0), fma(z, 2.0, 1.0))
    beside = select(negative, 1.0, square)
    return x * above / fma(beside, 2.0, above)


# Where a standard normal variable's tail goes below the normal numbers.
NORMAL_TAIL_ZERO = 13.25
ROOT_HALF = 0.7071067811865476


def gelu(x):
    """x times the chance that a standard normal variable is below x; NaN at minus infinity.

    With q(t) the chance that it is above t = |x|, gelu(x) = max(x, 0) - t q(t) for either sign.
    """
    tail = _tail_by_power if x.type.kind == "f32" else _tail_by_erfc
    # 0 times infinity must not be met on the positive side.
    t = abs(at_most(x, 50.0))
    return fma(-t, tail(t), at_least(x, 0.0))


def _tail_by_power(t):
    """The chance, as 2^(a polynomial); 0 where that is below the normal numbers."""
    kind, bias = t.type.kind, format_of(t).bias
    power = wide_polynomial(at_most(t, NORMAL_TAIL_ZERO), coefficients.NORMAL_TAIL[kind])
    return exp2_of_negative(at_least(power, -float(bias)))


def _tail_by_erfc(t):
    t = at_most(t, 40.0)
    square = t * t
    return 0.5 * erfc_tail(t * ROOT_HALF, square * 0.5, fma(t, t, -square) * 0.5)


def gelu_tanh(x):
    """The approximation of `gelu` by a hyperbolic tangent: x / 2 (1 + tanh(...)).

    That is x times the sigmoid of twice the tangent's argument.
    """
    twice = x * fma(x * x, GELU_CUBE, GELU_SCALE)
    small = exp_of_negative(-abs(twice))
    return select(x < 0.0, x * small, x) / (1.0 + small)
