"""The continuous Bernoulli distribution, for values between 0 and 1 as images have them."""

import math

from iskra.autograd import no_grad
from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import ExponentialFamily
from iskra.distributions.utils import (
    binary_cross_entropies,
    broadcast_all,
    clamp_probs,
    lazy_property,
    logits_to_probs,
)
from iskra.ops import atanh, log, log1p, ones_like, rand, where

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(ByProbs, ExponentialFamily):
    """A density on the unit interval in proportion to ``probs**x (1 - probs)**(1 - x)``.

    Between the two numbers `lims`, where formulas lose their digits, series serve instead.

    >>> import iskra as torch
    >>> torch.distributions.ContinuousBernoulli(0.5).log_prob(torch.tensor(0.3))
    tensor(0.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _fields = {"probs": 0, "logits": 0}

    def __init__(
        self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None
    ):
        self._check_one(probs, logits)
        self._lims = lims
        if probs is not None:
            (probs,) = broadcast_all(probs)
            if not constraints.unit_interval.check(probs).all():
                raise ValueError("The parameter probs has invalid values")
            self.probs = clamp_probs(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        super().__init__(self._given.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new._lims = self._lims
        return new

    @lazy_property
    def probs(self):
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _outside(self):
        """Where the formulas hold, and probabilities with which they can be computed anyhow."""
        outside = (self.probs <= self._lims[0]) | (self.probs > self._lims[1])
        return outside, where(outside, self.probs, self._lims[0] * ones_like(self.probs))

    def _log_normalizer(self):
        outside, probs = self._outside()
        exact = log((2 * atanh(1 - 2 * probs)).abs()) - log((1 - 2 * probs).abs())
        x = (self.probs - 0.5).pow(2)
        return where(outside, exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self):
        outside, probs = self._outside()
        exact = probs / (2.0 * probs - 1.0) + 1.0 / (log1p(-probs) - log(probs))
        x = self.probs - 0.5
        return where(outside, exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)

    @property
    def variance(self):
        outside, probs = self._outside()
        exact = probs * (probs - 1.0) / (1.0 - 2.0 * probs).pow(2)
        exact = exact + 1.0 / (log1p(-probs) - log(probs)).pow(2)
        x = (self.probs - 0.5).pow(2)
        return where(outside, exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def sample(self, sample_shape=()):
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        return self.icdf(rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -binary_cross_entropies(self.logits, value) + self._log_normalizer()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        outside, probs = self._outside()
        grown = probs.pow(value) * (1.0 - probs).pow(1.0 - value)
        inner = where(outside, (grown + probs - 1.0) / (2.0 * probs - 1.0), value)
        return where(value <= 0.0, 0.0, where(value >= 1.0, 1.0, inner))

    def icdf(self, value):
        outside, probs = self._outside()
        exact = (log1p(-probs + value * (2.0 * probs - 1.0)) - log1p(-probs)) / (
            log(probs) - log1p(-probs))
        return where(outside, exact, value)

    def entropy(self):
        rest = log1p(-self.probs)
        return -self.mean * self.logits - self._log_normalizer() - rest
