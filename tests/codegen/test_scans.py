"""Scans in machine code: against NumPy's, and against float64 where NumPy is less accurate."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

import iskra
from iskra.codegen.kernels import scans

SHAPES = [(1,), (15,), (16,), (17,), (300,), (5, 131), (3, 1, 37), (3, 20, 17), (33, 140), (2, 333)]
NAMES = ["add", "multiply", "maximum", "minimum", "logaddexp"]
DTYPES = ["f4", "f8", "i8", "i4", "i2", "u1", "?"]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1e-40, np.inf, 1.0]


def elements(shape, dtype, scale=1.5):
    found = np.random.default_rng(5).normal(size=shape) * scale
    return (found if dtype[0] == "f" else np.floor(found * 3)).astype(dtype)


def result_dtype(name, array):
    widens = name in ("add", "multiply") and array.dtype.kind != "f"
    return np.dtype(np.int64) if widens else array.dtype


def expected(name, array, axis):
    """``(results, places or None)`` by NumPy, floats in float64."""
    ufunc, dtype = getattr(np, name), result_dtype(name, array)
    wide = array.astype(np.float64 if dtype.kind == "f" else dtype)
    with np.errstate(all="ignore"):
        values = ufunc.accumulate(wide, axis=axis).astype(dtype)
    if name not in ("maximum", "minimum"):
        return values, None
    new = np.equal(array, values) | (array != array)
    places = np.arange(array.shape[axis]).reshape([-1] + [1] * (array.ndim - 1 - axis))
    return values, np.maximum.accumulate(np.where(new, places, 0), axis=axis)


def check(name, array, axis):
    found = scans.scan(name, array, axis, result_dtype(name, array))
    values, places = expected(name, array, axis)
    assert found[0].dtype == values.dtype and found[0].shape == array.shape
    if values.dtype.kind == "f":
        digits = 1e-6 if values.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found[0], values, digits, digits)
    else:
        np.testing.assert_array_equal(found[0], values)
    if places is not None:
        np.testing.assert_array_equal(found[1], places)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(scans, "CHUNK", 64)
    serve_small(monkeypatch)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_against_numpy(name, dtype, small_chunks):
    if name == "logaddexp" and dtype[0] != "f":
        assert scans.scan(name, elements((5,), dtype), 0, np.dtype(dtype)) is None
        return
    for shape in SHAPES:
        array = elements(shape, dtype)
        for axis in range(array.ndim):
            for how in LAYOUTS:
                check(name, laid_out(array, how), axis)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_values(name, dtype, small_chunks):
    """In every lane: what comes after infinities and NaN."""
    for place in range(0, 160, 7):
        for special in SPECIAL:
            array = elements((2, 160), dtype, 0.3)
            array[:, place] = special
            for axis in (0, 1):
                check(name, array, axis)


def test_negative_infinities_add_up_to_one():
    array = np.full((3, 40), -np.inf, np.float32)
    array[1, 20] = 2.0
    check("logaddexp", array, 1)
    check("logaddexp", array, 0)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_products_run_in_order(dtype):
    """A tree would multiply an overflow by an underflow, which gives NaN."""
    big = np.finfo(dtype).max / 2
    array = np.array([1 / big, 1 / big, 1 / big, big, big, big] * 6, dtype).reshape(1, -1)
    found = scans.scan("multiply", array, 1, array.dtype)[0]
    assert np.isfinite(found).all()
    if dtype == "f8":
        np.testing.assert_array_equal(found, np.multiply.accumulate(array, axis=1))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sums_are_as_accurate_as_their_dtype(axis, dtype):
    """Even after many additions: a plain running sum is hundreds of times farther off."""
    generator = np.random.default_rng(1)
    array = generator.random((100_000, 3)).astype(dtype)
    array = np.ascontiguousarray(array.T) if axis else array
    exact = np.add.accumulate(array.astype(np.longdouble), axis=axis)
    found = scans.scan("add", array, axis, array.dtype)[0]
    error = np.abs((found - exact) / exact).max()
    assert error <= 1.01 * np.finfo(dtype).eps


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreted(order, small_chunks, monkeypatch):
    tasks = check_each_call(monkeypatch, order)
    for dtype, names in (("f4", NAMES), ("f8", ["add", "maximum"]), ("i4", NAMES[:3]),
                         ("?", NAMES[2:4])):
        for shape in [(7, 37), (2, 131), (3, 5, 17), (1, 150)]:
            array = elements(shape, dtype)
            for name in names:
                for axis in range(array.ndim):
                    check(name, array, axis)
    assert max(tasks) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axis"), [((300, 501), 1), ((300, 501), 0), ((100_003,), 0)])
def test_bits_do_not_depend_on_threads(name, shape, axis):
    array = elements(shape, "f4", 0.5)
    on_threads(lambda: scans.scan(name, array, axis, array.dtype))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
@pytest.mark.parametrize("dtype", [iskra.float32, iskra.bfloat16, iskra.float64, iskra.int32])
def test_operators_on_both_tiers(name, dtype, monkeypatch):
    if name == "logcumsumexp" and not dtype.is_floating_point:
        return
    array = iskra.tensor(elements((70, 90), "f8", 0.4)).to(dtype)
    for dim in (0, 1, -1):
        results = []
        for large in (1, 1 << 40):
            monkeypatch.setattr("iskra.graph.LARGE", large)
            found = getattr(iskra, name)(array, dim)
            results.append(found if isinstance(found, tuple) else (found,))
        for one, other in zip(*results, strict=True):
            assert one.dtype is other.dtype
            iskra.testing.assert_close(one, other)


@pytest.mark.parametrize("how", ["rows", "columns", "gaps"])
@pytest.mark.parametrize("dim", [-1, -2, 0, 1])
def test_calls_that_are_made_again(dim, how):
    """They are learnt, with whatever sign the dimension has."""
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=(8, 9)).astype(np.float32)
        values, places = iskra.cummax(iskra.from_numpy(laid_out(x, how)), dim)
        np.testing.assert_array_equal(values.numpy(), np.maximum.accumulate(x, dim))
        np.testing.assert_array_equal(
            np.take_along_axis(x, places.numpy(), dim), values.numpy())
