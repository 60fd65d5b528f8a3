"""Counting and searching by kernels: against NumPy's."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small
from codegen.test_sorts import DTYPES, elements

from iskra.codegen.kernels import counts, searches

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def wide(array):
    return array.astype(np.float32) if array.dtype.kind == "V" else array


@pytest.mark.parametrize("name", INTEGERS)
def test_counts(name):
    random = np.random.default_rng(1)
    for length in (1, 2, 3, 4, 5, 1000):
        for most in (1, 5, 100):
            x = random.integers(0, most, length).astype(name)
            for size in (most, most + 7):
                for how in LAYOUTS:
                    found = counts.count(laid_out(x, how), size)
                    assert found.dtype == np.int64
                    np.testing.assert_array_equal(found, np.bincount(x.astype(int), None, size))
                for weight in ("f4", "f8", "i8"):
                    w = (random.normal(size=length) * 9).astype(weight)
                    np.testing.assert_array_equal(
                        counts.count(x, size, w), np.bincount(x.astype(int), w, size))


def test_what_is_not_counted():
    assert counts.count(np.zeros(3), 1) is None
    assert counts.count(np.zeros(0, int), 1) is None
    assert counts.count(np.zeros(3, int), 1, np.zeros(3, complex)) is None


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("name", DTYPES)
def test_searches(name, right, monkeypatch):
    serve_small(monkeypatch)
    monkeypatch.setattr(searches, "PIECE", 48)
    side = "right" if right else "left"
    for size in (1, 2, 3, 7, 8, 9, 100):
        order = np.argsort(wide(elements((size,), name)), kind="stable")
        row = elements((size,), name)[order]
        for shape in ((1,), (16,), (17,), (5, 30), ()):
            x = elements(shape, name, 8)
            for how in LAYOUTS if x.ndim else ["rows"]:
                found = searches.search(row, laid_out(x, how), right)
                assert found.dtype == np.int64 and found.shape == shape
                np.testing.assert_array_equal(found, np.searchsorted(wide(row), wide(x), side))
    many = elements((3, 4, 20), name)
    rows = np.take_along_axis(many, np.argsort(wide(many), axis=-1, kind="stable"), -1)
    x = elements((3, 4, 100), name, 9)
    found = searches.search(rows, x, right)
    for place in np.ndindex(3, 4):
        np.testing.assert_array_equal(
            found[place], np.searchsorted(wide(rows[place]), wide(x[place]), side))


def test_interpreter_agrees(monkeypatch):
    serve_small(monkeypatch)
    monkeypatch.setattr(searches, "PIECE", 32)
    seen = check_each_call(monkeypatch)
    random = np.random.default_rng(4)
    for name in ("f4", "bfloat16", "i8"):
        searches.search(np.sort(elements((21,), "i2")).astype(elements((1,), name).dtype),
                        elements((4, 50), name), True)
    assert max(seen) > 1
    counts.count(random.integers(0, 3, 101), 3)
    counts.count(random.integers(0, 3, 101), 30, random.normal(size=101))


def test_threads_change_nothing(monkeypatch):
    serve_small(monkeypatch)
    row, x = np.sort(elements((99,), "i4")), elements((70, 90), "i4")
    on_threads(lambda: [searches.search(row, x, False)])
