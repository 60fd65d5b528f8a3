"""The loops of masks: where elements differ from zero, and the elements where a mask is true.

A piece is looked through twice: `tallies` counts, and notes where the last one stands; then what
is found is written without branches, each time to the next free place. Up to the last one, that
lies inside of what is the piece's own.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, larger, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units


def tallies(kind):
    """How many elements of each piece of `x` are not zero, and the place after the last of them."""
    f = Function(f"tallies_{kind}")
    arg = Arguments(f, ("x", "counts", "stops"), ("length", "piece", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        low = unit * arg.piece
        high = smaller(low + arg.piece, arg.length)
        counted, last = f.variable(f.const(0, Type("i32", LANES))), f.variable(low)
        with f.loop(low, high, LANES) as base:
            found = _is_there(f, arg.x, base, kind, LANES, f.lanes_below(high - base, LANES))
            counted.set(counted.get() + select(found, f.const(1, counted.type), 0))
            last.set(select(found.any(), base, last.get()))
        lanes, half = counted.get(), LANES // 2
        while half:
            lanes = lanes.shuffle(range(half)) + lanes.shuffle(range(half, 2 * half))
            half //= 2
        f.store(lanes.to("i64"), arg.counts, unit)
        stop = f.variable(low)
        with f.loop(last.get(), smaller(last.get() + LANES, high)) as place:
            found = _is_there(f, arg.x, place, kind)
            stop.set(select(found, place + 1, stop.get()))
        f.store(stop.get(), arg.stops, unit)
    return f


def places(kind, rank):
    """The index of each element that is not zero, in order: `rank` numbers for each."""
    f = Function(f"places{rank}_{kind}")
    sizes = [f"size{axis}" for axis in range(rank)]
    arg = Arguments(f, ("x", "starts", "stops", "result"), (*sizes, "piece", "units", "tasks"))
    columns = getattr(arg, sizes[-1])
    with my_units(f, arg.units, arg.tasks) as unit:
        low, stop = unit * arg.piece, f.load(arg.stops, unit, Type("i64"))
        at = f.variable(f.load(arg.starts, unit, Type("i64")))
        with f.loop(low // columns, (stop + columns - 1) // columns) as row:
            start, index, rest = row * columns, [], row
            for size in reversed(sizes[:-1]):
                index.insert(0, rest % getattr(arg, size))
                rest = rest // getattr(arg, size)

            def note(place, start=start, index=index):
                for axis, number in enumerate((*index, place - start)):
                    f.store(number, arg.result, at.get() * rank + axis)
                at.set(at.get() + select(_is_there(f, arg.x, place, kind), f.coerce(1), 0))

            _each_found(f, arg.x, larger(low, start), smaller(stop, start + columns), kind, note)
    return f


def elements(kind):
    """The elements of `x` where the bools of `mask` are true, in order."""
    f = Function(f"masked_{kind}")
    arg = Arguments(f, ("x", "mask", "starts", "stops", "result"), ("piece", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        at = f.variable(f.load(arg.starts, unit, Type("i64")))

        def note(place):
            f.store(f.load(arg.x, place, Type(kind)), arg.result, at.get())
            at.set(at.get() + select(_is_there(f, arg.mask, place, "u8"), f.coerce(1), 0))

        low, stop = unit * arg.piece, f.load(arg.stops, unit, Type("i64"))
        _each_found(f, arg.mask, low, stop, "u8", note)
    return f


def _each_found(f, x, low, high, kind, note):
    """Call `note` for the places from `low` to `high`, but for vectors in which all is zero."""
    full = low + (high - low) // LANES * LANES
    with f.loop(low, full, LANES) as base, f.when(_is_there(f, x, base, kind, LANES).any()):
        for lane in range(LANES):
            note(base + lane)
    with f.loop(full, high) as place:
        note(place)


def _is_there(f, x, place, kind, lanes=1, mask=None):
    """Whether elements differ from zero."""
    found = f.load(x, place, Type(kind, lanes), mask)
    return (found.to("f32") if kind in ("f16", "bf16") else found).ne(0)
