"""Loop IR of convolutions each of whose channels has one kernel of its own, channels last.

Vectors run along the channels. A *block* of the output, some neighbouring places of some rows, is
computed together: each element of the input that it meets is loaded once for all of them. What
lies outside of the input is masked, so nothing is padded or packed but the weights, whose taps lie
side by side for each vector of channels.
"""

from contextlib import contextmanager
from typing import NamedTuple

from iskra.codegen.ir import Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import After, Arguments
from iskra.codegen.kernels.gemm_tiles import Machine

# Of the gradient, `weights` is the output's gradient, `out` the sums of each task. A task has some
# rows of some samples: these are cut into `chunks`, the rows of each into `parts`. Strides count
# elements.
POINTERS = ("image", "weights", "out", "bias")
NUMBERS = ("samples", "chunks", "parts", "channels", "height", "width", "image_height",
           "image_width", "image_sample", "image_row", "image_place", "out_sample", "out_row",
           "out_place")
KINDS = "aaaatn"


class Depthwise(NamedTuple):
    """All that the code depends on.

    kind: of the numbers in memory; sums: of those in registers; rows, places: of a block, no more
    than the output has; taps: (row, place, number) of each, what it adds to a place in the input
    and its number among the `size` places of the kernel; stride: of rows and places.
    """

    machine: Machine
    kind: str
    sums: str
    rows: int
    places: int
    taps: tuple
    size: int
    stride: tuple
    after: After

    @property
    def lanes(self):
        """Elements in a vector."""
        return self.machine.lanes(self.sums)

    @property
    def vector(self):
        """The type of the sums."""
        return Type(self.sums, self.lanes)

    def steps(self):
        """What each element of the input contributes to: an entry for each row, relative to the
        block's first, with the columns there and (row, place, column, tap) for each product."""
        found = {}
        for r in range(self.rows):
            for i, (row, add, _) in enumerate(self.taps):
                line = found.setdefault(r * self.stride[0] + row, [])
                line += [(r, p, p * self.stride[1] + add, i) for p in range(self.places)]
        return [(row, sorted({step[2] for step in line}), line)
                for row, line in sorted(found.items())]


class _Block:
    """A block of the output while it is computed.

    y, x: where it begins; fresh_y, fresh_x: where its first place that no other block has had is.
    """

    def __init__(self, f, arg, spec, image, place, fresh):
        self.f, self.arg, self.spec = f, arg, spec
        (self.y, self.x), (self.fresh_y, self.fresh_x) = place, fresh
        self.top, self.left = self.y * spec.stride[0], self.x * spec.stride[1]
        self.steps = spec.steps()
        self.columns = sorted({c for _, columns, _ in self.steps for c in columns})
        start = self.left * arg.image_place
        self.lines = [f.offset(image, (self.top + row) * arg.image_row + start, spec.kind)
                      for row, _, _ in self.steps]

    def out_place(self, r=0, p=0):
        """Where a place of the block lies in the output."""
        return (self.y + r) * self.arg.out_row + (self.x + p) * self.arg.out_place

    def inside(self):
        """Whether all elements that it meets lie in the input."""
        (first, _, _), (last, _, _) = self.steps[0], self.steps[-1]
        low, high = self.left + self.columns[0], self.left + self.columns[-1]
        return ((self.top + first >= 0) & (self.top + last < self.arg.image_height)
                & (low >= 0) & (high < self.arg.image_width))

    def fresh(self):
        """Whether no place has been in another block: of all, and by (row, place)."""
        each = {(r, p): (self.y + r >= self.fresh_y) & (self.x + p >= self.fresh_x)
                for r in range(self.spec.rows) for p in range(self.spec.places)}
        return each[0, 0], each

    def compute(self, easy, body):
        """Call ``body(channel, there, rows)`` for vectors of channels, in two loops: where `easy`
        holds, for whole vectors, with None for the mask `there`; for those that are left.

        ``rows()`` yields, for each row of the input, the values of its columns and its products.
        """
        f, arg, spec = self.f, self.arg, self.spec
        memory, places = spec.vector.of(spec.kind), {c: c * arg.image_place for c in self.columns}

        def rows(channel, mask):
            for i, (line, (_, columns, products)) in enumerate(zip(self.lines, self.steps)):
                yield {c: f.load(line, places[c] + channel, memory, mask(i, c)).to(spec.sums)
                       for c in columns}, products

        whole = select(easy, arg.channels // spec.lanes * spec.lanes, f.coerce(0))
        with f.loop(0, whole, spec.lanes) as channel:
            body(channel, None, rows(channel, lambda i, c: None))
        seen = self._seen()
        with f.loop(whole, arg.channels, spec.lanes) as channel:
            there = f.lanes_below(arg.channels - channel, spec.lanes)
            body(channel, there, rows(channel, lambda i, c: there & seen[i][c]))

    def _seen(self):
        """For each row and column of the input whether it is there, as masks."""
        columns = {c: _inside(self.left + c, self.arg.image_width) for c in self.columns}
        found = []
        for row, there, _ in self.steps:
            row = _inside(self.top + row, self.arg.image_height)
            found.append({c: (row & columns[c]).splat(self.spec.lanes) for c in there})
        return found


def _inside(place, size):
    return (place >= 0) & (place < size)


@contextmanager
def _blocks(f, arg, spec):
    """A loop over the blocks of a task: yields where the output of its sample begins, and it.

    The last blocks of a row, and of a task's rows, reach back to places that others had.
    """
    chunk, part = f.task // arg.parts, f.task % arg.parts
    begin, end = (arg.samples * (chunk + i) // arg.chunks for i in (0, 1))
    first, last = (arg.height * (part + i) // arg.parts for i in (0, 1))
    with f.loop(begin, end) as sample, f.loop(first, last, spec.rows) as y:
        image = f.offset(arg.image, sample * arg.image_sample, spec.kind)
        with f.loop(0, arg.width, spec.places) as x:
            place = smaller(y, last - spec.rows), smaller(x, arg.width - spec.places)
            yield sample * arg.out_sample, _Block(f, arg, spec, image, place, (y, x))


def depthwise(spec, name="depthwise"):
    """The kernel of the convolution; `weights` as (vectors of channels, taps, lanes)."""
    f = Function(name)
    arg = Arguments(f, POINTERS, NUMBERS)
    memory, zero = spec.vector.of(spec.kind), f.const(0.0, spec.vector)
    with _blocks(f, arg, spec) as (start, block):
        out = f.offset(arg.out, start + block.out_place(), spec.kind)

        def body(channel, there, rows):
            weights = f.offset(arg.weights, channel * spec.size, spec.kind)
            totals = {}
            for values, products in rows:
                for r, p, column, tap in products:
                    weight = f.load(weights, spec.taps[tap][2] * spec.lanes, memory).to(spec.sums)
                    totals[r, p] = spec.machine.add_product(weight, values[column],
                                                            totals.get((r, p), zero))

            def bias():
                return f.load(arg.bias, channel, memory, there).to(spec.sums)

            for (r, p), total in totals.items():
                value = spec.after.apply(total, None, bias, None).to(spec.kind)
                f.store(value, out, r * arg.out_row + p * arg.out_place + channel, there)

        block.compute(block.inside(), body)
    return f


def depthwise_gradient(spec, name="depthwise_gradient"):
    """The kernel of the gradient for the weights: the sums of each task, as (vectors of channels,
    taps, lanes)."""
    f = Function(name)
    arg = Arguments(f, POINTERS, NUMBERS)
    memory, lanes = spec.vector.of(spec.kind), spec.lanes
    size = (arg.channels + (lanes - 1)) // lanes * (lanes * spec.size)
    sums = f.offset(arg.out, f.task * size, spec.sums)
    with f.loop(0, size, lanes) as i:
        f.store(f.const(0.0, spec.vector), sums, i)
    with _blocks(f, arg, spec) as (start, block):
        grad = f.offset(arg.weights, start + block.out_place(), spec.kind)
        all_fresh, fresh = block.fresh()
        masks = {place: is_fresh.splat(lanes) for place, is_fresh in fresh.items()}

        def body(channel, there, rows):
            def load(r, p):
                place = r * arg.out_row + p * arg.out_place + channel
                return f.load(grad, place, memory, there).to(spec.sums)

            grads = {(r, p): load(r, p) for r, p in fresh}
            target, totals = f.offset(sums, channel * spec.size, spec.sums), {}
            for values, products in rows:
                for r, p, column, tap in products:
                    if tap not in totals:
                        totals[tap] = f.load(target, tap * lanes, spec.vector)
                    total = spec.machine.add_product(grads[r, p], values[column], totals[tap])
                    totals[tap] = total if there is None else select(masks[r, p], total,
                                                                     totals[tap])
                # A tap's last product is of the block's last row.
                for tap in {tap for r, _, _, tap in products if r == spec.rows - 1}:
                    f.store(totals.pop(tap), target, tap * lanes)

        block.compute(block.inside() & all_fresh, body)
    return f
