"""Writing by index tensors or masks: scatter, index_add, masked_fill and kin.

Each returns a copy; the form with a trailing underscore writes into the tensor.
Source of every operator here:
https://docs.pytorch.org/docs/stable/torch.html#indexing-slicing-joining-mutating-ops
"""

import numpy as np

from iskra.core import dtypes
from iskra.core.size import broadcast, format_shape, wrap_dim
from iskra.dispatch import operator
from iskra.dispatch.execute import number
from iskra.ops.accumulating import add_rows
from iskra.ops.comparison import where
from iskra.ops.gathering import (
    check_bounds,
    check_flat,
    check_index,
    check_vector,
    positions,
    scalar_name,
)
from iskra.ops.moving import copied, is_served, repeated, write_along, write_rows
from iskra.ops.slicing import put_place
from iskra.tensor import Tensor

_ALL = slice(None)


def _is_number(value):
    return not isinstance(value, (np.ndarray, Tensor))


def index_samples(make, shape, high):
    """An int64 index for the test matrix."""
    return make(shape, low=0, high=high, dtype=dtypes.int64)


# -- scatter --------------------------------------------------------------------------------------


def check_scatter(input, dim, index, src, bounds=True):
    """`scatter`'s errors; return the dimension and the values that the index uses.

    Without `bounds` those of indices out of range are left to the caller.
    """
    dim = wrap_dim(dim, input.ndim)
    check_index("scatter", index, input.ndim)
    if not index.size:
        return dim, None
    if not _is_number(src):
        if src.dtype != input.dtype:
            raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
        if max(src.ndim, 1) != max(index.ndim, 1):
            raise RuntimeError(
                "Index tensor must have the same number of dimensions as src tensor, got "
                f"{index.ndim} and {src.ndim}"
            )
    for axis in range(index.ndim if input.ndim else 0):
        size = index.shape[axis]
        if axis != dim and size > input.shape[axis] or (
            not _is_number(src) and size > (src.shape or (1,))[axis]
        ):
            also = "" if _is_number(src) else (
                f" and to be no larger size than src {format_shape(src.shape)}"
            )
            raise RuntimeError(
                f"Expected index {format_shape(index.shape)} to be no larger than self "
                f"{format_shape(input.shape)} apart from dimension {dim}{also}"
            )
    if bounds:
        check_bounds(index, input.shape[dim] if input.ndim else 1, dim)
    return dim, src if _is_number(src) else used(src, index)


def used(src, index):
    """The corner of `src` that `index` covers."""
    if src.ndim == index.ndim:
        return src[tuple(slice(0, n) for n in index.shape)]
    return src.reshape(-1)[: index.size].reshape(index.shape)  # one of them has no dimension


def _node_of_scatter(src):
    return "ScatterBackward1" if src is None or _is_number(src) else "ScatterBackward0"


def _check_reduce(reduce):
    if reduce is not None:
        raise NotImplementedError(
            "the derivative for 'scatter' with reduce is not implemented; use scatter_reduce"
        )


def _scatter_gradient(g, dim, index, reduce):
    _check_reduce(reduce)
    return scatter(g, dim, index, 0)


def gathered(g, dim, index, shape):
    """What arrives at a source of `shape`, of which the index uses a corner."""
    part = g.gather(dim, index)
    found = part._array.shape
    if found == shape or len(found) != len(shape):
        return part
    return put_place(part, shape, tuple(slice(0, n) for n in found))


def _scatter_src_gradient(g, dim, index, src_shape, reduce):
    _check_reduce(reduce)
    return gathered(g, dim, index, src_shape)


@operator(
    out="apart", repeats=True, operands="input index src", scalars=True, inplace=True,
    node=_node_of_scatter,
    grad={"input": _scatter_gradient, "src": _scatter_src_gradient},
    samples=lambda make: [
        ((make((3, 4)), 0, index_samples(make, (1, 4), 3), make((1, 4))), {}),
        ((make((3, 4)), 1, index_samples(make, (2, 1), 4), 2.0), {}),
    ],
)
def scatter(input, dim, index, src=None, *, reduce=None, value=None):
    """Return a copy of `input` with `src` (a tensor or a number) written at `index` along `dim`.

    The opposite of `gather`: ``result[index[i][j]][j] = src[i][j]`` for dim 0. Of several values
    for one place the last stays. `reduce` ``"add"`` or ``"multiply"`` combines them instead
    (without a gradient). Raises RuntimeError for indices out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.scatter_.html

    >>> import iskra as torch
    >>> torch.scatter(torch.zeros(3), 0, torch.tensor([2, 0]), torch.tensor([1.0, 2.0]))
    tensor([2., 0., 1.])
    """
    src = value if src is None else src
    if src is None:
        raise TypeError("scatter() missing 1 required argument: 'src' or 'value'")
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not _is_number(src) and src.dtype != input.dtype and src.ndim == 0 == index.ndim - 1:
        src = src.item()
    dim, values = check_scatter(input, dim, index, src, bounds=False)
    result = copied(input)
    if values is None:
        return result
    if _is_number(values):
        values = repeated(np.full((), values).astype(input.dtype), index.shape, input.dtype)
    if write_along(reduce or "set", result, index, values, dim):
        return result
    check_bounds(index, input.shape[dim] if input.ndim else 1, dim)
    places = positions(index, input.shape, dim).reshape(-1)
    values = np.reshape(values, -1)
    flat = result.reshape(-1)
    if reduce == "add":
        add_rows(flat[:, None], places, values[:, None])
    elif reduce == "multiply":
        np.multiply.at(flat, places, values)
    else:
        flat[places] = values
    return result


@operator(
    out="apart", repeats=True, operands="input index src", inplace=True, computes=True,
    grad={
        "input": lambda g: g,
        "src": lambda g, dim, index, src_shape: gathered(g, dim, index, src_shape),
    },
    samples=lambda make: [
        ((make((3, 4)), 0, index_samples(make, (5, 4), 3), make((5, 4))), {}),
        ((make((3, 4)), 1, index_samples(make, (2, 3), 4), make((3, 4))), {}),
    ],
)
def scatter_add(input, dim, index, src):
    """Return a copy of `input` with `src` added at `index` along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.scatter_add_.html

    >>> import iskra as torch
    >>> torch.scatter_add(torch.zeros(3), 0, torch.tensor([2, 2]), torch.tensor([1.0, 2.0]))
    tensor([0., 0., 3.])
    """
    dim, values = check_scatter(input, dim, index, src, bounds=False)
    result = copied(input)
    if values is not None and not write_along("add", result, index, values, dim):
        check_bounds(index, input.shape[dim] if input.ndim else 1, dim)
        places = positions(index, input.shape, dim).reshape(-1)
        add_rows(result.reshape(-1, 1), places, values.reshape(-1, 1))
    return result


# -- index_* --------------------------------------------------------------------------------------


def check_rows(name, input, dim, index, source, error=RuntimeError):
    """The errors of `index_add` and kin; return the dimension."""
    dim = wrap_dim(dim, input.ndim)
    check_vector(name, index)
    if input.dtype != source.dtype:
        raise RuntimeError(
            f"{name}(): self ({scalar_name(input)}) and source ({scalar_name(source)}) must have "
            "the same scalar type"
        )
    size = source.shape[dim] if source.ndim else 1
    if index.size != size:
        raise error(
            f"{name}(): Number of indices ({index.size}) should be equal to source.size(dim): "
            f"({size}), for dim: {dim}"
        )
    rest = [
        tuple(n for d, n in enumerate(x.shape) if d != dim) if x.ndim else ()
        for x in (input, source)
    ]
    if rest[0] != rest[1] and source.ndim and input.ndim or source.ndim > max(input.ndim, 1):
        raise error(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {format_shape(input.shape)} source.shape = "
            f"{format_shape(source.shape)}"
        )
    return dim


def rows_first(array, dim):
    """The array with `dim` first and all else in a second dimension, as a C-ordered copy."""
    if not array.ndim:
        return array.reshape(1, 1).copy()
    moved = np.moveaxis(array, dim, 0)
    return np.array(moved, order="C").reshape(moved.shape[0], -1 if moved.size else _rest(moved))


def _rest(array):
    return int(np.prod(array.shape[1:], dtype=np.int64))


def rows_back(rows, shape, dim):
    """Undo `rows_first`."""
    if not shape:
        return rows.reshape(())
    moved = (shape[dim], *shape[:dim], *shape[dim + 1:])
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, dim))


@operator(
    out="apart", repeats=True, operands="input index source", inplace=True, computes=True,
    grad={
        "input": lambda g: g,
        "source": lambda g, dim, index, alpha, source_shape: _picked(
            g if alpha == 1 else g * alpha, dim, index, source_shape
        ),
    },
    samples=lambda make: [
        ((make((3, 4)), 0, index_samples(make, (5,), 3), make((5, 4))), {"alpha": 2}),
        ((make((3, 4)), 1, index_samples(make, (2,), 4), make((3, 2))), {}),
    ],
)
def index_add(input, dim, index, source, *, alpha=1):
    """Return a copy of `input` with ``alpha * source`` added to the entries `index` along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_add_.html

    >>> import iskra as torch
    >>> torch.index_add(torch.zeros(2), 0, torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))
    tensor([0., 3.])
    """
    dim = check_rows("index_add_", input, dim, index, source)
    check_bounds(index, input.shape[dim] if input.ndim else 1, dim)
    if alpha != 1:
        source = source * number(alpha, source.dtype)
    result = copied(input)
    if source.ndim == input.ndim > 0 and write_rows("add", result, index, source, dim):
        return result
    result = rows_first(input, dim)
    if result.size:
        add_rows(result, index.reshape(-1), rows_first(source, dim))
    return rows_back(result, input.shape, dim)


def _picked(g, dim, index, shape):
    return g.index_select(dim, index).reshape(shape)


@operator(
    out="apart", autocast="widest", repeats=True,
    operands="input index source", inplace=True,
    grad={
        "input": lambda g, dim, index: g.index_fill(dim, index, 0),
        "source": lambda g, dim, index, source_shape: _picked(g, dim, index, source_shape),
    },
    samples=lambda make: [
        ((make((3, 4)), 1, index_samples(make, (1,), 4), make((3, 1))), {}),
    ],
)
def index_copy(input, dim, index, source):
    """Return a copy of `input` with `source` as the entries `index` along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_copy_.html

    >>> import iskra as torch
    >>> torch.index_copy(torch.zeros(3), 0, torch.tensor([2]), torch.tensor([5.0]))
    tensor([0., 0., 5.])
    """
    if index.ndim > 1:
        raise IndexError(
            f"index_copy_(): Index should have dimension 1 or 0 (got {index.ndim})"
        )
    if index.dtype != np.int64:
        raise RuntimeError(
            f"index_copy_(): Expected a long tensor for index, but got {scalar_name(index)}"
        )
    dim = check_rows("index_copy_", input, dim, index, source, IndexError)
    check_bounds(index, input.shape[dim] if input.ndim else 1, dim, IndexError)
    result = copied(input)
    if source.ndim == input.ndim > 0 and write_rows("set", result, index, source, dim):
        return result
    result = rows_first(input, dim)
    result[index.reshape(-1)] = rows_first(source, dim)
    return rows_back(result, input.shape, dim)


def _node_of_fill(name):
    def node(value):
        return f"{name}Backward{int(not _is_number(value))}"

    return node


def _number_for(name, value, kind):
    """A fill value as NumPy takes it; RuntimeError where the dtype cannot hold it."""
    if not _is_number(value):
        if value.ndim:
            raise RuntimeError(
                f"{name} only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            value = value.item()
    if isinstance(value, complex) and kind.kind != "c":
        raise RuntimeError(
            f"{name}: value cannot be converted to type {kind} without overflow: {value}"
        )
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        if value != value or not -limits.max - 1 <= value <= limits.max:
            raise RuntimeError(
                f"{name}: value cannot be converted to type {kind} without overflow: {value}"
            )
        value = int(value)
    return number(value, kind)


@operator(
    operands="input index value", scalars=True, inplace=True, repeats=True,
    node=_node_of_fill("IndexFill"),
    grad={
        "input": lambda g, dim, index: g.index_fill(dim, index, 0),
        "value": lambda g, dim, index: g.sum() - g.index_fill(dim, index, 0).sum(),
    },
    samples=lambda make: [((make((3, 4)), 1, index_samples(make, (2,), 4), 2.0), {})],
)
def index_fill(input, dim, index, value):
    """Return a copy of `input` with `value` (a number or a 0-d tensor) in the entries `index`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_fill_.html

    >>> import iskra as torch
    >>> torch.index_fill(torch.zeros(3), 0, torch.tensor([0, 2]), 1)
    tensor([1., 0., 1.])
    """
    dim = wrap_dim(dim, input.ndim)
    if index.dtype != np.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    size = input.shape[dim] if input.ndim else 1
    outside = (index < -size) | (index >= size)
    if outside.any():
        raise IndexError(
            f"index {index[outside].flat[0]} is out of bounds for dimension {dim} with size {size}"
        )
    value = _number_for("index_fill_", value, input.dtype)
    result = copied(input)
    if input.ndim and is_served(result):
        shape = (*input.shape[:dim], index.size, *input.shape[dim + 1:])
        values = repeated(value, shape, input.dtype)
        if write_rows("set", result, index, values, dim, from_end=True):
            return result
    target = result if input.ndim else result.reshape(1)
    target[(*(_ALL,) * dim, index.reshape(-1))] = value
    return result


# -- masks and flat places ------------------------------------------------------------------------


def check_mask(name, mask):
    """Masks are of dtype bool."""
    if mask.dtype != np.bool_:
        raise RuntimeError(
            f"{name} only supports boolean masks, but got mask with dtype {scalar_name(mask)}"
        )


@operator(
    operands="input mask value", scalars=True, inplace=True, moves=True,
    node=_node_of_fill("MaskedFill"),
    grad={
        "input": lambda g, mask: g.masked_fill(mask, 0),
        "value": lambda g, mask: where(mask, g, g.new_zeros(())).sum(),
    },
    samples=lambda make: [((make((3, 4)), make((4,)) > 0, 2.0), {})],
)
def masked_fill(input, mask, value):
    """Return a copy of `input` with `value` (a number or a 0-d tensor) where `mask` is True.

    Input and mask are broadcast. Raises RuntimeError for masks that are not of dtype bool.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.masked_fill_.html

    >>> import iskra as torch
    >>> torch.masked_fill(torch.tensor([1.0, 2.0]), torch.tensor([True, False]), 0)
    tensor([0., 2.])
    """
    check_mask("masked_fill_", mask)
    value = _number_for("masked_fill_", value, input.dtype)
    broadcast(input.shape, mask.shape)
    return np.where(mask, value, input)


@operator(
    operands="input mask source", inplace=True,
    grad={
        "input": lambda g, mask: g.masked_fill(mask, 0),
        "source": lambda g, mask, source_shape: _masked_source_gradient(g, mask, source_shape),
    },
    samples=lambda make: [((make((3, 4)), make((4,)) > 0, make((13,))), {})],
)
def masked_scatter(input, mask, source):
    """Return a copy of `input` with the elements of `source`, in order, where `mask` is True.

    Raises RuntimeError where `source` has too few elements.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.masked_scatter_.html

    >>> import iskra as torch
    >>> mask = torch.tensor([True, False, True])
    >>> torch.masked_scatter(torch.zeros(3), mask, torch.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    check_mask("masked_scatter_", mask)
    if input.dtype != source.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{scalar_name(input)} and {scalar_name(source)}"
        )
    shape = broadcast(input.shape, mask.shape)
    result = np.array(np.broadcast_to(input, shape), order="C")
    mask = np.broadcast_to(mask, shape)
    count = int(np.count_nonzero(mask))
    if source.size < count:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    result[mask] = source.reshape(-1)[:count]
    return result


def _masked_source_gradient(g, mask, source_shape):
    part = g.masked_select(mask)
    size = int(np.prod(source_shape, dtype=np.int64))
    return put_place(part, (size,), (slice(0, part.numel()),)).reshape(source_shape)


@operator(
    operands="input index source", inplace=True, function=True, out=False, repeats=True,
    grad={
        "input": lambda g, index, source_shape, accumulate: (
            g if accumulate else g.put(index, g.new_zeros(source_shape))
        ),
        "source": lambda g, index, source_shape: g.take(index).reshape(source_shape),
    },
    samples=lambda make: [
        ((make((3, 4)), index_samples(make, (2,), 12), make((2,)), True), {}),
    ],
)
def put(input, index, source, accumulate=False):
    """Return a copy of `input` with `source` at the places `index` of the flattened tensor.

    With `accumulate` it is added there. Raises IndexError for indices out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.put_.html

    >>> import iskra as torch
    >>> torch.put(torch.zeros(2, 2), torch.tensor([1, -1]), torch.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [0., 6.]])
    """
    if input.dtype != source.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{scalar_name(input)} and source.dtype = {scalar_name(source)}"
        )
    if index.dtype == np.int64 and source.size != index.size:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.size}, index.numel() = {index.size}"
        )
    check_flat("put_", index, input.size)
    result = copied(input)
    if accumulate:
        add_rows(result.reshape(-1, 1), index.reshape(-1), source.reshape(-1, 1))
    elif not write_rows("set", result.reshape(-1), index, source.reshape(-1), 0, from_end=True):
        result.reshape(-1)[index.reshape(-1)] = source.reshape(-1)
    return result
