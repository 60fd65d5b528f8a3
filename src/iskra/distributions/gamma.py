"""The gamma distribution and chi-squared, its special case."""

from iskra.core import finfo
from iskra.distributions import constraints
from iskra.distributions.distribution import ExponentialFamily
from iskra.distributions.utils import broadcast_all
from iskra.ops import _standard_gamma, digamma, lgamma, log, xlogy
from iskra.ops import gammainc as gamma_share

__all__ = ["Gamma"]


class Gamma(ExponentialFamily):
    """The gamma distribution of shape `concentration` and scale ``1 / rate``.

    >>> import iskra as torch
    >>> torch.distributions.Gamma(2.0, 4.0).mean
    tensor(0.5000)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _fields = {"concentration": 0, "rate": 0}

    def __init__(self, concentration, rate, validate_args=None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    mean = property(lambda self: self.concentration / self.rate)
    mode = property(lambda self: ((self.concentration - 1) / self.rate).clamp(min=0))
    variance = property(lambda self: self.concentration / self.rate.pow(2))

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        value = _standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=finfo(value.dtype).tiny)  # its logarithm is to be finite
        return value

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return (
            xlogy(self.concentration, self.rate) + xlogy(self.concentration - 1, value)
            - self.rate * value - lgamma(self.concentration)
        )

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return gamma_share(self.concentration, self.rate * value)

    def entropy(self):
        return (
            self.concentration - log(self.rate) + lgamma(self.concentration)
            + (1.0 - self.concentration) * digamma(self.concentration)
        )
