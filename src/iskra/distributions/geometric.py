"""The geometric distribution."""

from iskra.autograd import no_grad
from iskra.core import finfo
from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import binary_cross_entropies, broadcast_all
from iskra.ops import empty, log1p, zeros_like

__all__ = ["Geometric"]


class Geometric(ByProbs, Distribution):
    """The number of failures before the first success, of probability `probs`.

    >>> import iskra as torch
    >>> torch.distributions.Geometric(0.25).mean
    tensor(3.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer
    _fields = {"probs": 0, "logits": 0}

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._check_one(probs, logits)
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        super().__init__(self._given.shape, validate_args=validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            raise ValueError(
                f"Expected parameter probs of distribution {self!r} to be positive but found "
                f"invalid values:\n{self.probs}"
            )

    mean = property(lambda self: 1.0 / self.probs - 1.0)
    mode = property(lambda self: zeros_like(self.probs))
    variance = property(lambda self: (1.0 / self.probs - 1.0) / self.probs)

    def sample(self, sample_shape=()):
        shape, dtype = self._extended_shape(sample_shape), self.probs.dtype
        with no_grad():
            u = empty(shape, dtype=dtype, device=self.probs.device).uniform_(finfo(dtype).tiny, 1)
            return (u.log() / log1p(-self.probs)).floor()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        probs = probs.masked_fill((probs == 1) & (value == 0), 0)  # 0 log 0 is 0
        return value * log1p(-probs) + self.probs.log()

    def entropy(self):
        return binary_cross_entropies(self.logits, self.probs) / self.probs
