"""Arc sine, arc cosine, arc tangent.

The tangent's inverse is brought to |a| <= 0.55 by atan(t) = pi / 4 + atan((t - 1) / (t + 1))
and atan(t) = pi / 2 - atan(1 / t), the sine's to |a| <= 1/2 by the half angle.
"""

from iskra.codegen.ir import copysign, fma, select, sqrt
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.floats import INF, constant, format_of, polynomial

# pi / 4 and pi / 2 in two parts.
QUARTER_PI = {
    "f32": (0.7853981852531433, -2.1855694143368964e-08),
    "f64": (0.7853981633974483, 3.061616997868383e-17),
}
HALF_PI = {
    "f32": (1.5707963705062866, -4.371138828673793e-08),
    "f64": (1.5707963267948966, 6.123233995736766e-17),
}
# Below, no reduction is needed; above its inverse, pi / 2 is taken off.
ATAN_SMALL = 0.55


def _small_atan(a):
    s = a * a
    return fma(a * s, polynomial(s, coefficients.ATAN[a.type.kind]), a)


def atan(x):
    """The inverse of `tan`, between -pi / 2 and pi / 2."""
    t = abs(x)
    middle, large = t > ATAN_SMALL, t > 1.0 / ATAN_SMALL
    above = select(large, -1.0, select(middle, t - 1.0, t))
    below = select(large, t, select(middle, t + 1.0, 1.0))
    high, low = QUARTER_PI[x.type.kind]
    quarters = select(large, 2.0, select(middle, constant(x, 1.0), 0.0))
    result = fma(quarters, high, fma(quarters, low, _small_atan(above / below)))
    return copysign(result, x)


def atan2(y, x):
    """The angle of the point (x, y), between -pi and pi; signed zeros and infinities as in C."""
    one = constant(x, 1.0)
    across, along = abs(y), abs(x)
    steep = across > along
    small, large = _sides(across, along, steep)
    middle = small > large * ATAN_SMALL
    angle = _small_atan(select(middle, small - large, small) / select(middle, small + large, large))
    # The result is `quarters` of pi / 4, and `angle` more.
    quarters = select(middle, one, 0.0)
    for turned, most in ((steep, 2.0), (copysign(one, x) < 0.0, 4.0)):
        angle = select(turned, -angle, angle)
        quarters = select(turned, most - quarters, quarters)
    high, low = QUARTER_PI[x.type.kind]
    result = copysign(fma(quarters, high, fma(quarters, low, angle)), y)
    return select(x.eq(x) & y.eq(y), result, x + y)


def _sides(across, along, steep):
    """The smaller and the larger of the two, as they are for a quotient: finite and not 0 / 0."""
    one = constant(across, 1.0)
    small, large = select(steep, along, across), select(steep, across, along)
    # Their sum must not overflow.
    fit = select(large > 2.0 ** (format_of(across).bias - 2), constant(across, 0.25), one)
    small, large = small * fit, large * fit
    infinite = large.eq(INF)
    small = select(infinite, select(small.eq(INF), one, 0.0), small)
    return small, select(infinite | large.eq(0.0), one, large)


def _half_angle(t):
    """(whether |x| is over 1/2, what asin of the size is given by: a, asin(a) - a)."""
    large = t > 0.5
    s = select(large, fma(t, -0.5, 0.5), t * t)
    a = select(large, sqrt(s), t)
    return large, a, a * s * polynomial(s, coefficients.ASIN[t.type.kind])


def asin(x):
    """The inverse of `sin`, between -pi / 2 and pi / 2."""
    large, a, rest = _half_angle(abs(x))
    high, low = HALF_PI[x.type.kind]
    # pi / 2 - 2 a in two parts, and the rest.
    most = fma(a, -2.0, high)
    lost = fma(a, -2.0, high - most)
    folded = most + (lost + fma(rest, -2.0, low))
    return copysign(select(large, folded, a + rest), x)


def acos(x):
    """The inverse of `cos`, between 0 and pi."""
    large, a, rest = _half_angle(abs(x))
    high, low = HALF_PI[x.type.kind]
    signed, signed_rest = copysign(a, x), copysign(rest, x)
    near = (high - signed) + (low - signed_rest)
    end = (a + rest) * 2.0
    back = 2.0 * high - end + 2.0 * low
    return select(large, select(x < 0.0, back, end), near)
