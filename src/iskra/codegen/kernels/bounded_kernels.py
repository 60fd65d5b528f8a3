"""Loop IR of maxima of windows whose bounds stand in tables: adaptive and fractional pooling.

The windows of a plane are counted through; 16 of them are worked on together, each within bounds of
its own, whatever their places are in the grid of windows.
"""

from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, select
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.kernels.window_kernels import lowest

AXES = ("depth", "height", "width")
POINTERS = ("x", "values", "places", *(f"{name}_{axis}" for name in ("number", "begin", "end")
                                       for axis in AXES))
NUMBERS = (*AXES, *(f"out_{axis}" for axis in AXES), *(f"widest_{axis}" for axis in AXES),
           "own", "blocks", "units", "tasks")
KINDS = "a" * len(POINTERS) + "tn"


class _Bounds(NamedTuple):
    """Where 16 windows begin and end along one dimension, and how wide any may be."""

    begin: object
    end: object
    widest: object


def maxima(kind):
    """The kernel that finds the largest element of each window, NaN above all, and its place.

    A unit of work is 16 windows of a plane. number_*: each window's place in the grid; begin_*,
    end_*: (planes, windows along the dimension) if each plane has its `own`, a 1, else one row.
    Of equal elements the first counts, of NaNs the last.
    """
    f = Function(f"bounded_maxima_{kind}")
    arg = Arguments(f, POINTERS, NUMBERS)
    with my_units(f, arg.units, arg.tasks) as unit:
        plane, first = unit // arg.blocks, unit % arg.blocks * LANES
        count = arg.out_depth * arg.out_height * arg.out_width
        wanted = f.lanes_below(count - first, LANES)
        depth, height, width = (_bounds(f, arg, axis, plane, first, wanted) for axis in AXES)
        start = (depth.begin * _wide(arg.height) + height.begin) * _wide(arg.width) + width.begin
        x = f.offset(arg.x, plane * arg.depth * arg.height * arg.width, kind)
        best = f.variable(f.const(lowest(kind), Type(kind, LANES)))
        at = f.variable(start)
        with f.loop(0, depth.widest) as i:
            there = wanted & (depth.begin + _wide(i) < depth.end)
            with f.loop(0, height.widest) as j:
                inside = there & (height.begin + _wide(j) < height.end)
                line = start + _wide((i * arg.height + j) * arg.width)
                with f.loop(0, width.widest) as k:
                    mask = inside & (width.begin + _wide(k) < width.end)
                    _compare(f, x, kind, line + _wide(k), mask, best, at)
        f.store(best.get(), arg.values, plane * count + first, wanted)
        f.store(at.get().to("i64"), arg.places, plane * count + first, wanted)
    return f


def _wide(number):
    return number.to("i32").splat(LANES)


def _bounds(f, arg, axis, plane, first, wanted):
    """The bounds of the 16 windows from `first` on."""
    number = f.load(getattr(arg, f"number_{axis}"), first, Type("i32", LANES), wanted)
    row = plane * arg.own * getattr(arg, f"out_{axis}")
    found = (f.gather(f.offset(getattr(arg, f"{name}_{axis}"), row, "i32"), number, "i32", wanted)
             for name in ("begin", "end"))
    return _Bounds(*found, getattr(arg, f"widest_{axis}"))


def _compare(f, x, kind, place, mask, best, at):
    value = f.gather(x, place, kind, mask)
    better = value > best.get()
    if value.type.is_float:
        better = better | value.ne(value)
    better = better & mask
    best.set(select(better, value, best.get()))
    at.set(select(better, place, at.get()))
