"""The Poisson distribution."""

from iskra.autograd import no_grad
from iskra.distributions import constraints
from iskra.distributions.distribution import ExponentialFamily
from iskra.distributions.utils import broadcast_all
from iskra.ops import lgamma, poisson, xlogy

__all__ = ["Poisson"]


class Poisson(ExponentialFamily):
    """The number of events where `rate` are expected.

    >>> import iskra as torch
    >>> torch.distributions.Poisson(2.0).log_prob(torch.tensor(0.0))
    tensor(-2.)
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    _fields = {"rate": 0}

    def __init__(self, rate, validate_args=None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    mean = variance = property(lambda self: self.rate)
    mode = property(lambda self: self.rate.floor())

    def sample(self, sample_shape=()):
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_all(self.rate, value)
        return xlogy(value, rate) - rate - lgamma(value + 1)
