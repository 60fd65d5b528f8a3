"""Powers and roots.

x^y = 2^(y log2 x), the logarithm and its product with y in two parts each. The logarithm of
m = x / 2^i is 2 atanh(q) with q = (m - 1) / (m + 1), |q| < 0.172: the series' first two terms are
in two parts as well, the rest is a polynomial.
"""

from iskra.codegen.ir import copysign, floor, fma, select, sqrt
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.exponentials import scaled
from iskra.codegen.mathematics.floats import (
    INF,
    NAN,
    at_least,
    at_most,
    bits_of,
    constant,
    format_of,
    from_bits,
    polynomial,
    round_to_integer,
)

# The bits of the square root of 1/2.
ROOT_HALF = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}
# 2 / ln 2 and 1 / 3, in two parts.
TWO_LOG2E = {
    "f32": (2.885390043258667, 3.851926067000022e-08),
    "f64": (2.8853900817779268, 4.0710547481862066e-17),
}
THIRD = {
    "f32": (0.3333333432674408, -9.934107758624577e-09),
    "f64": (0.3333333333333333, 1.850371707708594e-17),
}


def product(a, b):
    """a * b as (rounded, what the rounding lost)."""
    whole = a * b
    return whole, fma(a, b, -whole)


def ordered_sum(a, b):
    """a + b as (rounded, what the rounding lost), where a is no smaller than b, or 0."""
    whole = a + b
    return whole, b - (whole - a)


def _log2(x):
    """log2(x) in two parts, x > 0 (infinite for 0 and infinity)."""
    kind, form = x.type.kind, format_of(x)
    subnormal, lift = x < form.least, form.mantissa + 1
    normal = select(subnormal, x * 2.0**lift, x)
    shift = (bits_of(normal) - ROOT_HALF[kind]) & form.exponent_mask
    m = from_bits(bits_of(normal) - shift, kind)
    exponent = shift.to(kind) * 2.0**-form.mantissa
    exponent = select(subnormal, exponent - float(lift), exponent)
    whole, rest = _scaled_atanh(*_quotient(m))
    high, low = ordered_sum(exponent, whole)
    high, low = ordered_sum(high, low + rest)
    infinite = select(x.eq(0.0), constant(x, -INF), x)
    return select((x > 0.0) & (x < INF), high, infinite), low


def _quotient(m):
    """(m - 1) / (m + 1) in two parts."""
    above, below = m - 1.0, m + 1.0
    inverse = 1.0 / below
    q = above * inverse
    left = fma(-q, below, above)
    # What m + 1 has lost belongs to the divisor.
    return q, fma(-q, m - (below - 1.0), left) * inverse


def _scaled_atanh(q, q_rest):
    """2 atanh(q) / ln 2 in two parts."""
    kind = q.type.kind
    third, third_rest = THIRD[kind]
    s, s_rest = product(q, q)
    s_rest = fma(q + q, q_rest, s_rest)
    t, t_rest = product(s, constant(s, third))
    rest = fma(s_rest, third, fma(s, third_rest, t_rest))
    rest = fma(s * s, polynomial(s, coefficients.ATANH[kind]), rest)
    cube, cube_rest = product(q, t)
    cube_rest = fma(q, rest, fma(q_rest, t, cube_rest))
    whole, whole_rest = ordered_sum(q, cube)
    whole_rest = whole_rest + (cube_rest + q_rest)
    unit, unit_rest = TWO_LOG2E[kind]
    scaled, lost = product(whole, constant(whole, unit))
    return scaled, fma(whole_rest, unit, fma(whole, unit_rest, lost))


def pow(x, y):
    """x to the power of y, by C's rules for zeros, infinities and NaN.

    Negative bases have real powers for whole y only: NaN for others. ``pow(x, 0)`` and
    ``pow(1, y)`` are 1 even for NaN.
    """
    kind, form = x.type.kind, format_of(x)
    high, low = _log2(abs(x))
    # Beyond that, only the sign of the product matters; and 0 times infinity is kept away.
    bounded = at_most(at_least(y, -(2.0**90)), 2.0**90)
    power = bounded * high
    rest = fma(bounded, high, -power) + bounded * low
    limit = 1.25 * form.bias
    rest = select(abs(power) < limit, rest, 0.0)
    power = at_most(at_least(power, -limit), limit)
    n, bits = round_to_integer(power, 1.0, 2 * form.bias)
    result = scaled(polynomial((power - n) + rest, coefficients.EXP2[kind]), bits)
    return _signed_power(x, y, result)


def _signed_power(x, y, result):
    """What pow(|x|, y) becomes for negative x, and the cases that are 1 even with NaN."""
    form = format_of(x)
    half = y * 0.5
    whole = floor(y).eq(y)
    odd = whole & floor(half).ne(half)
    sign = bits_of(x) & -(1 << form.bits - 1)
    signed = from_bits(bits_of(result) ^ sign, x.type.kind)
    result = select(odd, signed, result)
    result = select((x < 0.0) & (x > -INF) & ~whole, constant(x, NAN), result)
    return select(x.eq(1.0) | y.eq(0.0), 1.0, result)


def rsqrt(x):
    """1 / sqrt(x), from a correct root and a correct quotient."""
    return 1.0 / sqrt(x)


# Of the bits of a number, a third, and this much more, are about those of its cube root.
CBRT_START = {"f32": 0x2A5119F2, "f64": 0x2A9F7893782DA1CE}


def cbrt(x):
    """The cube root."""
    kind, form = x.type.kind, format_of(x)
    t, one = abs(x), constant(x, 1.0)
    # Away from subnormal numbers and from overflow, by a power of 8.
    lift = form.mantissa // 3 + 1
    low, high = t < form.least, t > 2.0 ** (form.bias - 4)
    a = t * select(low, constant(x, 8.0**lift), select(high, constant(x, 0.125**lift), one))
    root = from_bits(bits_of(a) // 3 + CBRT_START[kind], kind)
    # Halley's iteration triples the number of good digits.
    for _ in range(2 if kind == "f32" else 3):
        cube = root * root * root
        root = root * ((cube + (a + a)) / ((cube + cube) + a))
    # Newton's, with the remainder as exact as it can be.
    square, square_rest = product(root, root)
    remainder = fma(-square_rest, root, fma(-square, root, a))
    root = fma(remainder, THIRD[kind][0] / square, root)
    root = root * select(low, constant(x, 0.5**lift), select(high, constant(x, 2.0**lift), one))
    # 0, infinity and NaN are their own roots.
    return copysign(select((t > 0.0) & (t < INF), root, t), x)


def hypot(x, y):
    """sqrt(x^2 + y^2) without overflow; infinite if either is, even beside NaN."""
    form = format_of(x)
    a, b = abs(x), abs(y)
    large = select(a > b, a, b)
    limit = 2.0 ** (form.bias // 2)
    one = constant(x, 1.0)
    # Towards the middle, by a power of two.
    down, up = large > limit, large < 1.0 / limit
    step = 2.0 ** (form.bias // 2 + form.mantissa)
    grow, shrink = constant(x, step), constant(x, 1.0 / step)
    factor = select(down, shrink, select(up, grow, one))
    back = select(down, grow, select(up, shrink, one))
    a, b = a * factor, b * factor
    result = sqrt(fma(a, a, b * b)) * back
    return select(abs(x).eq(INF) | abs(y).eq(INF), constant(x, INF), result)
