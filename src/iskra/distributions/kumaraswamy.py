"""The Kumaraswamy distribution."""

import math

from iskra.distributions import constraints
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import AffineTransform, PowerTransform
from iskra.distributions.uniform import Uniform
from iskra.distributions.utils import EULER, broadcast_all
from iskra.ops import digamma, exp, full_like, lgamma, log, where

__all__ = ["Kumaraswamy"]


class Kumaraswamy(TransformedDistribution):
    """``(1 - u ** (1 / concentration0)) ** (1 / concentration1)`` of a uniform u.

    >>> import iskra as torch
    >>> torch.distributions.Kumaraswamy(1.0, 1.0).mean
    tensor(0.5000)
    """

    arg_constraints = {
        "concentration1": constraints.positive, "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1, concentration0, validate_args=None):
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(full_like(self.concentration0, 0), full_like(self.concentration0, 1),
                       validate_args=validate_args)
        super().__init__(base, [
            PowerTransform(exponent=self.concentration0.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(exponent=self.concentration1.reciprocal()),
        ], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Kumaraswamy, _instance)
        for name in ("concentration1", "concentration0"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        return super().expand(batch_shape, new)

    def _moment(self, n):
        a, b = self.concentration1, self.concentration0
        ratio = 1 + n / a
        return exp(log(b) + lgamma(ratio) + lgamma(b) - lgamma(ratio + b))

    @property
    def mode(self):
        a, b = self.concentration1, self.concentration0
        inside = ((a - 1) / (a * b - 1)).pow(a.reciprocal())
        return where((a < 1) | (b < 1), math.nan, inside)

    mean = property(lambda self: self._moment(1))
    variance = property(lambda self: self._moment(2) - self.mean.pow(2))

    def entropy(self):
        one, zero = self.concentration1, self.concentration0
        harmonic = digamma(zero + 1) + EULER
        return (1 - zero.reciprocal()) + (1 - one.reciprocal()) * harmonic - log(one) - log(zero)
