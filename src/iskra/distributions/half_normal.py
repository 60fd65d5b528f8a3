"""The half-normal distribution."""

import math

from iskra.distributions.half import Half
from iskra.distributions.normal import Normal

__all__ = ["HalfNormal"]


class HalfNormal(Half):
    """``|x|`` of a normal x of mean 0 and deviation `scale`.

    >>> import iskra as torch
    >>> torch.distributions.HalfNormal(1.0).mean
    tensor(0.7979)
    """

    def __init__(self, scale, validate_args=None):
        super().__init__(Normal(0, scale, validate_args=False), validate_args=validate_args)

    mean = property(lambda self: self.scale * math.sqrt(2 / math.pi))
    variance = property(lambda self: self.scale.pow(2) * (1 - 2 / math.pi))
