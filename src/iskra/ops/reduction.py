"""Reductions: sum, mean, extrema, norms, counts.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#reduction-ops
"""

import numpy as np

from iskra.dispatch import reduction


def restore_dims(g, shape, dim, keepdim):
    """Put back the dimensions that a reduction took out of `g`, as sizes of 1."""
    if keepdim or not shape:
        return g
    dims = range(len(shape)) if dim is None or dim == () else dim if isinstance(dim, (tuple, list)) else (dim,)
    dims = {d % len(shape) for d in dims}
    return g.reshape([1 if d in dims else s for d, s in enumerate(shape)])


@reduction(
    node=lambda dim: "SumBackward0" if dim is None else "SumBackward1",
    grad=lambda g, input_shape, dim, keepdim: restore_dims(g, input_shape, dim, keepdim).expand(
        input_shape
    ),
)
def sum(input, dim=None, keepdim=False, *, dtype=None):
    """Return the sum of all elements, or along `dim` (an int or a tuple of ints).

    Integers and bools are summed as int64; `dtype` converts the elements first.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.sum.html

    >>> import iskra as torch
    >>> torch.sum(torch.tensor([[1, 2], [3, 4]]), dim=0)
    tensor([4, 6])
    """
    wide = np.int64 if dtype is None and input.dtype.kind in "iub" else None
    return np.sum(input, axis=dim, keepdims=keepdim, dtype=wide)
