"""The vector mathematics: accuracy, special values, and the same bits for any number of lanes."""

import numpy as np
import pytest
import scipy.special as special
from codegen.both import can_run, compare, machine

from iskra.codegen.ir import Function, Type
from iskra.codegen.mathematics import FUNCTIONS
from iskra.codegen.mathematics.evaluate import evaluate, kernel
from iskra.codegen.verify import verify

INF, NAN = np.inf, np.nan
KINDS = {"f32": np.float32, "f64": np.float64}


def sigmoid(x):
    return np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))


def gelu(x):
    return np.maximum(x, 0) - np.abs(x) * 0.5 * special.erfc(np.abs(x) * np.sqrt(0.5))


def gelu_tanh(x):
    return x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def mish(x):
    return x * np.tanh(np.logaddexp(0, x))


def softplus(x):
    return np.where(x > 20, x, np.logaddexp(0, x))


def sinc(x):
    """Of the rounded product with pi; a float64 argument stands for a float32."""
    angle = (x.astype(np.float32) * np.float32(np.pi)).astype(float)
    return np.where(angle == 0, 1, np.sin(angle) / angle)


# What each function should be, in wider arithmetic; the bound in ULP for float32; where it holds.
ONE = {
    "exp": (np.exp, 1, -INF, INF), "exp2": (np.exp2, 1, -INF, INF),
    "expm1": (np.expm1, 1.5, -INF, INF), "log": (np.log, 1, -INF, INF),
    "log2": (np.log2, 1, -INF, INF), "log10": (np.log10, 1, -INF, INF),
    "log1p": (np.log1p, 1, -INF, INF), "sin": (np.sin, 1, -INF, INF),
    "cos": (np.cos, 1, -INF, INF), "tan": (np.tan, 2.5, -INF, INF),
    "asin": (np.arcsin, 1.5, -INF, INF), "acos": (np.arccos, 1.5, -INF, INF),
    "atan": (np.arctan, 1.5, -INF, INF), "sinh": (np.sinh, 2, -INF, INF),
    "cosh": (np.cosh, 1.5, -INF, INF), "tanh": (np.tanh, 1, -INF, INF),
    "asinh": (np.arcsinh, 2, -INF, INF), "acosh": (np.arccosh, 2.5, -INF, INF),
    "atanh": (np.arctanh, 2, -INF, INF), "erf": (special.erf, 1, -INF, INF),
    "erfc": (special.erfc, 4, -INF, INF), "erfinv": (special.erfinv, 4, -INF, INF),
    "sigmoid": (sigmoid, 2.5, -INF, INF), "silu": (lambda x: x * sigmoid(x), 3, -87, INF),
    "gelu": (gelu, 4.5, -1, INF), "gelu_tanh": (gelu_tanh, 4, -1, INF),
    "mish": (mish, 4.5, -85, INF), "softplus": (softplus, 2.5, -INF, INF),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5, -INF, INF), "cbrt": (np.cbrt, 1, -INF, INF),
    "sinc": (sinc, 2, -INF, INF), "lgamma": (special.gammaln, 4.5, 1e-30, INF),
    "digamma": (special.digamma, 8, 3, INF), "erfcx": (special.erfcx, 5.5, -INF, INF),
    "ndtr": (special.ndtr, 5, -INF, INF), "log_ndtr": (special.log_ndtr, 4.5, -INF, INF),
    "ndtri": (special.ndtri, 4, -INF, INF), "i0": (special.i0, 4, -INF, INF),
    "i0e": (special.i0e, 4, -INF, INF), "i1": (special.i1, 4.5, -INF, INF),
    "i1e": (special.i1e, 3.5, -INF, INF), "k0": (special.k0, 5, -INF, INF),
    "k0e": (special.k0e, 5, -INF, INF), "k1": (special.k1, 5, -INF, INF),
    "k1e": (special.k1e, 5, -INF, INF),
    "trigamma": (lambda x: special.polygamma(1, x), 4, 1e-30, INF),
}
# Waves about zero: the bound of errors in units of 1 for float32, or of what is larger than 1.
WAVES = {
    "j0": (special.j0, 3), "j1": (special.j1, 2), "y0": (special.y0, 6), "y1": (special.y1, 4),
    "airy_ai": (lambda x: special.airy(x)[0], 1),
}
TWO = {
    "pow": (np.power, 1), "atan2": (np.arctan2, 2), "hypot": (np.hypot, 1.5),
    "logaddexp": (np.logaddexp, 1.5), "zeta": (special.zeta, 0.51), "fmod": (np.fmod, 0.5),
}
INCOMPLETE = ("gammainc", "gammaincc")
REST = {"floor_divide", "remainder", "sign", "nextafter"}


def places(low=-INF, high=INF, count=200_000):
    """Numbers of every size, by their bits, and many of usual size."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([bits.view(np.float32), rng.normal(0, 4, count).astype(np.float32),
                        rng.uniform(-1, 1, count).astype(np.float32)])
    return x[(x >= low) & (x <= high) & np.isfinite(x)]


def units(got, exact):
    """Errors in units in the last place of the exact results, given in float64."""
    with np.errstate(all="ignore"):
        unit = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))
        error = np.abs(got.astype(float) - exact) / unit
        rounded = exact.astype(np.float32)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same, np.minimum(np.nan_to_num(error), 0.5), np.nan_to_num(error, nan=INF))


def test_every_function_is_tested():
    assert {*ONE, *TWO, *WAVES, *INCOMPLETE, *REST} == set(FUNCTIONS)


@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_gamma_functions(name):
    """Where each of their forms serves, and about its borders."""
    exact, rng = getattr(special, name), np.random.default_rng(2)
    a = np.concatenate([rng.uniform(0, 2, 4000), rng.uniform(0, 60, 4000),
                        rng.uniform(40, 400, 4000), 10 ** rng.uniform(2, 5, 2000)])
    x = a * np.concatenate([rng.uniform(0, 3, 12000), rng.normal(1, 3e-3, 2000)])
    wanted = exact(a, x)
    usual = wanted > 1e-280
    np.testing.assert_allclose(evaluate(name, a, x)[usual], wanted[usual], 2e-12)
    a, x = a.astype(np.float32), x.astype(np.float32)
    errors = units(evaluate(name, a, x), exact(a.astype(float), x.astype(float)))
    assert errors.max() <= 0.501


@pytest.mark.parametrize("kind", KINDS)
def test_incomplete_gamma_functions_at_the_edges(kind):
    a, x = np.array([
        (0, 0), (0, 1), (1, 0), (-1, 1), (1, -1), (INF, 1), (1, INF), (INF, INF), (NAN, 1),
        (1, NAN), (0, INF), (INF, 0)], KINDS[kind]).T
    lower = [NAN, 1, 0, NAN, NAN, 0, 1, NAN, NAN, NAN, 1, 0]
    np.testing.assert_array_equal(evaluate("gammainc", a, x), lower)
    np.testing.assert_array_equal(evaluate("gammaincc", a, x), 1 - np.array(lower))


@pytest.mark.parametrize("name", WAVES)
def test_waves(name):
    exact, bound = WAVES[name]
    x = places(-1e4, 1e4)
    x = x[np.abs(x) > 1e-30]
    with np.errstate(all="ignore"):
        wanted = exact(x.astype(float))
        errors = np.abs(evaluate(name, x) - wanted) / np.maximum(np.abs(wanted), 1)
    assert np.nanmax(errors) <= bound * 2.0**-24
    np.testing.assert_array_equal(np.isnan(evaluate(name, x)), np.isnan(wanted))
    x = x[np.abs(x) < 60].astype(float)
    np.testing.assert_allclose(evaluate(name, x), exact(x), 1e-13, 1e-13)


@pytest.mark.parametrize("name", ONE)
def test_float32_of_one_operand(name):
    exact, bound, low, high = ONE[name]
    x = places(low, high)
    with np.errstate(all="ignore"):
        errors = units(evaluate(name, x), exact(x.astype(float)))
    assert errors.max() <= bound, f"{errors.max():.2f} at {x[errors.argmax()]!r}"


@pytest.mark.parametrize("name", TWO)
def test_float32_of_two_operands(name):
    exact, bound = TWO[name]
    rng = np.random.default_rng(1)
    x, y = places(), rng.permutation(places())
    if name == "logaddexp":
        x, y = np.abs(x), np.abs(y)  # results near 0 have errors of 1
    if name == "zeta":
        # SciPy has NaN for the zeros of very large powers, and goes up from negative numbers.
        x, y = np.minimum(x[::20], 100), np.maximum(y[::20], -100)
    with np.errstate(all="ignore"):
        errors = units(evaluate(name, x, y), exact(x.astype(float), y.astype(float)))
    k = errors.argmax()
    assert errors[k] <= bound, f"{errors[k]:.2f} at {x[k]!r}, {y[k]!r}"


@pytest.mark.parametrize("name", sorted(set(ONE) - {"sinc", "gelu", "gelu_tanh", "mish"}))
def test_float64_of_one_operand(name):
    """Beside NumPy and SciPy, whose own errors may be some units."""
    exact, _, low, high = ONE[name]
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 3, 20_000), rng.uniform(-1, 1, 20_000)])
    x = x[(x >= low) & (x <= high)]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(evaluate(name, x), exact(x), 2e-14, 1e-15)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "mish"])
def test_float64_activations(name):
    x = np.random.default_rng(3).normal(0, 4, 20_000)
    np.testing.assert_allclose(evaluate(name, x), ONE[name][0](x), 1e-14, 1e-16)


@pytest.mark.parametrize("name", TWO)
def test_float64_of_two_operands(name):
    rng = np.random.default_rng(4)
    x, y = np.abs(rng.normal(0, 4, (2, 20_000)))
    np.testing.assert_allclose(evaluate(name, x, y), TWO[name][0](x, y), 2e-15, 0)


def test_float64_against_more_digits():
    """Where the bound is stated: one unit."""
    mp = pytest.importorskip("mpmath").mp
    rng = np.random.default_rng(5)
    with mp.workprec(1300):
        for name, x in [
            ("exp", rng.uniform(-700, 700, 300)), ("log", rng.uniform(0, 4, 300)),
            ("tanh", rng.uniform(-3, 3, 300)), ("erf", rng.uniform(-3, 3, 300)),
            ("sin", np.concatenate([rng.uniform(-1e300, 1e300, 100), rng.normal(0, 9, 200)])),
            ("cos", np.concatenate([rng.uniform(-1e300, 1e300, 100), rng.normal(0, 9, 200)])),
        ]:
            for place, got in zip(x.tolist(), evaluate(name, x).tolist()):
                exact = getattr(mp, name)(mp.mpf(place))
                assert abs(got - exact) <= mp.mpf(2) ** (mp.frexp(exact)[1] - 53), (name, place)


def test_the_hardest_argument_of_sine():
    """The double nearest to a multiple of pi / 2: 6381956970095103 * 2^797."""
    x = np.array([np.ldexp(6381956970095103.0, 797)])
    assert evaluate("cos", x)[0] == pytest.approx(-4.6871659242546277e-19, rel=1e-15)
    assert evaluate("sin", x)[0] == 1.0


# Names, operands, results; zeros and NaN compare as bits do.
SPECIAL = [
    ("exp", (INF, -INF, NAN, 0.0, -0.0), (INF, 0.0, NAN, 1.0, 1.0)),
    ("exp2", (INF, -INF, NAN, 3.0, -0.0), (INF, 0.0, NAN, 8.0, 1.0)),
    ("expm1", (INF, -INF, NAN, 0.0, -0.0), (INF, -1.0, NAN, 0.0, -0.0)),
    ("log", (INF, 0.0, -0.0, NAN, -1.0, -INF, 1.0), (INF, -INF, -INF, NAN, NAN, NAN, 0.0)),
    ("log2", (INF, 0.0, NAN, -1.0, 8.0, 0.25), (INF, -INF, NAN, NAN, 3.0, -2.0)),
    ("log10", (INF, 0.0, NAN, -1.0, 1.0), (INF, -INF, NAN, NAN, 0.0)),
    ("log1p", (INF, -1.0, -2.0, NAN, 0.0, -0.0), (INF, -INF, NAN, NAN, 0.0, -0.0)),
    ("sin", (INF, -INF, NAN, 0.0, -0.0), (NAN, NAN, NAN, 0.0, -0.0)),
    ("cos", (INF, -INF, NAN, 0.0, -0.0), (NAN, NAN, NAN, 1.0, 1.0)),
    ("tan", (INF, NAN, 0.0, -0.0), (NAN, NAN, 0.0, -0.0)),
    ("asin", (2.0, -INF, NAN, 0.0, -0.0), (NAN, NAN, NAN, 0.0, -0.0)),
    ("acos", (2.0, -INF, NAN, 1.0), (NAN, NAN, NAN, 0.0)),
    ("atan", (INF, -INF, NAN, -0.0), (np.pi / 2, -np.pi / 2, NAN, -0.0)),
    ("sinh", (INF, -INF, NAN, 0.0, -0.0), (INF, -INF, NAN, 0.0, -0.0)),
    ("cosh", (INF, -INF, NAN, 0.0), (INF, INF, NAN, 1.0)),
    ("tanh", (INF, -INF, NAN, 0.0, -0.0), (1.0, -1.0, NAN, 0.0, -0.0)),
    ("asinh", (INF, -INF, NAN, 0.0, -0.0), (INF, -INF, NAN, 0.0, -0.0)),
    ("acosh", (INF, -INF, NAN, 1.0, 0.5, -5.0), (INF, NAN, NAN, 0.0, NAN, NAN)),
    ("atanh", (1.0, -1.0, 2.0, NAN, -0.0, INF), (INF, -INF, NAN, NAN, -0.0, NAN)),
    ("erf", (INF, -INF, NAN, 0.0, -0.0), (1.0, -1.0, NAN, 0.0, -0.0)),
    ("erfc", (INF, -INF, NAN, 0.0), (0.0, 2.0, NAN, 1.0)),
    ("erfinv", (1.0, -1.0, 2.0, NAN, 0.0, -0.0), (INF, -INF, NAN, NAN, 0.0, -0.0)),
    ("sigmoid", (INF, -INF, NAN, 0.0), (1.0, 0.0, NAN, 0.5)),
    ("silu", (INF, -INF, NAN, 0.0, -0.0), (INF, NAN, NAN, 0.0, -0.0)),
    ("gelu", (INF, -INF, NAN, 0.0, -0.0), (INF, NAN, NAN, 0.0, -0.0)),
    ("gelu_tanh", (INF, -INF, NAN, 0.0, -0.0), (INF, NAN, NAN, 0.0, -0.0)),
    ("mish", (INF, -INF, NAN, 0.0, -0.0), (INF, NAN, NAN, 0.0, -0.0)),
    ("softplus", (INF, -INF, NAN, 30.0), (INF, 0.0, NAN, 30.0)),
    ("rsqrt", (INF, 0.0, -0.0, NAN, -1.0, 4.0), (0.0, INF, -INF, NAN, NAN, 0.5)),
    ("cbrt", (INF, -INF, NAN, -0.0, 27.0, -8.0), (INF, -INF, NAN, -0.0, 3.0, -2.0)),
    ("sinc", (0.0, -0.0, INF, NAN), (1.0, 1.0, NAN, NAN)),
    ("lgamma", (0.0, -0.0, -1.0, INF, -INF, NAN, 1.0, 2.0),
     (INF, INF, INF, INF, INF, NAN, 0.0, 0.0)),
    ("digamma", (0.0, -0.0, -1.0, INF, -INF, NAN), (-INF, INF, NAN, INF, NAN, NAN)),
    ("sign", (INF, -INF, NAN, 0.0, -3.0), (1.0, -1.0, 0.0, 0.0, -1.0)),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "operand", "result"), SPECIAL)
def test_special_values(name, operand, result, kind):
    x, wanted = np.array(operand, KINDS[kind]), np.array(result, KINDS[kind])
    got = evaluate(name, x)
    np.testing.assert_array_equal(got, wanted)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(wanted)[number])


SIDES = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, INF, -INF, NAN, 1e-38, 3e38, -3e38,
         1.5, -1.5, 16777217.0, 0.99999994)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["pow", "atan2", "hypot", "fmod", "nextafter", "logaddexp"])
def test_pairs_of_special_values(name, kind):
    x, y = (a.ravel() for a in np.meshgrid(*[np.array(SIDES, KINDS[kind])] * 2))
    with np.errstate(all="ignore"):
        wanted = getattr(np, {"pow": "power", "atan2": "arctan2"}.get(name, name))(x, y)
    got = evaluate(name, x, y)
    np.testing.assert_allclose(got, wanted, 4 * np.finfo(got.dtype).eps, 0)
    number = ~np.isnan(wanted)
    if name != "logaddexp":
        np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(wanted)[number])


@pytest.mark.parametrize("kind", KINDS)
def test_remainders_as_in_pytorch(kind):
    x = np.array([5, -5, 0.0, -0.0, INF, 1, 1, -1, -6, 7.5, 1e30, 1], KINDS[kind])
    y = np.array([-3, 3, 3, 3, 3, INF, 0, INF, 3, 0.1, 7, NAN], KINDS[kind])
    rest = [-1, 1, 0.0, -0.0, NAN, 1, NAN, INF, 0, np.fmod(x[9], y[9]), np.fmod(x[10], y[10]), NAN]
    np.testing.assert_array_equal(evaluate("remainder", x, y), np.array(rest, KINDS[kind]))
    with np.errstate(all="ignore"):
        whole = np.floor_divide(x, y)
    np.testing.assert_array_equal(evaluate("floor_divide", x, y), whole)
    rng = np.random.default_rng(6)
    x, y = (rng.normal(0, 1, (2, 5000)) * 10.0 ** rng.integers(-9, 9, (2, 5000))).astype(x.dtype)
    np.testing.assert_array_equal(evaluate("remainder", x, y), np.remainder(x, y))
    np.testing.assert_array_equal(evaluate("floor_divide", x, y), np.floor_divide(x, y))


def arity(name):
    return 2 if name in TWO or name in INCOMPLETE or name in REST - {"sign"} else 1


@pytest.mark.parametrize("cpu", [None, "x86-64-v3"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_lanes_interpreter_and_processors_give_the_same_bits(name, kind, cpu):
    if not can_run(cpu):
        pytest.skip(f"this machine does not run code for {cpu}")
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.normal(0, 3, 150), [0.0, -0.0, INF, -INF, 1e30, -1e5, 1e-310, 1]])
    y = rng.permutation(x)
    operands = [a.astype(KINDS[kind]) for a in (x, y)][:arity(name)]
    single = evaluate(name, *operands, lanes=1)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluate(name, *operands), single)
        function = kernel(name, kind, len(operands))
        verify(function)
        (run,) = machine(function, cpu=cpu)
        compare(function, [single.size, np.zeros_like(single), *operands], run=run)


def test_every_nan_stays():
    """Also those with other bits than NumPy's."""
    bits = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000], np.uint32)
    x = bits.view(np.float32)
    for name in set(ONE):
        assert np.isnan(evaluate(name, x)).all(), name


@pytest.mark.parametrize(("kind", "bound"), [("f32", 2e-6), ("f64", 2e-14)])
@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_gamma_functions_of_negative_numbers(name, kind, bound):
    x = np.random.default_rng(8).uniform(-20, 3, 5000).astype(KINDS[kind])
    x = x[np.abs(x - np.rint(x)) > 0.05]  # SciPy is not good near the poles
    np.testing.assert_allclose(evaluate(name, x), ONE[name][0](x.astype(float)), bound, bound)


def test_subnormal_numbers():
    x = np.array([1e-45, -1e-45, 5e-40, 1.1754942e-38], np.float32)
    for name in ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p"):
        np.testing.assert_array_equal(evaluate(name, x), x)
    np.testing.assert_allclose(evaluate("log", np.abs(x)), np.log(np.abs(x)), 2e-7)
    np.testing.assert_array_equal(
        evaluate("exp", np.array([-103.9, -103, -88], np.float32)),
        np.exp(np.array([-103.9, -103, -88])).astype(np.float32))


@pytest.mark.parametrize("lanes", [1, 16])
def test_whether_any_lane_holds(lanes):
    f = Function("any")
    x = f.load(f.slot(0, "ptr"), 0, Type("f32", lanes))
    f.store((x > 0.0).any(), f.slot(1, "ptr"), 0)
    verify(f)
    for place in range(-1, lanes):
        values = np.where(np.arange(lanes) == place, 1, -1).astype(np.float32)
        found = compare(f, [values, np.zeros(1, bool)])[1]
        assert found[0] == (place >= 0)


def test_softplus_with_constants():
    x = np.linspace(-30, 30, 101)
    wanted = np.where(2.5 * x > 6, x, np.logaddexp(0, 2.5 * x) / 2.5)
    np.testing.assert_allclose(evaluate("softplus", x, constants=(2.5, 6.0)), wanted, 1e-14)


def test_other_kinds_are_refused():
    with pytest.raises(NotImplementedError, match="f16: convert first"):
        kernel("exp", "f16", 1)
