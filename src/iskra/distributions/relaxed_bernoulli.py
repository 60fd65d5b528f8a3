"""The relaxed Bernoulli distribution, whose samples can be differentiated."""

from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import Distribution
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import SigmoidTransform
from iskra.distributions.utils import broadcast_all, clamp_probs
from iskra.ops import log1p, rand

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(ByProbs, Distribution):
    """The log-odds of a relaxed Bernoulli value (Maddison and others, 2017)."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True
    _fields = {"probs": 0, "logits": 0}

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self.temperature = temperature
        self._check_one(probs, logits)
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        super().__init__(self._given.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new.temperature = self.temperature
        return new

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - log1p(-u) + probs.log() - log1p(-probs)) / self.temperature

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        away = logits - value.mul(self.temperature)
        temperature = self.temperature
        log_t = temperature.log() if hasattr(temperature, "log") else (
            logits.new_tensor(temperature).log())
        return log_t + away - 2 * away.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """Values between 0 and 1, the closer to them the lower the temperature.

    >>> import iskra as torch
    >>> d = torch.distributions.RelaxedBernoulli(torch.tensor(0.5), torch.tensor([0.1, 0.9]))
    >>> d.rsample().shape
    iskra.Size([2])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)

    temperature = property(lambda self: self.base_dist.temperature)
    logits = property(lambda self: self.base_dist.logits)
    probs = property(lambda self: self.base_dist.probs)
