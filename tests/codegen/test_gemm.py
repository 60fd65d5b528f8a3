"""Matrix products in machine code: against float64, on every kind of machine, under guard."""

import itertools
import re

import ml_dtypes
import numpy as np
import pytest
from codegen.guard import guarded, interpreted_kernels

from iskra.codegen import ir, lower
from iskra.codegen.kernels import gemm_kernel, gemm_plan, products
from iskra.codegen.kernels.gemm_call import After
from iskra.codegen.kernels.gemm_kernel import AHEAD, TURNED, Spec
from iskra.codegen.kernels.gemm_tiles import (
    AVX2,
    AVX512,
    AVX512_BF16,
    BASELINE,
    NEON,
    heights,
    host,
    tile,
)
from iskra.runtime import jit, threads

MACHINES = [AVX512, AVX2, NEON, BASELINE]
# Around the edges of tiles (14 × 32, 14 × 16, 6 × 16, 8 × 12 ...), primes, and stretches of k.
ROWS = [1, 2, 3, 6, 7, 13, 14, 15, 28, 29, 61, 113]
COLUMNS = [1, 2, 5, 8, 11, 12, 15, 16, 17, 31, 32, 33, 64, 97, 130]
INNER = [1, 2, 3, 7, 15, 16, 17, 63, 64, 65, 129, 383, 384, 385, 769]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def on(monkeypatch):
    """Lets products be computed as on another machine: its tiles, in this machine's code."""
    def choose(machine):
        monkeypatch.setattr(gemm_plan, "host", lambda: machine)
        monkeypatch.setattr(products, "_calls", {})
    return choose


def laid_out(x, how):
    """The same values in memory laid out otherwise; what lies between them is NaN."""
    *batch, rows, columns = x.shape
    if how == "rows":
        return x
    if how == "columns":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    shape, view = {
        "padded rows": ((rows + 1, columns + 3), np.s_[..., 1:, 2:-1]),
        "padded columns": ((rows, columns), None),
        "every third": ((2 * rows, 3 * columns), np.s_[..., 1::2, ::3]),
        "backwards": ((rows, columns), np.s_[..., ::-1, :]),
        "mirrored": ((rows, columns), np.s_[..., :, ::-1]),
    }[how]
    if how == "padded columns":
        return laid_out(x.swapaxes(-1, -2), "padded rows").swapaxes(-1, -2)
    space = np.full((*batch, *shape), np.nan, x.dtype)
    space[view] = x
    return space[view]


LAYOUTS = ["rows", "columns", "padded rows", "padded columns", "every third", "backwards",
           "mirrored"]


def check(result, a, b):
    """Each sum of K products is within K rounding errors of each product."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    unit = np.finfo(np.float64 if a.dtype == np.float64 else np.float32).eps / 2
    bound = (a.shape[-1] + 1) * unit * np.matmul(np.abs(wide_a), np.abs(wide_b))
    expected = np.matmul(wide_a, wide_b)
    if a.dtype.itemsize == 2:
        bound = bound + float(ml_dtypes.finfo(a.dtype).eps) / 2 * (np.abs(expected) + bound)
    assert result.shape == expected.shape
    assert result.dtype == a.dtype
    # The reference's own error counts if it is in float64 too.
    slack = 2 if a.dtype == np.float64 else 1.001
    assert (np.abs(result.astype(np.float64) - expected) <= slack * bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_random_shapes_and_layouts(on, rng, machine, dtype):
    on(machine)
    for _ in range(120):
        m, n, k = (int(rng.choice(sizes)) for sizes in (ROWS, COLUMNS, INNER))
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        check(products.matmul(laid_out(a, rng.choice(LAYOUTS)), laid_out(b, rng.choice(LAYOUTS))),
              a, b)


NARROW = [np.float16, ml_dtypes.bfloat16]


def narrow_machines():
    """Machines whose ways of multiplying narrow floats can be tried here."""
    return [AVX512_BF16, AVX512, AVX2] if host().dots else [AVX512, AVX2]


@pytest.mark.parametrize("dtype", NARROW, ids=["float16", "bfloat16"])
@pytest.mark.parametrize("machine", narrow_machines(), ids=lambda m: m.name + m.dots * "_bf16")
def test_narrow_dtypes_are_summed_in_float32(on, rng, machine, dtype):
    on(machine)
    for m, n, k in itertools.product([1, 5, 15], [1, 16, 33], [1, 17, 130, 800]):
        a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
        first, second = rng.choice(LAYOUTS, 2)
        check(products.matmul(laid_out(a, first), laid_out(b, second)), a, b)
    for (m, n, k), orders in itertools.product(
            [(61, 130, 769), (200, 33, 1600), (14, 32, 768), (29, 700, 1537)],
            itertools.product(LAYOUTS[:4], repeat=2)):
        a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
        check(products.matmul(*map(laid_out, (a, b), orders)), a, b)


@pytest.mark.parametrize(("m", "n", "k"), [
    (257, 300, 400), (1000, 33, 70), (8, 3000, 200), (3, 2000, 300), (1, 5000, 130), (5000, 1, 90),
    (5, 40, 20_000), (400, 500, 1), (130, 1024, 600),
])
@pytest.mark.parametrize("orders", list(itertools.product(["rows", "columns"], repeat=2)))
def test_large_shapes(rng, m, n, k, orders):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    check(products.matmul(*map(laid_out, (a, b), orders)), a, b)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_rows_by_a_large_matrix(on, rng, monkeypatch, machine, dtype):
    on(machine)
    monkeypatch.setattr(gemm_plan, "STREAM", 1000)
    for m, n, k in itertools.product([1, 2, 3, 4], [17, 2100], [1, 7, 25]):
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        bias, rest = (rng.standard_normal(s).astype(dtype) for s in ((n,), (m, n)))
        for how in LAYOUTS:
            check(products.matmul(laid_out(a, how), b), a, b)
            check(products.matmul(b.T, laid_out(a.T, how)), b.T, a.T)
        result = products.matmul(a, b, bias=bias, residual=rest, scale=2.0, epilogue=relu)
        expected = np.maximum(2 * np.matmul(a.astype(np.float64), b) + bias + rest, 0)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("first", "second"), [
    ((3, 20, 30), (3, 30, 17)), ((2, 1, 20, 70), (3, 70, 4)), ((5, 20, 30), (30, 17)),
    ((20, 30), (4, 30, 17)), ((2, 3, 1, 80), (2, 3, 80, 9)), ((40, 9, 11), (40, 11, 10)),
    ((30,), (30, 17)), ((20, 30), (30,)), ((30,), (30,)), ((4, 20, 30), (30,)), ((30,), (4, 30, 5)),
    ((1, 1, 20, 30), (30, 17)), ((500, 2, 3), (500, 3, 2)), ((20, 64, 200), (20, 200, 150)),
])
def test_batches_and_vectors(rng, first, second):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in (first, second))
    expected = np.matmul(a.astype(np.float64), b)
    result = products.matmul(a, b)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    if a.ndim > 1 and b.ndim > 1:
        for how in LAYOUTS:
            np.testing.assert_allclose(products.matmul(laid_out(a, how), laid_out(b, how)),
                                       expected, rtol=1e-5, atol=1e-4)


def test_expanded_operands(rng):
    a = np.broadcast_to(rng.standard_normal((1, 40)).astype(np.float32), (6, 20, 40))
    b = np.broadcast_to(rng.standard_normal((40, 1)).astype(np.float32), (40, 33))
    np.testing.assert_allclose(products.matmul(a, b), np.matmul(a, b), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("first", "second"), [
    ((0, 3), (3, 4)), ((3, 4), (4, 0)), ((3, 0), (0, 4)), ((0, 0), (0, 0)), ((0,), (0,)),
    ((0, 3, 4), (0, 4, 5)), ((2, 3, 0), (2, 0, 5)), ((0,), (0, 3)), ((3, 0), (0,)),
])
def test_empty_operands(first, second):
    a, b = np.ones(first, np.float32), np.ones(second, np.float32)
    result = products.matmul(a, b)
    np.testing.assert_array_equal(result, np.matmul(a, b))
    assert result.shape == np.matmul(a, b).shape


def test_a_bias_is_added_to_empty_sums():
    a, b = np.ones((2, 0), np.float32), np.ones((0, 3), np.float32)
    bias = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(products.matmul(a, b, bias=bias), [bias, bias])


@pytest.mark.parametrize("shape", [(20, 40, 30), (3, 50, 100), (50, 3, 100), (9, 70, 500)])
def test_nan_and_infinity_reach_what_numpy_lets_them_reach(rng, shape):
    m, n, k = shape
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    a[1, 5], a[2, 7], b[3, 1], b[9, 2] = np.nan, np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = np.matmul(a.astype(np.float64), b)
    for orders in itertools.product(["rows", "columns"], repeat=2):
        result = products.matmul(*map(laid_out, (a, b), orders))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def relu(value):
    return ir.maximum(value, 0.0)


AFTER = {
    "bias": dict(bias=True), "scale": dict(scale=0.25), "residual": dict(residual=True),
    "relu": dict(epilogue=relu),
    "all": dict(bias=True, scale=-2.0, residual=True, epilogue=relu),
}


@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16],
                         ids=["f32", "f64", "f16", "bf16"])
def test_what_follows_the_sum(rng, after, dtype):
    for batch, m, n, k in [((), 20, 40, 30), ((), 5, 33, 100), ((), 50, 3, 500), ((), 30, 1, 70),
                           ((3,), 4, 20, 80), ((3,), 16, 40, 400), ((2, 2), 17, 5, 9)]:
        a, b = (rng.standard_normal((*batch, *s)).astype(dtype) for s in ((m, k), (k, n)))
        operands = dict(after)
        if "bias" in after:
            operands["bias"] = rng.standard_normal(n).astype(dtype)
        if "residual" in after:
            operands["residual"] = rng.standard_normal((*batch, m, n)).astype(dtype)
        expected = np.matmul(a.astype(np.float64), b.astype(np.float64)) * after.get("scale", 1)
        for name in "bias", "residual":
            if name in operands:
                expected = expected + operands[name].astype(np.float64)
        if "epilogue" in after:
            expected = np.maximum(expected, 0)
        narrow = np.dtype(dtype).itemsize == 2
        tolerance = 1e-4 if not narrow else 4 * float(ml_dtypes.finfo(dtype).eps)
        for orders in itertools.product(["rows", "columns"], repeat=2):
            result = products.matmul(*map(laid_out, (a, b), orders), **operands)
            np.testing.assert_allclose(result.astype(np.float64), expected, rtol=tolerance,
                                       atol=tolerance)


def test_nan_passes_through_an_activation():
    a, b = np.full((3, 4), np.nan, np.float32), np.ones((4, 20), np.float32)
    assert np.isnan(products.matmul(a, b, epilogue=relu)).all()


@pytest.mark.parametrize(("m", "n", "k"), [(20, 40, 30), (50, 3, 100), (3, 50, 100)])
def test_out(rng, m, n, k):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    expected = products.matmul(a, b)
    for how in LAYOUTS:
        out = laid_out(np.full((m, n), np.nan, np.float32), how)
        assert products.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected)
    space = np.full((m + 2, n + 5), np.nan, np.float32)
    products.matmul(a, b, out=space[1:-1, 2:-3])
    np.testing.assert_array_equal(space[1:-1, 2:-3], expected)
    space[1:-1, 2:-3] = np.nan
    assert np.isnan(space).all()


def test_out_may_be_an_operand(rng):
    a, b = (rng.standard_normal((30, 30)).astype(np.float32) for _ in range(2))
    expected, with_residual = products.matmul(a, b), products.matmul(a, b, residual=a)
    left, right, rest = a.copy(), b.copy(), a.copy()
    products.matmul(left, b, out=left)
    products.matmul(a, right, out=right)
    products.matmul(a, b, out=rest, residual=rest)
    np.testing.assert_array_equal(left, expected)
    np.testing.assert_array_equal(right, expected)
    np.testing.assert_array_equal(rest, with_residual)


def test_wrong_operands():
    a = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"shapes \[2, 3\] and \[2, 3\] cannot be multiplied"):
        products.matmul(a, a)
    with pytest.raises(ValueError, match="cannot be multiplied"):
        products.matmul(a, np.float32(1).reshape(()))
    with pytest.raises(ValueError, match="broadcast"):
        products.matmul(np.ones((2, 2, 3), np.float32), np.ones((3, 3, 2), np.float32))
    with pytest.raises(TypeError, match="float32 and float64"):
        products.matmul(a, np.ones((3, 2)))
    with pytest.raises(TypeError, match="int64"):
        products.matmul(np.ones((2, 3), np.int64), np.ones((3, 2), np.int64))
    with pytest.raises(ValueError, match=r"out should be float32\[2, 2\], not float32\[2, 3\]"):
        products.matmul(a, a.T, out=a)
    with pytest.raises(ValueError, match=r"bias should be float32\[2\], not float32\[3\]"):
        products.matmul(a, a.T, bias=np.ones(3, np.float32))


@pytest.mark.parametrize("machine", narrow_machines(), ids=lambda m: m.name + m.dots * "_bf16")
def test_nan_infinity_and_what_is_almost_0_in_bfloat16(on, machine):
    on(machine)
    for m, n, k in [(20, 40, 31), (3, 50, 101), (50, 3, 101), (9, 70, 1000)]:
        a, b = np.ones((m, k), ml_dtypes.bfloat16), np.ones((k, n), ml_dtypes.bfloat16)
        a[0, k - 1], a[1, 5], b[6, 1], b[k - 1, 0] = np.nan, np.inf, -np.inf, 0
        # Where these count as 0, their product with infinity is NaN; so there 1 stands instead.
        a[2], a[2, 6], b[:, 2] = 2.0 ** -130, 1, 2.0 ** 3
        with np.errstate(invalid="ignore"):
            expected = np.matmul(a.astype(np.float64), b.astype(np.float64))
        for orders in itertools.product(["rows", "columns"], repeat=2):
            result = products.matmul(*map(laid_out, (a, b), orders)).astype(np.float64)
            np.testing.assert_allclose(result, expected, rtol=0.01, atol=k * 2.0 ** -126)


# Long sums of small results

@pytest.fixture
def cut(on, monkeypatch):
    """Lets k be cut into parts of any length that is worth a packed vector."""
    def choose(machine):
        on(machine)
        monkeypatch.setattr(gemm_plan, "TASK", 2000)
        monkeypatch.setattr(gemm_plan, "PART", 32)
    return choose


def parts_of(a, b):
    """Into how many parts the sums of the last product were cut."""
    (call,) = [c for key, c in products._calls.items() if key[0] == a.shape and key[2] == b.shape]
    return call.plan.numbers[0] if isinstance(call.plan, gemm_plan.SplitPlan) else 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, *NARROW],
                         ids=["f32", "f64", "f16", "bf16"])
@pytest.mark.parametrize("machine", MACHINES[:2], ids=lambda m: m.name)
def test_long_sums_of_small_results(cut, rng, machine, dtype):
    cut(host() if machine is AVX512 and host().dots else machine)
    for m, n, k in [(1, 1, 3000), (1, 40, 300), (5, 3, 1000), (16, 16, 769), (20, 1, 640),
                    (17, 33, 512)]:
        a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
        for first, second in itertools.product(LAYOUTS, repeat=2):
            products._calls.clear()
            x, y = laid_out(a, first), laid_out(b, second)
            check(products.matmul(x, y), a, b)
            assert parts_of(a, b) > 1
        out = laid_out(np.full((m, n), np.nan, dtype), "padded rows")
        products.matmul(a, b, out=out)
        np.testing.assert_array_equal(out, products.matmul(a, b))
        rest, bias = (rng.standard_normal(s).astype(dtype) for s in ((m, n), (n,)))
        result = products.matmul(a, b, bias=bias, residual=rest, scale=0.5, epilogue=relu)
        expected = np.matmul(a.astype("d"), b.astype("d")) / 2 + bias.astype("d") + rest.astype("d")
        tolerance = 1e-4 if a.itemsize > 2 else 4 * float(ml_dtypes.finfo(dtype).eps)
        expected = np.maximum(expected, 0)
        np.testing.assert_allclose(result.astype("d"), expected, tolerance, tolerance)


def test_where_long_sums_are_cut(rng):
    for (m, n, k), cut in [((16, 16, 20_000), True), ((16, 16, 5000), False),
                           ((2, 1, 3_000_000), True), ((300, 300, 5000), False)]:
        a, b = (np.zeros(s, np.float32) for s in ((m, k), (k, n)))
        products._calls.clear()
        products.matmul(a, b)
        assert (parts_of(a, b) > 1) == cut


def test_no_access_out_of_bounds_in_parts(cut, rng, interpreted):
    for machine, dtype in ((AVX512, np.float32), (NEON, np.float64),
                           (AVX512_BF16, ml_dtypes.bfloat16)):
        cut(machine)
        for (m, n, k), orders in itertools.product(
                [(3, 17, 99), (15, 1, 200)], itertools.product(["rows", "columns"], repeat=2)):
            a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
            check(products.matmul(*map(laid_out, (a, b), orders), bias=np.zeros(n, dtype)), a, b)
    assert any(kernel.name == "total" for kernel in interpreted)


# Bits and threads

@pytest.mark.parametrize(("first", "second"), [
    ((300, 400), (400, 310)), ((8, 1000), (1000, 3000)), ((40, 60, 70), (40, 70, 64)),
    ((2000, 500), (500,)), ((1, 3000), (3000, 1500)), ((4, 2500), (2500, 600)),
    ((16, 30_001), (30_001, 16)),
])
def test_the_bits_do_not_depend_on_the_number_of_threads(rng, first, second):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in (first, second))
    before, results = threads.get_num_threads(), []
    try:
        for orders in itertools.product(["rows", "columns"], repeat=2):
            x, y = (laid_out(z, how) if z.ndim > 1 else z for z, how in zip((a, b), orders))
            for count in (1, 2, 3, 7):
                threads.set_num_threads(count)
                results.append(products.matmul(x, y))
            assert all(r.tobytes() == results[0].tobytes() for r in results)
            results.clear()
    finally:
        threads.set_num_threads(before)


def test_the_bits_of_bfloat16_do_not_depend_on_the_number_of_threads(rng):
    before = threads.get_num_threads()
    a, b = (rng.standard_normal(s).astype(ml_dtypes.bfloat16) for s in ((300, 900), (900, 310)))
    results = []
    try:
        for count in (1, 2, 3, 7):
            threads.set_num_threads(count)
            results.append(products.matmul(a, b).tobytes())
    finally:
        threads.set_num_threads(before)
    assert set(results) == {results[0]}


# Memory

@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(products, "_calls", {})
    return interpreted_kernels(monkeypatch, gemm_plan)


@pytest.mark.parametrize("stream", [1 << 20, 1000])
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_no_access_out_of_bounds_and_no_races(on, rng, interpreted, monkeypatch, machine, stream):
    on(machine)
    monkeypatch.setattr(gemm_plan, "STREAM", stream)
    monkeypatch.setattr(gemm_plan, "TASK", 2000)        # many tasks, for the races
    shapes = [(1, 40, 20), (3, 17, 65), (15, 33, 17), (29, 3, 66), (20, 35, 9)]
    for (m, n, k), orders in itertools.product(shapes, itertools.product(
            ["rows", "columns"], repeat=2)):
        a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
        check(products.matmul(*map(laid_out, (a, b), orders)), a, b)
    assert interpreted


@pytest.mark.parametrize("machine", [AVX512_BF16, AVX2], ids=["avx512_bf16", "avx2"])
def test_no_access_out_of_bounds_in_narrow_dtypes(on, rng, interpreted, monkeypatch, machine):
    on(machine)
    monkeypatch.setattr(gemm_plan, "TASK", 2000)
    shapes = [(1, 40, 20), (3, 17, 65), (15, 33, 17), (29, 3, 67)]
    for (m, n, k), orders, dtype in itertools.product(
            shapes, itertools.product(["rows", "columns"], repeat=2), NARROW):
        a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
        check(products.matmul(*map(laid_out, (a, b), orders)), a, b)


def test_no_access_out_of_bounds_with_everything(rng, interpreted):
    for dtype, (m, n, k) in [(np.float32, (15, 17, 20)), (ml_dtypes.bfloat16, (3, 17, 70))]:
        a, b = (rng.standard_normal((2, *s)).astype(dtype) for s in ((m, k), (k, n)))
        residual = rng.standard_normal((2, m, n)).astype(dtype)
        bias = rng.standard_normal(n).astype(dtype)
        result = products.matmul(a, b, bias=bias, residual=residual, scale=0.5)
        a, b, bias, residual = (x.astype(np.float64) for x in (a, b, bias, residual))
        expected = np.matmul(a, b) / 2 + bias + residual
        np.testing.assert_allclose(result.astype("d"), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("machine", [AVX512, AVX2], ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["f32", "bf16"])
def test_the_memory_around_the_operands_is_not_touched(on, rng, machine, at_end, dtype):
    on(AVX512_BF16 if machine is AVX512 and host().dots else machine)
    for m, n, k in [(1, 33, 70), (3, 17, 129), (14, 31, 17), (15, 5, 65), (29, 100, 33),
                    (121, 65, 401), (60, 200, 400)]:
        for first, second in itertools.product([False, True], repeat=2):
            a, b = (rng.standard_normal(s).astype(dtype) for s in (
                (k, m) if first else (m, k), (n, k) if second else (k, n)))
            a, b = guarded(a, at_end), guarded(b, at_end)
            a, b = a.T if first else a, b.T if second else b
            out = guarded(np.full((m, n), np.nan, dtype), at_end)
            check(products.matmul(a, b, out=out), a, b)


# The pieces

@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_tiles_fit_into_the_registers(machine, kind):
    for rows in (*range(1, 20), None):
        shape = tile(machine, kind, rows)
        assert shape.rows * shape.vectors + shape.vectors + 1 <= machine.registers
        assert shape.vectors >= 1


def test_pairs_of_bfloat16_are_multiplied_in_registers():
    shape = tile(AVX512_BF16, "f32", None, pairs=True)
    spec = Spec(shape, (shape.rows,), TURNED, AHEAD, ("bf16",) * 3, False, After())
    text = lower.text(gemm_kernel.product(spec))
    target = dict(triple="x86_64-linux-gnu", cpu="x86-64-v4")
    with pytest.raises(RuntimeError, match="avx512bf16"):
        jit.assembly(text, **target)
    text = jit.assembly(text, **target, features="-prefer-256-bit,+avx512bf16")
    loop = max(re.split(r"\n(?=\.L)", text), key=lambda block: block.count("vdpbf16ps"))
    assert loop.count("vdpbf16ps") == shape.rows * shape.vectors
    assert not re.search(r"\bv?mov\w+\s+%[xyz]mm\d+, [-\d]*\(|\(%r[sb]p\), %[xyz]mm", loop)


@pytest.mark.parametrize(("machine", "target"), [
    (AVX512, dict(triple="x86_64-linux-gnu", cpu="x86-64-v4", features="-prefer-256-bit")),
    (AVX2, dict(triple="x86_64-linux-gnu", cpu="x86-64-v3")),
    (NEON, dict(triple="aarch64-linux-gnu", cpu="neoverse-v1")),
], ids=["avx512", "avx2", "neon"])
def test_the_sums_stay_in_registers(machine, target):
    shape = tile(machine, "f32", None)
    spec = Spec(shape, (shape.rows,), TURNED, AHEAD, ("f32",) * 3, False, After())
    text = jit.assembly(lower.text(gemm_kernel.product(spec)), **target)
    multiply = re.compile(r"fmadd|fmla")
    loop = max(re.split(r"\n(?=\.L)", text), key=lambda block: len(multiply.findall(block)))
    assert len(multiply.findall(loop)) == shape.rows * shape.vectors
    # Elements of A and B are loaded; nothing is stored, and no vector lies on the stack.
    assert not re.search(r"\bv?mov\w+\s+%[xyz]mm\d+, [-\d]*\(|\bst[pr]\s+[qdsv]", loop)
    assert not re.search(r"\(%r[sb]p\), %[xyz]mm|\[sp", loop)


def test_heights_are_balanced():
    for most in (6, 8, 14):
        for rows in range(1, 200):
            count, height, higher = heights(rows, most)
            assert count * height + higher == rows
            assert 1 <= height and height + bool(higher) <= most


def test_much_of_b_is_not_packed_ahead(monkeypatch, rng):
    monkeypatch.setattr(products, "_calls", {})
    monkeypatch.setattr(gemm_plan, "MOST_PACKED", 1000)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((300, 90), (90, 200)))
    for orders in itertools.product(["rows", "columns"], repeat=2):
        check(products.matmul(*map(laid_out, (a, b), orders)), a, b)
