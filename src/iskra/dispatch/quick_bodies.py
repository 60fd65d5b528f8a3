"""Bodies that only run kernels: what such a call amounts to, found out by watching it once.

Kernels of products and convolutions are chosen by bodies, from shapes and strides alone. So a call
with other elements runs the same kernels, on the same places of operands, results and temporary
memory: that is what a quick call repeats. Whether a body does nothing else is tried out, with
random floats. Integers say where elements lie, so they are left as they are: bodies that declare
`repeats` choose nothing by them. Kernels check them, and raise flags, which are doubts of a quick
call.
"""

import struct
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from iskra import graph, runtime
from iskra.core.dtypes import of_numpy
from iskra.dispatch.execute import quietly
from iskra.tensor import Tensor, wrap

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))
_SMALL = 1 << 21        # bytes of operands: of larger calls nobody notices what Python costs

_UNLIKE = object()


def watched(op, bound):
    """What a call's body does, as `Table.learn` wants it; None where it does more than that.

    bound: the arguments, tensors of float32 or float64, perhaps beside such of int32 or int64, and
    settings.
    """
    if random_like(bound) is None:
        return None
    first, second = _trial(op, bound), _trial(op, bound)
    if [c[:2] for c in first.calls] != [c[:2] for c in second.calls]:
        return None
    try:
        places = _Places(second, _addresses(first) & _addresses(second))
        steps = [_step(call, places) for call in second.calls]
    except _Unknown:
        return None
    if not places.written.issuperset(range(len(second.found))):
        return None
    if any(a.size >= graph.VAST for a in second.found):
        return None     # may have begun as zeros that no kernel made
    results = [(a.shape, a.dtype, of_numpy(a.dtype)) for a in second.found]
    byte = np.dtype(np.uint8)
    results += [((size,), byte, of_numpy(byte)) for size in places.temporary]
    returned = list(range(len(second.found))) if second.several else None
    return results, returned, steps, places.doubts, places.tables


class _Trial(NamedTuple):
    """A run of a body: its operands, what it gave, and the calls of kernels."""

    operands: list
    found: list
    several: bool
    calls: list


def _trial(op, bound):
    trial = random_like(bound)
    arrays = [_each(_array_of, value) for value in trial]
    with runtime.native.tracing() as calls:
        found = quietly(op.compute, arrays)
    several = found.__class__ is tuple
    operands = [t._array for t in runtime.quick.flattened(trial) if isinstance(t, Tensor)]
    return _Trial(operands, list(found) if several else [found], several, calls)


def _addresses(trial):
    """Where the arrays begin that kernels were given."""
    return {_span(a)[0] for _, _, args in trial.calls for a in args if isinstance(a, np.ndarray)}


def random_like(values):
    """Arguments of the same kinds with random floats in tensors; None where that can't be.

    Integers are copied.
    """
    arrays = [value._array for value in runtime.quick.flattened(values)
              if isinstance(value, Tensor)]
    kinds = {array.dtype for array in arrays}
    if kinds.isdisjoint(_FLOATS) or not kinds.issubset(_FLOATS + _INTEGERS):
        return None
    if sum(array.nbytes for array in arrays) > _SMALL:
        return None
    found = [_each(_like, value) for value in values]
    return None if any(value is _UNLIKE for value in runtime.quick.flattened(found)) else found


def _each(function, value):
    """The function's value for a tensor, those for a list of them; settings stay what they are."""
    if runtime.quick.is_list(value):
        return [_each(function, item) for item in value]
    return function(value) if isinstance(value, Tensor) else value


def _array_of(tensor):
    return tensor._array


def _like(tensor):
    """A tensor for `random_like`, whose elements lie as this one's do; `_UNLIKE` where they lie
    too far apart.
    """
    array = tensor._array
    span = sum((n - 1) * stride for n, stride in zip(array.shape, array.strides)) + array.itemsize
    if not array.size or min(array.strides, default=0) < 0 or span > _SMALL:
        return _UNLIKE
    memory = np.empty(-(-span // array.itemsize), array.dtype)
    other = np.lib.stride_tricks.as_strided(memory, array.shape, array.strides)
    if array.dtype in _INTEGERS:
        other[...] = array
    else:
        memory[...] = np.random.default_rng().random(memory.shape, np.float32)
        memory -= 0.5
    return wrap(other, tensor._dtype)


def agrees(op, table, args, bound, settings=MappingProxyType({})):
    """Whether a quick call gives what the body gives, for random operands.

    With memory full of NaNs: zeros or a copy that NumPy made for the kernels show that way.
    """
    trial = random_like(bound)
    with runtime.quick.spoiling():
        quick = table.call(
            *[trial[n] if isinstance(a, Tensor) or runtime.quick.is_list(a) else a
              for n, a in enumerate(args)], **settings)
    found = quietly(op.compute, [_each(_array_of, value) for value in trial])
    if not isinstance(quick, tuple):
        quick, found = (quick,), (found,)
    return all(isinstance(q, Tensor) and is_like(q._array, f)
               for q, f in zip(quick, found, strict=True))


def is_like(array, other):
    """Whether two arrays are the same to whoever looks, strides of dimensions of size 1 included.
    """
    return array.dtype == other.dtype and array.shape == other.shape and (
        array.strides == other.strides and array.tobytes() == other.tobytes())


class _Unknown(Exception):
    """A call of a kernel that cannot be repeated."""


class _Places:
    """Where addresses lie: in an operand, in a result, in memory that the body asked for; `lasting`
    are those of tables, which belong to the kernels: they were the same in two runs.
    """

    def __init__(self, trial, lasting):
        if not all(a.__class__ is np.ndarray and a.flags.c_contiguous for a in trial.found):
            raise _Unknown
        self.lasting = lasting
        self.operands = list(map(_span, trial.operands))
        self.results = list(map(_span, trial.found))
        self.temporary = []     # sizes of what the body asked for
        self._roots = {}        # its addresses -> numbers
        self.tables = []
        self.written = set()    # results that kernels were given
        self.doubts = []        # of those, and of what the body asked for

    def slot(self, array, tasks):
        """The slot for an argument of a kernel that has so many tasks."""
        if array is None:
            return "constant", 0
        start, _ = _span(array)
        for kind, spans in (("operand", self.operands), ("result", self.results)):
            for number, (low, high) in enumerate(spans):
                if low <= start < high:
                    if kind == "result":
                        self.written.add(number)
                    return kind, number | start - low << 8
        if start in self.lasting:
            self.tables.append(array)
            return "constant", start
        return self._temporary(array, start, tasks)

    def _temporary(self, array, start, tasks):
        # What a kernel finds wrong, a byte for each task.
        flags = array.dtype == np.bool_ and array.shape == (tasks,) and not array.any()
        if not flags and array.dtype.kind != "f":
            raise _Unknown      # not sums, but perhaps places: no memory to be made up
        root = array
        while isinstance(root.base, np.ndarray):
            root = root.base
        low = root.ctypes.data
        if low not in self._roots:
            self._roots[low] = len(self.temporary)
            self.temporary.append(root.nbytes)
        number = len(self.results) + self._roots[low]
        if flags and number not in self.doubts:
            self.doubts.append(number)
        return "result", number | start - low << 8


def _span(array):
    """The first address of an array's memory and the one after its last."""
    return np.lib.array_utils.byte_bounds(array)


def _step(call, places):
    address, kinds, args = call
    slots, tasks = [], args[kinds.index("n")] if "n" in kinds else 0
    for kind, value in zip(kinds, args, strict=True):
        if kind == "a":
            slots.append(places.slot(value, tasks))
        elif kind == "t":
            slots += [("constant", item) for item in value]
        elif kind == "i":
            slots.append(("constant", value))
        elif kind == "f":
            slots.append(("constant", struct.unpack("<q", struct.pack("<d", value))[0]))
        elif kind != "n":
            raise _Unknown
    return address, tasks, slots
