"""Making tensors: from data, from sizes, like others.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#creation-ops
"""

import warnings

import numpy as np

from iskra.core import contiguous_format, dtypes
from iskra.core.device import device as device_type
from iskra.core.size import contiguous_strides
from iskra.dispatch import composite, creation
from iskra.ops.moving import filled
from iskra.tensor import Tensor
from iskra.tensor.bridge import (
    array_of,
    array_of_buffer,
    array_of_dlpack,
    convert,
    lent,
    shared_array,
)
from iskra.tensor.factory import (
    allocate,
    convert_number,
    dtype_of,
    finish,
    is_meta,
    ordered_strides,
    recycled,
)
from iskra.tensor.meta import MetaArray
from iskra.tensor.storage import strided_view

# `layout` and `pin_memory` are taken as PyTorch takes them; every tensor here is strided, and
# page-locked memory has no meaning without a GPU.


@creation(out=False)
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """Return a new tensor with `data`: a number, nested sequences of numbers, an array.

    Without `dtype` it is inferred: bools, ints as int64, floats as the default dtype, and the
    dtype of arrays, NumPy's numbers and tensors. Raises ValueError for ragged sequences.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.tensor.html

    >>> import iskra as torch
    >>> torch.tensor([[1, 2], [3, 4.5]])
    tensor([[1.0000, 2.0000],
            [3.0000, 4.5000]])
    """
    if dtype is not None:
        dtype = dtype_of(dtype, "tensor")
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach()."
            "clone() or sourceTensor.detach().clone().requires_grad_(True), rather than "
            "tensor(sourceTensor).",
            UserWarning,
            stacklevel=3,
        )
        device = data.device if device is None else device
    array, kind = array_of(data, dtype)
    return finish(array, kind, device, requires_grad)


@creation(out=False)
def as_tensor(data, dtype=None, device=None):
    """Return `data` as a tensor, sharing memory (and the graph) with tensors and arrays.

    It is copied only where `dtype` or `device` ask for it, or where it is neither.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.as_tensor.html

    >>> import iskra as torch
    >>> torch.as_tensor([1, 2])
    tensor([1, 2])
    """
    if isinstance(data, Tensor):
        return data.to(data.device if device is None else device, dtype or data._dtype)
    kind = None if dtype is None else dtype_of(dtype, "as_tensor")
    if not isinstance(data, np.ndarray) and hasattr(data, "__array_interface__"):
        data = np.asarray(data)
    if isinstance(data, np.ndarray):
        array, found = shared_array(data)
        if kind is not None and kind is not found:
            return finish(convert(array, kind.numpy), kind, device)
        return finish(array, found, device) if is_meta(device) else lent(array, found)
    return finish(*array_of(data, kind), device)


@creation(out=False)
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """Return `obj` as a tensor: a tensor, array, DLPack exporter, buffer, number or sequence.

    `copy` True always copies, False raises ValueError where a copy is needed, None copies only
    then. The result is outside the graph of `obj` unless `requires_grad`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.asarray.html

    >>> import iskra as torch
    >>> torch.asarray(bytearray(b"ab"), dtype=torch.uint8)
    tensor([97, 98], dtype=iskra.uint8)
    """
    kind = None if dtype is None else dtype_of(dtype, "asarray")
    result = _shared(obj, kind)
    if result is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return finish(*array_of(obj, kind), device, requires_grad)
    fits = (kind is None or kind is result._dtype) and (
        device is None or device_type(device).type == result.device.type
    )
    if copy is False and not fits:
        raise ValueError(
            f"can't alias tensor with dtype '{result.dtype}' on device '{result.device}' as dtype "
            f"'{kind or result.dtype}' on device '{device or result.device}'."
        )
    if copy or not fits:
        result = result.to(device or result.device, kind or result._dtype, copy=bool(copy))
    if result.requires_grad and not requires_grad:
        return result.detach()
    return result.requires_grad_() if requires_grad and not result.requires_grad else result


def _shared(obj, kind):
    """A tensor that shares the memory of `obj`, or None where it has none to share."""
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, (np.ndarray, np.generic)):
        return lent(*shared_array(np.asarray(obj), warn=isinstance(obj, np.ndarray)))
    if hasattr(obj, "__dlpack__") or type(obj).__name__ == "PyCapsule":
        return lent(*shared_array(array_of_dlpack(obj), warn=False))
    try:
        memoryview(obj)
    except TypeError:
        return None
    kind = kind or dtypes.get_default_dtype()
    return lent(array_of_buffer(obj, kind), kind)


@creation(out=False)
def from_numpy(ndarray):
    """Return a tensor that shares the memory of an ndarray: writes are seen on both sides.

    Raises TypeError for what is no ndarray or has another element type, ValueError for negative
    strides and foreign byte order; warns if the array is read-only.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.from_numpy.html

    >>> import iskra as torch, numpy as np
    >>> a = np.array([1, 2])
    >>> t = torch.from_numpy(a)
    >>> a[0] = 10
    >>> t
    tensor([10,  2])
    """
    return lent(*shared_array(ndarray))


@creation(out=False)
def from_dlpack(ext_tensor, *, device=None, copy=None):
    """Return a tensor on the memory of another library's tensor, through DLPack.

    Source: https://docs.pytorch.org/docs/stable/dlpack.html

    >>> import iskra as torch, numpy as np
    >>> torch.from_dlpack(np.arange(3))
    tensor([0, 1, 2])
    """
    result = lent(*shared_array(array_of_dlpack(ext_tensor, copy), warn=False))
    return result if device is None else result.to(device)


@creation(out=False)
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """Return a one-dimensional tensor on the memory of an object with Python's buffer protocol.

    `offset` counts bytes, `count` elements (-1: all). Raises ValueError where they do not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.frombuffer.html

    >>> import iskra as torch
    >>> torch.frombuffer(bytearray(b"abc"), dtype=torch.uint8)
    tensor([97, 98, 99], dtype=iskra.uint8)
    """
    kind = dtype_of(dtype, "frombuffer")
    result = lent(array_of_buffer(buffer, kind, count, offset), kind)
    return result.requires_grad_() if requires_grad else result


@creation(out=False)
def scalar_tensor(
    s, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
):
    """Return a zero-dimensional tensor of the default dtype (or `dtype`) with the number `s`.

    >>> import iskra as torch
    >>> torch.scalar_tensor(3)
    tensor(3.)
    """
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "scalar_tensor")
    value = convert_number(s.item() if isinstance(s, Tensor) else s, kind)
    return finish(np.array(value, kind.numpy), kind, device, requires_grad)


@creation(variadic="size")
def empty(
    size, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
    memory_format=contiguous_format,
):
    """Return a tensor with undefined values.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty.html

    >>> import iskra as torch
    >>> torch.empty(2, 3).shape
    iskra.Size([2, 3])
    """
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "empty")
    if memory_format is not contiguous_format and memory_format is not None:
        if memory_format.name == "preserve_format":
            raise RuntimeError(f"unsupported memory format option {memory_format}")
        strides = ordered_strides(tuple(size), memory_format)
        return finish(_strided(tuple(size), strides, kind), kind, device, requires_grad)
    return allocate("empty", size, kind, device, requires_grad)


@creation(variadic="size")
def zeros(size, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Return a tensor of zeros.

    Raises TypeError for sizes that are no ints, RuntimeError for negative ones.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.zeros.html

    >>> import iskra as torch
    >>> torch.zeros(2, dtype=torch.int64)
    tensor([0, 0])
    """
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "zeros")
    return allocate("zeros", size, kind, device, requires_grad, np.zeros)


@creation(variadic="size")
def ones(size, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Return a tensor of ones.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ones.html

    >>> import iskra as torch
    >>> torch.ones(2)
    tensor([1., 1.])
    """
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "ones")
    return allocate("ones", size, kind, device, requires_grad, _ones)


def _maker(value):
    """A function like `np.empty` for arrays that hold a number everywhere."""
    def make(size, kind):
        array = np.empty(size, kind)
        filled(array, value)
        return array

    return make


_ones = _maker(1)


@creation()
def full(
    size, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a tensor with every element `fill_value`, whose type gives the dtype if none is.

    Raises RuntimeError where the value does not fit the dtype.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.full.html

    >>> import iskra as torch
    >>> torch.full((2,), 7)
    tensor([7, 7])
    """
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            "full(): argument 'size' (position 1) must be tuple of ints, not "
            f"{type(size).__name__}"
        )
    value, found = _fill_number("full", fill_value, 2)
    kind = found if dtype is None else dtype_of(dtype, "full")
    value = convert_number(value, kind)
    if not is_meta(device):
        return allocate("full", size, kind, device, requires_grad, _maker(value))
    return allocate("full", size, kind, device, requires_grad)


def _fill_number(name, value, position):
    """The Python number to fill with, and the dtype that it suggests."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"{name}(): fill_value must be a number or a zero-dimensional tensor, got a tensor "
                f"with {value.ndim} dimensions"
            )
        return value.item(), value._dtype
    if isinstance(value, np.generic):
        value = value.item()
    try:
        return value, dtypes.of_scalar(value)
    except TypeError:
        raise TypeError(
            f"{name}(): argument 'fill_value' (position {position}) must be Number, not "
            f"{type(value).__name__}"
        ) from None


@creation(out=False)
def empty_strided(
    size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return a tensor with undefined values and the given strides, in elements.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty_strided.html

    >>> import iskra as torch
    >>> torch.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "empty_strided")
    if len(size) != len(stride):
        raise RuntimeError(
            f"dimensionality of sizes ({len(size)}) must match dimensionality of strides "
            f"({len(stride)})"
        )
    if any(s < 0 for s in stride):
        raise RuntimeError(f"empty_strided: strides must not be negative, got {list(stride)}")
    return finish(_strided(tuple(size), tuple(stride), kind, is_meta(device)), kind, device,
                  requires_grad)


@creation(out=False)
def empty_permuted(
    size, physical_layout, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return an uninitialised dense tensor whose dimensions lie in memory in the given order.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty_permuted.html

    >>> import iskra as torch
    >>> torch.empty_permuted((2, 3, 4), (2, 0, 1)).stride()
    (3, 1, 6)
    """
    order, rank = tuple(physical_layout), len(size)
    if len(order) != rank:
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {rank} is not equal to len(physical_layout) = {len(order)}"
        )
    for place, dim in enumerate(order):
        if not 0 <= dim < rank:
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {rank - 1}, but got {dim} "
                f"at index {place}). Negative dimensions are not taken here."
            )
    if len(set(order)) != rank:
        raise RuntimeError(f"Duplicate dim not allowed, got {order}")
    steps = dict(zip(order, contiguous_strides([size[d] for d in order]), strict=True))
    return empty_strided(
        size, [steps[d] for d in range(rank)], dtype=dtype, device=device,
        requires_grad=requires_grad,
    )


def _strided(shape, strides, kind, without_data=False):
    """An uninitialised array with these strides (in elements) on memory just large enough."""
    if without_data:
        return MetaArray(shape, kind.numpy, tuple(s * kind.itemsize for s in strides))
    if 0 in shape:
        return np.empty(shape, kind.numpy)
    count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    return strided_view(np.empty(count, kind.numpy), kind.numpy, shape, strides, 0)


def _check_tensor(name, input):
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )


def _like(name, input, make, dtype, device, requires_grad, memory_format):
    """A tensor by one of NumPy's ``*_like`` functions, in the order of the input's elements."""
    _check_tensor(name, input)
    kind = input._dtype if dtype is None else dtype_of(dtype, name)
    device = input.device if device is None else device
    source = input._array
    layout = None if memory_format is None else memory_format.name
    if layout not in (None, "preserve_format"):
        strides = ordered_strides(source.shape, memory_format)
        source = _strided(source.shape, strides, kind, is_meta(device))
    elif is_meta(device) is not (source.__class__ is MetaArray):
        # The strides alone count: they are carried over to the other device.
        source = MetaArray(source.shape, source.dtype, source.strides)
        if not is_meta(device):
            source = np.empty_like(source)
            strides = tuple(s // source.itemsize for s in source.strides)
            source = _strided(source.shape, strides, kind)
    elif 0 in source.strides or source.__class__ is np.ndarray and source.flags.c_contiguous:
        return allocate(name, source.shape, kind, device, requires_grad, _MAKERS[make])
    return finish(recycled(make, source, kind.numpy, subok=False), kind, device, requires_grad)


_MAKERS = {np.empty_like: np.empty, np.zeros_like: np.zeros, np.ones_like: _ones}


@composite(method=False)
def empty_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None,
    pin_memory=False,
):
    """Return a tensor with undefined values and the shape, dtype, order and device of `input`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.empty_like.html

    >>> import iskra as torch
    >>> torch.empty_like(torch.ones(2, 3)).shape
    iskra.Size([2, 3])
    """
    return _like(
        "empty_like", input, np.empty_like, dtype, device, requires_grad, memory_format
    )


@composite(method=False)
def zeros_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None,
    pin_memory=False,
):
    """Return zeros with the shape, dtype, order and device of `input`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.zeros_like.html

    >>> import iskra as torch
    >>> torch.zeros_like(torch.tensor([1, 2]))
    tensor([0, 0])
    """
    return _like(
        "zeros_like", input, np.zeros_like, dtype, device, requires_grad, memory_format
    )


@composite(method=False)
def ones_like(
    input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None,
    pin_memory=False,
):
    """Return ones with the shape, dtype, order and device of `input`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ones_like.html

    >>> import iskra as torch
    >>> torch.ones_like(torch.tensor([3, 4]))
    tensor([1, 1])
    """
    return _like("ones_like", input, np.ones_like, dtype, device, requires_grad, memory_format)


@composite(method=False)
def full_like(
    input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False,
    memory_format=None, pin_memory=False,
):
    """Return a tensor like `input` with every element `fill_value`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.full_like.html

    >>> import iskra as torch
    >>> torch.full_like(torch.ones(2), 5)
    tensor([5., 5.])
    """
    _check_tensor("full_like", input)
    value, _ = _fill_number("full_like", fill_value, 2)
    kind = input._dtype if dtype is None else dtype_of(dtype, "full_like")
    value = convert_number(value, kind)
    result = _like("full_like", input, np.empty_like, dtype, device, False, memory_format)
    if result._array.__class__ is not MetaArray:
        filled(result._array, value)
    return result.requires_grad_() if requires_grad else result


@composite(variadic="size", function=False)
def new_empty(
    input, size, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return a tensor with undefined values, of this dtype and on this device.

    >>> import iskra as torch
    >>> torch.ones(1).new_empty(2, 3).shape
    iskra.Size([2, 3])
    """
    kind = input._dtype if dtype is None else dtype_of(dtype, "new_empty")
    device = input.device if device is None else device
    return allocate("new_empty", size, kind, device, requires_grad)


@composite(variadic="size", function=False)
def new_zeros(
    input, size, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return zeros of this dtype and on this device.

    >>> import iskra as torch
    >>> torch.tensor([1]).new_zeros(2)
    tensor([0, 0])
    """
    kind = input._dtype if dtype is None else dtype_of(dtype, "new_zeros")
    device = input.device if device is None else device
    return allocate("new_zeros", size, kind, device, requires_grad, np.zeros)


@composite(variadic="size", function=False)
def new_ones(
    input, size, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return ones of this dtype and on this device.

    >>> import iskra as torch
    >>> torch.tensor([5]).new_ones(2)
    tensor([1, 1])
    """
    kind = input._dtype if dtype is None else dtype_of(dtype, "new_ones")
    device = input.device if device is None else device
    return allocate("new_ones", size, kind, device, requires_grad, _ones)


@composite(function=False)
def new_full(
    input, size, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a tensor of this dtype, on this device, with every element `fill_value`.

    >>> import iskra as torch
    >>> torch.ones(1).new_full((2,), 3)
    tensor([3., 3.])
    """
    return full(
        size, fill_value, dtype=dtype or input._dtype, device=device or input.device,
        requires_grad=requires_grad,
    )


@composite(function=False)
def new_tensor(
    input, data, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return a new tensor with `data`, by default of this dtype and on this device.

    >>> import iskra as torch
    >>> torch.ones(1).new_tensor([1, 2])
    tensor([1., 2.])
    """
    kind = input._dtype if dtype is None else dtype_of(dtype, "new_tensor")
    return finish(*array_of(data, kind), device or input.device, requires_grad)


@composite(function=False)
def new_empty_strided(
    input, size, stride, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False,
):
    """Return a tensor with undefined values, given strides, this dtype and this device.

    >>> import iskra as torch
    >>> torch.ones(1).new_empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    return empty_strided(
        size, stride, dtype=dtype or input._dtype, device=device or input.device,
        requires_grad=requires_grad,
    )


@composite(function=False)
def new(input, *args, device=None):
    """Return a tensor of this dtype: of the given sizes, uninitialised, or with the given data.

    >>> import iskra as torch
    >>> torch.tensor([1]).new([2, 3])
    tensor([2, 3])
    """
    if not args:
        return new_empty(input, 0, device=device)
    if all(hasattr(a, "__index__") and not isinstance(a, Tensor) for a in args):
        return new_empty(input, args, device=device)
    return new_tensor(input, args[0], device=device)
