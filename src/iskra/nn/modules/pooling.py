"""Pooling layers. Page: https://docs.pytorch.org/docs/stable/nn.html#pooling-layers

Sizes are numbers or tuples with one number per dimension; inputs are (N, C, *) or (C, *).
"""

from iskra.nn import functional as F
from iskra.nn.module import Module
from iskra.nn.modules.utils import _pair, _single, _triple, shown

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]


class _MaxPoolNd(Module):
    def __init__(
        self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False,
        ceil_mode=False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _pool(self, pool, input):
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )

    def extra_repr(self):
        return shown(self, "kernel_size", "stride", "padding", "dilation", "ceil_mode")


class MaxPool1d(_MaxPoolNd):
    """The maximum of each window; with `return_indices` also where it was.

    Shapes: (N, C, L) -> (N, C, L_out) with L_out = (L + 2 padding - dilation (kernel_size - 1) - 1)
    / stride + 1, rounded down, or up with `ceil_mode`.

    Source: `torch.nn.MaxPool1d`.

    >>> import iskra as torch
    >>> torch.nn.MaxPool1d(3, stride=2)(torch.ones(20, 16, 50)).shape
    iskra.Size([20, 16, 24])
    """

    def forward(self, input):
        return self._pool(F.max_pool1d, input)


class MaxPool2d(_MaxPoolNd):
    """The maximum of each window of (N, C, H, W). Source: `torch.nn.MaxPool2d`.

    >>> import iskra as torch
    >>> torch.nn.MaxPool2d((3, 2), stride=(2, 1))(torch.ones(20, 16, 50, 32)).shape
    iskra.Size([20, 16, 24, 31])
    """

    def forward(self, input):
        return self._pool(F.max_pool2d, input)


class MaxPool3d(_MaxPoolNd):
    """The maximum of each window of (N, C, D, H, W). Source: `torch.nn.MaxPool3d`.

    >>> import iskra as torch
    >>> torch.nn.MaxPool3d(3, stride=2)(torch.ones(2, 3, 9, 8, 7)).shape
    iskra.Size([2, 3, 4, 3, 3])
    """

    def forward(self, input):
        return self._pool(F.max_pool3d, input)


class _MaxUnpoolNd(Module):
    def __init__(self, as_tuple, kernel_size, stride, padding):
        super().__init__()
        self.kernel_size = as_tuple(kernel_size)
        self.stride = as_tuple(stride if stride is not None else kernel_size)
        self.padding = as_tuple(padding)

    def _unpool(self, unpool, input, indices, output_size):
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self):
        return shown(self, "kernel_size", "stride", "padding")


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts maxima back to where MaxPool1d's indices say, zeros elsewhere.

    Source: `torch.nn.MaxUnpool1d`.

    >>> import iskra as torch
    >>> values, where = torch.nn.MaxPool1d(2, return_indices=True)(torch.tensor([[1., 2, 3, 4]]))
    >>> torch.nn.MaxUnpool1d(2)(values, where)
    tensor([[0., 2., 0., 4.]])
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(_single, kernel_size, stride, padding)

    def forward(self, input, indices, output_size=None):
        return self._unpool(F.max_unpool1d, input, indices, output_size)


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts maxima back to where MaxPool2d's indices say. Source: `torch.nn.MaxUnpool2d`.

    >>> import iskra as torch
    >>> pool = torch.nn.MaxPool2d(2, return_indices=True)
    >>> torch.nn.MaxUnpool2d(2)(*pool(torch.ones(1, 4, 4))).shape
    iskra.Size([1, 4, 4])
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(_pair, kernel_size, stride, padding)

    def forward(self, input, indices, output_size=None):
        return self._unpool(F.max_unpool2d, input, indices, output_size)


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts maxima back to where MaxPool3d's indices say. Source: `torch.nn.MaxUnpool3d`.

    >>> import iskra as torch
    >>> pool = torch.nn.MaxPool3d(2, return_indices=True)
    >>> torch.nn.MaxUnpool3d(2)(*pool(torch.ones(1, 4, 4, 4))).shape
    iskra.Size([1, 4, 4, 4])
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(_triple, kernel_size, stride, padding)

    def forward(self, input, indices, output_size=None):
        return self._unpool(F.max_unpool3d, input, indices, output_size)


class _AvgPoolNd(Module):
    """Average pooling in 2 and 3 dimensions, which keep the sizes as they are given."""

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
        divisor_override=None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def _pool(self, pool, input):
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )

    def extra_repr(self):
        return shown(self, "kernel_size", "stride", "padding")


class AvgPool1d(Module):
    """The mean of each window, padding counted as zeros unless `count_include_pad` is false.

    Shapes: (N, C, L) -> (N, C, L_out) with L_out = (L + 2 padding - kernel_size) / stride + 1.

    Source: `torch.nn.AvgPool1d`.

    >>> import iskra as torch
    >>> torch.nn.AvgPool1d(3, stride=2)(torch.tensor([[[1., 2, 3, 4, 5, 6, 7]]]))
    tensor([[[2., 4., 6.]]])
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = _single(stride if stride is not None else kernel_size)
        self.padding = _single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input):
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self):
        return shown(self, "kernel_size", "stride", "padding")


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of (N, C, H, W). Source: `torch.nn.AvgPool2d`.

    >>> import iskra as torch
    >>> torch.nn.AvgPool2d((3, 2), stride=(2, 1))(torch.ones(20, 16, 50, 32)).shape
    iskra.Size([20, 16, 24, 31])
    """

    def forward(self, input):
        return self._pool(F.avg_pool2d, input)


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of (N, C, D, H, W). Source: `torch.nn.AvgPool3d`.

    >>> import iskra as torch
    >>> torch.nn.AvgPool3d(3, stride=2)(torch.ones(2, 3, 9, 8, 7)).shape
    iskra.Size([2, 3, 4, 3, 3])
    """

    def forward(self, input):
        return self._pool(F.avg_pool3d, input)


class _FractionalMaxPoolNd(Module):
    def __init__(
        self, as_tuple, kernel_size, output_size, output_ratio, return_indices, _random_samples
    ):
        super().__init__()
        name = type(self).__name__
        self.kernel_size = as_tuple(kernel_size)
        if any(size <= 0 for size in self.kernel_size):
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = as_tuple(output_size) if output_size is not None else None
        self.output_ratio = as_tuple(output_ratio) if output_ratio is not None else None
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def _pool(self, pool, input):
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Max pooling of (N, C, H, W) over windows at random steps (Graham, 2014).

    Either `output_size` or `output_ratio`, between 0 and 1, is given; ValueError otherwise.

    Source: `torch.nn.FractionalMaxPool2d`.

    >>> import iskra as torch
    >>> torch.nn.FractionalMaxPool2d(3, output_ratio=(0.5, 0.5))(torch.ones(2, 3, 8, 6)).shape
    iskra.Size([2, 3, 4, 3])
    """

    def __init__(
        self, kernel_size, output_size=None, output_ratio=None, return_indices=False,
        _random_samples=None,
    ):
        super().__init__(
            _pair, kernel_size, output_size, output_ratio, return_indices, _random_samples
        )

    def forward(self, input):
        return self._pool(F.fractional_max_pool2d, input)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Max pooling of (N, C, D, H, W) over windows at random steps; see FractionalMaxPool2d.

    Source: `torch.nn.FractionalMaxPool3d`.

    >>> import iskra as torch
    >>> torch.nn.FractionalMaxPool3d(2, output_size=3)(torch.ones(1, 2, 6, 6, 6)).shape
    iskra.Size([1, 2, 3, 3, 3])
    """

    def __init__(
        self, kernel_size, output_size=None, output_ratio=None, return_indices=False,
        _random_samples=None,
    ):
        super().__init__(
            _triple, kernel_size, output_size, output_ratio, return_indices, _random_samples
        )

    def forward(self, input):
        return self._pool(F.fractional_max_pool3d, input)


class _LPPoolNd(Module):
    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def _pool(self, pool, input):
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self):
        return shown(self, "norm_type", "kernel_size", "stride", "ceil_mode")


class LPPool1d(_LPPoolNd):
    """The p-norm of each window, p = norm_type. Source: `torch.nn.LPPool1d`.

    >>> import iskra as torch
    >>> torch.nn.LPPool1d(2, 2)(torch.tensor([[[3.0, 4.0]]]))
    tensor([[[5.]]])
    """

    def forward(self, input):
        return self._pool(F.lp_pool1d, input)


class LPPool2d(_LPPoolNd):
    """The p-norm of each window of (N, C, H, W). Source: `torch.nn.LPPool2d`.

    >>> import iskra as torch
    >>> torch.nn.LPPool2d(1, 2)(torch.ones(1, 1, 2, 2))
    tensor([[[[4.]]]])
    """

    def forward(self, input):
        return self._pool(F.lp_pool2d, input)


class LPPool3d(_LPPoolNd):
    """The p-norm of each window of (N, C, D, H, W). Source: `torch.nn.LPPool3d`.

    >>> import iskra as torch
    >>> torch.nn.LPPool3d(1, 2)(torch.ones(1, 1, 2, 2, 2))
    tensor([[[[[8.]]]]])
    """

    def forward(self, input):
        return self._pool(F.lp_pool3d, input)


class _AdaptiveMaxPoolNd(Module):
    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self):
        return shown(self, "output_size")


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Max pooling of (N, C, L) to (N, C, output_size). Source: `torch.nn.AdaptiveMaxPool1d`.

    >>> import iskra as torch
    >>> torch.nn.AdaptiveMaxPool1d(5)(torch.ones(1, 64, 8)).shape
    iskra.Size([1, 64, 5])
    """

    def forward(self, input):
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Max pooling of (N, C, H, W) to (N, C, *output_size); None keeps a size.

    Source: `torch.nn.AdaptiveMaxPool2d`.

    >>> import iskra as torch
    >>> torch.nn.AdaptiveMaxPool2d((None, 7))(torch.ones(1, 64, 10, 9)).shape
    iskra.Size([1, 64, 10, 7])
    """

    def forward(self, input):
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Max pooling of (N, C, D, H, W) to (N, C, *output_size).

    Source: `torch.nn.AdaptiveMaxPool3d`.

    >>> import iskra as torch
    >>> torch.nn.AdaptiveMaxPool3d(2)(torch.ones(1, 4, 5, 6, 7)).shape
    iskra.Size([1, 4, 2, 2, 2])
    """

    def forward(self, input):
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self):
        return shown(self, "output_size")


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Average pooling of (N, C, L) to (N, C, output_size). Source: `torch.nn.AdaptiveAvgPool1d`.

    >>> import iskra as torch
    >>> torch.nn.AdaptiveAvgPool1d(2)(torch.tensor([[[1.0, 3.0, 5.0, 7.0]]]))
    tensor([[[2., 6.]]])
    """

    def forward(self, input):
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Average pooling of (N, C, H, W) to (N, C, *output_size); None keeps a size.

    Source: `torch.nn.AdaptiveAvgPool2d`.

    >>> import iskra as torch
    >>> torch.nn.AdaptiveAvgPool2d((5, 7))(torch.ones(1, 64, 8, 9)).shape
    iskra.Size([1, 64, 5, 7])
    """

    def forward(self, input):
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Average pooling of (N, C, D, H, W) to (N, C, *output_size).

    Source: `torch.nn.AdaptiveAvgPool3d`.

    >>> import iskra as torch
    >>> torch.nn.AdaptiveAvgPool3d(2)(torch.ones(1, 4, 5, 6, 7)).shape
    iskra.Size([1, 4, 2, 2, 2])
    """

    def forward(self, input):
        return F.adaptive_avg_pool3d(input, self.output_size)
