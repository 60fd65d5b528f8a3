"""Logarithms.

log(x) = i ln 2 + log(m), with m between 2/3 and 4/3; log(1 + r) = r + r^2 w(r), w a polynomial.
"""

from iskra.codegen.ir import copysign, fma, select, sqrt
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.exponentials import exp_of_negative
from iskra.codegen.mathematics.floats import (
    INF,
    NAN,
    bits_of,
    constant,
    format_of,
    from_bits,
    polynomial,
)

# For each base b: 1 / ln b in two parts, and log_b 2 in two parts. The first part of that is short,
# so that its product with an exponent is exact.
LOG = {
    "f32": ((1.0, 0.0),
            (0.693115234375, 3.194618329871446e-05)),
    "f64": ((1.0, 0.0),
            (0.6931471805592082, 7.371002565167799e-13)),
}
LOG2 = {
    "f32": ((1.4426950216293335, 1.925963033500011e-08),
            (1.0, 0.0)),
    "f64": ((1.4426950408889634, 2.0355273740931033e-17),
            (1.0, 0.0)),
}
LOG10 = {
    "f32": ((0.4342944920063019, -1.0103049952192578e-08),
            (0.301025390625, 4.605039066518657e-06)),
    "f64": ((0.4342944819032518, 1.098319650216765e-17),
            (0.30102999566361177, 3.694239077158931e-13)),
}
# The bits of 2/3: what is added to 1 before the exponent is cut off.
TWO_THIRDS = {"f32": 0x3F2AAAAB, "f64": 0x3FE5555555555555}


def exponent_bits(x):
    """The exponent i for which x / 2^i lies between 2/3 and 4/3, as i * 2^mantissa."""
    form = format_of(x)
    return (bits_of(x) - TWO_THIRDS[x.type.kind]) & form.exponent_mask


def _combined(r, exponent, base, table, rest=None):
    """log_b((1 + r) 2^i); `exponent` holds i * 2^mantissa as a number, `rest` what r lacks.

    Only the last addition rounds what matters: i log_b(2) + r / ln b is kept in two parts.
    """
    (unit, unit_rest), (step, step_rest) = base[r.type.kind]
    scale = 2.0 ** -format_of(r).mantissa
    tail = fma(r * r, polynomial(r, table[r.type.kind]), exponent * (step_rest * scale))
    first = r
    if unit_rest:
        first = r * unit
        tail = tail + fma(r, unit_rest, fma(r, unit, -first))
    if rest is not None:
        tail = tail + rest
    whole = exponent * (step * scale)
    total = whole + first
    return total + (tail + (first - (total - whole)))


def _logarithm(x, base, table):
    kind, form = x.type.kind, format_of(x)
    subnormal = x < form.least
    lift = form.mantissa + 1
    normal = select(subnormal, x * 2.0**lift, x)
    shift = exponent_bits(normal)
    r = from_bits(bits_of(normal) - shift, kind) - 1.0
    exponent = shift.to(kind)
    exponent = select(subnormal, exponent - float(lift) * 2.0**form.mantissa, exponent)
    result = select(x < INF, _combined(r, exponent, base, table), x)
    return select(x > 0.0, result, select(x.eq(0.0), constant(x, -INF), NAN))


def log(x):
    """The natural logarithm."""
    return _logarithm(x, LOG, coefficients.LOG)


def log2(x):
    """The logarithm to base 2; exact for powers of two."""
    return _logarithm(x, LOG2, coefficients.LOG2)


def log10(x):
    """The logarithm to base 10."""
    return _logarithm(x, LOG10, coefficients.LOG10)


def log1p(x):
    """log(1 + x), also where x is small.

    The exponent i is that of 1 + x, rounded; then (1 + x) / 2^i - 1 = x / 2^i + (2^-i - 1) is
    nearly exact, as N. Juffa has shown.
    """
    result = select(x < INF, copysign(bare_log1p(x), x), x)
    return select(x > -1.0, result, select(x.eq(-1.0), constant(x, -INF), NAN))


def bare_log1p(x):
    """As above, for finite x > -1; the sign of zero is lost."""
    form = format_of(x)
    shift = exponent_bits(x + 1.0)
    part = from_bits(bits_of(x) - shift, x.type.kind)
    # 4 / 2^i, which is a normal number for every i.
    less = fma(from_bits(form.power(2) - shift, x.type.kind), 0.25, -1.0)
    r = part + less
    lost = part - (r - less)
    # log(1 + r + lost) is larger by lost / (1 + r).
    return _combined(r, shift.to(x.type.kind), LOG, coefficients.LOG, fma(-r, lost, lost))


LN2 = 0.6931471805599453


def _log_of_twice(t, near):
    """log1p(near), but log(2t) where t is so large that its square might overflow."""
    large = t > 2.0 ** (format_of(t).bias // 3)
    log = bare_log1p(select(large, t, near))
    return select(t < INF, select(large, log + LN2, log), t)


def asinh(x):
    """The inverse of `sinh`."""
    t = abs(x)
    s = t * t
    near = t + s / (1.0 + sqrt(s + 1.0))
    return copysign(_log_of_twice(t, near), x)


def acosh(x):
    """The inverse of `cosh`, for x >= 1."""
    above = x - 1.0
    near = above + sqrt(above * (above + 2.0))
    return select(x >= 1.0, _log_of_twice(x, near), constant(x, NAN))


def atanh(x):
    """The inverse of `tanh`, for x from -1 to 1."""
    t = abs(x)
    return copysign(log1p((t + t) / (1.0 - t)) * 0.5, x)


def logaddexp(x, y):
    """log(exp(x) + exp(y))."""
    apart = abs(x - y)
    larger = select((x > y) | x.ne(x), x, y)  # NaN, if x is
    result = larger + bare_log1p(exp_of_negative(-apart))
    # Infinities are not apart from themselves.
    return select(x.eq(y), x + LN2, result)
