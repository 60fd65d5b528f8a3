"""Gathering and scattering: literal results, duplicates, dtypes, errors."""

import numpy as np
import pytest

import iskra

INDEX = iskra.tensor([[0, 1], [2, 0]])


def grid():
    return iskra.arange(12.0).reshape(3, 4)


def test_gather_reads_and_scatter_writes_the_same_places():
    x = grid()
    assert x.gather(0, INDEX).tolist() == [[0.0, 5.0], [8.0, 1.0]]
    assert x.gather(1, INDEX.int()).tolist() == [[0.0, 1.0], [6.0, 4.0]]
    written = iskra.zeros(3, 4).scatter(0, INDEX, iskra.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert written.gather(0, INDEX).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert written.sum() == 10
    assert iskra.tensor(3.0).gather(0, iskra.tensor([0, 0])).tolist() == [3.0, 3.0]
    assert x.gather(0, iskra.empty(0, 4, dtype=iskra.int64)).shape == (0, 4)


def test_scatter_takes_numbers_and_reductions():
    x = iskra.ones(3)
    index = iskra.tensor([0, 0, 2])
    assert x.scatter(0, index, 5).tolist() == [5, 1, 5]
    assert x.scatter(0, index, value=5.0).tolist() == [5, 1, 5]
    assert x.scatter(0, index, 2.0, reduce="add").tolist() == [5, 1, 3]
    src = iskra.tensor([2.0, 3.0, 4.0])
    assert x.scatter(0, index, src, reduce="multiply").tolist() == [6, 1, 4]
    assert x.scatter_(0, index, 0.0) is x and x.tolist() == [0, 1, 0]


@pytest.mark.parametrize("size, count", [(5, 40), (5000, 40), (5, 3), (1, 7)])
@pytest.mark.parametrize("dtype", [iskra.float32, iskra.float64, iskra.int64, iskra.complex64])
def test_additions_meet_at_equal_indices(size, count, dtype):
    random = np.random.default_rng(0)
    index = random.integers(0, size, count)
    values = random.integers(-9, 9, (count, 3))
    expected = np.zeros((size, 3))
    np.add.at(expected, index, values)
    rows = iskra.tensor(index)
    src = iskra.tensor(values).to(dtype)
    target = iskra.zeros(size, 3, dtype=dtype)
    wide = rows.reshape(-1, 1).expand(count, 3)
    for found in (target.index_add(0, rows, src), target.scatter_add(0, wide, src),
                  target.index_put((rows,), src, accumulate=True),
                  target.scatter_reduce(0, wide, src, "sum")):
        np.testing.assert_array_equal(found.numpy(), expected.astype(found.numpy().dtype))


@pytest.mark.parametrize("reduce, kept, fresh", [
    ("sum", [8.0, 2.0], [7.0, 2.0]), ("prod", [10.0, 2.0], [10.0, 2.0]),
    ("mean", [8 / 3, 2.0], [3.5, 2.0]), ("amax", [5.0, 2.0], [5.0, 2.0]),
    ("amin", [1.0, 2.0], [2.0, 2.0]),
])
def test_reductions(reduce, kept, fresh):
    x, index, src = iskra.tensor([1.0, 2.0]), iskra.tensor([0, 0]), iskra.tensor([2.0, 5.0])
    assert x.scatter_reduce(0, index, src, reduce).tolist() == pytest.approx(kept)
    assert x.scatter_reduce(0, index, src, reduce, include_self=False).tolist() == fresh
    if reduce != "sum":
        assert x.index_reduce(0, index, src, reduce).tolist() == pytest.approx(kept)
    nan = x.scatter_reduce(0, index, iskra.tensor([float("nan"), 1.0]), reduce)
    assert nan[0].isnan() and nan[1] == 2


def test_products_with_zeros_have_the_others_as_gradients():
    x = iskra.tensor([2.0, 0.0], requires_grad=True)
    src = iskra.tensor([3.0, 0.0, 4.0], requires_grad=True)
    x.scatter_reduce(0, iskra.tensor([0, 0, 1]), src, "prod").sum().backward()
    assert x.grad.tolist() == [0.0, 4.0] and src.grad.tolist() == [0.0, 6.0, 0.0]


def test_equal_extrema_share_their_gradient():
    x = iskra.tensor([5.0], requires_grad=True)
    src = iskra.tensor([5.0, 1.0, 5.0], requires_grad=True)
    x.scatter_reduce(0, iskra.tensor([0, 0, 0]), src, "amax").sum().backward()
    assert x.grad.item() == pytest.approx(1 / 3)
    assert src.grad.tolist() == pytest.approx([1 / 3, 0.0, 1 / 3])


def test_along_one_dimension():
    x = grid()
    rows = iskra.tensor([2, 0])
    assert x.index_select(0, rows)[:, 0].tolist() == [8.0, 0.0]
    assert x.index_select(1, iskra.tensor(3)).flatten().tolist() == [3.0, 7.0, 11.0]
    assert x.index_fill(0, rows, -1)[:, 1].tolist() == [-1.0, 5.0, -1.0]
    assert x.index_copy(1, iskra.tensor([0]), iskra.zeros(3, 1))[:, 0].tolist() == [0, 0, 0]
    assert x.index_add(1, rows, iskra.ones(3, 2), alpha=3)[0].tolist() == [3.0, 1.0, 5.0, 3.0]
    assert x.take(iskra.tensor([[0, -1]])).tolist() == [[0.0, 11.0]]
    assert x.put(iskra.tensor([1, 1]), iskra.ones(2), accumulate=True)[0, 1] == 3
    best = x.take_along_dim(x.argmax(1, keepdim=True), 1)
    assert best.flatten().tolist() == [3.0, 7.0, 11.0]
    assert x.take_along_dim(iskra.tensor([[-1]]), 1).flatten().tolist() == [3.0, 7.0, 11.0]
    assert x.take_along_dim(iskra.tensor([5])).tolist() == [5.0]


def test_masks():
    x, mask = grid(), iskra.tensor([True, False, False, True])
    assert x.masked_select(mask).tolist() == [0.0, 3.0, 4.0, 7.0, 8.0, 11.0]
    assert x.masked_fill(mask, 0)[1].tolist() == [0.0, 5.0, 6.0, 0.0]
    assert x[0].masked_fill(mask.expand(2, 4), 9.0).shape == (2, 4)
    assert iskra.tensor([1, 2]).masked_fill(iskra.tensor([True, False]), 1.9).tolist() == [1, 2]
    assert x.masked_scatter(mask, iskra.arange(10.0))[2].tolist() == [4.0, 9.0, 10.0, 5.0]
    value = iskra.tensor(2.0, requires_grad=True)
    x.masked_fill(mask, value).sum().backward()
    assert value.grad == 6
    twice = iskra.tensor(2.0, requires_grad=True)
    x.index_fill(0, iskra.tensor([1, 1]), twice).sum().backward()
    assert twice.grad == 4  # the row counts once


def test_nonzero():
    x = iskra.tensor([[1, 0], [0, 2]])
    assert x.nonzero().tolist() == [[0, 0], [1, 1]] and x.nonzero().dtype is iskra.int64
    assert [c.tolist() for c in x.nonzero(as_tuple=True)] == [[0, 1], [0, 1]]
    assert iskra.tensor(5).nonzero().shape == (1, 0) and iskra.tensor(0).nonzero().shape == (0, 0)
    assert iskra.tensor(5).nonzero(as_tuple=True)[0].tolist() == [0]
    assert iskra.nonzero_static(x, size=3).tolist() == [[0, 0], [1, 1], [-1, -1]]


@pytest.mark.parametrize("call, error, text", [
    (lambda x: x.gather(0, INDEX + 5), RuntimeError, "index 5 is out of bounds for dimension 0"),
    (lambda x: x.gather(0, INDEX - 1), RuntimeError, "index -1 is out of bounds"),
    (lambda x: x.gather(0, INDEX[0]), RuntimeError, "same number of dimensions"),
    (lambda x: x.gather(0, INDEX.float()), RuntimeError, "Expected dtype int32/int64"),
    (lambda x: x.gather(0, iskra.zeros(1, 9).long()), RuntimeError, "no larger than self [3, 4]"),
    (lambda x: x.scatter(0, INDEX, x.double()), RuntimeError, "equal to src.dtype"),
    (lambda x: x.scatter(0, INDEX, iskra.ones(1, 1)), RuntimeError, "no larger size than src"),
    (lambda x: x.scatter(0, INDEX, x, reduce="mean"), RuntimeError, "either add or multiply"),
    (lambda x: x.scatter_reduce(0, INDEX, x, "max"), RuntimeError, "sum, prod, mean, amax or amin"),
    (lambda x: x.index_select(0, INDEX), IndexError, "supposed to be a vector"),
    (lambda x: x.index_select(0, INDEX[0] - 1), IndexError, "index out of range in self"),
    (lambda x: x.index_add(0, INDEX[0], x), RuntimeError, "Number of indices (2)"),
    (lambda x: x.index_add(0, INDEX[0], x[:2, :2]), RuntimeError, "source tensor shape must match"),
    (lambda x: x.index_copy(0, INDEX[0] + 3, x[:2]), IndexError, "out of bounds"),
    (lambda x: x.index_fill(0, INDEX[0], iskra.ones(2)), RuntimeError, "0-dimensional value"),
    (lambda x: x.take(iskra.tensor([12])), IndexError, "access index 12 on a tensor of 12"),
    (lambda x: x.put(iskra.tensor([0]), x), IndexError, "same number of elements"),
    (lambda x: x.masked_fill(INDEX[0].byte(), 0), RuntimeError, "only supports boolean masks"),
    (lambda x: x.masked_fill(x > 0, 1j), RuntimeError, "without overflow"),
    (lambda x: x.masked_select(x), RuntimeError, "expected BoolTensor"),
    (lambda x: x.masked_scatter(x > 0, x[0]), RuntimeError, "Number of elements of source"),
    (lambda x: x.index_put_((INDEX[0] + 9,), x[0]), IndexError, "out of bounds"),
    (lambda x: x.scatter_(0, INDEX + 9, 1.0), RuntimeError, "out of bounds"),
])
def test_errors_leave_everything_as_it_was(call, error, text):
    x = grid()
    with pytest.raises(error) as caught:
        call(x)
    assert text in str(caught.value)
    assert x.equal(grid()) and x._version == 0
