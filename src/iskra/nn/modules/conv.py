"""Convolutions and transposed convolutions, their lazy kinds included.

Page: https://docs.pytorch.org/docs/stable/nn.html#convolution-layers
"""

import math

from iskra.nn import functional as F
from iskra.nn import init
from iskra.nn.lazy import LazyModuleMixin
from iskra.nn.module import Module
from iskra.nn.modules.linear import fan_in_uniform_
from iskra.nn.modules.utils import (
    _pair,
    _reverse_repeat_tuple,
    _single,
    _triple,
    weight_and_bias,
)
from iskra.nn.parameter import Parameter, UninitializedParameter
from iskra.ops import empty

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]

_PADDINGS = ("same", "valid")
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share; the sizes arrive as tuples."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed,
        output_padding, groups, bias, padding_mode, device=None, dtype=None,
    ):
        super().__init__()
        _check_channels(in_channels, out_channels, groups)
        _check_padding(padding, padding_mode, stride)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._paddings_for_pad()
        shape = self._weight_shape(in_channels, out_channels)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self, in_channels, out_channels):
        first, second = out_channels, in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def _paddings_for_pad(self):
        """The padding as `F.pad` wants it: last dimension first, both sides each."""
        if self.padding == "valid":
            return [0, 0] * len(self.kernel_size)
        if self.padding != "same":
            return _reverse_repeat_tuple(self.padding, 2)
        paddings = []
        for size, dilation in zip(self.kernel_size[::-1], self.dilation[::-1], strict=True):
            total = dilation * (size - 1)
            paddings += [total // 2, total - total // 2]
        return paddings

    def reset_parameters(self):
        """Draw the weight and then the bias again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in_uniform_(self.bias, self.weight)

    def extra_repr(self):
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for name, default in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name)
            if value != (default,) * len(value):
                text += f", {name}={value}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def _convolve(self, input, weight, bias, convolve):
        """Convolve; a padding mode other than zeros pads first and then convolves without."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * len(self.kernel_size)
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)


def _check_channels(in_channels, out_channels, groups):
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups != 0:
            raise ValueError(
                f"{name} must be divisible by groups; seen: {name}={channels}, groups={groups}"
            )


def _check_padding(padding, padding_mode, stride):
    if isinstance(padding, str):
        if padding not in _PADDINGS:
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {', '.join(_PADDINGS)}"
            )
        if padding == "same" and any(step != 1 for step in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if padding_mode not in _PADDING_MODES:
        raise ValueError(
            f"padding_mode must be one of {', '.join(_PADDING_MODES)}, "
            f"but got padding_mode='{padding_mode}'"
        )


def _or_text(as_tuple, padding):
    return padding if isinstance(padding, str) else as_tuple(padding)


class Conv1d(_ConvNd):
    """1-d convolution (cross-correlation) of several channels.

    Shapes: (N, C_in, L) or (C_in, L) -> (N, C_out, L_out) or (C_out, L_out) with L_out =
    (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1; weight (C_out, C_in / groups,
    kernel_size). `padding` may be "same" (stride 1 only) or "valid".

    Raises ValueError if the channels are not divisible by `groups`.
    Source: `torch.nn.Conv1d`.

    >>> import iskra as torch
    >>> torch.nn.Conv1d(16, 33, 3, stride=2)(torch.ones(20, 16, 50)).shape
    iskra.Size([20, 33, 24])
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        bias=True, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            in_channels, out_channels, _single(kernel_size), _single(stride),
            _or_text(_single, padding), _single(dilation), False, _single(0), groups, bias,
            padding_mode, device, dtype,
        )

    def forward(self, input):
        weight, bias = weight_and_bias(self)
        return self._conv_forward(input, weight, bias)

    def _conv_forward(self, input, weight, bias):
        return self._convolve(input, weight, bias, F.conv1d)


class Conv2d(_ConvNd):
    """2-d convolution (cross-correlation) of several channels.

    Shapes: (N, C_in, H, W) or (C_in, H, W) -> (N, C_out, H_out, W_out) or without N, each size as
    for Conv1d; weight (C_out, C_in / groups, *kernel_size).

    Raises ValueError if the channels are not divisible by `groups`.
    Source: `torch.nn.Conv2d`.

    >>> import iskra as torch
    >>> layer = torch.nn.Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2))
    >>> layer
    Conv2d(16, 33, kernel_size=(3, 5), stride=(2, 1), padding=(4, 2))
    >>> layer(torch.ones(2, 16, 50, 100)).shape
    iskra.Size([2, 33, 28, 100])
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        bias=True, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            in_channels, out_channels, _pair(kernel_size), _pair(stride), _or_text(_pair, padding),
            _pair(dilation), False, _pair(0), groups, bias, padding_mode, device, dtype,
        )

    def forward(self, input):
        weight, bias = weight_and_bias(self)
        return self._conv_forward(input, weight, bias)

    def _conv_forward(self, input, weight, bias):
        return self._convolve(input, weight, bias, F.conv2d)


class Conv3d(_ConvNd):
    """3-d convolution (cross-correlation) of several channels.

    Shapes: (N, C_in, D, H, W) or (C_in, D, H, W) -> (N, C_out, D_out, H_out, W_out) or without N,
    each size as for Conv1d.

    Raises ValueError if the channels are not divisible by `groups`.
    Source: `torch.nn.Conv3d`.

    >>> import iskra as torch
    >>> torch.nn.Conv3d(2, 3, 3, stride=2)(torch.ones(1, 2, 7, 9, 11)).shape
    iskra.Size([1, 3, 3, 4, 5])
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        bias=True, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            in_channels, out_channels, _triple(kernel_size), _triple(stride),
            _or_text(_triple, padding), _triple(dilation), False, _triple(0), groups, bias,
            padding_mode, device, dtype,
        )

    def forward(self, input):
        weight, bias = weight_and_bias(self)
        return self._conv_forward(input, weight, bias)

    def _conv_forward(self, input, weight, bias):
        return self._convolve(input, weight, bias, F.conv3d)


class _ConvTransposeNd(_ConvNd):
    """What the transposed convolutions share."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed,
        output_padding, groups, bias, padding_mode, device=None, dtype=None,
    ):
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, '
                f"not {padding_mode!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, transposed,
            output_padding, groups, bias, padding_mode, device, dtype,
        )

    def _transposed(self, input, output_size, convolve):
        weight, bias = weight_and_bias(self)
        dims = len(self.kernel_size)
        output_padding = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, dims, self.dilation
        )
        return convolve(
            input, weight, bias, self.stride, self.padding, output_padding, self.groups,
            self.dilation,
        )

    def _output_padding(
        self, input, output_size, stride, padding, kernel_size, num_spatial_dims, dilation=None
    ):
        """The output padding that leads to `output_size`; ValueError if none does."""
        if output_size is None:
            return _single(self.output_padding)
        batched = input.dim() == num_spatial_dims + 2
        leading = 2 if batched else 1
        if len(output_size) == leading + num_spatial_dims:
            output_size = output_size[leading:]
        if len(output_size) != num_spatial_dims:
            raise ValueError(
                f"ConvTranspose{num_spatial_dims}D: for {input.dim()}D input, output_size must "
                f"have {num_spatial_dims} or {leading + num_spatial_dims} elements "
                f"(got {len(output_size)})"
            )
        smallest, largest = [], []
        for i, size in enumerate(input.shape[leading:]):
            spread = (dilation[i] if dilation is not None else 1) * (kernel_size[i] - 1) + 1
            smallest.append((size - 1) * stride[i] - 2 * padding[i] + spread)
            largest.append(smallest[i] + stride[i] - 1)
        for size, low, high in zip(output_size, smallest, largest, strict=True):
            if not low <= size <= high:
                raise ValueError(
                    f"requested an output size of {tuple(output_size)}, but valid sizes range from "
                    f"{smallest} to {largest} (for an input of {tuple(input.shape[leading:])})"
                )
        return [size - low for size, low in zip(output_size, smallest, strict=True)]


class ConvTranspose1d(_ConvTransposeNd):
    """1-d transposed convolution: the gradient of Conv1d with respect to its input.

    Shapes: (N, C_in, L) or (C_in, L) -> (N, C_out, L_out) or (C_out, L_out) with L_out =
    (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1; weight (C_in,
    C_out / groups, kernel_size). `output_size` of the call chooses the output padding.

    Source: `torch.nn.ConvTranspose1d`.

    >>> import iskra as torch
    >>> torch.nn.ConvTranspose1d(4, 2, 3, stride=2)(torch.ones(1, 4, 5)).shape
    iskra.Size([1, 2, 11])
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
        groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            in_channels, out_channels, _single(kernel_size), _single(stride), _single(padding),
            _single(dilation), True, _single(output_padding), groups, bias, padding_mode, device,
            dtype,
        )

    def forward(self, input, output_size=None):
        return self._transposed(input, output_size, F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """2-d transposed convolution: the gradient of Conv2d with respect to its input.

    Shapes: (N, C_in, H, W) or (C_in, H, W) -> (N, C_out, H_out, W_out) or without N, each size as
    for ConvTranspose1d.

    Source: `torch.nn.ConvTranspose2d`.

    >>> import iskra as torch
    >>> layer = torch.nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1)
    >>> layer(torch.ones(1, 16, 6, 6), output_size=(12, 12)).shape
    iskra.Size([1, 16, 12, 12])
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
        groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            in_channels, out_channels, _pair(kernel_size), _pair(stride), _pair(padding),
            _pair(dilation), True, _pair(output_padding), groups, bias, padding_mode, device, dtype,
        )

    def forward(self, input, output_size=None):
        return self._transposed(input, output_size, F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """3-d transposed convolution: the gradient of Conv3d with respect to its input.

    Shapes: (N, C_in, D, H, W) or (C_in, D, H, W) -> (N, C_out, D_out, H_out, W_out) or without N,
    each size as for ConvTranspose1d.

    Source: `torch.nn.ConvTranspose3d`.

    >>> import iskra as torch
    >>> torch.nn.ConvTranspose3d(4, 2, 2, stride=2)(torch.ones(1, 4, 2, 3, 4)).shape
    iskra.Size([1, 2, 4, 6, 8])
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
        groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            in_channels, out_channels, _triple(kernel_size), _triple(stride), _triple(padding),
            _triple(dilation), True, _triple(output_padding), groups, bias, padding_mode, device,
            dtype,
        )

    def forward(self, input, output_size=None):
        return self._transposed(input, output_size, F.conv_transpose3d)


class _LazyConvXdMixin(LazyModuleMixin):
    """Takes `in_channels` from the first input."""

    def _make_lazy(self, out_channels, bias, device, dtype):
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self):
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input, *args, **kwargs):
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        _check_channels(self.in_channels, self.out_channels, self.groups)
        self.weight.materialize(self._weight_shape(self.in_channels, self.out_channels))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _get_in_channels(self, input):
        dims = len(self.kernel_size)
        if input.dim() not in (dims + 1, dims + 2):
            raise RuntimeError(
                f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {tuple(input.shape)}"
            )
        return input.shape[1] if input.dim() == dims + 2 else input.shape[0]


class _LazyConvNd(_LazyConvXdMixin):
    def __init__(
        self, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
        padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode,
            device=device, dtype=dtype,
        )
        self._make_lazy(out_channels, bias, device, dtype)


class _LazyConvTransposeNd(_LazyConvXdMixin):
    def __init__(
        self, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
        dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation,
            padding_mode, device=device, dtype=dtype,
        )
        self._make_lazy(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConvNd, Conv1d):
    """A Conv1d that takes `in_channels` from its first input. Source: `torch.nn.LazyConv1d`.

    >>> import iskra as torch
    >>> torch.nn.LazyConv1d(8, 3)(torch.ones(1, 4, 9)).shape
    iskra.Size([1, 8, 7])
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvNd, Conv2d):
    """A Conv2d that takes `in_channels` from its first input. Source: `torch.nn.LazyConv2d`.

    >>> import iskra as torch
    >>> layer = torch.nn.LazyConv2d(8, 3)
    >>> layer(torch.ones(1, 3, 5, 5)).shape
    iskra.Size([1, 8, 3, 3])
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvNd, Conv3d):
    """A Conv3d that takes `in_channels` from its first input. Source: `torch.nn.LazyConv3d`.

    >>> import iskra as torch
    >>> torch.nn.LazyConv3d(8, 3)(torch.ones(1, 2, 4, 5, 6)).shape
    iskra.Size([1, 8, 2, 3, 4])
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTransposeNd, ConvTranspose1d):
    """A ConvTranspose1d that takes `in_channels` from its first input.

    Source: `torch.nn.LazyConvTranspose1d`.

    >>> import iskra as torch
    >>> torch.nn.LazyConvTranspose1d(8, 3)(torch.ones(1, 4, 5)).shape
    iskra.Size([1, 8, 7])
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTransposeNd, ConvTranspose2d):
    """A ConvTranspose2d that takes `in_channels` from its first input.

    Source: `torch.nn.LazyConvTranspose2d`.

    >>> import iskra as torch
    >>> torch.nn.LazyConvTranspose2d(8, 3)(torch.ones(1, 4, 5, 6)).shape
    iskra.Size([1, 8, 7, 8])
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTransposeNd, ConvTranspose3d):
    """A ConvTranspose3d that takes `in_channels` from its first input.

    Source: `torch.nn.LazyConvTranspose3d`.

    >>> import iskra as torch
    >>> torch.nn.LazyConvTranspose3d(8, 2)(torch.ones(1, 2, 3, 4, 5)).shape
    iskra.Size([1, 8, 4, 5, 6])
    """

    cls_to_become = ConvTranspose3d
