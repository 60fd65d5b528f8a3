"""The loops of gathers: whole rows, single elements along rows, elements across columns.

The operand is seen as (outer, size, inner): `size` is the dimension that indices go along. Indices
are looked at 16 at a time; the elements are then moved one by one, which is quicker than the
processors' own gathers.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import Places, copy, lanes_of
from iskra.codegen.kernels.sharing import my_units

SEGMENT = 4096  # elements of a unit along a row
_POINTERS = ("x", "index", "result", "flags")


def _begin(name, kind, index, from_end, numbers):
    f = Function(f"{name}_{kind}_{index}{'_from_end' if from_end else ''}")
    arg = Arguments(f, _POINTERS, numbers)
    return f, arg, Places(f, arg.index, arg.flags, index, arg.size, from_end)


def rows(kind, index, from_end):
    """``result[o, k, :] = x[o, index[k], :]``, by rows of `inner` words.

    Rows are asked for `ahead` of time, as nothing else can foresee where they lie.
    """
    f, arg, places = _begin("gather_rows", kind, index, from_end,
                            ("size", "count", "inner", "ahead", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        later = smaller(unit % arg.count + arg.ahead, arg.count - 1)
        start = (unit // arg.count * arg.size + places.trusted(later)) * arg.inner
        with f.loop(0, arg.inner, lanes_of(kind)) as base:
            f.prefetch(arg.x, start + base, kind)
        place = unit // arg.count * arg.size + places.read(unit % arg.count)
        copy(f, arg.x, place * arg.inner, arg.result, unit * arg.inner, arg.inner, kind)
    places.finish()
    return f


def elements(kind, index, from_end, shared):
    """``result[o, k] = x[o, index[k]]``, or ``index[o, k]`` if the index is not `shared`."""
    f, arg, places = _begin("gather_shared" if shared else "gather", kind, index, from_end,
                            ("size", "count", "segments", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        row, low = unit // arg.segments, unit % arg.segments * SEGMENT
        source = f.offset(arg.x, row * arg.size, kind)
        start = row * arg.count
        at = f.coerce(0) if shared else start
        high = smaller(low + SEGMENT, arg.count)
        full = low + (high - low) // LANES * LANES
        for first, stop, lanes in ((low, full, LANES), (full, high, 1)):
            with f.loop(first, stop, lanes) as base, f.when(places.all_inside(at + base, lanes)):
                for place in range(lanes):
                    element = f.load(source, places.trusted(at + base + place), Type(kind))
                    f.store(element, arg.result, start + base + place)
    places.finish()
    return f


def columns(kind, index, from_end):
    """``result[o, k, i] = x[o, index[o, k, i], i]``."""
    f, arg, places = _begin("gather_columns", kind, index, from_end,
                            ("size", "count", "inner", "units", "tasks"))
    inner = arg.inner
    with my_units(f, arg.units, arg.tasks) as unit:
        source = f.offset(arg.x, unit // arg.count * arg.size * inner, kind)
        start = unit * inner
        full = inner // LANES * LANES
        for first, stop, lanes in ((f.coerce(0), full, LANES), (full, inner, 1)):
            with f.loop(first, stop, lanes) as base, f.when(places.all_inside(start + base, lanes)):
                for place in range(lanes):
                    number = places.trusted(start + base + place) * inner + base + place
                    f.store(f.load(source, number, Type(kind)), arg.result, start + base + place)
    places.finish()
    return f
