"""Views: other shapes and strides over the same memory.

Source of every operator here: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

import numpy as np

from iskra.core.size import format_shape, infer_size, is_expandable
from iskra.dispatch import composite, view
from iskra.tensor import wrap
from iskra.tensor.storage import strided_view


@view(variadic="size", function=False, grad=lambda g, input_shape: g.sum_to_size(input_shape))
def expand(input, size, *, implicit=False):
    """Return a view in which dimensions of size 1 are repeated; -1 keeps a size.

    Raises RuntimeError where another size is to change.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.expand.html

    >>> import iskra as torch
    >>> torch.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    new = len(size) - input.ndim
    if new < 0:
        raise RuntimeError(
            f"expand({format_shape(input.shape)}, size={format_shape(size)}): the number of sizes "
            f"provided ({len(size)}) must be greater or equal to the number of dimensions in the "
            f"tensor ({input.ndim})"
        )
    sizes = tuple(input.shape[i - new] if s == -1 and i >= new else s for i, s in enumerate(size))
    for place, (wanted, found) in enumerate(zip(sizes[new:], input.shape, strict=True), new):
        if found not in (1, wanted):
            raise RuntimeError(
                f"expand: The expanded size of the tensor ({wanted}) must match the existing size "
                f"({found}) at non-singleton dimension {place}.  Target sizes: "
                f"{format_shape(size)}.  Tensor sizes: {format_shape(input.shape)}"
            )
    return np.broadcast_to(input, sizes)


def _viewed(array, shape):
    """`array` under another shape without a copy, or None where strides do not allow it."""
    result = array.view()
    try:
        result.shape = shape
    except AttributeError:  # NumPy would have to copy
        return None
    return result


@view(
    variadic="shape", function=False, node="ViewBackward0",
    grad=lambda g, input_shape: g.reshape(input_shape),
)
def view_as_shape(input, shape):
    """The operator behind `Tensor.view` with sizes and behind `reshape` where no copy is needed."""
    shape = infer_size(shape, input.size)
    result = _viewed(input, shape)
    if result is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return result


@composite(variadic="shape")
def reshape(input, shape):
    """Return the elements under another shape: a view where strides allow it, else a copy.

    One size may be -1. Raises RuntimeError where the number of elements differs.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.reshape.html

    >>> import iskra as torch
    >>> torch.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    sizes = infer_size(shape, input.numel())
    if _viewed(input._array, sizes) is None:
        input = input.clone(memory_format=None)
    return view_as_shape(input, sizes)


@view(function=False)
def detach(input):
    """Return the same tensor outside the graph; memory and version are shared.

    >>> import iskra as torch
    >>> torch.ones(1, requires_grad=True).detach().requires_grad
    False
    """
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
    memory = g.new_zeros(reach)
    memory = memory.index_add(0, wrap(written.reshape(-1).copy()), g.reshape(-1))
    return memory.index_select(0, wrap(read.reshape(-1).copy())).reshape(input_shape)


def _last(shape, strides, offset):
    """The position of the last element."""
    return offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)


@view(storage=True, grad=_as_strided_gradient)
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
        return input
    if not is_expandable(size, shape):
        raise RuntimeError(
            f"size {{{format_shape(size)}}} is not expandable to size {{{format_shape(shape)}}}."
        )
    new = len(shape) - len(size)
    ones = tuple(i for i, n in enumerate(size, new) if n == 1 and shape[i] != 1)
    result = input.sum((*range(new), *ones), keepdim=True)
    return result.reshape(size) if new else result
