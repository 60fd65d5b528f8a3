"""Bessel functions of orders 0 and 1.

About 0 they are polynomials in x^2, beside a logarithm for the second kind. Far away, I and K go
like exp(x) and exp(-x) over the root of x, times a polynomial in 1 / x; J and Y are waves whose
amplitudes and phases are polynomials in 1 / x^2 (Hankel's expansion). Of J the first zero is
divided out, so that results near it are good.
"""

import math

from iskra.codegen.ir import copysign, fma, select, sqrt
from iskra.codegen.mathematics import special_coefficients as table
from iskra.codegen.mathematics.exponentials import exp
from iskra.codegen.mathematics.floats import INF, NAN, at_least, at_most, constant, polynomial
from iskra.codegen.mathematics.logarithms import log
from iskra.codegen.mathematics.trigonometry import sin_and_cos

# Where the forms change, as in tools/fit_special.py.
GROWING, WAVING = 8.0, 5.0
DECAYING = {"f32": 1.0, "f64": 2.0}
CENTER = WAVING * WAVING / 2
TWO_OVER_PI = 2.0 / math.pi
# The squares of the first zeros of J0 and J1, in two parts each.
ZERO_SQUARED = {
    "f32": ((5.783185958862305, 4.084479833675995e-09),
            (14.681970596313477, 4.581041669471978e-08)),
    "f64": ((5.783185962946784, 4.123247343506204e-16),
            (14.681970642123893, -9.858177825793294e-17)),
}


def _i(x, order, scaled):
    """I of |x|, NaN at infinity, or exp(-|x|) times it; for order 1 with the sign of x."""
    kind = x.type.kind
    near = (table.BESSEL_I0, table.BESSEL_I1)[order]
    far = (table.BESSEL_I0_FAR, table.BESSEL_I1_FAR)[order]
    t = abs(x)
    u = at_most(t, GROWING)
    close = polynomial(u * u, near[kind])
    if order:
        close = close * u
    v = at_least(t, GROWING)
    away = polynomial(1.0 / v, far[kind]) / sqrt(v)
    if scaled:
        close = close * exp(-u)
    else:
        half = exp(v * 0.5)  # the whole would be infinite too early
        away = away * half * half
    result = select(t > GROWING, away, close)
    return copysign(result, x) if order else result


def i0(x):
    """The modified Bessel function of the first kind, of order 0."""
    return _i(x, 0, False)


def i0e(x):
    """exp(-|x|) i0(x)."""
    return _i(x, 0, True)


def i1(x):
    """The modified Bessel function of the first kind, of order 1."""
    return _i(x, 1, False)


def i1e(x):
    """exp(-|x|) i1(x)."""
    return _i(x, 1, True)


def _k(x, order, scaled):
    """K or exp(x) times it: infinite at 0, NaN below."""
    kind = x.type.kind
    bound = DECAYING[kind]
    first, near, far = (
        (table.BESSEL_I0_NEAR, table.BESSEL_K0, table.BESSEL_K0_FAR),
        (table.BESSEL_I1_NEAR, table.BESSEL_K1, table.BESSEL_K1_FAR),
    )[order]
    u = at_most(x, bound)
    s = u * u
    growing, rest, logarithm = polynomial(s, first[kind]), polynomial(s, near[kind]), log(u * 0.5)
    if order:
        close = fma(logarithm * u, growing, rest / u)
    else:
        close = fma(-logarithm, growing, rest)
    v = at_least(x, bound)
    away = polynomial(1.0 / v, far[kind]) / sqrt(v)
    if scaled:
        close = close * exp(u)
    else:
        away = away * exp(-v)
    result = select(x > bound, away, close)
    return select(x > 0.0, result, select(x.eq(0.0), constant(x, INF), NAN))


def k0(x):
    """The modified Bessel function of the second kind, of order 0."""
    return _k(x, 0, False)


def k0e(x):
    """exp(x) k0(x)."""
    return _k(x, 0, True)


def k1(x):
    """The modified Bessel function of the second kind, of order 1."""
    return _k(x, 1, False)


def k1e(x):
    """exp(x) k1(x)."""
    return _k(x, 1, True)


def _close_j(t, order):
    """J for 0 <= t <= 5."""
    kind = t.type.kind
    high, low = ZERO_SQUARED[kind][order]
    s = t * t
    beyond = fma(t, t, -high) - low
    result = beyond * polynomial(s - CENTER, (table.BESSEL_J0, table.BESSEL_J1)[order][kind])
    if order:
        return result * t
    return select(s < 2.0 ** -24 if kind == "f32" else s < 2.0 ** -53, 1.0, result)


def _waves(t, order):
    """(the part of J, the part of Y) for t >= 5: sqrt(2 / (pi t)) times cosine and sine."""
    kind = t.type.kind
    even, odd = ((table.BESSEL_P0, table.BESSEL_Q0), (table.BESSEL_P1, table.BESSEL_Q1))[order]
    inverse = 1.0 / t
    s = inverse * inverse
    p = polynomial(s, even[kind])
    q = polynomial(s, odd[kind]) * inverse
    # Of the angle t - pi / 4, or t - 3 pi / 4, times the root of 2.
    sine, cosine = sin_and_cos(t)
    together, apart = sine + cosine, sine - cosine
    along, across = (apart, -together) if order else (together, apart)
    amplitude = 1.0 / sqrt(t * math.pi)
    return fma(p, along, -(q * across)) * amplitude, fma(p, across, q * along) * amplitude


def _j(x, order):
    t = abs(x)
    away, _ = _waves(at_least(t, WAVING), order)
    result = select(t > WAVING, away, _close_j(at_most(t, WAVING), order))
    return result * copysign(constant(x, 1.0), x) if order else result


def j0(x):
    """The Bessel function of the first kind, of order 0."""
    return _j(x, 0)


def j1(x):
    """The Bessel function of the first kind, of order 1."""
    return _j(x, 1)


def _y(x, order):
    """Y: minus infinity at 0, NaN below."""
    kind = x.type.kind
    _, away = _waves(at_least(x, WAVING), order)
    u = at_most(x, WAVING)
    rest = polynomial(u * u - CENTER, (table.BESSEL_Y0, table.BESSEL_Y1)[order][kind])
    if order:
        rest = rest * u - TWO_OVER_PI / u
    close = fma(log(u) * _close_j(u, order), TWO_OVER_PI, rest)
    result = select(x > WAVING, away, close)
    return select(x > 0.0, result, select(x.eq(0.0), constant(x, -INF), NAN))


def y0(x):
    """The Bessel function of the second kind, of order 0."""
    return _y(x, 0)


def y1(x):
    """The Bessel function of the second kind, of order 1."""
    return _y(x, 1)
