"""The error function and its relatives."""

from iskra.codegen import coefficients
from iskra.codegen.exponentials import exp2_of_negative
from iskra.codegen.floats import (
    at_least,
    at_most,
    format_of,
    polynomial,
    power_of_two,
    round_to_integer,
)
from iskra.codegen.ir import copysign, fma, select

ERF_SMALL = 1.0
# From here on the result is 1.
ERF_ONE = {"f32": 4.0, "f64": 6.0}


def erf(x):
    """The error function: a polynomial near zero, 1 - 2^(a polynomial) elsewhere."""
    kind = x.type.kind
    t = abs(x)
    small = fma(t, polynomial(t * t, coefficients.ERF[kind]), t)
    power = polynomial(at_most(t, ERF_ONE[kind]), coefficients.ERF_TAIL[kind])
    return copysign(select(t < ERF_SMALL, small, 1.0 - exp2_of_negative(power)), x)

# From here on a standard normal variable's tail is below the normal numbers.
NORMAL_TAIL_ZERO = {"f32": 13.25, "f64": 38.0}


def gelu(x):
    """x times the chance that a standard normal variable is below x; NaN at minus infinity.

    With q(t) the chance that it is above t = |x|, gelu(x) = max(x, 0) - t q(t) for either sign.
    q = 2^(a polynomial), and 0 below the normal numbers.
    """
    kind, form = x.type.kind, format_of(x)
    t = abs(at_most(x, NORMAL_TAIL_ZERO[kind]))
    power = polynomial(at_most(t, NORMAL_TAIL_ZERO[kind]), coefficients.NORMAL_TAIL[kind])
    power = at_least(power, -float(form.bias))
    n, bits = round_to_integer(power, 1.0, form.bias)
    q = polynomial(power - n, coefficients.EXP2[kind]) * power_of_two(bits, kind)
    return fma(-t, q, at_least(x, 0.0))
