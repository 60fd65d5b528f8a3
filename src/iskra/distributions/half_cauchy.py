"""The half-Cauchy distribution."""

import math

from iskra.distributions import constraints
from iskra.distributions.cauchy import Cauchy
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import AbsTransform
from iskra.ops import full_like, where, zeros_like

__all__ = ["HalfCauchy"]


class HalfCauchy(TransformedDistribution):
    """``|x|`` of a Cauchy x around 0. It has no finite mean.

    >>> import iskra as torch
    >>> torch.distributions.HalfCauchy(1.0).cdf(torch.tensor(1.0))
    tensor(0.5000)
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale, validate_args=None):
        super().__init__(
            Cauchy(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    scale = property(lambda self: self.base_dist.scale)
    mean = property(lambda self: full_like(self.scale, math.inf))
    mode = property(lambda self: zeros_like(self.scale))
    variance = property(lambda self: self.base_dist.variance)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logs = self.base_dist.log_prob(value) + math.log(2)
        return where(value >= 0, logs, -math.inf)

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, prob):
        return self.base_dist.icdf((prob + 1) / 2)

    def entropy(self):
        return self.base_dist.entropy() - math.log(2)
