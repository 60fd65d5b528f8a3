"""The logistic normal distribution, over shares that sum to one."""

from iskra.distributions import constraints
from iskra.distributions.normal import Normal
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import StickBreakingTransform

__all__ = ["LogisticNormal"]


class LogisticNormal(TransformedDistribution):
    """Normal vectors of n numbers as n + 1 shares.

    >>> import iskra as torch
    >>> torch.distributions.LogisticNormal(torch.zeros(2), torch.ones(2)).sample().shape
    iskra.Size([3])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        base = Normal(loc, scale, validate_args=validate_args)
        base = base if base.batch_shape else base.expand([1])
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    loc = property(lambda self: self.base_dist.base_dist.loc)
    scale = property(lambda self: self.base_dist.base_dist.scale)
