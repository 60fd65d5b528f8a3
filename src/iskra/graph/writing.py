"""Kernels that write into their first operand: the short way of the calls most frequent in place.

What such a call amounts to is remembered per operator beside what `run_plain` remembers.
"""

import numpy as np

from iskra.graph import UNSERVED, observers
from iskra.graph.tier import _MOST_LAUNCHES, _clash, _entry, run

ndarray = np.ndarray


def write_plain(op, array, *other):
    """Whether a kernel has written an operator's result into its first operand, an array.

    other: nothing, an array of the same dtype, or a float or int to compute with in that dtype.
    Settings have their defaults.
    """
    key = "into", array.dtype, array.shape, array.strides
    if other:
        (second,) = other
        key += (second.shape, second.strides) if second.__class__ is ndarray else (float,)
    write = op.direct.get(key)
    if write is None or observers:
        return _write_first(op, key, array, *other)
    return write(array, *other)


def _write_first(op, key, array, *other):
    """The same by the whole way; notes the short one."""
    other = [o if o.__class__ is ndarray else array.dtype.type(o) for o in other]
    arguments = array, *other, *op.signature.defaults[1 + len(other):]
    written = run(op, arguments, into=array) is not UNSERVED
    if len(op.direct) > _MOST_LAUNCHES:
        op.direct.clear()
    program, launch, _ = _entry(op, arguments, into=array)[0]
    if op.fixes_numbers and other and other[0].__class__ is not ndarray:
        op.direct[key] = lambda *operands: _write_first(op, key, *operands)
    else:
        op.direct[key] = _refuse if program is None else _writer(launch[0][0])
    return written


def _refuse(*operands):
    """What does not write where kernels do not serve."""
    return False


def _writer(step):
    """A function of the operands that runs a launch's one kernel, if memory allows."""
    call, integers, tasks = step.call, step.integers, step.tasks

    def write_alone(array):
        call(array, array, integers, tasks)
        return True

    def write_by_number(array, number):
        call(array, array, number, integers, tasks)
        return True

    def write(array, other):
        # Two arrays that own their memory do not share it.
        if not (array.base is None is other.base) and _clash(other, array):
            return False
        call(array, other, array, integers, tasks)
        return True

    def write_some(*operands):
        if any(o.__class__ is ndarray and _clash(o, operands[0]) for o in operands[1:]):
            return False
        numbers = [o for o in operands if o.__class__ is not ndarray]
        call(*[operands[r] for r in step.reads], operands[0],
             *[numbers[s] for s in step.scalars], integers, tasks)
        return True

    known = {((0,), ()): write_alone, ((0,), (0,)): write_by_number, ((0, 1), ()): write}
    return known.get((tuple(step.reads), tuple(step.scalars)), write_some)
