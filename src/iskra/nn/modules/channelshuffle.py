"""Channel shuffling. Page: https://docs.pytorch.org/docs/stable/nn.html#vision-layers"""

from iskra.nn import functional as F
from iskra.nn.module import Module
from iskra.nn.modules.utils import shown

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """Mixes the channels of (N, C, *): those of `groups` groups take turns (Zhang et al., 2018).

    Source: `torch.nn.ChannelShuffle`.

    >>> import iskra as torch
    >>> x = torch.arange(4.0).reshape(1, 4, 1, 1)
    >>> torch.nn.ChannelShuffle(2)(x).flatten()
    tensor([0., 2., 1., 3.])
    """

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        return shown(self, "groups")
