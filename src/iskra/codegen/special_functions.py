"""The error function and its relatives."""

from iskra.codegen import coefficients
from iskra.codegen.exponentials import exp2_of_negative, reduced
from iskra.codegen.floats import at_most, format_of, polynomial, power_of_two
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


# exp(t^2) erfc(t) (t + 3) is a polynomial in (t - 3) / (t + 3).
ERFC_SHIFT = 3.0
# From here on erfc is 0.
ERFC_ZERO = {"f32": 10.5, "f64": 27.5}


def erfc_tail(t, square, square_rest):
    """1 - erf(t), t >= 0, given t^2 in two parts; without cancellation, good down to subnormals.

    Best for t of about 1 and above.
    """
    kind, form = t.type.kind, format_of(t)
    t = at_most(t, ERFC_ZERO[kind])
    square = at_most(square, ERFC_ZERO[kind] ** 2)
    r, bits = reduced(-square, form.bias + form.bias // 2)
    inverse = 1.0 / (t + ERFC_SHIFT)
    rest = inverse * polynomial((t - ERFC_SHIFT) * inverse, coefficients.ERFC[kind])
    lifted = polynomial(r - square_rest, coefficients.EXP[kind]) * power_of_two(bits, kind)
    return lifted * rest * 2.0 ** -(form.bias // 2)


def erfc(x):
    """1 - erf(x), also where that is small."""
    kind = x.type.kind
    t = at_most(abs(x), ERFC_ZERO[kind])
    square = t * t
    tail = erfc_tail(t, square, fma(t, t, -square))
    small = fma(-x, polynomial(x * x, coefficients.ERF[kind]), 1.0 - x)
    return select(t < ERF_SMALL, small, select(x < 0.0, 2.0 - tail, tail))
