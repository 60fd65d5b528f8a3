"""Views without sharing: copies with a part replaced (``*_scatter``), copies of views (``*_copy``).

Source of every operator here:
https://docs.pytorch.org/docs/stable/torch.html#indexing-slicing-joining-mutating-ops
"""

import numpy as np

from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite, operator
from iskra.ops import axes, slicing
from iskra.ops import view as views
from iskra.ops.slicing import diagonal_of
from iskra.tensor import wrap
from iskra.tensor.storage import flat, strided_view


def _put(part, src):
    """Write `src` into `part`, a view of a fresh copy; their shapes must be equal."""
    if part.shape != src.shape:
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{format_shape(src.shape)}, slice size = {format_shape(part.shape)}"
        )
    part[...] = src


def _index(rank, dim, what):
    return (*(slice(None),) * wrap_dim(dim, rank), what, ...)


@operator(
    operands="input src",
    grad={
        "input": lambda g, src_shape, dim, index: select_scatter(
            g, g.new_zeros(src_shape), dim, index
        ),
        "src": lambda g, dim, index: g.select(dim, index),
    },
    samples=lambda make: [((make((2, 3)), make((2,)), 1, -1), {})],
)
def select_scatter(input, src, dim, index):
    """Return a copy of `input` with `src` at `index` along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.select_scatter.html

    >>> import iskra as torch
    >>> torch.select_scatter(torch.zeros(2, 2), torch.ones(2), 0, 0)
    tensor([[1., 1.],
            [0., 0.]])
    """
    result = np.copy(input)
    if not input.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    size = input.shape[wrap_dim(dim, input.ndim)]
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size "
            f"{format_shape(input.shape)} at dimension {dim}"
        )
    _put(result[_index(input.ndim, dim, index)], src)
    return result


@operator(
    operands="input src",
    grad={
        "input": lambda g, src_shape, dim, start, end, step: slice_scatter(
            g, g.new_zeros(src_shape), dim, start, end, step
        ),
        "src": lambda g, dim, start, end, step: slicing.slice_view(g, dim, start, end, step),
    },
    samples=lambda make: [((make((2, 5)), make((2, 2)), 1, 0, 4, 2), {})],
)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """Return a copy of `input` with `src` in ``start:end:step`` along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.slice_scatter.html

    >>> import iskra as torch
    >>> torch.slice_scatter(torch.zeros(4), torch.ones(2), start=1, end=3)
    tensor([0., 1., 1., 0.])
    """
    if step <= 0:
        raise ValueError("slice step must be positive")
    result = np.copy(input)
    _put(result[_index(input.ndim, dim, slice(start, end, step))], src)
    return result


@operator(
    operands="input src",
    grad={
        "input": lambda g, src_shape, offset, dim1, dim2: diagonal_scatter(
            g, g.new_zeros(src_shape), offset, dim1, dim2
        ),
        "src": lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2),
    },
    samples=lambda make: [((make((3, 3)), make((2,)), 1), {})],
)
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """Return a copy of `input` with `src` on its diagonals.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diagonal_scatter.html

    >>> import iskra as torch
    >>> torch.diagonal_scatter(torch.zeros(2, 2), torch.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    result = np.copy(input)
    _put(diagonal_of(result, offset, dim1, dim2), src)
    return result


def _strided_hole(g, input_shape, input_stride, size, stride, storage_offset):
    """Zero where `as_strided_scatter` wrote, `g` elsewhere."""
    memory = np.ones(_reach(input_shape, input_stride, size, stride, storage_offset), bool)
    strided_view(memory, memory.dtype, tuple(size), tuple(stride), storage_offset or 0)[...] = False
    kept = strided_view(memory, memory.dtype, input_shape, input_stride, 0)
    return g * wrap(kept.copy())


def _strided_part(g, input_shape, input_stride, size, stride, storage_offset):
    """`g` where `as_strided_scatter` wrote."""
    memory = np.zeros(_reach(input_shape, input_stride, size, stride, storage_offset), np.int64)
    places = strided_view(memory, memory.dtype, input_shape, input_stride, 0)
    places[...] = np.arange(places.size).reshape(places.shape)
    read = strided_view(memory, memory.dtype, tuple(size), tuple(stride), storage_offset or 0)
    return g.reshape(-1).index_select(0, wrap(read.reshape(-1).copy())).reshape(tuple(size))


def _reach(shape, strides, size, stride, offset):
    ends = [sum((n - 1) * s for n, s in zip(a, b, strict=True) if n)
            for a, b in ((shape, strides), (size, stride))]
    return 1 + max(ends[0], (offset or 0) + ends[1])


@operator(
    operands="input src", grad={"input": _strided_hole, "src": _strided_part},
    samples=lambda make: [((make((6,)), make((2, 2)), (2, 2), (3, 1)), {})],
)
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """Return a copy of `input` with `src` where `as_strided` would look.

    The offset counts from the first element of `input`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.as_strided_scatter.html

    >>> import iskra as torch
    >>> torch.as_strided_scatter(torch.zeros(4), torch.ones(2), (2,), (2,))
    tensor([1., 0., 1., 0.])
    """
    if len(size) != len(stride):
        raise RuntimeError(
            "as_strided_scatter: mismatch in length of strides and shape, got "
            f"{tuple(stride)} and {tuple(size)}"
        )
    if any(n < 0 for n in (*size, *stride)):
        raise RuntimeError(
            "as_strided_scatter: Negative sizes and strides are not supported, got "
            f"{tuple(size)} and {tuple(stride)}"
        )
    memory = flat(input).copy()
    place = strided_view(memory, memory.dtype, tuple(size), tuple(stride), storage_offset or 0)
    _put(place, src)
    return np.ndarray(input.shape, input.dtype, memory, 0, input.strides)


# -- copies of views ------------------------------------------------------------------------------

_COPY = dict(method=False, out="exact")  # and `Tensor.narrow_copy`, alone of them all


@composite(**_COPY)
def alias_copy(input):
    """Return a copy of the tensor.

    >>> import iskra as torch
    >>> torch.alias_copy(torch.tensor([1]))
    tensor([1])
    """
    return input.clone()


@composite(**_COPY)
def detach_copy(input):
    """Return a copy outside the graph.

    >>> import iskra as torch
    >>> torch.detach_copy(torch.ones(1, requires_grad=True)).requires_grad
    False
    """
    return input.detach().clone()


@composite(**_COPY)
def as_strided_copy(input, size, stride, storage_offset=None):
    """Return a copy of the view that `as_strided` gives.

    >>> import iskra as torch
    >>> torch.as_strided_copy(torch.arange(4), (2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """
    return views.as_strided(input, size, stride, storage_offset).contiguous().clone()


@composite(**_COPY)
def diagonal_copy(input, offset=0, dim1=0, dim2=1):
    """Return the diagonals as a copy: see `diagonal`.

    >>> import iskra as torch
    >>> torch.diagonal_copy(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return slicing.diagonal(input, offset, dim1, dim2).clone()


@composite(**_COPY)
def expand_copy(input, size, *, implicit=False):
    """Return the tensor with dimensions of size 1 repeated to `size`, as a copy.

    >>> import iskra as torch
    >>> torch.expand_copy(torch.tensor([1]), (2,))
    tensor([1, 1])
    """
    return views.expand(input, size).contiguous()


@composite(out="exact")
def narrow_copy(input, dim, start, length):
    """Return `length` indices from `start` along `dim`, as a copy.

    >>> import iskra as torch
    >>> torch.narrow_copy(torch.tensor([1, 2, 3]), 0, 1, 2)
    tensor([2, 3])
    """
    return slicing.narrow(input, dim, start, length).clone()


@composite(**_COPY)
def permute_copy(input, dims):
    """Return the tensor with its dimensions in the order `dims`, as a copy.

    >>> import iskra as torch
    >>> torch.permute_copy(torch.ones(2, 3), (1, 0)).shape
    iskra.Size([3, 2])
    """
    return axes.permute(input, dims).clone()


@composite(**_COPY)
def select_copy(input, dim, index):
    """Return the tensor at `index` along `dim`, as a copy.

    >>> import iskra as torch
    >>> torch.select_copy(torch.tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([3, 4])
    """
    return slicing.select(input, dim, index).clone()


@composite(**_COPY)
def slice_copy(input, dim=0, start=None, end=None, step=1):
    """Return ``start:end:step`` along `dim`, as a copy.

    >>> import iskra as torch
    >>> torch.slice_copy(torch.tensor([1, 2, 3]), 0, 1)
    tensor([2, 3])
    """
    return slicing.slice_view(input, dim, start, end, step).clone()


def _copies(parts):
    return tuple(p.clone() for p in parts)


def _store_each(out, parts):
    """The ``out=`` form of operators with a variable number of results."""
    if out is None:
        return _copies(parts)
    for target, part in zip(out, parts, strict=True):
        target.resize_(part.shape).copy_(part)
    return None


@composite(method=False)
def split_copy(input, split_size, dim=0, *, out=None):
    """Return the parts that `split` gives, as copies (or write them into the tensors `out`).

    >>> import iskra as torch
    >>> torch.split_copy(torch.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    return _store_each(out, slicing.split(input, split_size, dim))


@composite(method=False)
def split_with_sizes_copy(input, split_sizes, dim=0, *, out=None):
    """Return the parts that `split_with_sizes` gives, as copies (or write them into `out`).

    >>> import iskra as torch
    >>> torch.split_with_sizes_copy(torch.tensor([1, 2, 3]), (1, 2))
    (tensor([1]), tensor([2, 3]))
    """
    return _store_each(out, slicing.split_with_sizes(input, split_sizes, dim))


@composite(method=False)
def unbind_copy(input, dim=0, *, out=None):
    """Return the parts that `unbind` gives, as copies (or write them into the tensors `out`).

    >>> import iskra as torch
    >>> torch.unbind_copy(torch.tensor([1, 2]))
    (tensor(1), tensor(2))
    """
    return _store_each(out, slicing.unbind(input, dim))


@composite(**_COPY)
def squeeze_copy(input, dim=None):
    """Return the tensor without dimensions of size 1, as a copy.

    >>> import iskra as torch
    >>> torch.squeeze_copy(torch.ones(1, 2))
    tensor([1., 1.])
    """
    return views.squeeze(input, dim).clone()


@composite(**_COPY)
def t_copy(input):
    """Return the transposed matrix, as a copy.

    >>> import iskra as torch
    >>> torch.t_copy(torch.tensor([[1, 2]]))
    tensor([[1],
            [2]])
    """
    return axes.t(input).clone()


@composite(**_COPY)
def transpose_copy(input, dim0, dim1):
    """Return the tensor with two dimensions exchanged, as a copy.

    >>> import iskra as torch
    >>> torch.transpose_copy(torch.tensor([[1, 2]]), 0, 1)
    tensor([[1],
            [2]])
    """
    return axes.transpose(input, dim0, dim1).clone()


@composite(**_COPY)
def unfold_copy(input, dimension, size, step):
    """Return the windows that `Tensor.unfold` gives, as a copy.

    >>> import iskra as torch
    >>> torch.unfold_copy(torch.tensor([1, 2, 3]), 0, 2, 1)
    tensor([[1, 2],
            [2, 3]])
    """
    return slicing.unfold(input, dimension, size, step).contiguous().clone()


@composite(**_COPY)
def unsqueeze_copy(input, dim):
    """Return the tensor with a new dimension of size 1, as a copy.

    >>> import iskra as torch
    >>> torch.unsqueeze_copy(torch.tensor([1, 2]), 0)
    tensor([[1, 2]])
    """
    return views.unsqueeze(input, dim).clone()


@composite(**_COPY)
def view_as_complex_copy(input):
    """Return pairs as complex numbers, in a copy.

    >>> import iskra as torch
    >>> torch.view_as_complex_copy(torch.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    return axes.view_as_complex(input).clone()


@composite(**_COPY)
def view_as_real_copy(input):
    """Return complex numbers as pairs, in a copy.

    >>> import iskra as torch
    >>> torch.view_as_real_copy(torch.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    return axes.view_as_real(input).clone()


@composite(**_COPY)
def view_copy(input, size=None, *, dtype=None):
    """Return the tensor under another shape or read as another dtype, as a copy.

    >>> import iskra as torch
    >>> torch.view_copy(torch.tensor([[1, 2]]), (2,))
    tensor([1, 2])
    """
    return views.view(input, size, dtype=dtype).clone()
