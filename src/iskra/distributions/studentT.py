"""Student's t distribution."""

import math

from iskra.distributions import constraints
from iskra.distributions.chi2 import Chi2
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import broadcast_all, standard_normal
from iskra.ops import digamma, full_like, lgamma, log1p, rsqrt, where

__all__ = ["StudentT"]


class StudentT(Distribution):
    """Student's t with `df` degrees of freedom, moved by `loc` and stretched by `scale`.

    >>> import iskra as torch
    >>> torch.distributions.StudentT(3.0).variance
    tensor(3.)
    """

    arg_constraints = {
        "df": constraints.positive, "loc": constraints.real, "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True
    _fields = {"df": 0, "loc": 0, "scale": 0, "_chi2": 0}

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.shape, validate_args=validate_args)

    mode = property(lambda self: self.loc)
    mean = property(lambda self: where(self.df > 1, self.loc, math.nan))

    @property
    def variance(self):
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        wide = where(self.df > 1, full_like(self.df, math.inf), math.nan)
        return where(self.df > 2, finite, wide)

    def rsample(self, sample_shape=()):
        x = standard_normal(self._extended_shape(sample_shape), self.df)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * rsqrt(z / self.df))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        return -0.5 * (self.df + 1.0) * log1p(y ** 2.0 / self.df) - self._log_normalizer()

    def _log_normalizer(self):
        return (
            self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi)
            + lgamma(0.5 * self.df) - lgamma(0.5 * (self.df + 1.0))
        )

    def entropy(self):
        half, half_more = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = lgamma(half) + math.lgamma(0.5) - lgamma(half_more)
        spread = half_more * (digamma(half_more) - digamma(half))
        return self.scale.log() + spread + 0.5 * self.df.log() + log_beta
