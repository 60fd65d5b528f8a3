"""Pixel shuffling. Page: https://docs.pytorch.org/docs/stable/nn.html#vision-layers"""

from iskra.nn import functional as F
from iskra.nn.module import Module
from iskra.nn.modules.utils import shown

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """(*, C r^2, H, W) -> (*, C, H r, W r) with r = upscale_factor (Shi et al., 2016).

    Source: `torch.nn.PixelShuffle`.

    >>> import iskra as torch
    >>> torch.nn.PixelShuffle(3)(torch.ones(1, 9, 4, 4)).shape
    iskra.Size([1, 1, 12, 12])
    """

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        return shown(self, "upscale_factor")


class PixelUnshuffle(Module):
    """(*, C, H r, W r) -> (*, C r^2, H, W) with r = downscale_factor.

    Source: `torch.nn.PixelUnshuffle`.

    >>> import iskra as torch
    >>> torch.nn.PixelUnshuffle(3)(torch.ones(1, 1, 12, 12)).shape
    iskra.Size([1, 9, 4, 4])
    """

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        return shown(self, "downscale_factor")
