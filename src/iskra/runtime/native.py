"""Python functions that run machine code, made by `builtin`.

One wrapper, itself machine code, serves all kernels: it takes the arguments apart, lays them out
as 8-byte slots on its stack and runs the kernel's tasks. Calling a kernel this way costs little
more than calling any function written in C; ctypes would cost a microsecond.
"""

import contextlib
import ctypes
import functools
import struct
import sysconfig
import threading

import numpy as np

from iskra.runtime import jit, threads
from iskra.runtime.wrapper_ir import KINDS, SLOTS, wrapper_ir

# What PyMethodDef's flags mean: called with an array of arguments, and a tuple of keywords.
_METH_FASTCALL, _METH_KEYWORDS = 0x0080, 0x0002


class _MethodDef(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p),
                ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_KINDS_AT = 24          # where a descriptor's kinds begin


# Python keeps only pointers to these, as long as the functions live.
_definitions = []

# Who is told of calls, and the address that the machine code finds there: 0, or that of `_report`.
_watchers = []
_traces = []            # (thread, list of its calls)
_watcher = ctypes.c_void_p()
_sources = {}           # a function's descriptor -> its name and its source


def builtin(name, address, kinds, source=None):
    """Return a Python function that runs the kernel at `address`.

    name: what the function is called; kinds: one letter per argument, `n` the last:

        a   ndarray, one slot: the address of its first element; None: 0
        i   int, one slot
        f   float or int, one slot: the bytes of a double
        t   tuple of ints, a slot for each
        l   list or tuple of ndarrays, one slot: the address of a table of their addresses
        n   int: the number of tasks

    The kernel is ``void kernel(ptr slots, i64 task)``, called for each task from 0 to n - 1. A
    single task runs in the caller, which keeps the GIL; several run on the thread pool, in any
    order and at once, with the GIL released. The arrays' dtypes, shapes and strides are the
    caller's business. Ctrl-C is heeded between tasks: then the function raises KeyboardInterrupt
    and some tasks have not run.

    source: a function that returns what the kernel was made from, a `codegen.ir.Function` or LLVM's
    IR as text; calls of kernels that have one can be watched (`watching`).

    The function returns None; it raises TypeError (or OverflowError) naming itself and the
    position for arguments of another kind, ValueError where they fill more than 96 slots.
    Raises ValueError for kinds that make no sense, NotImplementedError where this Python's objects
    cannot be read (`available` tells).
    """
    if not kinds.endswith("n") or kinds.count("n") != 1 or set(kinds) - set(KINDS):
        raise ValueError(f"kinds are letters of {''.join(KINDS)}, n the last alone: {kinds!r}")
    if len(kinds) - kinds.count("t") > SLOTS + 1:
        raise ValueError(f"{len(kinds)} arguments do not fit into {SLOTS} slots")
    definition = _definition(name, _wrapper().address("call"))
    descriptor = struct.pack("<QQQ", address, _address_of_name(definition), len(kinds))
    descriptor += kinds.encode()
    if source is not None:
        _sources[descriptor] = name, source
    return _function(definition, descriptor)


def function_on(name, address, descriptor):
    """Return a Python function that is the function ``ptr f(ptr, ptr args, i64, ptr names)`` at
    `address`, which takes keywords too.

    descriptor: the object that the machine code gets as its first argument.
    """
    return _function(_definition(name, address, _METH_FASTCALL | _METH_KEYWORDS), descriptor)


def _definition(name, address, flags=_METH_FASTCALL):
    definition = _MethodDef(name.encode(), address, flags, None)
    _definitions.append(definition)
    return definition


def _function(definition, descriptor):
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object,
                                                     ctypes.c_void_p)
    return make(ctypes.addressof(definition), descriptor, None)


@contextlib.contextmanager
def watching(watcher):
    """A context in which `watcher(name, source)` is called before a kernel that has a source runs.

    Whatever thread runs it. An exception of the watcher's keeps the kernel from running.
    """
    with _reporting(_watchers, watcher):
        yield


@contextlib.contextmanager
def tracing():
    """A context with a list of the calls of kernels that this thread makes in it.

    An item is ``(address, kinds, arguments)``, as they were given to `builtin` and to its function.
    """
    calls = []
    with _reporting(_traces, (threading.get_ident(), calls)):
        yield calls


@contextlib.contextmanager
def _reporting(listeners, listener):
    listeners.append(listener)
    _watcher.value = id(_report)
    try:
        yield
    finally:
        listeners.remove(listener)
        if not _watchers and not _traces:
            _watcher.value = None


def _report(descriptor, *args):
    """What the wrapper calls while somebody watches."""
    if descriptor in _sources:
        for watcher in tuple(_watchers):
            watcher(*_sources[descriptor])
    for thread, calls in tuple(_traces):
        if thread == threading.get_ident():
            (address,) = struct.unpack_from("<Q", descriptor)
            calls.append((address, descriptor[_KINDS_AT:].decode(), args))


def available():
    """Whether `builtin` works with this Python: a usual build, with a GIL, of 64 bits."""
    try:
        layout()
    except NotImplementedError:
        return False
    return True


def _address_of_name(definition):
    return ctypes.c_uint64.from_address(ctypes.addressof(definition)).value


@functools.cache
def layout():
    """Where Python's objects keep what the wrapper reads, in bytes from their start.

    Worked out from the sizes that types declare, and tried on objects made for it.
    """
    if struct.calcsize("P") != 8 or struct.pack("=H", 1) != b"\1\0":
        raise NotImplementedError("kernels need a little-endian machine of 64 bits")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise NotImplementedError("kernels have not been tried with a free-threaded Python")
    head = object.__basicsize__
    found_at = {"TYPE": head - 8, "DATA": head, "SIZE": head, "ITEMS": tuple.__basicsize__,
                "BYTES": bytes.__basicsize__ - 1}
    array, items, text = np.arange(3), (object(), head, None), b"bytes of a descriptor"

    def word(value, offset):
        return ctypes.c_uint64.from_address(id(value) + offset).value

    found = (
        [word(value, found_at["TYPE"]) for value in (array, items, text)],
        [word(array, found_at["DATA"]), word(items, found_at["SIZE"])],
        [word(items, found_at["ITEMS"] + 8 * i) for i in range(3)],
        ctypes.string_at(id(text) + found_at["BYTES"], len(text)),
    )
    expected = (
        [id(np.ndarray), id(tuple), id(bytes)],
        [array.ctypes.data, 3],
        [id(item) for item in items],
        text,
    )
    if found != expected:
        raise NotImplementedError("this Python or NumPy lays its objects out in an unknown way")
    return found_at


@functools.cache
def _wrapper():
    """The wrapper's code."""
    symbols = {"iskra_none": id(None), "iskra_ndarray": id(np.ndarray), "iskra_tuple": id(tuple),
               "iskra_list": id(list), "iskra_watcher": watcher_place(),
               "pool_run_polled": threads.pool().address("pool_run_polled")}
    return jit.load(wrapper_ir(layout()), symbols)


def many_runner():
    """The address of ``i32 run_many(ptr name, ptr kernel, ptr slots, i64 tasks)``.

    It runs several tasks on the pool, without the GIL, for a caller that holds it; 0, or -1 with an
    exception.
    """
    return _wrapper().address("run_many")


def watcher_place():
    """The address of the pointer that is not null while somebody watches."""
    return ctypes.addressof(_watcher)
