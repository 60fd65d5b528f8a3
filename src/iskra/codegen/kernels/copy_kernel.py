"""The loops of copies between arrays that lie otherwise in memory.

A space of outer axes, whose sizes and steps are arguments, has planes of rows, or of squares of
16 by 16 elements that are transposed in registers, where the source's elements lie across the
target's rows.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, larger, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import copy, lanes_of
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.squares import transposed

_TOGETHER = 4  # elements that lie apart, read before any is written


def rows(kind, depth, how):
    """Copies rows of `count` words, in pieces; `together` rows are a unit of work.

    how: "along" where both lie side by side ("short": at most a vector of them), "against" where
    the source's do in the other order, "spread" for one word that serves the whole row, else
    "apart": any steps.
    """
    f, arg = _begin(f"copy_{how}", kind, depth, (
        "count", "step", "target_step", "rows", "row", "target_row",
        "together", "parts", "piece", "pieces"))
    mask = f.lanes_below(arg.count, lanes_of(kind)) if how == "short" else None
    with my_units(f, arg.units, arg.tasks) as unit:
        low = unit % arg.pieces * arg.piece
        high = smaller(low + arg.piece, arg.count)
        first = unit // arg.pieces % arg.parts * arg.together
        start, place = _origin(arg, unit // (arg.pieces * arg.parts), depth)
        with f.loop(first, smaller(first + arg.together, arg.rows)) as row:
            at = start + row * arg.row, place + row * arg.target_row
            if mask is not None:
                _short(f, arg, *at, mask, kind)
            else:
                _MOVES[how](f, arg, *at, low, high, kind)
    return f


def squares(kind, depth):
    """Copies planes whose words lie side by side along the target's rows and the source's columns.

    `count` are a row's, `row` is the source's step along it; `rows` there are, `target_row` apart.
    A unit is 16 rows.
    """
    f, arg = _begin("copy_squares", kind, depth, ("count", "row", "rows", "target_row", "parts"))
    type = Type(kind, LANES)
    with my_units(f, arg.units, arg.tasks) as unit:
        top = unit % arg.parts * LANES
        start, place = _origin(arg, unit // arg.parts, depth)
        with f.loop(0, arg.count, LANES) as base:
            whole = (base + LANES <= arg.count) & (top + LANES <= arg.rows)
            with f.when(whole):
                lines = [f.load(arg.source, start + (base + n) * arg.row + top, type)
                         for n in range(LANES)]
                for n, line in enumerate(transposed(lines)):
                    f.store(line, arg.target, place + (top + n) * arg.target_row + base)
            with f.when(~whole):
                lines = []
                for n in range(LANES):
                    there = select(base + n < arg.count, arg.rows - top, 0)
                    lines.append(f.load(arg.source, start + (base + n) * arg.row + top, type,
                                        f.lanes_below(there, LANES)))
                for n, line in enumerate(transposed(lines)):
                    there = select(top + n < arg.rows, arg.count - base, 0)
                    f.store(line, arg.target, place + (top + n) * arg.target_row + base,
                            f.lanes_below(there, LANES))
    return f


def triangles(kind, upper):
    """Copies rows of matrices up to a place that moves on by `step` words a row, and zeros beyond;
    if `upper` it is the other way round.
    """
    f = Function(f"triangle_{kind}{'_upper' if upper else ''}")
    arg = Arguments(f, ("source", "target"), ("start", "step", "rows", "count", "units", "tasks"))
    zero = f.const(0, Type(kind))
    with my_units(f, arg.units, arg.tasks) as unit:
        edge = larger(smaller(arg.start + unit % arg.rows * arg.step, arg.count), f.coerce(0))
        first, rest, at = edge, arg.count - edge, unit * arg.count
        if upper:
            _fill(f, zero, arg.target, at, first, kind)
            copy(f, arg.source, at + first, arg.target, at + first, rest, kind)
        else:
            copy(f, arg.source, at, arg.target, at, first, kind)
            _fill(f, zero, arg.target, at + first, rest, kind)
    return f


def _fill(f, word, target, place, count, kind):
    lanes = lanes_of(kind)
    vector, full = word.splat(lanes), count // lanes * lanes
    with f.loop(0, full, lanes) as at:
        f.store(vector, target, place + at)
    with f.when(full < count):
        f.store(vector, target, place + full, f.lanes_below(count - full, lanes))


def _begin(name, kind, depth, numbers):
    f = Function(f"{name}_{kind}_{depth}")
    outer = [f"{what}{n}" for n in range(depth) for what in ("size", "from", "to")]
    return f, Arguments(f, ("source", "target"),
                        ("start", "place", *numbers, "units", "tasks", *outer))


def _origin(arg, number, depth):
    """Where the plane of this number begins, in source and target."""
    start, place = arg.start, arg.place
    for n in reversed(range(depth)):
        size = getattr(arg, f"size{n}")
        at, number = number % size, number // size
        start = start + at * getattr(arg, f"from{n}")
        place = place + at * getattr(arg, f"to{n}")
    return start, place


def _along(f, arg, start, place, low, high, kind):
    copy(f, arg.source, start + low, arg.target, place + low, high - low, kind)


def _short(f, arg, start, place, mask, kind):
    found = f.load(arg.source, start, Type(kind, lanes_of(kind)), mask)
    f.store(found, arg.target, place, mask)


def _against(f, arg, start, place, low, high, kind):
    """Vectors turned round in registers, then a quarter of one, then single words."""
    base = low
    for lanes in (lanes_of(kind), lanes_of(kind) // 4, 1):
        end = base + (high - base) // lanes * lanes
        turned = tuple(reversed(range(lanes)))
        with f.loop(base, end, lanes) as at:
            found = f.load(arg.source, start - at - (lanes - 1), Type(kind, lanes))
            f.store(found.shuffle(turned) if lanes > 1 else found, arg.target, place + at)
        base = end


def _spread(f, arg, start, place, low, high, kind):
    word = f.load(arg.source, start, Type(kind))
    _fill(f, word, arg.target, place + low, high - low, kind)


def _apart(f, arg, start, place, low, high, kind):
    full = low + (high - low) // _TOGETHER * _TOGETHER
    for first, end, count in ((low, full, _TOGETHER), (full, high, 1)):
        with f.loop(first, end, count) as at:
            found = [f.load(arg.source, start + (at + n) * arg.step, Type(kind))
                     for n in range(count)]
            for n, word in enumerate(found):
                f.store(word, arg.target, place + (at + n) * arg.target_step)


_MOVES = {"along": _along, "against": _against, "spread": _spread, "apart": _apart}
