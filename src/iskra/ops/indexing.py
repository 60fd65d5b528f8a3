"""Picking elements at index tensors, and writing there: what ``x[mask]`` comes down to.

Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_put_.html
"""

import numpy as np

from iskra.core import dtypes
from iskra.core.size import broadcast, format_shape, is_expandable
from iskra.dispatch import composite, operator
from iskra.ops.accumulating import add_at
from iskra.ops.moving import (
    copied,
    is_served,
    masked,
    repeated,
    shape_at,
    taken,
    taken_at,
    write_at,
)
from iskra.tensor import Tensor

_ALL = slice(None)

def entries_of(indices):
    """Index arrays (None for a whole dimension) as the entries of a NumPy index."""
    return [_ALL if i is None else i for i in indices]


def check_bounds(shape, entries):
    """PyTorch's IndexError for what NumPy found wrong with an index; None if it cannot tell."""
    dim = 0
    for entry in entries:
        if entry.__class__ is slice:
            dim += 1
        elif entry.dtype == np.bool_:
            dim += entry.ndim
        else:
            size = shape[dim]
            outside = entry[(entry < -size) | (entry >= size)]
            if outside.size:
                raise IndexError(
                    f"index {outside.flat[0]} is out of bounds for dimension {dim} with size {size}"
                )
            dim += 1
    shapes = [e.shape for e in entries if e.__class__ is not slice and e.dtype != np.bool_]
    shapes += [(int(e.sum()),) for e in entries
               if e.__class__ is not slice and e.dtype == np.bool_]
    try:
        broadcast(*shapes)
    except RuntimeError:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(map(format_shape, shapes))
        ) from None


def picked(array, entries):
    """``array[entries]`` as a contiguous copy."""
    arrays = [i for i, e in enumerate(entries) if e.__class__ is not slice]
    try:
        if len(arrays) == 1 and entries[arrays[0]].dtype != np.bool_:
            dim = arrays[0]
            return taken(array, entries[dim], dim, from_end=True)
        if len(entries) == 1 and entries[0].dtype == np.bool_:
            if entries[0].shape == array.shape:
                return masked(array, entries[0])
        found = taken_at(array, entries)
        if found is not None:
            return found
        result = array[tuple(entries)]
    except IndexError:
        check_bounds(array.shape, entries)
        raise
    return result if result.flags.c_contiguous else np.ascontiguousarray(result)


def _index_gradient(g, input_shape, indices):
    return index_backward(g, input_shape, list(indices))


@operator(
    function=False, method=False, out=False, repeats=True,
    grad=lambda g, indices: index(g, list(indices)),
)
def index_backward(input, shape, indices):
    """Zeros of `shape` with `input` added up at the indices."""
    zeros = np.empty_like(input, shape=shape, order="C", subok=False)
    if is_served(zeros, input):
        zeros = repeated(0, tuple(shape), input.dtype)
    else:
        zeros[...] = 0
    return add_at(zeros, entries_of(indices), input)


@operator(
    function=False, method=False, out=False, operands="input", repeats=True,
    grad={"input": _index_gradient},
)
def index(input, indices):
    """The elements at index arrays; None stands for a whole dimension."""
    return picked(input, entries_of(indices))


def put_values(array, entries, values, accumulate):
    """Write `values` at `entries` of `array`."""
    try:
        if accumulate:
            values = np.broadcast_to(values, array[tuple(entries)].shape)
            add_at(array, entries, values)
        else:
            array[tuple(entries)] = values
    except IndexError:
        check_bounds(array.shape, entries)
        raise
    except ValueError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {format_shape(values.shape)} cannot be "
            "broadcast to indexing result of shape "
            f"{format_shape(array[tuple(entries)].shape)}"
        ) from None


def _put_by_kernels(result, entries, values, accumulate):
    """Whether kernels have written; anything may stand in `result` if not."""
    shape = shape_at(result, entries)
    if shape is None or not is_expandable(values.shape, shape):
        return False
    if values.shape != shape:
        values = copied(np.broadcast_to(values, shape))
    return write_at("add" if accumulate else "set", result, entries, values)


def _checked_indices(indices):
    """The indices of `index_put`: uint8 masks are bool masks."""
    found = []
    for entry in indices:
        if entry is not None and entry.dtype == np.uint8:
            entry = entry != 0
        if entry is not None and entry.dtype not in (np.int32, np.int64, np.bool_):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        found.append(entry)
    return entries_of(found)


@operator(
    inplace=True, operands="input values", out=False, repeats=True,
    grad={
        "input": lambda g, indices, accumulate, values_shape: (
            g if accumulate else index_put(g, indices, g.new_zeros(()))
        ),
        "values": lambda g, indices: index_masks(g, indices),
    },
)
def index_put(input, indices, values, accumulate=False):
    """Return a copy with `values` at the places that a tuple of index tensors names.

    `values` broadcasts to what the indices pick. With `accumulate` it is added there, as often as
    a place occurs; else one of the values that meet at a place stays.
    Raises IndexError for indices out of range, RuntimeError for dtypes that differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_put_.html

    >>> import iskra as torch
    >>> torch.zeros(3).index_put((torch.tensor([0, 2]),), torch.tensor(1.0))
    tensor([1., 0., 1.])
    """
    if input.dtype != values.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{dtypes.of_numpy(input.dtype).scalar_name} for the destination and "
            f"{dtypes.of_numpy(values.dtype).scalar_name} for the source."
        )
    entries = _checked_indices(indices)
    if len(entries) > input.ndim:
        raise IndexError(
            f"too many indices for tensor of dimension {input.ndim} (got {len(entries)})"
        )
    result = copied(input)
    if _put_by_kernels(result, entries, values, accumulate):
        return result
    result = copied(input)
    put_values(result, entries, values, accumulate)
    return result


@composite(function=False, method=False)
def index_masks(input, indices):
    """`index` with a tuple that may hold uint8 masks."""
    return index(input, [i if i is None or i._dtype is not dtypes.uint8 else i != 0
                         for i in indices])


def _grid_shape(shape):
    """`shape` as a tuple of sizes; TypeError or ValueError where it is none."""
    if isinstance(shape, int):
        shape = (shape,)
    if not isinstance(shape, (tuple, list)):
        raise TypeError(
            "unravel_index: expected 'shape' to be int or sequence of ints, but got "
            f"{type(shape).__name__}"
        )
    wrong = [s for s in shape if not isinstance(s, int)]
    if wrong:
        raise TypeError(
            "unravel_index: expected 'shape' sequence to only contain ints, but got "
            f"{type(wrong[0]).__name__}"
        )
    if any(s < 0 for s in shape):
        raise ValueError(
            f"unravel_index: 'shape' cannot have negative values, but got {tuple(shape)}"
        )
    return tuple(shape)


@composite(method=False)
def unravel_index(indices, shape):
    """Return where flat `indices` lie in a tensor of this shape: an index tensor per dimension.

    Raises TypeError unless the indices are integers, ValueError for negative sizes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.unravel_index.html

    >>> import iskra as torch
    >>> torch.unravel_index(torch.tensor([5, 11]), (3, 4))
    (tensor([1, 2]), tensor([1, 3]))
    """
    if not isinstance(indices, Tensor) or indices._dtype.category != dtypes.INTEGER:
        kind = indices._dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise TypeError(f"unravel_index: expected 'indices' to be integer dtype, but got {kind}")
    shape = _grid_shape(shape)
    places, step = [], 1
    indices = indices.long()
    for size in reversed(shape):
        places.append(indices.floor_divide(step).remainder(size))
        step *= max(size, 1)
    return tuple(reversed(places))
