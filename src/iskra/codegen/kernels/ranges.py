"""Evenly spaced values, and the places of triangles, in machine code.

>>> import numpy as np
>>> evenly_spaced(2.0, 0.5, 3, np.dtype("f4"))
array([2. , 2.5, 3. ], dtype=float32)
>>> triangle_places(2, 3, 1, False, np.dtype("i8"))
array([[0, 1, 1],
       [0, 0, 1]])
"""

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import compiled, is_served, my_units, tasks_for
from iskra.runtime.memory import empty

_KINDS = {"float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64"}
_SEGMENT = 4096  # values of a unit of work


def evenly_spaced(start, step, count, dtype, end=None):
    """Return ``start + i * step`` for i below `count`, or None where that is not served.

    Whole numbers for integers; of floats each is computed in double precision. With `end` the
    second half is counted from there: ``end - (count - 1 - i) * step``.
    """
    kind = _KINDS.get(dtype.name)
    if kind is None or not is_served(count):
        return None
    made = empty((count,), dtype)
    tasks = tasks_for(-(-count // _SEGMENT), count)
    if kind[0] == "i":
        if not all(-2**63 <= number < 2**63 for number in (start, step)):
            return None
        call = compiled(spaced, (kind, False), "atn")
        call(made, (start, step, count, tasks), tasks)
        return made
    both = end is not None
    call = compiled(spaced, (kind, both), "afffitn")
    call(made, start, step, end if both else start, count // 2, (count, tasks), tasks)
    return made


def spaced(kind, both):
    """Writes values in segments; those of floats with `half` of them counted from each end."""
    f = Function(f"spaced_{kind}{'_from_both_ends' if both else ''}")
    whole = kind[0] == "i"
    if whole:
        arg = Arguments(f, ("result",), ("start", "step", "count", "tasks"))
    else:
        arg = Arguments(f, ("result",), ("half", "count", "tasks"), ("start", "step", "end"))
    places = f.iota(Type("i64", LANES))
    with my_units(f, (arg.count + (_SEGMENT - 1)) // _SEGMENT, arg.tasks) as unit:
        low = unit * _SEGMENT
        high = smaller(low + _SEGMENT, arg.count)
        with f.loop(low, high, LANES) as base:
            at = places + base
            if whole:
                value = at * arg.step + arg.start
            else:
                value = at.to("f64") * arg.step + arg.start
                if both:
                    left = (arg.count - 1 - at).to("f64")
                    value = select(at < arg.half, value, arg.end - left * arg.step)
            f.store(value.to(kind), arg.result, base, f.lanes_below(high - base, LANES))
    return f


def triangle_places(rows, columns, start, upper, dtype):
    """Return ``(2, count)``: the row and column numbers of a triangle, row by row, or None.

    Of row r the columns below ``start + r``, or the others if `upper`.
    """
    kind = _KINDS.get(dtype.name)
    if kind is None or not is_served(rows * columns):
        return None
    edges = np.clip(np.arange(rows) + start, 0, columns)
    counts = columns - edges if upper else edges
    begins = np.concatenate([[0], np.cumsum(counts)])
    made = empty((2, int(begins[-1])), dtype)
    tasks = tasks_for(rows, made.size)
    call = compiled(places, (kind, upper), "aaatn")
    call(made, begins, edges, (made.shape[1], rows, tasks), tasks)
    return made


def places(kind, upper):
    """Writes the places of each row's columns: the row's number, and the column's."""
    f = Function(f"triangle_places_{kind}{'_upper' if upper else ''}")
    arg = Arguments(f, ("result", "begins", "edges"), ("total", "rows", "tasks"))
    numbers = f.iota(Type("i64", LANES))
    with my_units(f, arg.rows, arg.tasks) as row:
        begin = f.load(arg.begins, row, Type("i64"))
        count = f.load(arg.begins, row + 1, Type("i64")) - begin
        first = f.load(arg.edges, row, Type("i64")) if upper else f.coerce(0)
        with f.loop(0, count, LANES) as base:
            mask = f.lanes_below(count - base, LANES)
            f.store(row.splat(LANES).to(kind), arg.result, begin + base, mask)
            column = numbers + (first + base)
            f.store(column.to(kind), arg.result, arg.total + begin + base, mask)
    return f
