"""Reading and writing NumPy arrays at points that several index arrays name, in machine code.

>>> import numpy as np
>>> array, rows, columns = np.arange(6.0).reshape(2, 3), np.array([1, 0]), np.array([-1, 1])
>>> take(array, [rows, columns], 0)
array([5., 1.])
>>> write("add", array, [rows, rows], np.array([10.0, 20.0]), 0), array
(True, array([[20.,  1.,  2.],
       [ 3., 14.,  5.]]))
"""

import math

import numpy as np

from iskra.codegen.ir import Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import copy, flags_for, index_kind, word_of
from iskra.codegen.kernels.sharing import compiled, is_served, my_units, tasks_for
from iskra.codegen.primitives import KINDS
from iskra.runtime.memory import empty

_MOST = 4  # index arrays
_PIECE = 4096  # points of a unit of work


def take(array, indices, dim):
    """Return ``array[..., *indices, ...]`` with the index arrays from dimension `dim` on, or None.

    Indices below 0 count from the end. None where that is not served, or one lies outside.
    """
    words = word_of(array.dtype)
    points = _points(array, indices, dim)
    if words is None or points is None or not is_served(array.size * words[1]):
        return None
    array = np.ascontiguousarray(array)
    made = empty(points.shape, array.dtype)
    if not is_served(made.size * words[1]):
        return None
    inner = points.inner * words[1]
    tasks = tasks_for(points.units, made.size * words[1])
    call = compiled(visit, ("read", words[0], points.kinds, inner == 1), points.signature)
    return made if _run(call, points, array, made, inner, tasks) else None


def write(how, target, indices, values, dim):
    """Write `values` to ``target[..., *indices, ...]``, and return whether that is done.

    how: "set" or "add", one value after the other. target: contiguous, and nobody else's: anything
    may stand there if an index lies outside; values: contiguous, of the shape that `take` gives.
    """
    words = word_of(target.dtype) if how == "set" else (KINDS.get(target.dtype.name), 1)
    points = _points(target, indices, dim)
    if words is None or words[0] is None or points is None or target.dtype != values.dtype:
        return False
    if words[0] in ("f16", "bf16", "i1") or not target.dtype.isnative:
        return False
    if values.shape != points.shape or not (
            values.flags.c_contiguous and target.flags.c_contiguous):
        return False
    if not is_served(values.size * words[1]) or not is_served(target.size * words[1]):
        return False
    inner = points.inner * words[1]
    call = compiled(visit, (how, words[0], points.kinds, inner == 1), points.signature)
    return _run(call, points, target, values, inner, 1)


class _Points:
    """Index arrays as a kernel takes them: two axes, along which each has strides."""

    def __init__(self, array, indices, dim):
        shape = np.broadcast_shapes(*[i.shape for i in indices])
        views = [np.broadcast_to(i, shape) for i in indices]
        axes = _merged(views, shape)
        if len(axes) > 2:
            indices = views = [np.ascontiguousarray(v) for v in views]
            axes = _merged(views, shape)
        (self.rows, self.row_steps), (self.columns, self.steps) = (
            [(1, (0,) * len(views))] * (2 - len(axes)) + axes)
        self.indices = indices
        self.kinds = tuple([index_kind(v) for v in views])
        after = array.shape[dim + len(views):]
        self.sizes = array.shape[dim:dim + len(views)]
        self.inner = math.prod(after)
        self.shape = (*array.shape[:dim], *shape, *after)
        self.pieces = -(-self.columns // _PIECE)
        self.units = math.prod(array.shape[:dim]) * self.rows * self.pieces
        self.signature = "aaa" + "a" * len(views) + "tn"


def _points(array, indices, dim):
    """The `_Points`, or None for what is not served."""
    if len(indices) > _MOST or any(
            index_kind(i) is None or not i.size or min(i.strides, default=0) < 0
            or any(s % i.itemsize for s in i.strides) for i in indices):
        return None
    try:
        return _Points(array, indices, dim)
    except ValueError:  # they do not broadcast
        return None


def _merged(views, shape):
    """The axes as ``(size, each array's step)``, those that all see as one joined."""
    found = []
    for axis, n in enumerate(shape):
        if n == 1:
            continue
        steps = tuple([v.strides[axis] // v.itemsize for v in views])
        if found and found[-1][1] == tuple([n * s for s in steps]):
            found[-1] = (found[-1][0] * n, steps)
        else:
            found.append((n, steps))
    return found


def _run(call, points, array, values, inner, tasks):
    flags = flags_for(tasks)
    numbers = (inner, points.rows, points.columns, points.pieces, points.units, tasks,
               *points.sizes, *points.row_steps, *points.steps)
    call(array, values, flags, *points.indices, numbers, tasks)
    return not flags.any()


def visit(how, kind, kinds, single):
    """Goes through the points; at each `inner` words (if `single`, one) are read or written.

    Points outside are left out, and the task's flag is set in the end.
    """
    f = Function(f"points_{how}_{kind}_{'_'.join(kinds)}{'_single' if single else ''}")
    numbered = range(len(kinds))
    arg = Arguments(
        f, ("array", "values", "flags", *[f"index{n}" for n in numbered]),
        ("inner", "rows", "columns", "pieces", "units", "tasks",
         *[f"{name}{n}" for name in ("size", "row_step", "step") for n in numbered]))
    wrong = f.variable(False, Type("i1"))
    extent = f.coerce(1)
    for n in numbered:
        extent = extent * getattr(arg, f"size{n}")
    with my_units(f, arg.units, arg.tasks) as unit:
        low = unit % arg.pieces * _PIECE
        row = unit // arg.pieces % arg.rows
        outer = unit // (arg.pieces * arg.rows)
        with f.loop(low, smaller(low + _PIECE, arg.columns)) as column:
            place, outside = outer * extent, False
            local = f.coerce(0)
            for n in numbered:
                size = getattr(arg, f"size{n}")
                at = row * getattr(arg, f"row_step{n}") + column * getattr(arg, f"step{n}")
                found = f.load(getattr(arg, f"index{n}"), at, Type(kinds[n])).to("i64")
                found = select(found < 0, found + size, found)
                beyond = (found < 0) | (found >= size)
                outside = beyond if n == 0 else outside | beyond
                local = local * size + found
            wrong.set(wrong.get() | outside)
            value = ((outer * arg.rows + row) * arg.columns + column) * arg.inner
            with f.when(~outside):
                _move(f, how, kind, arg, (place + local) * arg.inner, value, single)
    f.store(wrong.get(), arg.flags, f.task)
    return f


def _move(f, how, kind, arg, place, value, single):
    """Move the words at `place` of the array from or to those at `value` of the values."""
    if how == "read" and not single:
        copy(f, arg.array, place, arg.values, value, arg.inner, kind)
    elif how == "read":
        f.store(f.load(arg.array, place, Type(kind)), arg.values, value)
    elif how == "set" and not single:
        copy(f, arg.values, value, arg.array, place, arg.inner, kind)
    elif single:
        _combine(f, how, kind, arg, place, value)
    else:
        with f.loop(0, arg.inner) as n:
            _combine(f, how, kind, arg, place + n, value + n)


def _combine(f, how, kind, arg, place, value):
    found = f.load(arg.values, value, Type(kind))
    if how == "add":
        found = f.load(arg.array, place, Type(kind)) + found
    f.store(found, arg.array, place)
