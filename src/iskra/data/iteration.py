"""Iterating over a loader: what is common, and doing all the work in this process."""

import warnings

from iskra.data.dataset import IterableDataset
from iskra.data.fetch import make_fetcher
from iskra.data.sampler import draw_seed


class LoaderIterator:
    """One pass over a loader's batches. Subclasses define ``_next_batch``."""

    _has_workers = False

    def __init__(self, loader):
        self._dataset = loader.dataset
        self._is_iterable = isinstance(loader.dataset, IterableDataset)
        self._index_sampler = loader._index_sampler
        # Drawn also where no worker needs it, so that the generator goes on as in PyTorch.
        self._base_seed = draw_seed(loader.generator)
        if loader.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but there is no pinned memory here; batches "
                "are given as they are",
                stacklevel=4,
            )
        self._reset(loader)

    def _reset(self, loader):
        self._keys = iter(self._index_sampler)
        self._yielded = 0
        self._reported_length = loader._IterableDataset_len_called

    def __iter__(self):
        return self

    def __next__(self):
        batch = self._next_batch()
        self._yielded += 1
        if self._reported_length is not None and self._yielded > self._reported_length:
            self._warn_longer()
        return batch

    def __len__(self):
        return len(self._index_sampler)

    def __getstate__(self):
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")

    def _warn_longer(self):
        message = (
            f"Length of IterableDataset {self._dataset} was reported to be "
            f"{self._reported_length} (when accessing len(dataloader)), but {self._yielded} "
            "samples have been fetched. "
        )
        if self._has_workers:
            message += (
                "With workers each one iterates over a copy of the dataset: let it share the "
                "samples out by get_worker_info()."
            )
        warnings.warn(message, stacklevel=3)


class SingleProcessIterator(LoaderIterator):
    """Fetches each batch when it is asked for."""

    def __init__(self, loader):
        super().__init__(loader)
        self._fetch = make_fetcher(
            loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )

    def _next_batch(self):
        return self._fetch(next(self._keys))
