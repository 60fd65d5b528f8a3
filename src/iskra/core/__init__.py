"""Core: dtypes, promotion, shapes, devices, random state. Pure Python facts, no tensors."""

from iskra.core.device import (
    CPU,
    META,
    channels_last,
    channels_last_3d,
    contiguous_format,
    device,
    get_default_device,
    jagged,
    layout,
    memory_format,
    preserve_format,
    set_default_device,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from iskra.core.dtypes import (
    bfloat16,
    bool_,
    complex32,
    complex64,
    complex128,
    dtype,
    finfo,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from iskra.core.generator import Generator, default_generator
from iskra.core.promotion import can_cast, promote_types
from iskra.core.size import Size

__all__ = [
    "CPU", "META", "Generator", "Size", "bfloat16", "bool_", "can_cast", "channels_last",
    "channels_last_3d", "complex32", "complex64", "complex128", "contiguous_format",
    "default_generator", "device", "dtype", "finfo", "float8_e4m3fn", "float8_e4m3fnuz",
    "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float16", "float32", "float64",
    "get_default_device", "get_default_dtype", "iinfo", "int8", "int16", "int32", "int64",
    "jagged", "layout", "memory_format", "preserve_format", "promote_types", "set_default_device",
    "set_default_dtype", "sparse_bsc", "sparse_bsr", "sparse_coo",
    "sparse_csc", "sparse_csr", "strided", "uint8", "uint16", "uint32", "uint64",
]
