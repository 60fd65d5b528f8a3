"""The logarithm of the gamma function, and its derivative, the digamma function."""

from iskra.codegen.ir import copysign, floor, fma, select
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.floats import INF, NAN, constant, polynomial
from iskra.codegen.mathematics.logarithms import log
from iskra.codegen.mathematics.trigonometry import sin_and_cos_pi

LOG_PI = 1.1447298858494002
# (log(2 pi) - 1) / 2
STIRLING = 0.4189385332046727
PI = 3.141592653589793


def lgamma(x):
    """log |gamma(x)|; infinite at 0, -1, -2, ...

    1 to 3: (x - 1) (x - 2) times a polynomial, so that the zeros are good. Above: Stirling's
    formula. Below 1: by gamma(x + 1) = x gamma(x); below 0: by gamma(x) gamma(-x) = -pi / (x sin
    (pi x)), where results near zero are good to a few units of 1 only.
    """
    kind = x.type.kind
    t = abs(x)
    low, high = t < 1.0, t > 3.0
    # Of t, or of t + 1 where that is wanted: less 1 and less 2, without rounding.
    less_1, less_2 = select(low, t, t - 1.0), select(low, t - 1.0, t - 2.0)
    middle = less_1 * less_2 * polynomial(less_2, coefficients.LGAMMA[kind]) + 0.0  # no -0
    # One logarithm serves both: of t itself.
    log_t = log(t)
    inverse = 1.0 / t
    series = inverse * polynomial(inverse * inverse, coefficients.STIRLING[kind])
    large = fma(t - 0.5, log_t - 1.0, series + STIRLING)
    positive = select(high, large, select(low, middle - log_t, middle))
    sine, _ = sin_and_cos_pi(t)
    negative = LOG_PI - log(abs(t * sine)) - positive
    negative = select(t < 1e-18, positive, negative)  # where the product would underflow
    negative = select(sine.eq(0.0), INF, negative)
    result = select(x < 0.0, negative, positive)
    return select(t < INF, result, t)


def digamma(x):
    """The derivative of `lgamma` for positive x; by reflection for negative x.

    NaN at -1, -2, ...; minus infinity at 0, infinity at -0.
    """
    kind = x.type.kind
    negative = x < 0.0
    t = select(negative, 1.0 - x, x)
    # Up to where the asymptotic series is good.
    total = constant(x, 0.0)
    for _ in range(DIGAMMA_STEPS[kind]):
        small = t < float(DIGAMMA_STEPS[kind])
        total = select(small, total - 1.0 / t, total)
        t = select(small, t + 1.0, t)
    inverse = 1.0 / t
    square = inverse * inverse
    series = fma(inverse, -0.5, total) - square * polynomial(square, coefficients.DIGAMMA[kind])
    result = log(t) + series
    sine, cosine = sin_and_cos_pi(abs(x))
    # pi / tan(pi x) is odd.
    reflected = result + PI * cosine / sine
    whole = floor(x).eq(x)
    reflected = select(whole, constant(x, NAN), reflected)
    result = select(negative, reflected, result)
    return select(x.eq(0.0), copysign(constant(x, INF), -x), result)


DIGAMMA_STEPS = {"f32": 6, "f64": 10}
