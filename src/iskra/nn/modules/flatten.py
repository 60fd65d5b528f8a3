"""Flatten and Unflatten. Page: https://docs.pytorch.org/docs/stable/nn.html#utilities"""

from iskra.nn.module import Module
from iskra.nn.modules.utils import shown

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins the dimensions from start_dim to end_dim; the batch dimension stays by default.

    Source: `torch.nn.Flatten`.

    >>> import iskra as torch
    >>> torch.nn.Flatten()(torch.ones(32, 1, 5, 5)).shape
    iskra.Size([32, 25])
    """

    def __init__(self, start_dim=1, end_dim=-1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input):
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self):
        return shown(self, "start_dim", "end_dim")


class Unflatten(Module):
    """Splits dimension `dim` into several of the sizes `unflattened_size`.

    Raises TypeError unless the sizes are a tuple or list of ints.
    Source: `torch.nn.Unflatten`.

    >>> import iskra as torch
    >>> torch.nn.Unflatten(1, (2, 5, 5))(torch.ones(2, 50)).shape
    iskra.Size([2, 2, 5, 5])
    """

    def __init__(self, dim, unflattened_size):
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                "unflattened_size must be a tuple of ints, but found type "
                + type(unflattened_size).__name__
            )
        for i, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                raise TypeError(
                    "unflattened_size must be tuple of ints, but found element of type "
                    f"{type(size).__name__} at pos {i}"
                )
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input):
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self):
        return shown(self, "dim", "unflattened_size")
