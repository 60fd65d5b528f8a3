"""Splits that share memory without being views, Python calls per element, filled diagonals."""

import pytest

import iskra as torch


@pytest.mark.parametrize("call, name, sizes", [
    (lambda x: torch.unsafe_split(x, 2), "UnsafeSplitBackward0", [2, 2, 1]),
    (lambda x: x.unsafe_split([1, 4]), "UnsafeSplitWithSizesBackward0", [1, 4]),
    (lambda x: x.unsafe_split_with_sizes((2, 3)), "UnsafeSplitWithSizesBackward0", [2, 3]),
    (lambda x: torch.unsafe_chunk(x, 2), "UnsafeSplitBackward0", [3, 2]),
])
def test_unsafe_splits(call, name, sizes):
    x = torch.arange(5.0, requires_grad=True)
    parts = call(x)
    assert [len(p) for p in parts] == sizes and torch.cat(parts).tolist() == x.tolist()
    assert all(type(p.grad_fn).__name__ == name and p._base is None for p in parts)
    (parts[0] * 3).sum().backward()
    assert x.grad.tolist() == [3.0] * sizes[0] + [0.0] * (5 - sizes[0])


def test_unsafe_splits_may_be_written_where_views_may_not():
    x = torch.ones(4, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="inplace|in-place"):
        x.split(2)[0].mul_(2)
    part = torch.unsafe_split(x, 2)[0]
    part.mul_(2)
    assert part.tolist() == [2, 2]


def test_unsafe_splits_share_memory_and_version():
    x = torch.arange(4)
    first, second = torch.unsafe_split(x, 2)
    first.zero_()
    assert x.tolist() == [0, 0, 2, 3] and x._version == first._version == second._version == 1
    assert second.storage_offset() == 2 and x.untyped_storage() == second.untyped_storage()


@pytest.mark.parametrize("call", [
    lambda: torch.unsafe_split(torch.ones(3), [1, 1]),
    lambda: torch.unsafe_split(torch.ones(3), -1),
    lambda: torch.unsafe_chunk(torch.ones(3), 0), lambda: torch.unsafe_split(torch.tensor(1), 1),
])
def test_unsafe_splits_check_as_splits_do(call):
    with pytest.raises(RuntimeError):
        call()


def test_unsafe_splits_along_other_dimensions():
    x = torch.arange(6).reshape(2, 3)
    assert [p.tolist() for p in torch.unsafe_split(x, 2, -1)] == [[[0, 1], [3, 4]], [[2], [5]]]
    assert [tuple(p.shape) for p in torch.unsafe_chunk(torch.zeros(2, 0), 2, 1)] == [(2, 0)] * 2


def test_broadcast_shapes():
    assert torch.broadcast_shapes((2, 1), 3, (1, 1, 1)) == torch.Size([1, 2, 3])
    assert torch.broadcast_shapes() == torch.Size([])
    assert torch.broadcast_shapes((0, 1), (5,)) == torch.Size([0, 5])
    with pytest.raises(RuntimeError, match="must match"):
        torch.broadcast_shapes((2, 3), (4,))
    with pytest.raises(ValueError, match="negative"):
        torch.broadcast_shapes((2, -1))
    with pytest.raises(TypeError):
        torch.broadcast_shapes((1.5,))


def test_apply_and_map():
    x = torch.tensor([[1, 2], [3, 4]]).t()
    assert x.apply_(lambda v: 10 * v) is x and x.tolist() == [[10, 30], [20, 40]]
    assert torch.arange(3).apply_(lambda v: v * 1.5).tolist() == [0, 1, 3]
    assert torch.tensor([True]).apply_(lambda v: not v).tolist() == [False]
    assert torch.zeros(()).apply_(lambda v: v + 1.5).item() == 1.5
    assert torch.zeros(0).apply_(lambda v: v).shape == (0,)
    assert torch.zeros(2, 2).map_(torch.tensor([1.0, 2.0]), lambda a, b: a + b).tolist() == (
        [[1, 2]] * 2
    )
    assert torch.zeros(1).map2_(torch.ones(1), torch.ones(1), lambda a, b, c: b + c).item() == 2


@pytest.mark.parametrize("call, error", [
    (lambda: torch.ones(1, requires_grad=True).apply_(abs), RuntimeError),
    (lambda: torch.ones(1, device="meta").apply_(abs), TypeError),
    (lambda: torch.ones(1).apply_(3), TypeError),
    (lambda: torch.ones(1).map_(torch.ones(1, dtype=torch.int32), max), TypeError),
    (lambda: torch.ones(1).map_(2.0, max), TypeError),
    (lambda: torch.ones(1).map_(torch.ones(2, 2), max), RuntimeError),
])
def test_apply_and_map_refuse(call, error):
    with pytest.raises(error):
        call()


def test_fill_diagonal():
    assert torch.zeros(2, 3).fill_diagonal_(5).tolist() == [[5, 0, 0], [0, 5, 0]]
    tall = torch.zeros(7, 3, dtype=torch.int64).fill_diagonal_(1, wrap=True)
    assert tall.sum(1).tolist() == [1, 1, 1, 0, 1, 1, 1] and tall[4].tolist() == [1, 0, 0]
    assert torch.zeros(7, 3).fill_diagonal_(1).sum() == 3
    cube = torch.zeros(3, 3, 3).fill_diagonal_(2)
    assert cube.sum() == 6 and cube[1, 1, 1] == 2
    view = torch.zeros(4, 4)[::2, 1:]
    view.fill_diagonal_(1)
    assert view.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_fill_diagonal_in_a_graph():
    x = torch.ones(2, 2, requires_grad=True)
    (x * 1).fill_diagonal_(5).sum().backward()
    assert x.grad.tolist() == [[0, 1], [1, 0]]
    for bad in (torch.zeros(3), torch.zeros(3, 3, 2)):
        with pytest.raises(RuntimeError, match="fill_diagonal_"):
            bad.fill_diagonal_(1)


def test_swapping_in_place():
    x = torch.ones(2, 3)
    assert x.swapaxes_(0, 1) is x and x.shape == (3, 2) and x.stride() == (1, 3)
    assert torch.ones(2, 3).swapdims_(0, -1).shape == (3, 2)


def test_is_set_to():
    x = torch.arange(4)
    assert x.is_set_to(x.view(4)) and not x.is_set_to(x.view(2, 2))
    assert not x.is_set_to(x[:2]) and not x.is_set_to(x.clone())


def test_to_dense_is_the_tensor():
    x = torch.ones(2)
    assert x.to_dense() is x and x.to_dense(torch.float64).dtype is torch.float64


def test_lobpcg_finds_the_extreme_pairs():
    torch.manual_seed(0)
    a = torch.randn(2, 9, 9, dtype=torch.float64)
    a, b = a + a.mT, a @ a.mT + 9 * torch.eye(9, dtype=torch.float64)
    every = torch.linalg.eigvalsh(a)
    for largest, wanted in ((True, every.flip(-1)[:, :2]), (False, every[:, :2])):
        values, vectors = torch.lobpcg(a, k=2, largest=largest)
        assert torch.allclose(values, wanted)
        assert torch.allclose(a @ vectors, vectors * values[:, None])
        values, vectors = torch.lobpcg(a, k=2, B=b, largest=largest)
        assert torch.allclose(a @ vectors, b @ vectors * values[:, None])
        assert torch.allclose(vectors.mT @ b @ vectors, torch.eye(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="smaller than 3 x"):
        torch.lobpcg(a, k=4)
    with pytest.raises(RuntimeError, match="square"):
        torch.lobpcg(torch.ones(3, 4))
