"""Loop IR of sliding windows over planes: maxima and their places, windows laid out as columns.

A plane is one channel of one sample, ``(depth, height, width)``; of fewer dimensions the first are
1. Neighbouring windows meet every stride-th element of a row, so 16 windows of one row are worked
on together. Which of their elements exist depends on the columns alone: these are the outer loop,
so that the masks are computed once for all rows.
"""

from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import SIZES, Function, Type, larger, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units

# Sizes of planes, of their windows' grids, of the kernel; settings: an entry for each dimension.
GRID = ("depth", "height", "width", "out_depth", "out_height", "out_width", "kernel_depth",
        "kernel_height", "kernel_width", "step_depth", "step_height", "step_width", "pad_depth",
        "pad_height", "pad_width", "spread_depth", "spread_height", "spread_width")


class Maxima(NamedTuple):
    """Which maxima: the elements' kind; the kernel's width and the stride of the last dimension;
    whether their places are wanted; whether these count rows, of a kernel one element wide."""

    kind: str
    width: int
    step: int
    places: bool
    rows: bool = False


def lowest(kind):
    """The number that is above no other of a kind, but NaN."""
    if kind[0] in "fb":
        return float("-inf")
    return -(1 << 8 * SIZES[kind] - 1) if kind[0] == "i" else 0


def ceil_divided(a, b):
    """a / b rounded up, for b > 0; for a < 0 it may be any number from there to 0."""
    return (a + (b - 1)) // b


def within(f, start, step, size, lanes=LANES):
    """A mask of the lanes i for which ``start + i * step`` lies between 0 and size."""
    below = f.lanes_below(ceil_divided(size - start, step), lanes)
    return below & ~f.lanes_below(ceil_divided(-start, step), lanes)


class Strided:
    """Every step-th element of rows, from column `start` on: where they are, and loading them.

    step: an int if it is known when the kernel is made, and then 1 or 2; else a value. mask: which
    lanes are wanted.
    """

    def __init__(self, f, start, step, size, kind, mask):
        self.f, self.start, self.step = f, start, step
        self.type = Type(kind, LANES)
        self.mask = within(f, start, f.coerce(step), size) & mask
        if step == 2:
            self.starts = [start, start + LANES]
            self.masks = [within(f, s, f.coerce(1), size) for s in self.starts]
        elif step != 1:
            places = f.iota(Type("i64", LANES)) * f.coerce(step).splat(LANES)
            self.places = places + start.splat(LANES)

    def load(self, row, there=None):
        """The elements of the row that begins at this address; those that are not there: 0."""
        f = self.f
        if self.step == 2:
            masks = self.masks if there is None else [m & there for m in self.masks]
            low, high = (f.load(row, s, self.type, m) for s, m in zip(self.starts, masks))
            return low.shuffle(range(0, 2 * LANES, 2), high)
        mask = self.mask if there is None else self.mask & there
        if self.step == 1:
            return f.load(row, self.start, self.type, mask)
        return f.gather(row, self.places, self.type.kind, mask)

    def add(self, values, row):
        """Add values to the elements of a row."""
        f = self.f
        if self.step == 1:
            total = f.load(row, self.start, self.type, self.mask) + values
            f.store(total, row, self.start, self.mask)
        else:
            total = f.gather(row, self.places, self.type.kind, self.mask) + values
            f.scatter(total, row, self.places, self.mask)


def maxima(spec):
    """The kernel that finds the largest element of each window, NaN above all, and its place.

    A unit of work is a band of rows of the windows of a plane. Of equal elements the first counts,
    of NaNs the last.
    """
    return _Maxima(spec).function


class _Maxima:
    """The kernel while it is being written."""

    def __init__(self, spec):
        self.spec = spec
        self.function = f = Function(
            f"maxima{spec.width}by{spec.step}_{spec.kind}{'_places' * spec.places}"
            f"{'_of_rows' * spec.rows}")
        pointers = ("x", "values", "places") if spec.places else ("x", "values")
        self.arg = arg = Arguments(f, pointers, (*GRID, "bands", "units", "tasks"))
        self.lowest = f.const(lowest(spec.kind), Type(spec.kind, LANES))
        with my_units(f, arg.units, arg.tasks) as unit:
            self.plane = f.offset(
                arg.x, unit // arg.bands * arg.depth * arg.height * arg.width, spec.kind)
            rows, band = arg.out_depth * arg.out_height, unit % arg.bands
            self.first_row = unit // arg.bands * rows
            self.band(band * rows // arg.bands, (band + 1) * rows // arg.bands)

    def band(self, low, high):
        """Some rows of windows: all of one column first, or, if places count rows, of one row."""
        f, arg = self.function, self.arg
        if self.spec.rows:
            with f.loop(low, high) as row:
                lines = self.lines(row)
                with f.loop(0, arg.out_width, LANES) as column:
                    self.prepare(column)
                    self.windows(row, *lines)
            return
        with f.loop(0, arg.out_width, LANES) as column:
            self.prepare(column)
            with f.loop(low, high) as row:
                self.windows(row, *self.lines(row))

    def prepare(self, column):
        """What 16 columns of windows have in common."""
        f, arg, spec = self.function, self.arg, self.spec
        self.column = column
        self.wanted = f.lanes_below(arg.out_width - column, LANES)
        step = spec.step or arg.step_width
        self.start = column * f.coerce(step) - arg.pad_width
        self.taps = [
            Strided(f, self.start + arg.spread_width * tap, step, arg.width, spec.kind, self.wanted)
            for tap in range(spec.width)]
        self.base = f.const(0, Type("i32", LANES))
        if not spec.rows:
            self.base = f.iota(Type("i32", LANES)) * f.coerce(step).to("i32").splat(LANES)
            self.base = self.base + self.start.to("i32").splat(LANES)
        # Where each window's first element lies, if all are the lowest number there is.
        self.first = f.const(0, Type("i32", LANES))
        for number in reversed(range(spec.width)):
            place = (arg.spread_width * number).to("i32").splat(LANES)
            self.first = select(self.taps[number].mask, place, self.first)

    def lines(self, row):
        """Where a row of windows begins, and which taps lie inside, in depth and in height."""
        out_height = self.arg.out_height
        return (*self.reach(row // out_height, "depth"), *self.reach(row % out_height, "height"))

    def windows(self, row, depth, depths, height, heights):
        """Sixteen windows of a row."""
        f, arg, spec = self.function, self.arg, self.spec
        first = (depth + depths[0] * arg.spread_depth) * arg.height
        first = first + height + heights[0] * arg.spread_height
        first = first if spec.rows else first * arg.width
        self.value = f.variable(self.lowest, self.lowest.type)
        self.place = f.variable(self.first + first.to("i32").splat(LANES), self.first.type)
        with f.loop(*depths) as i:
            with f.loop(*heights) as j:
                line = (depth + i * arg.spread_depth) * arg.height
                self.compare(line + height + j * arg.spread_height)
        out = (self.first_row + row) * arg.out_width + self.column
        f.store(self.value.get(), arg.values, out, self.wanted)
        if spec.places:
            f.store((self.place.get() + self.base).to("i64"), arg.places, out, self.wanted)

    def reach(self, number, axis):
        """Where the windows of that number begin; from which to which tap they lie inside."""
        f = self.function
        size, taps, step, pad, spread = (
            getattr(self.arg, f"{name}{axis}") for name in ("", "kernel_", "step_", "pad_",
                                                            "spread_"))
        start = number * step - pad
        low = larger(ceil_divided(-start, spread), f.coerce(0))
        return start, (low, smaller(ceil_divided(size - start, spread), taps))

    def compare(self, line):
        """Go through one row of the kernel, which meets this row of the plane."""
        f, arg = self.function, self.arg
        start = line * arg.width
        pointer = f.offset(self.plane, start, self.spec.kind)
        first = line if self.spec.rows else start
        for number, tap in enumerate(self.taps):
            value, best = tap.load(pointer), self.value.get()
            larger_one = value > best
            if value.type.is_float:
                larger_one = larger_one | value.ne(value)
            better = larger_one & tap.mask
            self.value.set(select(better, value, best))
            place = (first + arg.spread_width * number).to("i32").splat(LANES)
            self.place.set(select(better, place, self.place.get()))


def spread(kind):
    """The kernel that adds numbers into planes of zeros, at their places; a unit is a plane."""
    f = Function(f"spread_{kind}")
    arg = Arguments(f, ("grad", "places", "result"), ("count", "size", "units", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        plane = f.offset(arg.result, unit * arg.size, kind)
        clear(f, plane, arg.size, kind)
        with f.loop(unit * arg.count, (unit + 1) * arg.count) as i:
            place = f.load(arg.places, i, Type("i64"))
            with f.when((place >= 0) & (place < arg.size)):
                value = f.load(arg.grad, i, Type(kind))
                f.store(f.load(plane, place, Type(kind)) + value, plane, place)
    return f


def spread_rows(kind):
    """The kernel that adds numbers into planes of zeros, at the rows that are their places.

    grad, places: (planes, count, width); result: (planes, size, width), of which a unit of work is
    16 columns of a plane.
    """
    f = Function(f"spread_rows_{kind}")
    arg = Arguments(f, ("grad", "places", "result"), ("count", "size", "width", "units", "tasks"))
    zero, blocks = f.const(0.0, Type(kind, LANES)), (arg.width + (LANES - 1)) // LANES
    with my_units(f, arg.units, arg.tasks) as unit:
        plane, column = unit // blocks, unit % blocks * LANES
        left = smaller(arg.width - column, LANES)
        result = f.offset(arg.result, plane * arg.size * arg.width + column, kind)
        with f.loop(0, arg.size) as row:
            f.store(zero, result, row * arg.width, f.lanes_below(left, LANES))
        with f.loop(0, arg.count) as i:
            start = (plane * arg.count + i) * arg.width + column
            with f.loop(0, left) as lane:
                place = f.load(arg.places, start + lane, Type("i64"))
                with f.when((place >= 0) & (place < arg.size)):
                    at = place * arg.width + lane
                    value = f.load(arg.grad, start + lane, Type(kind))
                    f.store(f.load(result, at, Type(kind)) + value, result, at)
    return f


def clear(f, pointer, count, kind):
    """Write zeros."""
    zero = f.const(0.0, Type(kind, LANES))
    full = count // LANES * LANES
    with f.loop(0, full, LANES) as i:
        f.store(zero, pointer, i)
    with f.when(full < count):
        f.store(zero, pointer, full, f.lanes_below(count - full, LANES))


class _Blocks:
    """What the kernels of `unfold` and `fold` share: sizes, and columns that meet a tap."""

    def __init__(self, name, kind, step):
        self.kind, self.step = kind, step
        self.function = f = Function(f"{name}_by{step}_{kind}")
        self.arg = Arguments(f, ("image", "columns"), (*GRID, "units", "tasks"))

    def strided(self, column, tap, mask):
        """The image's elements that 16 windows have at one place of a kernel's row."""
        arg, step = self.arg, self.step or self.arg.step_width
        start = column * self.function.coerce(step) - arg.pad_width + tap * arg.spread_width
        return Strided(self.function, start, step, arg.width, self.kind, mask)

    def line(self, row, tap):
        """Which row of the image the windows of a row have at one row of the kernel."""
        arg = self.arg
        return row * arg.step_height - arg.pad_height + tap * arg.spread_height


def unfold(kind, step):
    """The kernel that lays windows out as columns; a unit is one place of the kernel in a plane.

    step: the stride along rows if it is 1 or 2, else 0.
    """
    k = _Blocks("unfold", kind, step)
    f, arg = k.function, k.arg
    with my_units(f, arg.units, arg.tasks) as unit:
        across, rest = unit % arg.kernel_width, unit // arg.kernel_width
        down, plane = rest % arg.kernel_height, rest // arg.kernel_height
        image = f.offset(arg.image, plane * arg.height * arg.width, kind)
        out = f.offset(arg.columns, unit * arg.out_height * arg.out_width, kind)
        with f.loop(0, arg.out_width, LANES) as column:
            wanted = f.lanes_below(arg.out_width - column, LANES)
            met = k.strided(column, across, wanted)
            with f.loop(0, arg.out_height) as row:
                line = k.line(row, down)
                there = (line >= 0) & (line < arg.height)
                values = met.load(f.offset(image, line * arg.width, kind), there.splat(LANES))
                f.store(values, out, row * arg.out_width + column, wanted)
    return f


def fold(kind, step):
    """The kernel that adds columns up to images; a unit is a plane.

    Each place of the kernel is added in its turn, as NumPy does it.
    """
    k = _Blocks("fold", kind, step if step == 1 else 0)
    f, arg = k.function, k.arg
    with my_units(f, arg.units, arg.tasks) as unit:
        image = f.offset(arg.image, unit * arg.height * arg.width, kind)
        clear(f, image, arg.height * arg.width, kind)
        with f.loop(0, arg.kernel_height * arg.kernel_width) as tap:
            block = unit * arg.kernel_height * arg.kernel_width + tap
            columns = f.offset(arg.columns, block * arg.out_height * arg.out_width, kind)
            down, across = tap // arg.kernel_width, tap % arg.kernel_width
            with f.loop(0, arg.out_width, LANES) as column:
                wanted = f.lanes_below(arg.out_width - column, LANES)
                met = k.strided(column, across, wanted)
                with f.loop(0, arg.out_height) as row:
                    line = k.line(row, down)
                    with f.when((line >= 0) & (line < arg.height)):
                        values = f.load(columns, row * arg.out_width + column, met.type, wanted)
                        met.add(values, f.offset(image, line * arg.width, kind))
    return f


def tile(kind):
    """The kernel that puts columns of blocks which do not overlap back into images, as `fold` does.

    places: for each column of the image, where its element lies beyond that of the first in the
    same row, -1 if no block has it. A unit is a plane.
    """
    f = Function(f"tile_{kind}")
    arg = Arguments(f, ("image", "columns", "places"), (*GRID, "units", "tasks"))
    blocks, vector = arg.out_height * arg.out_width, Type(kind, LANES)
    with my_units(f, arg.units, arg.tasks) as unit:
        with f.loop(0, arg.height) as row:
            block, line = row // arg.kernel_height, row % arg.kernel_height
            line = (unit * arg.kernel_height + line) * arg.kernel_width
            source = f.offset(arg.columns, line * blocks + block * arg.out_width, kind)
            out = f.offset(arg.image, (unit * arg.height + row) * arg.width, kind)
            covered = (block < arg.out_height).splat(LANES)
            with f.loop(0, arg.width, LANES) as column:
                wanted = f.lanes_below(arg.width - column, LANES)
                places = f.load(arg.places, column, Type("i32", LANES), wanted)
                found = wanted & covered & (places >= 0)
                f.store(f.gather(source, places, vector.kind, found), out, column, wanted)
    return f
