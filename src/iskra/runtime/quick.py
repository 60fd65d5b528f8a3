"""Calls of operators on tensors from machine code: the whole way from Python's arguments to the
tensor that Python gets back, for calls that have been made before.

A `Table` belongs to one operator. Python code works out what a call amounts to (which kernels, on
what, for results of which shapes) and tells the table by `learn`; from then on the table's `call`,
a builtin function, does the same for all arguments of the same dtypes, sizes, strides and settings.
For others it returns None. What a call amounts to follows from these alone, so that nobody can
tell, but by the clock, which way it went.
"""

import ctypes
import functools
import struct
import sys

import numpy as np

from iskra.core.local import active
from iskra.runtime import jit, memory, native
from iskra.runtime.quick_ir import (
    FLOAT,
    INT,
    MOST_ARGUMENTS,
    MOST_RANK,
    MOST_RESULTS,
    PROBES,
    SLOT_KINDS,
    TABLE_SIZE,
    hash_of,
    quick_ir,
)

_MOST_RESETS = 8        # after that many full tables the operator's calls are too varied
_MOST_SLOTS = 96
_SETTINGS = frozenset({type(None), bool, int, float, str})
_word = ctypes.c_uint64


class Table:
    """What is known of the calls of one operator.

    numbers: the positions of arguments that are operands, where a float or int stands for a value
    and not for itself. `full` tells that nothing more will be learnt.
    """

    def __init__(self, numbers):
        self.numbers = numbers
        self.full = False
        self._resets = 0
        self._entries = (_word * TABLE_SIZE)()
        self._kept = []             # entries and what they mention, for good
        mask = sum(1 << n for n in numbers)
        self._descriptor = struct.pack("<QQ", ctypes.addressof(self._entries), mask)
        self.call = native.function_on("quick", _code().address("quick"), self._descriptor)

    def learn(self, args, settings, results, returned, steps):
        """Note what a call with these arguments does.

        args: tensors, numbers and settings; settings: what is given by keyword; results: a (shape, NumPy dtype, dtype) for each array
        that is made; returned: None where the first of them is the answer, else the numbers of
        those in the tuple that is (None: none there); steps: the launches, each ``(kernel's
        address, tasks, slots)``, slots pairs of a kind (of `quick_ir.SLOT_KINDS`) and a value.
        Returns whether the table took it.
        """
        words = self._key(args, settings)
        if words is None or len(results) > MOST_RESULTS or any(
                len(slots) > _MOST_SLOTS for _, _, slots in steps):
            return False
        place = self._place(words)
        if place is None:
            return False
        entry = [hash_of(words), len(words), len(results), len(steps), len(returned or ())]
        entry += words
        for shape, array_dtype, dtype in results:
            entry += id(shape), id(array_dtype), id(dtype)
        entry += [-1 if r is None else r for r in returned or ()]
        for address, tasks, slots in steps:
            entry += address, tasks, len(slots)
            for kind, value in slots:
                entry += SLOT_KINDS[kind], value
        memory = (_word * len(entry))(*[w % 2**64 for w in entry])
        # Settings are known by their addresses, so they have to live on.
        self._kept.append((memory, results, [a for a in args if not hasattr(a, "_array")],
                           settings))
        self._entries[place] = ctypes.addressof(memory)
        return True

    def _place(self, words):
        """Where the entry for a key goes; None where nothing more is learnt."""
        first = hash_of(words) >> 64 - (TABLE_SIZE.bit_length() - 1)
        for place in range(first, first + PROBES + 1):
            if not self._entries[place % TABLE_SIZE]:
                return place % TABLE_SIZE
        self._resets += 1
        if self._resets > _MOST_RESETS:
            self.full = True
            return None
        # Other threads may be carrying out what entries say: they are forgotten, but stay.
        ctypes.memset(self._entries, 0, ctypes.sizeof(self._entries))
        return first

    def _key(self, args, settings):
        """The words that describe the arguments, or None where no entry can be for such."""
        if len(args) + len(settings) > MOST_ARGUMENTS:
            return None
        if not all(map(_is_setting, settings.values())):
            return None
        words = []
        for position, value in enumerate(args):
            array = getattr(value, "_array", None)
            if array.__class__ is np.ndarray:
                if array.ndim > MOST_RANK or not array.flags.aligned:
                    return None
                words += id(array.dtype), array.ndim, *array.shape, *array.strides
            elif position in self.numbers and value is not None:
                if value.__class__ not in (int, float):
                    return None
                words.append(INT if value.__class__ is int else FLOAT)
            elif _is_setting(value):
                words.append(id(value))
            else:
                return None
        words += map(id, settings.values())
        words += map(id, map(sys.intern, settings))
        return [w % 2**64 for w in words]


def _is_setting(value):
    """Whether a value can never change."""
    if value.__class__ is tuple:
        return all(map(_is_setting, value))
    return value.__class__ in _SETTINGS


_classes = []   # the classes of tensors, when they are known, and the list of observers


def prepare(tensor, parameter, saved, observers):
    """Say what tensors are: two classes and one of saved results, with `_array` and `_dtype` at
    the same places; and the list of those who want to see every call: while it has items, no call
    is quick.
    """
    _classes[:] = tensor, parameter, saved, observers


@functools.cache
def available():
    """Whether there can be tables: on a Python and NumPy whose objects lie as expected."""
    if not native.available() or not memory.start() or not _classes:
        return False
    try:
        _layout()
    except NotImplementedError:
        return False
    return True


def _layout():
    """Where the objects keep what the machine code reads and writes, in bytes from their start."""
    tensor, parameter, saved, _ = _classes
    found_at = {
        **native.layout(),
        "ARRAY": _place_of(tensor, "_array"), "DTYPE": _place_of(tensor, "_dtype"),
        "INTERCEPTING": _place_of(type(active), "intercepting"), "FLOAT_VALUE": 16,
        "RANK": 24, "DIMS": 32, "STRIDES": 40, "DESCR": 56, "FLAGS": 64,
    }
    array = np.empty((5, 3, 2), np.float32)[:, 1:]
    known = (
        _read(ctypes.c_int, array, found_at["RANK"]) == 3
        and tuple((_word * 3).from_address(_read(_word, array, found_at["DIMS"]))) == array.shape
        and tuple((_word * 3).from_address(_read(_word, array, found_at["STRIDES"])))
        == array.strides
        and _read(_word, array, found_at["DESCR"]) == id(array.dtype)
        and _read(ctypes.c_int, array, found_at["FLAGS"]) == array.flags.num
        and _read(ctypes.c_double, 0.1, found_at["FLOAT_VALUE"]) == 0.1
        and all(_place_of(c, "_array") == found_at["ARRAY"]
                and _place_of(c, "_dtype") == found_at["DTYPE"] for c in (parameter, saved))
        and id(0) == id(int("0"))
    )
    if not known:
        raise NotImplementedError("this Python or NumPy lays its objects out in an unknown way")
    return found_at


def _place_of(cls, slot):
    """Where instances of a class keep a slot, found by setting it."""
    thing, mark = object.__new__(cls), object()
    setattr(thing, slot, mark)
    for offset in range(object.__basicsize__, cls.__basicsize__, 8):
        if _read(_word, thing, offset) == id(mark):
            return offset
    raise NotImplementedError(f"{cls.__name__}.{slot} lies in an unknown place")


def _read(kind, thing, offset):
    return kind.from_address(id(thing) + offset).value


@functools.cache
def _code():
    tensor, parameter, saved, observers = _classes
    symbols = {
        "iskra_none": id(None), "iskra_zero": id(0), "iskra_ndarray": id(np.ndarray),
        "iskra_tensor": id(tensor), "iskra_parameter": id(parameter), "iskra_saved": id(saved),
        "iskra_float": id(float), "iskra_int": id(int), "iskra_observers": id(observers),
        "iskra_active": id(active), "iskra_watcher": native.watcher_place(),
        "iskra_empty": memory.maker(), "iskra_run_many": native.many_runner(),
    }
    return jit.load(quick_ir(_layout()), symbols)
