"""Copies between arrays of whatever strides, and triangles, in machine code: against NumPy."""

import numpy as np
import pytest
from codegen.handwritten import check_each_call, on_threads, serve_small

from iskra.codegen.kernels import copies

DTYPES = ["f4", "f8", "i8", "i2", "u1", "?", "c8", "c16", "f2"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    serve_small(monkeypatch)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def elements(rng, shape, dtype):
    return (rng.normal(size=shape) * 20).astype(dtype)


def some_view(rng, shape, dtype):
    """An array of this shape with axes in any order, steps of any sign, or none."""
    order = rng.permutation(len(shape))
    held = elements(rng, [2 * shape[axis] for axis in order], dtype)
    held = held[tuple(slice(None, None, int(rng.choice([-2, -1, 1, 2]))) for _ in shape)]
    held = held[tuple(slice(shape[axis]) for axis in order)].transpose(np.argsort(order))
    flat = rng.integers(0, 2 * len(shape))
    if flat < len(shape):
        held = np.broadcast_to(held[(slice(None),) * flat + (slice(1),)], shape)
    return held


def targets(shape, dtype):
    """Arrays to write to: one of its own, a part with its axes turned round, one of steps."""
    yield np.zeros(shape, dtype)
    yield np.zeros([n + 2 for n in shape[::-1]], dtype)[(slice(1, -1),) * len(shape)].T
    yield np.zeros([2 * n for n in shape], dtype)[(slice(None, None, -2),) * len(shape)]


SHAPES = [(1,), (131,), (5, 131), (40, 37), (4, 1, 37), (3, 20, 17), (2, 9, 3, 18)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_any_strides(dtype, shape, rng):
    for _ in range(6):
        source = some_view(rng, shape, dtype)
        for target in targets(shape, dtype):
            around = target if target.base is None else target.base
            assert copies.put(target, source)
            np.testing.assert_array_equal(target, source)
            assert np.count_nonzero(around) == np.count_nonzero(source)  # nothing beside it


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [False, True])
def test_triangles(dtype, upper, rng):
    for shape in [(5, 131), (40, 37), (3, 20, 17), (1, 1), (2, 2, 1, 5)]:
        source = elements(rng, shape, dtype)
        for start in (-200, -3, 0, 1, 2, 30, 200):
            cut = np.triu(source, start) if upper else np.tril(source, start - 1)
            for given in (source, np.asfortranarray(source)):
                np.testing.assert_array_equal(copies.triangle(given, start, upper), cut)


def test_what_is_not_served(rng):
    few = elements(rng, (4, 4), "f4")
    assert not copies.put(np.empty((4, 4), object), few.astype(object))
    assert not copies.put(np.empty((0, 4), "f4"), few[:0])
    records = np.zeros(4, [("byte", "u1"), ("number", "<f4")])
    assert not copies.put(np.empty(4, "f4"), records["number"])  # elements between the words
    assert copies.triangle(few[:0], 0, True) is None


@pytest.mark.parametrize("dtype", ["f4", "u1", "c16"])
def test_interpreted(dtype, rng, monkeypatch):
    tasks = check_each_call(monkeypatch)
    for shape in [(150,), (5, 131), (40, 37), (3, 20, 17), (2, 9, 3, 18)]:
        for _ in range(3):
            source = some_view(rng, shape, dtype)
            for target in targets(shape, dtype):
                assert copies.put(target, source)
    copies.triangle(elements(rng, (3, 20, 17), dtype), 2, True)
    copies.triangle(elements(rng, (3, 20, 17), dtype), 2, False)
    assert max(tasks) > 1


def test_rows_are_cut_into_pieces(rng, monkeypatch):
    monkeypatch.setattr(copies, "PIECE", 32)
    copies._plan.cache_clear()
    source = elements(rng, (3, 1000), "f4")
    for view in (source, source[:, ::-1], np.broadcast_to(source[:, :1], source.shape),
                 source[:, ::3], source.T):
        def copy(view=view):
            target = np.zeros(view.shape, view.dtype)
            assert copies.put(target, view)
            return [target]

        np.testing.assert_array_equal(on_threads(copy)[0], view)
    copies._plan.cache_clear()
