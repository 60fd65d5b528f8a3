"""The old ways of making and naming tensors: ``Tensor(2, 3)``, ``FloatTensor([1, 2])``.

Source: https://docs.pytorch.org/docs/stable/tensors.html#data-types
"""

import numpy as np

from iskra.core import CPU, Size, dtypes
from iskra.core.device import device as device_type
from iskra.core.naming import prefix
from iskra.tensor.bridge import array_of
from iskra.tensor.factory import allocate, finish
from iskra.tensor.tensor import Tensor, _new, _share, become


def make(args, kind, device=None):
    """What ``Tensor(*args)`` holds: sizes give undefined values, a sequence gives its values."""
    if not args:
        return allocate("Tensor", (0,), kind, device, False)
    if len(args) == 1:
        data = args[0]
        if isinstance(data, Tensor):
            return data
        if isinstance(data, Size):
            return allocate("Tensor", data, kind, device, False)
        if isinstance(data, np.ndarray) or not hasattr(data, "__index__"):
            if not hasattr(data, "__len__"):
                raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
            return finish(*array_of(data, kind), device)
    if not all(hasattr(a, "__index__") for a in args):
        raise TypeError(
            "new(): expected ints for a shape, or one sequence of data, but got "
            + ", ".join(type(a).__name__ for a in args)
        )
    return allocate("Tensor", args, kind, device, False)


def _new_tensor(cls, *args, dtype=None, device=None):
    source = make(args, dtype or dtypes.get_default_dtype(), device)
    if args and isinstance(args[0], Tensor):
        return _share(source.detach(), cls)
    self = _new(cls)
    become(self, source)
    return self


Tensor.__new__ = staticmethod(_new_tensor)


class TensorType(type):
    """The class of ``FloatTensor`` and its kin: each stands for a dtype (and a device)."""

    def __instancecheck__(cls, instance):
        return (
            isinstance(instance, Tensor)
            and instance._dtype is cls.dtype
            and instance.device.type == cls.device.type
        )

    def __call__(cls, *args, device=None):
        place = cls.device if device is None else device_type(device)
        if len(args) == 1 and isinstance(args[0], Tensor) and args[0].ndim:
            if args[0]._dtype is not cls.dtype:
                raise TypeError(
                    f"expected a tensor of dtype {cls.dtype} (got {args[0].dtype}); convert it "
                    "with .to(dtype)"
                )
            return args[0].detach()
        return make(args, cls.dtype, place)

    def __repr__(cls):
        return f"<class '{cls}'>"

    def __str__(cls):
        return type_name(cls.dtype, cls.device)


def type_name(dtype, device=CPU):
    """The old name of a tensor's type: ``iskra.FloatTensor``, ``iskra.cuda.FloatTensor``."""
    place = "" if device.type == "cpu" else device.type + "."
    return f"{prefix()}.{place}{dtype.scalar_name}Tensor"


def _make_type(dtype, device):
    name = dtype.scalar_name + "Tensor"
    return TensorType(name, (), {
        "dtype": dtype, "device": device, "__module__": "iskra", "is_sparse": False,
        "__doc__": f"Makes tensors of dtype {dtype.name}; ``isinstance`` asks for that dtype.",
    })


TYPES = {
    d.scalar_name + "Tensor": _make_type(d, CPU)
    for d in dtypes.ALL
    if d.scalar_name in (
        "Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16", "Float", "Double",
        "ComplexFloat", "ComplexDouble",
    )
}


def parse_type(value):
    """The dtype and device type that an argument of `Tensor.type` names."""
    if isinstance(value, dtypes.dtype):
        return value, None
    if isinstance(value, TensorType):
        return value.dtype, value.device.type
    if value is Tensor:
        return dtypes.get_default_dtype(), "cpu"
    if isinstance(value, str):
        *package, name = value.split(".")
        known = TYPES.get(name)
        if known is None and name == "Tensor":
            return dtypes.get_default_dtype(), "cpu"
        if known is not None and package in (["torch"], ["iskra"]):
            return known.dtype, "cpu"
        if known is not None and package in (["torch", "cuda"], ["iskra", "cuda"]):
            return known.dtype, "cuda"
        raise ValueError(f"invalid type: '{value}'")
    if isinstance(value, type) and value in (float, int, bool, complex):
        return dtypes.of_scalar(value(0)), None
    raise TypeError(f"dtype must be a type, str, or dtype object, not {type(value).__name__}")


def typename(obj):
    """The name of a tensor's type, or the qualified name of any other object's class.

    >>> import iskra as torch
    >>> torch.typename(torch.ones(1)), torch.typename(3)
    ('iskra.FloatTensor', 'int')
    """
    if isinstance(obj, Tensor):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    if isinstance(obj, (np.generic, np.ndarray)) or cls.__module__ not in ("builtins", ""):
        return f"{cls.__module__}.{cls.__qualname__}"
    return cls.__qualname__
