"""The normal distribution's functions, and the scaled complementary error function."""

import math

from iskra.codegen.ir import fma, select, sqrt
from iskra.codegen.mathematics import coefficients, special_coefficients
from iskra.codegen.mathematics.exponentials import exp
from iskra.codegen.mathematics.floats import INF, NAN, at_least, at_most, constant, polynomial
from iskra.codegen.mathematics.logarithms import log, log1p
from iskra.codegen.mathematics.special_functions import ERFC_SHIFT, erfc_tail

ROOT_HALF = math.sqrt(0.5)
# How far the polynomial for erfcx reaches.
ERFCX_FAR = {"f32": 7.5, "f64": 24.5}
# Below minus this, erfcx is infinite.
ERFCX_INFINITE = 27.0


def erfcx(x):
    """exp(x^2) erfc(x)."""
    t = abs(x)
    scaled = scaled_tail(t)
    u = at_most(t, ERFCX_INFINITE)
    square = u * u
    power = exp(square)
    power = select(power < INF, fma(power, fma(u, u, -square), power), power)
    return select(x < 0.0, fma(power, 2.0, -scaled), scaled)


def scaled_tail(t):
    """erfcx for t >= 0: a polynomial, and the asymptotic series where that has few terms."""
    kind = t.type.kind
    u = at_most(t, ERFCX_FAR[kind])
    inverse = 1.0 / (u + ERFC_SHIFT)
    near = inverse * polynomial((u - ERFC_SHIFT) * inverse, coefficients.ERFC[kind])
    inverse = 1.0 / at_least(t, ERFCX_FAR[kind])
    # 1 - 1/2 s + 1 3/4 s^2 - 1 3 5/8 s^3 ..., s = 1 / t^2
    terms = [math.prod(range(1, 2 * k, 2)) * (-0.5) ** k for k in range(8)]
    far = inverse * polynomial(inverse * inverse, terms) * (1 / math.sqrt(math.pi))
    return select(t > ERFCX_FAR[kind], far, near)


def _upper(t):
    """The chance that a standard normal variable is above t >= 0."""
    t = at_most(t, 40.0)
    square = t * t
    return 0.5 * erfc_tail(t * ROOT_HALF, square * 0.5, fma(t, t, -square) * 0.5)


def _middle(x):
    """The chance to be between 0 and x, |x| <= 1, which has the sign of x."""
    z = at_least(at_most(x, 1.0), -1.0) * ROOT_HALF
    return 0.5 * fma(z, polynomial(z * z, coefficients.ERF[x.type.kind]), z)


def ndtr(x):
    """The chance that a standard normal variable is below x."""
    t = abs(x)
    upper = _upper(t)
    away = select(x < 0.0, upper, 1.0 - upper)
    return select(t < 1.0, 0.5 + _middle(x), away)


def log_ndtr(x):
    """The logarithm of `ndtr`, also where that is 0."""
    t = abs(x)
    low = log(scaled_tail(t * ROOT_HALF) * 0.5) - x * 0.5 * x
    low = select(t < INF, low, constant(x, -INF))
    above = select(t < 1.0, 0.5 - _middle(x), _upper(t))
    return select(x <= -1.0, low, log1p(-above))


# Down to where the quantile of (1 + u) / 2 is a polynomial in u.
NDTRI_MIDDLE = 0.105
NDTRI_CENTER = 4.0


def ndtri(p):
    """The inverse of `ndtr`: infinite at 0 and 1, NaN beyond."""
    kind = p.type.kind
    low = p < 0.5
    rest = select(low, p, 1.0 - p)
    u = fma(p, 2.0, -1.0)
    middle = u * polynomial(at_most(u * u, 1.0), special_coefficients.NDTRI[kind])
    s = sqrt(-log(at_most(rest, 0.25)))
    q = (s - NDTRI_CENTER) / (s + NDTRI_CENTER)
    away = s * polynomial(q, special_coefficients.NDTRI_FAR[kind])
    away = select(rest.eq(0.0), constant(p, INF), away)
    away = select(low, -away, away)
    result = select(rest < NDTRI_MIDDLE, away, middle)
    return select((p >= 0.0) & (p <= 1.0), result, constant(p, NAN))
