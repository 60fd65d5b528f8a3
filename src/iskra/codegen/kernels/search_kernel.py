"""The loop of searches in sorted rows: 16 elements at a time go through the same halvings."""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, select
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units


def searches(kind, right):
    """``result[r, i]``: how many elements of ``sorted[r]`` stand before ``x[r, i]``.

    With `right` those equal to it are among them. NaN is larger than every number and equal to
    itself. A unit is a piece of a row. ``2**halvings`` is more than the rows' size.
    """
    f = Function(f"search_{'right' if right else 'left'}_{kind}")
    arg = Arguments(f, ("sorted", "x", "result"),
                    ("size", "count", "halvings", "piece", "pieces", "shared", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        row, low = unit // arg.pieces, unit % arg.pieces * arg.piece
        table = f.offset(arg.sorted, select(arg.shared.eq(1), f.coerce(0), row * arg.size), kind)
        high = select(low + arg.piece < arg.count, low + arg.piece, arg.count)
        with f.loop(low, high, LANES) as base:
            mask = f.lanes_below(high - base, LANES)
            x = _wide(f.load(arg.x, row * arg.count + base, Type(kind, LANES), mask))
            found = f.variable(f.const(0, Type("i32", LANES)))
            with f.loop(0, arg.halvings) as turn:
                step = (f.coerce(1) << (arg.halvings - 1 - turn)).to("i32")
                there = found.get() + step.splat(LANES)
                inside = there <= arg.size.to("i32").splat(LANES)
                element = _wide(f.gather(table, select(inside, there - 1, 0), kind))
                found.set(select(inside & _is_before(element, x, right), there, found.get()))
            f.store(found.get().to("i64"), arg.result, row * arg.count + base, mask)
    return f


def _wide(x):
    return x.to("f32") if x.type.kind in ("f16", "bf16") else x


def _is_before(element, x, right):
    """Whether an element stands before the place where `x` belongs."""
    before = element <= x if right else element < x
    if not x.type.is_float:
        return before
    is_nan = x.ne(x)
    return before | (is_nan if right else is_nan & element.eq(element))
