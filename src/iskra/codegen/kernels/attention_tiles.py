"""What the kernels of attention have in common: panels, tiles and the functions between products.

A task keeps a few *panels*: `columns of a tile` queries (or keys) side by side in the lanes of
vectors, an operand's panel being packed as (depth, columns). The other operand's rows stream past
it as they lie in memory, one element at a time spread over the lanes. So scores come out with a
query to each lane: maxima, sums and exponentials over the keys need no step across lanes, and the
scores of a block are packed already as the operand of the product that follows.
"""

from typing import NamedTuple

from iskra.codegen.ir import INT, SIZES, Function, Type, fma, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.gemm_pack import transpose
from iskra.codegen.kernels.gemm_tiles import Tile, heights
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.exponentials import LOG2E
from iskra.codegen.mathematics.floats import (
    INF,
    at_least,
    format_of,
    polynomial,
    power_of_two,
    round_to_integer,
)

# Below, the exponential is 0: 2^-127 has no normal number, and its weight is lost in any sum.
_LEAST = {"f32": -88.0, "f64": -709.0}
_BYTES = 1 << 16        # of packed panels of one operand that a task may hold
_PANELS = 4             # that a task holds at most
_BLOCK = 128            # rows that stream past before the products that follow

# rows of a tile of scores: few enough for a register to point to each.
_ROWS = {"avx512": 8, "avx2": 6, "neon": 8, "baseline": 4}


class Spec(NamedTuple):
    """All that the code of a kernel depends on.

    tile: of the scores, its rows being those that stream past; depth: elements of a query and of a
    key; width: of a value; mask: "" (none), "i1" (what takes part) or the kind of what is added;
    causal: whether each query sees the keys up to its own place only; drops: whether weights are
    dropped; block: how many rows stream
    past before the products that follow; panels: how many of them a task holds at most.
    """

    tile: Tile
    depth: int
    width: int
    mask: str
    causal: bool
    drops: bool
    block: int
    panels: int


def spec_of(machine, kind, count, depth, width, mask, causal, drops):
    """The `Spec` for operands of such sizes on a machine; count: queries or keys in the panels."""
    vectors = 1 if count <= machine.lanes(kind) else 2
    tile = Tile(machine, kind, _ROWS[machine.name], vectors)
    size = tile.columns * max(depth, width) * SIZES[kind]
    panels = max(1, min(_PANELS, _BYTES // size))
    return Spec(tile, depth, width, mask, causal, drops, _BLOCK, panels)


class Panels:
    """A kernel while it is being written: the parts that all kernels of attention are made of.

    pointers, numbers: the names of its arguments; `starts`: where the task's matrix begins in each
    of the operands, which are the first pointers and stand in that order in a row of `offsets`.
    """

    pointers, numbers, operands = (), (), 0

    def __init__(self, spec, name):
        self.function = Function(name)
        self.spec, self.tile = spec, spec.tile
        self.arg = Arguments(self.function, self.pointers, self.numbers, ("scale", "share"))
        self.vector = Type(spec.tile.kind, spec.tile.lanes)
        self.write()

    @classmethod
    def function_of(cls, spec):
        """The kernel, written."""
        return cls(spec, cls.__name__).function

    def write(self):
        """Write the kernel: each has its own way."""
        raise NotImplementedError

    def begin_task(self, rows):
        """Find the task's matrix, and which of its `rows` the panels hold: from, to, panels."""
        f, arg, columns = self.function, self.arg, self.tile.columns
        self.matrix = f.task // arg.blocks
        first = f.task % arg.blocks * (arg.panels * columns)
        self.starts = [self._start(number) for number in range(self.operands)]
        last = smaller(rows, first + arg.panels * columns)
        return first, last, (last - first + (columns - 1)) // columns

    def _start(self, number):
        name, spec = self.pointers[number], self.spec
        kind = {"mask": spec.mask, "kept": spec.drops and "i1"}.get(name, self.tile.kind)
        if not kind:
            return None
        offset = self.function.load(self.arg.offsets, self.matrix * self.operands + number, INT)
        return self.function.offset(getattr(self.arg, name), offset, kind)

    # Panels

    def scratch(self, count):
        """Memory for `count` rows of a panel, and for what packing writes too much."""
        tile = self.tile
        return self.function.scratch(Type(tile.kind), (count + tile.lanes) * tile.columns)

    def panel_of(self, memory, panel, rows):
        """One of several panels that follow each other."""
        return self.function.offset(memory, panel * (rows * self.tile.columns), self.tile.kind)

    def vectors_of(self, pointer, row):
        """A row of a panel: a vector for each of the tile's."""
        start = self.function.offset(pointer, row * self.tile.columns, self.tile.kind)
        return [self.function.load(start, j * self.tile.lanes, self.vector)
                for j in range(self.tile.vectors)]

    def put(self, vectors, pointer, row):
        """Write a row of a panel."""
        start = self.function.offset(pointer, row * self.tile.columns, self.tile.kind)
        for j, values in enumerate(vectors):
            self.function.store(values, start, j * self.tile.lanes)

    def pack(self, panel, source, step, there, count, kind=None, scale=None):
        """Make a panel's columns of rows of memory: ``panel[k][i] = source[i * step + k] * scale``.

        there: how many rows there are; the last one is repeated. count: of the k's. Squares are
        written: behind the panel, `lanes` rows less one may be overwritten.
        """
        f, tile, lanes = self.function, self.tile, self.tile.lanes
        kind = kind or tile.kind
        with f.loop(0, tile.columns, lanes) as first:
            rows = [f.offset(source, smaller(first + i, there - 1) * step, kind)
                    for i in range(lanes)]
            with f.loop(0, count, lanes) as k:
                mask = f.lanes_below(count - k, lanes)
                lines = [f.load(row, k, Type(kind, lanes), mask).to(tile.kind) for row in rows]
                out = f.offset(panel, k * tile.columns + first, tile.kind)
                for i, values in enumerate(transpose(lines)):
                    f.store(values if scale is None else values * scale, out, i * tile.columns)

    def fill(self, panel, rows, number=0.0):
        """Set all of a panel to one number."""
        value = self.function.const(number, self.vector)
        with self.function.loop(0, rows) as row:
            self.put([value] * self.tile.vectors, panel, row)

    def unpack(self, panel, count, target, there, factor=None):
        """Write a panel's columns as contiguous rows: ``target[i][k] = panel[k][i] * factor[i]``.

        there: how many columns; count: of the k's. factor(first): those of the columns from number
        `first` on, a vector of them or a scalar.
        """
        f, tile, lanes = self.function, self.tile, self.tile.lanes
        with f.loop(0, tile.columns, lanes) as first:
            factors = None if factor is None else factor(first)
            with f.loop(0, count, lanes) as k:
                lines = [f.load(panel, smaller(k + i, f.coerce(count - 1)) * tile.columns + first,
                                self.vector) for i in range(lanes)]
                if factors is not None:
                    lines = [line * factors for line in lines]
                mask = f.lanes_below(count - k, lanes)
                for i, values in enumerate(transpose(lines)):
                    with f.when(there > first + i):
                        f.store(values, target, (first + i) * count + k, mask)

    def put_tile(self, sums, memory, row):
        """Write a tile's sums, from row number `row` on."""
        for i, totals in enumerate(sums):
            self.put([total.get() for total in totals], memory, row + i)

    def line(self, pointer, place, there):
        """A number for each column of a panel: vectors from memory, `there` numbers of it."""
        return [self.function.load(pointer, place + j, self.vector, mask)
                for j, mask in self.line_masks(there)]

    def put_line(self, vectors, pointer, place, there):
        """Write a number for each column of a panel."""
        for values, (j, mask) in zip(vectors, self.line_masks(there)):
            self.function.store(values, pointer, place + j, mask)

    def line_masks(self, there):
        """Where a line's vectors begin, and masks of those of their lanes that exist."""
        lanes = self.tile.lanes
        return [(j, self.function.lanes_below(there - j, lanes))
                for j in range(0, self.tile.columns, lanes)]

    def masked(self, score, given):
        """A score with what the mask adds: numbers, or -inf where it says no (so NaN stays)."""
        if self.spec.mask == "i1":
            given = select(given, self.function.const(0.0, self.vector), -INF)
        return score + given

    # Products

    def tile_rows(self, row, there):
        """The numbers of a tile's rows; beyond the last the last one comes again."""
        return [smaller(row + i, there - 1) for i in range(self.tile.rows)]

    def sums_of(self, rows):
        """Variables for a tile of that many rows."""
        zero = self.function.const(0.0, self.vector)
        return [[self.function.variable(zero, self.vector) for _ in range(self.tile.vectors)]
                for _ in range(rows)]

    def add_products(self, sums, element, panel, count):
        """Add to the sums of row i: element(i, k) times row k of the panel, for k below `count`."""
        f, machine = self.function, self.tile.machine
        with f.loop(0, count) as k:
            line = self.vectors_of(panel, k)
            for i, totals in enumerate(sums):
                spread = element(i, k).splat(self.tile.lanes)
                for total, values in zip(totals, line):
                    total.set(machine.add_product(spread, values, total.get()))

    def products(self, rows, source, step, panel, depth):
        """A tile's sums: products of rows of memory (their numbers are given) with the panel."""
        f, scalar = self.function, Type(self.tile.kind)
        starts = [f.offset(source, row * step, scalar.kind) for row in rows]
        sums = self.sums_of(len(rows))
        self.add_products(sums, lambda i, k: f.load(starts[i], k, scalar), panel, f.coerce(depth))
        return sums

    def accumulate(self, panel, depth, source, step, weights, count, factors=None):
        """panel[d] = panel[d] * factors + sum over k of source[k * step + d] * weights[k]."""
        tiles, height, higher = heights(depth, self._most_rows())
        f = self.function
        if higher:
            with f.loop(0, higher) as t:
                self._tile(panel, t * (height + 1), height + 1, source, step, weights, count,
                           factors)
        if tiles > higher:
            with f.loop(0, tiles - higher) as t:
                self._tile(panel, t * height + higher * (height + 1), height, source, step,
                           weights, count, factors)

    def _most_rows(self):
        # A row of weights and one element are needed besides the sums.
        tile = self.tile
        return (tile.machine.registers - tile.vectors - 1) // tile.vectors

    def _tile(self, panel, first, height, source, step, weights, count, factors):
        f, scalar = self.function, Type(self.tile.kind)
        start = f.offset(source, first, scalar.kind)
        sums = self.sums_of(height)
        for i, totals in enumerate(sums):
            for j, (total, before) in enumerate(zip(totals, self.vectors_of(panel, first + i))):
                total.set(before if factors is None else before * factors[j])
        self.add_products(
            sums, lambda i, k: f.load(f.offset(start, k * step, scalar.kind), i, scalar), weights,
            count)
        self.put_tile(sums, panel, first)


class QueryPanels(Panels):
    """A kernel whose panels hold queries, past which the keys stream."""

    def query_rows(self, number, query):
        """Pointer to the rows of an operand that begin with number `query`, from row to row, and
        how many of them a panel has."""
        step = getattr(self.arg, self.pointers[number] + "_row")
        start = self.function.offset(self.starts[number], query * step, self.tile.kind)
        return start, step, smaller(self.arg.queries - query, self.tile.columns)

    def blocks(self, count, first, last, block):
        """Code for all blocks of keys and all panels: ``block(panel, query, key, there)``.

        `there` keys, from number `key` on, pass by the panel that begins with number `query`.
        """
        f, arg, spec, columns = self.function, self.arg, self.spec, self.tile.columns
        end = smaller(arg.keys, last) if spec.causal else arg.keys
        with f.loop(0, end, spec.block) as key:
            with f.loop(0, count) as panel:
                query = first + panel * columns
                seen = smaller(arg.keys, query + columns) if spec.causal else arg.keys
                there = smaller(seen - key, spec.block)
                with f.when(there > 0):
                    block(panel, query, key, there)

    def turned_scratch(self):
        """Memory for a block of the mask and of what is kept, or None where there is none."""
        spec = self.spec
        self.turned = self.scratch(spec.block) if spec.mask else None
        self.kept = self.scratch(spec.block) if spec.drops else None

    def turn_masks(self, query, key, there):
        """Transpose the block's masks, so that they lie as the scores do."""
        if self.spec.mask:
            self._turn(self.turned, 3, self.spec.mask, query, key, there)
        if self.spec.drops:
            self._turn(self.kept, 4, "i1", query, key, there)

    def _turn(self, turned, number, kind, query, key, there):
        step = getattr(self.arg, self.pointers[number] + "_row")
        source = self.function.offset(self.starts[number], query * step + key, kind)
        queries = smaller(self.arg.queries - query, self.tile.columns)
        self.pack(turned, source, step, queries, there, kind)

    def scores(self, rows, keys, packed, row, place):
        """A tile of masked scores: variables for each of the rows, the first of them being `row`.

        place: the first query's number, counted from the block's first key.
        """
        f, spec, tile = self.function, self.spec, self.tile
        sums = self.products(rows, keys, self.arg.key_row, packed, spec.depth)
        if spec.mask:
            for number, totals in zip(rows, sums):
                for total, given in zip(totals, self.vectors_of(self.turned, number)):
                    given = given.ne(0.0) if spec.mask == "i1" else given
                    total.set(self.masked(total.get(), given))
        if spec.causal:
            with f.when(row + (tile.rows - 1) > place):
                for number, totals in zip(rows, sums):
                    for j, total in enumerate(totals):
                        ahead = f.lanes_below(number - place - j * tile.lanes, tile.lanes)
                        total.set(select(ahead, -INF, total.get()))
        return sums


def exp_of_difference(x):
    """e^x for x <= 0, and 0 where that is no normal number; NaN stays."""
    kind = x.type.kind
    x = at_least(x, _LEAST[kind])
    n, bits = round_to_integer(x, LOG2E, format_of(x).bias)
    # The product is not rounded before n is taken off it.
    r = fma(x, LOG2E, -n)
    return polynomial(r, coefficients.EXP2[kind]) * power_of_two(bits, kind)


def finite_or_zero(top):
    """What is subtracted from scores whose maximum is `top`: 0 if there is none to be seen."""
    return select(top.eq(-INF), 0.0, top)
