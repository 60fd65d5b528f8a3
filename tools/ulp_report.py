"""Measure how accurate the vector mathematics is, and write docs/mathematics.md.

    python tools/ulp_report.py [--step N] [--points N] [NAME ...]

Errors are in units in the last place (ULP) of the exact result: the distance between the two
floating-point numbers about it; a correctly rounded result is off by at most 1/2.
float32: every Nth number (all of them with --step 1), beside NumPy's and SciPy's float64.
float64: N places for each range (--points), beside mpmath in 60 digits or more.
With names, the report goes to the terminal only.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.special as special
from mpmath import mp, mpf

from iskra.codegen.mathematics import FUNCTIONS
from iskra.codegen.mathematics.evaluate import evaluate

TARGET = Path(__file__).resolve().parents[1] / "docs" / "mathematics.md"
BOUNDS = (0.5, 1.0, 2.0, 4.0)
FULL = (-np.inf, np.inf)


class Case(NamedTuple):
    """A function, what it should be, and where it is measured."""

    wide: object  # in float64, for float32
    exact: object  # in mpmath, for float64
    ranges: tuple  # of the float64 places, a pair for each operand
    domain: tuple = FULL  # of float32; what lies outside is not counted
    note: str = ""
    least: float = 0.0  # errors of smaller results are in units of this number


def sigmoid(x):
    return np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))


def gelu(x):
    t = np.minimum(np.abs(x), 1e9)  # infinity times 0 is not wanted
    return np.maximum(x, 0) - t * 0.5 * special.erfc(t * np.sqrt(0.5))


def gelu_tanh(x):
    return x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def mish(x):
    z = np.exp(-np.abs(x))
    above = np.where(x < 0, z * (z + 2), 1 + 2 * z)
    return x * above / (above + 2 * np.where(x < 0, 1, z * z))


def softplus(x):
    return np.where(x > 20, x, np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def sinc(x):
    angle = (x.astype(np.float32) * np.float32(np.pi)).astype(float)
    return np.where(x == 0, 1, np.sin(angle) / angle)


def exact_sinc(x):
    angle = mpf(float(x) * np.pi)
    return mp.sin(angle) / angle if x else mpf(1)


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def log_ndtr(x):
    tail = mp.erfc(abs(x) / ROOT_2) / 2
    return mp.log(tail) if x < 0 else mp.log1p(-tail)


def quantile(p):
    """By Newton's method, from SciPy's."""
    x = mpf(float(special.ndtri(float(p))))
    for _ in range(5):
        x -= (mp.erfc(-x / ROOT_2) / 2 - p) * mp.sqrt(2 * mp.pi) * mp.exp(x * x / 2)
    return x


mp.prec = 1300  # large arguments of sine need their own number of digits, and more
ROOT_2, TANH_SCALE = mp.sqrt(2), 2 * mp.sqrt(2 / mp.pi)
POSITIVE, WAVES = (1e-38, np.inf), (-1e4, 1e4)
WAVY = "errors of results below 1 are in units of 1"
SMALL, UNIT, USUAL = ((-1e-4, 1e-4),), ((-1.0, 1.0),), ((-12.0, 12.0),)

ONE = {
    "exp": Case(np.exp, mp.exp, (((-708, 709),), UNIT, SMALL)),
    "exp2": Case(np.exp2, lambda x: mpf(2) ** x, (((-1021, 1023),), UNIT, SMALL)),
    "expm1": Case(np.expm1, mp.expm1, (((-40, 709),), UNIT, SMALL)),
    "log": Case(np.log, mp.log, (((0, 10),), ((0, 1e300),), ((0.9, 1.1),), ((0, 1e-300),))),
    "log2": Case(np.log2, lambda x: mp.log(x, 2),
                 (((0, 10),), ((0, 1e300),), ((0.9, 1.1),), ((0, 1e-300),))),
    "log10": Case(np.log10, mp.log10,
                  (((0, 10),), ((0, 1e300),), ((0.9, 1.1),), ((0, 1e-300),))),
    "log1p": Case(np.log1p, mp.log1p, (((-1, 10),), ((0, 1e300),), UNIT, SMALL)),
    "sin": Case(np.sin, mp.sin, (USUAL, ((-1e8, 1e8),), ((0, 1e300),), SMALL)),
    "cos": Case(np.cos, mp.cos, (USUAL, ((-1e8, 1e8),), ((0, 1e300),), SMALL)),
    "tan": Case(np.tan, mp.tan, (USUAL, ((-1e8, 1e8),), ((0, 1e300),), SMALL)),
    "asin": Case(np.arcsin, mp.asin, (UNIT, SMALL)),
    "acos": Case(np.arccos, mp.acos, (UNIT, SMALL)),
    "atan": Case(np.arctan, mp.atan, (USUAL, UNIT, SMALL)),
    "sinh": Case(np.sinh, mp.sinh, (((-710, 710),), USUAL, UNIT, SMALL)),
    "cosh": Case(np.cosh, mp.cosh, (((-710, 710),), USUAL, UNIT, SMALL)),
    "tanh": Case(np.tanh, mp.tanh, (((-20, 20),), USUAL, UNIT, SMALL)),
    "asinh": Case(np.arcsinh, mp.asinh, (((-1e300, 1e300),), USUAL, UNIT, SMALL)),
    "acosh": Case(np.arccosh, mp.acosh, (((1, 1e300),), ((1, 12),), ((1, 1.001),))),
    "atanh": Case(np.arctanh, mp.atanh, (UNIT, SMALL)),
    "erf": Case(special.erf, mp.erf, (((-6, 6),), UNIT, SMALL)),
    "erfc": Case(special.erfc, mp.erfc, (((-6, 26.5),), UNIT, SMALL)),
    "erfinv": Case(special.erfinv, mp.erfinv, (UNIT, SMALL, ((0.999, 1),)), (-1, 1)),
    "sigmoid": Case(sigmoid, logistic, (((-708, 40),), USUAL, SMALL)),
    "silu": Case(lambda x: x * sigmoid(x), lambda x: x * logistic(x), (((-700, 40),), USUAL),
                 (-87, np.inf), "float32: above -87; below, errors are under 2e-43"),
    "gelu": Case(gelu, lambda x: x * mp.erfc(-x / ROOT_2) / 2, (((-37, 37),), UNIT),
                 (-2, np.inf), "float32: above -2; below, errors are under 3e-8"),
    "gelu_tanh": Case(gelu_tanh, lambda x: x * logistic(TANH_SCALE * (x + mpf(0.044715) * x**3)),
                      (((-2, 12),), UNIT), (-2, np.inf),
                      "above -2; below, errors in float32 are under 2e-8"),
    "mish": Case(mish, lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), (((-40, 30),), UNIT),
                 (-87, np.inf), "float32: above -87; below, errors are under 2e-43"),
    "softplus": Case(softplus, lambda x: mp.log1p(mp.exp(x)) if x <= 20 else x,
                     (((-700, 30),), USUAL)),
    "rsqrt": Case(lambda x: 1 / np.sqrt(x), lambda x: 1 / mp.sqrt(x), (((0, 1e300),), ((0, 4),))),
    "cbrt": Case(np.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x)), (((-1e300, 1e300),), USUAL)),
    "sinc": Case(sinc, exact_sinc, (USUAL, UNIT), note="of the rounded product with pi"),
    "lgamma": Case(special.gammaln, lambda x: mp.loggamma(x).real, (((0, 200),), ((0, 4),)),
                   (0, np.inf), "above 0; below, errors are under 2e-6 (float32) and 4e-15 "
                   "(float64) of the result, or of 1 where that is larger"),
    "digamma": Case(special.digamma, mp.digamma, (((2, 200),), ((1.6, 4),)), (1.6, np.inf),
                    "above 1.6; below, errors are under 1e-6 (float32) and 2e-15 (float64)"
                    " of the result, or of 1 where that is larger"),
    "erfcx": Case(special.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), (((-26, 60),), USUAL)),
    "ndtr": Case(special.ndtr, lambda x: mp.erfc(-x / ROOT_2) / 2, (((-37, 9),), UNIT)),
    "log_ndtr": Case(special.log_ndtr, log_ndtr, (((-100, 37),), UNIT)),
    "ndtri": Case(special.ndtri, quantile, (((0, 1),), ((0, 1e-3),), ((0, 1e-300),)), (0, 1)),
    "i0": Case(special.i0, lambda x: mp.besseli(0, x), (((-700, 700),), USUAL)),
    "i0e": Case(special.i0e, lambda x: mp.besseli(0, x) / mp.exp(abs(x)), (((-99, 99),), USUAL)),
    "i1": Case(special.i1, lambda x: mp.besseli(1, x), (((-700, 700),), USUAL)),
    "i1e": Case(special.i1e, lambda x: mp.besseli(1, x) / mp.exp(abs(x)), (((-99, 99),), USUAL)),
    "k0": Case(special.k0, lambda x: mp.besselk(0, x), (((0, 700),), ((0, 3),)), POSITIVE),
    "k0e": Case(special.k0e, lambda x: mp.besselk(0, x) * mp.exp(x), (((0, 99),), ((0, 3),)),
                POSITIVE),
    "k1": Case(special.k1, lambda x: mp.besselk(1, x), (((0, 700),), ((0, 3),)), POSITIVE),
    "k1e": Case(special.k1e, lambda x: mp.besselk(1, x) * mp.exp(x), (((0, 99),), ((0, 3),)),
                POSITIVE),
    "j0": Case(special.j0, lambda x: mp.besselj(0, x), (((-99, 99),), USUAL), WAVES, WAVY, 1.0),
    "j1": Case(special.j1, lambda x: mp.besselj(1, x), (((-99, 99),), USUAL), WAVES, WAVY, 1.0),
    "y0": Case(special.y0, lambda x: mp.bessely(0, x), (((0, 99),), ((0, 9),)), (1e-30, 1e4),
               WAVY, 1.0),
    "y1": Case(special.y1, lambda x: mp.bessely(1, x), (((0, 99),), ((0, 9),)), (1e-30, 1e4),
               WAVY, 1.0),
    "trigamma": Case(lambda x: special.polygamma(1, x), lambda x: mp.polygamma(1, x),
                     (((0, 200),), ((0, 3),)), POSITIVE),
    "airy_ai": Case(lambda x: special.airy(x)[0], mp.airyai, (((-99, 9),), USUAL), (-1e3, 100),
                    WAVY, 1.0),
}
TWO = {
    "pow": Case(np.power, lambda x, y: x**y, (((0, 4), (-300, 300)), ((0, 1e30), (-9, 9)))),
    "atan2": Case(np.arctan2, mp.atan2, (((-9, 9), (-9, 9)), ((-1e3, 1e3), (-9, 9)))),
    "hypot": Case(np.hypot, mp.hypot, (((-9, 9), (-9, 9)), ((-1e300, 1e300), (-9e299, 9e299)))),
    "logaddexp": Case(np.logaddexp, lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
                      (((0, 9), (0, 9)), ((0, 99), (0, 99))), note="operands of the same sign"),
    "zeta": Case(special.zeta, mp.zeta, (((1, 9), (0, 9)), ((2, 99), (0, 99)))),
    "gammainc": Case(special.gammainc, lambda a, x: mp.gammainc(a, 0, x, regularized=True),
                     (((0, 9), (0, 9)), ((40, 300), (40, 300)))),
    "gammaincc": Case(special.gammaincc, lambda a, x: mp.gammainc(a, x, regularized=True),
                      (((0, 9), (0, 9)), ((40, 300), (40, 300)))),
    "fmod": Case(np.fmod, mp.fmod, (((0, 1e3), (0, 9)),)),
}


def units(got, exact, kind, smallest=0.0):
    """Errors in ULP, given results and wider exact ones (float64, for float32)."""
    mantissa, lowest = {"f32": (24, -149), "f64": (53, -1074)}[kind]
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(exact), smallest)
        unit = np.ldexp(1.0, np.maximum(np.frexp(size)[1] - mantissa, lowest))
        error = np.abs(got.astype(float) - exact) / unit
        rounded = exact.astype(got.dtype)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    error = np.where(np.isnan(error) | np.isinf(error), np.inf, error)
    return np.where(same & np.isinf(error), 0.0, error)


def float32_errors(name, case, step):
    """(errors, places) over the numbers of float32, in pieces that fit into memory."""
    worst, place, counts = 0.0, None, np.zeros(len(BOUNDS) + 2, np.int64)
    piece = 1 << 22
    for start in range(0, 1 << 32, piece * step):
        bits = np.arange(start, min(start + piece * step, 1 << 32), step, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        x = x[(x >= case.domain[0]) & (x <= case.domain[1])]
        if x.size:
            worst, place = tally(name, case, (x,), counts, worst, place)
    return worst, place, counts


def float32_pairs(name, case, count):
    """The same, over random pairs."""
    rng, counts, worst, place = np.random.default_rng(1), np.zeros(len(BOUNDS) + 2, np.int64), 0, 0
    for ranges in case.ranges:
        pair = [rng.uniform(*np.clip(r, -1e35, 1e35), count).astype(np.float32) for r in ranges]
        worst, place = tally(name, case, pair, counts, worst, place)
    return worst, place, counts


def tally(name, case, operands, counts, worst, place):
    with np.errstate(all="ignore"):
        exact = case.wide(*(x.astype(float) for x in operands))
    errors = units(evaluate(name, *operands), exact, "f32", case.least)
    add_counts(counts, errors)
    k = errors.argmax()
    if errors[k] > worst:
        return errors[k], tuple(float(x[k]) for x in operands)
    return worst, place


def add_counts(counts, errors):
    counts[0] += np.count_nonzero(errors == 0)
    low = 0.0
    for k, high in enumerate((*BOUNDS, np.inf)):
        counts[k + 1] += np.count_nonzero((errors > low) & (errors <= high))
        low = high


def float64_errors(name, case, count):
    rng, counts, worst, place = np.random.default_rng(2), np.zeros(len(BOUNDS) + 2, np.int64), 0, 0
    for ranges in case.ranges:
        operands = [rng.uniform(*r, count) for r in ranges]
        got = evaluate(name, *operands)
        errors = np.array([exact_units(g, case, x) for g, *x in zip(got, *operands)])
        add_counts(counts, errors)
        k = errors.argmax()
        if errors[k] > worst:
            worst, place = errors[k], tuple(float(x[k]) for x in operands)
    return worst, place, counts


def exact_units(got, case, operands):
    exact = case.exact(*(mpf(float(x)) for x in operands))
    if not np.isfinite(got):
        return 0.0 if float(exact) == got else np.inf
    unit = mpf(2) ** max(mp.frexp(max(abs(exact), mpf(case.least)))[1] - 53, -1074)
    return float(abs(mpf(float(got)) - exact) / unit)


HEADER = """# Accuracy of the vector mathematics

Written by `tools/ulp_report.py`. Kernels compute these functions with polynomials of their own
(`iskra.codegen`), with the same bits on every machine and for any number of lanes. Errors are in
units in the last place (ULP) of the exact result, subnormal results included; a correctly rounded
result is off by at most 1/2. The columns in the middle are shares in percent.

"""
TABLE = """| function | largest | at | exact | to 0.5 | to 1 | to 2 | to 4 | more |
|---|---|---|---|---|---|---|---|---|
"""


def row(name, result):
    worst, place, counts = result
    shares = " | ".join(share(c / max(counts.sum(), 1)) for c in counts)
    at = ", ".join(f"{x:.9g}" for x in place) if place else "-"
    return f"| {name} | {worst:.2f} | {at} | {shares} |\n"


def share(part):
    return "-" if part == 0 else f"{100 * part:.3g}" if part > 1e-6 else "<1e-4"


def measure(names, step, points):
    single, double = [], []
    for name in names:
        case = ONE.get(name) or TWO[name]
        found = float32_errors(name, case, step) if name in ONE else (
            float32_pairs(name, case, 4_000_000))
        single.append(row(name, found))
        mp.prec = 1300 if name in ("sin", "cos", "tan", "fmod") else 240
        double.append(row(name, float64_errors(name, case, points)))
        print(single[-1], double[-1], sep="", end="", flush=True)
    return single, double


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, default=16)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    single, double = measure(options.names or [*ONE, *TWO], options.step, options.points)
    if options.names:
        return
    notes = [f"- `{name}`: {case.note}\n" for name, case in {**ONE, **TWO}.items() if case.note]
    rest = sorted(set(FUNCTIONS) - set(ONE) - set(TWO))
    every = "every number" if options.step == 1 else f"every {options.step}th number"
    places = f"{options.points} random places in each of a few ranges"
    TARGET.write_text("".join([
        HEADER, f"## float32\n\nOver {every}; for two operands, over random pairs.\n\n", TABLE,
        *single, f"\n## float64\n\nOver {places}.\n\n",
        TABLE, *double, "\nWhere it is measured:\n\n", *notes,
        "\nNot measured, since they follow from IEEE operations: ",
        ", ".join(f"`{n}`" for n in rest), ".\n",
    ]), encoding="utf-8")


if __name__ == "__main__":
    main()
