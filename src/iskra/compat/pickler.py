"""Writing the pickle of a checkpoint: storages by reference, everything else by PyTorch's names.

The standard library's pickler in Python, not the one in C, does the work: the C one insists on
importing the names it writes, and PyTorch need not be installed.
"""

import copyreg
import io
import pickle
import sys
import types
from collections import OrderedDict

from iskra.compat.locations import location_of
from iskra.compat.names import STORAGE_CLASSES, torch_name
from iskra.compat.rebuild import TypedStorage, is_internal
from iskra.core import Size, device, dtypes, layout, memory_format
from iskra.core.size import contiguous_strides
from iskra.tensor import Parameter, Storage, Tensor, alias
from iskra.tensor.storage import LentStorage
from iskra.tensor.tensor import storage_of


class Name:
    """A global name to be written as it stands."""

    __slots__ = ("module", "name")

    def __init__(self, module, name):
        self.module = module
        self.name = name

    def __call__(self):
        raise TypeError(f"{self.module}.{self.name} is a name only")


# One object per name, so that the pickler writes each name once and refers back to it.
_NAMES = {}


def _name(module, name):
    return _NAMES.setdefault((module, name), Name(module, name))


def dump(obj, protocol, pickle_module=pickle):
    """Pickle `obj`; return the bytes, and the storages that they refer to by "0", "1" ...

    Raises pickle.PicklingError, or what an object's own methods raise, for what cannot be
    pickled, and TypeError for a `pickle_module` whose pickler cannot be extended.
    """
    stream = io.BytesIO()
    pickler = _pickler_class(pickle_module)(stream, protocol)
    pickler.start()
    pickler.dump(obj)
    return stream.getvalue(), [storage for storage, _, _ in pickler.storages.values()]


def _pickler_class(pickle_module):
    if pickle_module is pickle:
        return CheckpointPickler
    base = getattr(pickle_module, "Pickler", None)
    if not (isinstance(base, type) and issubclass(base, pickle._Pickler)):
        raise TypeError(
            f"save: pickle_module {getattr(pickle_module, '__name__', pickle_module)!r} must have "
            "a Pickler derived from the pure-Python pickle._Pickler, as dill's is; leave the "
            "argument out to use the standard pickle"
        )
    return type("CheckpointPickler", (_Rules, base), {"dispatch": _dispatch(base)})


class _Reducers:
    """How objects of a type are reduced; asked for subclasses too, unlike a plain dict."""

    def __init__(self, pickler):
        self.pickler = pickler

    def get(self, cls, default=None):
        """The function that reduces objects of `cls`; what pickle asks of a dispatch table."""
        if issubclass(cls, Tensor) and cls.__reduce_ex__ in _TENSOR_REDUCE:
            return self.pickler.reduce_tensor
        nn = sys.modules.get("iskra.nn")
        if nn is not None and issubclass(cls, nn.Module) and _is_plain(cls):
            return _reduce_module
        return _REDUCERS.get(cls) or copyreg.dispatch_table.get(cls, default)


class _Rules:
    """What distinguishes a checkpoint's pickler from a plain one."""

    def start(self):
        """Prepare for one `dump`."""
        self.storages = {}  # id -> (storage, its number, its dtype in the file)
        self.dispatch_table = _Reducers(self)

    def persistent_id(self, obj):
        """Storages are named here; their bytes stand in records of their own."""
        kind = type(obj)
        if kind is Storage or kind is LentStorage:
            return self._reference(obj, None)
        if kind is TypedStorage:
            return self._reference(obj.storage, obj.dtype)
        return None

    def _reference(self, storage, dtype):
        _, number, _ = self._entry(storage, dtype)
        length = storage.nbytes()
        kind = _name("torch.storage", "UntypedStorage")
        if dtype is not None:
            kind, length = _name("torch", STORAGE_CLASSES[dtype]), length // dtype.itemsize
        return "storage", kind, str(number), location_of(storage), length

    def _entry(self, storage, dtype):
        # The storage itself is kept, or its id might come to name another one.
        return self.storages.setdefault(id(storage), (storage, len(self.storages), dtype))

    def save_global(self, obj, name=None):
        """Write a class or function by PyTorch's name where it has it, else by its own."""
        place = torch_name(obj)
        if place is None:
            super().save_global(obj, name)
        else:
            self._write_name(*place)
            self.memoize(obj)

    def save_name(self, name):
        """Write a `Name`."""
        self._write_name(name.module, name.name)
        self.memoize(name)

    def _write_name(self, module, name):
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def save_tensor(self, tensor):
        """Write a tensor as the call that rebuilds it."""
        self.save_reduce(*self.reduce_tensor(tensor), obj=tensor)

    def reduce_tensor(self, tensor):
        """``(function, arguments)`` that rebuild a tensor of any class."""
        cls = type(tensor)
        state = _state(tensor)
        if cls is Parameter:
            data = alias(tensor, tensor._array)
            arguments = (data, tensor.requires_grad, OrderedDict())
            if not state:
                return _utils("_rebuild_parameter"), arguments
            return _utils("_rebuild_parameter_with_state"), (*arguments, state)
        make, arguments = self._reduce_plain(tensor)
        if cls is Tensor and not state:
            return make, arguments
        return _name("torch._tensor", "_rebuild_from_type_v2"), (make, cls, arguments, state)

    def _reduce_plain(self, tensor):
        kind, size, stride = tensor.dtype, tuple(tensor.size()), tuple(tensor.stride())
        if 0 in size:  # no element to step to: the same bytes, whatever view made it
            stride = contiguous_strides(size)
        if tensor.is_meta:
            arguments = (kind, size, stride, tensor.requires_grad)
            return _utils("_rebuild_meta_tensor_no_storage"), arguments
        storage = storage_of(tensor)
        place = (tensor.storage_offset(), size, stride, tensor.requires_grad, OrderedDict())
        # PyTorch has a storage class for few types, and takes the first one it meets for a
        # storage; every other view says its type itself.
        typed = kind in STORAGE_CLASSES and storage.nbytes() % kind.itemsize == 0
        if typed and self._entry(storage, kind)[2] is kind:
            make, arguments = "_rebuild_tensor_v2", (TypedStorage(storage, kind, 0), *place)
        else:
            make, arguments = "_rebuild_tensor_v3", (storage, *place, kind)
        if tensor._conj:
            arguments += ({"conj": True},)
        return _utils(make), arguments


def _utils(name):
    return _name("torch._utils", name)


def _state(tensor):
    """What the program has put on a tensor: None, or what its class's `__getstate__` gives."""
    own = type(tensor).__getstate__
    if own is not object.__getstate__:
        return own(tensor)
    return {name: value for name, value in vars(tensor).items() if not is_internal(name)} or None


# What PyTorch's modules always hold, and those here only when there are hooks.
_HOOKS = (
    "_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def _is_plain(cls):
    """Whether a class leaves pickling to Python, but for its state."""
    return cls.__reduce_ex__ is object.__reduce_ex__ and cls.__reduce__ is object.__reduce__


def _reduce_module(module):
    """A module as Python reduces it, with the tables that PyTorch expects to find."""
    make, arguments, state, *rest = module.__reduce_ex__(2)
    if isinstance(state, dict):
        state = {name: OrderedDict() for name in _HOOKS} | {"_is_full_backward_hook": None} | state
        for name in ("_flat_weights_names", "_flat_weights"):  # of recurrent layers
            if hasattr(type(module), name):
                state[name] = getattr(module, name)
    return make, arguments, state, *rest


def _reduce_device(where):
    arguments = (where.type,) if where.index is None else (where.type, where.index)
    return _name("torch", "device"), arguments


_TENSOR_REDUCE = (Tensor.__reduce_ex__, Parameter.__reduce_ex__)
_REDUCERS = {
    Size: lambda size: (_name("torch", "Size"), (tuple(size),)),
    device: _reduce_device,
    dtypes.dtype: lambda kind: kind.name,  # a string: a global, see save_global
    layout: lambda kind: (_name("torch.serialization", "_get_layout"), (f"torch.{kind.name}",)),
    memory_format: lambda kind: kind.name,
}


def _dispatch(base):
    return {
        **base.dispatch,
        Name: _Rules.save_name,
        Tensor: _Rules.save_tensor,
        Parameter: _Rules.save_tensor,
        types.FunctionType: _Rules.save_global,
    }


class CheckpointPickler(_Rules, pickle._Pickler):
    """The pickler of `save`."""

    dispatch = _dispatch(pickle._Pickler)
