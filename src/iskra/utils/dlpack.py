"""``iskra.utils.dlpack``: exchange tensors with other libraries, without a copy.

Source: https://docs.pytorch.org/docs/stable/dlpack.html
"""

from iskra.ops import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor):
    """The tensor as a DLPack capsule, which shares its memory and can be taken once.

    >>> import iskra as torch
    >>> torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(torch.ones(2)))
    tensor([1., 1.])
    """
    return tensor.__dlpack__(max_version=(1, 0))
