"""Memory for large arrays, recycled: a fresh 16 MB array faults in its pages for longer than a
kernel takes to fill it; memory that was just in use does not.

`empty` makes arrays on blocks of a caching allocator, which is machine code (`memory_code.py`) and
known to NumPy as a memory handler (NEP 49). The arrays are ordinary ones that own their data: when
NumPy deallocates one, its block returns to the allocator. In the contexts that `recycling.py`
knows, NumPy's own results are made that way too.

How much is kept: free blocks hold never more than 256 MiB or half of the most that was ever in
use, whichever is larger; then those whose size was not asked for longest go back to the system. All
of them do before an allocation fails.

The allocator starts with the first array of 1 MiB or more; until then, and on a Python or NumPy
whose objects lie in memory otherwise than expected, arrays come from NumPy alone.
"""

import ctypes
import math
import os
import threading

import numpy as np

from iskra.runtime import jit, memory_code, recycling
from iskra.runtime.memory_arrays import OFFSETS, TABLE

__all__ = ["empty", "empty_cache", "memory_stats", "reset_peak_memory_stats", "start"]

_STARTS_AT = 1 << 20  # bytes: below, loading the allocator would not pay
_FLOOR = 256 << 20    # bytes of free blocks that are kept in any case
_NO_LIMIT = (1 << 63) - 1

# Places in NumPy's table of C functions and types.
_ARRAY_TYPE, _DTYPE_TYPE, _NEW_FROM_DESCR, _SET_BASE = 2, 3, 94, 282
_SET_HANDLER, _GET_HANDLER, _DEFAULT_HANDLER = 304, 305, 306

_starting = threading.RLock()
_loaded = None   # the machine code, once there is any; False: this platform has none


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler, version 1."""

    _fields_ = [
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p), ("calloc", ctypes.c_void_p), ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    ]


class _MethodDef(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


def empty(shape, dtype):
    """Return an uninitialised C-contiguous ndarray; from 4 KiB on, 64-byte aligned and recycled.

    shape: a tuple of ints; dtype: a NumPy dtype. Raises what `numpy.empty` raises, and MemoryError
    where no memory is left after everything kept has been given back.

    >>> empty((2, 3), np.dtype(np.float32)).shape
    (2, 3)
    """
    try:
        return _make(shape, dtype)
    except MemoryError as error:
        if error.args:  # NumPy's own
            raise
    used = memory_stats()["allocated"]
    raise MemoryError(
        f"cannot allocate an array of shape {tuple(shape)} and dtype {dtype} "
        f"({math.prod(shape) * dtype.itemsize} bytes); arrays in use hold {used} bytes"
    )


def _first(shape, dtype):
    """`empty` before the allocator has started."""
    if math.prod(shape) * np.dtype(dtype).itemsize < _STARTS_AT:
        return np.empty(shape, dtype)
    start()
    return _make(shape, dtype)


def _equipping(shape, dtype):
    """`empty` while contexts wait for the handler, because other threads were inside them."""
    _equip()
    return _loaded.empty(shape, dtype)


_make = _first


def start():
    """Load the allocator; return whether this platform has one. May be called again and again."""
    global _loaded, _make
    with _starting:
        if _loaded is None:
            _loaded = _load() if _layout_is_known() else False
            if _loaded:
                recycling.started.append(_equip)
                _equip()
            else:
                _make = np.empty
    return bool(_loaded)


def maker():
    """The address of `empty` as a METH_FASTCALL function, once the allocator has started."""
    return _loaded.address_of_empty


def _equip():
    """Set the handler in the contexts that wait for it; choose what `empty` does from here on."""
    global _make
    with _starting:
        for context in recycling.waiting[:]:
            if _set_handler_in(context):
                recycling.waiting.remove(context)
        _make = _equipping if recycling.waiting else _loaded.empty


def _set_handler_in(context):
    if recycling.mark.get() is context:
        _loaded.set_handler(_loaded.capsule)
        return True
    try:
        context.run(_loaded.set_handler, _loaded.capsule)
    except RuntimeError:  # another thread is inside
        return False
    return True


# What it holds


_NAMES = {"free": "blocks_cached", "in_use": "blocks_in_use"}


def memory_stats():
    """Return what the allocator of CPU memory holds and did, as a dict of ints.

    ``allocated``, ``cached``: bytes in arrays, and in blocks kept for new ones. ``peak``: the most
    that was ever in arrays. ``blocks_in_use``, ``blocks_cached``: the same in blocks. ``hits``,
    ``misses``: arrays made from a block that was kept, and from new memory. ``released``: blocks
    given back to the system. Bytes are those of whole blocks: up to an eighth more than was asked
    for. Arrays of less than 4 KiB are not counted.

    >>> sorted(memory_stats())[:4]
    ['allocated', 'blocks_cached', 'blocks_in_use', 'cached']
    """
    words = (ctypes.c_int64 * len(memory_code.COUNTERS))()
    if _loaded:
        _loaded.report(words)
    return {
        _NAMES.get(name, name): word
        for name, word in zip(memory_code.COUNTERS, words, strict=True)
    }


def empty_cache():
    """Give the memory that is kept for new arrays back to the system.

    >>> empty_cache()
    >>> memory_stats()["cached"]
    0
    """
    if _loaded:
        _loaded.trim(0)


def reset_peak_memory_stats():
    """Let ``memory_stats()["peak"]`` begin anew, from what is in use now."""
    if _loaded:
        _loaded.restart_peak()


def _bound(floor=_FLOOR, limit=_NO_LIMIT):
    """Set how many bytes may always be kept, and how many may be held in all."""
    _loaded.bound(floor, limit)


# Loading


class _Allocator:
    """The loaded machine code, and what has to live as long as it."""

    def __init__(self):
        code = jit.load(memory_code.text(_FLOOR))

        def address(name):
            return code.address(f"iskra_memory_{name}")

        def function(name, *arguments):
            return ctypes.PYFUNCTYPE(None, *arguments)(address(name))

        word = ctypes.c_int64
        self.report = function("report", ctypes.c_void_p)
        self.trim = function("trim", word)
        self.bound = function("bound", word, word)
        self.restart_peak = function("restart_peak")
        self.lock, self.unlock = function("lock"), function("unlock")
        self.set_handler = _numpy_function(_SET_HANDLER, ctypes.py_object)
        self.capsule = _capsule(*map(address, ("malloc", "calloc", "realloc", "free")))
        self._prepare(function("prepare", ctypes.c_void_p))
        self.address_of_empty = address("empty")
        self.empty = _builtin("empty", self.address_of_empty)
        # Arrays may die after everything else: what frees them must never go.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        # No thread is in the middle of a list when the process is doubled.
        os.register_at_fork(
            before=self.lock, after_in_parent=self.unlock, after_in_child=self.unlock
        )

    def _prepare(self, prepare):
        table = _numpy_table()
        small = _default_handler()
        words = {
            "new_from_descr": table[_NEW_FROM_DESCR], "array_type": table[_ARRAY_TYPE],
            "descr_type": table[_DTYPE_TYPE], "tuple_type": id(tuple),
            "handler": id(self.capsule), "numpy_empty": id(np.empty),
            "small_malloc": small.malloc, "small_realloc": small.realloc, "small_free": small.free,
        }
        prepare((ctypes.c_void_p * len(TABLE))(*map(words.__getitem__, TABLE)))


def _load():
    try:
        return _Allocator()
    except (ImportError, OSError, RuntimeError):  # no llvmlite, or none for this machine
        return False


def _capsule(*functions):
    """A new memory handler, in the capsule that NumPy wants. It lives for ever."""
    handler = _Handler(b"iskra", 1, None, *functions)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handler))
    new = _python_function("PyCapsule_New", ctypes.py_object, *[ctypes.c_void_p] * 3)
    capsule = new(ctypes.addressof(handler), _CAPSULE_NAME, None)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))
    return capsule


_CAPSULE_NAME = ctypes.cast(ctypes.c_char_p(b"mem_handler"), ctypes.c_void_p)
_definitions = []


def _builtin(name, address):
    """A builtin function of Python on a METH_FASTCALL function at `address`."""
    definition = _MethodDef(name.encode(), address, 0x80, None)
    _definitions.append(definition)
    new = _python_function("PyCFunction_NewEx", ctypes.py_object, *[ctypes.c_void_p] * 3)
    return new(ctypes.addressof(definition), None, None)


def _python_function(name, result, *arguments):
    """A function of Python's C interface; its types are nobody else's business."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


def _numpy_table():
    address = _in_capsule(np._core._multiarray_umath._ARRAY_API, None)
    return ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))


def array_functions():
    """The addresses of NumPy's ``PyArray_NewFromDescr`` and ``PyArray_SetBaseObject``."""
    table = _numpy_table()
    return table[_NEW_FROM_DESCR], table[_SET_BASE]


def _default_handler():
    """The memory handler that NumPy uses by itself."""
    capsule = ctypes.cast(_numpy_table()[_DEFAULT_HANDLER], ctypes.POINTER(ctypes.py_object))[0]
    return _Handler.from_address(_in_capsule(capsule, b"mem_handler"))


def _in_capsule(capsule, name):
    pointer = _python_function(
        "PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p
    )
    return pointer(capsule, name)


def _numpy_function(index, *arguments):
    return ctypes.PYFUNCTYPE(ctypes.py_object, *arguments)(_numpy_table()[index])


def _layout_is_known():
    """Whether Python's and NumPy's objects lie in memory as `memory_arrays.OFFSETS` says."""
    array = np.empty((3, 2), np.float32)
    samples = [np.dtype(code) for code in ("f4", "f8", "i1", "c16", "O", "S3", "V5", "m8[s]")]
    kept = id(_numpy_function(_GET_HANDLER)())
    return (
        _read(ctypes.c_void_p, array, 8) == id(np.ndarray) == _numpy_table()[_ARRAY_TYPE]
        and id(np.dtype) == _numpy_table()[_DTYPE_TYPE]
        and all(_read(ctypes.c_int, a, OFFSETS["array_flags"]) == a.flags.num
                for a in (array, array.T, array[:, :1]))
        and _read(ctypes.c_void_p, array, OFFSETS["array_handler"]) == kept
        and all(_read(ctypes.c_int, d, OFFSETS["dtype_number"]) == d.num
                and _read(ctypes.c_uint64, d, OFFSETS["dtype_flags"]) == d.flags
                and _read(ctypes.c_int64, d, OFFSETS["dtype_size"]) == d.itemsize
                for d in samples)
    )


def _read(kind, thing, offset):
    return kind.from_address(id(thing) + offset).value
