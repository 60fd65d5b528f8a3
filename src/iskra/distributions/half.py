"""What one half of a distribution that is symmetric around 0 looks like."""

import math

from iskra.distributions import constraints
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import AbsTransform
from iskra.ops import where, zeros_like


class Half(TransformedDistribution):
    """``|x|`` of an x from such a distribution, which has a `scale`."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, whole, validate_args=None):
        super().__init__(whole, AbsTransform(), validate_args=validate_args)

    scale = property(lambda self: self.base_dist.scale)
    mode = property(lambda self: zeros_like(self.scale))

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
