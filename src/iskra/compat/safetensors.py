"""Tensors in safetensors files: a header in JSON and plain bytes, nothing that could be executed.

The format is read and written by the `safetensors` library; this file turns tensors into what
it takes and back.

Source: https://huggingface.co/docs/safetensors
"""

import os

import numpy as np

from iskra.compat.files import replacing
from iskra.core import device as Device
from iskra.core import dtypes
from iskra.tensor import Tensor, wrap
from iskra.tensor.storage import address

__all__ = ["load", "load_file", "save", "save_file"]

_CODES = {
    "F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16,
    "I64": dtypes.int64, "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8,
    "U64": dtypes.uint64, "U32": dtypes.uint32, "U16": dtypes.uint16, "U8": dtypes.uint8,
    "BOOL": dtypes.bool_, "C64": dtypes.complex64, "F8_E4M3": dtypes.float8_e4m3fn,
    "F8_E5M2": dtypes.float8_e5m2, "F8_E4M3FNUZ": dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz, "F8_E8M0": dtypes.float8_e8m0fnu,
}
_KINDS = frozenset(_CODES.values())


def save_file(tensors, filename, metadata=None):
    """Write a dict of tensors to a file; a crash leaves an old file of that name whole.

    Args:
        tensors: str -> Tensor. Tensors that are not contiguous are written as if they were.
        filename: the path.
        metadata: str -> str, kept in the file's header.

    Raises ValueError for what is no tensor or has a dtype that the format lacks, RuntimeError
    where tensors share memory: the format would store it twice.

    >>> import iskra as torch
    >>> from iskra.compat.safetensors import load, save
    >>> load(save({"w": torch.ones(2)}))
    {'w': tensor([1., 1.])}
    """
    import safetensors

    arrays = _arrays(tensors)
    with replacing(filename) as stream:
        safetensors.serialize_file(_specs(safetensors, arrays), stream.name, metadata=metadata)


def save(tensors, metadata=None):
    """The bytes that `save_file` would write."""
    import safetensors

    return safetensors.serialize(_specs(safetensors, _arrays(tensors)), metadata=metadata)


def load_file(filename, device="cpu"):
    """The dict of tensors in a safetensors file, on `device`.

    Raises safetensors.SafetensorError for a damaged file.
    """
    with open(filename, "rb") as stream:
        data = stream.read()
    return _load(data, device, os.fspath(filename))


def load(data, device="cpu"):
    """The dict of tensors in the bytes of a safetensors file."""
    return _load(data, device, "the data")


def _load(data, device, source):
    import safetensors

    return {
        name: _tensor(name, entry, source).to(Device(device))
        for name, entry in safetensors.deserialize(bytes(data))
    }


def _tensor(name, entry, source):
    kind = _CODES.get(entry["dtype"])
    if kind is None:
        raise ValueError(f"load_file: {source} holds {name!r} in the dtype {entry['dtype']}")
    content = entry["data"]
    if not isinstance(content, bytearray):  # tensors can be written to, bytes cannot
        content = bytearray(content)
    return wrap(np.frombuffer(content, np.uint8).view(kind.numpy).reshape(entry["shape"]), kind)


def _arrays(tensors):
    """Contiguous arrays on the host, and the dtypes, by name."""
    if not isinstance(tensors, dict):
        raise ValueError(f"save_file: expected a dict of tensors, got {type(tensors).__name__}")
    _check_apart(tensors)
    arrays = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in _KINDS:
            raise ValueError(f"save_file: {name!r}: the format has no dtype {tensor.dtype}")
        array = tensor.detach().cpu()._array
        # ascontiguousarray would make a vector of a scalar.
        contiguous = array if array.flags.c_contiguous else array.copy()
        arrays[name] = tensor.dtype, contiguous
    return arrays


def _check_apart(tensors):
    """Raise unless all values are tensors and no two of them share memory."""
    spans = []
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"save_file: {name!r} is a {type(tensor).__name__}, not a tensor")
        if tensor.is_meta:
            raise ValueError(f"save_file: {name!r} is a meta tensor, without data")
        if tensor.numel():
            reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride()))
            start = tensor.data_ptr()
            spans.append((start, start + (reach + 1) * tensor.element_size(), name))
    spans.sort()
    for (_, end, first), (start, _, second) in zip(spans, spans[1:]):
        if start < end:
            raise RuntimeError(
                f"save_file: {first!r} and {second!r} share memory, which the format would store "
                "twice and load apart; clone() one of them, leave one out, or use save"
            )


def _specs(safetensors, arrays):
    """What the library takes: since 0.8 places in memory, before that bytes."""
    if hasattr(safetensors, "TensorSpec"):
        return {
            name: safetensors.TensorSpec(
                dtype=kind.name, shape=list(array.shape), data_ptr=address(array) if array.size
                else 0, data_len=array.nbytes,
            )
            for name, (kind, array) in arrays.items()
        }
    return {
        name: {"dtype": kind.name, "shape": list(array.shape), "data": array.tobytes()}
        for name, (kind, array) in arrays.items()
    }
