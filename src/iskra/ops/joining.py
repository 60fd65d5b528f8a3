"""Joining tensors: cat, stack and their relatives.

Source of every operator here:
https://docs.pytorch.org/docs/stable/torch.html#indexing-slicing-joining-mutating-ops
"""

import functools
from operator import index

import numpy as np

from iskra.core import dtypes, promote_types
from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite, operator
from iskra.ops.moving import joined
from iskra.ops.view import atleast_1d, atleast_2d, atleast_3d, listed
from iskra.tensor import Tensor


def common_type(arrays):
    """The arrays in their promoted dtype."""
    first = arrays[0].dtype
    if all(a.dtype == first for a in arrays):
        return arrays
    kinds = [dtypes.of_numpy(a.dtype) for a in arrays]
    target = functools.reduce(promote_types, kinds).numpy
    return [a.astype(target) for a in arrays]


def _is_legacy_empty(shape):
    """Tensors of shape (0,) join anything, in whatever dimension."""
    return shape == (0,)


def _check_joinable(arrays, dim):
    """`cat`'s errors; return the dimension, counted from the front."""
    for place, array in enumerate(arrays):
        if not array.ndim:
            raise RuntimeError(
                f"zero-dimensional tensor (at position {place}) cannot be concatenated; use stack"
            )
    solid = [(i, a) for i, a in enumerate(arrays) if not _is_legacy_empty(a.shape)]
    if not solid:
        return wrap_dim(dim, 1)
    reference = solid[0][1].shape
    dim = wrap_dim(dim, len(reference))
    for place, array in solid[1:]:
        if array.ndim != len(reference):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(reference)} and "
                f"{array.ndim}"
            )
        for axis, (wanted, found) in enumerate(zip(reference, array.shape, strict=True)):
            if axis != dim and wanted != found:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size "
                    f"{wanted} but got size {found} for tensor number {place} in the list."
                )
    return dim


def _cat_gradient(g, tensors_shape, dim):
    dim = wrap_dim(dim, g.dim())
    sizes = tuple([0 if _is_legacy_empty(s) else s[dim] for s in tensors_shape])
    parts = g.split_with_sizes(sizes, dim)
    if any(_is_legacy_empty(s) for s in tensors_shape):
        return [
            p.reshape(s) if _is_legacy_empty(s) else p
            for p, s in zip(parts, tensors_shape, strict=True)
        ]
    return list(parts)


@operator(
    out="casts apart", autocast="widest",
    operands="tensors", method=False, aliases=("concat", "concatenate"), rearranges=True,
    grad={"tensors": _cat_gradient},
    samples=lambda make: [
        (([make((2, 3)), make((1, 3))],), {}), (([make((2, 3)), make((2, 0))], -1), {}),
        (([make((0,)), make((2, 3))], 1), {}),
    ],
)
def cat(tensors, dim=0):
    """Return the tensors joined along an existing dimension.

    All other sizes must be equal (tensors of shape ``(0,)`` are skipped); dtypes are promoted.
    Raises RuntimeError where shapes do not fit, ValueError for an empty list.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.cat.html

    >>> import iskra as torch
    >>> torch.cat([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])
    """
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    try:  # NumPy checks faster, and counts dimensions as we do
        if tensors[0].shape != (0,) and tensors[0].ndim:
            return joined(common_type(tensors), dim)
    except ValueError:
        pass
    dim = _check_joinable(tensors, dim)
    tensors = common_type(tensors)
    solid = [t for t in tensors if not _is_legacy_empty(t.shape)]
    return joined(solid or tensors, dim if solid else 0)


def _stack_gradient(g, tensors_shape, dim):
    return list(g.unbind(dim))


@operator(
    out="casts", autocast="widest",
    operands="tensors", method=False, rearranges=True, grad={"tensors": _stack_gradient},
    samples=lambda make: [
        (([make((2, 3)), make((2, 3))],), {}), (([make((2,)), make((2,))], -1), {}),
        (([make(()), make(())],), {}),
    ],
)
def stack(tensors, dim=0):
    """Return the tensors joined along a new dimension; all must have one shape.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.stack.html

    >>> import iskra as torch
    >>> torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])], dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0].shape
    for place, tensor in enumerate(tensors):
        if tensor.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {format_shape(shape)} at "
                f"entry 0 and {format_shape(tensor.shape)} at entry {place}"
            )
    dim = wrap_dim(index(dim), len(shape) + 1)
    place = (*(slice(None),) * dim, None)
    return joined([t[place] for t in common_type(tensors)], dim)


def _some(tensors, name):
    """`tensors` as a list of tensors; RuntimeError where it is empty."""
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}(): argument 'tensors' must be tuple of Tensors, not Tensor")
    if not len(tensors):
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return list(tensors)


@composite(method=False, out=True)
def hstack(tensors):
    """Return the tensors joined along the second dimension (vectors along the first).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hstack.html

    >>> import iskra as torch
    >>> torch.hstack([torch.tensor([1, 2]), torch.tensor(3)])
    tensor([1, 2, 3])
    """
    parts = [atleast_1d(t) for t in _some(tensors, "hstack")]
    return cat(parts, 0 if parts[0].dim() == 1 else 1)


@composite(method=False, out=True, aliases=("row_stack",))
def vstack(tensors):
    """Return the tensors joined along the first dimension, vectors as rows.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vstack.html

    >>> import iskra as torch
    >>> torch.vstack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    return cat([atleast_2d(t) for t in _some(tensors, "vstack")], 0)


@composite(method=False, out=True)
def dstack(tensors):
    """Return the tensors joined along the third dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dstack.html

    >>> import iskra as torch
    >>> torch.dstack([torch.tensor([1]), torch.tensor([2])])
    tensor([[[1, 2]]])
    """
    return cat([atleast_3d(t) for t in _some(tensors, "dstack")], 2)


@composite(method=False, out=True)
def column_stack(tensors):
    """Return the tensors joined along the second dimension, vectors as columns.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.column_stack.html

    >>> import iskra as torch
    >>> torch.column_stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    tensors = _some(tensors, "column_stack")
    return cat([t.reshape(t.numel(), 1) if t.dim() < 2 else t for t in tensors], 1)


def _block_gradient(g, tensors_shape):
    row = column = 0
    gradients = []
    for shape in tensors_shape:
        rows, columns = (1, *shape)[-2:] if shape else (1, 1)
        part = g[row:row + rows, column:column + columns]
        gradients.append(part.reshape(shape))
        row, column = row + rows, column + columns
    return gradients


@operator(
    method=False, function=False, out=False, operands="tensors", node="BlockDiagBackward0",
    grad={"tensors": _block_gradient},
)
def block_diag_of(tensors):
    """The operator behind `block_diag`."""
    tensors = [t.reshape((1,) * (2 - t.ndim) + t.shape) for t in common_type(tensors)]
    shape = (sum(t.shape[0] for t in tensors), sum(t.shape[1] for t in tensors))
    result = np.zeros_like(tensors[0], shape=shape, subok=False)
    row = column = 0
    for tensor in tensors:
        rows, columns = tensor.shape
        result[row:row + rows, column:column + columns] = tensor
        row, column = row + rows, column + columns
    return result


@composite(method=False, samples=lambda make: [((make((2, 3)), make((2,)), make(())), {})])
def block_diag(*tensors):
    """Return a matrix with the tensors (of up to two dimensions) along its diagonal.

    Vectors count as one row. Raises RuntimeError for tensors of more dimensions.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.block_diag.html

    >>> import iskra as torch
    >>> torch.block_diag(torch.tensor([[1, 2]]), torch.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    tensors = listed(tensors)
    for place, tensor in enumerate(tensors):
        if tensor.dim() > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{place} has {tensor.dim()} dimensions"
            )
    return block_diag_of(list(tensors))
