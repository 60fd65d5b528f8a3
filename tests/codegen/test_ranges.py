"""Evenly spaced values and places of triangles in machine code: the bits of NumPy's formulas."""

import numpy as np
import pytest
from codegen.handwritten import check_each_call, on_threads, serve_small

import iskra
from iskra import graph
from iskra.codegen.kernels import ranges


@pytest.fixture
def interpreted(monkeypatch):
    serve_small(monkeypatch)
    return check_each_call(monkeypatch)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8"])
def test_from_one_end(dtype, interpreted):
    for start, step, count in [(0, 1, 5), (-7, 3, 131), (5, -2, 16), (2**31 - 2, 1, 40)]:
        found = ranges.evenly_spaced(start, step, count, np.dtype(dtype))
        expected = (start + np.arange(count) * step).astype(dtype)
        np.testing.assert_array_equal(found, expected)
    assert ranges.evenly_spaced(0, 1, 0, np.dtype(dtype)) is None
    assert ranges.evenly_spaced(0, 1, 9, np.dtype("i2")) is None
    assert ranges.evenly_spaced(2**63, 1, 9, np.dtype("i8")) is None


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_from_both_ends(dtype, interpreted):
    for start, end, count in [(0.0, 1.0, 131), (-3.5, 2.25, 32), (1.0, -1e9, 77)]:
        step = (end - start) / (count - 1)
        places = np.arange(count)
        expected = np.where(places < count // 2, start + step * places,
                            end - step * (count - 1 - places)).astype(dtype)
        found = ranges.evenly_spaced(start, step, count, np.dtype(dtype), end)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["i4", "i8"])
@pytest.mark.parametrize("upper", [False, True])
def test_places_of_triangles(dtype, upper, interpreted):
    for rows, columns in [(5, 7), (40, 19), (3, 64), (1, 1)]:
        for offset in (-50, -2, 0, 1, 17, 70):
            select = np.triu_indices if upper else np.tril_indices
            expected = np.stack(select(rows, offset, columns))
            start = offset if upper else offset + 1
            found = ranges.triangle_places(rows, columns, start, upper, np.dtype(dtype))
            np.testing.assert_array_equal(found, expected)


def test_on_threads():
    found = on_threads(lambda: [
        iskra.arange(200_000).numpy(), iskra.linspace(-1, 3, 150_000).numpy(),
        iskra.triu_indices(300, 400).numpy(), iskra.full((300, 400), 2.5).numpy()])
    np.testing.assert_array_equal(found[0], np.arange(200_000))
    np.testing.assert_array_equal(found[2], np.stack(np.triu_indices(300, 0, 400)))
    assert (found[3] == 2.5).all()


@pytest.mark.parametrize("dtype", [iskra.float32, iskra.float64, iskra.bfloat16, iskra.int64])
def test_both_tiers_agree(dtype, monkeypatch):
    def made():
        return [iskra.linspace(-3.7, 812.9, 5001, dtype=dtype),
                iskra.logspace(-1.5, 2.5, 5001, dtype=dtype), iskra.full((70, 80), -3, dtype=dtype),
                iskra.arange(-11, 9001, 2, dtype=dtype), iskra.ones(70, 80, dtype=dtype)]

    by_kernels = made()
    monkeypatch.setattr(graph, "LARGE", graph.NEVER)
    for one, other in zip(by_kernels, made(), strict=True):
        assert one.dtype is other.dtype and one.eq(other).all()
