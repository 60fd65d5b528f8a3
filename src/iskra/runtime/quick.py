"""Calls of operators on tensors from machine code: the whole way from Python's arguments to the
tensor that Python gets back, for calls that have been made before.

A `Table` belongs to one operator. Python code works out what a call amounts to (which kernels, on
what, for results of which shapes) and tells the table by `learn`; from then on the table's `call`,
a builtin function, does the same for all arguments of the same dtypes, sizes, strides and settings.
For others it returns None. What a call amounts to follows from these alone, so that nobody can
tell, but by the clock, which way it went. `write` and `write_apart` put the result into a tensor.
"""

import contextlib
import ctypes
import functools
import math
import struct
import sys
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from iskra.core import Size, dtypes, memory_format
from iskra.core.local import active, local
from iskra.runtime import jit, memory, native
from iskra.runtime.quick_ir import (
    FLOAT,
    FLOAT_SETTING,
    HEADER,
    INT,
    INT_SETTING,
    LIST,
    MOST_ARGUMENTS,
    MOST_ITEMS,
    MOST_RANK,
    MOST_RESULTS,
    OBJECT_SETTING,
    PROBES,
    ROOM,
    SLICE,
    SLOT_KINDS,
    TABLE_SIZE,
    TUPLE_SETTING,
    hash_of,
    quick_ir,
)
from iskra.runtime.quick_moves_ir import SIZES
from iskra.runtime.quick_tape_ir import MOST_RECORDED, SAVED_KINDS, WRITTEN

__all__ = ["MOST_RECORDED", "Table", "flattened", "is_list", "mover", "prepare", "spoiling"]

_MOST_RESETS = 8        # after that many full tables the operator's calls are too varied
_MOST_SLOTS = 96
_SETTINGS = frozenset({type(None), bool, int, float, str, dtypes.dtype, memory_format,
                       slice, type(...)})
_RECORDINGS = 5         # the word of an entry that holds the first recording
_word = ctypes.c_uint64
_spoiling = ctypes.c_int64()


_tables = []    # all there ever were: machine code and nodes know where they lie


class Table:
    """What is known of the calls of one operator.

    numbers: the positions of arguments that are operands, where a float or int stands for a value
    and not for itself; targets: the positions of those whose gradient may be asked for, all below
    `MOST_RECORDED`; aliases: whether the target of `write_apart` may be an argument too; answers:
    the class of tuples that are returned; mode: what `view` makes (see `quick_views_ir`). `full`
    tells that nothing more will be learnt.
    """

    def __init__(self, numbers, targets, aliases=False, answers=tuple, mode=0):
        _tables.append(self)
        self._answers = answers
        self.numbers = numbers
        self.full = False
        self._resets = 0
        self._entries = (_word * TABLE_SIZE)()
        self._known = {}            # keys -> entries
        self._recorded = set()      # (entry, mask) of which there is a recording
        self._kept = []             # entries and what they mention, for good
        masks = (sum(1 << n for n in positions) for positions in (numbers, targets))
        self._descriptor = struct.pack("<QQQ", ctypes.addressof(self._entries), *masks)
        self.call = native.function_on("quick", _code().address("quick"), self._descriptor)
        self.view = native.function_on(
            "view", _code().address("view"), self._descriptor + struct.pack("<Q", mode))
        self.write = self._writer(0, 1)
        self.write_apart = self._writer(1, aliases)

    def learn(self, args, settings, results, returned, steps, doubts=(), tables=(), over=False):
        """Note what a call with these arguments does.

        args: tensors, numbers and settings; settings: what is given by keyword; results: a
        (shape, NumPy dtype, dtype) for each array that is made; returned: None where the first of
        them is the answer, else the numbers of those in the tuple that is (None: none there);
        steps: the launches, each ``(kernel's address, tasks, slots)``, slots pairs of a kind (of
        `quick_ir.SLOT_KINDS`) and a value; doubts: the numbers of results that say whether the
        call has to raise; tables: what has to live on; over: whether the one result may be written
        over an argument of its shape and dtype. Returns whether the table took it.
        """
        words = self._key(args, settings)
        if words is None or len(results) > MOST_RESULTS or any(
                len(slots) > _MOST_SLOTS for _, _, slots in steps):
            return False
        place = self._place(words)
        if place is None:
            return False
        entry = [hash_of(words), len(words), len(results), len(steps), len(returned or ()), 0,
                 len(doubts), 0 if self._answers is tuple else id(self._answers), over]
        entry += words
        for shape, array_dtype, dtype in results:
            entry += id(shape), id(array_dtype), id(dtype)
        entry += [-1 if r is None else r for r in returned or ()]
        for number in doubts:
            shape, array_dtype, _ = results[number]
            entry += number, math.prod(shape) * array_dtype.itemsize
        for address, tasks, slots in steps:
            entry += address, tasks, len(slots)
            for kind, value in slots:
                entry += SLOT_KINDS[kind], value
        # Settings, their names and NumPy's dtypes are known by their addresses: they must live on.
        fixed = [a._array.dtype if hasattr(a, "_array") else a for a in flattened(args)]
        names = [sys.intern(name) for name in settings]
        self._known[words] = self._keep(entry, results, fixed, settings, names, tables)
        self._entries[place] = ctypes.addressof(self._known[words])
        return True

    def forget(self, args, settings=MappingProxyType({})):
        """Leave a call that was learnt to Python again."""
        entry = self._known.pop(self._key(args, settings))
        for place, address in enumerate(self._entries):
            if address == ctypes.addressof(entry):
                # No key is like this; at a place without an entry searches would end.
                self._entries[place] = ctypes.addressof(self._keep([1] + [0] * (HEADER - 1)))

    def knows(self, args, settings):
        """Whether a call with these arguments has been learnt."""
        return self._key(args, settings) in self._known

    def learn_recording(self, args, settings, node, edges, saved, hung, written=False):
        """Note how a known call is recorded if the same arguments want a gradient.

        node: one that was made for it; edges: the positions of the arguments to which its edges
        lead, -1 for none; saved: pairs of a kind (of `quick_tape_ir.SAVED_KINDS`) and a value;
        hung: the numbers of the results that the node is the history of; written: whether the
        first argument was overwritten with the result.
        """
        entry = self._known.get(self._key(args, settings))
        mask = sum(1 << position for position in edges if position >= 0) + written * WRITTEN
        if entry is None or (id(entry), mask) in self._recorded:
            return
        self._recorded.add((id(entry), mask))
        checked = sum(kind in ("tensor", "result", "original", "item") for kind, _ in saved)
        recording = [entry[_RECORDINGS], mask, id(type(node)), id(node.plan), len(edges),
                     len(saved), checked, id(node.output_shape), id(node.output_dtype),
                     sum(1 << number for number in hung), *edges]
        for kind, value in saved:
            recording += SAVED_KINDS[kind], id(value) if kind == "constant" else value
        kept = self._keep(
            recording, type(node), node.plan, saved, node.output_shape, node.output_dtype)
        entry[_RECORDINGS] = ctypes.addressof(kept)

    def applier(self, edges, picks, places):
        """A function ``apply(node, g)`` for nodes whose gradients are a call of the operator.

        It gives a list with a gradient or None for each edge, or None. edges: how many there are;
        picks: what the arguments are, 0 for `g`, else one more than the place of a saved value;
        places: to which edges the results belong.
        """
        words = edges, len(picks), len(places), *picks, *places
        descriptor = self._descriptor + struct.pack(f"<{len(words)}Q", *words)
        return native.function_on("apply", _code().address("apply"), descriptor)

    def _writer(self, before, aliases):
        """The function `write` of `quick_write_ir`; before: whether the target is given apart."""
        descriptor = self._descriptor + struct.pack("<QQ", before, aliases)
        return native.function_on("write", _code().address("write"), descriptor)

    def _keep(self, words, *mentioned):
        """The words in memory that stays where it is, as does what they mention."""
        memory = (_word * len(words))(*[w % 2**64 for w in words])
        self._kept.append((memory, mentioned))
        return memory

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
        self._known.clear()
        return first

    def _key(self, args, settings):
        """The words that describe the arguments, or None where no entry can be for such."""
        if len(args) + len(settings) > MOST_ARGUMENTS:
            return None
        words = []
        for position, value in enumerate(args):
            if hasattr(value, "_array"):
                if not _describe(value, words):
                    return None
            elif is_list(value):
                words += LIST, len(value)
                if not all(_describe(item, words) for item in value):
                    return None
            elif position in self.numbers and value is not None:
                if value.__class__ not in (int, float):
                    return None
                words.append(INT if value.__class__ is int else FLOAT)
            elif not _tell(value, words):
                return None
        if not all(_tell(value, words) for value in settings.values()) or len(words) > ROOM:
            return None
        words += map(id, map(sys.intern, settings))
        return tuple([w % 2**64 for w in words])


def mover(itemsize):
    """The address of the kernel of `quick_moves_ir` for such elements; None where there is none."""
    return _code().address(f"move_{itemsize}") if itemsize in SIZES else None


def flattened(args):
    """The arguments, with the items of lists of tensors in the lists' places."""
    found = []
    for value in args:
        found += value if is_list(value) else [value]
    return found


def is_list(value):
    """Whether an argument is a list or tuple that begins with a tensor."""
    return value.__class__ in (list, tuple) and value and hasattr(value[0], "_array")


def _describe(tensor, words):
    """Append a tensor's part of the key; False where there is none."""
    array = getattr(tensor, "_array", None)
    if array.__class__ is not np.ndarray or array.ndim > MOST_RANK or not array.flags.aligned:
        return False
    words += id(array.dtype), array.ndim, *array.shape, *array.strides
    return True


def _tell(value, words):
    """Append a setting's part of the key; False where there is none, for it may change."""
    if value.__class__ in (tuple, Size):
        if len(value) > MOST_ITEMS or any(v.__class__ not in _SETTINGS for v in value):
            return False
        words += TUPLE_SETTING, len(value)
        return all(_tell(item, words) for item in value)
    if value.__class__ is slice:
        word = _slice_word(value)
        words += SLICE, word or 0
        return word is not None
    if value.__class__ is int:
        words += INT_SETTING, value
        return -2**63 <= value < 2**63
    if value.__class__ is float:
        words += FLOAT_SETTING, struct.unpack("<Q", struct.pack("<d", value))[0]
    else:
        words += OBJECT_SETTING, id(value)
    return value.__class__ in _SETTINGS


def _slice_word(value):
    """The word for a slice; None where there is none."""
    word = 0
    for bound in (value.start, value.stop, value.step):
        if bound is not None and not (bound.__class__ is int and -2**20 < bound < 2**20):
            return None
        word = word << 21 | (0 if bound is None else bound + 2**20)
    return word


@contextlib.contextmanager
def spoiling():
    """A context in which the memory that quick calls make holds NaNs before kernels run.

    So that a kernel shows which reads what nobody has written.
    """
    _spoiling.value += 1
    try:
        yield
    finally:
        _spoiling.value -= 1


class World(NamedTuple):
    """What the machine code has to know of tensors and of the tape."""

    tensor: type            # these have `_array` and `_dtype` at the same places,
    parameter: type
    saved: type             # and so have results as they are saved, beside `_storage` and `number`
    storage: type
    node: type
    accumulate: type        # the class of leaves' nodes
    gradient_edge: object   # a function of a tensor
    sequence: object        # the iterator of nodes' numbers
    storage_of: object      # a function of a tensor
    perhaps: object         # what a view's `_requires_grad` is at first
    observers: list         # while it has items, no call is quick


_world = []


def prepare(*world):
    """Say what tensors are (the fields of `World`); return whether there can be tables.

    There can on a Python and NumPy whose objects lie in memory as expected.
    """
    if not _world:
        _world.append(World(*world))
    return _available()


@functools.cache
def _available():
    if not native.available() or not memory.start():
        return False
    try:
        _layout()
    except NotImplementedError:
        return False
    return True


def _layout():
    """Where the objects keep what the machine code reads and writes, in bytes from their start."""
    (world,) = _world
    found_at = {
        **native.layout(), "FLOAT_VALUE": 16, "SLICE_START": 16, "LIST_ITEMS": 24,
        "ITEM_SIZE": 40, "RANK": 24, "DIMS": 32, "STRIDES": 40, "DESCR": 56, "FLAGS": 64,
    }
    places = {
        world.tensor: {"ARRAY": "_array", "DTYPE": "_dtype"},
        world.saved: {"SAVED_STORAGE": "_storage", "SAVED_NUMBER": "number"},
        world.storage: {"VERSION": "version", "SOURCE": "_source", "FLAT": "_array"},
        type(active): {"INTERCEPTING": "intercepting", "WITHOUT_GRAD": "without_grad",
                       "WATCHING": "watching"},
        world.node: {"INPUT_EDGES": "input_edges", "SEQUENCE": "sequence_nr", "PLAN": "plan",
                     "OUTPUT_SHAPE": "output_shape", "OUTPUT_DTYPE": "output_dtype",
                     "EXTRAS": "_extras", "SAVED": "saved", "CHECKS": "checks"},
    }
    for cls, slots in places.items():
        for name, slot in slots.items():
            found_at[name] = _place_of(cls, slot)
    array, items = np.empty((5, 3, 2), np.float32)[:, 1:], [object()]
    bounds = slice(2, None, 3)
    known = (
        _read(ctypes.c_int, array, found_at["RANK"]) == 3
        and tuple((_word * 3).from_address(_read(_word, array, found_at["DIMS"]))) == array.shape
        and tuple((_word * 3).from_address(_read(_word, array, found_at["STRIDES"])))
        == array.strides
        and _read(_word, array, found_at["DESCR"]) == id(array.dtype)
        and _read(_word, array.dtype, found_at["ITEM_SIZE"]) == array.itemsize
        and _read(ctypes.c_int, array, found_at["FLAGS"]) == array.flags.num
        and _read(ctypes.c_double, 0.1, found_at["FLOAT_VALUE"]) == 0.1
        and all(_place_of(c, "_array") == found_at["ARRAY"]
                and _place_of(c, "_dtype") == found_at["DTYPE"]
                for c in (world.parameter, world.saved))
        and _word.from_address(_read(_word, items, found_at["LIST_ITEMS"])).value == id(items[0])
        and id(0) == id(int("0"))
        and tuple((_word * 3).from_address(id(bounds) + 16)) == tuple(map(id, (2, None, 3)))
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
    (world,) = _world
    objects = {
        "none": None, "zero": 0, "true": True, "false": False, "empty_tuple": (),
        "ndarray": np.ndarray, "float": float, "int": int, "tuple": tuple, "list": list,
        "size": Size,
        "active": active, "local": local, **world._asdict(),
        "joins_graph": sys.intern("requires_grad"), "is_inference": sys.intern("_is_inference"),
        "requires_grad": sys.intern("_requires_grad"), "edge": sys.intern("_edge"),
        "storage_name": sys.intern("_storage"), "grad_enabled": sys.intern("grad_enabled"),
        "base": sys.intern("_base"), "view_edge": sys.intern("_view_edge"),
        "view_kind": sys.intern("_view_kind"), "view_version": sys.intern("_view_version"),
        "no_grad": sys.intern("no_grad"), "multiple": sys.intern("multiple"), "slice": slice,
    }
    symbols = {f"iskra_{name}": id(thing) for name, thing in objects.items()}
    new_array, set_base = memory.array_functions()
    symbols |= {
        "iskra_new_array": new_array, "iskra_set_base": set_base,
        "iskra_watcher": native.watcher_place(), "iskra_empty": memory.maker(),
        "iskra_run_many": native.many_runner(), "iskra_spoiling": ctypes.addressof(_spoiling),
    }
    return jit.load(quick_ir(_layout()), symbols)
