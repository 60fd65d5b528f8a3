"""Reading and writing at points in machine code: against NumPy."""

import numpy as np
import pytest
from codegen.handwritten import check_each_call, serve_small

from iskra.codegen.kernels import points


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    serve_small(monkeypatch)
    return check_each_call(monkeypatch)


def cases(rng, dtype):
    """Arrays, index arrays, and the dimension at which they begin."""
    for shape, count, dim in [((5, 7), 2, 0), ((5, 7, 3), 2, 0), ((4, 5, 7), 2, 1),
                              ((3, 4, 5, 2), 3, 0), ((9,), 1, 0), ((2, 9, 17), 1, 1)]:
        array = (rng.normal(size=shape) * 20).astype(dtype)
        for kind, index_shapes in [
                ("i8", [(11,)] * count), ("i4", [(3, 1), (6,), (1, 1)][:count]),
                ("i8", [(2, 1, 3), (4, 1), ()][:count])]:
            indices = [rng.integers(-n, n, s).astype(kind)
                       for n, s in zip(shape[dim:], index_shapes)]
            yield array, indices, dim


def entries(indices, dim):
    return (slice(None),) * dim + tuple(indices)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "c8"])
def test_reading(dtype):
    rng = np.random.default_rng(3)
    for array, indices, dim in cases(rng, dtype):
        for given in (array, np.asfortranarray(array)):
            found = points.take(given, indices, dim)
            np.testing.assert_array_equal(found, array[entries(indices, dim)])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "c8"])
@pytest.mark.parametrize("how", ["set", "add"])
def test_writing(how, dtype):
    rng = np.random.default_rng(3)
    for array, indices, dim in cases(rng, dtype):
        place = entries(indices, dim)
        values = (rng.normal(size=array[place].shape) * 9).astype(dtype)
        target, expected = array.copy(), array.copy()
        done = points.write(how, target, indices, values, dim)
        assert done == (how == "set" or dtype != "c8")
        if how == "set":
            expected[place] = values
        else:
            np.add.at(expected, place, values)
        if done:
            np.testing.assert_allclose(target, expected, 1e-5, 1e-5)


def test_what_is_not_served():
    array, index = np.ones((4, 5), "f4"), np.array([1, 2])
    for wrong in (4, -5, 2**40):
        assert points.take(array, [np.array([0, wrong]), index], 0) is None
        assert not points.write("add", array.copy(), [np.array([0, wrong]), index],
                                np.ones(2, "f4"), 0)
    assert points.take(array, [index, np.array([1, 2, 3])], 0) is None
    assert points.take(array, [index[:0], index[:0]], 0) is None
    assert points.take(array, [index.astype("i2"), index], 0) is None
    assert points.take(array, [index > 1, index], 0) is None
    assert not points.write("set", array.T, [index, index], np.ones(2, "f4"), 0)
    assert not points.write("set", array, [index, index], np.ones(3, "f4"), 0)
    assert not points.write("set", array, [index, index], np.ones(2), 0)
    assert not points.write("add", array.astype("f2"), [index, index], np.ones(2, "f2"), 0)
