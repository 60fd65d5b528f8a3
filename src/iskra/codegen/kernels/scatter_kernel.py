"""The loops of scatters. Each place takes in what belongs there in the index's order.

The target is seen as (outer, size, inner): `size` is the dimension that indices go along. Work is
split over `outer` and `inner` alone, so that no two tasks write to one place and no sum depends on
how many there are.

A kernel's `form`: how a place takes a value in ("set", or a primitive's name), the kinds of
elements and of indices, whether indices below 0 count from the end.
"""

from iskra.codegen.ir import Function, Type, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import Places, lanes_of
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.primitives import PRIMITIVES

LANES = 16
# Elements of a target that is asked for ahead of time, as caches will not hold it, by elements and
# by rows.
FAR, FAR_ROWS = 1 << 15, 1 << 22
_AHEAD = 4  # rows of the target; of the values twice as many
_POINTERS = ("target", "index", "values", "flags")


def _begin(name, form, numbers):
    how, kind, index, from_end = form
    f = Function(f"{name}_{how}_{kind}_{index}{'_from_end' if from_end else ''}")
    arg = Arguments(f, _POINTERS, numbers)
    return f, arg, Places(f, arg.index, arg.flags, index, arg.size, from_end)


def _take_in(f, how, target, place, values, number, type, mask=None):
    """The target's elements at `place` take in the values from `number` on."""
    value = f.load(values, number, type, mask)
    if how != "set":
        value = PRIMITIVES[how](f.load(target, place, type, mask), value)
    f.store(value, target, place, mask)


def rows(form, width, far):
    """``target[o, index[k], :]`` takes in ``values[o, k, :]``, `width` columns at a time.

    far: whether rows are asked for ahead of time.
    """
    f, arg, places = _begin(f"scatter_rows{width}", form,
                            ("size", "count", "inner", "segments", "units", "tasks"))
    how, kind = form[:2]
    type = Type(kind, lanes_of(kind))
    lanes = type.lanes
    with my_units(f, arg.units, arg.tasks) as unit:
        outer, first = unit // arg.segments, unit % arg.segments * width
        columns = smaller(arg.inner - first, f.coerce(width))
        full = columns // lanes * lanes
        with f.loop(0, arg.count) as number:
            if far:
                last = arg.count - 1
                later = outer * arg.count + smaller(number + 2 * _AHEAD, last)
                row = outer * arg.size + places.trusted(smaller(number + _AHEAD, last))
                with f.loop(first, first + columns, lanes) as base:
                    f.prefetch(arg.values, later * arg.inner + base, kind)
                    f.prefetch(arg.target, row * arg.inner + base, kind)
            source = (outer * arg.count + number) * arg.inner + first
            place = (outer * arg.size + places.read(number)) * arg.inner + first
            for low, high, masked in ((f.coerce(0), full, False), (full, columns, True)):
                with f.loop(low, high, lanes) as base:
                    mask = f.lanes_below(high - base, lanes) if masked else None
                    _take_in(f, how, arg.target, place + base, arg.values, source + base, type,
                             mask)
    places.finish()
    return f


def elements(form, shared):
    """``target[o, index[k]]`` takes in ``values[o, k]``, or ``index[o, k]`` if not `shared`."""
    f, arg, places = _begin("scatter_shared" if shared else "scatter", form,
                            ("size", "count", "units", "tasks"))
    how, kind = form[:2]
    with my_units(f, arg.units, arg.tasks) as unit:
        start = unit * arg.count
        at, target = f.coerce(0) if shared else start, f.offset(arg.target, unit * arg.size, kind)
        full = arg.count // LANES * LANES
        for low, high, lanes in ((f.coerce(0), full, LANES), (full, arg.count, 1)):
            with f.loop(low, high, lanes) as base, f.when(places.all_inside(at + base, lanes)):
                if lanes > 1:
                    ahead = base + lanes
                    with f.when((ahead + lanes <= arg.count) & (arg.size >= FAR)):
                        for lane in range(lanes):
                            f.prefetch(target, places.trusted(at + ahead + lane), kind)
                for number in range(lanes):
                    place = places.trusted(at + base + number)
                    _take_in(f, how, target, place, arg.values, start + base + number, Type(kind))
    places.finish()
    return f


def columns(form, width):
    """``target[o, index[o, k, i], i]`` takes in ``values[o, k, i]``, `width` columns at a time."""
    f, arg, places = _begin(f"scatter_columns{width}", form,
                            ("size", "count", "inner", "segments", "units", "tasks"))
    (how, kind), inner = form[:2], arg.inner
    with my_units(f, arg.units, arg.tasks) as unit:
        outer, first = unit // arg.segments, unit % arg.segments * width
        target = f.offset(arg.target, outer * arg.size * inner, kind)
        last = smaller(inner, first + width)
        full = first + (last - first) // LANES * LANES
        with f.loop(0, arg.count) as number:
            start = (outer * arg.count + number) * inner
            for low, high, lanes in ((first, full, LANES), (full, last, 1)):
                with f.loop(low, high, lanes) as base, f.when(
                        places.all_inside(start + base, lanes)):
                    for lane in range(lanes):
                        place = places.trusted(start + base + lane) * inner + base + lane
                        _take_in(f, how, target, place, arg.values, start + base + lane,
                                 Type(kind))
    places.finish()
    return f
