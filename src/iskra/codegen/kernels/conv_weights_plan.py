"""How the gradient for the weights is cut into parts and blocks: decided by dtypes, shapes and
memory formats alone."""

import math

import numpy as np

from iskra.codegen.kernels import conv_weights
from iskra.codegen.kernels.conv_blocks_plan import SIZES
from iskra.codegen.kernels.conv_weights import ROOM, SLACK, Spec
from iskra.codegen.kernels.gemm_plan import SUMS, TASK, compiled, workspace
from iskra.codegen.kernels.gemm_tiles import heights, host, tile
from iskra.runtime.hardware import past_caches

_SUMS_ROOM = 320 << 10      # bytes of a task's sums, which stay in the second-level cache
_PARTIAL = 4 << 20          # bytes of sums over chunks of the samples
_MOST_ROWS = 128            # output channels of a task


def _even(count, most, unit):
    """The size of the fewest equal parts of at most `most`, in whole units."""
    parts = -(-count // max(most, unit))
    return -(-count // (parts * unit)) * unit


class _Cut:
    """rows, channels: of a task's part; block_rows, share: of the output and samples of a block.

    block_rows is 0 where not even one row fits.
    """

    def __init__(self, part, shape, size, copied):
        taps, lanes = len(part.taps), shape.lanes
        height, width = part.output
        self.rows = _even(part.rows, _MOST_ROWS, 1)
        most = _SUMS_ROOM // (self.rows * taps * size)
        self.channels = _even(part.channels, min(most // lanes * lanes, 128), lanes)
        padded = -(-self.rows // lanes) * lanes

        def fits(rows, samples=1):
            block = math.prod(part.reach(rows)) * self.channels
            grad = rows * width * padded if copied else 0
            slack = max(0, (lanes * padded if copied else 0) - SLACK // size)
            return samples * block * size <= ROOM and (samples * grad + slack) * size <= ROOM

        rows = next((r for r in range(height, 0, -1) if fits(r)), 0)
        self.block_rows = rows and -(-height // -(-height // rows))
        self.share = 1
        if rows == height:
            self.share = max(s for s in range(1, part.samples + 1) if s == 1 or fits(rows, s))


def serves(part, kind, formats):
    """Whether blocks serve; `formats` of the input and the output's gradient.

    As for the convolution itself; vectors of channels should not be nearly empty.
    """
    shape = tile(host(), SUMS[kind])
    if not _Cut(part, shape, SIZES[shape.kind], True).block_rows:
        return False
    if 2 * part.channels < shape.lanes or part.rows < 4:
        return False
    first = formats[0].first and formats[1].first
    return not first or len(part.taps) > 1 or part.stride != (1, 1)


class WeightBlocksPlan:
    """The gradient of a convolution for its weights, in blocks."""

    def __init__(self, part, kind, formats, first):
        """formats: of the input and the output's gradient; first: whether the weights' channels
        come first."""
        part, formats = _without_gaps(part, formats)
        shape = tile(host(), SUMS[kind])
        size, lanes, taps = SIZES[shape.kind], shape.lanes, len(part.taps)
        image, grad = formats
        copied = grad.first or kind != shape.kind
        cut = _Cut(part, shape, size, copied)
        columns = -(-cut.channels // lanes) * taps
        shape = shape._replace(vectors=min(shape.vectors, columns))
        down, across = -(-part.rows // cut.rows), -(-part.channels // cut.channels)
        dense = image.row == part.input[1] * image.place and part.stride == (1, 1)
        ahead = dense and not copied and not image.first and _from_memory(part, size)
        self.spec = Spec(shape, kind, _heights(part.rows, cut.rows, shape.rows), image.first,
                         grad.first, copied, ahead)
        self.kernel = compiled(conv_weights.weight_gradient, (self.spec,), conv_weights.KINDS)
        parts = part.groups * down * across
        weights = part.groups * part.weights
        work = 2 * weights * part.samples * math.prod(part.output)
        worth = min(16, max(1, work // TASK))
        room = max(1, _PARTIAL // (weights * size))
        chunks = min(part.samples, room, -(-worth // parts))
        self.tasks = parts * chunks
        line = columns * lanes
        self.sums = self.tasks * cut.rows * line
        self._block_tables(part, cut, lanes)
        lines, width = part.reach(cut.block_rows)
        self.numbers = (
            part.samples, cut.share, chunks, part.groups, down, across, part.rows, part.channels,
            cut.rows, cut.channels, taps, image.sample, image.channel,
            image.channel if image.first else image.place, image.row, *part.input,
            -part.before[0], -part.before[1], part.stride[0], cut.block_rows, lines, width,
            grad.sample, grad.channel, grad.channel if grad.first else grad.place, grad.row,
            *part.output,
        )
        self._plan_collecting(part, cut, shape, kind, first, (down, across, chunks, line))

    def _block_tables(self, part, cut, lanes):
        lines, width = part.reach(cut.block_rows)
        chunk = lines * width * lanes
        taps = np.array([y * width + x for y, x in part.taps], np.int64) * lanes
        chunks = np.arange(-(-cut.channels // lanes), dtype=np.int64) * chunk
        self.columns = np.add.outer(chunks, taps).reshape(-1)
        samples = np.arange(cut.share, dtype=np.int64) * (len(chunks) * chunk)
        rows = np.arange(cut.block_rows) * (part.stride[0] * width * lanes)
        places = np.arange(part.output[1]) * (part.stride[1] * lanes)
        self.places = np.add.outer(np.add.outer(samples, rows), places).reshape(-1)

    def _plan_collecting(self, part, cut, shape, kind, first, sizes):
        taps = len(part.taps)
        turned = first and taps > 1
        self.collect = compiled(conv_weights.collect, (shape, kind, turned),
                                conv_weights.COLLECT_KINDS)
        down, across, chunks, line = sizes
        self.collect_numbers = (
            part.rows, part.channels, chunks, down, across, cut.rows, cut.channels, line, taps,
            taps if first else 1, 1 if first else part.channels,
        )
        self.collect_tasks = part.groups * part.rows * across

    def run(self, grad, x, out):
        """Write the gradient into `out`; arrays of the formats."""
        sums = workspace(self.sums, grad.dtype)
        self.kernel(x, grad, sums, self.columns, self.places, self.numbers, self.tasks)
        self.collect(sums, out, self.collect_numbers, self.collect_tasks)


def _without_gaps(part, formats):
    """The same sums, from the places of the input that one tap meets alone if channels come last:
    a block should not hold the places in between."""
    image, grad = formats
    if image.first or len(part.taps) > 1 or part.before != (0, 0):
        return part, formats
    row, place = part.stride
    image = image._replace(row=row * image.row, place=place * image.place)
    return part._replace(input=part.output, stride=(1, 1)), (image, grad)


def _from_memory(part, size):
    """Whether a convolution of one tap reads more than the caches hold, so that copying a block,
    which computes nothing, would wait for memory."""
    count = part.samples * part.groups * (part.channels + part.rows) * math.prod(part.output)
    return len(part.taps) == 1 and count * size > past_caches()


def _heights(rows, part, most):
    """The heights of the tiles that a part and the last part are cut into."""
    found = set()
    for count in {min(part, rows), rows - (-(-rows // part) - 1) * part}:
        _, height, higher = heights(count, most)
        found |= {height + 1, height} if higher else {height}
    return tuple(sorted(found, reverse=True))
