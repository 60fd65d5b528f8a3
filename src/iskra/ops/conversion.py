"""Copies and conversions: clone, contiguous, to, copy_, fill_, zero_.

Source: https://docs.pytorch.org/docs/stable/tensors.html
"""

import numpy as np

from iskra.core import contiguous_format, dtypes, memory_format
from iskra.core.device import device as device_type
from iskra.core.size import format_shape, is_expandable
from iskra.dispatch import composite, operator
from iskra.ops.moving import arranged
from iskra.tensor import Tensor
from iskra.tensor.bridge import convert as cast
from iskra.tensor.factory import convert_number, no_gpu
from iskra.tensor.meta import NoData, without_data

_AXES = {"channels_last": (0, 2, 3, 1), "channels_last_3d": (0, 2, 3, 4, 1)}


def laid_out(array, memory_format):
    """A copy of `array` in a memory format; None keeps the order that it has."""
    name = "preserve_format" if memory_format is None else memory_format.name
    if name == "preserve_format":
        return np.copy(array, order="K")
    if name == "contiguous_format":
        return arranged(array)
    axes = _AXES[name]
    if array.ndim != len(axes):
        raise RuntimeError(
            f"required rank {len(axes)} tensor to use {name} format, got rank {array.ndim}"
        )
    return arranged(array.transpose(axes)).transpose(np.argsort(axes))


@operator(out=False, moves=True, rearranges=True, repeats=True, grad=lambda g: g)
def clone(input, *, memory_format=None):
    """Return a copy that is part of the graph.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.clone.html

    >>> import iskra as torch
    >>> torch.clone(torch.tensor([1, 2]))
    tensor([1, 2])
    """
    return laid_out(input, memory_format)


@composite(function=False)
def contiguous(input, memory_format=contiguous_format):
    """Return the tensor itself if it is contiguous (in `memory_format`), else a copy that is.

    >>> import iskra as torch
    >>> torch.ones(2, 3).t().contiguous().stride()
    (2, 1)
    """
    if input.is_contiguous(memory_format):
        return input
    return clone(input, memory_format=memory_format)


@operator(
    method=False, function=False, out=False, moves=True, node="ToCopyBackward0", grad=lambda g: g,
)
def to_copy(input, dtype, memory_format=None):
    """The copy behind `Tensor.to`: another dtype or memory format."""
    if dtype is not None and dtype.numpy != input.dtype:
        input = cast(input, dtype.numpy)
        if memory_format is None:
            return input
    return laid_out(input, memory_format)


@composite(function=False)
def to(input, *args, **kwargs):
    """Return the tensor in another dtype, on another device or in another memory format.

    Accepts ``to(dtype)``, ``to(device, dtype)`` and ``to(other)``, with `non_blocking`, `copy`
    and `memory_format`; returns the tensor itself where nothing changes and `copy` is False.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.to.html

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).to(torch.float64)
    tensor([1., 2.], dtype=iskra.float64)
    """
    if len(args) == 1 and args[0].__class__ is dtypes.dtype and not kwargs:
        (dtype,) = args  # by far the most frequent
        return input if input._dtype is dtype else to_copy(input, dtype)
    if len(args) == 1 and args[0].__class__ in (str, device_type) and not kwargs:
        if device_type(args[0]).type == input.device.type:
            return input
    dtype, device, copy, layout = parse_to(args, kwargs)
    if device is not None and device.type != input.device.type:
        input = move(input, device)
        copy = False
    same_dtype = dtype is None or dtype is input._dtype
    same_layout = layout is None or input.is_contiguous(layout) or layout.name == "preserve_format"
    if same_dtype and same_layout and not copy:
        return input
    return to_copy(input, dtype, layout)


def parse_to(args, kwargs):
    """Sort out the arguments of `to`: ``(dtype, device, copy, memory_format)``."""
    found = {"dtype": None, "device": None, "copy": False, "memory_format": None}
    flags = ["non_blocking", "copy"]
    for value in args:
        if isinstance(value, dtypes.dtype):
            found["dtype"] = value
        elif isinstance(value, Tensor):
            found["dtype"], found["device"] = value._dtype, value.device
        elif isinstance(value, memory_format):
            found["memory_format"] = value
        elif isinstance(value, bool):
            found[flags.pop(0)] = value
        elif isinstance(value, (str, device_type, int)):
            found["device"] = device_type(value)
        elif value is not None:
            raise TypeError(
                "to() received an invalid combination of arguments: expected a dtype, a device "
                f"or a tensor, got {type(value).__name__}"
            )
    for name, value in kwargs.items():
        if name == "other":
            found["dtype"], found["device"] = value._dtype, value.device
        elif name in found or name == "non_blocking":
            found[name] = device_type(value) if name == "device" and value is not None else value
        else:
            raise TypeError(f"to() got an unexpected keyword argument '{name}'")
    return found["dtype"], found["device"], found["copy"], found["memory_format"]


def move(input, device):
    """The tensor on another device."""
    if device.type == "cuda":
        raise no_gpu(device)
    if device.type != "meta":
        raise NoData(
            "Cannot copy out of meta tensor; no data! Please use Module.to_empty() instead of "
            "Module.to() when moving module from meta to a different device."
        )
    return to_meta(input)


@operator(method=False, function=False, out=False, node="ToCopyBackward0", grad=lambda g: None)
def to_meta(input):
    """The copy to the meta device, which leaves the data behind."""
    return without_data(input)


def _overwritten(g):
    """What was there before a write of the whole has no part in the result."""
    return g.new_zeros(g._array.shape)


@operator(
    method=False, inplace=True, out=False, casts=True, moves=True, operands="input src",
    node="CopyBackwards", grad={"input": _overwritten, "src": lambda g: g},
)
def copy(input, src, non_blocking=False):
    """Return `src` broadcast to the shape of `input` (`Tensor.copy_` writes it there).

    >>> import iskra as torch
    >>> torch.zeros(2).copy_(torch.tensor([1, 2]))
    tensor([1., 2.])
    """
    if np.shape(src) == input.shape:
        result = src
    else:
        if not is_expandable(np.shape(src), input.shape):
            raise RuntimeError(
                f"copy_: a tensor of shape {format_shape(np.shape(src))} cannot be broadcast to "
                f"shape {format_shape(input.shape)}"
            )
        result = np.broadcast_to(src, input.shape)
    return cast(result, input.dtype) if result.dtype != input.dtype else result


@operator(
    inplace=True, out=False, casts=True, scalars=True, moves=True, operands="input value",
    grad={"input": _overwritten, "value": lambda g: g.sum()},
)
def fill(input, value):
    """Return a tensor like `input` with every element `value` (a number or a 0-d tensor).

    >>> import iskra as torch
    >>> torch.fill(torch.zeros(2), 3)
    tensor([3., 3.])
    """
    if getattr(value, "ndim", 0):
        raise RuntimeError(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value.ndim} dimensions."
        )
    if isinstance(value, (bool, int, float, complex)):
        value = convert_number(value, dtypes.of_numpy(input.dtype))
    return np.full_like(input, value, subok=False)


@operator(
    method=False, function=False, inplace=True, out=False, moves=True, grad=_overwritten,
)
def zero(input):
    """Return zeros like `input`; `Tensor.zero_` writes them there."""
    return np.zeros_like(input, subok=False)
