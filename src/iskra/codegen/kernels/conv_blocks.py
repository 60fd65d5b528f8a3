"""Loop IR of convolutions whose operands need no packing but that of the weights.

A tile of the result is some neighbouring places times some vectors of output channels: a step
loads vectors of weights and spreads one element of the input after the other over the lanes, and
elements can be read wherever they lie. So a task copies its rows of the input once, with their
padding (`conv_copies.py`), and then reads each of them many times, out of the cache.

The task goes through panels of output channels, for each along k in stretches whose weights stay in
the first-level cache, for each over all of its tiles; their sums lie in `sums` meanwhile, channels
side by side, and are written out, transposed if channels come first, when they are complete.
"""

from typing import NamedTuple

from iskra.codegen.ir import INT, Function, Type, larger, select, smaller
from iskra.codegen.kernels.conv_copies import Source, copy_block
from iskra.codegen.kernels.gemm_call import After, Arguments
from iskra.codegen.kernels.gemm_pack import transpose
from iskra.codegen.kernels.gemm_tiles import Tile

ROOM = 240 << 10        # bytes of the input that a task copies
SUMS_ROOM = 128 << 10   # bytes of its sums

# weights: packed, see `pack_panels`; first, panel: which of a panel's k's is the first, and how
# many it has, for it may hold those of several convolutions; inner_places: what each k adds to a
# place in the block; bounds: the first k that a row of the output meets inside of the input, and
# the one after the last. image_sample .. image_row: elements between neighbours of the input,
# out_sample .. out_place: of the result; top, left: where the first block begins; line: elements of
# the block from one row of the output to the next.
POINTERS = ("image", "weights", "out", "bias", "inner_places", "bounds")
NUMBERS = ("samples", "share", "groups", "channels", "rows", "inner", "depth", "across", "first",
           "panel", "image_sample", "image_group", "image_channel", "image_row", "image_height",
           "image_width", "top", "left", "stride", "block_rows", "block_size", "block_width",
           "line", "height", "width", "out_sample", "out_group", "out_channel", "out_row",
           "out_place")
KINDS = "aaaaaatn"


class Blocks(NamedTuple):
    """All that the code depends on.

    kind: of the numbers in memory; lines, places: a tile's output rows and places in each, and
    what remains of an image's; step: elements between what neighbouring places meet; first_in,
    first_out: whether channels come first; copied: whether the input is, else it is read where it
    lies.
    """

    tile: Tile
    kind: str
    lines: tuple
    places: tuple
    step: int
    first_in: bool
    first_out: bool
    copied: bool
    after: After

    @property
    def finishes(self):
        """Whether sums are gone over once more before they are written."""
        return any(self.after)


def convolution(spec, name="convolution"):
    """The kernel that convolves a block of output rows of some samples, for one group."""
    return _Convolution(spec, name).function


class _Convolution:
    """The kernel while it is being written."""

    def __init__(self, spec, name):
        self.spec, self.tile = spec, spec.tile
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        tile = self.tile
        size = Type(tile.kind).size
        if spec.copied:
            self.block = f.scratch(Type(tile.kind, tile.lanes),
                                   ROOM // size // tile.lanes + tile.lanes)
        self.sums = f.scratch(Type(tile.kind, tile.lanes),
                              SUMS_ROOM // size // tile.lanes + tile.columns)
        blocks = (arg.height + (arg.block_rows - 1)) // arg.block_rows
        task, part = f.task // arg.across, f.task % arg.across
        self.y = task % blocks * arg.block_rows
        self.lines = smaller(arg.block_rows, arg.height - self.y)
        task = task // blocks
        self.group, first = task % arg.groups, task // arg.groups * arg.share
        self.sample = first
        self.samples = smaller(arg.share, arg.samples - first)
        self.image = f.offset(arg.image, self.sample * arg.image_sample
                              + self.group * arg.image_group, spec.kind)
        if spec.copied:
            self.copy_in()
        panels = (arg.rows + (tile.columns - 1)) // tile.columns
        with f.loop(panels * part // arg.across, panels * (part + 1) // arg.across) as panel:
            self.panel(panel, panels)

    def copy_in(self):
        """Copy the task's rows of all its samples."""
        f, arg, spec = self.function, self.arg, self.spec
        rows = arg.block_size // arg.block_width
        with f.loop(0, self.samples) as i:
            image = Source(f.offset(self.image, i * arg.image_sample, spec.kind), spec.kind,
                           spec.first_in, arg.image_channel, arg.image_row, arg.image_height,
                           arg.image_width, arg.channels, self.y * arg.stride + arg.top, arg.left)
            copy_block(f, self.tile, image, self.of_sample(i), (rows, arg.block_width),
                       rows * arg.block_width * self.tile.lanes, self.tile.lanes)

    def of_sample(self, i):
        """Where the block of the task's i-th sample lies."""
        f, arg, lanes, kind = self.function, self.arg, self.tile.lanes, self.tile.kind
        if not self.spec.copied:
            return f.offset(self.image, i * arg.image_sample + self.y * arg.line, kind)
        chunks = (arg.channels + (lanes - 1)) // lanes
        return f.offset(self.block, i * chunks * arg.block_size * lanes, kind)

    def panel(self, panel, panels):
        """Compute and write the results of one panel of output channels."""
        f, arg, tile = self.function, self.arg, self.tile
        start = (self.group * panels + panel) * (arg.panel + 1)
        weights = f.offset(arg.weights, start * tile.columns, tile.kind)
        zeros = f.load(weights, arg.panel * tile.columns, Type(tile.kind, tile.lanes))
        self.finite = ~zeros.ne(0.0).any()
        weights = f.offset(weights, arg.first * tile.columns, tile.kind)
        size = arg.block_rows * arg.width * tile.columns
        with f.loop(0, arg.inner, arg.depth) as k:
            count = smaller(arg.depth, arg.inner - k)
            places = f.offset(arg.inner_places, k, "i64")
            at_k = f.offset(weights, k * tile.columns, tile.kind)
            with f.loop(0, self.samples) as i:
                sums = f.offset(self.sums, i * size, tile.kind)
                self.tiles(self.of_sample(i), sums, (k, count, places, at_k))
        with f.loop(0, self.samples) as i:
            self.write(f.offset(self.sums, i * size, tile.kind), panel, i)

    def tiles(self, block, sums, stretch):
        """Add what a stretch of k brings to all tiles of one sample."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        (line, lines_left), (place, places_left) = spec.lines, spec.places
        k, count, *operands = stretch
        with f.loop(0, self.lines, line) as y:
            low, high = self.bounds(y, smaller(y + line, self.lines) - 1)
            low, high = larger(low - k, 0), smaller(high - k, count)
            with f.loop(0, arg.width, place) as x:
                start = f.offset(block, y * arg.line + x * spec.step, tile.kind)
                out = f.offset(sums, (y * arg.width + x) * tile.columns, tile.kind)
                whole = (self.lines - y >= line) & (arg.width - x >= place)
                stretch = k > 0, low, high, *operands
                with f.when(whole):
                    self.one_tile((line, place), start, out, stretch)
                if (lines_left, places_left) != (line, place):
                    with f.when(~whole):
                        self.one_tile((lines_left, places_left), start, out, stretch)

    def bounds(self, first, last):
        """The k's that some rows meet inside of the input: those outside add 0 times a weight,
        which is 0 if the panel's weights are finite."""
        f, arg = self.function, self.arg
        low = f.load(arg.bounds, (self.y + last) * 2, INT)
        high = f.load(arg.bounds, (self.y + first) * 2 + 1, INT)
        return select(self.finite, low, f.coerce(0)), select(self.finite, high, arg.inner)

    def one_tile(self, shape, start, out, stretch):
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        begun, low, high, places, weights = stretch
        vector = Type(tile.kind, tile.lanes)
        zero = f.const(0.0, vector)
        lines, width = shape
        outs = [f.offset(out, arg.width * (tile.columns * i), tile.kind) for i in range(lines)]
        starts = [f.offset(start, arg.line * i, tile.kind) for i in range(lines)]
        sums = [[[f.variable(zero, vector) for _ in range(tile.vectors)] for _ in range(width)]
                for _ in range(lines)]
        with f.loop(low, high) as k:
            place = f.load(places, k, INT)
            at_k = f.offset(weights, k * tile.columns, tile.kind)
            values = [f.load(at_k, i * tile.lanes, vector) for i in range(tile.vectors)]
            for start, line in zip(starts, sums):
                start = f.offset(start, place, tile.kind)
                for x, totals in enumerate(line):
                    spread = f.load(start, x * spec.step, Type(tile.kind))
                    spread = spread.splat(tile.lanes)
                    for total, value in zip(totals, values):
                        total.set(tile.machine.add_product(spread, value, total.get()))
        places = [(out, (x * tile.vectors + i) * tile.lanes, total)
                  for out, line in zip(outs, sums) for x, totals in enumerate(line)
                  for i, total in enumerate(totals)]
        with f.when(begun):
            for out, place, total in places:
                total.set(total.get() + f.load(out, place, vector))
        for out, place, total in places:
            f.store(total.get(), out, place)

    # What becomes of complete sums

    def write(self, sums, panel, i):
        """Write the sums of one sample and panel into the result."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        channel = panel * tile.columns
        start = ((self.sample + i) * arg.out_sample + self.group * arg.out_group
                 + self.y * arg.out_row)
        out = f.offset(arg.out, start, spec.kind)
        if spec.finishes:
            self.finish(sums, channel)
        if spec.first_out:
            self.write_turned(sums, f.offset(out, channel * arg.out_channel, spec.kind),
                              arg.rows - channel)
        else:
            self.write_rows(sums, f.offset(out, channel, spec.kind), arg.rows - channel)

    def finish(self, sums, channel):
        """Scale, add the bias, apply the activation."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        vector = Type(tile.kind, tile.lanes)
        with f.loop(0, tile.columns, tile.lanes) as j:
            there = f.lanes_below(arg.rows - channel - j, tile.lanes)

            def bias(j=j, there=there):
                first = self.group * arg.rows + channel + j
                return f.load(arg.bias, first, vector.of(spec.kind), there).to(tile.kind)

            with f.loop(0, self.lines * arg.width) as place:
                at = place * tile.columns + j
                f.store(spec.after.apply(f.load(sums, at, vector), None, bias, None), sums, at)

    def write_rows(self, sums, out, channels):
        """Channels side by side."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        vector = Type(tile.kind, tile.lanes)
        masks = [f.lanes_below(channels - i * tile.lanes, tile.lanes) for i in range(tile.vectors)]
        with f.loop(0, self.lines) as y:
            with f.loop(0, arg.width) as x:
                source = f.offset(sums, (y * arg.width + x) * tile.columns, tile.kind)
                target = f.offset(out, y * arg.out_row + x * arg.out_place, spec.kind)
                for i, mask in enumerate(masks):
                    value = f.load(source, i * tile.lanes, vector)
                    f.store(value.to(spec.kind), target, i * tile.lanes, mask)

    def write_turned(self, sums, out, channels):
        """Places side by side: all of the task's rows follow each other."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        vector = Type(tile.kind, tile.lanes)
        lanes, count = tile.lanes, self.lines * arg.width
        with f.loop(0, count, lanes) as place:
            there = f.lanes_below(count - place, lanes)
            for first in range(0, tile.columns, lanes):
                rows = [f.load(sums, (place + i) * tile.columns + first, vector)
                        for i in range(lanes)]
                for i, row in enumerate(transpose(rows)):
                    mask = there & (channels > first + i).splat(lanes)
                    f.store(row.to(spec.kind), out, arg.out_channel * (first + i) + place, mask)


# The weights. A panel holds, for each k, the weights of as many output channels as a tile has
# columns; and in the end as many zeros, or NaN if a weight is not finite. rows: output channels of
# a group; run: how many k's lie side by side in memory, places: where each such run begins;
# targets: which k of the panel each of all k's in memory is, or -1.
PACK_POINTERS = ("weights", "packed", "places", "targets")
PACK_NUMBERS = ("rows", "inner", "all", "run", "row_step", "group_size")
PACK_KINDS = "aaaatn"


def pack_panels(tile, kind, turned, name="pack_panels"):
    """The kernel that packs the weights, a panel in each task.

    turned: whether k's lie side by side in memory, else output channels do.
    """
    f = Function(name)
    arg = Arguments(f, PACK_POINTERS, PACK_NUMBERS)
    panels = (arg.rows + (tile.columns - 1)) // tile.columns
    group, row = f.task // panels, f.task % panels * tile.columns
    source = f.offset(arg.weights, group * arg.group_size + row * arg.row_step, kind)
    out = f.offset(arg.packed, f.task * (arg.inner + 1) * tile.columns, tile.kind)
    zeros = f.variable(f.const(0.0, Type(tile.kind, tile.lanes)))

    def put(values, target, first):
        zeros.set(zeros.get() + values * 0.0)
        with f.when(target >= 0):
            f.store(values, out, target * tile.columns + first)

    pack = _turned_panel if turned else _copied_panel
    with f.loop(0, arg.all, arg.run) as k:
        start = f.offset(source, f.load(arg.places, k // arg.run, INT), kind)
        pack(f, tile, kind, arg, start, k, arg.rows - row, put)
    for first in range(0, tile.columns, tile.lanes):
        f.store(zeros.get(), out, arg.inner * tile.columns + first)
    return f


def _copied_panel(f, tile, kind, arg, source, k, valid, put):
    """One k: `run` is 1."""
    lanes = tile.lanes
    target = f.load(arg.targets, k, INT)
    for first in range(0, tile.columns, lanes):
        there = f.lanes_below(valid - first, lanes)
        put(f.load(source, first, Type(kind, lanes), there).to(tile.kind), target, first)


def _turned_panel(f, tile, kind, arg, source, k, valid, put):
    lanes = tile.lanes
    with f.loop(0, arg.run, lanes) as j:
        there = f.lanes_below(arg.run - j, lanes)
        for first in range(0, tile.columns, lanes):
            rows = []
            for i in range(first, first + lanes):
                mask = there & (valid > i).splat(lanes)
                rows.append(f.load(source, arg.row_step * i + j, Type(kind, lanes), mask))
            for i, row in enumerate(transpose([r.to(tile.kind) for r in rows])):
                with f.when(arg.run - j > i):
                    put(row, f.load(arg.targets, k + j + i, INT), first)
