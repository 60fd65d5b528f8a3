"""Copying NumPy arrays into others, of whatever strides, in machine code.

>>> import numpy as np
>>> target, source = np.zeros((2, 3)), np.arange(6.0).reshape(3, 2)
>>> put(target, source.T[:, ::-1])
True
>>> target
array([[4., 2., 0.],
       [5., 3., 1.]])
"""

import functools
import math

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Type
from iskra.codegen.kernels import copy_kernel
from iskra.codegen.kernels.moving import lanes_of, word_of
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.runtime.memory import empty

PIECE = 1 << 14  # words of a unit of work
_FEW = 4  # words of a row that is shorter than it takes to begin one
_SQUARE = LANES // 2  # so many rows and columns are worth being turned as squares


def put(target, source):
    """Write the elements of `source` to `target`, and return whether kernels have done so.

    Both have one shape and dtype, and any strides; a place of the source may be seen several times
    (`numpy.broadcast_to`), one of the target may not. They share no element.
    """
    word = word_of(source.dtype)
    if word is None or not is_served(source.size) or source.size * word[1] >= 2**31:
        return False
    found = _plan(source.shape, source.strides, target.strides, word)
    if found is None:
        return False
    build, variant, numbers, tasks, turned, target_turned = found
    call = compiled(build, variant, "aatn")
    if turned is not None:
        source = source[turned]
    if target_turned is not None:
        target = target[target_turned]
    call(source, target, numbers, tasks)
    return True


def triangle(array, start, upper):
    """Return the matrices in the last two dimensions with a part of each row zero, or None.

    In row r that are the columns below ``start + r``, or the others if not `upper`.

    >>> triangle(np.ones((2, 3)), 1, False)
    array([[1., 0., 0.],
           [1., 1., 0.]])
    """
    word = word_of(array.dtype)
    if word is None or not is_served(array.size) or array.size * word[1] >= 2**31:
        return None
    kind, words = word
    array = np.ascontiguousarray(array)
    made = empty(array.shape, array.dtype)
    rows, columns = array.shape[-2:]
    start = max(-rows, min(start, columns))
    units = array.size // columns
    tasks = tasks_for(units, array.size * words)
    call = compiled(copy_kernel.triangles, (kind, upper), "aatn")
    call(array, made, (start * words, words, rows, columns * words, units, tasks), tasks)
    return made


@functools.lru_cache(4096)
def _plan(shape, strides, target_strides, word):
    """``(kernel, its variant, numbers, tasks, how to turn source and target round)``, or None.

    Arrays are given to the kernel as views that begin at their lowest address.
    """
    kind, count = word
    size = Type(kind).size
    if any(s % size for s in strides + target_strides):
        return None
    axes = [(n, s // size, t // size) for n, s, t in zip(shape, strides, target_strides) if n > 1]
    start = sum((1 - n) * s for n, s, _ in axes if s < 0)
    place = sum((1 - n) * t for n, _, t in axes if t < 0)
    if count > 1:
        axes.append((count, 1, 1))
    axes.sort(key=lambda axis: -abs(axis[2]))
    axes = _merged(axes)
    turned, target_turned = _turned(shape, strides), _turned(shape, target_strides)
    return (*_kernel(axes, kind, start, place), turned, target_turned)


def _turned(shape, strides):
    """The index that turns axes of negative strides round, or None."""
    if all(s >= 0 or n < 2 for n, s in zip(shape, strides)):
        return None
    return tuple([slice(None, None, -1 if s < 0 and n > 1 else None)
                  for n, s in zip(shape, strides)])


def _merged(axes):
    """Neighbours that both arrays see as one axis, as one."""
    found = []
    for n, s, t in axes:
        if found and found[-1][1:] == (n * s, n * t):
            found[-1] = (found[-1][0] * n, s, t)
        else:
            found.append((n, s, t))
    return found or [(1, 1, 1)]


def _kernel(axes, kind, start, place):
    *outer, (count, step, target_step) = axes
    elements = math.prod(n for n, _, _ in axes)
    if target_step == 1 and step not in (-1, 0, 1) and count >= _SQUARE:
        for number, (n, s, _) in enumerate(outer):
            if abs(s) == 1 and n >= _SQUARE:
                return _squares(axes, number, kind, start, place, elements)
    if count <= _FEW and outer and outer[-1][0] > _SQUARE:  # the longer axis, word by word
        outer[-1], (count, step, target_step) = axes[-1], outer[-1]
    how = "apart"
    if target_step == 1:
        how = {1: "along", -1: "against", 0: "spread"}.get(step, "apart")
    if how == "along" and count <= lanes_of(kind):
        how = "short"
    rows, row, target_row = outer.pop() if outer else (1, 0, 0)
    pieces = -(-count // PIECE) if count >= 2 * PIECE else 1
    together = min(rows, max(1, PIECE // count)) if pieces == 1 else 1
    parts = -(-rows // together)
    units = math.prod(n for n, _, _ in outer) * parts * pieces
    tasks = tasks_for(units, elements)
    numbers = (start, place, count, step, target_step, rows, row, target_row, together, parts,
               -(-count // pieces), pieces, units, tasks, *_flat(outer))
    return copy_kernel.rows, (kind, len(outer), how), numbers, tasks


def _squares(axes, number, kind, start, place, elements):
    """A plan for planes of the last axis and of that of this number."""
    count, row, _ = axes[-1]
    rows, s, target_row = axes[number]
    if s < 0:  # from its other end on
        start, place = start + (rows - 1) * s, place + (rows - 1) * target_row
        target_row = -target_row
    outer = axes[:number] + axes[number + 1:-1]
    parts = -(-rows // LANES)
    units = math.prod(n for n, _, _ in outer) * parts
    tasks = tasks_for(units, elements)
    numbers = (start, place, count, row, rows, target_row, parts, units, tasks, *_flat(outer))
    return copy_kernel.squares, (kind, len(outer)), numbers, tasks


def _flat(outer):
    return [number for axis in outer for number in axis]
