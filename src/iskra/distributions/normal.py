"""The normal distribution."""

import math

from iskra.autograd import no_grad
from iskra.distributions import constraints
from iskra.distributions.distribution import ExponentialFamily
from iskra.distributions.utils import HALF_LOG_2PI, broadcast_all, standard_normal
from iskra.ops import erf, erfinv, log, normal

__all__ = ["Normal"]


class Normal(ExponentialFamily):
    """The normal distribution of mean `loc` and standard deviation `scale`.

    >>> import iskra as torch
    >>> d = torch.distributions.Normal(0.0, torch.tensor([1.0, 2.0]))
    >>> d
    Normal(loc: iskra.Size([2]), scale: iskra.Size([2]))
    >>> d.log_prob(torch.tensor(0.0))
    tensor([-0.9189, -1.6121])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _fields = {"loc": 0, "scale": 0}

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)
    stddev = property(lambda self: self.scale)
    variance = property(lambda self: self.stddev.pow(2))

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape=()):
        return self.loc + standard_normal(self._extended_shape(sample_shape), self.loc) * self.scale

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        squares = ((value - self.loc) ** 2) / (2 * self.scale ** 2)
        return -squares - log(self.scale) - HALF_LOG_2PI

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return 0.5 * (1 + erf((value - self.loc) * self.scale.reciprocal() / math.sqrt(2)))

    def icdf(self, value):
        return self.loc + self.scale * erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self):
        return 0.5 + HALF_LOG_2PI + log(self.scale)
