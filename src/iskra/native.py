"""Functions that PyTorch keeps in its own namespace beside those of `nn.functional`.

They take their arguments in another order: the table before the indices, statistics after the
weights. Few programs call them by these names.
Source: https://docs.pytorch.org/docs/stable/torch.html
"""

import os

import numpy as np

from iskra import ops
from iskra.core import get_default_dtype
from iskra.ops import bilinear, zero_
from iskra.tensor import Tensor, wrap

__all__ = [
    "batch_norm", "bilinear", "detach", "detach_", "embedding", "embedding_renorm_",
    "from_file", "instance_norm", "zero_",
]

detach = Tensor.detach
detach_ = Tensor.detach_


def batch_norm(
    input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=False
):
    """`nn.functional.batch_norm`, its arguments in another order.

    >>> import iskra as torch
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> torch.batch_norm(x, None, None, None, None, True, 0.1, 0.0, False)
    tensor([[-1.],
            [ 1.]])
    """
    return ops.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )


def instance_norm(
    input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps,
    cudnn_enabled=False,
):
    """`nn.functional.instance_norm`, its arguments in another order.

    >>> import iskra as torch
    >>> x = torch.tensor([[[1.0, 3.0]]])
    >>> torch.instance_norm(x, None, None, None, None, True, 0.1, 0.0, False)
    tensor([[[-1.,  1.]]])
    """
    return ops.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """Rows of `weight` at `indices`: `nn.functional.embedding` with the table first.

    >>> import iskra as torch
    >>> torch.embedding(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 0]))
    tensor([[2.],
            [1.]])
    """
    return ops.embedding(
        indices, weight, None if padding_idx < 0 else padding_idx,
        scale_grad_by_freq=scale_grad_by_freq, sparse=sparse,
    )


def from_file(
    filename, shared=None, size=0, *, dtype=None, layout=None, device=None, pin_memory=False
):
    """A tensor of `size` elements whose memory is the file's.

    With ``shared=True`` writes go to the file, which is made or made longer where it is too
    short; otherwise the tensor is a private copy-on-write view of it.
    Raises RuntimeError where the file is missing or too short.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.from_file.html

    >>> import iskra as torch, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "numbers")
    >>> _ = torch.from_file(path, shared=True, size=3, dtype=torch.int64).fill_(7)
    >>> torch.from_file(path, size=2, dtype=torch.int64)
    tensor([7, 7])
    """
    kind = get_default_dtype() if dtype is None else dtype
    length = size * kind.itemsize
    if shared and (not os.path.exists(filename) or os.path.getsize(filename) < length):
        with open(filename, "ab") as file:
            file.truncate(length)
    try:
        memory = np.memmap(filename, kind.numpy, "r+" if shared else "c", shape=(size,))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"from_file: unable to open file <{filename}>: {error}") from None
    return wrap(memory.view(np.ndarray), kind)


def embedding_renorm_(input, indices, max_norm, norm_type=2.0):
    """Shrink the rows of `input` at `indices` to norms of at most `max_norm`, in place.

    >>> import iskra as torch
    >>> torch.embedding_renorm_(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), 1.0)
    tensor([[0.6000, 0.8000]])
    """
    ops.embedding(indices, input.detach(), max_norm=max_norm, norm_type=norm_type)
    return input
