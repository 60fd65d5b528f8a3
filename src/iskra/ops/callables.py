"""Python functions called for every element, and diagonals filled in place.

Source: https://docs.pytorch.org/docs/stable/tensors.html
"""

from iskra.core.dtypes import of_scalar
from iskra.core.size import format_shape
from iskra.dispatch import composite
from iskra.ops.creation import tensor as tensor_of
from iskra.tensor import Tensor


def _check_plain(name, tensors):
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}(): expected a Tensor, got {type(tensor).__name__}")
        if not tensor.is_cpu:
            raise TypeError(f"{name}() is only implemented on CPU tensors")
        if tensor.requires_grad:
            raise RuntimeError(
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() "
                "instead."
            )


def _apply(name, input, others, callable):
    """Write ``callable(element, *elements of the others)`` into every element of `input`."""
    _check_plain(name, (input, *others))
    for other in others:
        if other._dtype is not input._dtype:
            raise TypeError(f"{name}: expected {input.type()} for 'other' (got {other.type()})")
    operands = [t.expand(input.shape).reshape(-1).tolist() for t in (input, *others)]
    values = [callable(*elements) for elements in zip(*operands, strict=True)]
    if values:
        # Values of another kind (a float for an int) are converted, as assignment would.
        kinds = {of_scalar(v) for v in values}
        kind = input._dtype if len(kinds) == 1 and kinds == {of_scalar(operands[0][0])} else None
        input.copy_(tensor_of(values, dtype=kind).reshape(input.shape))
    return input


@composite(function=False)
def apply_(input, callable):
    """Replace every element by what `callable` makes of it; slow, on the CPU only.

    Raises RuntimeError where a gradient is required.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.apply_.html

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).apply_(lambda x: 10 * x)
    tensor([10, 20])
    """
    return _apply("apply_", input, (), callable)


@composite(function=False)
def map_(input, tensor, callable):
    """Replace every element by ``callable(element, element of tensor)``; `tensor` broadcasts.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.map_.html

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).map_(torch.tensor([5, 3]), max)
    tensor([5, 3])
    """
    return _apply("map_", input, (tensor,), callable)


@composite(function=False)
def map2_(input, x, y, callable):
    """Replace every element by ``callable(element, element of x, element of y)``.

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).map2_(torch.tensor([5, 3]), torch.tensor([7, 0]), max)
    tensor([7, 3])
    """
    return _apply("map2_", input, (x, y), callable)


@composite(function=False)
def fill_diagonal_(input, fill_value, wrap=False):
    """Write `fill_value` on the main diagonal of a tensor of at least two dimensions.

    More than two dimensions must be of equal length. With `wrap` the diagonal of a tall matrix
    starts again after each square (and a gap of one row).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.fill_diagonal_.html

    >>> import iskra as torch
    >>> torch.zeros(2, 3).fill_diagonal_(5)
    tensor([[5., 0., 0.],
            [0., 5., 0.]])
    """
    shape = tuple(input.shape)
    if len(shape) < 2:
        raise RuntimeError(
            f"fill_diagonal_: dimensions must be larger than 1, got shape {format_shape(shape)}"
        )
    if len(shape) > 2:
        if len(set(shape)) > 1:
            raise RuntimeError(
                "fill_diagonal_: all dimensions of input must be of equal length, got shape "
                f"{format_shape(shape)}"
            )
        step = sum(input.stride())
        input.as_strided(shape[:1], (step,), input.storage_offset()).fill_(fill_value)
        return input
    height, width = shape
    input.diagonal().fill_(fill_value)
    for start in range(width + 1, height, width + 1) if wrap else ():
        input.narrow(0, start, height - start).diagonal().fill_(fill_value)
    return input
