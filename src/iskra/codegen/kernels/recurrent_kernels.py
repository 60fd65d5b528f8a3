"""Loop IR of recurrent layers over whole sequences: products with the state, gates, and gradients.

The sequences of a batch know nothing of each other, so a task takes some of them, a chunk, through
all the steps that it is given. Where weights are large or sequences few, the columns are shared out
too; then a launch is one step, for the next one needs all columns of the state.

A step goes from panel to panel of columns. A panel's sums over the state stay in registers for a
tile of rows, some stretch of k long, so that the weights' part is read from the first-level cache
by all tiles but the first; then the cell's formula takes them on, row by row.

The rows of all steps lie one below the other, those of a step from ``starts[step]`` to below
``starts[step + 1]``. Step by step there may be more rows or fewer: the first rows go on longest.
"""

from typing import NamedTuple

from iskra.codegen.ir import Function, Type, larger, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.gemm_kernel import padded
from iskra.codegen.kernels.gemm_tiles import Machine
from iskra.codegen.kernels.recurrent_cells import BACKWARD, CELLS, FORWARD

MOST_ROWS = 32  # of a chunk
DEPTH = 128     # the longest stretch of k

NUMBERS = ("size", "state", "rows", "chunks", "parts", "origin", "direction", "first", "last")
FORWARD_POINTERS = ("starts", "weights", "projection", "bias", "gates", "h", "c", "outputs",
                    "cells", "kept", "hidden")
FORWARD_KINDS = "aaaaaaaaaaatn"
BACKWARD_POINTERS = ("starts", "weights", "projection", "kept", "grad", "states", "cells", "carry",
                     "d_gates", "d_products", "d_outputs", "hidden")
BACKWARD_KINDS = "aaaaaaaaaaaatn"


class Stage(NamedTuple):
    """A product of each step: `gates` times as many columns as its result has, `vectors` of each
    gate at once, in tiles of `height` rows."""

    gates: int
    vectors: int
    height: int


class Spec(NamedTuple):
    """What a kernel's code depends on.

    stages: the products of a step; bias: whether one belongs to the first; keep: whether what
    backward needs is stored. A second product is the state's projection, or its gradient.
    """

    machine: Machine
    mode: str
    kind: str
    stages: tuple
    bias: bool = False
    keep: bool = False


def stage_of(machine, gates, rows):
    """The stage for chunks of so many rows: with few gates, more columns of each at once.

    >>> from iskra.codegen.kernels.gemm_tiles import AVX2, AVX512
    >>> stage_of(AVX512, 4, 8), stage_of(AVX2, 1, 32)
    (Stage(gates=4, vectors=1, height=4), Stage(gates=1, vectors=2, height=6))
    """
    vectors = 1 if gates > 1 else 2
    together = _together(machine, gates * vectors)
    most = (machine.registers - 1 - together) // together
    tiles = -(-rows // most)
    return Stage(gates, vectors, -(-rows // tiles))


def _together(machine, vectors):
    """How many vectors of columns are summed up at once: some of them if there are few registers.
    """
    return vectors if vectors < 4 or machine.registers >= 32 else 2


def _streams(stage):
    """Which vectors of columns are summed up: of which gate, which of its vectors."""
    return [(gate, i) for gate in range(stage.gates) for i in range(stage.vectors)]


class _Sequence:
    """A kernel while it is being written."""

    def __init__(self, spec, name, pointers):
        self.spec, self.cell = spec, CELLS[spec.mode]
        self.lanes = spec.machine.lanes(spec.kind)
        self.vector = Type(spec.kind, self.lanes)
        self.function = f = Function(f"{spec.mode.lower()}_{name}_{spec.kind}")
        self.arg = arg = Arguments(f, pointers, NUMBERS)
        most = max(len(_streams(s)) * (MOST_ROWS + s.height) for s in spec.stages)
        self.sums = f.scratch(self.vector, most)
        chunk, self.part = f.task // arg.parts, f.task % arg.parts
        self.low = arg.rows * chunk // arg.chunks
        self.high = arg.rows * (chunk + 1) // arg.chunks
        with f.loop(arg.first, arg.last) as self.number:
            place = arg.origin + self.number * arg.direction
            self.start, active = self._rows_of(place)
            # Rows that there are in the step before this one.
            before = self._rows_of(select(self.number > 0, place - arg.direction, place))
            self.start_before = before[0]
            self.going_on = select(self.number > 0, before[1], 0)
            self.count = larger(smaller(self.high, active) - self.low, f.coerce(0))
            self.step()

    def _rows_of(self, place):
        """Where the rows of a step begin, and how many there are."""
        f, start = self.function, self.function.load(self.arg.starts, place, Type("i64"))
        return start, f.load(self.arg.starts, place + 1, Type("i64")) - start

    def multiply(self, stage, a, weights, columns, inner, count, finish):
        """Multiply `count` rows at `a`, of `inner` elements each, with the weights, panel by panel.

        finish: what is done with the sums of a vector of each gate, for every row of the chunk.
        """
        f, arg = self.function, self.arg
        lines = padded(columns, self.lanes) // self.lanes
        panels = (lines + (stage.vectors - 1)) // stage.vectors
        size = padded(inner, self.lanes) * self.lanes
        with f.loop(panels * self.part // arg.parts,
                    panels * (self.part + 1) // arg.parts) as panel:
            streams = [
                f.offset(weights, (smaller(panel * stage.vectors + i, lines - 1) + lines * gate)
                         * size, self.spec.kind)
                for gate, i in _streams(stage)]
            with f.loop(0, inner, DEPTH) as k:
                with f.loop(0, count, stage.height) as row:
                    self.tile(stage, a, streams, row, k, inner, count)
            with f.loop(0, self.count) as self.row:
                for i in range(stage.vectors):
                    self.column = (panel * stage.vectors + i) * self.lanes
                    self.mask = f.lanes_below(columns - self.column, self.lanes)
                    self.vector_sums = [stage.vectors * gate + i for gate in range(stage.gates)]
                    self.stage = stage
                    finish()

    def tile(self, stage, a, streams, row, k, inner, count):
        """The sums of a tile over one stretch of k, added to those of the stretches before."""
        together = _together(self.spec.machine, len(streams))
        for first in range(0, len(streams), together):
            self.part_of_tile(stage, a, streams, range(first, first + together), row, k, inner,
                              count)

    def part_of_tile(self, stage, a, streams, numbers, row, k, inner, count):
        """`tile` for some of the streams of columns."""
        f, kind, machine = self.function, self.spec.kind, self.spec.machine
        zero = f.const(0.0, self.vector)
        sums = [[f.variable(zero, self.vector) for _ in numbers] for _ in range(stage.height)]
        # What is beyond the last row repeats it.
        rows = [f.offset(a, smaller(row + i, count - 1) * inner, kind)
                for i in range(stage.height)]
        with f.loop(k, smaller(k + DEPTH, inner)) as j:
            line = [f.load(streams[n], j * self.lanes, self.vector) for n in numbers]
            for start, totals in zip(rows, sums):
                spread = f.load(start, j, Type(kind)).splat(self.lanes)
                for total, values in zip(totals, line):
                    total.set(machine.add_product(spread, values, total.get()))
        places = [[((row + i) * len(streams) + n) * self.lanes for n in numbers]
                  for i in range(stage.height)]
        with f.when(k > 0):
            for totals, indices in zip(sums, places):
                for total, index in zip(totals, indices):
                    total.set(total.get() + f.load(self.sums, index, self.vector))
        for totals, indices in zip(sums, places):
            for total, index in zip(totals, indices):
                f.store(total.get(), self.sums, index)

    # What the cells' formulas ask for

    def sum(self, gate=0):
        """A vector of the product."""
        place = self.row * (self.stage.gates * self.stage.vectors) + self.vector_sums[gate]
        return self.function.load(self.sums, place * self.lanes, self.vector)

    def _index(self, row, size, gate=0, gates=1):
        return (row * gates + gate) * size + self.column

    def load_step(self, name, gate=0, gates=1, size=None):
        """A vector of the row of this step, of an array whose rows hold `gates` parts."""
        place = self._index(self.start + self.low + self.row, size or self.arg.size, gate, gates)
        return self.function.load(getattr(self.arg, name), place, self.vector, self.mask)

    def store_step(self, value, name, gate=0, gates=1, size=None):
        """Write one."""
        place = self._index(self.start + self.low + self.row, size or self.arg.size, gate, gates)
        self.function.store(value, getattr(self.arg, name), place, self.mask)

    def load(self, name):
        """A vector of the sequence's row, of an array that is the same for all steps."""
        place = self._index(self.low + self.row, self.arg.size)
        return self.function.load(getattr(self.arg, name), place, self.vector, self.mask)

    def store(self, value, name):
        """Write one."""
        place = self._index(self.low + self.row, self.arg.size)
        self.function.store(value, getattr(self.arg, name), place, self.mask)

    def put(self, name, *values):
        """Write all gates of this step."""
        for number, value in enumerate(values):
            self.store_step(value, name, number, len(values))


class Forward(_Sequence):
    """From the inputs' part of all gates to the states.

    starts: where the steps' rows begin; weights, projection: packed; gates: (all rows, gates *
    size); h: two buffers (rows, state) for the states before a step and after it, by turns; c:
    (rows, size), replaced; outputs: (all rows, state); hidden: (rows, size), what is projected. Of
    all rows, if they are kept: cells, each c before the step; kept, what backward needs of the
    gates, unless it takes the place of `gates`.
    """

    def __init__(self, spec):
        super().__init__(spec, "forward", FORWARD_POINTERS)

    def step(self):
        """One step of a chunk."""
        f, arg, kind = self.function, self.arg, self.spec.kind
        own, *projected = self.spec.stages
        buffer = arg.rows * arg.state
        turn = self.number % 2
        self.before_start = f.offset(arg.h, turn * buffer + self.low * arg.state, kind)
        self.after_start = f.offset(arg.h, (1 - turn) * buffer + self.low * arg.state, kind)
        self.multiply(own, self.before_start, arg.weights, arg.size, arg.state, self.count,
                     lambda: FORWARD[self.spec.mode](self))
        for stage in projected:
            hidden = f.offset(arg.hidden, self.low * arg.size, kind)
            self.multiply(stage, hidden, arg.projection, arg.state, arg.size, self.count,
                         lambda: self.output_state(self.sum()))

    def product(self, gate):
        """A gate's product with the state before, and its bias."""
        if not self.spec.bias:
            return self.sum(gate)
        place = self._index(0, self.arg.size, gate)
        return self.sum(gate) + self.function.load(self.arg.bias, place, self.vector, self.mask)

    def gate(self, number):
        """What the inputs contribute to a gate."""
        return self.load_step("gates", number, self.cell.gates)

    def before(self):
        """The state before."""
        place = self._index(self.row, self.arg.state)
        return self.function.load(self.before_start, place, self.vector, self.mask)

    def output(self, value):
        """Write the cell's result."""
        if len(self.spec.stages) == 1:
            return self.output_state(value)
        return self.store(value, "hidden")

    def output_state(self, value):
        """Write the state after."""
        self.store_step(value, "outputs", size=self.arg.state)
        place = self._index(self.row, self.arg.state)
        self.function.store(value, self.after_start, place, self.mask)

    def keep(self, *values, cell=None):
        """Store what backward needs, if it is wanted."""
        if not self.spec.keep:
            return
        self.put("gates" if self.cell.in_place else "kept", *values)
        if cell is not None:
            self.store_step(cell, "cells")


class Backward(_Sequence):
    """From the outputs' gradients to those of all gates; the last step comes first.

    kept, cells: as `Forward` left them; states: (all rows, state), those before each step, only of
    GRU; grad: (all rows, state); carry: (rows, size), of LSTM the gradient of c, replaced by that
    before the first step; of GRU what goes past the gates to h; d_gates: (all rows, gates * size);
    d_products: only of GRU, of the others the same. With a projection: d_outputs, (all rows,
    state), the whole gradients of the states; hidden, (all rows, size), what was projected.
    """

    def __init__(self, spec):
        super().__init__(spec, "backward", BACKWARD_POINTERS)

    def step(self):
        """One step of a chunk."""
        f, arg, kind = self.function, self.arg, self.spec.kind
        own, *projected = self.spec.stages
        inner = arg.size * self.cell.gates
        gradients = arg.d_products if self.spec.mode == "GRU" else arg.d_gates
        a = f.offset(gradients, (self.start_before + self.low) * inner, kind)
        count = smaller(self.count, self.going_on - self.low)
        if not projected:
            self.multiply(own, a, arg.weights, arg.size, inner, count,
                         lambda: BACKWARD[self.spec.mode](self))
        for stage in projected:
            self.multiply(own, a, arg.weights, arg.state, inner, count, lambda: self.store_step(
                self.grad_of_state(), "d_outputs", size=arg.state))
            a = f.offset(arg.d_outputs, (self.start + self.low) * arg.state, kind)
            self.multiply(stage, a, arg.projection, arg.size, arg.state, self.count,
                         lambda: self.store_step(BACKWARD[self.spec.mode](self), "hidden"))

    def grad_of_state(self):
        """The gradient of a step's state: of the output, and by way of the next step."""
        goes_on = (self.low + self.row < self.going_on).splat(self.lanes)
        return self.load_step("grad", size=self.arg.state) + select(goes_on, self.sum(), 0.0)

    def grad(self):
        """The gradient of the cell's result."""
        return self.sum() if len(self.spec.stages) > 1 else self.grad_of_state()

    def kept(self, count):
        """What forward kept."""
        return [self.load_step("kept", number, count) for number in range(count)]


def forward(spec):
    """The kernel that runs a layer; what its arguments are stands at `Forward`."""
    return Forward(spec).function


def backward(spec):
    """The kernel of a layer's gradients; what its arguments are stands at `Backward`."""
    return Backward(spec).function
