"""`DataLoader` without workers: order, batches, lengths, the generator, and argument errors."""

import gc
import pickle
import weakref

import pytest
from data.samples import Counted, Numbers, Raises, Sharded, as_it_is

import iskra
from iskra.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
)


def batches(loader):
    return [b.tolist() if isinstance(b, iskra.Tensor) else b for b in loader]


def test_batches():
    assert batches(DataLoader(range(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert batches(DataLoader(range(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert batches(DataLoader(range(2))) == [[0], [1]]
    assert batches(DataLoader([])) == []
    assert batches(DataLoader({"a": 1, "b": 2}, sampler=["b", "a"])) == [[2], [1]]
    assert batches(DataLoader(range(9), batch_sampler=[[1, 2], [8]])) == [[1, 2], [8]]
    assert batches(DataLoader(range(3), batch_size=None)) == [0, 1, 2]
    assert batches(DataLoader(range(9), batch_size=None, sampler=[3, 1])) == [3, 1]


def test_fetching_a_batch_at_once():
    class Batched(Numbers):
        def __getitems__(self, indices):
            return [10 * i for i in indices]

    assert batches(DataLoader(Batched(3), batch_size=2)) == [[0, 10], [20]]
    batched = Subset(Batched(9), [5, 7])
    assert batches(DataLoader(batched, batch_size=2)) == [[50, 70]]


@pytest.mark.parametrize("wrap", [as_it_is, lambda d: Subset(Subset(d, range(1, 7)), [0, 5, 2])])
def test_tensor_datasets_give_what_collating_their_rows_gives(wrap):
    x = iskra.randn(7, 2, 3)
    dataset = wrap(TensorDataset(x, iskra.arange(7), x[:, 0].T[0] > 0))
    keys = [2, 0, -1]
    found = next(iter(DataLoader(dataset, batch_sampler=[keys])))
    expected = default_collate([dataset[k] for k in keys])
    assert isinstance(found, list) and len(found) == 3
    for f, e in zip(found, expected):
        assert f.dtype is e.dtype and f.shape == e.shape and f.tolist() == e.tolist()
    found[0].fill_(9.0)
    assert not (x == 9).any()
    with pytest.raises(IndexError):
        next(iter(DataLoader(dataset, batch_sampler=[[99]])))


def test_iterable_datasets():
    assert batches(DataLoader(Sharded(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert batches(DataLoader(Sharded(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert batches(DataLoader(Sharded(4), batch_size=2)) == [[0, 1], [2, 3]]
    assert batches(DataLoader(Sharded(2), batch_size=None)) == [0, 1]
    assert batches(DataLoader(Sharded(0))) == []
    iterator = iter(DataLoader(Sharded(1), batch_size=2))
    assert next(iterator).tolist() == [0]
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(iterator)


def test_orders_are_pytorchs():
    iskra.manual_seed(7)
    loader = DataLoader(range(10), shuffle=True, batch_size=None)
    assert batches(loader) == [3, 2, 7, 8, 6, 1, 5, 9, 0, 4]
    assert batches(loader) == [1, 3, 5, 2, 8, 9, 6, 7, 4, 0]
    g = iskra.Generator().manual_seed(5)
    loader = DataLoader(range(6), shuffle=True, generator=g, batch_size=None)
    assert [batches(loader), batches(loader)] == [[1, 0, 4, 2, 3, 5], [0, 4, 5, 3, 2, 1]]
    assert iskra.randint(100, (1,), generator=g).item() == 84


def draws(act):
    """How many 64-bit numbers `act` draws from the default generator."""
    generator = iskra.default_generator
    generator.manual_seed(7)
    stream = [generator.random64() for _ in range(5)]
    generator.manual_seed(7)
    act()
    return stream.index(generator.random64())


def test_what_an_iteration_draws():
    own = iskra.Generator().manual_seed(3)
    assert draws(lambda: iter(DataLoader(range(3)))) == 1
    assert draws(lambda: list(DataLoader(range(3)))) == 1
    assert draws(lambda: iter(DataLoader(range(3), shuffle=True))) == 1
    assert draws(lambda: list(DataLoader(range(3), shuffle=True))) == 2
    assert draws(lambda: list(DataLoader(range(3), shuffle=True, generator=own))) == 0


def test_lengths():
    assert len(DataLoader(range(5), batch_size=2)) == 3
    assert len(DataLoader(range(5), batch_size=2, drop_last=True)) == 2
    assert len(DataLoader(range(5), batch_size=None)) == 5
    assert len(iter(DataLoader(range(5), batch_size=2))) == 3
    with pytest.raises(TypeError, match="no len"):
        len(DataLoader(Sharded()))
    assert len(DataLoader(Counted(9, 7), batch_size=3)) == 3
    assert len(DataLoader(Counted(9, 7), batch_size=3, drop_last=True)) == 2
    assert len(DataLoader(Counted(9, 7), batch_size=None)) == 7


def test_an_iterable_dataset_longer_than_it_says():
    loader = DataLoader(Counted(3, 2), batch_size=None)
    assert batches(loader) == [0, 1, 2]  # nobody has asked for the length
    len(loader)
    with pytest.warns(UserWarning, match="reported to be 2.*but 3 samples have been fetched"):
        batches(loader)


def test_what_a_loader_holds():
    loader = DataLoader(range(3), batch_size=2)
    assert isinstance(loader.batch_sampler, BatchSampler)
    assert isinstance(loader.sampler, SequentialSampler)
    assert loader.collate_fn is default_collate and loader.prefetch_factor is None
    loader = DataLoader(range(3), shuffle=True, batch_size=None)
    assert isinstance(loader.sampler, RandomSampler) and loader.batch_sampler is None
    assert loader.collate_fn is default_convert
    loader = DataLoader(range(3), batch_sampler=[[1]])
    assert loader.batch_size is None and loader.drop_last is False
    assert DataLoader[int] is DataLoader


def test_pin_memory_is_accepted():
    with pytest.warns(UserWarning, match="pin_memory"):
        assert batches(DataLoader(range(1), pin_memory=True)) == [[0]]


def test_exceptions_pass_unchanged():
    error = ValueError("mine")
    iterator = iter(DataLoader(Numbers(3, Raises(error))))
    next(iterator)
    with pytest.raises(ValueError) as caught:
        next(iterator)
    assert caught.value is error
    assert next(iterator).tolist() == [2]


def test_iterators_are_not_pickled_and_not_leaked():
    loader = DataLoader(range(3))
    iterator = iter(loader)
    with pytest.raises(NotImplementedError):
        pickle.dumps(iterator)
    assert batches(pickle.loads(pickle.dumps(loader))) == [[0], [1], [2]]
    reference = weakref.ref(iterator)
    del iterator
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("options, match", [
    (dict(num_workers=-1), "num_workers option should be non-negative"),
    (dict(timeout=-1), "timeout option should be non-negative"),
    (dict(prefetch_factor=2), "prefetch_factor option could only be specified"),
    (dict(num_workers=1, prefetch_factor=-1), "prefetch_factor option should be non-negative"),
    (dict(persistent_workers=True), "persistent_workers option needs num_workers > 0"),
    (dict(sampler=[1], shuffle=True), "sampler option is mutually exclusive with shuffle"),
    (dict(batch_sampler=[[1]], batch_size=2), "batch_sampler option is mutually exclusive"),
    (dict(batch_sampler=[[1]], shuffle=True), "batch_sampler option is mutually exclusive"),
    (dict(batch_sampler=[[1]], drop_last=True), "batch_sampler option is mutually exclusive"),
    (dict(batch_sampler=[[1]], sampler=[1]), "batch_sampler option is mutually exclusive"),
    (dict(batch_size=None, drop_last=True), "batch_size=None option disables auto-batching"),
    (dict(batch_size=0), "batch_size=0"),
    (dict(batch_size=True), "batch_size=True"),
    (dict(batch_size=1.5), "batch_size=1.5"),
    (dict(drop_last=3), "drop_last=3"),
    (dict(multiprocessing_context="fork"), "multi-process loading"),
    (dict(num_workers=1, multiprocessing_context="x"), "valid start method in .*'x'"),
])
def test_wrong_values(options, match):
    with pytest.raises(ValueError, match=match):
        DataLoader(range(3), **options)


@pytest.mark.parametrize("options, match", [
    (dict(shuffle=True), "unspecified shuffle option, but got shuffle=True"),
    (dict(sampler=[1]), "unspecified sampler option"),
    (dict(batch_sampler=[[1]]), "unspecified batch_sampler option"),
])
def test_wrong_values_with_an_iterable_dataset(options, match):
    with pytest.raises(ValueError, match=match):
        DataLoader(Sharded(), **options)
    DataLoader(Sharded(), shuffle=False)


def test_wrong_types():
    with pytest.raises(TypeError, match="valid context object"):
        DataLoader(range(3), num_workers=1, multiprocessing_context=3)
    with pytest.raises(TypeError, match="generator"):
        iter(DataLoader(range(3), generator=3))
    with pytest.raises(ValueError, match="num_samples=0"):
        DataLoader([], shuffle=True)


@pytest.mark.parametrize("name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
                                  "persistent_workers"])
def test_attributes_that_stay(name):
    loader = DataLoader(range(3))
    with pytest.raises(ValueError, match=f"{name} attribute should not be set"):
        setattr(loader, name, 1)
    loader.anything = 1


def test_many_workers_warn():
    with pytest.warns(UserWarning, match="1000 worker processes"):
        DataLoader(range(3), num_workers=1000)
