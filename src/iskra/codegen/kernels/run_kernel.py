"""The loop over runs of equal neighbours: where each begins, to which each element belongs."""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, select
from iskra.codegen.kernels.gemm_call import Arguments


def runs(kind, numbered, placed):
    """``values[r]`` and ``starts[r]``: the first element of run r and its place, of a vector `x`.

    NaN is unlike itself. If `numbered`, ``number[i]`` becomes the number of the run of ``x[i]``; if
    `placed`, ``number[place[i]]`` does. ``found[0]``: how many runs. One task, as each run is put
    after those before it.
    """
    f = Function("_".join(["runs", kind] + ["numbered"] * numbered + ["placed"] * placed))
    arg = Arguments(f, ("x", "place", "values", "starts", "number", "found"), ("length",))
    count = f.variable(0)
    _begin(f, arg, count, f.load(arg.x, 0, Type(kind)), f.coerce(0), 1)
    if numbered:
        f.store(f.coerce(0), arg.number, f.load(arg.place, 0, Type("i64")) if placed else 0)
    full = 1 + (arg.length - 1) // LANES * LANES
    for low, high, lanes in ((f.coerce(1), full, LANES), (full, arg.length, 1)):
        with f.loop(low, high, lanes) as base:
            element = f.load(arg.x, base, Type(kind, lanes))
            new = _differ(element, f.load(arg.x, base - 1, Type(kind, lanes)))
            before = count.get()
            some, all_ = (new.any(), ~(~new).any()) if lanes > 1 else (new, new)
            if lanes > 1:
                with f.when(some & ~all_):
                    for lane in range(lanes):
                        with f.when(new.lane(lane)):
                            _begin(f, arg, count, element.lane(lane), base + lane, 1)
            with f.when(all_):
                _begin(f, arg, count, element, base, lanes)
            if numbered:
                _number(f, arg, new, base, before, some & ~all_ if lanes > 1 else None, placed)
    f.store(count.get(), arg.found, 0)
    return f


def _differ(a, b):
    """Whether elements differ."""
    if a.type.kind in ("f16", "bf16"):
        a, b = a.to("f32"), b.to("f32")
    return a.ne(b)


def _begin(f, arg, count, element, place, lanes):
    """Note runs that begin side by side."""
    at = count.get()
    f.store(element, arg.values, at)
    places = place.splat(lanes) + f.iota(Type("i64", lanes)) if lanes > 1 else place
    f.store(places, arg.starts, at)
    count.set(at + lanes)


def _number(f, arg, new, base, count, mixed, placed):
    """Give elements side by side the numbers of their runs; `count` of them are before."""
    lanes = new.type.lanes
    if placed or lanes == 1:
        _number_each(f, arg, new, base, count, placed)
        return
    with f.when(mixed):
        _number_each(f, arg, new, base, count, placed)
    with f.when(~mixed):
        ahead = select(new, f.iota(Type("i64", lanes)) + 1, 0)
        f.store(ahead + (count - 1).splat(lanes), arg.number, base)


def _number_each(f, arg, new, base, count, placed):
    for lane in range(new.type.lanes):
        is_new = new.lane(lane) if new.type.lanes > 1 else new
        count = count + select(is_new, f.coerce(1), 0)
        at = base + lane
        f.store(count - 1, arg.number, f.load(arg.place, at, Type("i64")) if placed else at)
