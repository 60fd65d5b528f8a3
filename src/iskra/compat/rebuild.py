"""From what stands in a checkpoint to tensors: the functions that PyTorch's pickles call.

PyTorch writes a tensor as a call of one of its private functions, with a storage, an offset, a
size and strides. The functions here take those calls. They trust no argument: a file may say
anything, and must not reach outside its own storages.
"""

import operator

import numpy as np

from iskra import ops
from iskra.core import dtype as dtype_class
from iskra.core import strided
from iskra.tensor import Parameter, Storage, Tensor, pickling


class TypedStorage:
    """A `Storage` together with the element type that a checkpoint gives it."""

    __slots__ = ("storage", "dtype", "nbytes")

    def __init__(self, storage, dtype, nbytes):
        self.storage = storage
        self.dtype = dtype
        self.nbytes = nbytes

    def untyped(self):
        """The `Storage` itself."""
        return self.storage

    def __len__(self):
        return self.nbytes // self.dtype.itemsize

    def tolist(self):
        """The elements as a list of Python numbers."""
        return self.storage.array.view(np.uint8).view(self.dtype.numpy).tolist()

    def __repr__(self):
        return f"TypedStorage(dtype={self.dtype}, size={len(self)})"


def rebuild_tensor(storage, offset, size, stride, requires_grad=False, dtype=None):
    """A leaf tensor on `storage`: the inverse of taking a tensor apart.

    Args:
        storage: a `TypedStorage`, or a `Storage` along with `dtype`.
        offset: where the first element lies in the storage, in elements.
        size, stride: one int per dimension, in elements; neither may be negative.
        requires_grad: whether the result requires a gradient.
        dtype: the element type; None takes that of the storage.

    Raises RuntimeError where the view would reach outside the storage, TypeError for arguments
    of another kind.
    """
    if isinstance(storage, TypedStorage):
        dtype = storage.dtype if dtype is None else dtype
        storage = storage.storage
    if not isinstance(storage, Storage) or not isinstance(dtype, dtype_class):
        raise TypeError(
            f"rebuild_tensor: expected a storage and a dtype, got {type(storage).__name__} and "
            f"{type(dtype).__name__}"
        )
    size, stride = _lengths(size), _lengths(stride)
    offset = operator.index(offset)
    if len(size) != len(stride) or offset < 0:
        raise RuntimeError(f"rebuild_tensor: size {size}, stride {stride}, offset {offset}")
    tensor = pickling.rebuild_tensor(storage, dtype, offset, size, stride, False)
    return _requiring(tensor, requires_grad)


def _requiring(tensor, requires_grad):
    if requires_grad:
        tensor.requires_grad = True  # raises for integers
    return tensor


def _lengths(values):
    values = tuple(map(operator.index, values))
    if any(v < 0 for v in values):
        raise RuntimeError(f"rebuild_tensor: sizes and strides cannot be negative: {values}")
    return values


def _meta(dtype, size, stride, requires_grad):
    tensor = ops.empty_strided(_lengths(size), _lengths(stride), dtype=dtype, device="meta")
    return _requiring(tensor, requires_grad)


def _v1(storage, offset, size, stride):
    return rebuild_tensor(_typed(storage), offset, size, stride)


def _v2(storage, offset, size, stride, requires_grad, hooks, metadata=None):
    tensor = rebuild_tensor(_typed(storage), offset, size, stride, requires_grad)
    return _with_metadata(tensor, metadata)


def _v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None):
    tensor = rebuild_tensor(_typed(storage), offset, size, stride, requires_grad, dtype)
    return _with_metadata(tensor, metadata)


def _typed(storage):
    if not isinstance(storage, (TypedStorage, Storage)):
        raise TypeError(f"a tensor needs a storage, the file gives {type(storage).__name__}")
    if isinstance(storage, Storage):  # an untyped one in the file; the dtype comes beside it
        return TypedStorage(storage, None, storage.nbytes())
    return storage


def _with_metadata(tensor, metadata):
    """Apply what PyTorch keeps as bits on a lazily conjugated or negated view."""
    if not metadata:
        return tensor
    unknown = set(metadata) - {"conj", "neg"}
    if unknown:
        raise RuntimeError(f"a tensor with unknown metadata {sorted(map(str, unknown))}")
    requires_grad = tensor.requires_grad
    tensor = tensor.detach()
    if metadata.get("conj"):
        tensor = ops.conj(tensor)
    if metadata.get("neg"):
        tensor = ops.neg(tensor)
    return _requiring(tensor.detach(), requires_grad)


def _parameter(data, requires_grad, hooks):
    if not isinstance(data, Tensor):
        raise TypeError(f"a Parameter needs a tensor, the file gives {type(data).__name__}")
    return Parameter(data, bool(requires_grad))


def _parameter_with_state(data, requires_grad, hooks, state):
    return _with_state(_parameter(data, requires_grad, hooks), state)


def _from_type(make, cls, args, state):
    """A tensor of the class `cls`, with the attributes that the program had put on it."""
    if make not in TENSOR_MAKERS:
        raise TypeError("a tensor of a subclass is to be made by an unknown function")
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"{cls!r} is no subclass of Tensor")
    tensor = make(*args)
    if type(tensor) is not cls:
        tensor = tensor.as_subclass(cls)
    setstate = getattr(cls, "__setstate__", None)
    if setstate is not None and setstate is not getattr(Tensor, "__setstate__", None):
        tensor.__setstate__(state)
        return tensor
    return _with_state(tensor, state)


def _with_state(tensor, state):
    """Set attributes, but none that a tensor itself lives by."""
    dicts = state if isinstance(state, tuple) else (state,)
    for name, value in (item for d in dicts if d for item in d.items()):
        if is_internal(name):
            raise TypeError(f"the file would overwrite the tensor's own attribute {name!r}")
        setattr(tensor, name, value)
    return tensor


def is_internal(name):
    """Whether an attribute is part of a tensor, not something a program has put on it."""
    return name in ("_array", "_dtype") or hasattr(Tensor, name)


def _get_layout(name):
    if name.rpartition(".")[2] != "strided":
        raise RuntimeError(f"the layout {name} is not supported, all tensors are strided")
    return strided


# The functions a pickle may call, under PyTorch's names for them.
REBUILD = {
    "torch._utils._rebuild_tensor": _v1,
    "torch._utils._rebuild_tensor_v2": _v2,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.serialization._get_layout": _get_layout,
}
TENSOR_MAKERS = (_v1, _v2, _v3, _parameter, _parameter_with_state, _meta)
