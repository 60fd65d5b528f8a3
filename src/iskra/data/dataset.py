"""Datasets: what holds the samples, and datasets made of datasets.

Source: https://docs.pytorch.org/docs/stable/data.html#dataset-types
"""

import bisect
import math
import warnings
from abc import ABC, abstractmethod
from itertools import accumulate

from iskra import ops
from iskra.core import default_generator


class Dataset:
    """Base of datasets that give a sample for a key: define ``__getitem__`` and ``__len__``.

    A dataset may also define ``__getitems__``, which takes a list of keys and returns a list of
    samples; a `DataLoader` then fetches a batch with one call.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Dataset

    >>> import iskra as torch
    >>> class Squares(torch.utils.data.Dataset):
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, i):
    ...         return i * i
    >>> Squares()[2]
    4
    """

    def __getitem__(self, index):
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other):
        return ConcatDataset([self, other])

    def __class_getitem__(cls, item):
        """``Dataset[int]``, as annotations have it, is `Dataset` itself."""
        return cls


class IterableDataset(Dataset, ABC):
    """Base of datasets that give their samples one after the other: define ``__iter__``.

    In a loader with workers each worker iterates over a copy: share the samples out between them
    by `get_worker_info`.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset

    >>> import iskra as torch
    >>> class Count(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> list(torch.utils.data.DataLoader(Count(), batch_size=2))
    [tensor([0, 1]), tensor([2])]
    """

    @abstractmethod
    def __iter__(self):
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other):
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """The rows of several tensors of one length: sample ``i`` is ``(a[i], b[i], ...)``.

    Raises AssertionError where the tensors differ in length.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.TensorDataset

    >>> import iskra as torch
    >>> torch.utils.data.TensorDataset(torch.tensor([1, 2]), torch.tensor([3, 4]))[0]
    (tensor(1), tensor(3))
    """

    def __init__(self, *tensors):
        lengths = [tensor.size(0) for tensor in tensors]
        if len(set(lengths)) > 1:
            raise AssertionError(f"Size mismatch between tensors: their lengths are {lengths}")
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self):
        return self.tensors[0].size(0)


class StackDataset(Dataset):
    """The samples of several datasets of one length side by side, as tuples or, by name, as dicts.

    Raises ValueError where there is none, their lengths differ, or both forms are given.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.StackDataset

    >>> import iskra as torch
    >>> torch.utils.data.StackDataset(image=[1, 2], label=["a", "b"])[1]
    {'image': 2, 'label': 'b'}
    """

    def __init__(self, *args, **kwargs):
        if args and kwargs:
            raise ValueError("give datasets either as positional or as named arguments, not both")
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in (args or kwargs.values())]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: their lengths are {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index):
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices):
        """The samples of a list of indices, fetched from each dataset at once where it can."""
        if isinstance(self.datasets, dict):
            columns = [_fetch(dataset, indices) for dataset in self.datasets.values()]
            return [dict(zip(self.datasets, row)) for row in zip(*columns)]
        return list(zip(*[_fetch(dataset, indices) for dataset in self.datasets]))

    def __len__(self):
        return self._length


def _fetch(dataset, indices):
    """The samples of `indices`, by ``__getitems__`` where the dataset has it."""
    if not callable(getattr(dataset, "__getitems__", None)):
        return [dataset[i] for i in indices]
    samples = dataset.__getitems__(indices)
    if not isinstance(samples, list):
        raise ValueError(
            f"__getitems__ of {type(dataset).__name__} should return a list, not "
            f"{type(samples).__name__}"
        )
    if len(samples) != len(indices):
        raise ValueError(
            f"__getitems__ of {type(dataset).__name__} was asked for {len(indices)} samples but "
            f"returned {len(samples)}"
        )
    return samples


class ConcatDataset(Dataset):
    """Datasets one after the other, by index; ``a + b`` makes one too.

    Raises AssertionError where there is none, or one is an `IterableDataset`.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.ConcatDataset

    >>> import iskra as torch
    >>> torch.utils.data.ConcatDataset([[1, 2], [3]])[2]
    3
    """

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset; use ChainDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    @staticmethod
    def cumsum(sequence):
        """The index after the last sample of each dataset.

        >>> import iskra as torch
        >>> torch.utils.data.ConcatDataset.cumsum([[1, 2], [3]])
        [2, 3]
        """
        return list(accumulate(len(dataset) for dataset in sequence))

    def __len__(self):
        return self.cumulative_sizes[-1]

    def __getitem__(self, index):
        if index < 0:
            if -index > len(self):
                raise ValueError(
                    f"absolute value of index should not exceed dataset length: index {index}, "
                    f"length {len(self)}"
                )
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - start]

    @property
    def cummulative_sizes(self):
        """Misspelt name of `cumulative_sizes`."""
        warnings.warn(
            "cummulative_sizes attribute is renamed to cumulative_sizes", FutureWarning,
            stacklevel=2,
        )
        return self.cumulative_sizes


class ChainDataset(IterableDataset):
    """Iterable datasets one after the other; ``a + b`` makes one too.

    Iterating raises AssertionError where one is no `IterableDataset`.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.ChainDataset

    >>> import iskra as torch
    >>> class Count(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(2))
    >>> list(torch.utils.data.ChainDataset([Count(), Count()]))
    [0, 1, 0, 1]
    """

    def __init__(self, datasets):
        self.datasets = datasets

    def __iter__(self):
        for dataset in self._checked():
            yield from dataset

    def __len__(self):
        return sum(len(dataset) for dataset in self._checked())

    def _checked(self):
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError(
                    f"ChainDataset only supports IterableDataset, not {type(dataset).__name__}"
                )
            yield dataset


class Subset(Dataset):
    """Those samples of a dataset that `indices` names, in that order.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Subset

    >>> import iskra as torch
    >>> list(torch.utils.data.Subset("abcd", [3, 0]))
    ['d', 'a']
    """

    def __init__(self, dataset, indices):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index):
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices):
        """The samples of a list of indices, fetched at once where the dataset can."""
        wanted = [self.indices[i] for i in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__(wanted)
        return [self.dataset[i] for i in wanted]

    def __len__(self):
        return len(self.indices)


def random_split(dataset, lengths, generator=default_generator):
    """Share the samples of `dataset` out at random into subsets of the given lengths.

    `lengths` may also be fractions that sum to 1: each gets the floor of its part, and what is left
    over goes to the first subsets, one each. Raises ValueError where lengths do not fit.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.random_split

    >>> import iskra as torch
    >>> generator = torch.Generator().manual_seed(1)
    >>> a, b = torch.utils.data.random_split(range(10), [0.3, 0.7], generator=generator)
    >>> list(a), len(b)
    ([5, 6, 1], 7)
    """
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths_of_fractions(lengths, len(dataset))
    if sum(lengths) != len(dataset):
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset! They sum to "
            f"{sum(lengths)}, but it has {len(dataset)} samples"
        )
    order = ops.randperm(sum(lengths), generator=generator).tolist()
    return [
        Subset(dataset, order[stop - length : stop])
        for stop, length in zip(accumulate(lengths), lengths)
    ]


def _lengths_of_fractions(fractions, size):
    for i, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {i} is not between 0 and 1: {fraction}")
    lengths = [math.floor(size * fraction) for fraction in fractions]
    for i in range(size - sum(lengths)):
        lengths[i % len(lengths)] += 1
    for i, length in enumerate(lengths):
        if length == 0:
            warnings.warn(
                f"Length of split at index {i} is 0. This might result in an empty dataset.",
                stacklevel=3,
            )
    return lengths
