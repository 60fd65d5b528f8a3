"""Searching in sorted sequences, membership, and uniqueness.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#comparison-ops
"""

import numpy as np

from iskra.core.dtypes import float64, int32, int64
from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite
from iskra.ops.sorting import sortable
from iskra.tensor import Tensor, wrap


def _search(sequence, values, side):
    """Where to put `values` into sorted rows so that they stay sorted."""
    sequence, values = sortable(sequence), sortable(values)
    if sequence.ndim == 1:
        return np.searchsorted(sequence, values, side)
    result = np.empty(values.shape, np.int64)
    for place in np.ndindex(*sequence.shape[:-1]):
        result[place] = np.searchsorted(sequence[place], values[place], side)
    return result


def _value_among(sequence, value):
    """The number as a tensor of the sequence's dtype, unless it would lose its fraction."""
    if isinstance(value, (list, tuple, str)) or value is None:
        raise TypeError(
            f"searchsorted(): argument 'input' must be Tensor or Number, not {type(value).__name__}"
        )
    kind = sequence.dtype if sequence.is_floating_point() or isinstance(value, int) else None
    return sequence.new_tensor(value, dtype=kind or float64)


@composite(out="exact", method=False)
def searchsorted(
    sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None
):
    """Return where to put elements of `input` into sorted sequences so that these stay sorted.

    Raises RuntimeError where the leading dimensions differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.searchsorted.html

    >>> import iskra as torch
    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]))
    tensor([1, 2])
    """
    if not isinstance(input, Tensor):
        input = _value_among(sorted_sequence, input)
    if side not in (None, "left", "right"):
        raise RuntimeError(
            f"searchsorted(): side can only be 'left' or 'right' but got {side}"
        )
    if right and side == "left":
        raise RuntimeError(
            "searchsorted(): side and right can't be set to opposites, got side of left while "
            "right was True"
        )
    if sorted_sequence.dim() == 0:
        raise RuntimeError("searchsorted(): boundaries tensor should have positive dimension")
    if sorted_sequence.dim() != 1 and (
        sorted_sequence.dim() != input.dim()
        or sorted_sequence.shape[:-1] != input.shape[:-1]
    ):
        raise RuntimeError(
            "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
            "of boundaries tensor and input value tensor must match, but we got boundaries tensor "
            f"{format_shape(sorted_sequence.shape)} and input value tensor "
            f"{format_shape(input.shape)}"
        )
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "searchsorted(): boundary and sorter must have the same size, but got boundary "
                f"tensor {format_shape(sorted_sequence.shape)} and sorter tensor "
                f"{format_shape(sorter.shape)}"
            )
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    where_to = "right" if right or side == "right" else "left"
    found = _search(sorted_sequence._array, input._array, where_to)
    kind = int32 if out_int32 else int64
    return wrap(np.asarray(found, kind.numpy))


@composite(out="exact", method=False)
def bucketize(input, boundaries, *, out_int32=False, right=False):
    """Return the index of the bucket, between sorted `boundaries`, of each element.

    >>> import iskra as torch
    >>> torch.bucketize(torch.tensor([3, 6]), torch.tensor([1, 3, 5]))
    tensor([1, 3])
    """
    if boundaries.dim() != 1:
        raise RuntimeError(
            f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})"
        )
    if not isinstance(input, Tensor):
        input = _value_among(boundaries, input)
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@composite(out="exact", method=False)
def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Return whether each of `elements` is among `test_elements`.

    >>> import iskra as torch
    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2]))
    tensor([False,  True, False])
    """
    both = (elements, test_elements)
    if not any(isinstance(t, Tensor) for t in both) or any(
        isinstance(t, (list, tuple, str)) or t is None for t in both
    ):
        raise TypeError(
            "isin(): elements and test_elements must be a Tensor and a Tensor or Number, got "
            + " and ".join(type(t).__name__ for t in both)
        )
    arrays = [t._array if isinstance(t, Tensor) else np.asarray(t) for t in both]
    return wrap(np.asarray(np.isin(*arrays, invert=invert)))


def _unique_parts(values, first, inverse, counts, return_inverse, return_counts, shape):
    parts = [wrap(np.ascontiguousarray(values))]
    if return_inverse:
        parts.append(wrap(np.asarray(inverse, np.int64).reshape(shape)))
    if return_counts:
        parts.append(wrap(np.asarray(counts, np.int64)))
    return parts[0] if len(parts) == 1 else tuple(parts)


def _check_sizes(name, input, dim):
    """Slices without elements cannot be told apart."""
    if dim is None:
        return
    dim = wrap_dim(dim, input.dim())
    if any(not n for d, n in enumerate(input._array.shape) if d != dim):
        raise RuntimeError(
            f"{name}: There are 0 sized dimensions, and they aren't selected, so unique cannot be "
            f"applied to shape {format_shape(input.shape)} along dimension {dim}"
        )


@composite()
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """Return the distinct elements (or slices along `dim`) in order; also inverses and counts.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unique.html

    >>> import iskra as torch
    >>> torch.unique(torch.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    _check_sizes("unique", input, dim)
    found = np.unique(
        input._array, return_index=True, return_inverse=True, return_counts=True, axis=dim,
        equal_nan=False,
    )
    shape = input.shape if dim is None else (-1,)
    return _unique_parts(*found, return_inverse, return_counts, shape)


@composite()
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """Return the elements (or slices along `dim`) without those equal to the one before.

    >>> import iskra as torch
    >>> torch.unique_consecutive(torch.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    _check_sizes("unique_consecutive", input, dim)
    array = input._array.reshape(-1) if dim is None else np.moveaxis(input._array, dim, 0)
    if len(array):
        rows = array.reshape(len(array), -1)
        new = np.concatenate(([True], (rows[1:] != rows[:-1]).any(1)))
    else:
        new = np.zeros(0, bool)
    starts = np.flatnonzero(new)
    values = array[starts] if dim is None else np.moveaxis(array[starts], 0, dim)
    counts = np.diff(np.append(starts, len(array)))
    shape = input.shape if dim is None else (-1,)
    return _unique_parts(
        values, starts, np.cumsum(new) - 1, counts, return_inverse, return_counts, shape
    )
