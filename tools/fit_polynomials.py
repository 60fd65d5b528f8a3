"""Fit the polynomials of `iskra.codegen`'s mathematics and write their coefficients.

    python tools/fit_polynomials.py           writes src/iskra/codegen/mathematics/coefficients.py
    python tools/fit_polynomials.py --check   says whether the file is what would be written

Each polynomial is a minimax fit, found by Remez's exchange algorithm in 50 digits (mpmath, which
comes with SymPy and PyTorch). Its coefficients are then rounded to the kind, lowest first; after
each rounding the rest is fitted again, so that they make up for what was lost.
"""

import struct
import sys
from pathlib import Path
from typing import NamedTuple

from mpmath import mp, mpf

FOLDER = Path(__file__).resolve().parents[1] / "src" / "iskra" / "codegen" / "mathematics"
HEADER = '''
"""Coefficients of {what}, lowest power first. Written by tools/{tool}.

{ways} fits of our own; the comments say what is fitted, where, and the largest error of the fit
(relative to the function that it serves, before the roundings of the evaluation).
"""
'''.lstrip()
mp.dps = 50


class Fit(NamedTuple):
    """What one polynomial approximates."""

    name: str
    formula: str  # for the reader
    function: object
    weight: object  # what an error in the polynomial matters, at a place
    low: object
    high: object
    degrees: dict  # kind -> degree
    fixed: dict = {}  # power -> coefficient that is given


def minimax(fit, kind):
    """The rounded coefficients, and the largest weighted error."""
    degree = fit.degrees[kind]
    places = chebyshev(bound(fit.low, kind), bound(fit.high, kind), 24 * (degree + 1))
    values = [fit.function(x) for x in places]
    weights = [abs(fit.weight(x)) for x in places]
    known = {power: mpf(c) for power, c in fit.fixed.items()}
    free = [power for power in range(degree + 1) if power not in known]
    while free:
        rest = [v - evaluate(known, x) for x, v in zip(places, values)]
        found = remez(free, places, rest, weights)
        known[free.pop(0)] = mpf(rounded(found[0], kind))
    error = max(
        abs(w * (evaluate(known, x) - v)) for x, v, w in zip(places, values, weights)
    )
    return [float(known[power]) for power in range(degree + 1)], error


def bound(value, kind):
    """Ends of an interval may differ between the kinds."""
    return mpf(value[kind] if isinstance(value, dict) else value)


def chebyshev(low, high, count):
    """Places between two ends, denser towards them."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * (k + 0.5) / count) for k in range(count)]


def evaluate(coefficients, x):
    return mp.fsum(c * x**power for power, c in coefficients.items())


def rounded(number, kind):
    number = float(number)
    return struct.unpack("<f", struct.pack("<f", number))[0] if kind == "f32" else number


def remez(powers, places, values, weights, turns=30):
    """Coefficients that make the largest weighted error smallest, by exchange of extrema."""
    terms = [[x**power for power in powers] for x in places]
    last = len(places) - 1
    chosen = [
        round((1 - float(mp.cos(mp.pi * k / len(powers)))) / 2 * last)
        for k in range(len(powers) + 1)
    ]
    best = None
    for _ in range(turns):
        solution, level = equioscillating(chosen, terms, values, weights)
        errors = [w * (mp.fdot(solution, t) - v) for t, v, w in zip(terms, values, weights)]
        largest = max(map(abs, errors))
        if best is None or largest < best[1]:
            best = solution, largest
        extrema = alternating(errors, len(powers) + 1)
        if extrema is None or largest < level * mpf(1.01):
            break
        chosen = extrema
    return best[0]


def equioscillating(chosen, terms, values, weights):
    """The coefficients whose errors at the chosen places are equal, with alternating signs."""
    size = len(chosen)
    matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
    for row, place in enumerate(chosen):
        for column, term in enumerate(terms[place]):
            matrix[row, column] = term * weights[place]
        matrix[row, size - 1] = (-1) ** row
        right[row] = values[place] * weights[place]
    solution = mp.lu_solve(matrix, right)
    return [solution[k] for k in range(size - 1)], abs(solution[size - 1])


def alternating(errors, count):
    """Places of `count` extrema of alternating sign, the largest ones; None if there are fewer."""
    extrema = []
    for place, error in enumerate(errors):
        if extrema and (errors[extrema[-1]] >= 0) == (error >= 0):
            if abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = place
        else:
            extrema.append(place)
    while len(extrema) > count:
        size = lambda k: abs(errors[extrema[k]])
        weakest = min(range(len(extrema)), key=size)
        if len(extrema) == count + 1 or weakest in (0, len(extrema) - 1):
            weakest = min(0, len(extrema) - 1, key=size)
            extrema.pop(weakest)
        else:  # two at once, so that the signs go on alternating
            neighbour = min(weakest - 1, weakest + 1, key=size)
            del extrema[min(weakest, neighbour):max(weakest, neighbour) + 1]
    return extrema if len(extrema) == count else None


def of_square(function):
    """A function of s = x^2, given as a function of x."""
    return lambda s: function(mp.sqrt(s))


def shifted_log(x):
    """(log(1 + x) - x) / x^2, through its series where it cancels."""
    if abs(x) < mpf(10) ** -20:
        return -mpf(1) / 2 + x / 3
    return (mp.log1p(x) - x) / x**2


LN2 = mp.log(2)
ROOT_HALF = mp.sqrt(0.5)
# A little more than half a binade on each side, for arguments that were reduced inexactly.
HALF = LN2 / 2 * mpf("1.001")
# 1 + x between 2/3 and 4/3.
LOG_LOW, LOG_HIGH = -mpf(1) / 3 * mpf("1.0001"), mpf(1) / 3 * mpf("1.0001")
TINY = mpf("1e-30")
# (pi / 4)^2, and a little more for quotients that were rounded.
QUARTER_SQUARED = (mp.pi / 4 * mpf("1.02")) ** 2


def normal_tail(t):
    """The chance that a standard normal variable is above t."""
    return mp.erfc(t * ROOT_HALF) / 2


def scaled_erfc(x):
    """exp(x^2) erfc(x)."""
    return mp.erfc(x) * mp.exp(x * x)


def from_quotient(q):
    """x, given (x - 3) / (x + 3)."""
    return 3 * (1 + q) / (1 - q)


def lgamma_between_zeros(x):
    """log(gamma(x + 2)) without its zeros at x = 0 and -1."""
    if abs(x) < mpf(10) ** -20:
        return mp.digamma(2)
    if abs(x + 1) < mpf(10) ** -20:
        return -mp.digamma(1)
    return mp.loggamma(x + 2).real / x / (x + 1)


def stirling_rest(s):
    """What Stirling's formula lacks at x = 1 / s^(1/2), times x."""
    x = 1 / mp.sqrt(s)
    formula = (x - 0.5) * (mp.log(x) - 1) + (mp.log(2 * mp.pi) - 1) / 2
    return (mp.loggamma(x).real - formula) * x


def digamma_rest(s):
    """What the asymptotic formula of digamma lacks at x = 1 / s^(1/2), times -x^2."""
    x = 1 / mp.sqrt(s)
    return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) * x * x


def erfinv_ratio(w):
    """erfinv(x) / x for x = (1 - exp(-w))^(1/2)."""
    if abs(w) < mpf(10) ** -20:
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x


def log_fit(name, formula, unit, degrees):
    return Fit(name, formula, lambda x: shifted_log(x) * unit,
               lambda x: x**2 / (mp.log1p(x) * unit), LOG_LOW, LOG_HIGH, degrees)


FITS = [
    Fit("EXP", "exp(x), |x| <= ln(2)/2", mp.exp, lambda x: 1 / mp.exp(x), -HALF, HALF,
        {"f32": 6, "f64": 11}, {0: 1, 1: 1}),
    Fit("EXP2", "2^x, |x| <= 1/2", lambda x: mpf(2) ** x, lambda x: mpf(2) ** -x,
        -mpf("0.5001"), mpf("0.5001"), {"f32": 6, "f64": 11}, {0: 1}),
    Fit("EXPM1", "(exp(x) - 1 - x) / x^2, |x| <= ln(2)/2",
        lambda x: (mp.expm1(x) - x) / x**2, lambda x: x**2 / mp.expm1(x), -HALF, HALF,
        {"f32": 5, "f64": 10}),
    log_fit("LOG", "(log(1 + x) - x) / x^2, |x| <= 1/3", mpf(1), {"f32": 8, "f64": 21}),
    log_fit("LOG2", "(log(1 + x) - x) / x^2 / ln(2), |x| <= 1/3", 1 / LN2,
            {"f32": 8, "f64": 21}),
    log_fit("LOG10", "(log(1 + x) - x) / x^2 / ln(10), |x| <= 1/3", 1 / mp.log(10),
            {"f32": 8, "f64": 21}),
    Fit("LOG1P", "log(1 + x) / x, 0 <= x <= 1", lambda x: mp.log1p(x) / x,
        lambda x: x / mp.log1p(x), TINY, 1, {"f32": 10}, {0: 1}),
    Fit("TANH", "(tanh(x) - x) / x^3 by x^2, |x| <= 0.92",
        of_square(lambda x: (mp.tanh(x) - x) / x**3),
        of_square(lambda x: x**3 / mp.tanh(x)), TINY, mpf("0.85"), {"f32": 6, "f64": 13}),
    Fit("ERF", "erf(x) / x - 1 by x^2, |x| <= 1", of_square(lambda x: mp.erf(x) / x - 1),
        of_square(lambda x: x / mp.erf(x)), TINY, 1, {"f32": 6, "f64": 13}),
    Fit("ERF_TAIL", "log2(erfc(x)) / x, x >= 1", lambda x: mp.log(mp.erfc(x), 2) / x,
        lambda x: x * mp.erfc(x) / mp.erf(x) * LN2, 1, {"f32": 4, "f64": 6},
        {"f32": 5, "f64": 20}),
    Fit("ERFC", "exp(x^2) erfc(x) (x + 3) by (x - 3) / (x + 3), x >= 0",
        lambda q: scaled_erfc(from_quotient(q)) * (from_quotient(q) + 3),
        lambda q: 1 / (scaled_erfc(from_quotient(q)) * (from_quotient(q) + 3)), -1,
        {"f32": mpf("7.5") / mpf("13.5"), "f64": mpf("24.5") / mpf("30.5")},
        {"f32": 9, "f64": 22}),
    Fit("ATANH", "(atanh(x) / x - 1 - x^2 / 3) / x^4 by x^2, |x| <= (2^(1/2) - 1) / (2^(1/2) + 1)",
        of_square(lambda x: (mp.atanh(x) / x - 1 - x**2 / 3) / x**4),
        of_square(lambda x: x**5 / mp.atanh(x)), mpf("1e-12"), mpf("0.02945"),
        {"f32": 2, "f64": 7}),
    Fit("SIN", "(sin(x) - x) / x^3 by x^2, |x| <= pi/4",
        of_square(lambda x: (mp.sin(x) - x) / x**3), of_square(lambda x: x**3 / mp.sin(x)),
        TINY, QUARTER_SQUARED, {"f32": 3, "f64": 6}),
    Fit("COS", "(cos(x) - 1 + x^2 / 2) / x^4 by x^2, |x| <= pi/4",
        of_square(lambda x: (mp.cos(x) - 1 + x**2 / 2) / x**4),
        of_square(lambda x: x**4 / mp.cos(x)), mpf("1e-12"), QUARTER_SQUARED,
        {"f32": 2, "f64": 5}),
    Fit("SINH", "(sinh(x) - x) / x^3 by x^2, |x| <= 1",
        of_square(lambda x: (mp.sinh(x) - x) / x**3),
        of_square(lambda x: x**3 / mp.sinh(x)), mpf("1e-12"), mpf("1.001"),
        {"f32": 3, "f64": 7}),
    Fit("ATAN", "(atan(x) - x) / x^3 by x^2, |x| <= 0.55",
        of_square(lambda x: (mp.atan(x) - x) / x**3),
        of_square(lambda x: x**3 / mp.atan(x)), mpf("1e-12"), mpf("0.303"),
        {"f32": 5, "f64": 13}),
    Fit("ASIN", "(asin(x) - x) / x^3 by x^2, |x| <= 1/2",
        of_square(lambda x: (mp.asin(x) - x) / x**3),
        of_square(lambda x: x**3 / mp.asin(x)), mpf("1e-12"), mpf("0.25"),
        {"f32": 5, "f64": 12}),
    Fit("LGAMMA", "log(gamma(x + 2)) / x / (x + 1), |x| <= 1", lgamma_between_zeros,
        lambda x: 1 / lgamma_between_zeros(x), -1, 1, {"f32": 16, "f64": 30}),
    Fit("STIRLING", "(log(gamma(x)) - (x - 1/2) (log(x) - 1) - (log(2 pi) - 1) / 2) x by "
        "1 / x^2, x >= 3", stirling_rest, lambda s: mp.sqrt(s), mpf("1e-6"), mpf(1) / 9,
        {"f32": 3, "f64": 11}),
    Fit("DIGAMMA", "(log(x) - 1 / (2x) - digamma(x)) x^2 by 1 / x^2, x >= 6 or 10",
        digamma_rest, lambda s: s, mpf("1e-8"),
        {"f32": mpf(1) / 36, "f64": mpf(1) / 100}, {"f32": 3, "f64": 8}),
    Fit("ERFINV", "erfinv(x) / x by w, w = -log(1 - x^2) <= 25/4",
        erfinv_ratio, lambda w: 1 / erfinv_ratio(w), 0, mpf("6.26"),
        {"f32": 9, "f64": 22}),
    Fit("ERFINV_FAR", "erfinv(x) / x by w^(1/2) - 13/4, 25/4 <= w <= 16",
        lambda u: erfinv_ratio((u + 3.25) ** 2), lambda u: 1 / erfinv_ratio((u + 3.25) ** 2),
        -mpf("0.751"), mpf("0.751"), {"f32": 7, "f64": 18}),
    Fit("ERFINV_FARTHER", "erfinv(x) / x by w^(1/2) - 5, 16 <= w",
        lambda u: erfinv_ratio((u + 5) ** 2), lambda u: 1 / erfinv_ratio((u + 5) ** 2),
        -mpf("1.001"), mpf("1.05"), {"f64": 16}),
    Fit("NORMAL_TAIL", "log2(P), P the chance that a standard normal variable is above x",
        lambda x: mp.log(normal_tail(x), 2), lambda x: mp.sqrt(normal_tail(x)), 0,
        mpf("13.25"), {"f32": 10}),
]


def number(value):
    return repr(value)


def source(fits, approximate, **words):
    """The text of a file of coefficients, which `approximate(fit, kind)` finds."""
    parts = [HEADER.format(**words)]
    for fit in fits:
        lines = []
        for kind in fit.degrees:
            coefficients, error = approximate(fit, kind)
            lines.append(f'    "{kind}": (  # {mp.nstr(error, 2)}')
            lines += wrapped([number(c) for c in coefficients])
            lines.append("    ),")
            print(fit.name, kind, mp.nstr(error, 3), f"2^{float(mp.log(error, 2)):.1f}")
        parts.append("\n".join([f"# {fit.formula}", f"{fit.name} = {{", *lines, "}", ""]))
    return "\n".join(parts)


def wrapped(words, width=92):
    """The words with commas, in lines that fit."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 2 > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word + ","
    return ["        " + line for line in lines]


def write(target, text):
    """Write the file of that name, or say with --check whether it is what would be written."""
    path = FOLDER / target
    if "--check" in sys.argv[1:]:
        sys.exit(path.read_text(encoding="utf-8") != text)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write("coefficients.py",
          source(FITS, minimax, ways="Minimax", what="the polynomials",
                 tool="fit_polynomials.py"))
