"""The half-Cauchy distribution."""

import math

from iskra.distributions.cauchy import Cauchy
from iskra.distributions.half import Half
from iskra.ops import full_like

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """``|x|`` of a Cauchy x around 0. It has no finite mean.

    >>> import iskra as torch
    >>> torch.distributions.HalfCauchy(1.0).cdf(torch.tensor(1.0))
    tensor(0.5000)
    """

    def __init__(self, scale, validate_args=None):
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args=validate_args)

    mean = property(lambda self: full_like(self.scale, math.inf))
    variance = property(lambda self: self.base_dist.variance)
