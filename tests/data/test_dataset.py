"""Datasets and `random_split`."""

import pytest
from data.samples import Counted, Numbers, Sharded

import iskra
from iskra.utils.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Batched(Numbers):
    """Fetches several samples at once, and counts how often."""

    calls = 0

    def __getitems__(self, indices):
        self.calls += 1
        return [10 * i for i in indices]


def test_tensor_dataset():
    dataset = TensorDataset(iskra.arange(6).reshape(3, 2), iskra.tensor([5, 6, 7]))
    assert len(dataset) == 3
    row, label = dataset[-1]
    assert row.tolist() == [4, 5] and label.item() == 7
    assert [t.tolist() for t in dataset[1:]] == [[[2, 3], [4, 5]], [6, 7]]


def test_concat_dataset():
    dataset = Numbers(2) + Numbers(3)
    assert isinstance(dataset, ConcatDataset) and len(dataset) == 5
    assert [dataset[i] for i in range(-5, 5)] == [0, 1, 0, 1, 2] * 2
    assert dataset.cumulative_sizes == [2, 5]
    with pytest.warns(FutureWarning):
        assert dataset.cummulative_sizes == [2, 5]
    assert len(ConcatDataset(iter([[], [1]]))) == 1


def test_chain_dataset():
    dataset = Sharded(2) + Sharded(1)
    assert isinstance(dataset, ChainDataset)
    assert list(dataset) == [0, 1, 0]
    assert len(ChainDataset([Counted(2, 2), Counted(3, 3)])) == 5


def test_stack_dataset():
    batched = Batched(3)
    dataset = StackDataset(batched, [4, 5, 6])
    assert len(dataset) == 3 and dataset[2] == (2, 6)
    assert dataset.__getitems__([0, 2]) == [(0, 4), (20, 6)] and batched.calls == 1
    named = StackDataset(a=[1, 2], b=[3, 4])
    assert named[1] == {"a": 2, "b": 4}
    assert named.__getitems__([1, 0]) == [{"a": 2, "b": 4}, {"a": 1, "b": 3}]


def test_subset():
    subset = Subset(Numbers(10), [3, 1, 2])
    assert len(subset) == 3 and [subset[i] for i in range(3)] == [3, 1, 2]
    assert subset.__getitems__([2, 0]) == [2, 3]
    batched = Batched(10)
    assert Subset(batched, [3, 1]).__getitems__([0, 1]) == [30, 10] and batched.calls == 1
    tensors = TensorDataset(iskra.arange(4))
    assert Subset(tensors, [3, 1])[[0, 1]][0].tolist() == [3, 1]


def test_random_split_as_pytorch_does():
    def split(lengths, seed=1):
        parts = random_split(range(10), lengths, iskra.Generator().manual_seed(seed))
        return [list(part.indices) for part in parts]

    assert split([3, 7]) == [[5, 6, 1], [2, 0, 8, 9, 3, 7, 4]]
    assert split([0.35, 0.35, 0.3]) == [[5, 6, 1, 2], [0, 8, 9], [3, 7, 4]]
    iskra.manual_seed(4)
    assert [list(s.indices) for s in random_split(range(6), [2, 4])] == [[4, 5], [1, 2, 3, 0]]


def test_an_empty_part_warns():
    with pytest.warns(UserWarning, match="index [12] is 0"):
        assert [len(part) for part in random_split([1], [0.5, 0.25, 0.25])] == [1, 0, 0]


@pytest.mark.parametrize("make, error, match", [
    (lambda: Dataset()[0], NotImplementedError, "__getitem__"),
    (lambda: len(Dataset()), TypeError, "no len"),
    (lambda: IterableDataset(), TypeError, "__iter__"),
    (lambda: TensorDataset(iskra.ones(2), iskra.ones(3)), AssertionError, r"Size mismatch.*2, 3"),
    (lambda: ConcatDataset([]), AssertionError, "empty"),
    (lambda: ConcatDataset([Sharded()]), AssertionError, "IterableDataset"),
    (lambda: ConcatDataset([[1]])[-2], ValueError, "absolute value of index"),
    (lambda: ConcatDataset([[1]])[1], IndexError, "out of range"),
    (lambda: list(ChainDataset([[1]])), AssertionError, "only supports IterableDataset"),
    (lambda: len(ChainDataset([Sharded()])), TypeError, "no len"),
    (lambda: StackDataset(), ValueError, "At least one"),
    (lambda: StackDataset([1], [1, 2]), ValueError, "Size mismatch"),
    (lambda: StackDataset(a=[1], b=[1, 2]), ValueError, "Size mismatch"),
    (lambda: StackDataset([1], a=[1]), ValueError, "both"),
    (lambda: Subset([1], [0])[1], IndexError, "out of range"),
    (lambda: random_split(range(4), [1, 2]), ValueError, "Sum of input lengths"),
    (lambda: random_split(range(4), [0.3, 0.3]), ValueError, "Sum of input lengths"),
    (lambda: random_split(range(4), [1.5, -0.5]), ValueError, "Fraction at index 0"),
])
def test_errors(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_wrong_getitems():
    class Short(Numbers):
        def __getitems__(self, indices):
            return [1]

    class NoList(Numbers):
        def __getitems__(self, indices):
            return (1, 2)

    with pytest.raises(ValueError, match="asked for 2 samples but returned 1"):
        StackDataset(Short()).__getitems__([0, 1])
    with pytest.raises(ValueError, match="should return a list"):
        StackDataset(NoList()).__getitems__([0, 1])
