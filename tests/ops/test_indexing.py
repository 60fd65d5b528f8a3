"""Brackets: what they pick, where they write, their errors; and random indices beside PyTorch."""

import random

import numpy as np
import pytest

import iskra


def grid():
    return iskra.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize("index, node", [
    (0, "SelectBackward0"), (-1, "SelectBackward0"), (slice(1, None), "SliceBackward0"),
    (slice(None), "SliceBackward0"), (None, "UnsqueezeBackward0"), (..., "AliasBackward0"),
    ((0, slice(1, 3)), "SliceBackward0"), ((slice(None), 2), "SelectBackward0"),
    ((..., 0), "SelectBackward0"), ((slice(None), None), "UnsqueezeBackward0"),
    ((1, 2), "SelectBackward0"), ((slice(0, 3, 2), slice(0, 99)), "SliceBackward0"), ((), None),
    ((None, 0, ..., None), "UnsqueezeBackward0"), (slice(2, 1), "SliceBackward0"),
])
def test_basic_indices_are_views(index, node):
    x = grid().requires_grad_()
    y = x[index]
    np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy()[index])
    assert y._is_view() and y.grad_fn.name() == (node or "AliasBackward0")
    y.sum().backward()
    expected = np.zeros((3, 4))
    expected[index] = 1
    np.testing.assert_array_equal(x.grad.numpy(), expected)


def test_a_view_shares_memory_and_numpy_integers_are_integers():
    x = grid()
    x[np.int64(1)][0] = 50.0
    assert x[1, 0] == 50 and x[iskra.tensor(1)]._is_view()
    assert x[1:][0].untyped_storage() == x.untyped_storage()


@pytest.mark.parametrize("index", [
    [0, 2], [-1], [[0, 1], [2, 0]], np.array([1, 0]), range(2), (slice(None), [0, 3]),
    ([0, 1], [1, 2]), ([[0], [1]], [1, 2]), (slice(1, None), [0, 1]), ([0, 1], None),
    (None, [2, 1]), ([True, False, True],), (slice(None), [True, False, False, True]), [],
])
def test_lists_and_arrays_pick_elements_as_in_numpy(index):
    x = grid()
    if isinstance(index, list) and index[:1] == [[0, 1]]:  # a bare list would stand for a tuple
        index = iskra.tensor(index)
    items = index if isinstance(index, tuple) else (index,)
    found = x[index]
    wanted = x.numpy()[tuple(_array_of(i) for i in items)]
    np.testing.assert_array_equal(found.numpy(), wanted)
    assert found.is_contiguous() and not found._is_view()


def _array_of(item):
    if item is None or isinstance(item, slice):
        return item
    return np.asarray(item, None if len(item) else int)


def test_ints_are_taken_out_before_index_tensors_find_their_place():
    x = iskra.zeros(2, 3, 4, 5)
    assert x[0, :, [0, 1]].shape == (3, 2, 5)  # NumPy would give (2, 3, 5)
    assert x[:, [0, 1], :, [0, 1]].shape == (2, 2, 4)
    assert x[:, [0, 1], None, [0, 1]].shape == (2, 2, 1, 5)
    assert x[:, [0, 1], [0, 1]].shape == (2, 2, 5)
    assert x[None, ..., [0, 1]].shape == (1, 2, 3, 4, 2)
    assert x[..., iskra.tensor([0, 1]), 0].shape == (2, 3, 2)


def test_masks():
    x = grid()
    assert x[x > 8].tolist() == [9.0, 10.0, 11.0]
    assert x[iskra.tensor([True, False, True])].shape == (2, 4)
    assert x[:, iskra.tensor([True, False, True, False])].shape == (3, 2)
    assert x[True].shape == (1, 3, 4) and x[False].shape == (0, 3, 4)
    assert x[iskra.tensor(True), 0].shape == (1, 4) and x[:, True].shape == (3, 1, 4)
    with pytest.warns(UserWarning, match="uint8 is now deprecated"):
        assert x[iskra.tensor([1, 0, 1], dtype=iskra.uint8)].shape == (2, 4)


def test_nested_lists_stand_for_tuples_with_a_warning():
    x = grid()
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[0, slice(1, 3)]].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("index, error, text", [
    (3, IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    (-4, IndexError, "index -4 is out of bounds for dimension 0 with size 3"),
    ((slice(None), 4), IndexError, "index 4 is out of bounds for dimension 1 with size 4"),
    ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
    (slice(None, None, -1), ValueError, "step must be greater than zero"),
    (slice(None, None, 0), ValueError, "slice step cannot be zero"),
    ([0, 5], IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    ((slice(None), [9]), IndexError, "index 9 is out of bounds for dimension 1 with size 4"),
    (([0, 1], [0, 1, 2]), IndexError, "could not be broadcast together with shapes [2], [3]"),
    (([True, False],), IndexError, "mask [2] at index 0 does not match"),
    (1.0, IndexError, "only integers, slices"), ({}, IndexError, "only integers, slices"),
    ("a", TypeError, "invalid data type 'str'"),
])
def test_errors(index, error, text):
    x = grid()
    with pytest.raises(error) as caught:
        x[index]
    assert text in str(caught.value)
    with pytest.raises(error):
        x[index] = 1.0
    assert x.equal(grid())


def test_other_errors():
    x = grid()
    with pytest.raises(IndexError, match="must be long, int, byte or bool"):
        x[iskra.tensor([0.0])]
    with pytest.raises(IndexError, match="must be long, int, byte or bool"):
        x[iskra.tensor([0], dtype=iskra.int16)]
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        x[0, 0][0]
    with pytest.raises(TypeError, match="does not support deleting"):
        del x[0]
    with pytest.raises(TypeError, match="iteration over a 0-d"):
        iter(x[0, 0])
    with pytest.raises(TypeError, match="can't assign"):
        x[0] = [1.0]
    with pytest.raises(TypeError, match="can't assign"):
        x[0] = "text"


@pytest.mark.parametrize("index, value", [
    (0, 5.0), ((1, 2), 5.0), (slice(1, None), 7), (..., 1.0), ((slice(None), slice(0, 4, 3)), 2.0),
    ([0, 2], 3.0), ((slice(None), [1, 3]), 4.0), (([0, 1], [1, 2]), 5.0), ((), 9.0),
    (None, 4.0), ((0, None), 4.0), ([True, False, True], 6.0), ([], 1.0),
])
def test_numbers_are_written_everywhere_an_index_leads(index, value):
    x, y = grid(), grid().numpy().copy()
    x[index] = value
    y[index if not (isinstance(index, list) and not index) else np.empty(0, int)] = value
    np.testing.assert_array_equal(x.numpy(), y)
    assert x._version == 1


def test_tensors_are_broadcast_and_lose_leading_ones():
    x = grid()
    x[0] = iskra.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    x[1:, 0] = iskra.tensor(9.0)
    x[[0, 1]] = iskra.tensor([[5.0], [6.0]])
    x[x == 9] = iskra.tensor([8.0])
    assert x.tolist() == [[5.0] * 4, [6.0] * 4, [8.0, 8.0, 10.0, 11.0]]  # 8 was 9 twice
    x[2] = x[0]
    assert x[2].tolist() == [5.0] * 4
    x[1:] = x[:-1].clone()
    x[0, :2] = iskra.tensor([1, 2])  # another dtype is converted
    assert x[0].tolist() == [1.0, 2.0, 5.0, 5.0]


def test_values_are_converted_or_refused():
    ints = iskra.zeros(2, dtype=iskra.uint8)
    ints[0] = 1.9
    ints[1] = -1
    assert ints.tolist() == [1, 255]
    for value in (300, float("nan"), 1e20, 1j):
        with pytest.raises(RuntimeError, match="without overflow"):
            ints[0] = value
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        grid()[[0]] = iskra.ones(4, dtype=iskra.float64)
    bools = iskra.zeros(2, dtype=iskra.bool)
    bools[0] = 7
    assert bools.tolist() == [True, False]
    with pytest.raises(RuntimeError):
        grid()[0] = iskra.ones(3)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        grid()[[0, 1]] = iskra.ones(3, 3)


def test_gradients_go_through_assignment():
    x = grid().requires_grad_()
    value = iskra.tensor([10.0, 20.0], requires_grad=True)
    y = x * 1
    y[iskra.tensor([2, 0]), 1] = value
    y[1, 2:] = value * 2
    y[y > 18] = 0.0
    weights = iskra.arange(12.0).reshape(3, 4)
    (y * weights).sum().backward()
    # y[2, 1] = 10 stays, y[0, 1] = 20 is overwritten, y[1, 2] = 20 and y[1, 3] = 40 too
    assert value.grad.tolist() == [9.0, 0.0]
    expected = weights.clone()
    expected[2, 1] = expected[0, 1] = expected[1, 2] = expected[1, 3] = 0
    assert x.grad.equal(expected)


def test_index_put_accumulates_and_reports():
    x = iskra.zeros(3)
    x.index_put_((iskra.tensor([0, 0, 2]),), iskra.tensor([1.0, 2.0, 3.0]), accumulate=True)
    assert x.tolist() == [3.0, 0.0, 3.0]
    assert iskra.zeros(3).index_put((iskra.tensor([-1]),), iskra.tensor(1.0)).tolist() == [0, 0, 1]
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        x.index_put_((iskra.tensor([3]),), iskra.tensor(1.0))
    assert x.tolist() == [3.0, 0.0, 3.0]


def test_iteration_and_reversal():
    assert [row.tolist() for row in grid()[:2, :2]] == [[0.0, 1.0], [4.0, 5.0]]
    assert list(reversed(iskra.tensor([1, 2])))[0] == 2


# -- random indices -------------------------------------------------------------------------------


def random_index(lib, choose, shape):
    """An index that says the same to both libraries; drawn afresh from the same seed."""
    items, rest = [], list(shape)
    arrays = choose.choice([(3,), (2, 1), (1, 3)])
    while rest and choose.random() < 0.85:
        kind = choose.randrange(8)
        size = rest[0]
        if kind == 0:
            items.append(None)
            continue
        if kind == 1 and not any(i is ... for i in items) and len(rest) > 1:
            items.append(...)
            skipped = choose.randrange(len(rest))
            rest = rest[skipped:]
            if choose.random() < 0.5:
                break
            continue
        rest.pop(0)
        if kind == 2:
            items.append(choose.randrange(-size, size))
        elif kind in (3, 4):
            items.append(slice(choose.randrange(-1, size), choose.choice([None, size, 1]),
                               choose.choice([None, 1, 2])))
        elif kind == 5:
            mask = [choose.random() < 0.5 for _ in range(size)]
            mask[0] = mask[-1] = True
            if sum(mask) == 3 and arrays == (3,):
                items.append(lib.tensor(mask))
            else:
                items.append(slice(None))
        else:
            count = int(np.prod(arrays))
            values = [choose.randrange(-size, size) for _ in range(count)]
            items.append(lib.tensor(values).reshape(arrays))
    return tuple(items)


def outcome(lib, seed):
    choose = random.Random(seed)
    shape = tuple(choose.choice([3, 4, 5]) for _ in range(choose.randint(1, 4)))
    index = random_index(lib, choose, shape)
    values = np.random.default_rng(seed)
    base = lib.tensor(values.uniform(-1, 1, shape), requires_grad=True)
    try:
        picked = base[index]
    except (IndexError, RuntimeError) as error:
        return type(error).__name__
    weights = lib.tensor(values.uniform(-1, 1, tuple(picked.shape)))
    (picked * weights).sum().backward()
    results = [picked.detach().numpy(), base.grad.numpy()]
    base.grad = None
    target = base * 2
    written = lib.tensor(values.uniform(-1, 1, tuple(picked.shape)), requires_grad=True)
    unique = not any(isinstance(i, lib.Tensor) for i in index)
    target[index] = written if unique else 0.5
    whole = lib.tensor(values.uniform(-1, 1, shape))
    (target * whole).sum().backward()
    results += [target.detach().numpy(), base.grad.numpy()]
    if unique:
        results.append(written.grad.numpy())
    return results


@pytest.mark.parametrize("seed", range(200))
def test_random_indices_do_what_pytorch_does(seed):
    torch = pytest.importorskip("torch")
    expected, found = outcome(torch, seed), outcome(iskra, seed)
    if isinstance(expected, str):
        assert found == expected
        return
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b)
