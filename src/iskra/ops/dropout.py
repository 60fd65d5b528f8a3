"""Noise in the forward pass: dropout and its relatives, rrelu, Gumbel-softmax.

Masks are PyTorch's for the same seed. They are drawn in the input's memory order.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#dropout-functions
"""

import math

import numpy as np

from iskra.core import dtypes as d
from iskra.core.generator import default_generator
from iskra.dispatch import SAME, composite, operator, pointwise
from iskra.ops.activation import leaky_relu_backward
from iskra.ops.sampling import FLOATS, REALS, has_data, supported
from iskra.ops.warning import warn
from iskra.runtime import random as streams
from iskra.tensor import Tensor, wrap

F = "nn.functional"
# What SELU tends to for very negative inputs: alpha_dropout sets elements to minus this.
_SATURATION = 1.7580993408473766


def _check(p):
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _product(input, noise, inplace):
    return input.mul_(noise) if inplace else input * noise


def _kept(input, p, shape=None, value=None):
    """A mask of the elements to keep, in the memory order of `input` (or of a new `shape`).

    With a `value`: instead of the mask an array of the input's dtype, `value` where it is true.
    """
    dtype = input._dtype
    supported(dtype, REALS, "bernoulli_scalar_cpu_")
    if not dtype.is_floating_point:
        raise RuntimeError(
            "dropout: result type Float can't be cast to the desired output type "
            f"{dtype.scalar_name}; convert the input to a floating-point dtype"
        )

    def draw(shape):
        if value is None:
            return streams.bernoulli(default_generator, shape, d.bool_, 1.0 - p)
        return streams.bernoulli_times(default_generator, shape, dtype, 1.0 - p, value)

    return streams.in_memory_order(input._array, draw) if shape is None else draw(shape)


def _scaled(value, dtype):
    """A number as `dtype` rounds it."""
    value = np.float64(value) if dtype is d.float64 else np.float32(value)
    return value.astype(dtype.numpy)


def _drop(input, p, training, inplace, shape=None):
    """Set elements to zero with probability `p` and scale the others by ``1 / (1 - p)``."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"dropout(): argument 'input' must be Tensor, not {type(input).__name__}"
        )
    if p == 0 or not training or not input.numel() or not has_data(input._array):
        return input
    dtype = input._dtype
    if p == 1:
        return _product(input, wrap(np.zeros((), dtype.numpy), dtype), inplace)
    wide = np.float64 if dtype is d.float64 else np.float32
    scale = _scaled(wide(1) / wide(1.0 - p), dtype)
    return _product(input, wrap(_kept(input, p, shape, scale), dtype), inplace)


@composite(namespace=f"torch {F}", method=False)
def dropout(input, p=0.5, training=True, inplace=False):
    """Set each element to 0 with probability `p`; scale the others so that the mean stays.

    Returns the input itself where nothing is to be done. Raises ValueError for a `p` outside
    [0, 1].
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.dropout(torch.ones(6), 0.5)
    tensor([2., 0., 2., 0., 0., 0.])
    """
    _check(p)
    return _drop(input, p, training, inplace)


def _channels(input):
    """The shape of a mask for whole channels."""
    if input.ndim < 2:
        raise RuntimeError(
            "Feature dropout requires at least 2 dimensions in the input, got shape "
            f"{list(input.shape)}"
        )
    return (*input._array.shape[:2], *(1,) * (input.ndim - 2))


@composite(method=False)
def feature_dropout(input, p, train):
    """Set whole channels ``input[i, j]`` to 0 with probability `p`; scale the others.

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.feature_dropout(torch.ones(1, 3, 2), 0.5, True)
    tensor([[[2., 2.],
             [0., 0.],
             [2., 2.]]])
    """
    return _drop_channels(input, p, train, False)


def _drop_channels(input, p, training, inplace):
    _check(p)
    if p in (0, 1) or not training:
        return _drop(input, p, training, inplace)
    return _drop(input, p, training, inplace, _channels(input))


def _unbatched(input, p, training, inplace):
    """Drop channels of an input without a batch dimension."""
    result = _drop_channels(input.unsqueeze(0), p, training, inplace)
    return input if inplace else result.squeeze(0)


@composite(namespace=F)
def dropout1d(input, p=0.5, training=True, inplace=False):
    """Drop whole channels of ``(N, C, L)`` or ``(C, L)``, as `feature_dropout` does.

    Raises RuntimeError for other ranks, ValueError for a `p` outside [0, 1].
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout1d.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.dropout1d(torch.ones(2, 3))
    tensor([[2., 2., 2.],
            [0., 0., 0.]])
    """
    _check(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. dropout1d "
            "drops channels of inputs with one spatial dimension, a channel dimension, and an "
            "optional batch dimension; use dropout to drop single elements."
        )
    drop = _drop_channels if input.ndim == 3 else _unbatched
    return drop(input, p, training, inplace)


@composite(namespace=F)
def dropout2d(input, p=0.5, training=True, inplace=False):
    """Drop whole channels of ``(N, C, H, W)``, as `feature_dropout` does.

    Three dimensions are taken as ``(N, C, L)``, with a warning; so are other ranks.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout2d.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.dropout2d(torch.ones(1, 2, 1, 2))
    tensor([[[[2., 2.]],
    <BLANKLINE>
             [[0., 0.]]]])
    """
    _check(p)
    rank = input.ndim
    if rank not in (3, 4):
        _warn_of_rank("dropout2d", rank, "3D or 4D", "2 spatial dimensions")
    if rank == 3:
        warn(
            "dropout2d: Received a 3D input to dropout2d: it is taken as (N, C, L), and channels "
            "are dropped as by dropout1d. Use dropout1d to keep this behavior and silence the "
            "warning."
        )
    return _drop_channels(input, p, training, inplace)


def _warn_of_rank(name, rank, expected, dimensions):
    warn(
        f"{name}: Received a {rank}-D input to {name}, which is deprecated. It is meant for "
        f"inputs with {dimensions}, a channel dimension, and an optional batch dimension (i.e. "
        f"{expected} inputs); use dropout to drop single elements."
    )


@composite(namespace=F)
def dropout3d(input, p=0.5, training=True, inplace=False):
    """Drop whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)``, as `feature_dropout` does.

    Warns of other ranks than 4 and 5. Raises ValueError for a `p` outside [0, 1].
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout3d.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.dropout3d(torch.ones(2, 1, 1, 1, 2)).sum((1, 2, 3, 4))
    tensor([4., 0.])
    """
    _check(p)
    if input.ndim not in (4, 5):
        _warn_of_rank("dropout3d", input.ndim, "4D or 5D", "3 spatial dimensions")
    drop = _drop_channels if input.ndim == 5 else _unbatched
    return drop(input, p, training, inplace)


def _drop_to_saturation(input, p, training, inplace, by_channel):
    """Set elements to SELU's limit with probability `p`; keep mean and variance."""
    _check(p)
    if p == 0 or p == 1 or not training or not input.numel() or not has_data(input._array):
        return _drop(input, p, training, inplace)
    dtype = input._dtype
    mask = _kept(input, p, _channels(input) if by_channel else None)
    a = 1.0 / math.sqrt((_SATURATION * _SATURATION * p + 1) * (1 - p))
    wide = np.float64 if dtype is d.float64 else np.float32
    # Step by step, as each is rounded: (mask - 1) * alpha * a + alpha * a * p.
    shift = wide(_SATURATION * a * p)
    dropped = _scaled(wide(_scaled(-wide(_SATURATION * a), dtype)) + shift, dtype)
    offset = np.where(mask, _scaled(shift, dtype), dropped)
    noise = np.multiply(mask, _scaled(a, dtype), dtype=dtype.numpy)
    result = _product(input, wrap(noise, dtype), inplace)
    offset = wrap(offset, dtype)
    return result.add_(offset) if inplace else result + offset


@composite(namespace=f"torch {F}", method=False)
def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Set elements to SELU's lower limit with probability `p`, keeping mean and variance.

    Raises ValueError for a `p` outside [0, 1].
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.alpha_dropout.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.alpha_dropout(torch.zeros(4), 0.5, training=True)
    tensor([ 0.7792, -0.7792,  0.7792, -0.7792])
    """
    return _drop_to_saturation(input, p, training, inplace, False)


@composite(namespace=f"torch {F}", method=False)
def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """`alpha_dropout` of whole channels ``input[i, j]``.

    Raises RuntimeError for fewer than two dimensions, ValueError for a `p` outside [0, 1].

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.feature_alpha_dropout(torch.zeros(1, 2, 2), 0.5, training=True)
    tensor([[[ 0.7792,  0.7792],
             [-0.7792, -0.7792]]])
    """
    return _drop_to_saturation(input, p, training, inplace, True)


@operator(
    method=False, function=False, inplace=True, out=False, computes=True,
    grad=lambda g, noise: g * wrap(noise).to(g.dtype),
)
def rrelu_with_noise(input, noise):
    """The product with the slopes drawn by `rrelu` (a float32 or float64 array)."""
    return np.multiply(input, noise)


@pointwise(
    SAME, method=False, function=False, inplace=False, out=False, operands="input",
    node="RreluWithNoiseBackward0",
    grad=lambda g, input, slope: leaky_relu_backward(g, input, slope),
    samples=lambda make: [((make((3, 4)), 0.2), {})],
)
def rrelu_with_mean(input, slope):
    """The product with `slope` where `input` is not positive."""
    return np.where(np.less_equal(input, 0), np.multiply(input, slope), input)


@composite(namespace=f"torch {F}", method=False)
def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """Multiply what is not positive by a random slope from ``[lower, upper)``.

    Without `training`, the slope is the mean of the two. Raises RuntimeError for bounds in the
    wrong order or not finite, NotImplementedError for integers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.rrelu.html

    >>> import iskra as torch
    >>> torch.nn.functional.rrelu(torch.tensor([-1.0, 2.0]), 0.25, 0.75)
    tensor([-0.5000,  2.0000])
    """
    for name, bound in (("lower", lower), ("upper", upper)):
        if not math.isfinite(bound):
            raise RuntimeError(f"rrelu: {name} bound must be finite, got {bound}")
    if lower > upper:
        raise RuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound: {lower}, {upper}"
        )
    supported(input._dtype, FLOATS, "rrelu_with_noise_out_cpu")
    if not has_data(input._array):
        return input
    if not training and not inplace:
        return rrelu_with_mean(input, (lower + upper) / 2)
    noise = _slopes(input, lower, upper, training)
    if inplace:
        return input.rrelu_with_noise_(noise)
    return rrelu_with_noise(input, noise)


def _slopes(input, lower, upper, training):
    kind = np.float64 if input._dtype is d.float64 else np.float32
    sloping = input._array <= 0
    noise = np.ones(sloping.shape, kind)
    if not training:
        noise[sloping] = kind((lower + upper) / 2)
        return noise
    lower, upper = np.float64(kind(lower)), np.float64(kind(upper))
    with default_generator.lock:
        units = streams.units53(default_generator, int(np.count_nonzero(sloping)))
    noise[sloping] = units * (upper - lower) + lower
    return noise


@composite(namespace=F)
def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """Sample from the Gumbel-softmax distribution: a differentiable choice along `dim`.

    `tau` is the temperature. With `hard`, the result is one-hot and its gradient that of the soft
    sample. `eps` has no effect.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gumbel_softmax.html

    >>> import iskra as torch
    >>> generator = torch.manual_seed(4)
    >>> torch.nn.functional.gumbel_softmax(torch.zeros(3), hard=True)
    tensor([0., 0., 1.])
    """
    if eps != 1e-10:
        warn("gumbel_softmax: `eps` is deprecated and has no effect.")
    noise = wrap(np.empty(logits._array.shape, logits._dtype.numpy), logits._dtype)
    soft = ((logits - noise.exponential_().log()) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    chosen = wrap(np.zeros(soft._array.shape, soft._dtype.numpy), soft._dtype)
    return chosen.scatter_(dim, index, 1.0) - soft.detach() + soft


# torch.dropout and its relatives name the third argument `train`, and have in-place forms.
for _function in (dropout, alpha_dropout, feature_alpha_dropout):
    _function.operator.signature.position["train"] = 2


@composite(method=False)
def dropout_(input, p, train):
    """`dropout` in place."""
    return dropout(input, p, train, inplace=True)


@composite(method=False)
def alpha_dropout_(input, p, train):
    """`alpha_dropout` in place."""
    return alpha_dropout(input, p, train, inplace=True)


@composite(method=False)
def feature_dropout_(input, p, train):
    """`feature_dropout` in place."""
    return _drop_channels(input, p, train, True)


@composite(method=False)
def feature_alpha_dropout_(input, p, train):
    """`feature_alpha_dropout` in place."""
    return feature_alpha_dropout(input, p, train, inplace=True)


@composite(namespace=f"torch {F}", method=False)
def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True)
