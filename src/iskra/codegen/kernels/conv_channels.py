"""Loop IR of convolutions whose groups have one channel each: nothing to multiply but rows."""

from typing import NamedTuple

from iskra.codegen.ir import INT, Function, Type, smaller
from iskra.codegen.kernels.conv_kernel import copy_padded
from iskra.codegen.kernels.gemm_call import After, Arguments
from iskra.codegen.kernels.gemm_thin import lane_sums
from iskra.codegen.kernels.gemm_tiles import Machine

# The arguments. weight_places: where the weight for each k lies among the weights of a channel of
# the output, `weights_size` of them; inner_places, row_places, row_sources: as for `convolution`
# and `pad`. Of the gradient, `weights` are the result and `out` the gradient that is given.
POINTERS = ("image", "weights", "out", "bias", "weight_places", "inner_places", "row_places",
            "row_sources")
NUMBERS = ("matrices", "share", "groups", "inner", "weights_size", "output_rows", "width",
           "image_size", "image_width", "before", "padded_rows", "padded_width")
KINDS = "aaaaaaaatn"

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

    @property
    def lanes(self):
        """Elements in a vector."""
        return self.machine.lanes(self.sums)


def _room(f, spec):
    return f.scratch(Type(spec.kind, spec.lanes), ROOM // spec.machine.bytes + 1)


def _image(f, arg, spec, matrix, room):
    """One channel of the input, padded in `room` if that is needed."""
    image = f.offset(arg.image, matrix * arg.image_size, spec.kind)
    if not spec.pads:
        return image
    copy_padded(f, arg, image, room, Type(spec.kind, spec.lanes), spec.parts)
    return room


def channelwise(spec, name="channelwise"):
    """The kernel that convolves a share of all channels of all samples."""
    return _Channelwise(spec, name).function


class _Channelwise:
    """A channel's kernel while it is being written."""

    def __init__(self, spec, name):
        self.spec = spec
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        self.lanes = spec.lanes
        room = _room(f, spec)
        first = f.task * arg.share
        with f.loop(first, smaller(first + arg.share, arg.matrices)) as matrix:
            self.matrix, self.group = matrix, matrix % arg.groups
            image = _image(f, arg, spec, matrix, room)
            for row in range(spec.rows):
                self.channel(image, row)

    def channel(self, image, number):
        """One channel of the output."""
        f, arg, spec = self.function, self.arg, self.spec
        channel = self.group * spec.rows + number
        weights = f.offset(arg.weights, channel * arg.weights_size, spec.kind)
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
            weight = f.load(weights, f.load(arg.weight_places, k, INT), Type(spec.kind))
            weight = weight.to(spec.sums).splat(self.lanes)
            for start, total in zip(starts, totals):
                values = f.load(start, place, vector.of(spec.kind), mask).to(spec.sums)
                total.set(spec.machine.add_product(weight, values, total.get()))
        return totals

    def after(self, value, channel):
        f, arg, spec = self.function, self.arg, self.spec

        def bias():
            return f.load(arg.bias, channel, Type(spec.kind)).to(spec.sums).splat(self.lanes)

        return spec.after.apply(value, None, bias, None)


TAPS = 12               # places in the kernel whose sums are in registers together


def channelwise_gradient(spec, inner, name="channelwise_gradient"):
    """The kernel that computes the gradient for the weights of a share of the channels.

    inner: how many places the kernel has. A task goes through all samples of a channel.
    """
    return _ChannelwiseGradient(spec, inner, name).function


class _ChannelwiseGradient:
    """The gradient's kernel while it is being written."""

    def __init__(self, spec, inner, name):
        self.spec, self.inner = spec, inner
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        self.vector = Type(spec.sums, spec.lanes)
        room = _room(f, spec)
        # The sums of each weight, lane by lane, between samples.
        self.totals = f.scratch(self.vector, spec.rows * inner)
        first = f.task * arg.share
        with f.loop(first, smaller(first + arg.share, arg.groups)) as group:
            for i in range(spec.rows * inner):
                f.store(f.const(0.0, self.vector), self.totals, i * spec.lanes)
            with f.loop(group, arg.matrices, arg.groups) as matrix:
                image = _image(f, arg, spec, matrix, room)
                for row in range(spec.rows):
                    for tap in range(0, inner, TAPS):
                        self.add(image, matrix, row, range(tap, min(tap + TAPS, inner)))
            self.store(group)

    def add(self, image, matrix, row, taps):
        """Add what one sample contributes to a few weights of one channel of the output."""
        f, arg, spec, vector = self.function, self.arg, self.spec, self.vector
        starts = [(row * self.inner + tap) * spec.lanes for tap in taps]
        totals = [f.variable(f.load(self.totals, start, vector), vector) for start in starts]
        images = [f.offset(image, f.load(arg.inner_places, tap, INT), spec.kind) for tap in taps]
        size = arg.output_rows * arg.width
        grad = f.offset(arg.out, (matrix * spec.rows + row) * size, spec.kind)
        with f.loop(0, arg.output_rows) as line:
            place = f.load(arg.row_places, line, INT)
            with f.loop(0, arg.width, spec.lanes) as j:
                mask = f.lanes_below(arg.width - j, spec.lanes)

                def load(pointer, place, mask=mask):
                    return f.load(pointer, place, vector.of(spec.kind), mask).to(spec.sums)

                values = load(grad, line * arg.width + j)
                for start, total in zip(images, totals):
                    met = load(start, place + j)
                    total.set(spec.machine.add_product(values, met, total.get()))
        for start, total in zip(starts, totals):
            f.store(total.get(), self.totals, start)

    def store(self, group):
        """Add up the lanes and write the weights of a group, which lie side by side."""
        f, arg, spec = self.function, self.arg, self.spec
        count = spec.rows * self.inner
        for first in range(0, count, spec.lanes):
            there = min(spec.lanes, count - first)
            sums = lane_sums([f.load(self.totals, (first + i) * spec.lanes, self.vector)
                              for i in range(there)])
            f.store(sums.to(spec.kind), arg.weights, group * count + first,
                    f.lanes_below(there, spec.lanes))
