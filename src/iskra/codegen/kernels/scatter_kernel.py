"""The loops of scatters. Each place takes in what belongs there in the index's order.

The target is seen as (outer, size, inner): `size` is the dimension that indices go along. Work is
split over `outer`, `inner` and the places of `size`, never over the index, so that no two tasks
write to one place and no sum depends on how many there are.

A kernel's `form`: how a place takes a value in ("set", or a primitive's name), the kinds of
elements and of indices, whether indices below 0 count from the end. If it is `cleared`, the target
is made of zeros first, and those of the place `dropped` (-1: of none) in the end again.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import INT, Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import Places, lanes_of
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.primitives import PRIMITIVES

# Elements of a target that is asked for ahead of time, as caches will not hold it, by elements and
# by rows.
FAR, FAR_ROWS = 1 << 21, 1 << 22
_AHEAD = 4  # rows
_POINTERS = ("target", "index", "values", "flags", "mine")


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


def rows(form, width, parts, far, cleared=False):
    """``target[o, index[k], :]`` takes in ``values[o, k, :]``, `width` columns at a time.

    parts: a power of two; a unit of work has but the places of one of so many kinds, so that it
    reads long stretches of memory. If they are several, `mine` has room for `count` numbers for
    each task: those of the entries at such places, whose values are asked for ahead of time. So
    are the places if they are `far`.
    """
    name = f"{'sum' if cleared else 'scatter'}_rows{width}_{parts}"
    f, arg, places = _begin(name, form,
                            ("size", "count", "inner", "segments", "units", "tasks", "dropped"))
    kind = form[1]
    type = Type(kind, lanes_of(kind))
    with my_units(f, arg.units, arg.tasks) as unit:
        part, block = unit % parts, unit // parts
        outer, first = block // arg.segments, block % arg.segments * width
        columns = smaller(arg.inner - first, f.coerce(width))
        values = f.offset(arg.values, outer * arg.count * arg.inner + first, kind)
        target = f.offset(arg.target, outer * arg.size * arg.inner + first, kind)
        if cleared:
            with f.loop(0, arg.size) as place, f.when(_kind_of_place(place, parts).eq(part)):
                _clear_row(f, target, place * arg.inner, columns, type)

        def take_in(number, later):
            if parts > 1:
                with f.loop(0, columns, type.lanes) as base:
                    f.prefetch(values, later * arg.inner + base, kind)
            if far:
                there = places.read(later) * arg.inner
                with f.loop(0, columns, type.lanes) as base:
                    f.prefetch(target, there + base, kind)
            _take_in_row(f, form[0], target, places.read(number) * arg.inner, values,
                         number * arg.inner, columns, type)

        if parts == 1:
            with f.loop(0, arg.count) as number:
                take_in(number, smaller(number + _AHEAD, arg.count - 1))
        else:
            mine = f.offset(arg.mine, f.task * arg.count, "i32")
            count = _list_entries(f, places, arg.count, mine, parts, part)
            with f.loop(0, count) as entry:
                entries = entry, smaller(entry + _AHEAD, count - 1)
                take_in(*[f.load(mine, e, Type("i32")).to("i64") for e in entries])
        if cleared:
            with f.when((arg.dropped >= 0) & _kind_of_place(arg.dropped, parts).eq(part)):
                _clear_row(f, target, arg.dropped * arg.inner, columns, type)
    places.finish()
    return f


def _list_entries(f, places, count, mine, parts, part):
    """Write down in order the entries at places of the kind `part`; how many there are."""
    found = f.variable(0, INT)
    with f.loop(0, count) as number:
        f.store(number.to("i32"), mine, found.get())
        is_mine = _kind_of_place(places.read(number), parts).eq(part)
        found.set(found.get() + select(is_mine, f.const(1, INT), 0))
    return found.get()


def _kind_of_place(place, parts):
    """Which of the kinds a place is of; neighbours, and such at equal distances, are of several."""
    return (place ^ place >> 3 ^ place >> 7) % parts


def _take_in_row(f, how, target, place, values, source, columns, type):
    for base, mask in _vectors(f, columns, type.lanes):
        _take_in(f, how, target, place + base, values, source + base, type, mask)


def _clear_row(f, target, place, columns, type):
    for base, mask in _vectors(f, columns, type.lanes):
        f.store(f.const(0, type), target, place + base, mask)


def _vectors(f, count, lanes):
    """Loops over vectors: where each begins, and the last one's mask."""
    full = count // lanes * lanes
    with f.loop(0, full, lanes) as base:
        yield base, None
    with f.loop(full, count, lanes) as base:
        yield base, f.lanes_below(count - base, lanes)


def elements(form, shared, cleared=False):
    """``target[o, index[k]]`` takes in ``values[o, k]``, or ``index[o, k]`` if not `shared`."""
    name = "sum_elements" if cleared else "scatter_shared" if shared else "scatter"
    f, arg, places = _begin(name, form, ("size", "count", "units", "tasks", "dropped"))
    how, kind = form[:2]
    with my_units(f, arg.units, arg.tasks) as unit:
        start = unit * arg.count
        at, target = f.coerce(0) if shared else start, f.offset(arg.target, unit * arg.size, kind)
        if cleared:
            _clear_row(f, target, f.const(0, INT), arg.size, Type(kind, LANES))
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
        if cleared:
            with f.when(arg.dropped >= 0):
                f.store(f.const(0, Type(kind)), target, arg.dropped)
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
