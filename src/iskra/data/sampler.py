"""Samplers: in which order a loader takes the samples of a dataset.

The random ones draw as PyTorch does, so that a seed gives the same order.
Source: https://docs.pytorch.org/docs/stable/data.html#data-loading-order-and-sampler
"""

import itertools

from iskra import ops
from iskra.core import Generator, default_generator, float64, int64


class Sampler:
    """Base of samplers: define ``__iter__``, which gives keys or lists of keys, and ``__len__``.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Sampler

    >>> import iskra as torch
    >>> class Backwards(torch.utils.data.Sampler):
    ...     def __iter__(self):
    ...         return iter([2, 1, 0])
    >>> list(torch.utils.data.DataLoader([5, 6, 7], sampler=Backwards()))
    [tensor([7]), tensor([6]), tensor([5])]
    """

    def __iter__(self):
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")

    def __class_getitem__(cls, item):
        """``Sampler[int]``, as annotations have it, is `Sampler` itself."""
        return cls


def draw_seed(generator=None):
    """A seed from 0 to ``2**63 - 1``, drawn from `generator` or the default one."""
    generator = default_generator if generator is None else generator
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    return generator.random64() & 0x7FFFFFFFFFFFFFFF


def check_positive(name, value):
    """Raise ValueError unless `value` is an int above 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


def _check_bool(name, value, error=ValueError):
    if not isinstance(value, bool):
        raise error(f"{name} should be a boolean value, but got {name}={value}")


class SequentialSampler(Sampler):
    """0, 1, 2 and so on.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.SequentialSampler

    >>> import iskra as torch
    >>> list(torch.utils.data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """All indices in a random order; with `replacement` each drawn from all.

    `num_samples` (None: as many as there are) may be more: then one order follows another. Without
    `generator` the default one gives the seed for a new one in each iteration.

    Raises TypeError unless `replacement` is a bool, ValueError unless `num_samples` is positive.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.RandomSampler

    >>> import iskra as torch
    >>> generator = torch.Generator().manual_seed(3)
    >>> list(torch.utils.data.RandomSampler(range(10), generator=generator))
    [6, 0, 3, 7, 8, 5, 1, 9, 2, 4]
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        _check_bool("replacement", replacement, TypeError)
        check_positive("num_samples", self.num_samples)

    @property
    def num_samples(self):
        """How many indices an iteration gives; the dataset may grow meanwhile."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self):
        generator = self.generator
        if generator is None:
            generator = Generator()
            generator.manual_seed(draw_seed())
        size, count = len(self.data_source), self.num_samples
        if self.replacement:
            for start in range(0, count, 32):
                shape = (min(32, count - start),)
                yield from ops.randint(size, shape, dtype=int64, generator=generator).tolist()
            return
        for _ in range(count // size):
            yield from ops.randperm(size, generator=generator).tolist()
        # Drawn even where nothing of it is used: the generator is to end where PyTorch's does.
        yield from ops.randperm(size, generator=generator).tolist()[: count % size]

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices in a random order.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.SubsetRandomSampler

    >>> import iskra as torch
    >>> sorted(torch.utils.data.SubsetRandomSampler([5, 6, 7]))
    [5, 6, 7]
    """

    def __init__(self, indices, generator=None):
        self.indices = indices
        self.generator = generator

    def __iter__(self):
        for i in ops.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self):
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """`num_samples` indices, each with a probability in proportion to its weight.

    Raises ValueError unless `num_samples` is positive, `replacement` a bool and `weights` one row.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.WeightedRandomSampler

    >>> import iskra as torch
    >>> list(torch.utils.data.WeightedRandomSampler([0.0, 1.0], num_samples=3))
    [1, 1, 1]
    """

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        check_positive("num_samples", num_samples)
        _check_bool("replacement", replacement)
        weights = ops.as_tensor(weights, dtype=float64)
        if weights.dim() != 1:
            raise ValueError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(weights.shape)}"
            )
        self.weights = weights
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self):
        drawn = ops.multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        yield from drawn.tolist()

    def __len__(self):
        return self.num_samples


class BatchSampler(Sampler):
    """The keys of another sampler in lists of `batch_size`; a short last one may be dropped.

    Raises ValueError unless `batch_size` is a positive int and `drop_last` a bool.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.BatchSampler

    >>> import iskra as torch
    >>> list(torch.utils.data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler, batch_size, drop_last):
        check_positive("batch_size", batch_size)
        _check_bool("drop_last", drop_last)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self):
        keys = iter(self.sampler)
        while batch := list(itertools.islice(keys, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self):
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full if self.drop_last or not rest else full + 1
