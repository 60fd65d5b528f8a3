"""Layer, group, RMS and response normalisation.

Page: https://docs.pytorch.org/docs/stable/nn.html#normalization-layers
"""

import numbers

from iskra.nn import functional as F
from iskra.nn import init
from iskra.nn.module import Module
from iskra.nn.modules.utils import shown, weight_and_bias
from iskra.nn.parameter import Parameter
from iskra.ops import cat, empty

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class LocalResponseNorm(Module):
    """Divides each channel by a power of the mean square of its `size` neighbours.

    Shapes: (N, C, *), unchanged (Krizhevsky et al., 2012).

    Source: `torch.nn.LocalResponseNorm`.

    >>> import iskra as torch
    >>> torch.nn.LocalResponseNorm(2)(torch.ones(1, 3, 2, 2)).shape
    iskra.Size([1, 3, 2, 2])
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input):
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, {shown(self, 'alpha', 'beta', 'k')}"


class CrossMapLRN2d(Module):
    """LocalResponseNorm of (N, C, H, W) as in Caffe.

    Source: `torch.nn.CrossMapLRN2d`.

    >>> import iskra as torch
    >>> torch.nn.CrossMapLRN2d(3)(torch.ones(1, 4, 2, 2)).shape
    iskra.Size([1, 4, 2, 2])
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input):
        if input.dim() != 4:
            raise ValueError(
                f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead."
            )
        reach, channels = int((self.size - 1) / 2), input.size(1)
        square = input.pow(2)
        padded = F.pad(square, (0, 0, 0, 0, reach, reach))
        window = sum(padded[:, i : i + channels] for i in range(2 * reach + 1))
        # PyTorch never takes channel 0 out of its running sum; models were trained with that.
        window = cat((window[:, : reach + 1], window[:, reach + 1 :] + square[:, :1]), 1)
        return input * (self.k + window * (self.alpha / self.size)).pow(-self.beta)

    def extra_repr(self):
        return f"{self.size}, {shown(self, 'alpha', 'beta', 'k')}"


def _as_shape(normalized_shape):
    if isinstance(normalized_shape, numbers.Integral):
        return (normalized_shape,)
    return tuple(normalized_shape)


class LayerNorm(Module):
    """Normalises over the last dimensions, which are `normalized_shape` (Ba et al., 2016).

    Shapes: (*, *normalized_shape), unchanged; weight and bias have `normalized_shape`.

    Source: `torch.nn.LayerNorm`.

    >>> import iskra as torch
    >>> layer = torch.nn.LayerNorm(10)
    >>> layer
    LayerNorm((10,), eps=1e-05, elementwise_affine=True, bias=True)
    >>> layer(torch.ones(20, 5, 10)).shape
    iskra.Size([20, 5, 10])
    """

    def __init__(
        self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None,
        dtype=None,
    ):
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        _register_affine(self, self.normalized_shape, elementwise_affine, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, input):
        weight, bias = weight_and_bias(self)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)

    def extra_repr(self):
        shape = f"{self.normalized_shape}, {shown(self, 'eps', 'elementwise_affine')}"
        return f"{shape}, bias={self.bias is not None}"


class GroupNorm(Module):
    """Normalises over groups of the channels of each sample (Wu & He, 2018).

    Shapes: (N, num_channels, *), unchanged. ValueError unless num_groups divides num_channels.

    Source: `torch.nn.GroupNorm`.

    >>> import iskra as torch
    >>> torch.nn.GroupNorm(3, 6)(torch.ones(2, 6, 4)).shape
    iskra.Size([2, 6, 4])
    """

    def __init__(
        self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *,
        bias=True,
    ):
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        _register_affine(self, num_channels, affine, bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, input):
        weight, bias = weight_and_bias(self)
        return F.group_norm(input, self.num_groups, weight, bias, self.eps)

    def extra_repr(self):
        groups = f"{self.num_groups}, {self.num_channels}, {shown(self, 'eps', 'affine')}"
        return f"{groups}, bias={self.bias is not None}"


class RMSNorm(Module):
    """Divides by the root mean square over the last dimensions (Zhang & Sennrich, 2019).

    Shapes: (*, *normalized_shape), unchanged. `eps` None is the smallest step of the dtype.

    Source: `torch.nn.RMSNorm`.

    >>> import iskra as torch
    >>> torch.nn.RMSNorm([2, 3])(torch.ones(4, 2, 3)).shape
    iskra.Size([4, 2, 3])
    """

    def __init__(
        self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None
    ):
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Weight 1."""
        if self.elementwise_affine:
            init.ones_(self.weight)

    def forward(self, x):
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, {shown(self, 'eps', 'elementwise_affine')}"


def _register_affine(module, shape, affine, bias, device, dtype):
    for name, wanted in (("weight", affine), ("bias", affine and bias)):
        param = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
        module.register_parameter(name, param)


def _reset_affine(module):
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)
