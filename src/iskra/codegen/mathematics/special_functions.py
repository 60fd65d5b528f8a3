"""The error function and its relatives."""

from iskra.codegen.ir import copysign, fma, select, sqrt
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.exponentials import reduced
from iskra.codegen.mathematics.floats import (
    INF,
    at_most,
    constant,
    format_of,
    polynomial,
    power_of_two,
    round_to_integer,
)
from iskra.codegen.mathematics.logarithms import log

ERF_SMALL = 1.0
# From here on the result is 1.
ERF_ONE = {"f32": 4.0, "f64": 6.0}


def erf(x):
    """The error function: a polynomial near zero, 1 - 2^(a polynomial) elsewhere."""
    kind = x.type.kind
    t = at_most(abs(x), ERF_ONE[kind])
    s = t * t
    small = fma(t, polynomial(s, coefficients.ERF[kind]), t)
    return copysign(select(t < ERF_SMALL, small, 1.0 - _erf_tail(t, s)), x)


def _erf_tail(t, s):
    """2^(c t + s R(t)): what is rounded first is taken from n, so that less is lost."""
    kind, form = t.type.kind, format_of(t)
    first, *others = coefficients.ERF_TAIL[kind]
    rest = polynomial(t, others)
    n, bits = round_to_integer(fma(s, rest, t * first), 1.0, form.bias)
    r = fma(s, rest, fma(t, first, -n))
    return polynomial(r, coefficients.EXP2[kind]) * power_of_two(bits, kind)


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


def erfinv(x):
    """The inverse of `erf`, for x from -1 to 1.

    erfinv(x) / x is a polynomial in w = -log(1 - x^2) where w is small, in w^(1/2) elsewhere,
    as M. Giles has shown.
    """
    kind = x.type.kind
    w = -log(fma(-x, x, 1.0))
    root = sqrt(w)
    result = polynomial(w, coefficients.ERFINV[kind])
    result = select(w > 6.25, polynomial(root - 3.25, coefficients.ERFINV_FAR[kind]), result)
    if kind in coefficients.ERFINV_FARTHER:
        farther = polynomial(root - 5.0, coefficients.ERFINV_FARTHER[kind])
        result = select(w > 16.0, farther, result)
    return select(abs(x).eq(1.0), copysign(constant(x, INF), x), x * result)
