"""Samplers: their orders are PyTorch 2.13's for the same seeds."""

import sys
import types

import pytest

import iskra
from iskra.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

TEN = range(10)


def test_one_generator_through_all_random_samplers():
    # In a row, so that each must also leave the generator where PyTorch does.
    g = iskra.Generator().manual_seed(3)
    assert list(RandomSampler(TEN, generator=g)) == [6, 0, 3, 7, 8, 5, 1, 9, 2, 4]
    assert list(RandomSampler(TEN, True, 5, generator=g)) == [0, 4, 6, 9, 1]
    assert list(RandomSampler(TEN, True, 35, generator=g)) == [
        6, 2, 8, 7, 4, 4, 0, 0, 1, 4, 3, 9, 2, 3, 0, 2, 1, 3, 4, 6, 5, 4, 1, 6, 3, 7, 1, 3, 6, 9,
        4, 4, 5, 1, 3]
    assert list(RandomSampler(range(4), num_samples=10, generator=g)) == [
        2, 3, 0, 1, 3, 1, 2, 0, 0, 2]
    assert list(SubsetRandomSampler([5, 6, 7], generator=g)) == [7, 5, 6]
    weights = [0.1, 0.5, 0.4]
    assert list(WeightedRandomSampler(weights, 6, generator=g)) == [2, 1, 0, 1, 1, 2]
    assert list(WeightedRandomSampler(weights, 3, replacement=False, generator=g)) == [1, 2, 0]
    assert list(RandomSampler(range(4), generator=g)) == [3, 0, 1, 2]


def test_the_default_generator_gives_one_seed_for_each_iteration():
    iskra.manual_seed(7)
    expected = [iskra.default_generator.random64() for _ in range(3)]
    iskra.manual_seed(7)
    sampler = RandomSampler(TEN)
    first, second = list(sampler), list(sampler)
    assert first == [3, 0, 1, 9, 4, 7, 2, 5, 6, 8] and first != second
    assert iskra.default_generator.random64() == expected[2]


def test_lengths():
    assert len(SequentialSampler(TEN)) == len(RandomSampler(TEN)) == 10
    assert len(RandomSampler(TEN, num_samples=3)) == 3
    assert len(SubsetRandomSampler([1, 2])) == 2 and len(WeightedRandomSampler([1], 4)) == 4
    growing = [1]
    sampler = RandomSampler(growing)
    growing.append(2)
    assert len(sampler) == 2 and sorted(sampler) == [0, 1]


def test_batches():
    assert list(BatchSampler(TEN, 4, False)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(BatchSampler(iter(TEN), 4, True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [len(BatchSampler(TEN, n, False)) for n in (4, 5, 11)] == [3, 2, 1]
    assert [len(BatchSampler(TEN, n, True)) for n in (4, 5, 11)] == [2, 2, 0]
    assert list(BatchSampler([], 4, False)) == []


def test_distributed_sampler():
    assert list(DistributedSampler(TEN, 3, 1)) == [1, 3, 8, 4]
    sampler = DistributedSampler(TEN, 3, 1)
    sampler.set_epoch(2)
    assert list(sampler) == [7, 6, 4, 8]
    assert list(DistributedSampler(TEN, 3, 2, seed=5, drop_last=True)) == [9, 5, 8]
    shares = [list(DistributedSampler(TEN, 4, rank, shuffle=False)) for rank in range(4)]
    assert shares == [[0, 4, 8], [1, 5, 9], [2, 6, 0], [3, 7, 1]]
    assert list(DistributedSampler(range(2), 5, 4, shuffle=False)) == [0]
    assert list(DistributedSampler([], 2, 0)) == []


def test_distributed_sampler_asks_the_process_group(monkeypatch):
    group = types.SimpleNamespace(
        is_initialized=lambda: True, get_world_size=lambda: 2, get_rank=lambda: 1)
    monkeypatch.setitem(sys.modules, "iskra.distributed", group)
    assert list(DistributedSampler(TEN, shuffle=False)) == [1, 3, 5, 7, 9]
    group.is_initialized = lambda: False
    with pytest.raises(ValueError, match="init_process_group"):
        DistributedSampler(TEN)


@pytest.mark.parametrize("make, error, match", [
    (lambda: list(Sampler()), NotImplementedError, "__iter__"),
    (lambda: RandomSampler([]), ValueError, "num_samples=0"),
    (lambda: RandomSampler(TEN, num_samples=-1), ValueError, "num_samples=-1"),
    (lambda: RandomSampler(TEN, num_samples=1.5), ValueError, "num_samples=1.5"),
    (lambda: RandomSampler(TEN, replacement=3), TypeError, "replacement=3"),
    (lambda: RandomSampler(3), TypeError, "no len"),
    (lambda: WeightedRandomSampler([1], 0), ValueError, "num_samples=0"),
    (lambda: WeightedRandomSampler([1], True), ValueError, "num_samples=True"),
    (lambda: WeightedRandomSampler([1], 1, replacement=3), ValueError, "replacement=3"),
    (lambda: WeightedRandomSampler([[1]], 1), ValueError, r"shape \(1, 1\)"),
    (lambda: list(WeightedRandomSampler([1.0], 2, replacement=False)), RuntimeError, "sample"),
    (lambda: BatchSampler(TEN, 0, False), ValueError, "batch_size=0"),
    (lambda: BatchSampler(TEN, True, False), ValueError, "batch_size=True"),
    (lambda: BatchSampler(TEN, 1, 3), ValueError, "drop_last=3"),
    (lambda: DistributedSampler(TEN, 2, 2), ValueError, r"Invalid rank 2.*\[0, 1\]"),
    (lambda: DistributedSampler(TEN, 2, -1), ValueError, "Invalid rank -1"),
])
def test_errors(make, error, match):
    with pytest.raises(error, match=match):
        make()
