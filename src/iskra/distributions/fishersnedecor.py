"""The Fisher-Snedecor distribution."""

import math

from iskra.core import finfo
from iskra.distributions import constraints
from iskra.distributions.distribution import Distribution
from iskra.distributions.gamma import Gamma
from iskra.distributions.utils import broadcast_all
from iskra.ops import lgamma, where

__all__ = ["FisherSnedecor"]


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared values, each divided by its degrees of freedom.

    >>> import iskra as torch
    >>> torch.distributions.FisherSnedecor(1.0, 4.0).mean
    tensor(2.)
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _fields = {"df1": 0, "df2": 0, "_gamma1": 0, "_gamma2": 0}

    def __init__(self, df1, df2, validate_args=None):
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1 = Gamma(self.df1 * 0.5, self.df1)
        self._gamma2 = Gamma(self.df2 * 0.5, self.df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self):
        return where(self.df2 > 2, self.df2 / (self.df2 - 2), math.nan)

    @property
    def mode(self):
        low = where(self.df1 > 2, (self.df1 - 2) / self.df1, math.nan)
        return low * self.df2 / (self.df2 + 2)

    @property
    def variance(self):
        one, two = self.df1, self.df2
        finite = 2 * two.pow(2) * (one + two - 2) / (one * (two - 2).pow(2) * (two - 4))
        return where(two > 4, finite, math.nan)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        above = self._gamma1.rsample(sample_shape).view(shape)
        below = self._gamma2.rsample(sample_shape).view(shape)
        tiny = finfo(below.dtype).tiny
        below.detach().clamp_(min=tiny)
        ratio = above / below
        return ratio.clamp(min=tiny)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        one, two = self.df1 * 0.5, self.df2 * 0.5
        ratio = self.df1 / self.df2
        scale = (one + two).lgamma() - lgamma(one) - lgamma(two)
        value_part = one * ratio.log() + (one - 1) * value.log()
        return scale + value_part - (one + two) * (ratio * value).log1p()
