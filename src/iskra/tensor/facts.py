"""Questions about tensors and dtypes: plain functions of the ``torch`` namespace.

Source: https://docs.pytorch.org/docs/stable/torch.html#tensors
"""

import numpy as np

from iskra.core import Size, promotion
from iskra.core.size import broadcast
from iskra.tensor.storage import Storage
from iskra.tensor.tensor import Tensor


def _check(name, value):
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(value).__name__}"
        )


def is_tensor(obj):
    """Whether `obj` is a tensor.

    >>> import iskra as torch
    >>> torch.is_tensor(torch.ones(1)), torch.is_tensor([1.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def is_storage(obj):
    """Whether `obj` is the memory of a tensor.

    >>> import iskra as torch
    >>> torch.is_storage(torch.ones(1).untyped_storage())
    True
    """
    return isinstance(obj, Storage) or hasattr(obj, "_untyped_storage")


def is_floating_point(input):
    """Whether the dtype of `input` is a floating-point one.

    >>> import iskra as torch
    >>> torch.is_floating_point(torch.ones(1))
    True
    """
    _check("is_floating_point", input)
    return input._dtype.is_floating_point


def is_complex(input):
    """Whether the dtype of `input` is complex.

    >>> import iskra as torch
    >>> torch.is_complex(torch.ones(1))
    False
    """
    _check("is_complex", input)
    return input._dtype.is_complex


def is_signed(input):
    """Whether the dtype of `input` holds negative numbers.

    >>> import iskra as torch
    >>> torch.is_signed(torch.ones(1, dtype=torch.uint8))
    False
    """
    _check("is_signed", input)
    return input._dtype.is_signed


def is_inference(input):
    """Whether `input` was made in inference mode.

    >>> import iskra as torch
    >>> torch.is_inference(torch.ones(1))
    False
    """
    _check("is_inference", input)
    return input.is_inference()


def is_nonzero(input):
    """Whether the only element of `input` is not zero; RuntimeError for other sizes.

    >>> import iskra as torch
    >>> torch.is_nonzero(torch.tensor([0.0]))
    False
    """
    _check("is_nonzero", input)
    return bool(input)


def numel(input):
    """The number of elements.

    >>> import iskra as torch
    >>> torch.numel(torch.ones(2, 3))
    6
    """
    _check("numel", input)
    return input._array.size


def result_type(tensor1, tensor2):
    """The dtype that an operation on the two (tensors or numbers) gives.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.result_type.html

    >>> import iskra as torch
    >>> torch.result_type(torch.tensor([1], dtype=torch.int32), 1.0)
    iskra.float32
    """
    return promotion.many([_operand(tensor1), _operand(tensor2)])


def _operand(value):
    if isinstance(value, Tensor):
        return value._dtype, value.ndim == 0
    if isinstance(value, np.generic):
        value = value.item()
    for cls in (bool, int, float, complex):
        if isinstance(value, cls):
            return cls, True
    raise TypeError(
        f"result_type(): arguments must be tensors or numbers, not {type(value).__name__}"
    )


def broadcast_shapes(*shapes):
    """The shape to which tensors of these shapes broadcast; an int stands for one dimension.

    Raises RuntimeError where they do not broadcast, ValueError for negative sizes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.broadcast_shapes.html

    >>> import iskra as torch
    >>> torch.broadcast_shapes((2, 1), (3,), 1)
    iskra.Size([2, 3])
    """
    sizes = [Size((s,) if isinstance(s, int) else s) for s in shapes]
    for place, size in enumerate(sizes):
        if any(n < 0 for n in size):
            broadcast(*sizes[:place + 1])  # raises where it does not fit those before
            raise ValueError(
                "broadcast_shapes: Attempting to broadcast a dimension of negative length"
            )
    return Size(broadcast(*sizes))


FUNCTIONS = (
    broadcast_shapes,
    is_tensor, is_storage, is_floating_point, is_complex, is_signed, is_inference, is_nonzero,
    numel, result_type,
)
