"""Sorting by kernels: against NumPy's stable sort, element for element and place for place."""

import numpy as np
import pytest
from codegen.handwritten import LAYOUTS, check_each_call, laid_out, on_threads, serve_small

from iskra.codegen.kernels import sorts
from iskra.core import dtypes

DTYPES = ["f4", "f8", "f2", "bfloat16", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
SHAPES = [(1,), (2,), (16,), (17,), (128,), (129,), (300,), (2100,), (5, 37), (3, 140), (2, 9, 3),
          (4, 1), (2, 150, 3)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-40, -1e-40, 3e38, -3e38]


def dtype_of(name):
    return dtypes.bfloat16.numpy if name == "bfloat16" else np.dtype(name)


def elements(shape, name, seed=3):
    """Few distinct values, so that many are equal; of floats every special one."""
    random = np.random.default_rng(seed)
    found = np.round(random.normal(size=shape) * 20)
    dtype = dtype_of(name)
    if dtype.kind in "fV":
        special = random.choice(SPECIAL, size=shape)
        found = np.where(random.random(shape) < 0.4, special, found)
    with np.errstate(all="ignore"):
        return found.astype(np.int64).astype(dtype) if dtype.kind in "iub" else found.astype(dtype)


def order_of(array, axis, descending):
    wide = array.astype(np.float32) if array.dtype.kind == "V" else array
    if not descending:
        return np.argsort(wide, axis=axis, kind="stable")
    turned = np.argsort(np.flip(wide, axis), axis=axis, kind="stable")
    return array.shape[axis] - 1 - np.flip(turned, axis)


def check_sort(array, axis, descending, kept=None):
    values, places = sorts.sort(array, axis, descending, kept)
    order = order_of(array, axis, descending)
    order = np.take(order, np.arange(array.shape[axis] if kept is None else kept), axis)
    np.testing.assert_array_equal(places, order)
    assert places.dtype == np.int64 and values.dtype == array.dtype
    # Bit for bit: zeros keep their signs, and NaN their payloads.
    assert values.tobytes() == np.take_along_axis(array, order, axis).tobytes()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", DTYPES)
def test_sort(name, descending, monkeypatch):
    serve_small(monkeypatch)
    monkeypatch.setattr(sorts, "CHUNK", 70)     # so that a row of 300 is cut
    for shape in SHAPES:
        for axis in range(len(shape)):
            array = elements(shape, name)
            for how in LAYOUTS:
                check_sort(laid_out(array, how), axis, descending)
            for kept in {1, 2, 40} & set(range(shape[axis] + 1)):
                check_sort(array, axis, descending, kept)


@pytest.mark.parametrize("name", ["f4", "f8", "i8", "i2"])
def test_few_of_many(name):
    """Where the best come last, and the buffer fills up again and again."""
    for array in (np.arange(5000), np.arange(5000)[::-1], np.arange(5000) % 7, np.zeros(5000)):
        for kept in (1, 3, 60, 600):
            for descending in (False, True):
                check_sort(array.astype(name), 0, descending, kept)


@pytest.mark.parametrize("name", ["i8", "u8"])
@pytest.mark.parametrize("span", [0, 1, 255, 256, (1 << 32) - 1, 1 << 32, (1 << 40), (1 << 63) - 1])
def test_integers_far_from_each_other(name, span):
    """Near ones are sorted by the distance from the least."""
    kind = np.iinfo(name)
    for least in {kind.min, 0, kind.max - span}:
        array = np.random.default_rng(1).integers(least, least + span, 400, name, endpoint=True)
        array[5], array[9] = least, least + span
        for descending in (False, True):
            check_sort(array, 0, descending)


@pytest.mark.parametrize("name", DTYPES)
def test_modes_and_medians(name):
    for shape in [(1,), (2,), (40,), (200,), (3, 150), (7, 3)]:
        array = elements(shape, name, 4)
        axis = len(shape) - 1
        rows, order = array.reshape(-1, shape[-1]), order_of(array, axis, False)
        order = order.reshape(rows.shape)
        modes, medians = sorts.mode(array, axis), sorts.median(array, axis, False)
        skipping = sorts.median(array, axis, True)
        ranked = sorts.ranked(array, axis, shape[-1] // 3)
        for r, (row, places) in enumerate(zip(rows, order, strict=True)):
            missing = np.isnan(row.astype(np.float64))
            numbers = len(row) - missing.sum()
            rank = numbers if numbers < len(row) else (len(row) - 1) // 2
            assert ranked[1].flat[r] == places[shape[-1] // 3]
            assert medians[1].flat[r] == places[rank]
            assert skipping[1].flat[r] == places[max(numbers - 1, 0) // 2]
            counts = [(row == element).sum() or 1 for element in row[places]]
            first = row[places][int(np.argmax(counts))]
            wanted = np.flatnonzero(row == first)
            wanted = wanted[-1] if len(wanted) else places[int(np.argmax(counts))]
            assert modes[1].flat[r] == wanted
            for values, chosen in (modes, medians, skipping, ranked):
                assert values.reshape(-1)[r].tobytes() == row[chosen.flat[r]].tobytes()


@pytest.mark.parametrize("name", ["f4", "f8", "bfloat16", "i8", "u1"])
@pytest.mark.parametrize("length", [1, 20, 140])
def test_interpreter_agrees(name, length, monkeypatch):
    """Bounds and races are looked at too."""
    serve_small(monkeypatch)
    monkeypatch.setattr(sorts, "SHORT", 32)
    seen = check_each_call(monkeypatch)
    array = elements((3, length), name)
    sorts.sort(array, 1, True)
    sorts.sort(array, 1, False, min(3, length))
    sorts.mode(array, 1)
    sorts.median(array, 1, True)
    sorts.ranked(array, 1, length // 2)
    assert len(seen) == 5 and (length < 64 or max(seen) > 1)


@pytest.mark.parametrize("name", ["f4", "f8", "bfloat16", "i8"])
def test_interpreter_agrees_on_long_rows(name, monkeypatch):
    serve_small(monkeypatch)
    monkeypatch.setattr(sorts, "CHUNK", 48)
    monkeypatch.setattr(sorts, "empty", np.zeros)
    seen = check_each_call(monkeypatch)
    check_sort(elements((210,), name), 0, True)
    assert max(seen) > 1


def test_threads_change_nothing(monkeypatch):
    serve_small(monkeypatch)
    array = elements((50, 130), "f4")
    on_threads(lambda: sorts.sort(array, 1))
    on_threads(lambda: sorts.sort(array, 1, True, 4))
    on_threads(lambda: sorts.median(array, 0, False))
    monkeypatch.setattr(sorts, "CHUNK", 1000)
    on_threads(lambda: sorts.sort(array.reshape(-1), 0))


def test_what_is_not_served():
    assert sorts.sort(np.zeros(5, complex), 0) is None
    assert sorts.sort(np.zeros(5, ">f4"), 0) is None
    assert sorts.mode(np.zeros((0, 3), np.float32), 1) is None
