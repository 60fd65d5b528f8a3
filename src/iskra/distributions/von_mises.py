"""The von Mises distribution on the circle."""

import math

from iskra.autograd import no_grad
from iskra.core import float64
from iskra.distributions import constraints
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import broadcast_all, lazy_property
from iskra.ops import acos, cos, empty, i0e, i1e, rand, where

__all__ = ["VonMises"]


class VonMises(Distribution):
    """Angles around `loc`, the narrower the greater `concentration`.

    >>> import iskra as torch
    >>> torch.distributions.VonMises(0.0, 1.0).log_prob(torch.tensor(0.0))
    tensor(-1.0738)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    _fields = {"loc": 0, "concentration": 0}

    def __init__(self, loc, concentration, validate_args=None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)

    @lazy_property
    def variance(self):
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    @lazy_property
    def _proposal_r(self):
        kappa = self.concentration.to(float64)
        tau = 1 + (1 + 4 * kappa ** 2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
        series = 1 / kappa + kappa  # where kappa is too small for the formula
        return where(kappa < 1e-5, series, (1 + rho ** 2) / (2 * rho))

    def sample(self, sample_shape=()):
        """Samples by rejection (Best and Fisher, 1979), in float64."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            loc, kappa = self.loc.to(float64), self.concentration.to(float64).expand(shape)
            r = self._proposal_r.expand(shape)
            x = empty(shape, dtype=float64, device=self.loc.device)
            done = x.new_zeros(shape).bool()
            while not done.all():
                u = rand((3, *shape), dtype=float64, device=self.loc.device)
                u1, u2, u3 = u.unbind()
                z = cos(math.pi * u1)
                f = (1 + r * z) / (r + z)
                c = kappa * (r - f)
                accept = ((c * (2 - c) - u2) > 0) | ((c / u2).log() + 1 - c >= 0)
                x = where(accept, (u3 - 0.5).sign() * acos(f), x)
                done = done | accept
            return ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        k = self.concentration
        return k * cos(value - self.loc) - math.log(2 * math.pi) - (i0e(k).log() + k)
