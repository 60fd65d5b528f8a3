"""Searching in sorted sequences, membership, and uniqueness.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#comparison-ops
"""

import math

import numpy as np

from iskra.codegen import kernels
from iskra.core.dtypes import float64, int32, int64
from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite
from iskra.ops.large import has_elements, is_large
from iskra.ops.sorting import in_order, sortable
from iskra.tensor import Tensor, wrap


def places_among(sequence, values, side):
    """Where to put `values` into sorted rows so that they stay sorted."""
    if is_large(values) and sequence.__class__ is np.ndarray:
        found = kernels.searches.search(sequence, values, side == "right")
        if found is not None:
            return found
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
    found = places_among(sorted_sequence._array, input._array, where_to)
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


def _parts(values, starts, inverse, return_inverse, return_counts, dim, shape, length):
    """What was asked for, as tensors; values stand along `dim`."""
    parts = [values if dim is None else np.ascontiguousarray(np.moveaxis(values, 0, dim))]
    if return_inverse:
        parts.append(inverse.reshape(shape if dim is None else -1))
    if return_counts:
        parts.append(np.diff(starts, append=length))
    return wrap(parts[0]) if len(parts) == 1 else tuple(wrap(part) for part in parts)


def _runs(vector, numbered, places=None):
    """Runs of equal neighbours; see `iskra.codegen.kernels.runs.find`."""
    if has_elements(vector):
        found = kernels.runs.find(vector, numbered, places)
        if found is not None:
            return found
    return _runs_of_rows(vector, numbered, places)


def _runs_of_rows(rows, numbered, places=None):
    """The same of whole rows, which may be without elements, by NumPy."""
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    first = np.ones(min(len(rows), 1), bool)
    new = np.concatenate((first, (flat[1:] != flat[:-1]).any(1)))
    starts = np.flatnonzero(new)
    numbers = np.cumsum(new) - 1 if numbered else None
    if numbered and places is not None:
        ordered, numbers = numbers, np.empty_like(numbers)
        numbers[places] = ordered
    return rows[starts], starts, numbers


def _order_of_rows(rows):
    """The places that bring the rows of a matrix into order, from their first column on."""
    if rows.dtype.kind == "c" or not rows.size:
        columns = rows.T[::-1]
        return np.lexsort(columns) if len(columns) else np.arange(len(rows))
    keys = np.ascontiguousarray(_keys(sortable(rows)))
    keys = keys.astype(keys.dtype.newbyteorder(">"), copy=False)
    # Strings of bytes, compared from the first on.
    return np.argsort(keys.view(f"V{keys.shape[1] * keys.itemsize}")[:, 0], kind="stable")


def _keys(array):
    """Unsigned integers in the same order as the elements; NaN last."""
    kind = array.dtype.kind
    if kind in "bu":
        return array.view(np.uint8) if kind == "b" else array
    unsigned = np.dtype(f"u{array.dtype.itemsize}")
    top = unsigned.type(1 << 8 * unsigned.itemsize - 1)
    if kind == "i":
        return array.view(unsigned) ^ top
    bits = (array + array.dtype.type(0)).view(unsigned)  # one zero
    keys = np.where(bits & top, ~bits, bits | top)
    return np.where(np.isnan(array), ~unsigned.type(0), keys)


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
    array = input._array
    if dim is not None:
        rows = np.ascontiguousarray(np.moveaxis(array, dim, 0))
        places = _order_of_rows(rows.reshape(len(rows), math.prod(rows.shape[1:])))
        found = _runs_of_rows(rows[places], return_inverse, places)
    elif array.dtype.kind == "c":
        places = np.argsort(array.reshape(-1), kind="stable")
        found = _runs(array.reshape(-1)[places], return_inverse, places)
    else:
        ordered, places = in_order(array.reshape(-1), 0)
        found = _runs(ordered, return_inverse, places if return_inverse else None)
    length = array.size if dim is None else len(rows)
    return _parts(*found, return_inverse, return_counts, dim, input.shape, length)


@composite()
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """Return the elements (or slices along `dim`) without those equal to the one before.

    >>> import iskra as torch
    >>> torch.unique_consecutive(torch.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    _check_sizes("unique_consecutive", input, dim)
    array = input._array.reshape(-1) if dim is None else np.moveaxis(input._array, dim, 0)
    found = (_runs if dim is None else _runs_of_rows)(array, return_inverse)
    return _parts(*found, return_inverse, return_counts, dim, input.shape, len(array))
