"""Maps of few elements each in machine code: means and resized images, against NumPy's bodies."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

import iskra
from iskra import graph
from iskra.codegen.kernels import bands as kernels
from iskra.nn import functional as F
from iskra.ops.bands import Band, mapped, picked, transposed, windows_band

SIZES = [(37,), (5, 7), (6, 40), (1, 19), (3, 4, 18), (2, 2, 2)]


def random_band(size, output, taps, seed, weighted=True):
    """Any elements, with gaps."""
    rng = np.random.default_rng(seed)
    places = rng.integers(-1, size, (taps, output))
    return Band(size, places, rng.normal(size=places.shape) if weighted else None)


def on_both_tiers(monkeypatch, function, *arguments):
    results = []
    for large in (1, 1 << 40):
        monkeypatch.setattr(graph, "LARGE", large)
        results.append(function(*arguments))
    return results


def check(monkeypatch, function, *arguments, digits=1e-5):
    found, expected = on_both_tiers(monkeypatch, function, *arguments)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, digits, digits)
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("taps", [1, 3, 9])
@pytest.mark.parametrize("how", LAYOUTS)
def test_maps(size, dtype, taps, how, monkeypatch):
    serve_small(monkeypatch)
    array = laid_out(np.random.default_rng(0).normal(size=(2, 3, *size)).astype(dtype), how)
    for outputs in ((3, 5, 7), (17, 2, 40), (1, 1, 1)):
        outputs = outputs[:len(size)]
        for weighted in (True, False):
            bands = tuple(
                random_band(n, o, taps if i else 2, i, weighted)
                for i, (n, o) in enumerate(zip(size, outputs, strict=True)))
            check(monkeypatch, mapped, array, bands)
            divisors = tuple(tuple(range(1, o + 1)) for o in outputs)
            if not weighted:
                check(monkeypatch, mapped, array, bands, divisors)


def test_matrices():
    """Bands are what their matrices say, and transposed bands the transposed matrices."""
    rng = np.random.default_rng(0)
    for weighted in (True, False):
        band = random_band(9, 20, 4, 3, weighted)
        x = rng.normal(size=(1, 1, 9))
        np.testing.assert_allclose(mapped(x, (band,)), x @ band.matrix().T)
        back = transposed(band)
        np.testing.assert_allclose(back.matrix(), band.matrix().T)
        divided = transposed(band, tuple(range(1, 21)))
        np.testing.assert_allclose(divided.matrix(), band.matrix().T / np.arange(1, 21))
    empty = transposed(Band(4, np.full((2, 3), -1)))
    np.testing.assert_array_equal(mapped(np.ones((1, 1, 3)), (empty,)), np.zeros((1, 1, 4)))


def test_sums_of_windows():
    band = windows_band(6, np.array([-2, 0, 3, 5]), np.array([1, 3, 6, 9]))
    np.testing.assert_array_equal(band.matrix(), [
        [1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i2", "u1", "?", iskra.bfloat16.numpy])
def test_picking(size, dtype, monkeypatch):
    serve_small(monkeypatch)
    numbers = np.random.default_rng(0).normal(size=(2, 3, *size)) * 40
    array = (numbers > 0 if dtype == "?" else abs(numbers)).astype(dtype)
    for how in LAYOUTS:
        places = [np.sort(np.random.default_rng(i).integers(0, n, (1, 21)))
                  for i, n in enumerate(size)]
        bands = tuple(Band(n, p) for n, p in zip(size, places, strict=True))
        found, expected = on_both_tiers(monkeypatch, picked, laid_out(array, how), bands)
        assert found.dtype == expected.dtype
        assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_only_what_a_result_is_made_of_counts(monkeypatch):
    """NaN and infinities stay where they are, on both tiers."""
    x = iskra.ones(1, 1, 12, 40)
    x[0, 0, 5, 20] = float("nan")
    x[0, 0, 9, 3] = float("inf")
    for function in (
        lambda: F.avg_pool2d(x, 2).numpy(), lambda: F.adaptive_avg_pool2d(x, (5, 7)).numpy(),
        lambda: F.interpolate(x, scale_factor=1.5, mode="nearest").numpy(),
        lambda: F.interpolate(x, size=(7, 30), mode="bilinear").numpy(),
    ):
        found = check(monkeypatch, function)
        assert np.isnan(found).any() and not np.isnan(found).all()


CALLS = [
    lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
    lambda x: F.avg_pool2d(x, (2, 3), divisor_override=5), lambda x: F.avg_pool2d(x, (5, 4)),
    lambda x: F.adaptive_avg_pool2d(x, (3, 2)), lambda x: F.adaptive_avg_pool2d(x, (7, 9)),
    lambda x: F.interpolate(x, size=(7, 9), mode="bilinear"),
    lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    lambda x: F.interpolate(x, size=(3, 11), mode="bicubic"),
    lambda x: F.interpolate(x, size=(3, 2), mode="bilinear", antialias=True),
    lambda x: F.interpolate(x, scale_factor=(1.5, 2), mode="nearest"),
    lambda x: F.interpolate(x, size=(3, 9), mode="nearest-exact"),
    lambda x: F.interpolate(x, size=(3, 2), mode="area"),
]


@pytest.mark.parametrize("call", CALLS)
def test_operators_and_their_gradients(call, monkeypatch):
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 4))

    def run():
        x = iskra.from_numpy(values).requires_grad_()
        result = call(x)
        (gradient,) = iskra.autograd.grad((result * result).sum(), x)
        return result.detach().numpy(), gradient.numpy()

    for one, other in zip(*on_both_tiers(monkeypatch, run), strict=True):
        np.testing.assert_allclose(one, other, 1e-12, 1e-12)
    monkeypatch.setattr(graph, "LARGE", 1)
    x = iskra.from_numpy(values[:1, :1]).requires_grad_()
    assert iskra.autograd.gradcheck(call, x)
    assert iskra.autograd.gradgradcheck(call, x)


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreted(order, monkeypatch):
    serve_small(monkeypatch)
    tasks = check_each_call(monkeypatch, order)
    for size in SIZES:
        array = np.random.default_rng(0).normal(size=(2, 2, *size)).astype("f4")
        for taps in (2, 9):
            for weighted in (True, False):
                bands = tuple(random_band(n, 19, taps, i, weighted) for i, n in enumerate(size))
                mapped(array, bands)
        mapped(array, bands, ((3,) * 19,) * len(size))
        picked(array, tuple(Band(n, np.arange(2 * n)[None] // 2) for n in size))
    assert max(tasks) > 1


@pytest.mark.parametrize("shape", [(30, 8, 28, 30), (1, 1, 300, 290)])
def test_bits_do_not_depend_on_threads(shape):
    array = np.random.default_rng(0).normal(size=shape).astype("f4")
    bands = tuple(random_band(n, n + 5, 3, 0) for n in shape[2:])
    on_threads(lambda: [mapped(array, bands), picked(
        array, tuple(Band(n, np.arange(n)[None] // 2) for n in shape[2:]))])


def test_what_is_not_served(monkeypatch):
    """Rows or tables that are too large, and other dtypes, are NumPy's."""
    wide = Band(1 << 15, np.zeros((1, 2), np.int64))
    assert kernels.mapped(np.zeros((1, 1, 1 << 15)), (wide,)) is None
    assert kernels.mapped(np.zeros((1, 1, 4), "i4"), (random_band(4, 2, 1, 0),)) is None
    assert kernels.mapped(np.zeros((0, 1, 4)), (random_band(4, 2, 1, 0),)) is None
