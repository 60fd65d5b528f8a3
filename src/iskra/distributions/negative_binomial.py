"""The negative binomial distribution."""

from iskra.autograd import no_grad
from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import Distribution
from iskra.distributions.gamma import Gamma
from iskra.distributions.utils import broadcast_all
from iskra.ops import exp, lgamma, logsigmoid, poisson

__all__ = ["NegativeBinomial"]


class NegativeBinomial(ByProbs, Distribution):
    """The number of successes, of probability `probs`, before `total_count` failures.

    >>> import iskra as torch
    >>> torch.distributions.NegativeBinomial(3.0, 0.5).mean
    tensor(3.)
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0), "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    _fields = {"total_count": 0, "probs": 0, "logits": 0}

    def __init__(self, total_count, probs=None, logits=None, validate_args=None):
        self._check_one(probs, logits)
        if probs is not None:
            count, self.probs = broadcast_all(total_count, probs)
        else:
            count, self.logits = broadcast_all(total_count, logits)
        self.total_count = count.type_as(self._given)
        super().__init__(self._given.shape, validate_args=validate_args)

    mean = property(lambda self: self.total_count * exp(self.logits))
    variance = property(lambda self: self.mean / (-self.logits).sigmoid())

    @property
    def mode(self):
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    def sample(self, sample_shape=()):
        with no_grad():
            rates = Gamma(self.total_count, exp(-self.logits), validate_args=False)
            return poisson(rates.sample(sample_shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        chances = self.total_count * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        total = self.total_count + value
        ways = lgamma(total) - lgamma(1.0 + value) - lgamma(self.total_count)
        return chances + ways.masked_fill(total == 0.0, 0.0)
