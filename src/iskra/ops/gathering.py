"""Picking elements by index tensors or masks: gather, index_select, take, nonzero and kin.

Source of every operator here:
https://docs.pytorch.org/docs/stable/torch.html#indexing-slicing-joining-mutating-ops
"""

import math

import numpy as np

from iskra.core import dtypes
from iskra.core.size import broadcast, format_shape, wrap_dim
from iskra.dispatch import composite, operator
from iskra.ops.moving import masked, nonzero_places, taken, taken_along

_ALL = slice(None)
_INDEX = (np.dtype(np.int32), np.dtype(np.int64))


def scalar_name(array):
    """The dtype of an array as PyTorch's messages spell it."""
    return dtypes.of_numpy(array.dtype).scalar_name


def are_below(index, size):
    """Whether all indices lie in ``[0, size)``."""
    if not index.size:
        return True
    if index.dtype in _INDEX and index.__class__ is np.ndarray:
        return index.view(f"u{index.itemsize}").max() < size  # of those below 0, large numbers
    return index.min() >= 0 and index.max() < size


def check_bounds(index, size, dim, error=RuntimeError):
    """Raise where an index lies outside ``[0, size)``."""
    if not are_below(index, size):
        bad = index[(index < 0) | (index >= size)].flat[0]
        raise error(f"index {bad} is out of bounds for dimension {dim} with size {size}")


def positions(index, shape, dim):
    """For each entry of `index`, the place in a C-ordered array of `shape` that it names.

    The entry replaces its own coordinate along `dim`; the other coordinates stay.
    """
    if not shape:
        return index.astype(np.int64)
    step = math.prod(shape[dim + 1:])
    places = index.astype(np.int64) * step
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        if axis != dim and index.ndim:
            ramp = np.arange(index.shape[axis], dtype=np.int64) * step
            places += ramp.reshape((-1,) + (1,) * (index.ndim - 1 - axis))
        step *= shape[axis]
    return places


def check_index(name, index, rank):
    """`gather` and `scatter` want int32 or int64 and as many dimensions as the operand has."""
    if index.dtype not in _INDEX and index.size:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
    if index.size and max(index.ndim, 1) != max(rank, 1):
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as "
            f"{'input' if name == 'gather' else 'self'} tensor, got {index.ndim} and {rank}"
        )


@operator(
    out="apart", repeats=True, operands="input index",
    grad={"input": lambda g, input_shape, dim, index: g.new_zeros(input_shape).scatter_add(
        dim, index, g
    )},
    samples=lambda make: [
        ((make((3, 4)), 0, make((2, 4), low=0, high=3, dtype=dtypes.int64)), {}),
        ((make((3, 4)), -1, make((2, 5), low=0, high=4, dtype=dtypes.int64)), {}),
    ],
)
def gather(input, dim, index, *, sparse_grad=False):
    """Return, for each entry of `index`, the element of `input` at that index along `dim`.

    `index` (int64) has the rank of `input` and is no larger, except along `dim`; the result has
    its shape. Raises RuntimeError for indices out of range and for shapes that do not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.gather.html

    >>> import iskra as torch
    >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    dim = wrap_dim(dim, input.ndim)
    check_index("gather", index, input.ndim)
    if not index.size:
        return np.empty_like(input, shape=index.shape, subok=False)
    for axis, (wanted, held) in enumerate(zip(index.shape, input.shape, strict=False)):
        if axis != dim and wanted > held:
            raise RuntimeError(
                f"Size does not match at dimension {axis} expected index "
                f"{format_shape(index.shape)} to be no larger than self "
                f"{format_shape(input.shape)} apart from dimension {dim}"
            )
    found = taken_along(input, index, dim)
    if found is not None:
        return found
    check_bounds(index, input.shape[dim] if input.ndim else 1, dim)
    return np.take(input.reshape(-1), positions(index, input.shape, dim))


def check_vector(name, index, size=None, dim=0):
    """The index of ``index_*``: a vector (or one number)."""
    if index.ndim > 1:
        raise IndexError(
            f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim} with type: "
            f"{scalar_name(index)} and size: {format_shape(index.shape)}"
        )
    if index.dtype not in _INDEX:
        raise RuntimeError(f"{name}(): Expected dtype int32 or int64 for index")


@operator(
    out="apart", repeats=True, operands="input index",
    grad={"input": lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add(
        dim, index, g
    )},
    samples=lambda make: [
        ((make((3, 4)), 1, make((5,), low=0, high=4, dtype=dtypes.int64)), {}),
        ((make((3,)), 0, make((), low=0, high=3, dtype=dtypes.int64)), {}),
    ],
)
def index_select(input, dim, index):
    """Return the entries of `input` along `dim` that the vector `index` names, as a copy.

    Raises IndexError for indices out of range, negative ones too.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.index_select.html

    >>> import iskra as torch
    >>> torch.index_select(torch.tensor([[1, 2], [3, 4]]), 0, torch.tensor([1, 1]))
    tensor([[3, 4],
            [3, 4]])
    """
    dim = wrap_dim(dim, input.ndim)
    check_vector("index_select", index)
    index = index.reshape(-1)
    if not input.ndim:
        if index.size != 1:
            raise RuntimeError(
                "index_select(): Index to scalar can have only 1 value, got "
                f"{index.size} value(s)"
            )
        input, scalar = input.reshape(1), True
    else:
        scalar = False
    if not are_below(index, input.shape[dim]):
        raise IndexError(
            f"index out of range in self: got {int(index.min())} to {int(index.max())} for size "
            f"{input.shape[dim]} of dimension {dim}"
        )
    result = taken(input, index, dim)
    return result.reshape(()) if scalar else result


def _take_gradient(g, input_shape, index):
    return g.new_zeros(input_shape).put(index, g, True)


@operator(
    out="apart", repeats=True, operands="input index", grad={"input": _take_gradient},
    samples=lambda make: [
        ((make((3, 4)), make((2, 2), low=-12, high=12, dtype=dtypes.int64)), {}),
    ],
)
def take(input, index):
    """Return the elements of the flattened `input` at `index`, in the shape of `index`.

    Raises IndexError for indices out of range; negative ones count from the end.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.take.html

    >>> import iskra as torch
    >>> torch.take(torch.tensor([[4, 3], [6, 7]]), torch.tensor([0, -1]))
    tensor([4, 7])
    """
    check_flat("take", index, input.size)
    return taken(input.reshape(-1), index, 0, from_end=True)


def check_flat(name, index, size):
    """The index of `take` and `put_`: int64, negative ones counting from the end."""
    if index.dtype != np.int64:
        raise RuntimeError(
            f"{name}(): Expected a long tensor for index, but got {scalar_name(index)}"
        )
    if index.size and not size:
        raise IndexError(f"{name}(): tried to take from an empty tensor")
    outside = (index < -size) | (index >= size)
    if outside.any():
        raise IndexError(
            f"out of range: tried to access index {index[outside].flat[0]} on a tensor of "
            f"{size} elements."
        )


@operator(function=False, method=False, out=False, computes=True)
def from_the_front(indices, size):
    """Indices that count from the end, counted from the front."""
    return np.where(indices < 0, indices + size, indices)


@composite(
    out="exact apart", samples=lambda make: [
        ((make((3, 4)), make((1, 4), low=0, high=3, dtype=dtypes.int64), 0), {}),
        ((make((3, 4)), make((5,), low=0, high=12, dtype=dtypes.int64)), {}),
    ],
)
def take_along_dim(input, indices, dim=None):
    """Return the elements at `indices` along `dim`, the other dimensions broadcast.

    Without `dim` both are flattened. Fits the results of `argmax` and `argsort`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.take_along_dim.html

    >>> import iskra as torch
    >>> x = torch.tensor([[10, 30, 20]])
    >>> torch.take_along_dim(x, torch.tensor([[1]]), dim=1)
    tensor([[30]])
    """
    if indices._dtype is not dtypes.int64:
        raise RuntimeError(
            "torch.take_along_dim(): dtype of indices should be Long but got "
            f"{indices._dtype.scalar_name}"
        )
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    if input.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of "
            f"dimensions, but got {input.dim()} dimensions for input, and {indices.dim()} "
            "dimensions for indices"
        )
    dim = wrap_dim(dim, input.dim())
    if input.dim():
        indices = from_the_front(indices, input.size(dim))
    held, wanted = list(input.shape), list(indices.shape)
    if held:
        held[dim] = wanted[dim] = 1
    common = list(broadcast(tuple(held), tuple(wanted)))
    input_shape, index_shape = list(common), list(common)
    if held:
        input_shape[dim], index_shape[dim] = input.size(dim), indices.size(dim)
    return gather(input.broadcast_to(input_shape), dim, indices.broadcast_to(index_shape))


@operator(
    out="apart", operands="input mask",
    grad={"input": lambda g, input_shape, mask: _spread_masked(g, input_shape, mask)},
    samples=lambda make: [((make((3, 4)), make((4,)) > 0), {})],
)
def masked_select(input, mask):
    """Return the elements where the bool tensor `mask` is True, in one dimension.

    The two are broadcast. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.masked_select.html

    >>> import iskra as torch
    >>> torch.masked_select(torch.tensor([1, 2, 3]), torch.tensor([True, False, True]))
    tensor([1, 3])
    """
    if mask.dtype != np.bool_:
        raise RuntimeError(
            f"masked_select: expected BoolTensor for mask, got {scalar_name(mask)}"
        )
    if input.shape == mask.shape:
        return masked(input, mask)
    shape = broadcast(input.shape, mask.shape)
    return masked(np.broadcast_to(input, shape), np.broadcast_to(mask, shape))


def _spread_masked(g, input_shape, mask):
    shape = broadcast(input_shape, mask._array.shape)
    return g.new_zeros(shape).masked_scatter(mask, g)


# -- where something is true ----------------------------------------------------------------------


@operator(namespace="torch", method=True, aliases=())
def argwhere(input):
    """Return the index of every element that is not zero, one per row: ``(count, rank)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argwhere.html

    >>> import iskra as torch
    >>> torch.argwhere(torch.tensor([[1, 0], [0, 2]]))
    tensor([[0, 0],
            [1, 1]])
    """
    return nonzero_places(input)


@composite(out="exact", samples=lambda make: [((make((3, 4)) > 0,), {}), ((make((3,)) > 0,), {})])
def nonzero(input, *, as_tuple=False):
    """Return the index of every element that is not zero, one per row.

    With `as_tuple` the columns, as a tuple of vectors, which can be used as an index.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nonzero.html

    >>> import iskra as torch
    >>> torch.nonzero(torch.tensor([1, 0, 2]))
    tensor([[0],
            [2]])
    >>> torch.nonzero(torch.tensor([1, 0, 2]), as_tuple=True)
    (tensor([0, 2]),)
    """
    if as_tuple:
        rows = argwhere(input.reshape(1) if not input.dim() else input)
        return tuple(column.contiguous() for column in rows.unbind(1))
    return argwhere(input)


@operator(out=True)
def nonzero_static(input, *, size, fill_value=-1):
    """`nonzero` with exactly `size` rows: cut off, or filled up with `fill_value`.

    >>> import iskra as torch
    >>> torch.nonzero_static(torch.tensor([1, 0, 2]), size=3)
    tensor([[ 0],
            [ 2],
            [-1]])
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    rows = nonzero_places(input)[:size]
    result = np.full((size, input.ndim), fill_value, np.int64)
    result[: len(rows)] = rows
    return result
