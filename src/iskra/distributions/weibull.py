"""The Weibull distribution."""

from iskra.distributions import constraints
from iskra.distributions.exponential import Exponential
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import AffineTransform, PowerTransform
from iskra.distributions.utils import EULER, broadcast_all
from iskra.ops import exp, lgamma, log, ones_like

__all__ = ["Weibull"]


class Weibull(TransformedDistribution):
    """``scale * x ** (1 / concentration)`` of an exponential x.

    >>> import iskra as torch
    >>> torch.distributions.Weibull(1.0, 1.0).mean
    tensor(1.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale, concentration, validate_args=None):
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(ones_like(self.scale), validate_args=validate_args)
        super().__init__(base, [
            PowerTransform(exponent=self.concentration_reciprocal),
            AffineTransform(loc=0, scale=self.scale),
        ], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Weibull, _instance)
        for name in ("scale", "concentration", "concentration_reciprocal"):
            setattr(new, name, getattr(self, name).expand(batch_shape))
        return super().expand(batch_shape, new)

    mean = property(lambda self: self.scale * exp(lgamma(1 + self.concentration_reciprocal)))

    @property
    def mode(self):
        k = self.concentration
        return self.scale * ((k - 1) / k) ** k.reciprocal()

    @property
    def variance(self):
        r = self.concentration_reciprocal
        return self.scale.pow(2) * (exp(lgamma(1 + 2 * r)) - exp(2 * lgamma(1 + r)))

    def entropy(self):
        r = self.concentration_reciprocal
        return EULER * (1 - r) + log(self.scale * r) + 1
