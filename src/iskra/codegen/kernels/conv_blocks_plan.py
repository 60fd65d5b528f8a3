"""How the convolutions of `conv_blocks.py` are cut into blocks and tiles: decided by dtypes, shapes
and memory formats alone."""

import math
from typing import NamedTuple

import numpy as np

from iskra.codegen.kernels import conv_blocks
from iskra.codegen.kernels.conv_blocks import ROOM, SUMS_ROOM, Blocks
from iskra.codegen.kernels.gemm_plan import SUMS, TASK, compiled, even, workspace
from iskra.codegen.kernels.gemm_tiles import Tile, host

_DEPTH = 288            # k's whose weights stay in the first-level cache
_SECOND_CACHE = 1 << 20 # bytes of weights that all tasks can read again and again
SIZES = {"f32": 4, "f64": 8}   # bytes of a sum


class Format(NamedTuple):
    """Elements between neighbours along samples, channels, rows and places; whether the channels
    come first, that is places lie side by side, and not channels."""

    sample: int
    channel: int
    row: int
    place: int
    first: bool


def memory_format(channels, size, first):
    """The format of dense images of so many channels and this spatial shape."""
    height, width = (1, *size)[-2:]
    image = channels * height * width
    if first:
        return Format(image, height * width, width, 1, True)
    return Format(image, 1, width * channels, channels, False)


class _Cut(NamedTuple):
    """lines, places: (of a tile, of the remaining ones); block_rows: of the output in a block;
    share: samples in it."""

    lines: tuple
    places: tuple
    block_rows: int
    share: int


class Part(NamedTuple):
    """A product of weights and windows.

    samples, groups, rows, channels: as for `Windows`; input, output: spatial shapes (two
    dimensions); before: the padding; stride; taps: places in the padded input.
    """

    samples: int
    groups: int
    rows: int
    channels: int
    input: tuple
    output: tuple
    before: tuple
    stride: tuple
    taps: list

    @classmethod
    def of(cls, windows):
        """The same sizes, with a height of 1 if there is one dimension."""
        def two(sizes, missing):
            return (missing, *sizes)[-2:]

        layout = windows.layout
        return cls(windows.samples, windows.groups, windows.rows, windows.channels,
                   two(layout.input, 1), two(windows.output, 1), two(layout.before, 0),
                   two(windows.stride, 1), [two(tap, 0) for tap in windows.taps])

    @property
    def weights(self):
        """Weights of a group."""
        return self.rows * self.channels * len(self.taps)

    @property
    def least(self):
        """The first tap along each dimension."""
        return tuple(min(tap[i] for tap in self.taps) for i in (0, 1))

    def reach(self, rows):
        """Rows and columns of the input that so many rows of the output meet."""
        most = [max(tap[i] for tap in self.taps) - self.least[i] for i in (0, 1)]
        return ((rows - 1) * self.stride[0] + most[0] + 1,
                (self.output[1] - 1) * self.stride[1] + most[1] + 1)

    @property
    def inside(self):
        """Whether no window reaches out of the input."""
        starts = [low - before for low, before in zip(self.least, self.before)]
        reach = self.reach(self.output[0])
        return min(starts) >= 0 and all(
            start + size <= there for start, size, there in zip(starts, reach, self.input))

    def block_size(self, rows, lanes):
        """Elements of the copy of a sample's part."""
        return math.prod(self.reach(rows)) * -(-self.channels // lanes) * lanes


def tile_for(kind, rows):
    """The tile whose panels suit `rows` output channels best; wide ones load least."""
    machine, sums = host(), SUMS[kind]
    vectors = -(-rows // machine.lanes(sums))
    preferred = 3 if machine.name == "neon" else 2

    def cost(width):
        return -(-vectors // width) * width, abs(width - preferred)

    width = min(range(1, min(vectors, 3) + 1), key=cost)
    return Tile(machine, sums, min(24, (machine.registers - 1 - width) // width), width)


def cut(part, kind, tile):
    """The blocks of a convolution, or None where not even one row fits."""
    size, lanes = SIZES[tile.kind], tile.lanes
    height, width = part.output
    strips = -(-width // tile.rows)
    place = -(-width // strips)
    most = max(1, tile.rows // width) if strips == 1 else 1
    line = -(-height // -(-height // most))

    def fits(rows, samples=1):
        return (samples * part.block_size(rows, lanes) * size <= ROOM
                and samples * rows * width * tile.columns * size <= SUMS_ROOM)

    rows = next((r for r in range(height, 0, -1)
                 if fits(r) and (r == height or r % line == 0)), None)
    if rows is None:
        return None
    blocks = -(-height // rows)
    work = 2 * math.prod(part.output) * part.rows * part.channels * len(part.taps)
    images = part.samples * part.groups
    worth = max(1, min(16, images * work // TASK))
    # Shorter blocks copy more, and the tasks should be enough for some threads.
    blocks = min(max(blocks, -(-worth // images)), max(blocks, height * width // 56))
    shortest = -(-height // blocks)
    rows = min(-(-shortest // line) * line, height)
    share = 1
    if rows == height:
        # Weights that do not stay in the second-level cache are read again for each block.
        wanted = images // 4 if part.weights * size > _SECOND_CACHE else max(1, images // worth)
        share = max(s for s in range(1, min(part.samples, wanted) + 1) if s == 1 or fits(rows, s))
        share = -(-part.samples // -(-part.samples // share))
    return _Cut((line, height % line or line), (place, width % place or place), rows, share)


def serves(part, kind, formats, taps=None):
    """Whether blocks serve a convolution; `formats` of the input and the result; taps: how many all
    parts have that share the weights.

    Where channels come first, `conv_kernel.py` is quicker with few channels, which would not fill
    their chunks, and where each element is used once for each output channel.
    """
    tile = tile_for(kind, part.rows)
    if not part.taps or cut(part, kind, tile) is None:
        return False
    if not (formats[0].first and formats[1].first):
        return min(part.rows, part.channels) > 1
    if formats[1].first and formats[1].place != 1:
        return False
    full = -(-part.rows // tile.lanes) * tile.lanes
    return (4 * full <= 5 * part.rows and 2 * part.channels >= tile.lanes
            and ((taps or len(part.taps)) > 1 or part.stride != (1, 1)))


def inner_order(part, lanes):
    """The k's in the order in which panels have them: arrays of channels and of numbers of taps.

    A row of taps is together, so that rows of the output that meet padding can leave it out.
    """
    channels, taps = (a.ravel() for a in np.meshgrid(
        np.arange(part.channels), np.arange(len(part.taps)), indexing="ij"))
    rows = np.array([tap[0] for tap in part.taps])
    order = np.lexsort((channels % lanes, taps, channels // lanes, rows[taps]))
    return channels[order], taps[order]


def inner_bounds(part):
    """For each row of the output: the first k that it meets inside of the input, and the end."""
    rows = np.sort([tap[0] for tap in part.taps])
    first = np.arange(part.output[0]) * part.stride[0] - part.before[0]
    low = np.searchsorted(rows, -first)
    high = np.maximum(np.searchsorted(rows, part.input[0] - first), low)
    return np.stack([low, high], axis=1) * part.channels


class PackedWeights:
    """The weights of some parts, which are packed together.

    parts: of one convolution; kernels: for each, the places in the kernel that its taps are;
    weights: what `weight_layout` returned.
    """

    def __init__(self, parts, kernels, weights, kind):
        part = parts[0]
        self.tile = tile = tile_for(kind, part.rows)
        self.firsts, wanted = [], []
        for part, kernel in zip(parts, kernels):
            self.firsts.append(sum(len(w) for w in wanted))
            channels, taps = inner_order(part, tile.lanes)
            wanted.append(weights.number(channels, np.array(kernel)[taps]))
        wanted = np.concatenate(wanted)
        self.inner = len(wanted)
        targets = np.full(weights.run * len(weights.places), -1, np.int64)
        targets[wanted] = np.arange(len(wanted))
        self.tables = weights.places, targets
        turned = weights.row_step != 1
        self.kernel = compiled(conv_blocks.pack_panels, (tile, kind, turned),
                               conv_blocks.PACK_KINDS)
        self.numbers = (part.rows, self.inner, len(targets), weights.run, weights.row_step,
                        weights.group_size)
        self.tasks = part.groups * -(-part.rows // tile.columns)

    def run(self, w):
        """The packed weights."""
        packed = workspace(self.tasks * (self.inner + 1) * self.tile.columns, w.dtype)
        self.kernel(w, packed, *self.tables, self.numbers, self.tasks)
        return packed


class WeightLayout(NamedTuple):
    """Where weights lie, for `pack_panels`; number: what is k's number of a channel and a place in
    the kernel (arrays)."""

    row_step: int
    group_size: int
    run: int
    places: object
    number: object


def weight_layout(geometry, first, turned):
    """The layout of the weights (output channels, channels, *kernel), channels first or last.

    turned: whether the input's channels are the product's rows, and the output's are summed over.
    """
    channels, rows = geometry.channels
    size = math.prod(geometry.kernel)
    group = rows * channels * size
    if not turned:
        def number(channel, tap):
            return channel * size + tap if first else tap * channels + channel

        return WeightLayout(channels * size, group, channels * size, np.zeros(1, np.int64), number)

    def number(channel, tap):
        return channel * size + tap

    if first and size > 1:
        return WeightLayout(size, group, size, np.arange(rows) * (channels * size), number)
    return WeightLayout(1, group, 1, np.arange(rows * size) * channels, number)


class BlocksPlan:
    """A convolution in blocks; its weights are packed already."""

    def __init__(self, part, packed, number, kind, after, formats):
        """number: which of the parts in `packed` this is; formats: of the input and the result."""
        tile = packed.tile
        lanes = tile.lanes
        chosen = cut(part, kind, tile)
        source, target = formats
        copied = kind != tile.kind or source.first or not part.inside
        rows, width = part.reach(chosen.block_rows)
        channels, taps = inner_order(part, lanes)
        ys, xs = (np.array([tap[i] - part.least[i] for tap in part.taps])[taps] for i in (0, 1))
        if copied:
            step, line = part.stride[1] * lanes, part.stride[0] * width * lanes
            self.inner_places = ((channels // lanes * rows + ys) * width + xs) * lanes
            self.inner_places += channels % lanes
        else:
            step, line = part.stride[1] * source.place, part.stride[0] * source.row
            start = [low - before for low, before in zip(part.least, part.before)]
            self.inner_places = ((ys + start[0]) * source.row + (xs + start[1]) * source.place
                                 + channels)
        spec = Blocks(tile, kind, chosen.lines, chosen.places, step, source.first, target.first,
                      copied, after)
        self.kernel = compiled(conv_blocks.convolution, (spec,), conv_blocks.KINDS)
        inner, self.bounds = len(channels), inner_bounds(part)
        tasks = (-(-part.samples // chosen.share) * part.groups
                 * -(-part.output[0] // chosen.block_rows))
        work = 2 * part.samples * part.groups * part.weights * math.prod(part.output)
        panels = -(-part.rows // tile.columns)
        across = min(panels, -(-min(16, max(1, work // TASK)) // tasks))
        self.tasks = tasks * across
        self.numbers = (
            part.samples, chosen.share, part.groups, part.channels, part.rows, inner,
            even(inner, _DEPTH), across, packed.firsts[number], packed.inner, source.sample,
            part.channels * source.channel, source.channel if source.first else source.place,
            source.row, *part.input, *(low - b for low, b in zip(part.least, part.before)),
            part.stride[0], chosen.block_rows, rows * width, width, line, *part.output,
            target.sample, part.rows * target.channel, target.channel, target.row, target.place,
        )

    def run(self, packed, x, out, bias=None):
        """Write the convolution of x into `out`, arrays of the formats."""
        self.kernel(x, packed, out, bias, self.inner_places, self.bounds, self.numbers, self.tasks)
