"""The half-normal distribution."""

import math

from iskra.distributions import constraints
from iskra.distributions.normal import Normal
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import AbsTransform
from iskra.ops import where, zeros_like

__all__ = ["HalfNormal"]


class HalfNormal(TransformedDistribution):
    """``|x|`` of a normal x of mean 0 and deviation `scale`.

    >>> import iskra as torch
    >>> torch.distributions.HalfNormal(1.0).mean
    tensor(0.7979)
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, scale, validate_args=None):
        super().__init__(
            Normal(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    scale = property(lambda self: self.base_dist.scale)
    mean = property(lambda self: self.scale * math.sqrt(2 / math.pi))
    mode = property(lambda self: zeros_like(self.scale))
    variance = property(lambda self: self.scale.pow(2) * (1 - 2 / math.pi))

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
