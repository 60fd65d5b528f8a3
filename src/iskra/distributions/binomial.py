"""The binomial distribution."""

from iskra.autograd import no_grad
from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import broadcast_all, log1p_exp
from iskra.ops import arange, binomial, exp, lgamma

__all__ = ["Binomial"]


class Binomial(ByProbs, Distribution):
    """The number of successes among `total_count` trials of probability `probs`.

    >>> import iskra as torch
    >>> torch.distributions.Binomial(4, torch.tensor(0.5)).log_prob(torch.tensor(4.0)).exp()
    tensor(0.0625)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True
    _fields = {"total_count": 0, "probs": 0, "logits": 0}

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        self._check_one(probs, logits)
        if probs is not None:
            count, self.probs = broadcast_all(total_count, probs)
        else:
            count, self.logits = broadcast_all(total_count, logits)
        self.total_count = count.type_as(self._given)
        super().__init__(self._given.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self.total_count)

    mean = property(lambda self: self.total_count * self.probs)
    mode = property(
        lambda self: ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count))
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        # log C(n, k) + k logits - n log(1 + exp(logits))
        logits, n = self.logits, self.total_count
        ways = lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1)
        return ways + value * logits - n * log1p_exp(logits)

    def entropy(self):
        most = int(self.total_count.max())
        if not self.total_count.min() == most:
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `entropy`."
            )
        logs = self.log_prob(self.enumerate_support(False))
        return -(exp(logs) * logs).sum(0)

    def enumerate_support(self, expand=True):
        most = int(self.total_count.max())
        if not self.total_count.min() == most:
            raise NotImplementedError(
                "Inhomogeneous total count not supported by `enumerate_support`."
            )
        values = arange(1 + most, dtype=self._given.dtype, device=self._given.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1,) + self._batch_shape) if expand else values
