"""Fold and Unfold. Page: https://docs.pytorch.org/docs/stable/nn.html#convolution-layers"""

from iskra.nn import functional as F
from iskra.nn.module import Module
from iskra.nn.modules.utils import shown

__all__ = ["Fold", "Unfold"]


class Fold(Module):
    """Adds sliding blocks, one per column, into an image: the gradient of Unfold.

    Shapes: (N, C * prod(kernel_size), L) -> (N, C, *output_size), with or without N.

    Source: `torch.nn.Fold`.

    >>> import iskra as torch
    >>> torch.nn.Fold(output_size=(4, 5), kernel_size=(2, 2))(torch.ones(1, 12, 12)).shape
    iskra.Size([1, 3, 4, 5])
    """

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self):
        return shown(self, "output_size", "kernel_size", "dilation", "padding", "stride")


class Unfold(Module):
    """Copies the sliding blocks of an image into columns (im2col).

    Shapes: (N, C, H, W) -> (N, C * prod(kernel_size), L), with or without N.

    Source: `torch.nn.Unfold`.

    >>> import iskra as torch
    >>> torch.nn.Unfold(kernel_size=(2, 3))(torch.ones(2, 5, 3, 4)).shape
    iskra.Size([2, 30, 4])
    """

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return shown(self, "kernel_size", "dilation", "padding", "stride")
