"""From other data to arrays that tensors hold: nested lists, numbers, NumPy, buffers, DLPack.

Source: https://docs.pytorch.org/docs/stable/generated/torch.tensor.html and torch.from_numpy
"""

import contextvars
import warnings

import numpy as np

from iskra.core import dtypes, promote_types
from iskra.core.local import local
from iskra.core.naming import prefix
from iskra.tensor.factory import convert_number
from iskra.tensor.meta import NoData
from iskra.tensor.storage import LentStorage
from iskra.tensor.tensor import Tensor, wrap

# Entering a context costs far less than np.errstate does.
_without_warning = contextvars.copy_context()
_without_warning.run(np.seterr, over="ignore")

_NUMBERS = frozenset({bool, int, float, complex})
_NESTING = frozenset({list, tuple})
_WHOLE = frozenset({bool, int})
_REAL = frozenset({bool, int, float})


def array_of(data, kind=None):
    """A new array with `data`, and its dtype; `kind` asks for a dtype, else it is inferred.

    `data` is a number, a nested sequence of numbers, or anything that has an array inside.
    Raises ValueError for ragged sequences, TypeError and RuntimeError for what is no number.
    """
    cls = data.__class__
    if cls in _NUMBERS:
        return _array_of_number(data, kind)
    if cls in _NESTING:
        return _array_of_sequence(data, kind)
    if isinstance(data, (np.ndarray, np.generic)):
        return _cast(np.array(data), kind)
    if isinstance(data, Tensor):
        return _cast(np.copy(data._array), kind, data._dtype)
    if hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
        return _cast(np.array(data), kind)
    return _array_of_sequence(data, kind)


def _array_of_number(value, kind):
    if kind is None:
        kind = dtypes.of_scalar(value)
        if value.__class__ is int and not -(2**63) <= value < 2**63:
            raise ValueError("Overflow when unpacking long long")
    try:
        return np.array(value, kind.numpy), kind
    except (OverflowError, TypeError, ValueError):
        return np.array(_fitted(value, kind), kind.numpy), kind


def _array_of_sequence(data, kind):
    """The path of plain nested lists of Python numbers; others are made plain first."""
    found = set()
    if data.__class__ not in _NESTING or not _leaf_types(data, found) <= _NUMBERS:
        return _array_of_mixed(data, found, kind)
    if kind is None:
        kind = _kind_of(found)
    elif kind.category == dtypes.INTEGER and not found <= _WHOLE:
        return _array_by_element(data, kind)
    try:
        return _overflowing(data, kind.numpy), kind
    except (OverflowError, TypeError, ValueError):
        return _array_by_element(data, kind)


def _overflowing(data, dtype):
    """``np.array(data, dtype)``, in which floats that are too large are infinite."""
    try:
        return _without_warning.run(np.array, data, dtype)
    except RuntimeError as error:
        if not str(error).startswith("cannot enter context"):
            raise
    with np.errstate(over="ignore"):  # another thread is inside the context
        return np.array(data, dtype)


def _leaf_types(data, found):
    """Add the types of the innermost elements to `found`; return it."""
    kinds = set(map(type, data))
    if kinds & _NESTING:
        for item in data:
            if item.__class__ in _NESTING:
                _leaf_types(item, found)
        kinds -= _NESTING
    found |= kinds
    return found


def _kind_of(types):
    """The dtype for Python numbers of these types."""
    if not types or types & {float, complex}:
        default = dtypes.get_default_dtype()
        return default.to_complex() if complex in types else default
    return dtypes.int64 if int in types else dtypes.bool_


def _array_by_element(data, kind):
    """Convert each number by itself: slower, but with checks and errors for each."""
    shape = _shape_of(data)
    flat = []
    _flatten(data, shape, 0, flat)
    values = [_fitted(v, kind) for v in flat]
    with np.errstate(over="ignore"):
        return np.array(values, kind.numpy).reshape(shape), kind


def _fitted(value, kind):
    if isinstance(value, complex) and kind.category != dtypes.COMPLEX:
        if kind.category == dtypes.INTEGER:
            raise TypeError("'complex' object cannot be interpreted as an integer")
        if kind.category == dtypes.FLOATING:
            raise TypeError("must be real number, not complex")
    if isinstance(value, int) and kind.category == dtypes.INTEGER and kind.itemsize == 8:
        if not -(2**63) <= value < 2**63 + 2**63 * (not kind.is_signed):
            raise ValueError("Overflow when unpacking long long")
    if kind.category == dtypes.FLOATING:
        return value  # too large a number becomes an infinity
    return convert_number(value, kind)


def _shape_of(data):
    """The shape that the first elements of nested lists suggest."""
    shape = []
    while data.__class__ in _NESTING:
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _flatten(data, shape, depth, flat):
    """Collect the innermost elements; raise ValueError or TypeError where lengths differ."""
    if data.__class__ not in _NESTING:
        raise TypeError(
            f"not a sequence: expected one of length {shape[depth]} at dim {depth}, got "
            f"{type(data).__name__}"
        )
    if len(data) != shape[depth]:
        raise ValueError(
            f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})"
        )
    if depth + 1 < len(shape):
        for item in data:
            _flatten(item, shape, depth + 1, flat)
        return
    for item in data:
        if item.__class__ in _NESTING:
            raise TypeError(
                f"'{type(item).__name__}' object cannot be interpreted as a number (at dim "
                f"{depth + 1}, where the first elements are numbers)"
            )
    flat.extend(data)


def _array_of_mixed(data, found, kind):
    """Sequences that hold tensors, arrays, NumPy numbers or other sequences."""
    if len(found) == 1 and data.__class__ in _NESTING:
        (only,) = found
        if issubclass(only, (np.generic, np.ndarray)) and not issubclass(only, np.flexible):
            try:
                return _cast(np.array(data), kind)
            except ValueError:
                pass  # ragged: explained below
    kinds = set()
    plain = _plain(data, kinds)
    if plain.__class__ not in _NESTING:
        return _array_of_number(plain, kind or next(iter(kinds), None))
    if kind is None:
        kind = dtypes.get_default_dtype() if not kinds else None
        for item in kinds:
            kind = item if kind is None else promote_types(kind, item)
    return _array_by_element(plain, kind)


def _plain(item, kinds):
    """Nested lists of Python numbers out of anything that counts as such; note the dtypes."""
    cls = item.__class__
    if cls in _NUMBERS:
        kinds.add(dtypes.of_scalar(item))
        return item
    if cls in _NESTING:
        return [_plain(v, kinds) for v in item]
    if isinstance(item, Tensor):
        if item._array.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        kinds.add(item._dtype)
        return item.item()
    if isinstance(item, (np.ndarray, np.generic)):
        kinds.add(dtypes.of_numpy(item.dtype))
        return item.tolist()
    if isinstance(item, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{cls.__name__}'")
    for number in (bool, int, float, complex):
        if isinstance(item, number):  # a subclass of Python's
            kinds.add(dtypes.of_scalar(item))
            return number(item)
    if hasattr(item, "__len__") and hasattr(item, "__getitem__") and not hasattr(item, "keys"):
        return [_plain(item[i], kinds) for i in range(len(item))]
    raise RuntimeError(f"Could not infer dtype of {cls.__name__}")


def _cast(array, kind, found=None):
    """An array that is ours already, in dtype `kind`."""
    found = found or dtype_of_array(array)
    if kind is None or kind is found:
        return array, found
    return convert(array, kind.numpy), kind


def convert(array, target):
    """`array` as NumPy dtype `target`; floats beyond an integer's range wrap as in C.

    Half-precision complex numbers, which NumPy lacks, are opaque pairs of halves: kind "V".
    """
    if array.dtype.kind == "V" and array.dtype.itemsize == 4:
        halves = np.ascontiguousarray(array).view(np.float16).astype(np.float32)
        array = halves.reshape(*array.shape, 2).view(np.complex64)[..., 0]
    if target.kind == "V" and target.itemsize == 4:
        wide = np.ascontiguousarray(array.astype(np.complex64)).reshape(array.shape)
        with np.errstate(all="ignore"):
            halves = wide[..., None].view(np.float32).astype(np.float16)
        return halves.view(target)[..., 0]
    if array.dtype.kind == "c" and target.kind not in "cb":
        array = array.real
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f" and target.kind in "iu" and target.itemsize < 8:
            return array.astype(np.int64).astype(target)
        return array.astype(target)


def dtype_of_array(array):
    """The dtype for an ndarray's elements; raise where tensors have none such."""
    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported. Use array.astype("
            "array.dtype.newbyteorder('=')) first."
        )
    return dtypes.of_numpy(array.dtype)


def shared_array(array, warn=True):
    """An ndarray as a tensor may hold it, sharing its memory, and its dtype.

    Raises TypeError and ValueError where a tensor cannot share it; warns if it is read-only.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {_type_name(array)})")
    kind = dtype_of_array(array)
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    if any(s % array.itemsize for s in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy "
            "array to reallocate the memory."
        )
    if warn and not array.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and tensors have no notion of that: writing "
            "to this tensor will fail or change data that is meant to stay. Copy the array first "
            "(array.copy()) to protect its data or to make it writable.",
            UserWarning,
            stacklevel=4,
        )
    return (array if type(array) is np.ndarray else array.view(np.ndarray)), kind


def lent(array, kind):
    """A tensor on the memory of the user's `array`, which it shares and cannot resize."""
    tensor = wrap(array, kind)
    tensor._storage = LentStorage(array)
    if local.inference:
        tensor._is_inference = True
    return tensor


def _type_name(value):
    cls = type(value)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


def array_of_buffer(buffer, kind, count=-1, offset=0):
    """A one-dimensional array on the memory of an object with Python's buffer protocol."""
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    length, size = view.nbytes, kind.itemsize
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({length} bytes) minus 1"
        )
    if count < 0:
        if (length - offset) % size:
            raise ValueError(
                f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a "
                f"multiple of element size ({size})"
            )
        count = (length - offset) // size
    elif offset + count * size > length:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({length} bytes)"
        )
    if view.readonly:
        warnings.warn(
            "The given buffer is not writable, and tensors have no notion of that: writing to "
            "this tensor will fail. Copy the buffer first if that matters.",
            UserWarning,
            stacklevel=4,
        )
    return np.ndarray((count,), kind.numpy, view.cast("B"), offset)


class _Capsule:
    """Makes a bare DLPack capsule look like the object that NumPy expects."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **settings):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


def array_of_dlpack(source, copy=None):
    """The array behind an object that exports DLPack, or behind a capsule, sharing its memory."""
    if type(source).__name__ == "PyCapsule":
        source = _Capsule(source)
    elif not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack(): {type(source).__name__} does not export DLPack")
    return np.from_dlpack(source, copy=copy)


def to_numpy(tensor, force=False):
    """The ndarray that shares the tensor's memory; see `Tensor.numpy`."""
    array = tensor._array
    if tensor._requires_grad and tensor.requires_grad and not force:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if not isinstance(array, np.ndarray):
        if force:
            raise NoData("Cannot copy out of meta tensor; no data!")
        raise TypeError(
            f"can't convert {tensor.device.type} device type tensor to numpy. Use Tensor.cpu() to "
            "copy the tensor to host memory first."
        )
    kind = tensor._dtype
    if kind.itemsize < 4 and kind.is_floating_point and kind is not dtypes.float16:
        raise TypeError(f"Got unsupported ScalarType {kind.scalar_name}")
    return array.view()


def type_text(tensor_dtype, device="cpu"):
    """The old name of a tensor type: ``torch.FloatTensor``."""
    place = "" if device == "cpu" else device + "."
    return f"{prefix()}.{place}{tensor_dtype.scalar_name}Tensor"
