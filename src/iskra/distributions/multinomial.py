"""The multinomial distribution."""

from iskra.autograd import no_grad
from iskra.core import Size
from iskra.distributions import constraints
from iskra.distributions.binomial import Binomial
from iskra.distributions.categorical import Categorical
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import broadcast_all
from iskra.ops import exp, lgamma, ones_like, tensor, zeros

__all__ = ["Multinomial"]


class Multinomial(Distribution):
    """How often each index comes among `total_count` (an int) draws.

    >>> import iskra as torch
    >>> torch.distributions.Multinomial(4, torch.tensor([1.0, 3.0])).mean
    tensor([1., 3.])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    _fields = {"_categorical": 0}

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new.total_count = self.total_count
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self):
        return constraints.multinomial(self.total_count)

    probs = property(lambda self: self._categorical.probs)
    logits = property(lambda self: self._categorical.logits)
    param_shape = property(lambda self: self._categorical.param_shape)
    mean = property(lambda self: self.probs * self.total_count)
    variance = property(lambda self: self.total_count * self.probs * (1 - self.probs))

    def sample(self, sample_shape=()):
        drawn = self._categorical.sample((self.total_count, *Size(sample_shape)))
        drawn = drawn.movedim(0, -1)
        with no_grad():
            counts = zeros(self._extended_shape(sample_shape), dtype=drawn.dtype)
            counts = counts.to(drawn.device).scatter_add(-1, drawn, ones_like(drawn))
            return counts.type_as(self.probs)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        logits = logits.masked_fill((value == 0) & (logits == -float("inf")), 0)
        ways = lgamma(value.sum(-1) + 1) - lgamma(value + 1).sum(-1)
        return ways + (logits * value).sum(-1)

    def entropy(self):
        n = tensor(self.total_count)
        counts = Binomial(self.total_count, self.probs)
        support = counts.enumerate_support(expand=False)[1:]
        shares = (exp(counts.log_prob(support)) * lgamma(support + 1)).sum((0, -1))
        return n * self._categorical.entropy() - lgamma(n + 1) + shares
