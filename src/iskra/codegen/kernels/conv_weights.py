"""Loop IR of the gradient of a convolution for its weights, over blocks of images.

k counts places of the output. With the channels of a place side by side nothing is packed: a step
loads vectors of input channels that meet the place through some tap, the columns, and spreads one
element of the output's gradient after the other, the rows. Both are copied into blocks once
(`conv_copies.py`), unless the gradient lies like that already.

A task owns some output channels times some input channels and all taps, whose sums stay in the
second-level cache, and goes through a chunk of the samples. `collect` adds up the chunks.
"""

from typing import NamedTuple

from iskra.codegen.ir import INT, Function, Type, select, smaller
from iskra.codegen.kernels.conv_copies import Source, copy_block
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.gemm_pack import transpose
from iskra.codegen.kernels.gemm_tiles import Tile

ROOM = 240 << 10        # bytes of each operand that a task copies
SLACK = 8 << 10         # bytes behind a copy of the gradient

# column_places: where each column's vector of channels lies in the block, for its first place;
# places: what each place of the output adds. down, across: into how many parts the output's and
# the input's channels are cut, of `part_rows` and `part_channels`; image_apart: between channels if
# they come first, else between places.
POINTERS = ("image", "grad", "sums", "column_places", "places")
NUMBERS = ("samples", "share", "chunks", "groups", "down", "across", "rows", "channels",
           "part_rows", "part_channels", "taps", "image_sample", "image_channel", "image_apart",
           "image_row", "image_height", "image_width", "top", "left", "stride", "block_rows",
           "block_lines", "block_width", "grad_sample", "grad_channel", "grad_apart", "grad_row",
           "height", "width")
KINDS = "aaaaatn"


class Spec(NamedTuple):
    """All that the code depends on.

    heights: of the tiles that occur; first_image, first_grad: whether channels come first; copied:
    whether the gradient is; ahead: whether the next block is asked for during a block's products,
    for one tap, stride 1 and channels last in both operands.
    """

    tile: Tile
    kind: str
    heights: tuple
    first_image: bool
    first_grad: bool
    copied: bool
    ahead: bool


def weight_gradient(spec, name="weight_gradient"):
    """The kernel that sums over a chunk of the samples for a part of the weights of a group."""
    return _WeightGradient(spec, name).function


class _WeightGradient:
    """The kernel while it is being written."""

    def __init__(self, spec, name):
        self.spec, self.tile = spec, spec.tile
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        kind, lanes = self.tile.kind, self.tile.lanes
        size = Type(kind).size
        self.block = f.scratch(Type(kind, lanes), ROOM // size // lanes + lanes)
        if spec.copied:
            self.grads = f.scratch(Type(kind, lanes), (ROOM + SLACK) // size // lanes)
        task, chunk = f.task // arg.chunks, f.task % arg.chunks
        part, self.group = task % (arg.down * arg.across), task // (arg.down * arg.across)
        self.row = part // arg.across * arg.part_rows
        self.rows = smaller(arg.part_rows, arg.rows - self.row)
        self.channel = part % arg.across * arg.part_channels
        self.channels = smaller(arg.part_channels, arg.channels - self.channel)
        chunks = (arg.part_channels + (lanes - 1)) // lanes
        self.line = chunks * arg.taps * lanes
        size = arg.part_rows * self.line
        self.sums = f.offset(arg.sums, f.task * size, kind)
        first = arg.samples * chunk // arg.chunks
        last = arg.samples * (chunk + 1) // arg.chunks
        with f.loop(first, last, arg.share) as sample:
            with f.loop(0, arg.height, arg.block_rows) as y:
                self.begun = (sample > first) | (y > 0)
                self.add(sample, smaller(arg.share, last - sample), y)

    def add(self, sample, samples, y):
        """Add what some rows of the output bring, of some samples."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        lines = smaller(arg.block_rows, arg.height - y)
        self.count = samples * lines * arg.width
        chunks = (arg.part_channels + (tile.lanes - 1)) // tile.lanes
        size = arg.block_lines * arg.block_width * tile.lanes
        start = sample * arg.image_sample + (
            self.group * arg.channels + self.channel) * arg.image_channel
        image = f.offset(arg.image, start, spec.kind)
        with f.loop(0, samples) as i:
            source = Source(f.offset(image, i * arg.image_sample, spec.kind), spec.kind,
                            spec.first_image, arg.image_apart, arg.image_row,
                            arg.image_height, arg.image_width, self.channels,
                            y * arg.stride + arg.top, arg.left)
            copy_block(f, tile, source, f.offset(self.block, i * chunks * size, tile.kind),
                       (arg.block_lines, arg.block_width), size, tile.lanes)
        start = (sample * arg.grad_sample + y * arg.grad_row
                 + (self.group * arg.rows + self.row) * arg.grad_channel)
        grad = f.offset(arg.grad, start, spec.kind)
        self.grad, self.grad_place = grad, arg.grad_apart
        if spec.copied:
            self.copy_grad(grad, samples, lines)
        if spec.ahead:
            self.next_image = f.offset(image, y * arg.image_row + self.step(
                arg.image_row, arg.image_sample), spec.kind)
            self.next_grad = self.step(arg.grad_row, arg.grad_sample)
        self.tiles()

    def step(self, row, sample):
        """Elements from a block to the next."""
        arg = self.arg
        return select(arg.block_rows < arg.height, arg.block_rows * row, arg.share * sample)

    def prefetch(self, k, number, column, grads):
        """Ask for a place of the next block: with each vector of channels once, and each tile."""
        f, arg, tile = self.function, self.arg, self.tile
        with f.when(number.eq(0)):
            for i in range(tile.vectors):
                f.prefetch(self.next_image, k * arg.image_apart + (column + i) * tile.lanes,
                           tile.kind)
        with f.when(column.eq(0)):
            f.prefetch(grads, self.next_grad, tile.kind)

    def copy_grad(self, grad, samples, lines):
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        self.grad = self.grads
        self.grad_place = (arg.part_rows + (tile.lanes - 1)) // tile.lanes * tile.lanes
        with f.loop(0, samples) as i:
            source = Source(f.offset(grad, i * arg.grad_sample, spec.kind), spec.kind,
                            spec.first_grad, arg.grad_apart, arg.grad_row, lines, arg.width,
                            self.rows, f.coerce(0), f.coerce(0))
            start = i * arg.block_rows * arg.width * self.grad_place
            out = f.offset(self.grads, start, tile.kind)
            copy_block(f, tile, source, out, (lines, arg.width), f.coerce(tile.lanes),
                       self.grad_place)

    def tiles(self):
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        tiles = (self.rows + (tile.rows - 1)) // tile.rows
        there = (self.channels + (tile.lanes - 1)) // tile.lanes * arg.taps
        with f.loop(0, there, tile.vectors) as column:
            self.there = there - column
            columns = [smaller(column + i, there - 1) for i in range(tile.vectors)]
            blocks = [f.offset(self.block, f.load(arg.column_places, c, INT), tile.kind)
                      for c in columns]
            with f.loop(0, tiles) as number:
                # Heights differ by one at most: the first tiles are higher.
                row = number * (self.rows // tiles) + smaller(number, self.rows % tiles)
                height = self.rows // tiles + (number < self.rows % tiles).to("i64")
                for h in spec.heights:
                    with f.when(height.eq(h)):
                        self.one_tile(h, row, (number, column), blocks)

    def one_tile(self, height, row, place, blocks):
        f, arg, tile, (number, column) = self.function, self.arg, self.tile, place
        vector = Type(tile.kind, tile.lanes)
        zero = f.const(0.0, vector)
        sums = [[f.variable(zero, vector) for _ in blocks] for _ in range(height)]
        grad = f.offset(self.grad, row, tile.kind)
        line = self.line
        out = f.offset(self.sums, row * line + column * tile.lanes, tile.kind)
        starts = [f.offset(out, line * i, tile.kind) for i in range(height)]
        for start in starts:
            for i in range(tile.vectors):
                f.prefetch(start, i * tile.lanes, tile.kind)
        with f.loop(0, self.count) as k:
            at = f.load(arg.places, k, INT)
            values = [f.load(block, at, vector) for block in blocks]
            at_k = f.offset(grad, k * self.grad_place, tile.kind)
            if self.spec.ahead:
                self.prefetch(k, number, column, at_k)
            for i, totals in enumerate(sums):
                spread = f.load(at_k, i, Type(tile.kind)).splat(tile.lanes)
                for total, value in zip(totals, values):
                    total.set(tile.machine.add_product(spread, value, total.get()))
        # Of the last panel's columns some may be missing.
        masks = [(self.there > i).splat(tile.lanes) for i in range(tile.vectors)]
        places = [(start, i * tile.lanes, total, mask) for start, totals in zip(starts, sums)
                  for i, (total, mask) in enumerate(zip(totals, masks))]
        with f.when(self.begun):
            for start, place, total, mask in places:
                total.set(total.get() + f.load(start, place, vector, mask))
        for start, place, total, mask in places:
            f.store(total.get(), start, place, mask)


# A task of `collect` writes the weights of one output channel and one part of the input's. `line`:
# elements of the sums of an output channel; weights_channel, weights_tap: elements of the weights
# from one channel of the input, or one tap, to the next.
COLLECT_POINTERS = ("sums", "out")
COLLECT_NUMBERS = ("rows", "channels", "chunks", "down", "across", "part_rows", "part_channels",
                   "line", "taps", "weights_channel", "weights_tap")
COLLECT_KINDS = "aatn"


def collect(tile, kind, turned, name="collect"):
    """The kernel that adds up the chunks' sums and brings them into the weights' order.

    turned: whether the weights of a channel's taps lie side by side, else the channels do.
    """
    f = Function(name)
    arg = Arguments(f, COLLECT_POINTERS, COLLECT_NUMBERS)
    lanes = tile.lanes
    number, part = f.task // arg.across, f.task % arg.across
    group, row = number // arg.rows, number % arg.rows
    size = arg.part_rows * arg.line
    place = ((group * arg.down + row // arg.part_rows) * arg.across + part) * arg.chunks
    sums = f.offset(arg.sums, place * size + row % arg.part_rows * arg.line, tile.kind)
    first = part * arg.part_channels
    start = number * arg.channels * arg.taps + first * arg.weights_channel
    out = f.offset(arg.out, start, kind)

    def total(channel, taps):
        """The sums of a vector of channels for some taps."""
        places = [(channel // lanes * arg.taps + tap) * lanes for tap in taps]
        vector = Type(tile.kind, lanes)
        totals = [f.variable(f.load(sums, place, vector)) for place in places]
        with f.loop(1, arg.chunks) as chunk:
            more = f.offset(sums, chunk * size, tile.kind)
            for t, place in zip(totals, places):
                t.set(t.get() + f.load(more, place, vector))
        return [t.get() for t in totals]

    there = smaller(arg.part_channels, arg.channels - first)
    with f.loop(0, there, lanes) as channel:
        if turned:
            with f.loop(0, arg.taps, lanes) as tap:
                mask = f.lanes_below(arg.taps - tap, lanes)
                values = total(channel, [smaller(tap + i, arg.taps - 1) for i in range(lanes)])
                for i, weights in enumerate(transpose(values)):
                    with f.when(there - channel > i):
                        place = (channel + i) * arg.weights_channel + tap
                        f.store(weights.to(kind), out, place, mask)
        else:
            mask = f.lanes_below(there - channel, lanes)
            with f.loop(0, arg.taps) as tap:
                values = total(channel, [tap])[0].to(kind)
                f.store(values, out, tap * arg.weights_tap + channel, mask)
    return f
