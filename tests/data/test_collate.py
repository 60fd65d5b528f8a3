"""`default_collate`, `default_convert` and collating one's own types."""

from collections import OrderedDict, UserList, defaultdict, namedtuple

import numpy as np
import pytest

import iskra
from iskra.data.collate import collate, default_collate_fn_map
from iskra.utils.data import default_collate, default_convert

Point = namedtuple("Point", "x y")


def plain(value):
    """Tensors as (dtype, list), to be compared."""
    if isinstance(value, iskra.Tensor):
        return str(value.dtype).split(".")[-1], value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Point):
        return Point(*map(plain, value))
    return [plain(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("batch, expected", [
    ([1, 2], ("int64", [1, 2])),
    ([1.5, 2.0], ("float64", [1.5, 2.0])),
    ([1, 2.5], ("float32", [1.0, 2.5])),
    ([True, False], ("bool", [True, False])),
    ([2**40], ("int64", [2**40])),
    ([np.float64(1), np.float64(2)], ("float64", [1, 2])),
    ([np.int32(1)], ("int32", [1])),
    ([np.array([1, 2])], ("int64", [[1, 2]])),
    ([np.array(1.5)], ("float64", [1.5])),
    (["a", "b"], ["a", "b"]),
    ([b"x"], [b"x"]),
    ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], {"a": ("int64", [1, 2]), "b": ["x", "y"]}),
    ([(1, 2.0), (3, 4.0)], [("int64", [1, 3]), ("float64", [2, 4])]),
    ([[1, 2], [3, 4]], [("int64", [1, 3]), ("int64", [2, 4])]),
    ([Point(1, "a"), Point(2, "b")], Point(("int64", [1, 2]), ["a", "b"])),
    ([range(2), range(2)], [("int64", [0, 0]), ("int64", [1, 1])]),
    ([[], []], []),
])
def test_what_collating_gives(batch, expected):
    assert plain(default_collate(batch)) == expected


def test_tensors_are_stacked():
    batch = default_collate([iskra.ones(2, 3), iskra.zeros(2, 3)])
    assert batch.shape == (2, 2, 3) and batch.dtype is iskra.float32
    strided = iskra.arange(6).reshape(2, 3).T
    assert default_collate([strided, strided])[1].tolist() == strided.tolist()
    assert default_collate([iskra.empty(0), iskra.empty(0)]).shape == (2, 0)
    assert default_collate([iskra.tensor(1), iskra.tensor(2)]).tolist() == [1, 2]


def test_classes_are_kept():
    factory = defaultdict(list, a=1)
    result = default_collate([factory, factory])
    assert isinstance(result, defaultdict) and result.default_factory is list
    assert result["a"].tolist() == [1, 1] and factory["a"] == 1
    assert isinstance(default_collate([OrderedDict(a=1)]), OrderedDict)
    assert isinstance(default_collate([UserList([1])]), UserList)


@pytest.mark.parametrize("batch, error, match", [
    ([None], TypeError, "NoneType"),
    ([object()], TypeError, "object"),
    ([1 + 2j], TypeError, "complex"),
    ([np.array(["a"])], TypeError, "<U1"),
    ([], IndexError, "index"),
    ([{"a": 1}, {"b": 1}], KeyError, "a"),
    ([(1, 2), (3,)], RuntimeError, "equal size.*\\[1, 2\\]"),
    ([iskra.ones(2), iskra.ones(3)], RuntimeError, "size"),
])
def test_errors(batch, error, match):
    with pytest.raises(error, match=match):
        default_collate(batch)


@pytest.mark.parametrize("data, expected", [
    (1, 1), ("a", "a"), (None, None), ([1, "a"], [1, "a"]),
    (np.array([1, 2]), ("int64", [1, 2])),
    (np.float32(2), ("float32", 2.0)),
    ({"a": np.array(1)}, {"a": ("int64", 1)}),
    ((np.array(1), 2), [("int64", 1), 2]),
    (Point(np.array(1), 2), Point(("int64", 1), 2)),
])
def test_converting(data, expected):
    assert plain(default_convert(data)) == expected


def test_converting_leaves_text_arrays_and_tensors():
    text, tensor = np.array(["a"]), iskra.ones(1)
    assert default_convert(text) is text and default_convert(tensor) is tensor


def test_types_of_ones_own():
    class Box:
        def __init__(self, value):
            self.value = value

    class SmallBox(Box):
        pass

    def boxes(batch, *, collate_fn_map):
        return Box(collate([box.value for box in batch], collate_fn_map=collate_fn_map))

    functions = {**default_collate_fn_map, Box: boxes}
    result = collate([{"x": SmallBox(1)}, {"x": Box(2)}], collate_fn_map=functions)
    assert result["x"].value.tolist() == [1, 2]
    default_collate_fn_map[Box] = boxes
    try:
        assert default_collate([Box(1.0)]).value.tolist() == [1.0]
    finally:
        del default_collate_fn_map[Box]
