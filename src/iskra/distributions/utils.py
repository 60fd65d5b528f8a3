"""What the distributions share: broadcasting of parameters, probabilities and their logarithms.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

import functools
import math
import numbers

from iskra.autograd import enable_grad
from iskra.core import finfo, get_default_dtype
from iskra.core.naming import prefix
from iskra.ops import (
    binary_cross_entropy_with_logits,
    broadcast_tensors,
    empty,
    log,
    log1p,
    logsumexp,
    sigmoid,
    softmax,
    tensor,
)
from iskra.tensor import Tensor

EULER = 0.57721566490153286060
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def broadcast_all(*values):
    """Tensors and numbers as tensors of one shape.

    Numbers take dtype and device of the first tensor, or the default dtype.
    Raises ValueError for anything else.

    >>> import iskra as torch
    >>> torch.distributions.utils.broadcast_all(torch.zeros(2), 1.0)
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not all(isinstance(v, (Tensor, numbers.Number)) for v in values):
        raise ValueError(
            f"Input arguments must all be instances of Number, {prefix()}.Tensor or objects "
            "implementing __torch_function__."
        )
    like = next((v for v in values if isinstance(v, Tensor)), None)
    settings = {"dtype": get_default_dtype()}
    if like is not None:
        settings = {"dtype": like.dtype, "device": like.device}
    made = [v if isinstance(v, Tensor) else tensor(v, **settings) for v in values]
    return tuple(broadcast_tensors(*made))


def lazy_property(method):
    """A property worked out when it is first asked for, inside the graph, and kept."""
    return functools.cached_property(enable_grad()(method))


def standard_normal(shape, like):
    """Samples of the normal distribution of mean 0 and deviation 1, dtype and device as `like`."""
    return empty(shape, dtype=like.dtype, device=like.device).normal_()


def clamp_probs(probs):
    """Probabilities kept clear of 0 and 1 by the dtype's eps, so that logarithms are finite."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits, is_binary=False):
    """Probabilities from log-odds (binary) or from logarithms along the last dimension."""
    return sigmoid(logits) if is_binary else softmax(logits, -1)


def probs_to_logits(probs, is_binary=False):
    """Log-odds (binary) or logarithms of probabilities."""
    clamped = clamp_probs(probs)
    return log(clamped) - log1p(-clamped) if is_binary else log(clamped)


def normalized_logits(logits):
    """Logarithms of probabilities that sum to one along the last dimension."""
    return logits - logsumexp(logits, -1, keepdim=True)


def binary_cross_entropies(logits, value):
    """The cross entropy of each element, with value and logits broadcast."""
    logits, value = broadcast_all(logits, value)
    return binary_cross_entropy_with_logits(logits, value, reduction="none")


def log1p_exp(x):
    """``log(1 + exp(x))`` without overflow; `softplus` leaves out the 1 where x is large."""
    return x.clamp(min=0) + log1p((-x.abs()).exp())


def sum_rightmost(value, dims):
    """The sum over the last `dims` dimensions."""
    return value if dims == 0 else value.reshape(value.shape[:-dims] + (-1,)).sum(-1)
