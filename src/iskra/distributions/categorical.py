"""The categorical distribution."""

from iskra.autograd import no_grad
from iskra.core import finfo, int64
from iskra.distributions import constraints
from iskra.distributions.by_probs import ByProbs
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import normalized_logits
from iskra.ops import arange, broadcast_tensors, full, multinomial

__all__ = ["Categorical"]


class Categorical(ByProbs, Distribution):
    """An index with chances along the last dimension of `probs`, or of logarithms `logits`.

    Both are made to sum to one. Values are int64, of the shape of the batch.

    >>> import iskra as torch
    >>> d = torch.distributions.Categorical(torch.tensor([1.0, 3.0]))
    >>> d.probs, d.log_prob(torch.tensor(1)).exp()
    (tensor([0.2500, 0.7500]), tensor(0.7500))
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    _is_binary = False
    _fields = {"probs": 1, "logits": 1}

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._check_one(probs, logits)
        if probs is not None:
            if probs.ndim < 1:
                raise ValueError("`probs` parameter must be at least one-dimensional.")
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            if logits.ndim < 1:
                raise ValueError("`logits` parameter must be at least one-dimensional.")
            self.logits = normalized_logits(logits)
        super().__init__(self._given.shape[:-1], validate_args=validate_args)

    @property
    def _num_events(self):
        return self._given.shape[-1]

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self._num_events - 1)

    mode = property(lambda self: self.probs.argmax(-1))

    def _undefined(self):
        shape = self._extended_shape()
        return full(shape, float("nan"), dtype=self.probs.dtype, device=self.probs.device)

    mean = variance = property(_undefined)

    def sample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        rows = self.probs.reshape(-1, self._num_events)
        count = shape.numel() // max(rows.shape[0], 1)
        with no_grad():
            return multinomial(rows, count, True).T.reshape(shape)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        value, logs = broadcast_tensors(value.to(int64).unsqueeze(-1), self.logits)
        return logs.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self):
        # no -inf * 0, which would be NaN
        logits = self.logits.clamp(min=finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand=True):
        values = arange(self._num_events, dtype=int64, device=self._given.device)
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1,) + self._batch_shape) if expand else values
