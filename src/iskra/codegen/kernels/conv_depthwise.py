"""Loop IR of convolutions each of whose channels has one kernel of its own, channels last.

Vectors run along the channels, and so do those of the weights, (taps, channels). A load outside of
the input is masked, so nothing is padded or packed.
"""

from typing import NamedTuple

from iskra.codegen.ir import INT, Function, Type, larger, smaller
from iskra.codegen.kernels.gemm_call import After, Arguments
from iskra.codegen.kernels.gemm_tiles import Machine

# tap_rows, tap_places: what a tap adds to a place in the input; taps: where its weights are, in
# numbers of rows of the weights; least, most: of `tap_places`. Strides count elements.
POINTERS = ("image", "weights", "out", "bias", "tap_rows", "tap_places", "taps")
NUMBERS = ("samples", "channels", "height", "width", "image_height", "image_width", "stride_rows",
           "stride", "inner", "image_sample", "image_row", "image_place", "out_sample", "out_row",
           "out_place", "least", "most")
KINDS = "aaaaaaatn"

PLACES = 4      # of the output, whose sums are in registers together
TAPS = 12       # of the gradient for the weights
AHEAD = 2       # rows that are asked for before they are needed: their parts lie far apart


class Depthwise(NamedTuple):
    """All that the code depends on: kinds of the numbers in memory and of the sums; how many taps
    there are."""

    machine: Machine
    kind: str
    sums: str
    taps: int
    after: After

    @property
    def lanes(self):
        """Elements in a vector."""
        return self.machine.lanes(self.sums)


def _inside(place, size):
    return (place >= 0) & (place < size)


def depthwise(spec, name="depthwise"):
    """The kernel that computes one row of one sample's output in each task."""
    f = Function(name)
    arg = Arguments(f, POINTERS, NUMBERS)
    lanes = spec.lanes
    sample, y = f.task // arg.height, f.task % arg.height
    image = f.offset(arg.image, sample * arg.image_sample, spec.kind)
    out = f.offset(arg.out, sample * arg.out_sample + y * arg.out_row, spec.kind)
    top = y * arg.stride_rows
    with f.loop(0, arg.width, PLACES) as x:
        # Beyond the last place it is computed again.
        places = [smaller(x + i, arg.width - 1) for i in range(PLACES)]
        starts = [place * arg.stride for place in places]
        first = f.load(arg.tap_rows, 0, INT) + top
        last = f.load(arg.tap_rows, arg.inner - 1, INT) + top
        inside = ((starts[0] + arg.least >= 0) & (starts[-1] + arg.most < arg.image_width)
                  & (smaller(first, last) >= 0) & (larger(first, last) < arg.image_height))
        for case, sums in ((inside, _inner_sums), (~inside, _outer_sums)):
            with f.when(case):
                compute = sums(f, arg, spec, image, top, starts)
                with f.loop(0, arg.channels, lanes) as channel:
                    there = f.lanes_below(arg.channels - channel, lanes)

                    def bias(channel=channel, there=there):
                        values = f.load(arg.bias, channel, Type(spec.kind, lanes), there)
                        return values.to(spec.sums)

                    for place, total in zip(places, compute(channel, there)):
                        value = spec.after.apply(total, None, bias, None).to(spec.kind)
                        f.store(value, out, place * arg.out_place + channel, there)
    return f


def _inner_sums(f, arg, spec, image, top, starts):
    """A function that returns the sums over all taps for some places in a row, at a vector of
    channels; all of them meet the input alone."""
    memory = Type(spec.kind, spec.lanes)
    zero = f.const(0.0, memory.of(spec.sums))
    steps = [(start - starts[0]) * arg.image_place for start in starts]
    lines, weights = [], []
    for tap in range(spec.taps):
        row, add = (f.load(table, tap, INT) for table in (arg.tap_rows, arg.tap_places))
        place = (top + row) * arg.image_row + (starts[0] + add) * arg.image_place
        lines.append(f.offset(image, place, spec.kind))
        place = f.load(arg.taps, tap, INT) * arg.channels
        weights.append(f.offset(arg.weights, place, spec.kind))

    def compute(channel, there):
        totals = [zero for _ in starts]
        for line, weight in zip(lines, weights):
            weight = f.load(weight, channel, memory, there).to(spec.sums)
            for i, step in enumerate(steps):
                values = f.load(line, step + channel, memory, there).to(spec.sums)
                totals[i] = spec.machine.add_product(weight, values, totals[i])
        return totals

    return compute


def _outer_sums(f, arg, spec, image, top, starts):
    """As `_inner_sums`, where a place may lie outside of the input."""
    return lambda channel, there: [total.get() for total in _masked_sums(
        f, arg, spec, (image, top, starts), channel, there)]


def _masked_sums(f, arg, spec, source, channel, there):
    image, y, starts = source
    vector = Type(spec.sums, spec.lanes)
    memory = vector.of(spec.kind)
    totals = [f.variable(f.const(0.0, vector), vector) for _ in starts]
    with f.loop(0, arg.inner) as tap:
        row = y + f.load(arg.tap_rows, tap, INT)
        mask = there & _inside(row, arg.image_height).splat(spec.lanes)
        add = f.load(arg.tap_places, tap, INT)
        weight = f.load(arg.weights, f.load(arg.taps, tap, INT) * arg.channels + channel, memory,
                        there).to(spec.sums)
        line = f.offset(image, row * arg.image_row + channel, spec.kind)
        for start, total in zip(starts, totals):
            place = start + add
            seen = mask & _inside(place, arg.image_width).splat(spec.lanes)
            values = f.load(line, place * arg.image_place, memory, seen).to(spec.sums)
            total.set(spec.machine.add_product(weight, values, total.get()))
    return totals


def depthwise_gradient(spec, name="depthwise_gradient"):
    """The kernel that computes the gradient for the weights, (taps, channels), which are `out`, of
    a vector of channels in each task; `weights` is the gradient of the output."""
    f = Function(name)
    arg = Arguments(f, POINTERS, NUMBERS)
    vector = Type(spec.sums, spec.lanes)
    memory = vector.of(spec.kind)
    channel = f.task * spec.lanes
    there = f.lanes_below(arg.channels - channel, spec.lanes)
    for first in range(0, spec.taps, TAPS):
        taps = range(first, min(first + TAPS, spec.taps))
        totals = [f.variable(f.const(0.0, vector), vector) for _ in taps]
        rows = [f.load(arg.tap_rows, tap, INT) for tap in taps]
        adds = [f.load(arg.tap_places, tap, INT) for tap in taps]
        with f.loop(0, arg.samples) as sample, f.loop(0, arg.height) as y:
            image = f.offset(arg.image, sample * arg.image_sample + channel, spec.kind)
            grad = f.offset(arg.weights, sample * arg.out_sample + y * arg.out_row + channel,
                            spec.kind)
            lines = [y * arg.stride_rows + row for row in rows]
            masks = [there & _inside(line, arg.image_height).splat(spec.lanes) for line in lines]
            with f.loop(0, arg.width) as x:
                values = f.load(grad, x * arg.out_place, memory, there).to(spec.sums)
                f.prefetch(grad, x * arg.out_place + arg.out_row * AHEAD, spec.kind)
                f.prefetch(image, (lines[-1] + AHEAD) * arg.image_row
                           + x * arg.stride * arg.image_place, spec.kind)
                for line, mask, add, total in zip(lines, masks, adds, totals):
                    place = x * arg.stride + add
                    mask = mask & _inside(place, arg.image_width).splat(spec.lanes)
                    at = line * arg.image_row + place * arg.image_place
                    met = f.load(image, at, memory, mask).to(spec.sums)
                    total.set(spec.machine.add_product(values, met, total.get()))
        for tap, total in zip(taps, totals):
            f.store(total.get().to(spec.kind), arg.out, arg.channels * tap + channel, there)
    return f
