"""PyTorch's names for what a checkpoint holds, and Iskra's objects behind them.

A PyTorch file names classes and functions by where they live in PyTorch. `find` goes from such a
name to the object here, `torch_name` from an object to the name that PyTorch will understand.
"""

import importlib
import sys
from collections import Counter, OrderedDict, defaultdict

from iskra.compat.rebuild import REBUILD
from iskra.core import Size, device, dtypes
from iskra.core.device import layout
from iskra.tensor import Parameter, Tensor

# The element types that have a storage class in PyTorch; the others are written as plain bytes.
STORAGE_CLASSES = {
    dtypes.float64: "DoubleStorage",
    dtypes.float32: "FloatStorage",
    dtypes.float16: "HalfStorage",
    dtypes.bfloat16: "BFloat16Storage",
    dtypes.int64: "LongStorage",
    dtypes.int32: "IntStorage",
    dtypes.int16: "ShortStorage",
    dtypes.int8: "CharStorage",
    dtypes.uint8: "ByteStorage",
    dtypes.bool_: "BoolStorage",
    dtypes.complex64: "ComplexFloatStorage",
    dtypes.complex128: "ComplexDoubleStorage",
}


class StorageClass:
    """What stands for PyTorch's storage classes: the element type, None for plain bytes."""

    __slots__ = ("dtype",)

    def __init__(self, dtype):
        self.dtype = dtype


def _bytearray(data=b"", encoding=None):
    """`bytearray`, but no number may make it allocate what the file does not hold."""
    if isinstance(data, str):
        return bytearray(data, encoding)
    if not isinstance(data, (bytes, bytearray, list)):
        raise TypeError(f"bytearray of {type(data).__name__}")
    return bytearray(data)


def _bytes(data=b""):
    """`bytes`: how protocol 2 writes the empty ones."""
    if not isinstance(data, (bytes, bytearray, list)):
        raise TypeError(f"bytes of {type(data).__name__}")
    return bytes(data)


def _encode(text, encoding="utf-8"):
    """How protocol 2 writes bytes: as the latin-1 encoding of a string."""
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise TypeError(f"bytes in the encoding {encoding!r}")
    return text.encode(encoding)


# A file may mention these, as what a defaultdict makes or a tensor is, but not call them.
_MENTIONED = (list, dict, tuple, int, float, str, bool)


def _allowed():
    """All that a file may name under ``weights_only=True``: data, and ways to rebuild data."""
    plain = (*_MENTIONED, set, frozenset, complex, slice)
    table = {f"builtins.{cls.__name__}": cls for cls in plain}
    table |= {
        "builtins.bytearray": _bytearray,
        "builtins.bytes": _bytes,
        "_codecs.encode": _encode,
        "collections.OrderedDict": OrderedDict,
        "collections.Counter": Counter,
        "collections.defaultdict": defaultdict,
        "torch.Tensor": Tensor,
        "torch.nn.parameter.Parameter": Parameter,
        "torch.Size": Size,
        "torch.device": device,
        "torch.storage.UntypedStorage": StorageClass(None),
    }
    for kind in (*dtypes.ALL, dtypes.complex32):
        table[f"torch.{kind.name}"] = kind
    for kind, name in STORAGE_CLASSES.items():
        table[f"torch.{name}"] = table[f"torch.cuda.{name}"] = StorageClass(kind)
    return table | REBUILD


ALLOWED = _allowed()
CALLABLE = tuple(
    value for value in ALLOWED.values()
    if callable(value) and not any(value is m for m in (*_MENTIONED, Tensor, Parameter))
)


def find(module, name):
    """The object here behind PyTorch's ``module.name``; AttributeError where there is none.

    PyTorch names a class by the file it stands in (``torch.nn.modules.linear.Linear``), which
    may lie elsewhere here; the public packages around that file are asked in turn.
    """
    known = ALLOWED.get(f"{module}.{name}")
    if known is not None:
        return known
    parts = module.split(".")[1:]
    while True:
        place = _module(parts)
        if place is not None:
            try:
                return _attribute(place, name)
            except AttributeError:
                pass
        if not parts:
            raise AttributeError(f"Iskra has no {module}.{name}")
        parts.pop()


def _module(parts):
    path = ".".join(["iskra", *parts])
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not path.startswith(error.name or "?"):
            raise  # the module exists and misses something of its own
        return None


def _attribute(value, path):
    for name in path.split("."):
        value = getattr(value, name)
    return value


_SPECIAL = {
    Tensor: ("torch", "Tensor"),
    Parameter: ("torch.nn.parameter", "Parameter"),
    Size: ("torch", "Size"),
    device: ("torch", "device"),
}
_PUBLIC = (
    "nn", "nn.functional", "nn.parameter", "nn.init", "nn.utils", "nn.utils.rnn",
    "nn.utils.parametrize", "nn.utils.parametrizations", "optim", "optim.lr_scheduler",
    "optim.swa_utils", "utils.data", "distributions", "autograd", "autograd.graph", "amp", "func",
    "linalg", "special", "fft", "",
)


def torch_name(obj):
    """``(module, name)`` under which PyTorch has what `obj` is here; None where it has not."""
    if isinstance(obj, (dtypes.dtype, layout)):
        return "torch", obj.name
    if isinstance(obj, type) and obj in _SPECIAL:
        return _SPECIAL[obj]
    if not (getattr(obj, "__module__", None) or "").startswith("iskra."):
        return None
    name = getattr(obj, "__qualname__", "")
    for place in _PUBLIC:
        module = sys.modules.get(f"iskra.{place}".rstrip("."))
        if module is not None and vars(module).get(name) is obj:
            return f"torch.{place}".rstrip("."), name
    return None
