"""The regularised incomplete gamma functions P and Q = 1 - P, in double precision.

By N. M. Temme's expansion, uniform in x, where a is large and x not far from it; else below a by
P's power series and above by Q's continued fraction. About 0, where P is nearly 1 for small a, Q
has a series of its own.
"""

import math

from iskra.codegen.ir import copysign, fma, select, sqrt
from iskra.codegen.mathematics import coefficients, special_coefficients
from iskra.codegen.mathematics.exponentials import exp, expm1
from iskra.codegen.mathematics.floats import INF, NAN, at_least, at_most, constant, polynomial
from iskra.codegen.mathematics.gamma import lgamma
from iskra.codegen.mathematics.logarithms import log
from iskra.codegen.mathematics.normal import scaled_tail

UNIFORM = 50.0  # from here on six terms of Temme's expansion do
STIRLING = 10.0  # from here on Stirling's formula gives the factor
NEAR_ZERO = 1.1
ROUNDS, STEPS = 20, 10  # at most; lanes seldom need half as many
EPSILON = 2.0**-53
UNIFORM_TABLES = tuple(
    getattr(special_coefficients, f"GAMMA_UNIFORM{k}")["f64"] for k in range(6))


def gammainc(a, x):
    """P(a, x)."""
    return _of_wide(a, x, 0)


def gammaincc(a, x):
    """Q(a, x)."""
    return _of_wide(a, x, 1)


def _of_wide(a, x, upper):
    if a.type.kind == "f32":
        return _of_wide(a.to("f64"), x.to("f64"), upper).to("f32")
    usual = (a > 0.0) & (a < INF) & (x > 0.0) & (x < INF)
    one = constant(a, 1.0)
    result = _inside(select(usual, a, one), select(usual, x, one), upper)
    # All lies below x if that is infinite or a is 0, nothing if x is 0 or a infinite.
    full, empty = x.eq(INF) | a.eq(0.0) & (x > 0.0), x.eq(0.0) & a.ne(0.0) | a.eq(INF)
    edge = select(full, constant(a, float(1 - upper)), constant(a, float(upper)))
    fits = ~((a < 0.0) | (x < 0.0)) & full.ne(empty)
    return select(usual, result, select(fits, edge, constant(a, NAN)))


def _inside(a, x, upper):
    function = a.function
    mu = (x - a) / a
    # mu - log(1 + mu)
    close = -(mu * mu) * polynomial(mu, coefficients.LOG["f64"])
    distance = select(abs(mu) < 1.0 / 3.0, close, mu - log(x / a))
    uniform = (a >= UNIFORM) & (distance <= 0.5)
    low = (x <= NEAR_ZERO) | (x < a)
    result = function.variable(constant(a, 0.0))
    with function.when(uniform.any()):
        result.set(_by_temme(select(uniform, a, UNIFORM), mu, at_most(distance, 0.5), upper))
    factor = _factor(a, x, distance)
    _choose(result, ~uniform & low, lambda m: _by_series(a, x, m) * factor, not upper)
    _choose(result, ~uniform & ~low, lambda m: _by_fraction(a, x, m) * factor * a, upper)
    if upper:
        bound = select(x <= 0.5, -0.4 / log(at_most(x, 0.5)), x * NEAR_ZERO)
        small = (x <= NEAR_ZERO) & (a <= bound)
        with function.when(small.any()):
            result.set(select(small, _about_zero(at_most(a, 2.0), at_most(x, 2.0)), result.get()))
    return result.get()


def _choose(result, mask, compute, direct):
    """Set lanes of the result where the mask holds, to a value or to what it lacks to 1."""
    with mask.function.when(mask.any()):
        value = compute(mask)
        result.set(select(mask, value if direct else 1.0 - value, result.get()))


def _factor(a, x, distance):
    """x^a exp(-x) / gamma(a + 1)."""
    small = at_most(a, STIRLING)
    plain = fma(small, log(x), -x) - lgamma(small + 1.0)
    inverse = 1.0 / at_least(a, STIRLING)
    rest = inverse * polynomial(inverse * inverse, coefficients.STIRLING["f64"])
    large = a > STIRLING
    power = exp(select(large, -fma(a, distance, rest), plain))
    return select(large, power * sqrt(inverse * (0.5 / math.pi)), power)


def _by_temme(a, mu, distance, upper):
    """Half the complementary error function of eta (a / 2)^(1/2), and a correction."""
    eta = copysign(sqrt(distance * 2.0), mu)
    power = exp(-(a * distance))
    tail = 0.5 * power * scaled_tail(sqrt(a * distance))
    inverse = 1.0 / a
    terms = [polynomial(eta, table) for table in UNIFORM_TABLES]
    correction = power * sqrt(inverse * (0.5 / math.pi)) * polynomial(inverse, terms)
    if upper:
        return select(mu < 0.0, 1.0 - tail, tail) + correction
    return select(mu < 0.0, tail, 1.0 - tail) - correction


def _by_series(a, x, mask):
    """1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ..."""
    function, one = a.function, constant(a, 1.0)
    total, term, place = (function.variable(v) for v in (one, one, a))
    going = function.variable(mask)
    with function.loop(0, ROUNDS), function.when(going.get().any()):
        with function.loop(0, STEPS):
            place.set(place.get() + 1.0)
            term.set(term.get() * (x / place.get()))
            total.set(total.get() + term.get())
        going.set(mask & (term.get() > total.get() * EPSILON))
    return total.get()


def _by_fraction(a, x, mask):
    """Legendre's continued fraction of Q gamma(a) exp(x) / x^a, by W. J. Lentz's method."""
    function = a.function
    first = x + 1.0 - a
    above, below, base, count, product, last = (function.variable(v) for v in (
        constant(a, 1e300), 1.0 / first, first, constant(a, 0.0), 1.0 / first, constant(a, 0.0)))
    going = function.variable(mask)
    with function.loop(0, ROUNDS), function.when(going.get().any()):
        with function.loop(0, STEPS):
            count.set(count.get() + 1.0)
            numerator = count.get() * (a - count.get())
            base.set(base.get() + 2.0)
            below.set(1.0 / fma(numerator, below.get(), base.get()))
            above.set(base.get() + numerator / above.get())
            last.set(below.get() * above.get())
            product.set(product.get() * last.get())
        going.set(mask & (abs(last.get() - 1.0) > 2.0 * EPSILON))
    return product.get()


def _about_zero(a, x):
    """Q for small a and x: 1 - x^a / gamma(1 + a) (1 + a sum of (-x)^k / (k! (a + k)))."""
    function = a.function
    exponent = fma(a, log(x), -(a * (a - 1.0) * polynomial(a - 1.0, coefficients.LGAMMA["f64"])))
    term, total, place = (function.variable(constant(a, v)) for v in (1.0, 0.0, 0.0))
    with function.loop(0, 2 * STEPS):
        place.set(place.get() + 1.0)
        term.set(term.get() * (-x / place.get()))
        total.set(total.get() + term.get() / (a + place.get()))
    return -expm1(exponent) - exp(exponent) * a * total.get()
