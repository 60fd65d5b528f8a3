"""Hurwitz's zeta function, and the trigamma function, which is one of its kind.

Both add up terms until the Euler-Maclaurin formula is good; Bernoulli's numbers are its
coefficients.
"""

import math

from iskra.codegen.ir import floor, fma, select
from iskra.codegen.mathematics.floats import INF, NAN, constant, polynomial
from iskra.codegen.mathematics.powers import pow
from iskra.codegen.mathematics.trigonometry import sin_and_cos_pi

# B2, B4, ...
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330, 854513 / 138, -236364091 / 2730,
)
ZETA_STEPS = 10
TRIGAMMA_STEPS = {"f32": 6, "f64": 10}
TRIGAMMA_TERMS = {"f32": 4, "f64": 9}


def zeta(s, q):
    """The sum of (q + k)^-s for k = 0, 1, ...; float32 is computed in float64.

    Infinite at s = 1 and at q = 0, -1, ...; NaN for smaller s, and for negative q unless s is
    whole: then the terms of negative q + k are those of other sums, with the sign of (-1)^s.
    """
    if s.type.kind == "f32":
        return zeta(s.to("f64"), q.to("f64")).to("f32")
    function = s.function
    base = floor(q)
    negative = q < 0.0
    part = q - base
    total = function.variable(_of_positive(s, select(negative, part, q)))
    with function.when(negative.any()):
        before = _of_positive(s, (base + 1.0) - q) - _of_positive(s, 1.0 - q)
        signed = select(_is_whole(s * 0.5), before, -before)
        signed = select(_is_whole(s), signed, constant(s, NAN))
        total.set(select(negative, total.get() + signed, total.get()))
    result = select((q <= 0.0) & base.eq(q), constant(s, INF), total.get())
    return select(s > 1.0, result, select(s.eq(1.0), constant(s, INF), NAN))


def _is_whole(x):
    return floor(x).eq(x)


def _of_positive(s, q):
    function = s.function
    total = function.variable(constant(s, 0.0))
    place = function.variable(q)
    with function.loop(0, ZETA_STEPS):
        z = place.get()
        total.set(total.get() + pow(z, -s))
        place.set(z + 1.0)
    z = place.get()
    inverse = 1.0 / z
    # s (s + 1) ... (s + 2k - 2) z^(1 - 2k), k = 1, 2, ...
    factor, series = s * inverse, constant(s, 0.5)
    for k, number in enumerate(BERNOULLI, 1):
        series = fma(factor, number / math.factorial(2 * k), series)
        factor = factor * ((s + (2.0 * k - 1.0)) * inverse) * ((s + 2.0 * k) * inverse)
    power = pow(z, -s)
    rest = power * (z / (s - 1.0) + series)
    return total.get() + select(power.eq(0.0), power, rest)


def trigamma(x):
    """The second derivative of log(gamma(x)): infinite at 0, -1, ...; by reflection below 0."""
    kind = x.type.kind
    negative = x < 0.0
    t = select(negative, 1.0 - x, x)
    total, last = constant(x, 0.0), float(TRIGAMMA_STEPS[kind])
    for _ in range(TRIGAMMA_STEPS[kind]):
        small, inverse = t < last, 1.0 / t
        total = select(small, fma(inverse, inverse, total), total)
        t = select(small, t + 1.0, t)
    inverse = 1.0 / t
    square = inverse * inverse
    series = fma(square, polynomial(square, BERNOULLI[:TRIGAMMA_TERMS[kind]]), 1.0)
    result = total + fma(square, 0.5, inverse * series)
    sine, _ = sin_and_cos_pi(abs(x))
    ratio = math.pi / sine
    result = select(negative, fma(ratio, ratio, -result), result)
    return select((x <= 0.0) & floor(x).eq(x), constant(x, INF), result)
