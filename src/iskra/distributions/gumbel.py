"""The Gumbel distribution."""

import math

from iskra.core import finfo
from iskra.distributions import constraints
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import AffineTransform, ExpTransform
from iskra.distributions.uniform import Uniform
from iskra.distributions.utils import EULER, broadcast_all
from iskra.ops import full_like, ones_like

__all__ = ["Gumbel"]


class Gumbel(TransformedDistribution):
    """The distribution of the largest of many values.

    >>> import iskra as torch
    >>> torch.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        info = finfo(self.loc.dtype)
        low, high = full_like(self.loc, info.tiny), full_like(self.loc, 1 - info.eps)
        super().__init__(Uniform(low, high, validate_args=validate_args), [
            ExpTransform().inv, AffineTransform(0, -ones_like(self.scale)), ExpTransform().inv,
            AffineTransform(self.loc, -self.scale),
        ], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Gumbel, _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return super().expand(batch_shape, new)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    mean = property(lambda self: self.loc + self.scale * EULER)
    mode = property(lambda self: self.loc)
    stddev = property(lambda self: (math.pi / math.sqrt(6)) * self.scale)
    variance = property(lambda self: self.stddev.pow(2))

    def entropy(self):
        return self.scale.log() + (1 + EULER)
