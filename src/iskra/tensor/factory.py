"""What every function that makes tensors shares: dtype, device, numbers, the finished tensor."""

import contextvars

import numpy as np

from iskra.core import CPU, dtypes, get_default_device
from iskra.core.device import device as device_type
from iskra.core.local import active, local
from iskra.core.size import contiguous_strides, format_shape
from iskra.runtime.recycling import recycle_in
from iskra.tensor.meta import MetaArray, without_data
from iskra.tensor.tensor import Tensor, _new

_PYTHON_TYPES = {
    float: dtypes.float64, int: dtypes.int64, bool: dtypes.bool_, complex: dtypes.complex128,
}


def dtype_of(value, name):
    """The dtype that the argument `value` names; Python's number types name theirs."""
    if value.__class__ is dtypes.dtype:
        return value
    kind = _PYTHON_TYPES.get(value) if isinstance(value, type) else None
    if kind is None:
        raise TypeError(
            f"{name}(): argument 'dtype' must be iskra.dtype, not {type(value).__name__}"
        )
    return kind


def is_meta(device):
    """Whether `device` (None: the default device) is meta; it must be that or the CPU."""
    where = get_default_device() if device is None else device
    if where is CPU:
        return False
    where = device_type(where)
    if where.type == "cpu":
        return False
    if where.type == "meta":
        return True
    raise no_gpu(where)


def no_gpu(where):
    """The error for a device that this process does not have."""
    return RuntimeError(
        f"cannot place a tensor on {where}: no GPU is available to this process (CuPy and a CUDA "
        "device are needed; guard with `if iskra.cuda.is_available()`)."
    )


def finish(array, kind, device=None, requires_grad=False):
    """The tensor around a new array, on `device`."""
    if is_meta(device):
        array = without_data(array)
    tensor = _new(Tensor)
    tensor._array = array
    tensor._dtype = kind
    if requires_grad:
        tensor.requires_grad_(True)
    if active.intercepting and local.inference:
        tensor._is_inference = True
    return tensor


# NumPy takes the memory of what it makes in this context from our allocator: aligned, recycled.
_context = contextvars.copy_context()
recycle_in(_context)
_run = _context.run


def recycled(make, *arguments, **settings):
    """``make(...)``, a function of NumPy's that makes an array, in memory of our allocator's."""
    try:
        return _run(make, *arguments, **settings)
    except RuntimeError as error:
        if not str(error).startswith("cannot enter context"):
            raise
    return make(*arguments, **settings)  # another thread is inside


def allocate(name, size, kind, device, requires_grad, make=np.empty):
    """A tensor of shape `size` made by ``make(size, numpy dtype)``."""
    meta = is_meta(device)
    try:
        if meta:
            array = MetaArray(tuple(size), kind.numpy)
        else:
            array = _run(make, size, kind.numpy)
    except RuntimeError:  # another thread is inside the context
        array = make(size, kind.numpy)
    except (TypeError, ValueError) as error:
        raise _size_error(name, size, error) from None
    tensor = _new(Tensor)
    tensor._array = array
    tensor._dtype = kind
    if requires_grad:
        tensor.requires_grad_(True)
    if active.intercepting and local.inference:
        tensor._is_inference = True
    return tensor


def _size_error(name, size, error):
    if not isinstance(size, (tuple, list)):
        return TypeError(
            f"{name}(): argument 'size' (position 1) must be tuple of ints, not "
            f"{type(size).__name__}"
        )
    for place, item in enumerate(size, 1):
        if not hasattr(item, "__index__"):
            return TypeError(
                f"{name}(): argument 'size' failed to unpack the object at pos {place} with error "
                f'"type must be tuple of ints,but got {type(item).__name__}"'
            )
    if any(n < 0 for n in size):
        return RuntimeError(
            f"{name}: Dimension size must be non-negative, got size {format_shape(size)}"
        )
    return RuntimeError(f"{name}: cannot make a tensor of size {format_shape(size)}: {error}")


def ordered_strides(shape, memory_format):
    """Strides, in elements, of a dense tensor in a memory format (None for row-major)."""
    name = "contiguous_format" if memory_format is None else memory_format.name
    if name == "contiguous_format":
        return contiguous_strides(shape)
    axes = {"channels_last": (0, 2, 3, 1), "channels_last_3d": (0, 2, 3, 4, 1)}[name]
    if len(shape) != len(axes):
        raise RuntimeError(
            f"required rank {len(axes)} tensor to use {name} format, got rank {len(shape)}"
        )
    steps = contiguous_strides([shape[d] for d in axes])
    found = dict(zip(axes, steps, strict=True))
    return tuple(found[d] for d in range(len(shape)))


def convert_number(value, kind):
    """`value`, a Python number, as a Python number that fits dtype `kind`.

    Floats are cut to integers. Negative integers wrap around in unsigned types as far as their
    size fits. Raises RuntimeError where the value does not fit.
    """
    category = kind.category
    if isinstance(value, complex) and category != dtypes.COMPLEX:
        if category == dtypes.BOOL:
            return value != 0
        if value.imag != 0:
            raise _overflow(kind)
        value = value.real
    if category == dtypes.BOOL:
        return bool(value)
    if category == dtypes.INTEGER:
        return _integer(value, kind)
    if category == dtypes.FLOATING and kind.itemsize >= 4:
        value = float(value)
        limit = float(np.finfo(kind.numpy).max)
        if abs(value) > limit and value - value == 0:
            raise _overflow(kind)
    return value


def _integer(value, kind):
    bits = 8 * kind.itemsize
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind.is_signed else (0, 2**bits - 1)
    if isinstance(value, float):
        if value - value != 0 or not low - 1 < value < high + 1:
            raise _overflow(kind)
        return int(value)
    value = int(value)
    if low <= value <= high:
        return value
    if not kind.is_signed and -high <= value < 0:
        return value + 2**bits
    raise _overflow(kind)


def _overflow(kind):
    return RuntimeError(f"value cannot be converted to type {kind.name} without overflow")
