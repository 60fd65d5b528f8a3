"""Bodies that only rearrange, or show memory in another way.

Operators declare that they `rearrange`: each element of the result is one of the operands' or zero,
as shapes, strides and settings have it. So a body that is run on the places of elements, instead of
their values, says what all calls with such operands amount to.
"""

import numpy as np

from iskra import runtime
from iskra.core.dtypes import FLOATING, of_numpy
from iskra.dispatch.operator import bind
from iskra.dispatch.quick_bodies import is_like
from iskra.tensor import Tensor
from iskra.tensor.storage import address

_MOST_MOVED = 4096      # elements; larger results have kernels of their own
_MOST_RUNS = 512
_ELSEWHERE = 1 << 40


def rearranged(op, args, settings):
    """What a call amounts to, as `Table.learn` wants it; None where that cannot be told."""
    tensors = [a for a in runtime.quick.flattened(args) if isinstance(a, Tensor)]
    dtype = tensors[0]._array.dtype
    mover = runtime.quick.mover(dtype.itemsize)
    if mover is None or any(t._array.dtype != dtype for t in tensors):
        return None
    bound = bind(op, args, settings)
    found, runs = _traced(op, bound, _Places(dtype.itemsize, 1))
    # Numbers that are no places, but look so, look otherwise from another start.
    if runs is None or len(runs) > _MOST_RUNS or (
            runs != _traced(op, bound, _Places(dtype.itemsize, _ELSEWHERE))[1]):
        return None
    listing = np.array(runs, np.int64).reshape(-1, 5)
    whole = listing[:, 4].sum() == found.size
    slots = [("result", 0), ("constant", listing.ctypes.data), ("constant", len(runs)),
             ("constant", 0 if whole else found.size * dtype.itemsize)]
    slots += [("operand", number) for number in range(len(tensors))]
    return [(found.shape, dtype, of_numpy(dtype))], None, [(mover, 1, slots)], (), (listing,)


def _traced(op, bound, places):
    """The result of the body on places, and its runs; None for what is no such result."""
    found = op.compute([places.of(value) for value in bound])
    if found.__class__ is not np.ndarray or found.dtype != np.int64 or not (
            found.flags.c_contiguous and 0 < found.size <= _MOST_MOVED):
        return found, None
    return found, places.runs(found.reshape(-1))


def seen(op, args):
    """What a call of a view operator amounts to, as `Table.learn` wants it; None for odd results.

    Its steps are described in `runtime.quick_views_ir`.
    """
    bound = bind(op, args, {})
    source = bound[op.operands[0]]
    array = source._array
    found = op.compute([array, *bound[1:]])
    several = op.outputs != 1
    views = list(found) if several else [found]
    results, steps = [], []
    for view in views:
        if view.__class__ is not np.ndarray or not view.size:
            return None
        if not np.may_share_memory(view, array):
            return None
        dtype = source._dtype if view.dtype is array.dtype else of_numpy(view.dtype)
        words = [address(view) - address(array), dtype.category >= FLOATING]
        words += [*view.shape, *view.strides]
        results.append((view.shape, view.dtype, dtype))
        steps.append((0, 0, [("constant", word) for word in words]))
    return results, list(range(len(views))) if several else None, steps


def moves_alike(op, table, args, settings):
    """Whether a quick call gives what the body gives."""
    quick = table.call(*args, **settings)
    quick = quick[0] if quick.__class__ is list else quick
    found = op.compute([_arrays(value) for value in bind(op, args, settings)])
    return quick.__class__ is Tensor and is_like(quick._array, found)


def _arrays(value):
    if isinstance(value, Tensor):
        return value._array
    return [tensor._array for tensor in value] if runtime.quick.is_list(value) else value


class _Places:
    """Arrays of places: all elements of the operands, as they lie in memory, counted from `start`.
    """

    def __init__(self, itemsize, start):
        self.itemsize = itemsize
        self.bounds = [start]   # the first place of each operand, and the one after all
        self.firsts = []        # the place of each one's first element

    def of(self, value):
        """A bound argument with places for tensors."""
        if isinstance(value, Tensor):
            return self._array(value._array)
        if runtime.quick.is_list(value):
            return [self._array(tensor._array) for tensor in value]
        return value

    def _array(self, array):
        steps = [s // self.itemsize for s in array.strides]
        ways = [max(n - 1, 0) * s for n, s in zip(array.shape, steps, strict=True)]
        first = -sum(way for way in ways if way < 0)
        span = first + sum(way for way in ways if way > 0) + 1
        start = self.bounds[-1]
        memory = np.arange(start, start + span)
        self.firsts.append(start + first)
        self.bounds.append(start + span)
        strides = [8 * step for step in steps] if array.size else None
        return np.ndarray(array.shape, memory.dtype, memory, first * 8, strides)

    def runs(self, found):
        """What `runtime.quick_moves_ir` calls runs; places of 0 are in none."""
        owners = np.searchsorted(self.bounds, found, "right") - 1
        runs = []
        begin = 0
        while begin < found.size:
            owner = owners[begin]
            end = begin + 1
            if end < found.size and owners[end] == owner:
                step = found[end] - found[begin]
                while end < found.size and owners[end] == owner and (
                        found[end] - found[end - 1] == step):
                    end += 1
            else:
                step = 1
            if owner >= 0:
                start = found[begin] - self.firsts[owner]
                runs.append((int(owner), int(start), int(step), begin, end - begin))
            begin = end
        return runs
