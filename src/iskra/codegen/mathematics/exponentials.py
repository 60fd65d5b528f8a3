"""Exponentials and hyperbolic functions.

exp(x) = 2^n exp(r), with n the integer nearest to x / ln 2 and |r| <= ln(2) / 2, as in W. J. Cody
and W. Waite, Software Manual for the Elementary Functions (1980). ln 2 is subtracted in two parts,
so that r is good to its last bit; exp(r) is a polynomial.
"""

from iskra.codegen.ir import copysign, fma, select
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.floats import (
    at_least,
    at_most,
    format_of,
    from_bits,
    polynomial,
    power_of_two,
    round_to_integer,
)

LOG2E = 1.4426950408889634
# ln 2 as the nearest number and what is missing. n times the first is subtracted without error.
LN2 = {
    "f32": (0.6931471824645996, -1.9046543005727792e-09),
    "f64": (0.6931471805599453, 2.3190468138462996e-17),
}
# From here on the results are infinite, and 0.
RANGE = {"f32": (-104.0, 88.75), "f64": (-745.5, 709.8)}
RANGE2 = {"f32": (-150.5, 128.0), "f64": (-1075.5, 1024.0)}


def reduced(x, extra=0):
    """(r, the bits of n + extra) with x = n ln 2 + r and |r| <= ln(2) / 2."""
    high, low = LN2[x.type.kind]
    n, bits = round_to_integer(x, LOG2E, extra)
    return fma(n, -low, fma(n, -high, x)), bits


def scaled(x, bits):
    """x * 2^n for any n that `reduced` finds; `bits` hold n + 2 * bias.

    In two steps, so that the results may be subnormal or infinite.
    """
    form = format_of(x)
    both = bits << form.mantissa
    half = (bits << (form.mantissa - 1)) & form.exponent_mask
    return x * from_bits(half, x.type.kind) * from_bits(both - half, x.type.kind)


def exp(x):
    """e to the power of x."""
    form = format_of(x)
    low, high = RANGE[x.type.kind]
    r, bits = reduced(at_most(at_least(x, low), high), 2 * form.bias)
    return scaled(polynomial(r, coefficients.EXP[x.type.kind]), bits)


def exp2(x):
    """2 to the power of x."""
    low, high = RANGE2[x.type.kind]
    x = at_most(at_least(x, low), high)
    n, bits = round_to_integer(x, 1.0, 2 * format_of(x).bias)
    return scaled(polynomial(x - n, coefficients.EXP2[x.type.kind]), bits)


def exp2_of_negative(x):
    """2^x for x from -bias to 0; 0 where x rounds to -bias."""
    kind = x.type.kind
    n, bits = round_to_integer(x, 1.0, format_of(x).bias)
    return polynomial(x - n, coefficients.EXP2[kind]) * power_of_two(bits, kind)


def exp_of_negative(x):
    """e^x for x <= 0, in one multiplication less than `exp`."""
    kind, form = x.type.kind, format_of(x)
    # The factor is 2^(bias // 2) too large, so that it is a normal number.
    r, bits = reduced(at_least(x, RANGE[kind][0]), form.bias + form.bias // 2)
    result = polynomial(r, coefficients.EXP[kind]) * power_of_two(bits, kind)
    return result * 2.0 ** -(form.bias // 2)


def expm1(x):
    """exp(x) - 1, also where exp(x) is nearly 1."""
    kind, form = x.type.kind, format_of(x)
    high = RANGE[kind][1]
    # Below the lower bound, the result is -1.
    r, bits = reduced(at_most(at_least(x, -40.0), high), form.bias - 1)
    q = fma(r * r, polynomial(r, coefficients.EXPM1[kind]), r)
    # Half of it, since 2^n alone may be too large.
    half = power_of_two(bits, kind)
    result = fma(q, half, half - 0.5)
    # (Half of a subnormal number need not be one.)
    return copysign(select(abs(x) < 2.0**-100, x, result + result), x)


TANH_SMALL = 0.92
# From here on the result is 1.
TANH_ONE = {"f32": 9.1, "f64": 19.1}


def tanh(x):
    """The hyperbolic tangent: a polynomial near zero, 1 - 2 / (exp(2x) + 1) elsewhere."""
    kind = x.type.kind
    t = abs(x)
    s = t * t
    small = fma(t * s, polynomial(s, coefficients.TANH[kind]), t)
    bounded = at_most(t, TANH_ONE[kind])
    r, bits = reduced(bounded + bounded, format_of(x).bias)
    # exp(2t) + 1 = 2^n (exp(r) - 1) + (2^n + 1), rounded once less than in its plain form.
    power = power_of_two(bits, kind)
    less_one = r * polynomial(r, coefficients.EXP[kind][1:])
    large = 1.0 - 2.0 / fma(less_one, power, power + 1.0)
    return copysign(select(t < TANH_SMALL, small, large), x)


SINH_SMALL = 1.0


def _half_exp(t):
    """exp(t) / 2 for t >= 0, which is finite for somewhat larger t than exp(t)."""
    kind = t.type.kind
    r, bits = reduced(at_most(t, RANGE[kind][1] + 0.75), 2 * format_of(t).bias - 1)
    return scaled(polynomial(r, coefficients.EXP[kind]), bits)


def sinh(x):
    """The hyperbolic sine: a polynomial near zero."""
    t = abs(x)
    s = t * t
    small = fma(t * s, polynomial(s, coefficients.SINH[x.type.kind]), t)
    half = _half_exp(t)
    return copysign(select(t < SINH_SMALL, small, half - 0.25 / half), x)


def cosh(x):
    """The hyperbolic cosine."""
    half = _half_exp(abs(x))
    return half + 0.25 / half
