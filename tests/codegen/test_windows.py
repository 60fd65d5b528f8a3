"""Windows in machine code: maxima and their places, columns, against NumPy's bodies."""

import itertools

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

import iskra
from iskra import graph
from iskra.codegen.kernels import windows
from iskra.codegen.kernels.windows import Grid
from iskra.nn import functional as F
from iskra.ops import adaptive_pool, pool
from iskra.ops.fold import columns_to_image, image_to_columns

# size, kernel, stride, padding, dilation, ceil_mode
CASES = [
    ((37,), (3,), (2,), (1,), (1,), False),
    ((40,), (5,), (1,), (2,), (3,), True),
    ((9, 35), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((8, 20), (2, 2), (2, 2), (0, 0), (1, 1), True),
    ((7, 50), (3, 2), (1, 3), (1, 1), (2, 1), True),
    ((6, 17), (3, 4), (2, 1), (1, 2), (1, 2), False),
    ((5, 6, 19), (2, 3, 3), (2, 1, 2), (1, 0, 1), (1, 2, 1), True),
    ((3, 4, 33), (3, 2, 2), (1, 2, 4), (1, 1, 1), (1, 1, 2), False),
]
DTYPES = ["f4", "f8", "i4", "i8", "i2", "u1"]


def grid_of(size, kernel, stride, padding, dilation, ceil_mode=False):
    output = tuple(
        pool.output_size(*v, ceil_mode)
        for v in zip(size, kernel, stride, padding, dilation, strict=True))
    return Grid(size, output, kernel, stride, padding, dilation)


def elements(shape, dtype, seed=5):
    """Few different numbers, so that many are equal."""
    found = np.floor(np.random.default_rng(seed).normal(size=shape) * 3)
    return (abs(found) if dtype == "u1" else found).astype(dtype)


def by_hand(array, grid):
    """Each window by itself: ``(the largest, its place)``."""
    values = np.empty((*array.shape[:2], *grid.output), array.dtype)
    places = np.empty(values.shape, np.int64)
    for place in np.ndindex(*grid.output):
        axes = [
            [i for i in range(o * s - p, o * s - p + k * d, d) if 0 <= i < n]
            for o, s, p, k, d, n in zip(
                place, grid.stride, grid.padding, grid.kernel, grid.dilation, grid.size,
                strict=True)]
        inside = [np.ravel_multi_index(i, grid.size) for i in itertools.product(*axes)]
        for plane in np.ndindex(*array.shape[:2]):
            seen = array[plane].reshape(-1)[inside]
            absent = np.flatnonzero(seen != seen)
            best = absent[-1] if absent.size else seen.argmax()
            values[(*plane, *place)], places[(*plane, *place)] = seen[best], inside[best]
    return values, places


def check_maxima(array, grid, expected=None):
    expected = by_hand(array, grid) if expected is None else expected
    found = windows.maxima(array, grid)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    values, places = windows.maxima(array, grid, False)
    assert places is None
    np.testing.assert_array_equal(values, expected[0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_maxima(case, dtype, monkeypatch):
    serve_small(monkeypatch)
    grid = grid_of(*case)
    array = elements((2, 3, *case[0]), dtype)
    expected = by_hand(array, grid)
    for how in LAYOUTS:
        check_maxima(laid_out(array, how), grid, expected)


@pytest.mark.parametrize("case", CASES)
def test_maxima_of_special_values(case, monkeypatch):
    """NaN wins wherever it stands; of nothing but the lowest number, padding is not taken."""
    serve_small(monkeypatch)
    grid = grid_of(*case)
    array = elements((1, 2, *case[0]), "f4")
    array.reshape(-1)[::11] = np.nan
    array.reshape(-1)[3::13] = np.inf
    check_maxima(array, grid)
    check_maxima(np.full((1, 1, *case[0]), -np.inf, "f4"), grid)
    check_maxima(np.full((1, 1, *case[0]), np.iinfo("i4").min, "i4"), grid)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_numpys_body_agrees(case, dtype, monkeypatch):
    size, *settings = case
    for array in (elements((2, 3, *size), dtype),
                  np.full((1, 1, *size), pool._lowest(np.dtype(dtype)), dtype)):
        tensor = iskra.from_numpy(array)
        results = []
        for large in (1, 1 << 40):
            monkeypatch.setattr(graph, "LARGE", large)
            results.append(pool.max_windows(tensor, *settings))
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


# Sizes of planes, and of the grids of windows that tile them.
TILINGS = [((37,), (5,)), ((5, 35), (5, 7)), ((9, 40), (4, 17)), ((4, 3), (7, 5)),
           ((5, 6, 19), (2, 4, 5)), ((4, 6, 9), (2, 3, 3)), ((1, 1, 1), (1, 1, 1))]


def in_bounds(array, bounds):
    """Each window by itself, given where windows begin and end in each plane."""
    sizes = [b.shape[-1] for b, _ in bounds]
    values = np.empty((*array.shape[:2], *sizes), array.dtype)
    places = np.empty(values.shape, np.int64)
    for n, c, *cell in np.ndindex(*values.shape):
        axes = [range(b[n, c, i], e[n, c, i]) for (b, e), i in zip(bounds, cell, strict=True)]
        inside = [np.ravel_multi_index(i, array.shape[2:]) for i in itertools.product(*axes)]
        seen = array[n, c].reshape(-1)[inside]
        absent = np.flatnonzero(seen != seen)
        best = absent[-1] if absent.size else seen.argmax()
        values[(n, c, *cell)], places[(n, c, *cell)] = seen[best], inside[best]
    return values, places


@pytest.mark.parametrize(("size", "output"), TILINGS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("how", LAYOUTS[:3])
def test_adaptive_maxima(size, output, dtype, how, monkeypatch):
    serve_small(monkeypatch)
    array = elements((2, 3, *size), dtype)
    array.reshape(-1)[::7] = np.nan
    array.reshape(-1)[3::5] = -np.inf
    bounds = [adaptive_pool._bounds(*n) for n in zip(size, output, strict=True)]
    everywhere = [[np.broadcast_to(b, (2, 3, len(b))) for b in pair] for pair in bounds]
    expected = in_bounds(array, everywhere)
    for large in (1, 1 << 40):
        monkeypatch.setattr(graph, "LARGE", large)
        found = adaptive_pool.adaptive_maxima(iskra.from_numpy(laid_out(array, how)), output)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.parametrize(("size", "kernel", "output"), [
    ((9, 20), (2, 3), (4, 7)), ((5, 40), (1, 2), (5, 39)), ((4, 6, 9), (2, 2, 3), (2, 5, 1))])
def test_fractional_maxima(size, kernel, output, monkeypatch):
    serve_small(monkeypatch)
    array = elements((2, 3, *size), "f4")
    array.reshape(-1)[::7] = np.nan
    samples = np.random.default_rng(3).random((2, 3, len(size)), np.float32)
    results = []
    for large in (1, 1 << 40):
        monkeypatch.setattr(graph, "LARGE", large)
        results.append(adaptive_pool.fractional_maxima(
            iskra.from_numpy(array), iskra.from_numpy(samples), kernel, output))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_spread(case, dtype, monkeypatch):
    serve_small(monkeypatch)
    grid = grid_of(*case)
    array = elements((2, 3, *case[0]), dtype)
    values, places = windows.maxima(array, grid)
    grad = elements(values.shape, dtype, 6)
    expected = np.zeros(array.shape, dtype)
    for plane in np.ndindex(2, 3):
        np.add.at(expected[plane].reshape(-1), places[plane].reshape(-1), grad[plane].reshape(-1))
    for how in LAYOUTS:
        found = windows.spread(laid_out(grad, how), laid_out(places, how), array.shape)
        np.testing.assert_array_equal(found, expected)


IMAGES = [case[:5] for case in CASES if len(case[0]) == 2] + [
    ((9, 35), (2, 4), (2, 4), (0, 0), (1, 1)), ((8, 34), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((5, 48), (5, 16), (5, 16), (0, 0), (1, 1))]


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("how", LAYOUTS[:3])
def test_columns(case, dtype, how, monkeypatch):
    size, kernel, stride, padding, dilation = case
    image = iskra.from_numpy(laid_out(elements((2, 3, *size), dtype), how))
    results = []
    for large in (1, 1 << 40):
        monkeypatch.setattr(graph, "LARGE", large)
        columns = image_to_columns(image, kernel, dilation, padding, stride)
        results.append([columns])
        if dtype != "i4" or kernel == stride:
            columns = iskra.from_numpy(laid_out(elements(columns.shape, dtype, 6), how))
            back = columns_to_image(columns, size, kernel, dilation, padding, stride)
            results[-1].append(back)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "i2", "u1", "?"])
@pytest.mark.parametrize(("shape", "factor"), [
    ((2, 8, 3, 17), 2), ((9, 2, 5), 3), ((2, 2, 16, 4, 4), 4), ((1, 3, 5, 6), 1)])
def test_pixels(shape, factor, dtype, monkeypatch):
    array = iskra.from_numpy(elements(shape, dtype))
    results = []
    for large in (1, 1 << 40):
        monkeypatch.setattr(graph, "LARGE", large)
        shuffled = F.pixel_shuffle(array, factor)
        results.append([shuffled, F.pixel_unshuffle(shuffled, factor)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    np.testing.assert_array_equal(results[0][1].numpy(), array.numpy())
    assert F.pixel_shuffle(iskra.ones(0, 4, 3, 3), 2).shape == (0, 1, 6, 6)


RESIZED = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "dilated max_pool2d": lambda x: F.max_pool2d(x, (2, 3), 1, (1, 0), 2, True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2, ceil_mode=True),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "tiling adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (4, 3)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (5, 4)),
    "nearest": lambda x: F.interpolate(x, size=(11, 4)),
    "bilinear": lambda x: F.interpolate(x, size=(5, 13), mode="bilinear"),
}


@pytest.mark.parametrize("name", RESIZED)
@pytest.mark.parametrize("large", [1, 1 << 40])
@pytest.mark.parametrize("channels", [3, 17])
def test_channels_that_come_last_stay_last(name, large, channels, monkeypatch):
    """In results and gradients, whose values are the same as ever."""
    serve_small(monkeypatch)
    monkeypatch.setattr(graph, "LARGE", large)
    array = elements((2, channels, 8, 9), "f4")
    array.reshape(-1)[::7] = np.nan
    results = []
    for layout in (iskra.contiguous_format, iskra.channels_last):
        x = iskra.from_numpy(array).contiguous(memory_format=layout).requires_grad_()
        result = RESIZED[name](x)
        weights = iskra.from_numpy(elements(result.shape, "f4", 6)).contiguous(memory_format=layout)
        (gradient,) = iskra.autograd.grad(result, x, weights)
        assert result.is_contiguous(memory_format=layout)
        assert gradient.is_contiguous(memory_format=layout)
        results.append((result.detach(), gradient))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), 1e-6, 1e-6)


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreted(order, monkeypatch):
    serve_small(monkeypatch)
    tasks = check_each_call(monkeypatch, order)
    for case in CASES:
        grid = grid_of(*case)
        for dtype in ("f4", "i2"):
            array = elements((1, 2, *case[0]), dtype)
            check_maxima(array, grid)
        values, places = windows.maxima(array.astype("f8"), grid)
        windows.spread(values, places, array.shape)
    for case in IMAGES:
        grid = grid_of(*case)
        columns = windows.unfold(elements((1, 2, *case[0]), "f4"), grid)
        windows.fold(columns, grid)
        windows.fold(columns.astype("f8"), grid)
    for size, output in TILINGS:
        bounds = [adaptive_pool._bounds(*n) for n in zip(size, output, strict=True)]
        windows.bounded_maxima(elements((2, 3, *size), "f4"), bounds)
        own = [[np.broadcast_to(b, (2, 3, len(b))) for b in pair] for pair in bounds]
        windows.bounded_maxima(elements((2, 3, *size), "i2"), own)
    monkeypatch.setattr(graph, "LARGE", 1)
    for function in RESIZED.values():
        x = iskra.from_numpy(elements((2, 18, 8, 9), "f4")).contiguous(
            memory_format=iskra.channels_last).requires_grad_()
        (function(x) ** 2).sum().backward()
    assert max(tasks) > 1


@pytest.mark.parametrize("shape", [(40, 8, 28, 30), (1, 1, 300, 290)])
def test_bits_do_not_depend_on_threads(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    grid = grid_of(shape[2:], (3, 3), (2, 2), (1, 1), (1, 1))

    def results():
        values, places = windows.maxima(x, grid)
        columns = windows.unfold(x, grid)
        bounded = windows.bounded_maxima(x, [adaptive_pool._bounds(n, 9) for n in shape[2:]])
        return (values, places, windows.spread(values, places, shape), columns,
                windows.fold(columns, grid), *bounded)

    on_threads(results)


def test_derivatives_of_large_pools(monkeypatch):
    monkeypatch.setattr(graph, "LARGE", 1)
    x = iskra.from_numpy(np.random.default_rng(0).permutation(70).reshape(1, 2, 5, 7) * 1.0)
    x.requires_grad_()
    for function in (lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.unfold(x, 2, padding=1) ** 2,
                     lambda x: F.unfold(x, 2, stride=2) ** 2,
                     lambda x: F.adaptive_max_pool2d(x, (3, 4)) ** 2):
        assert iskra.autograd.gradcheck(function, x)
        assert iskra.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("dtype", [iskra.bfloat16, iskra.float16, iskra.float32])
def test_half_precision_goes_by_float32(dtype, monkeypatch):
    monkeypatch.setattr(graph, "LARGE", 1)
    x = iskra.from_numpy(elements((1, 2, 9, 20), "f4")).to(dtype).requires_grad_()
    result = F.max_pool2d(x, 2)
    result.sum().backward()
    assert result.dtype is dtype and x.grad.dtype is dtype
    assert x.grad.sum().item() == result.numel()
