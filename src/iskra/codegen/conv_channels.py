"""Loop IR of convolutions whose groups have one channel each: nothing to multiply but rows."""

from typing import NamedTuple

from iskra.codegen.conv_kernel import copy_padded
from iskra.codegen.gemm_call import After, Arguments
from iskra.codegen.gemm_tiles import Machine
from iskra.codegen.ir import INT, Function, Type, smaller

# The arguments: weights are (groups, rows, inner), the image of a group is padded in the kernel.
POINTERS = ("image", "weights", "out", "bias", "inner_places", "row_places", "row_sources")
NUMBERS = ("matrices", "share", "groups", "inner", "output_rows", "width", "image_size",
           "image_width", "before", "padded_rows", "padded_width")
KINDS = "aaaaaaatn"

ROOM = 1 << 15          # the most bytes of a padded channel; more than a few rows' worth
ROWS = 4                # rows of the output that are computed together


class Channels(NamedTuple):
    """All that the code depends on.

    kind: of the numbers in memory; sums: of those in registers; rows: channels of the output for
    one of the input; parts: the last dimension's stride; pads: whether the input needs a copy.
    """

    machine: Machine
    kind: str
    sums: str
    rows: int
    parts: int
    pads: bool
    after: After


def channelwise(spec, name="channelwise"):
    """The kernel that convolves a share of all channels of all samples."""
    return _Channelwise(spec, name).function


class _Channelwise:
    """A channel's kernel while it is being written."""

    def __init__(self, spec, name):
        self.spec = spec
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        self.lanes = spec.machine.lanes(spec.sums)
        room = f.scratch(Type(spec.kind, self.lanes), ROOM // spec.machine.bytes + 1)
        first = f.task * arg.share
        with f.loop(first, smaller(first + arg.share, arg.matrices)) as matrix:
            self.matrix, self.group = matrix, matrix % arg.groups
            image = f.offset(arg.image, matrix * arg.image_size, spec.kind)
            if spec.pads:
                copy_padded(f, arg, image, room, Type(spec.kind, self.lanes), spec.parts)
                image = room
            for row in range(spec.rows):
                self.channel(image, row)

    def channel(self, image, number):
        """One channel of the output."""
        f, arg, spec = self.function, self.arg, self.spec
        channel = self.group * spec.rows + number
        weights = f.offset(arg.weights, channel * arg.inner, spec.kind)
        size = arg.output_rows * arg.width
        out = f.offset(arg.out, (self.matrix * spec.rows + number) * size, spec.kind)
        with f.loop(0, arg.output_rows, ROWS) as row:
            # Beyond the last row it is computed again.
            rows = [smaller(row + i, arg.output_rows - 1) for i in range(ROWS)]
            starts = [f.offset(image, f.load(arg.row_places, r, INT), spec.kind) for r in rows]
            with f.loop(0, arg.width, self.lanes) as j:
                mask = f.lanes_below(arg.width - j, self.lanes)
                totals = self.sums([f.offset(s, j, spec.kind) for s in starts], weights, mask)
                for r, total in zip(rows, totals):
                    value = self.after(total.get(), channel).to(spec.kind)
                    f.store(value, out, r * arg.width + j, mask)

    def sums(self, starts, weights, mask):
        f, arg, spec = self.function, self.arg, self.spec
        vector = Type(spec.sums, self.lanes)
        totals = [f.variable(f.const(0.0, vector), vector) for _ in starts]
        with f.loop(0, arg.inner) as k:
            place = f.load(arg.inner_places, k, INT)
            weight = f.load(weights, k, Type(spec.kind)).to(spec.sums).splat(self.lanes)
            for start, total in zip(starts, totals):
                values = f.load(start, place, vector.of(spec.kind), mask).to(spec.sums)
                total.set(spec.machine.add_product(weight, values, total.get()))
        return totals

    def after(self, value, channel):
        f, arg, spec = self.function, self.arg, self.spec

        def bias():
            return f.load(arg.bias, channel, Type(spec.kind)).to(spec.sums).splat(self.lanes)

        return spec.after.apply(value, None, bias, None)
