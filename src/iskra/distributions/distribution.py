"""`Distribution`: what all distributions have in common.

Source: https://docs.pytorch.org/docs/stable/distributions.html#distribution
"""

import functools
import warnings

from iskra.autograd import no_grad
from iskra.core import Size
from iskra.distributions import constraints
from iskra.tensor import Tensor

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution:
    """A distribution over tensors of `event_shape`, a batch of `batch_shape` of them.

    Subclasses name their parameters in `arg_constraints`, and in `_fields` what `expand` expands:
    attribute -> how many of its last dimensions belong to the event.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints = {}
    support = None
    _fields = {}
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value):
        """Whether parameters and values are checked where a distribution does not say."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args needs a bool, not {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self):
        for name, constraint in self.arg_constraints.items():
            lazy = isinstance(getattr(type(self), name, None), functools.cached_property)
            if constraints.is_dependent(constraint) or lazy and name not in self.__dict__:
                continue
            value = getattr(self, name)
            if not constraint.check(value).all():
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                    f"{constraint!r}, but found invalid values:\n{value}"
                )

    @property
    def batch_shape(self):
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of one sample of one of them."""
        return self._event_shape

    @property
    def mean(self):
        """The mean."""
        raise NotImplementedError

    @property
    def mode(self):
        """The most likely value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self):
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape=()):
        """Samples of shape sample_shape + batch_shape + event_shape, outside the graph."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Samples that can be differentiated by the distribution's parameters."""
        raise NotImplementedError

    def sample_n(self, n):
        """``sample((n,))``, an old name."""
        warnings.warn("sample_n will be deprecated. Use .sample((n,)) instead", UserWarning,
                      stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value):
        """The logarithm of the density or probability at `value`, of the batch's shape."""
        raise NotImplementedError

    def cdf(self, value):
        """The probability of values up to `value`."""
        raise NotImplementedError

    def icdf(self, value):
        """The inverse of `cdf`."""
        raise NotImplementedError

    def enumerate_support(self, expand=True):
        """All values of a discrete distribution, along a new first dimension."""
        raise NotImplementedError

    def entropy(self):
        """The entropy in nats, of the batch's shape."""
        raise NotImplementedError

    def perplexity(self):
        """``exp(entropy)``."""
        return self.entropy().exp()

    def expand(self, batch_shape, _instance=None):
        """The same distribution with its parameters broadcast to another batch shape."""
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = Size(batch_shape)
        for name, dims in self._fields.items():
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                value = value.expand(batch_shape + value.shape[value.ndim - dims:])
            elif isinstance(value, Distribution):
                extra = len(value.batch_shape) - dims
                value = value.expand(batch_shape + value.batch_shape[extra:])
            elif value is None:
                continue
            setattr(new, name, value)
        new._batch_shape, new._event_shape = batch_shape, self._event_shape
        new._validate_args = self._validate_args
        return new

    def _get_checked_instance(self, cls, _instance=None):
        return cls.__new__(cls) if _instance is None else _instance

    def _extended_shape(self, sample_shape=()):
        return Size(sample_shape) + self._batch_shape + self._event_shape

    def _validate_sample(self, value):
        """Raise ValueError unless `value` fits the shapes and lies in the support."""
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        first = value.ndim - len(self._event_shape)
        if value.shape[first:] != self._event_shape:
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs "
                f"{self._event_shape}."
            )
        expected = self._batch_shape + self._event_shape
        for ours, theirs in zip(reversed(value.shape), reversed(expected), strict=False):
            if ours != 1 and theirs != 1 and ours != theirs:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.shape} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            support = None
        if support is None:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. Please "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not support.check(value).all():
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value}"
            )

    def __repr__(self):
        shown = []
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                shown.append(f"{name}: {value if value.numel() == 1 else value.size()}")
        return f"{type(self).__name__}({', '.join(shown)})"


class ExponentialFamily(Distribution):
    """A distribution whose density is ``exp(t(x) θ - F(θ) + k(x))``; a mark, no more."""
