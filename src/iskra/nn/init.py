"""Initialisers: they overwrite a tensor in place, outside autograd, and return it.

Each draws the same random numbers in the same order as PyTorch's of that name, so that with one
seed the bits are equal. Page: https://docs.pytorch.org/docs/stable/nn.init.html
"""

import functools
import math
import warnings

from iskra import ops
from iskra.autograd import no_grad

__all__ = [
    "calculate_gain", "constant", "constant_", "dirac", "dirac_", "eye", "eye_", "kaiming_normal",
    "kaiming_normal_", "kaiming_uniform", "kaiming_uniform_", "normal", "normal_", "ones_",
    "orthogonal", "orthogonal_", "sparse", "sparse_", "trunc_normal_", "uniform", "uniform_",
    "xavier_normal", "xavier_normal_", "xavier_uniform", "xavier_uniform_", "zeros_",
]

_GAINS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "sigmoid"), 1),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity, param=None):
    """The factor by which weights before `nonlinearity` are scaled; `param` is leaky_relu's slope.

    Raises ValueError for an unknown name or a slope that is no number.
    Source: `torch.nn.init.calculate_gain`.

    >>> import iskra as torch
    >>> torch.nn.init.calculate_gain("leaky_relu", 0.2)
    1.3867504905630728
    """
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        raise ValueError(
            f"Unsupported nonlinearity {nonlinearity}; one of {', '.join([*_GAINS, 'leaky_relu'])}"
        )
    if param is None:
        param = 0.01
    if isinstance(param, bool) or not isinstance(param, (int, float)):
        raise ValueError(f"negative_slope {param} not a valid number")
    return math.sqrt(2.0 / (1 + param**2))


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fill with draws from the uniform distribution on [a, b).

    Source: `torch.nn.init.uniform_`.

    >>> import iskra as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.nn.init.uniform_(torch.empty(3))
    tensor([0.4963, 0.7682, 0.0885])
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fill with draws from the normal distribution.

    Source: `torch.nn.init.normal_`.

    >>> import iskra as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.nn.init.normal_(torch.empty(3))
    tensor([ 1.5410, -0.2934, -2.1788])
    """
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Fill with draws from the normal distribution, drawn again where outside [a, b].

    Source: `torch.nn.init.trunc_normal_`.

    >>> import iskra as torch
    >>> bool((torch.nn.init.trunc_normal_(torch.empty(100)).abs() <= 2).all())
    True
    """
    if getattr(tensor, "is_meta", False):
        return tensor
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )
    with no_grad():
        if _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std) > 0.3:
            return _reject_normal(tensor, mean, std, a, b, generator)
        return _reject_uniform(tensor, mean, std, a, b, generator)


def _normal_cdf(x):
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _reject_normal(tensor, mean, std, a, b, generator):
    """Most normal draws fall into [a, b]: draw everything again for the few that do not."""
    low, high = tensor.new_tensor(a).item(), tensor.new_tensor(b).item()  # as the dtype rounds them
    result = tensor.normal_(mean, std, generator=generator)
    while (outside := (result < low) | (result > high)).any():
        again = ops.empty_like(result).normal_(mean, std, generator=generator)
        result = ops.where(outside, again, result)
    return tensor if result is tensor else tensor.copy_(result)


def _reject_uniform(tensor, mean, std, a, b, generator):
    """Few normal draws would fall into [a, b]: take uniform ones with the density's chance."""
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    chance = ops.empty_like(tensor)

    def refused(candidates):
        log_density = ((candidates - mean) / std).pow(2).mul(-0.5).sub(log_peak)
        return chance.uniform_(generator=generator).log_().gt(log_density)

    pending = refused(tensor.uniform_(a, b, generator=generator))
    result = tensor
    while pending.any():
        candidates = ops.empty_like(tensor).uniform_(a, b, generator=generator)
        result = ops.where(pending, candidates, result)
        pending = ops.where(pending, refused(candidates), pending)
    return tensor if result is tensor else tensor.copy_(result)


def constant_(tensor, val):
    """Fill with the number `val`. Source: `torch.nn.init.constant_`.

    >>> import iskra as torch
    >>> torch.nn.init.constant_(torch.empty(2), 0.5)
    tensor([0.5000, 0.5000])
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor):
    """Fill with ones. Source: `torch.nn.init.ones_`.

    >>> import iskra as torch
    >>> torch.nn.init.ones_(torch.empty(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor):
    """Fill with zeros. Source: `torch.nn.init.zeros_`.

    >>> import iskra as torch
    >>> torch.nn.init.zeros_(torch.empty(2))
    tensor([0., 0.])
    """
    with no_grad():
        return tensor.zero_()


def eye_(tensor):
    """Make a matrix the identity, as far as its shape allows; ValueError unless 2-d.

    Source: `torch.nn.init.eye_`.

    >>> import iskra as torch
    >>> torch.nn.init.eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, not {tensor.dim()}")
    with no_grad():
        tensor.copy_(ops.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))
    return tensor


def dirac_(tensor, groups=1):
    """Make the weight of a convolution (3-d to 5-d) pass its input channels on unchanged.

    Source: `torch.nn.init.dirac_`.

    >>> import iskra as torch
    >>> torch.nn.init.dirac_(torch.empty(1, 1, 3))
    tensor([[[0., 1., 0.]]])
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(
            f"Only tensors with 3, 4, or 5 dimensions are supported, not {tensor.dim()}"
        )
    channels, rest = divmod(tensor.size(0), groups)
    if rest:
        raise ValueError(f"dim 0 must be divisible by groups, not {tensor.size(0)} by {groups}")
    if getattr(tensor, "is_meta", False):
        return tensor
    centre = tuple(size // 2 for size in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(channels, tensor.size(1))):
                tensor[(group * channels + channel, channel, *centre)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor):
    """The number of inputs of one output and of outputs of one input of a weight."""
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions; "
            f"seen: shape {tuple(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.size(1) * field, tensor.size(0) * field


def _calculate_correct_fan(tensor, mode):
    modes = ("fan_in", "fan_out")
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {list(modes)}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Fill uniformly on [-r, r], r = gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    Source: `torch.nn.init.xavier_uniform_`.

    >>> import iskra as torch
    >>> bool((torch.nn.init.xavier_uniform_(torch.empty(2, 4)).abs() <= 1).all())
    True
    """
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Fill normally, std = gain * sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    Source: `torch.nn.init.xavier_normal_`.

    >>> import iskra as torch
    >>> torch.nn.init.xavier_normal_(torch.empty(2, 3)).shape
    iskra.Size([2, 3])
    """
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    """The standard deviation of He et al. (2015), or None for a tensor without elements."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    return calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Fill uniformly on [-r, r], r = gain * sqrt(3 / fan) (He et al., 2015).

    `a` is the slope of leaky_relu; `mode` chooses fan_in, which keeps the variance of the forward
    pass, or fan_out, which keeps that of the backward pass.

    Source: `torch.nn.init.kaiming_uniform_`.

    >>> import iskra as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.nn.init.kaiming_uniform_(torch.empty(1, 3))
    tensor([[-0.0106,  0.7586, -1.1640]])
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Fill normally, std = gain / sqrt(fan) (He et al., 2015); see `kaiming_uniform_`.

    Source: `torch.nn.init.kaiming_normal_`.

    >>> import iskra as torch
    >>> torch.nn.init.kaiming_normal_(torch.empty(2, 3)).shape
    iskra.Size([2, 3])
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0, std, generator)


def orthogonal_(tensor, gain=1, generator=None):
    """Make the tensor, seen as a matrix of its first dimension, (semi-)orthogonal times `gain`.

    Source: `torch.nn.init.orthogonal_` (Saxe et al., 2013).

    >>> import iskra as torch
    >>> w = torch.nn.init.orthogonal_(torch.empty(3, 5))
    >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
    True
    """
    if tensor.dim() < 2:
        raise ValueError(
            f"Only tensors with 2 or more dimensions are supported, not {tensor.dim()}"
        )
    if tensor.numel() == 0 or getattr(tensor, "is_meta", False):
        return tensor
    with no_grad():
        rows = tensor.size(0)
        columns = tensor.numel() // rows
        drawn = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
        q, r = ops.linalg_qr(drawn.t() if rows < columns else drawn)
        q = q * ops.diag(r, 0).sign()  # the sign that makes the distribution uniform
        tensor.copy_((q.t() if rows < columns else q).reshape(tensor.shape))
        return tensor.mul_(gain)


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Fill a matrix normally and set the fraction `sparsity` of every column to zero.

    Source: `torch.nn.init.sparse_` (Martens, 2010).

    >>> import iskra as torch
    >>> int((torch.nn.init.sparse_(torch.empty(10, 3), 0.3) == 0).sum())
    9
    """
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, not {tensor.dim()}")
    if getattr(tensor, "is_meta", False):
        return tensor
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[ops.randperm(rows)[:zeros], column] = 0
    return tensor


def _old_name(initialise):
    """The deprecated name without the underscore."""
    name = initialise.__name__[:-1]

    @functools.wraps(initialise)
    def call(*args, **kwargs):
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return initialise(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Deprecated name of `{name}_`."
    return call


uniform, normal, constant, eye, dirac = map(_old_name, (uniform_, normal_, constant_, eye_, dirac_))
xavier_uniform, xavier_normal = _old_name(xavier_uniform_), _old_name(xavier_normal_)
kaiming_uniform, kaiming_normal = _old_name(kaiming_uniform_), _old_name(kaiming_normal_)
orthogonal, sparse = _old_name(orthogonal_), _old_name(sparse_)
