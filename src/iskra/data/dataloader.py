"""`DataLoader`: batches of a dataset, in order or shuffled, loaded here or by worker processes."""

import multiprocessing
import os
import warnings
from multiprocessing.context import BaseContext

from iskra.data.collate import default_collate, default_convert
from iskra.data.dataset import IterableDataset
from iskra.data.iteration import SingleProcessIterator
from iskra.data.processes import MultiProcessIterator
from iskra.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _Endless(Sampler):
    """None, over and over: what an iterable dataset has for keys."""

    def __iter__(self):
        while True:
            yield None


class DataLoader:
    """Iterable over the batches of a dataset.

    A map-style dataset is read by the keys of `sampler`, in order if there is none, or shuffled; an
    `IterableDataset` in its own order. `batch_size` samples at a time (a short last batch is left
    out with `drop_last`), or the lists of keys of `batch_sampler`, are put together by
    `collate_fn`; with ``batch_size=None`` samples are given one by one.

    With `num_workers`, that many processes load batches ahead, `prefetch_factor` each (2), and hand
    them over in shared memory. They are started as `multiprocessing_context` says (``"fork"``,
    ``"spawn"``, ``"forkserver"`` or a context) for each iteration anew, or kept with
    `persistent_workers`; `worker_init_fn` is called in each with its number. Worker ``i`` is seeded
    with a seed drawn from `generator`, plus ``i``. Batches come in the order of the keys, with
    ``in_order=False`` as they are ready; after `timeout` seconds of waiting (0: never) RuntimeError
    is raised, as it is when a worker dies. An exception in a worker is raised here, with its class
    and traceback. `pin_memory` is accepted and changes nothing.

    Raises ValueError for options that contradict each other or are out of range.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader

    >>> import iskra as torch
    >>> for batch in torch.utils.data.DataLoader([1, 2, 3], batch_size=2):
    ...     print(batch)
    tensor([1, 2])
    tensor([3])
    """

    _iterator = None
    _initialized = False

    def __init__(
        self, dataset, batch_size=1, shuffle=None, sampler=None, batch_sampler=None,
        num_workers=0, collate_fn=None, pin_memory=False, drop_last=False, timeout=0,
        worker_init_fn=None, multiprocessing_context=None, generator=None, *,
        prefetch_factor=None, persistent_workers=False, pin_memory_device="", in_order=True,
    ):
        prefetch_factor = _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        if isinstance(dataset, IterableDataset):
            _check_iterable(shuffle, sampler, batch_sampler)
            sampler = _Endless()
        elif sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            sampler = (
                RandomSampler(dataset, generator=generator) if shuffle
                else SequentialSampler(dataset)
            )
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._IterableDataset_len_called = None
        self._initialized = True
        self.check_worker_number_rationality()

    def __class_getitem__(cls, item):
        """``DataLoader[int]``, as annotations have it, is `DataLoader` itself."""
        return cls

    def __setattr__(self, name, value):
        if self._initialized and name in _FIXED:
            raise ValueError(
                f"{name} attribute should not be set after DataLoader is initialized"
            )
        object.__setattr__(self, name, value)

    @property
    def multiprocessing_context(self):
        """How workers are started: a context of `multiprocessing`, or None for its default."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, value):
        self._multiprocessing_context = _checked_context(value, self.num_workers)

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def _get_iterator(self):
        if self.num_workers == 0:
            return SingleProcessIterator(self)
        self.check_worker_number_rationality()
        return MultiProcessIterator(self)

    def __iter__(self):
        if not (self.persistent_workers and self.num_workers > 0):
            return self._get_iterator()
        if self._iterator is None or self._iterator.is_stopped:
            self._iterator = self._get_iterator()
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self):
        if not isinstance(self.dataset, IterableDataset):
            return len(self._index_sampler)
        # Remembered, so that an iteration can warn of a dataset that is longer than it says.
        length = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return length
        full, rest = divmod(length, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def check_worker_number_rationality(self):
        """Warn if there are more workers than processors for them.

        >>> import iskra as torch
        >>> torch.utils.data.DataLoader([1, 2]).check_worker_number_rationality()
        """
        if not self.num_workers:
            return
        processors = _processors()
        if processors is None or self.num_workers > processors:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our "
                f"suggested max number of worker in current system is {processors}; more of them "
                "are slower, not faster. Lower num_workers",
                stacklevel=3,
            )


def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers):
    """Check the options of workers; return the prefetch factor."""
    if num_workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing: let "
            "num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    return 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor


def _check_iterable(shuffle, sampler, batch_sampler):
    """An iterable dataset has no keys for samplers to choose from."""
    if shuffle not in (False, None):
        name, value = "shuffle", shuffle
    elif sampler is not None:
        name, value = "sampler", sampler
    elif batch_sampler is not None:
        name, value = "batch_sampler", batch_sampler
    else:
        return
    raise ValueError(
        f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
        f"{name}={value}"
    )


def _checked_context(value, num_workers):
    if value is None:
        return None
    if num_workers <= 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading "
            f"(num_workers > 0), but got num_workers={num_workers}"
        )
    if isinstance(value, str):
        methods = multiprocessing.get_all_start_methods()
        if value not in methods:
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{methods}, but got multiprocessing_context={value!r}"
            )
        return multiprocessing.get_context(value)
    if not isinstance(value, BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string "
            f"specifying the start method, but got multiprocessing_context={value}"
        )
    return value


def _processors():
    """How many processors this process may use; None if the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
