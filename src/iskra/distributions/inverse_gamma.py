"""The inverse gamma distribution."""

import math

from iskra.distributions import constraints
from iskra.distributions.gamma import Gamma
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import PowerTransform
from iskra.ops import where

__all__ = ["InverseGamma"]


class InverseGamma(TransformedDistribution):
    """``1 / x`` of a gamma x.

    >>> import iskra as torch
    >>> torch.distributions.InverseGamma(3.0, 4.0).mean
    tensor(2.)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration, rate, validate_args=None):
        base = Gamma(concentration, rate, validate_args=validate_args)
        super().__init__(
            base, PowerTransform(-base.rate.new_ones(())), validate_args=validate_args)

    concentration = property(lambda self: self.base_dist.concentration)
    rate = property(lambda self: self.base_dist.rate)
    mode = property(lambda self: self.rate / (self.concentration + 1))

    @property
    def mean(self):
        return where(self.concentration > 1, self.rate / (self.concentration - 1), math.inf)

    @property
    def variance(self):
        a = self.concentration
        finite = self.rate.square() / ((a - 1).square() * (a - 2))
        return where(a > 2, finite, math.inf)

    def entropy(self):
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()
