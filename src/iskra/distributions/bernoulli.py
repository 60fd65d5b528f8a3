"""The Bernoulli distribution."""

import math

from iskra.autograd import no_grad
from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import ExponentialFamily
from iskra.distributions.utils import binary_cross_entropies, broadcast_all
from iskra.ops import arange, bernoulli, where

__all__ = ["Bernoulli"]


class Bernoulli(ByProbs, ExponentialFamily):
    """1 with probability `probs`, else 0; given by `probs` or by its log-odds `logits`.

    >>> import iskra as torch
    >>> torch.distributions.Bernoulli(logits=torch.zeros(2)).probs
    tensor([0.5000, 0.5000])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _fields = {"probs": 0, "logits": 0}

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._check_one(probs, logits)
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        super().__init__(self._given.shape, validate_args=validate_args)

    mean = property(lambda self: self.probs)
    variance = property(lambda self: self.probs * (1 - self.probs))

    @property
    def mode(self):
        likely = (self.probs >= 0.5).to(self.probs)
        return where(self.probs == 0.5, math.nan, likely)

    def sample(self, sample_shape=()):
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -binary_cross_entropies(self.logits, value)

    def entropy(self):
        return binary_cross_entropies(self.logits, self.probs)

    def enumerate_support(self, expand=True):
        values = arange(2, dtype=self._given.dtype, device=self._given.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1,) + self._batch_shape) if expand else values
