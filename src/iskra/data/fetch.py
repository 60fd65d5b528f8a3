"""Fetching a batch from a dataset: what a loader does itself, or its workers for it."""

from iskra.data.collate import default_collate
from iskra.data.dataset import IterableDataset, Subset, TensorDataset


def make_fetcher(dataset, batched, collate_fn, drop_last):
    """The function that turns what a sampler gives into a batch."""
    if isinstance(dataset, IterableDataset):
        return _IterableFetcher(dataset, batched, collate_fn, drop_last)
    return _MapFetcher(dataset, batched, collate_fn)


class _MapFetcher:
    """Samples by key, one or a list of them."""

    def __init__(self, dataset, batched, collate_fn):
        self.dataset = dataset
        self.batched = batched
        self.collate_fn = collate_fn

    def __call__(self, keys):
        if not self.batched:
            return self.collate_fn(self.dataset[keys])
        if self.collate_fn is default_collate:
            columns = _columns(self.dataset, keys)
            if columns is not None:
                return columns
        if getattr(self.dataset, "__getitems__", None):
            return self.collate_fn(self.dataset.__getitems__(keys))
        return self.collate_fn([self.dataset[key] for key in keys])


class _IterableFetcher:
    """The next samples, whatever the keys: only their number counts."""

    def __init__(self, dataset, batched, collate_fn, drop_last):
        self.iterator = iter(dataset)
        self.batched = batched
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def __call__(self, keys):
        """Raises StopIteration where there is nothing left."""
        if self.ended:
            raise StopIteration
        if not self.batched:
            return self.collate_fn(next(self.iterator))
        samples = []
        for _ in keys:
            try:
                samples.append(next(self.iterator))
            except StopIteration:
                self.ended = True
                break
        if not samples or self.drop_last and self.ended:
            raise StopIteration
        return self.collate_fn(samples)


def _columns(dataset, keys):
    """The batch of a `TensorDataset`, or of a subset of one, with one indexing for each tensor.

    It is what collating the rows one by one gives. None for other datasets and unusual keys.
    """
    while type(dataset) is Subset:
        dataset, keys = dataset.dataset, [dataset.indices[key] for key in keys]
    if type(dataset) is not TensorDataset or any(type(key) is not int for key in keys):
        return None
    return [tensor[keys] for tensor in dataset.tensors]
