"""The Laplace distribution."""

import math

from iskra.core import finfo
from iskra.distributions import constraints
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import broadcast_all
from iskra.ops import abs, empty, expm1, log, log1p, sign

__all__ = ["Laplace"]


class Laplace(Distribution):
    """The Laplace distribution: ``exp(-|x - loc| / scale) / (2 scale)``.

    >>> import iskra as torch
    >>> torch.distributions.Laplace(0.0, 1.0).cdf(torch.tensor([-1.0, 0.0]))
    tensor([0.1839, 0.5000])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _fields = {"loc": 0, "scale": 0}

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)
    stddev = property(lambda self: math.sqrt(2) * self.scale)
    variance = property(lambda self: 2 * self.scale.pow(2))

    def rsample(self, sample_shape=()):
        shape, dtype = self._extended_shape(sample_shape), self.loc.dtype
        u = empty(shape, dtype=dtype, device=self.loc.device).uniform_(finfo(dtype).eps - 1, 1)
        return self.loc - self.scale * sign(u) * log1p(-abs(u))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -log(2 * self.scale) - abs(value - self.loc) / self.scale

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        away = value - self.loc
        return 0.5 - 0.5 * sign(away) * expm1(-abs(away) / self.scale)

    def icdf(self, value):
        term = value - 0.5
        return self.loc - self.scale * sign(term) * log1p(-2 * abs(term))

    def entropy(self):
        return 1 + log(2 * self.scale)
