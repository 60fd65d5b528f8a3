"""The relaxed one-hot categorical distribution, whose samples can be differentiated."""

from iskra.distributions import constraints
from iskra.distributions.categorical import Categorical
from iskra.distributions.distribution import Distribution
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import ExpTransform
from iskra.distributions.utils import broadcast_all, clamp_probs
from iskra.ops import as_tensor, lgamma, rand

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


class ExpRelaxedCategorical(Distribution):
    """Logarithms of a relaxed one-hot vector (Maddison and others, 2017)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True
    _fields = {"_categorical": 0}

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new.temperature = self.temperature
        return new

    logits = property(lambda self: self._categorical.logits)
    probs = property(lambda self: self._categorical.probs)
    param_shape = property(lambda self: self._categorical.param_shape)

    def rsample(self, sample_shape=()):
        shape, like = self._extended_shape(sample_shape), self.logits
        u = clamp_probs(rand(shape, dtype=like.dtype, device=like.device))
        gumbels = -((-(u.log())).log())
        scores = (like + gumbels) / self.temperature
        return scores - scores.logsumexp(-1, True)

    def log_prob(self, value):
        n = self._event_shape[0]
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        temperature = as_tensor(self.temperature, dtype=value.dtype, device=value.device)
        scale = lgamma(value.new_tensor(float(n))) + (n - 1) * temperature.log()
        score = logits - value.mul(temperature)
        return (score - score.logsumexp(-1, True)).sum(-1) + scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """Shares that are the closer to one-hot vectors the lower the temperature.

    >>> import iskra as torch
    >>> D = torch.distributions
    >>> D.RelaxedOneHotCategorical(torch.tensor(0.5), torch.ones(3)).rsample().shape
    iskra.Size([3])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    temperature = property(lambda self: self.base_dist.temperature)
    logits = property(lambda self: self.base_dist.logits)
    probs = property(lambda self: self.base_dist.probs)
