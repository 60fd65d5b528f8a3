"""Views of a part of a tensor: select, slice, narrow, the splits, diagonal, unfold.

Source of every operator here: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

import operator as python

import numpy as np

from iskra.core.dtypes import INTEGER
from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite, operator, view
from iskra.ops.joining import cat, stack
from iskra.tensor import Tensor, storage_of

_ALL = slice(None)


# -- gradients of views of a part -----------------------------------------------------------------


@operator(
    function=False, method=False, out=False, node="SliceBackward", rearranges=True,
    grad=lambda g, place: take_place(g, place),
)
def put_place(input, shape, place):
    """Zeros of `shape` with `input` at a basic index: the gradient of `take_place`."""
    result = np.zeros_like(input, shape=shape, subok=False)
    result[place] = input
    return result


@view(
    function=False, method=False, node="SliceBackward0",
    grad=lambda g, input_shape, place: put_place(g, input_shape, place),
)
def take_place(input, place):
    """The view at a basic index: ints, slices, None and ``...`` (which keeps it an array)."""
    return input[place]


def _at(dim, what):
    """The index that has `what` at `dim`."""
    return (*(_ALL,) * dim, what, ...)


# -- one index, one range -------------------------------------------------------------------------


def _select_gradient(g, input_shape, dim, index):
    index = as_int(index, "select", "index")
    return put_place(g, input_shape, _at(dim % len(input_shape), index))


def as_int(value, name, argument):
    """A Python int from an int or a 0-d integer tensor; TypeError otherwise."""
    try:
        return python.index(value.item() if isinstance(value, Tensor) else value)
    except TypeError:
        raise TypeError(
            f"{name}(): argument '{argument}' must be int, not {type(value).__name__}"
        ) from None


@view(
    grad=_select_gradient,
    samples=lambda make: [((make((2, 3)), 1, -1), {}), ((make((3,)), 0, 2), {})],
)
def select(input, dim, index):
    """Return the view at `index` along `dim`, without that dimension.

    Raises IndexError for an index out of range and for a 0-d tensor.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.select.html

    >>> import iskra as torch
    >>> torch.select(torch.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])
    """
    if not input.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = wrap_dim(dim, input.ndim)
    index = as_int(index, "select", "index")
    size = input.shape[dim]
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size "
            f"{format_shape(input.shape)} at dimension {dim}"
        )
    return input[_at(dim, index)]


def _slice_gradient(g, input_shape, dim, start, end, step):
    return put_place(g, input_shape, _at(dim % len(input_shape), slice(start, end, step)))


@view(function=False, method=False, node="SliceBackward0", grad=_slice_gradient)
def slice_view(input, dim=0, start=None, end=None, step=1):
    """Return the view of ``input[start:end:step]`` along `dim`."""
    if not input.ndim:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise ValueError("slice step must be positive")
    return input[_at(wrap_dim(dim, input.ndim), slice(start, end, step))]


@composite(samples=lambda make: [((make((2, 4)), 1, 1, 2), {}), ((make((3,)), 0, -2, 1), {})])
def narrow(input, dim, start, length):
    """Return the view of `length` indices from `start` along `dim`.

    `start` is an int (negative counts from the end) or a 0-d integer tensor. Raises IndexError
    or RuntimeError where the range does not lie inside the dimension.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.narrow.html

    >>> import iskra as torch
    >>> torch.narrow(torch.tensor([1, 2, 3, 4]), 0, 1, 2)
    tensor([2, 3])
    """
    if not input.dim():
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if isinstance(start, Tensor):
        if start.dim() or start._dtype.category != INTEGER:
            raise RuntimeError(
                "narrow(): start must be an 0-dim integral Tensor, got a tensor of shape "
                f"{format_shape(start.shape)} and dtype {start.dtype}"
            )
        start = start.item()
    start = as_int(start, "narrow", "start")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    dim = wrap_dim(dim, input.dim())
    size = input._array.shape[dim]
    if not -size <= start <= size:
        raise IndexError(
            f"narrow(): start out of range (expected to be in range of [{-size}, {size}], but got "
            f"{start})"
        )
    start = start + size if start < 0 else start
    if start + length > size:
        raise RuntimeError(
            f"narrow(): start ({start}) + length ({length}) exceeds dimension size ({size})."
        )
    return slice_view(input, dim, start, start + length)


# -- several parts --------------------------------------------------------------------------------


def _pieces(g, count):
    """The gradients of several outputs as a list, also where there is one output."""
    return [g] if isinstance(g, Tensor) else list(g) if count else []


def _unbind_gradient(g, input_shape, dim):
    gradients = _pieces(g, input_shape[dim])
    shape = list(input_shape)
    del shape[dim]
    return stack_or_zeros(gradients, shape, dim)


def stack_or_zeros(gradients, shape, dim):
    """The gradients stacked along `dim`, zeros of `shape` standing in for None."""
    known = next((x for x in gradients if x is not None), None)
    if known is None:
        return None
    zeros = None
    for place, gradient in enumerate(gradients):
        if gradient is None:
            zeros = known.new_zeros(shape) if zeros is None else zeros
            gradients[place] = zeros
    return stack(gradients, dim)


@view(
    outputs=None, grad=_unbind_gradient,
    samples=lambda make: [((make((2, 3)),), {}), ((make((2, 3)), -1), {})],
)
def unbind(input, dim=0):
    """Return the views at every index along `dim`, as a tuple.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unbind.html

    >>> import iskra as torch
    >>> torch.unbind(torch.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    if not input.ndim:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    dim = wrap_dim(dim, input.ndim)
    return tuple([input[_at(dim, i)] for i in range(input.shape[dim])])


def _ranges(array, sizes, dim):
    """The views of consecutive ranges of the given sizes along `dim`."""
    parts, start = [], 0
    for size in sizes:
        parts.append(array[_at(dim, slice(start, start + size))])
        start += size
    return tuple(parts)


def _even_sizes(total, size):
    count = max(-(-total // size), 1) if size else 1
    return [*[size] * (count - 1), total - size * (count - 1)]


def _split_gradient(g, input_shape, split_size, dim):
    sizes = _even_sizes(input_shape[dim], split_size)
    return _join_pieces(g, input_shape, sizes, dim)


def _join_pieces(g, shape, sizes, dim):
    gradients = _pieces(g, len(sizes))
    known = next((x for x in gradients if x is not None), None)
    if known is None:
        return None
    for place, gradient in enumerate(gradients):
        if gradient is None:
            part = list(shape)
            part[dim] = sizes[place]
            gradients[place] = known.new_zeros(part)
    return cat(gradients, dim)


@view(
    function=False, method=False, outputs=None, node="SplitBackward0", grad=_split_gradient,
)
def split_even(input, split_size, dim=0):
    """Views of `split_size` indices each along `dim`; the last may be smaller."""
    if not input.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    if split_size < 0:
        raise RuntimeError(
            f"split expects split_size be non-negative, but got split_size={split_size}"
        )
    dim = wrap_dim(dim, input.ndim)
    total = input.shape[dim]
    if not split_size and total:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {total}"
        )
    return _ranges(input, _even_sizes(total, split_size), dim)


@view(
    outputs=None, grad=lambda g, input_shape, split_sizes, dim: _join_pieces(
        g, input_shape, split_sizes, dim
    ),
    samples=lambda make: [((make((5,)), (2, 3)), {}), ((make((2, 3)), (1, 0, 2), 1), {})],
)
def split_with_sizes(input, split_sizes, dim=0):
    """Return views of consecutive ranges of the given sizes along `dim`, as a tuple.

    Raises RuntimeError unless the sizes add up to that of `dim`.

    >>> import iskra as torch
    >>> torch.split_with_sizes(torch.tensor([1, 2, 3]), (1, 2))
    (tensor([1]), tensor([2, 3]))
    """
    if not input.ndim:
        raise RuntimeError("split_with_sizes expects at least a 1-dimensional tensor")
    dim = wrap_dim(dim, input.ndim)
    total = input.shape[dim]
    if any(s < 0 for s in split_sizes):
        raise RuntimeError(
            "split_with_sizes expects split_sizes have only non-negative entries, but got "
            f"split_sizes={list(split_sizes)}"
        )
    if sum(split_sizes) != total:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {total} (input tensor's size "
            f"at dimension {dim}), but got split_sizes={list(split_sizes)}"
        )
    return _ranges(input, split_sizes, dim)


@composite(samples=lambda make: [((make((5,)), 2), {}), ((make((2, 3)), [1, 2], 1), {})])
def split(tensor, split_size_or_sections=None, dim=0, *, split_size=None):
    """Return views of consecutive ranges along `dim`, as a tuple.

    An int gives the size of each (the last may be smaller), a list the sizes of all.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.split.html

    >>> import iskra as torch
    >>> torch.split(torch.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    sizes = split_size if split_size_or_sections is None else split_size_or_sections
    if isinstance(sizes, (list, tuple)):
        return split_with_sizes(tensor, tuple(sizes), dim)
    return split_even(tensor, as_int(sizes, "split", "split_size_or_sections"), dim)


@composite(samples=lambda make: [((make((5,)), 2), {}), ((make((2, 3)), 4, 1), {})])
def chunk(input, chunks, dim=0):
    """Return at most `chunks` views of equal size (the last may be smaller) along `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.chunk.html

    >>> import iskra as torch
    >>> torch.chunk(torch.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    if not input.dim():
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    chunks = as_int(chunks, "chunk", "chunks")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = input._array.shape[wrap_dim(dim, input.dim())]
    if not size:
        return split_with_sizes(input, [0] * chunks, dim)
    return split_even(input, -(-size // chunks), dim)


@operator(
    function=False, method=False, out=False, outputs=None,
    node=lambda even: "UnsafeSplitBackward0" if even else "UnsafeSplitWithSizesBackward0",
    grad=lambda g, input_shape, split_sizes, dim: _join_pieces(g, input_shape, split_sizes, dim),
)
def unsafe_pieces(input, split_sizes, dim, even):
    """Ranges along `dim` that autograd does not take for views of the operand."""
    return tuple(_ranges(input, split_sizes, dim))


def _unsafe(input, split_sizes, dim, even):
    pieces = unsafe_pieces(input, split_sizes, dim, even)
    storage = storage_of(input)
    for piece in pieces:
        piece._storage = storage
    return pieces


@composite(samples=lambda make: [((make((5,)), 2), {}), ((make((2, 3)), 2, 1), {})])
def unsafe_split(tensor, split_size, dim=0):
    """`split`, whose results may be written in place where autograd would refuse it for views.

    A write to one of them is not recorded as one to `tensor`, although they share memory.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.unsafe_split.html

    >>> import iskra as torch
    >>> torch.unsafe_split(torch.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    if isinstance(split_size, (list, tuple)):
        return unsafe_split_with_sizes(tensor, split_size, dim)
    sizes = [p._array.shape[dim] for p in split_even(tensor.detach(), split_size, dim)]
    return _unsafe(tensor, sizes, wrap_dim(dim, tensor.dim()), True)


@composite(samples=lambda make: [((make((5,)), [2, 3]), {}), ((make((2, 3)), [1, 2], 1), {})])
def unsafe_split_with_sizes(input, split_sizes, dim=0):
    """`split_with_sizes` with the liberties of `unsafe_split`.

    >>> import iskra as torch
    >>> torch.unsafe_split_with_sizes(torch.tensor([1, 2, 3]), (1, 2))
    (tensor([1]), tensor([2, 3]))
    """
    split_with_sizes(input.detach(), split_sizes, dim)  # raises for sizes that do not fit
    return _unsafe(input, list(split_sizes), wrap_dim(dim, input.dim()), False)


@composite(samples=lambda make: [((make((5,)), 2), {}), ((make((2, 3)), 4, 1), {})])
def unsafe_chunk(input, chunks, dim=0):
    """`chunk` with the liberties of `unsafe_split`.

    >>> import iskra as torch
    >>> torch.unsafe_chunk(torch.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    sizes = [p._array.shape[dim] for p in chunk(input.detach(), chunks, dim)]
    return _unsafe(input, sizes, wrap_dim(dim, input.dim()), any(sizes))


@composite(
    samples=lambda make: [((make((5,)), 2), {}), ((make((2, 5)), (1, 3), 1), {})],
)
def tensor_split(input, indices_or_sections=None, dim=0, *, indices=None, sections=None):
    """Return views of `input` along `dim`: into sections of nearly equal size, or cut at indices.

    `indices_or_sections` is an int, a tuple of ints, or an integer tensor of one or no
    dimension.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.tensor_split.html

    >>> import iskra as torch
    >>> torch.tensor_split(torch.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    >>> torch.tensor_split(torch.tensor([1, 2, 3]), (1,))
    (tensor([1]), tensor([2, 3]))
    """
    if not input.dim():
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    cuts = _plain_cuts(_only_cuts("tensor_split", indices_or_sections, indices, sections))
    dim = wrap_dim(dim, input.dim())
    size = input._array.shape[dim]
    if not isinstance(cuts, (list, tuple)):
        cuts = as_int(cuts, "tensor_split", "indices_or_sections")
        if cuts <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cuts}")
        least, larger = divmod(size, cuts)
        cuts = [least * i + min(i, larger) for i in range(1, cuts)]
    starts, stops = (0, *cuts), (*cuts, size)
    return tuple(slice_view(input, dim, a, b) for a, b in zip(starts, stops, strict=True))


def _only_cuts(name, *given):
    """Which of the arguments that may say where to cut was given."""
    cuts = next((v for v in given if v is not None), None)
    if cuts is None:
        raise TypeError(f"{name}(): one of indices and sections must be given")
    return cuts


def _plain_cuts(cuts):
    """Ints or lists of them out of a tensor."""
    if not isinstance(cuts, Tensor):
        return cuts
    if cuts.dim() > 1 or str(cuts.dtype).rpartition(".")[2] != "int64":
        raise RuntimeError(
            "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
            f"one-dimensional tensor of dtype int64, but got a tensor with {cuts.dim()} dims and "
            f"dtype {cuts.dtype}"
        )
    return cuts.tolist()


def _split_along(name, input, cuts, dim, least):
    """hsplit, vsplit and dsplit: `tensor_split` into parts that must be equal."""
    if input.dim() < least:
        raise RuntimeError(
            f"{name} requires a tensor with at least {least} dimension"
            f"{'s' if least > 1 else ''}, but got a tensor with {input.dim()} dimensions!"
        )
    if not isinstance(cuts, (list, tuple)):
        size = input._array.shape[dim]
        if cuts <= 0 or size % cuts:
            raise RuntimeError(
                f"{name} attempted to split along dimension {dim}, but the size of the dimension "
                f"{size} is not divisible by the split_size {cuts}!"
            )
    return tensor_split(input, cuts, dim)


@composite()
def hsplit(input, indices_or_sections=None, *, indices=None, sections=None):
    """Return views along the second dimension (the first of a vector): see `tensor_split`.

    Raises RuntimeError where an int does not divide the dimension.

    >>> import iskra as torch
    >>> torch.hsplit(torch.tensor([1, 2, 3, 4]), 2)
    (tensor([1, 2]), tensor([3, 4]))
    """
    cuts = _only_cuts("hsplit", indices_or_sections, indices, sections)
    return _split_along("torch.hsplit", input, cuts, 0 if input.dim() == 1 else 1, 1)


@composite()
def vsplit(input, indices_or_sections=None, *, indices=None, sections=None):
    """Return views along the first dimension of a matrix: see `tensor_split`.

    >>> import iskra as torch
    >>> torch.vsplit(torch.tensor([[1], [2]]), 2)
    (tensor([[1]]), tensor([[2]]))
    """
    cuts = _only_cuts("vsplit", indices_or_sections, indices, sections)
    return _split_along("torch.vsplit", input, cuts, 0, 2)


@composite()
def dsplit(input, indices_or_sections=None, *, indices=None, sections=None):
    """Return views along the third dimension: see `tensor_split`.

    >>> import iskra as torch
    >>> torch.dsplit(torch.tensor([[[1, 2]]]), 2)
    (tensor([[[1]]]), tensor([[[2]]]))
    """
    cuts = _only_cuts("dsplit", indices_or_sections, indices, sections)
    return _split_along("torch.dsplit", input, cuts, 2, 3)


# -- diagonals and windows ------------------------------------------------------------------------


def diagonal_of(array, offset, dim1, dim2):
    """A writable view of the diagonals, in a new last dimension."""
    rank = array.ndim
    first, second = wrap_dim(dim1, rank), wrap_dim(dim2, rank)
    if first == second or not rank:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    result = np.diagonal(array, offset, first, second)
    result.flags.writeable = True  # NumPy marks it read-only; writes are meant to reach the array
    return result


@operator(
    function=False, method=False, out=False,
    grad=lambda g, offset, dim1, dim2: diagonal(g, offset, dim1, dim2),
)
def diagonal_backward(input, shape, offset, dim1, dim2):
    """Zeros of `shape` with `input` on the diagonals."""
    result = np.zeros_like(input, shape=shape, subok=False)
    diagonal_of(result, offset, dim1, dim2)[...] = input
    return result


@view(
    grad=lambda g, input_shape, offset, dim1, dim2: diagonal_backward(
        g, input_shape, offset, dim1, dim2
    ),
    samples=lambda make: [((make((3, 4)),), {}), ((make((2, 3, 4)), 1, -1, 0), {})],
)
def diagonal(input, offset=0, dim1=0, dim2=1):
    """Return a view of the diagonals of the matrices in `dim1` and `dim2`, as a last dimension.

    `offset` above 0 is above the main diagonal. Raises RuntimeError for equal dimensions.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.diagonal.html

    >>> import iskra as torch
    >>> torch.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return diagonal_of(input, offset, dim1, dim2)


def windows(array, dim, size, step):
    """A view of the windows of `size` along `dim` every `step`, in a new last dimension."""
    rank = array.ndim
    dim = wrap_dim(dim, rank)
    length = array.shape[dim] if rank else 1
    if size > length:
        raise RuntimeError(
            f"maximum size for tensor at dimension {dim} is {length} but size is {size}"
        )
    if size < 0 or step <= 0:
        raise RuntimeError(
            f"unfold: step is {step} and size {size}, but step must be > 0 and size >= 0"
        )
    if not rank:
        return array.reshape(1)[:size]
    shape, strides = list(array.shape), list(array.strides)
    shape[dim] = (length - size) // step + 1
    window = strides[dim]
    strides[dim] *= step
    return np.lib.stride_tricks.as_strided(array, (*shape, size), (*strides, window))


@operator(
    function=False, method=False, out=False, computes=True,
    grad=lambda g, dimension, size, step: unfold(g, dimension, size, step),
)
def unfold_backward(input, shape, dimension, size, step):
    """Add windows up where they came from."""
    result = np.zeros_like(input, shape=shape, subok=False)
    if not shape:
        return result + input.sum()
    dim = dimension % len(shape)
    count = input.shape[dim]
    for k in range(size):
        result[_at(dim, slice(k, k + step * (count - 1) + 1, step))] += input[..., k]
    return result


@view(
    function=False, grad=lambda g, input_shape, dimension, size, step: unfold_backward(
        g, input_shape, dimension, size, step
    ),
    samples=lambda make: [((make((2, 7)), 1, 3, 2), {}), ((make((5,)), 0, 2, 1), {})],
)
def unfold(input, dimension, size, step):
    """Return a view of all windows of `size` along `dimension`, `step` apart, as a last dimension.

    Raises RuntimeError for windows larger than the dimension.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.unfold.html

    >>> import iskra as torch
    >>> torch.tensor([1, 2, 3, 4]).unfold(0, 2, 1)
    tensor([[1, 2],
            [2, 3],
            [3, 4]])
    """
    return windows(input, dimension, size, step)
