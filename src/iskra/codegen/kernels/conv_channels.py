"""Loop IR of convolutions whose groups have one channel each: nothing to multiply but rows."""

from typing import NamedTuple

from iskra.codegen.ir import INT, Function, Type, smaller
from iskra.codegen.kernels.conv_kernel import copy_padded
from iskra.codegen.kernels.gemm_call import After, Arguments
from iskra.codegen.kernels.gemm_thin import lane_sums
from iskra.codegen.kernels.gemm_tiles import Machine

# The arguments. weight_places: where the weight for each k lies among the weights of a channel of
# the output, `weights_size` of them; inner_places, row_places, row_sources: as for `convolution`
# and `pad`. Of the gradient, `weights` are the sums, of each of the `chunks` of the samples, and
# `out` is the gradient that is given.
POINTERS = ("image", "weights", "out", "bias", "weight_places", "inner_places", "row_places",
            "row_sources")
NUMBERS = ("matrices", "share", "groups", "inner", "weights_size", "output_rows", "width",
           "image_size", "image_width", "before", "padded_rows", "padded_width", "chunks")
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


def channelwise_gradient(spec, inner, name="channelwise_gradient"):
    """The kernel that sums the gradient for the weights of a share of the groups over a chunk of
    the samples; inner: how many places the kernel has."""
    return _ChannelwiseGradient(spec, inner, name).function


def _block(machine, rows, inner):
    """How many of a group's channels and of the kernel's places are summed up together: so many
    that each loaded vector is used several times, but no more than the registers hold."""
    if machine.registers < 32 or rows == 1:
        return 1, min(inner, machine.registers - 4, 12)
    return min(rows, 3), min(inner, 9)


class _ChannelwiseGradient:
    """The gradient's kernel while it is being written."""

    def __init__(self, spec, inner, name):
        self.spec, self.inner = spec, inner
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        self.vector = Type(spec.sums, spec.lanes)
        room = _room(f, spec)
        # The sums of each weight, lane by lane, between samples.
        self.count = spec.rows * inner
        self.totals = f.scratch(self.vector, self.count)
        share, chunk = f.task // arg.chunks, f.task % arg.chunks
        samples = arg.matrices // arg.groups
        begin, end = (samples * (chunk + i) // arg.chunks for i in (0, 1))
        out = f.offset(arg.weights, chunk * arg.groups * self.count, spec.sums)
        first = share * arg.share
        with f.loop(first, smaller(first + arg.share, arg.groups)) as group:
            with f.loop(0, self.count * spec.lanes, spec.lanes) as i:
                f.store(f.const(0.0, self.vector), self.totals, i)
            with f.loop(begin, end) as sample:
                matrix = sample * arg.groups + group
                self.sample(_image(f, arg, spec, matrix, room), matrix)
            self.store(f.offset(out, group * self.count, spec.sums))

    def sample(self, image, matrix):
        """Add what one sample contributes to the weights of a group."""
        f, rows = self.function, self.spec.rows
        high, wide = _block(self.spec.machine, rows, self.inner)
        whole = rows // high * high
        cuts = range(0, self.inner, wide)
        with f.loop(0, whole, high) as row:
            for tap in cuts:
                self.add(image, matrix, row, high, range(tap, min(tap + wide, self.inner)))
        if whole < rows:
            for tap in cuts:
                self.add(image, matrix, whole, rows - whole,
                         range(tap, min(tap + wide, self.inner)))

    def add(self, image, matrix, row, high, taps):
        """Add what one sample contributes to a few weights of `high` channels of the output."""
        f, arg, spec, vector = self.function, self.arg, self.spec, self.vector
        places = [[((row + i) * self.inner + tap) * spec.lanes for tap in taps]
                  for i in range(high)]
        totals = [[f.variable(f.load(self.totals, place, vector), vector) for place in line]
                  for line in places]
        images = [f.offset(image, f.load(arg.inner_places, tap, INT), spec.kind) for tap in taps]
        size = arg.output_rows * arg.width
        grads = [f.offset(arg.out, (matrix * spec.rows + row + i) * size, spec.kind)
                 for i in range(high)]
        with f.loop(0, arg.output_rows) as line:
            start = f.load(arg.row_places, line, INT)
            with f.loop(0, arg.width, spec.lanes) as j:
                mask = f.lanes_below(arg.width - j, spec.lanes)

                def load(pointer, place, mask=mask):
                    return f.load(pointer, place, vector.of(spec.kind), mask).to(spec.sums)

                values = [load(grad, line * arg.width + j) for grad in grads]
                for number, image in enumerate(images):
                    met = load(image, start + j)
                    for value, total in zip(values, totals):
                        total = total[number]
                        total.set(spec.machine.add_product(value, met, total.get()))
        for line, sums in zip(places, totals):
            for place, total in zip(line, sums):
                f.store(total.get(), self.totals, place)

    def store(self, out):
        """Add up the lanes and write the sums of a group, which lie side by side."""
        f, spec, last = self.function, self.spec, self.count - 1
        with f.loop(0, self.count, spec.lanes) as first:
            sums = lane_sums([f.load(self.totals, smaller(first + i, last) * spec.lanes,
                                     self.vector) for i in range(spec.lanes)])
            f.store(sums, out, first, f.lanes_below(self.count - first, spec.lanes))
