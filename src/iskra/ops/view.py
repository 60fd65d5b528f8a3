"""Views that keep the order of the elements: other shapes over the same memory.

Source of every operator here: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

import math

import numpy as np

from iskra.core import dtypes
from iskra.core.size import broadcast, format_shape, infer_size, is_expandable, wrap_dim, wrap_dims
from iskra.dispatch import composite, operator
from iskra.dispatch import view as view_operator
from iskra.dispatch.door import perform
from iskra.tensor import wrap
from iskra.tensor.storage import strided_view


def _expand_sizes(shape, size):
    """The sizes that ``expand`` gives to a tensor of `shape`."""
    new = len(size) - len(shape)
    if new < 0:
        raise RuntimeError(
            f"expand({format_shape(shape)}, size={format_shape(size)}): the number of sizes "
            f"provided ({len(size)}) must be greater or equal to the number of dimensions in the "
            f"tensor ({len(shape)})"
        )
    sizes = list(size)
    for place, found in enumerate(shape, new):
        wanted = sizes[place]
        if wanted == -1:
            sizes[place] = found
        elif found != 1 and found != wanted:
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({wanted}) must match the existing size "
                f"({found}) at non-singleton dimension {place}.  Target sizes: "
                f"{format_shape(size)}.  Tensor sizes: {format_shape(shape)}"
            )
    if min(sizes, default=0) < 0:
        raise RuntimeError(
            f"expand: The expanded size of the tensor ({min(sizes)}) isn't allowed in a leading, "
            f"non-existing dimension.  Target sizes: {format_shape(size)}"
        )
    return tuple(sizes)


def repeated(array, sizes):
    """A writable view of `array` with dimensions of size 1 repeated to `sizes`."""
    if array.__class__ is np.ndarray and array.flags.c_contiguous:
        if sizes == array.shape:
            return array
        new = len(sizes) - array.ndim
        strides = [0] * len(sizes)
        for place, (found, stride) in enumerate(zip(array.shape, array.strides, strict=True), new):
            if sizes[place] == found:
                strides[place] = stride
        return np.ndarray(sizes, array.dtype, array, 0, strides)
    result = np.broadcast_to(array, sizes)
    result.flags.writeable = True  # whether a write is allowed is the in-place form's business
    return result


@view_operator(
    variadic="size", function=False, grad=lambda g, input_shape: g.sum_to_size(input_shape),
    samples=lambda make: [((make((3, 1)), (3, 4)), {}), ((make((2,)), (4, -1)), {})],
)
def expand(input, size, *, implicit=False):
    """Return a view in which dimensions of size 1 are repeated; -1 keeps a size.

    Raises RuntimeError where another size is to change.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.expand.html

    >>> import iskra as torch
    >>> torch.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    return repeated(input, _expand_sizes(input.shape, size))


@composite(function=False)
def expand_as(input, other):
    """Return the tensor expanded to the shape of `other`.

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).expand_as(torch.ones(2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(input, other._array.shape)


@composite(variadic="size")
def broadcast_to(input, size):
    """Return the tensor expanded to `size` by broadcasting: a view.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.broadcast_to.html

    >>> import iskra as torch
    >>> torch.broadcast_to(torch.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(input, size)


def listed(tensors):
    """``f(a, b)`` and ``f([a, b])`` alike: the tensors of a starred parameter."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return tuple(tensors[0])
    return tensors


@composite(method=False)
def broadcast_tensors(*tensors):
    """Return the tensors, each expanded to their common shape, as a tuple of views.

    Raises RuntimeError for shapes that do not broadcast.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.broadcast_tensors.html

    >>> import iskra as torch
    >>> [t.shape for t in torch.broadcast_tensors(torch.ones(3, 1), torch.ones(4))]
    [iskra.Size([3, 4]), iskra.Size([3, 4])]
    """
    tensors = listed(tensors)
    shape = broadcast(*[t._array.shape for t in tensors])
    return tuple(t if t._array.shape == shape else expand(t, shape) for t in tensors)


def _viewed(array, shape):
    """`array` under another shape without a copy, or None where strides do not allow it."""
    if array.flags.c_contiguous:
        return array.reshape(shape)
    try:
        return np.reshape(array, shape, copy=False)
    except ValueError:  # NumPy would have to copy
        return None


def _check_dtype_view(input, size):
    """Refuse what `view(dtype)` cannot do for elements of another size."""
    old = input.dtype.itemsize
    if input.ndim == 0:
        raise RuntimeError(
            "view: self.dim() cannot be 0 to view a tensor as a dtype of another element size"
        )
    if input.shape[-1] > 1 and input.strides[-1] != old:
        raise RuntimeError(
            "view: self.stride(-1) must be 1 to view a tensor as a dtype of another element size, "
            f"but got {input.strides[-1] // old}"
        )
    if size < old:
        return
    ratio = size // old
    if input.shape[-1] % ratio:
        raise RuntimeError(
            f"view: self.size(-1) must be divisible by {ratio} to view elements of {old} bytes as "
            f"elements of {size} bytes, but got {input.shape[-1]}"
        )
    if any(s % size for s, n in zip(input.strides[:-1], input.shape[:-1], strict=True) if n > 1):
        raise RuntimeError(
            f"view: all strides but the last must be divisible by {ratio} to view elements of "
            f"{old} bytes as elements of {size} bytes"
        )


@view_operator(function=False, method=False)
def view_as_dtype(input, dtype):
    """The operator behind ``Tensor.view(dtype)``; it has no gradient."""
    target = dtype.numpy
    if target.itemsize != input.dtype.itemsize:
        _check_dtype_view(input, target.itemsize)
    return input.view(target)


@view_operator(
    variadic="shape", function=False, grad=lambda g, input_shape: g.reshape(input_shape),
    samples=lambda make: [((make((2, 6)), (3, -1)), {}), ((make((2, 3, 4)), (6, 4)), {})],
)
def view(input, shape=None, *, dtype=None):
    """Return the same memory under another shape, or (``view(dtype)``) read as another dtype.

    One size may be -1. Raises RuntimeError where the number of elements differs or the strides
    do not allow a view: then use `reshape`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.view.html

    >>> import iskra as torch
    >>> torch.tensor([[1, 2], [3, 4]]).view(-1)
    tensor([1, 2, 3, 4])
    >>> torch.tensor([1.0]).view(torch.int32)
    tensor([1065353216], dtype=iskra.int32)
    """
    if shape is None:
        raise TypeError("view() missing 1 required positional argument: 'size' or 'dtype'")
    if input.flags.c_contiguous:
        try:
            result = input.reshape(shape)
            if result.shape == shape or min(shape) == -1:  # NumPy takes any negative size for -1
                return result
        except (TypeError, ValueError):  # what follows says what is wrong
            pass
    result = _viewed(input, infer_size(shape, input.size))
    if result is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return result


def _perform_view(op, bound, flags):
    """The complete path of `view`, which alone knows dtypes: such views have no gradient."""
    input, shape, dtype = bound
    if isinstance(shape, dtypes.dtype):
        dtype = shape
    return perform(op, bound, flags) if dtype is None else view_as_dtype(input, dtype)


view.operator.perform = _perform_view


@operator(
    function=False, method=False, out=False, node="UnsafeViewBackward0",
    grad=lambda g, input_shape: g.reshape(input_shape),
)
def reshape_copy(input, shape):
    """`reshape` where the strides do not allow a view."""
    return np.reshape(np.ascontiguousarray(input), shape)


@view_operator(
    variadic="shape", node="ViewBackward0", grad=lambda g, input_shape: g.reshape(input_shape),
    samples=lambda make: [((make((2, 6)), (3, -1)), {}), ((make((2, 3)).mT, (6,)), {})],
)
def reshape(input, shape):
    """Return the elements under another shape: a view where strides allow it, else a copy.

    One size may be -1. Raises RuntimeError where the number of elements differs.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.reshape.html

    >>> import iskra as torch
    >>> torch.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    result = _viewed(input, infer_size(shape, input.size))
    if result is None:
        raise ValueError("a copy is needed")
    return result


def _perform_reshape(op, bound, flags):
    """The complete path of `reshape`, which alone knows copies."""
    input, shape = bound
    shape = infer_size(tuple(shape), input._array.size)
    if _viewed(input._array, shape) is None:
        return reshape_copy(input, shape)
    return perform(op, (input, shape), flags)


reshape.operator.perform = _perform_reshape


@composite(function=False)
def reshape_as(input, other):
    """Return the elements in the shape of `other`.

    >>> import iskra as torch
    >>> torch.arange(4).reshape_as(torch.ones(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return reshape(input, other._array.shape)


@composite(function=False)
def view_as(input, other):
    """Return a view in the shape of `other`.

    >>> import iskra as torch
    >>> torch.arange(4).view_as(torch.ones(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return view(input, other._array.shape)


@composite(samples=lambda make: [((make((2, 3, 4)), 1), {}), ((make(()),), {})])
def flatten(input, start_dim=0, end_dim=-1):
    """Return the tensor with dimensions `start_dim` to `end_dim` made into one.

    A view where strides allow it, else a copy.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.flatten.html

    >>> import iskra as torch
    >>> torch.ones(2, 3, 4).flatten(1).shape
    iskra.Size([2, 12])
    """
    shape = input._array.shape
    start, end = wrap_dim(start_dim, len(shape)), wrap_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError(
            "flatten() has invalid args: start_dim cannot come after end_dim; got "
            f"start_dim={start_dim}, end_dim={end_dim} for shape {format_shape(shape)}"
        )
    if not shape:
        return reshape(input, (1,))
    if start == end:
        return input
    size = math.prod(shape[start:end + 1])
    return reshape(input, (*shape[:start], size, *shape[end + 1:]))


@composite(samples=lambda make: [((make((2, 6)), 1, (3, -1)), {})])
def unflatten(input, dim, sizes):
    """Return a view with dimension `dim` split into `sizes`, of which one may be -1.

    Raises RuntimeError where the sizes do not multiply to that dimension's.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.unflatten.html

    >>> import iskra as torch
    >>> torch.ones(3, 8).unflatten(1, (2, -1)).shape
    iskra.Size([3, 2, 4])
    """
    shape = input._array.shape
    dim = wrap_dim(dim, len(shape))
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if not shape:
        raise IndexError("unflatten: Dimension specified as 0 but tensor has no dimensions")
    try:
        sizes = infer_size(tuple(sizes), shape[dim])
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {format_shape(sizes)} don't multiply up to the size of "
            f"dim {dim} ({shape[dim]}) in the input tensor"
        ) from None
    return view(input, (*shape[:dim], *sizes, *shape[dim + 1:]))


@composite()
def ravel(input):
    """Return the elements in one dimension: a view where strides allow it, else a copy.

    >>> import iskra as torch
    >>> torch.ones(2, 2).ravel()
    tensor([1., 1., 1., 1.])
    """
    return reshape(input, (-1,))


def _squeeze_node(dim):
    if dim is None:
        return "SqueezeBackward0"
    return "SqueezeBackward2" if isinstance(dim, (tuple, list)) else "SqueezeBackward1"


@view_operator(
    node=_squeeze_node, inplace=True, grad=lambda g, input_shape: g.reshape(input_shape),
    samples=lambda make: [
        ((make((1, 3, 1)),), {}), ((make((1, 3, 1)), 0), {}), ((make((1, 3, 1)), (0, 1, 2)), {}),
    ],
)
def squeeze(input, dim=None):
    """Return a view without dimensions of size 1: all of them, or those in `dim`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.squeeze.html

    >>> import iskra as torch
    >>> torch.ones(1, 3, 1).squeeze().shape, torch.ones(1, 3, 1).squeeze(0).shape
    (iskra.Size([3]), iskra.Size([3, 1]))
    """
    rank = input.ndim
    if dim is None:
        dims = range(rank)
    else:
        dims = wrap_dims(dim if isinstance(dim, (tuple, list)) else (dim,), rank)
    return np.squeeze(input, tuple(d for d in dims if d < rank and input.shape[d] == 1))


@view_operator(
    inplace=True, grad=lambda g, dim: g.squeeze(dim),
    samples=lambda make: [((make((2, 3)), 1), {}), ((make((2, 3)), -1), {})],
)
def unsqueeze(input, dim):
    """Return a view with a dimension of size 1 inserted before `dim`.

    Raises IndexError for `dim` outside ``[-n - 1, n]``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.unsqueeze.html

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).unsqueeze(-1)
    tensor([[1],
            [2]])
    """
    return input[(slice(None),) * wrap_dim(dim, input.ndim + 1) + (None,)]


@view_operator(function=False)
def detach(input):
    """Return the same tensor outside the graph; memory and version are shared.

    >>> import iskra as torch
    >>> torch.ones(1, requires_grad=True).detach().requires_grad
    False
    """
    return input.view()


@view_operator(function=False, method=False, grad=lambda g: g)
def alias(input):
    """Return a view of the whole tensor."""
    return input.view()


def _as_strided_gradient(
    g, input_shape, input_dtype, input_stride, input_offset, size, stride, storage_offset
):
    """Add the view's gradient up in the storage, then read the operand's elements from there."""
    offset = input_offset if storage_offset is None else storage_offset
    reach = 1 + max(_last(input_shape, input_stride, input_offset), _last(size, stride, offset))
    places = np.arange(reach)
    written = strided_view(places, places.dtype, tuple(size), tuple(stride), offset)
    read = strided_view(places, places.dtype, input_shape, input_stride, input_offset)
    memory = wrap(np.zeros_like(g._array, shape=(reach,)), g._dtype)
    memory = memory.index_add(0, wrap(written.reshape(-1).copy()), g.reshape(-1))
    counts = np.bincount(read.reshape(-1), minlength=reach)
    if counts.max(initial=0) > 1:  # elements of the operand that share memory share its gradient
        memory = memory / wrap(np.maximum(counts, 1))
    return memory.index_select(0, wrap(read.reshape(-1).copy())).reshape(input_shape)


def _last(shape, strides, offset):
    """The position of the last element."""
    return offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)


@view_operator(
    storage=True, inplace=True, grad=_as_strided_gradient,
    samples=lambda make: [((make((6,)), (2, 3), (1, 2)), {}), ((make((2, 3)), (2,), (2,), 1), {})],
)
def as_strided(input, size, stride, storage_offset=None):
    """Return a view of the storage with the given sizes, strides and offset, in elements.

    Raises RuntimeError where it would reach outside the storage.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.as_strided.html

    >>> import iskra as torch
    >>> torch.as_strided(torch.arange(4), (2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """
    memory, dtype, offset = input
    offset = offset if storage_offset is None else storage_offset
    if len(size) != len(stride):
        raise RuntimeError(
            f"as_strided: mismatch in length of strides {tuple(stride)} and shape {tuple(size)}"
        )
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported, got {tuple(stride)}")
    if any(s < 0 for s in size):
        raise RuntimeError(f"as_strided: sizes must not be negative, got {tuple(size)}")
    return strided_view(memory, dtype, tuple(size), tuple(stride), offset)


@composite(variadic="size", method=True, function=False)
def sum_to_size(input, size):
    """Sum the dimensions that broadcasting had expanded, so that the result has shape `size`.

    Raises RuntimeError where `size` does not broadcast to the tensor's shape.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.sum_to_size.html

    >>> import iskra as torch
    >>> torch.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    shape = input._array.shape
    size = tuple(size)
    if shape == size:
        return input if size or input._dtype.category >= dtypes.FLOATING else input.sum()
    if not is_expandable(size, shape):
        raise RuntimeError(
            f"size {{{format_shape(size)}}} is not expandable to size {{{format_shape(shape)}}}."
        )
    new = len(shape) - len(size)
    ones = tuple(i for i, n in enumerate(size, new) if n == 1 and shape[i] != 1)
    result = input.sum((*range(new), *ones), keepdim=True)
    return result.reshape(size) if new else result


def _each(tensors, rise):
    """`rise` for one tensor, or for each of several as a tuple."""
    if len(tensors) == 1 and not isinstance(tensors[0], (list, tuple)):
        return rise(tensors[0])
    return tuple(map(rise, listed(tensors)))


@composite(method=False)
def atleast_1d(*tensors):
    """Return the tensor, 0-d ones with one dimension; a tuple for several tensors.

    >>> import iskra as torch
    >>> torch.atleast_1d(torch.tensor(1.0))
    tensor([1.])
    """
    return _each(tensors, lambda t: reshape(t, (1,)) if t.dim() == 0 else t)


@composite(method=False)
def atleast_2d(*tensors):
    """Return the tensor with at least two dimensions, new ones in front; a tuple for several.

    >>> import iskra as torch
    >>> torch.atleast_2d(torch.tensor([1.0, 2.0]))
    tensor([[1., 2.]])
    """

    def rise(tensor):
        if tensor.dim() == 0:
            return reshape(tensor, (1, 1))
        return unsqueeze(tensor, 0) if tensor.dim() == 1 else tensor

    return _each(tensors, rise)


@composite(method=False)
def atleast_3d(*tensors):
    """Return the tensor with at least three dimensions; a tuple for several tensors.

    A vector becomes ``(1, n, 1)``, a matrix ``(m, n, 1)``.

    >>> import iskra as torch
    >>> torch.atleast_3d(torch.ones(4)).shape, torch.atleast_3d(torch.ones(2, 3)).shape
    (iskra.Size([1, 4, 1]), iskra.Size([2, 3, 1]))
    """

    def rise(tensor):
        if tensor.dim() == 0:
            return reshape(tensor, (1, 1, 1))
        if tensor.dim() == 1:
            return unsqueeze(unsqueeze(tensor, 0), -1)
        return unsqueeze(tensor, -1) if tensor.dim() == 2 else tensor

    return _each(tensors, rise)
