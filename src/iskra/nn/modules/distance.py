"""Distances. Page: https://docs.pytorch.org/docs/stable/nn.html#distance-functions"""

from iskra.nn import functional as F
from iskra.nn.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps over the last dimension.

    Shapes: (N, D) or (D), two of them -> (N) or (), the dimension kept as 1 with `keepdim`.

    Source: `torch.nn.PairwiseDistance`.

    >>> import iskra as torch
    >>> torch.nn.PairwiseDistance()(torch.zeros(1, 4), torch.ones(1, 4))
    tensor([2.0000])
    """

    def __init__(self, p=2.0, eps=1e-6, keepdim=False):
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1, x2):
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle between x1 and x2 along `dim`.

    Source: `torch.nn.CosineSimilarity`.

    >>> import iskra as torch
    >>> torch.nn.CosineSimilarity(dim=0)(torch.ones(4), torch.ones(4))
    tensor(1.)
    """

    def __init__(self, dim=1, eps=1e-8):
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1, x2):
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
