"""Loop IR of matrix products: a block of the result for each task.

The result is cut into blocks of whole tiles, one to a task. A task walks along k in stretches of
at most `longest`; for each it packs its rows of A, which then stay in the second-level cache, and
takes one panel of B after the other (packed here, packed ahead by `pack_ahead`, or read where it
lies), which stays in the first-level cache while the tiles of the block pass over it.
"""

from typing import NamedTuple

from iskra.codegen.ir import SIZES, Function, Type, smaller
from iskra.codegen.kernels.gemm_call import After, Arguments, task_matrices
from iskra.codegen.kernels.gemm_pack import COPIED, PACKERS, TURNED, Strip
from iskra.codegen.kernels.gemm_tiles import Tile

__all__ = ["AHEAD", "COPIED", "DIRECT", "TURNED", "Product", "Spec", "longest", "pack_ahead",
           "product"]

DEPTH = 384             # the longest stretch of k, but for pairs
BLOCK_BYTES = 32        # a task packs this many bytes' worth of tiles: 8 of float32, 4 of float64

# How an operand is read. DIRECT: where it lies (A: any strides; B: columns side by side).
# COPIED: packed from elements side by side across k. TURNED: packed from k's side by side.
# AHEAD: packed before the product starts.
DIRECT, AHEAD = "direct", "ahead"


class Spec(NamedTuple):
    """All that the code of a product depends on.

    heights: of the tiles that occur; a, b: how the operands are read; kinds: of A, B and the result
    in memory; batched: whether `offsets` tells where the matrices start; stream: whether the next
    stretch of B is asked for while one is used, which pays where B is read once, from main memory;
    once: whether sums of another kind than the result's need memory for one tile only, since there
    is one stretch.
    """

    tile: Tile
    heights: tuple
    a: str
    b: str
    kinds: tuple
    batched: bool
    after: After
    stream: bool = False
    once: bool = False

    @property
    def finishes(self):
        """Whether stored sums are gone over once more."""
        return any(self.after) or self.kinds[2] != self.tile.kind


# The arguments: pointers, a number, then whole numbers. Strides count elements.
# `sums`: where sums stay between stretches if the result is of a narrower kind.
POINTERS = ("a", "b", "c", "sums", "bias", "residual", "offsets")
NUMBERS = ("rows", "columns", "inner", "a_row", "a_inner", "b_inner", "b_column", "c_row",
           "sums_row", "residual_row", "depth", "blocks_down", "blocks_across", "tiles", "height",
           "higher", "matrices", "share", "ahead")
KINDS = "aaaaaaaftn"
PACK_POINTERS = ("b", "packed", "offsets")
PACK_NUMBERS = ("columns", "inner", "b_inner", "b_column", "panels", "share")
PACK_KINDS = "aaatn"


def pack_ahead(tile, layout, kind, batched, name="pack"):
    """The kernel that packs B: a task packs `share` panels of one matrix.

    Panel j of matrix i starts at element ``(i * panels + j) * inner * columns of a tile``, `inner`
    rounded up to whole vectors.
    """
    f = Function(name)
    arg = Arguments(f, PACK_POINTERS, PACK_NUMBERS)
    shares = (arg.panels + arg.share - 1) // arg.share
    matrix, first = f.task // shares, f.task % shares * arg.share
    source = arg.b
    if batched:
        source = f.offset(source, f.load(arg.offsets, matrix * 3 + 1, Type("i64")), kind)
    size = padded(tile.steps(arg.inner), tile.lanes) * tile.columns
    with f.loop(first, smaller(first + arg.share, arg.panels)) as panel:
        out = f.offset(arg.packed, (matrix * arg.panels + panel) * size, tile.packed)
        _pack_panel(f, tile, layout, kind, arg, source, panel * tile.columns, arg.inner, out)
    return f


def longest(tile):
    """The longest stretch of k, in packed elements.

    A step adds two k's of pairs, so that going over the sums again takes twice as much of the time:
    that is worth a panel of B which the first-level cache cannot hold.
    """
    return 512 if tile.pairs else DEPTH


def most_tiles(kind):
    """How many tiles of packed rows of A a task may hold."""
    return BLOCK_BYTES // SIZES[kind]


def padded(count, lanes):
    """`count` rounded up to whole vectors."""
    return (count + (lanes - 1)) // lanes * lanes


def _pack_panel(f, tile, layout, kind, arg, b, column, count, out):
    """Pack `count` k's of the panel of B that begins at `column`; b: its matrix at the first k."""
    strip = Strip(out, tile.columns, tile.columns, smaller(arg.columns - column, tile.columns))
    step = arg.b_inner if layout == COPIED else arg.b_column
    source = f.offset(b, column * arg.b_column, kind)
    PACKERS[layout](f, tile, strip, source, step, count, (kind, tile.packed))


def product(spec, name="product"):
    """The kernel that computes one block of the result."""
    return Product(spec, name).function


class Product:
    """A product's kernel while it is being written."""

    pointers, numbers = POINTERS, NUMBERS

    def __init__(self, spec, name):
        self.spec, self.tile = spec, spec.tile
        self.function = f = Function(name)
        self.arg = Arguments(f, self.pointers, self.numbers, ("scale",))
        tile = self.tile
        # What packing writes too much: whole vectors, and squares of them at the end of k.
        slack = tile.lanes * (max(tile.rows, tile.columns) + 1)
        if spec.a in PACKERS:
            size = most_tiles(tile.kind) * tile.rows * longest(tile)
            self.packed_a = f.scratch(Type(tile.packed), size + slack)
        if spec.b not in (DIRECT, AHEAD):
            self.packed_b = f.scratch(Type(tile.packed), longest(tile) * tile.columns + slack)
        if spec.once:
            self.tile_sums = f.scratch(Type(tile.kind), tile.rows * tile.columns)
        parts = self.arg.blocks_down * self.arg.blocks_across
        with task_matrices(f, self.arg, parts, spec.batched) as (self.matrix, part):
            self.block(part)

    def block(self, part):
        """Find the task's block: tiles from `first` to `last`, panels from `left` to `right`."""
        f, arg = self.function, self.arg
        down, across = arg.blocks_down, arg.blocks_across
        i, j = part // across, part % across
        self.first, self.last = arg.tiles * i // down, arg.tiles * (i + 1) // down
        panels = (arg.columns + (self.tile.columns - 1)) // self.tile.columns
        self.panels = panels
        self.left, self.right = panels * j // across, panels * (j + 1) // across
        a, b, c = self.spec.kinds
        self.a = self.start(arg.a, 0, self.tile.packed if self.spec.a == AHEAD else a)
        self.b, self.c = self.start(arg.b, 1, b), self.start(arg.c, 2, c)
        if self.spec.b == AHEAD:
            steps = padded(self.tile.steps(arg.inner), self.tile.lanes)
            self.panel_size = size = steps * self.tile.columns
            self.b = f.offset(arg.b, self.matrix * panels * size, self.tile.packed)
        self.sums, self.sums_row = self.c, arg.c_row
        if self.spec.once:
            self.sums, self.sums_row = self.tile_sums, f.coerce(self.tile.columns)
        elif self.spec.kinds[2] != self.tile.kind:
            self.sums, self.sums_row = arg.sums, arg.sums_row
            if self.spec.batched:
                self.sums = f.offset(arg.sums, self.matrix * arg.rows * arg.sums_row,
                                     self.tile.kind)
        self.walk()

    def walk(self):
        """Go along k, a stretch at a time."""
        f, arg = self.function, self.arg
        with f.loop(0, arg.inner, arg.depth) as k:
            self.begun = k > 0
            self.stretch(k, smaller(arg.depth, arg.inner - k))

    def start(self, pointer, number, kind):
        """Where the task's matrix of operand `number` begins."""
        if not self.spec.batched:
            return pointer
        f = self.function
        return f.offset(pointer, f.load(self.arg.offsets, self.matrix * 3 + number, Type("i64")),
                        kind)

    def row(self, number):
        """The first row of tile `number`: the higher ones come first."""
        return number * self.arg.height + smaller(number, self.arg.higher)

    def stretch(self, k, count):
        """Add to the block what `count` steps from k onwards bring."""
        f, arg, tile = self.function, self.arg, self.tile
        if self.spec.a in PACKERS:
            with f.loop(self.first, self.last) as number:
                self.pack_rows(number, k, count)
        with f.loop(self.left, self.right) as panel:
            column = panel * tile.columns
            b, step = self.panel(panel, column, k, count)
            with f.loop(self.first, self.last) as number:
                row = self.row(number)
                height = arg.height + (number < arg.higher).to("i64")
                for h in self.spec.heights:
                    with f.when(height.eq(h)):
                        self.one_tile(h, row, column, k, count, (b, step))

    def pack_rows(self, number, k, count):
        """Pack the rows of one tile."""
        f, arg, tile = self.function, self.arg, self.tile
        row = self.row(number)
        height = arg.height + (number < arg.higher).to("i64")
        kind = self.spec.kinds[0]
        source = f.offset(self.a, row * arg.a_row + k * arg.a_inner, kind)
        out = self.packed_rows(row, k, count)
        step = arg.a_inner if self.spec.a == COPIED else arg.a_row
        PACKERS[self.spec.a](f, tile, Strip(out, height, max(self.spec.heights), height), source,
                             step, count, (kind, tile.packed))

    def packed_rows(self, row, k, count):
        """Where the rows of a tile lie packed for a stretch of k."""
        place = (row - self.row(self.first)) * self.tile.steps(count)
        return self.function.offset(self.packed_a, place, self.tile.packed)

    def panel(self, panel, column, k, count):
        """Where the panel's elements lie, and how many of them from one k to the next."""
        f, arg, tile, spec = self.function, self.arg, self.tile, self.spec
        if spec.b == AHEAD:
            place = panel * self.panel_size + tile.steps(k) * tile.columns
            return f.offset(self.b, place, tile.packed), f.coerce(tile.columns)
        b = f.offset(self.b, k * arg.b_inner, spec.kinds[1])
        if spec.b == DIRECT:
            return f.offset(b, column, tile.kind), arg.b_inner
        _pack_panel(f, tile, spec.b, spec.kinds[1], arg, b, column, count, self.packed_b)
        return self.packed_b, f.coerce(tile.columns)

    # One tile

    def one_tile(self, height, row, column, k, count, panel):
        """A tile's sums over one stretch of k, added to those of the stretches before."""
        f, arg, tile = self.function, self.arg, self.tile
        there = arg.columns - column
        self.masks = [f.lanes_below(there - i * tile.lanes, tile.lanes)
                      for i in range(tile.vectors)]
        vector = Type(tile.kind, tile.lanes)
        zero = f.const(0.0, vector)
        sums = [[f.variable(zero, vector) for _ in range(tile.vectors)] for _ in range(height)]
        out = self.sums
        if not self.spec.once:
            out = f.offset(out, row * self.sums_row + column, tile.kind)
        starts = [f.offset(out, self.sums_row * i, tile.kind) for i in range(height)]
        # By the end of the loop the tile's memory is in the cache.
        for start in starts:
            for i in range(tile.vectors):
                f.prefetch(start, i * tile.lanes, tile.kind)
        self.inner_loop(height, sums, row, k, count, panel)
        with f.when(self.begun):
            for start, line in zip(starts, sums):
                for i, (total, mask) in enumerate(zip(line, self.masks)):
                    total.set(total.get() + f.load(start, i * tile.lanes, vector, mask))
        self.store(starts, sums, there)
        if self.spec.finishes:
            with f.when((k + count).eq(arg.inner)):
                self.finish(height, row, column, out)

    def inner_loop(self, height, sums, row, k, count, panel):
        f, arg, tile = self.function, self.arg, self.tile
        b, b_step = panel
        element = self.rows_of(height, row, k, count)
        # Elsewhere panels are padded; where masks are dear, only whole panels are read directly.
        masked = self.spec.b == DIRECT and tile.machine.masks
        vector = Type(tile.packed, tile.lanes)

        # Unrolling gains nothing: a step is long beside the loop's two instructions.
        with f.loop(0, tile.steps(count)) as k:
            start = f.offset(b, k * b_step, tile.packed)
            line = [f.load(start, i * tile.lanes, vector, mask if masked else None)
                    for i, mask in enumerate(self.masks)]
            if self.spec.stream:
                for i in range(tile.vectors):
                    f.prefetch(start, arg.ahead + i * tile.lanes, tile.packed)
            for i in range(height):
                spread = element(i, k).splat(tile.lanes)
                for total, values in zip(sums[i], line):
                    total.set(tile.add_product(spread, values, total.get()))

    def rows_of(self, height, row, k, count):
        """A function that loads A's element in the tile's row i at step k."""
        f, arg, tile = self.function, self.arg, self.tile
        scalar = Type(tile.packed)
        if self.spec.a != DIRECT:
            packed = self.packed_rows(row, k, count)
            return lambda i, k: f.load(f.offset(packed, k * height, tile.packed), i, scalar)
        a = f.offset(self.a, row * arg.a_row + k * arg.a_inner, tile.kind)
        rows = [f.offset(a, arg.a_row * i, tile.kind) for i in range(height)]
        return lambda i, k: f.load(rows[i], k * arg.a_inner, scalar)

    def store(self, starts, sums, there):
        """Write the tile: with masks only where it hangs over the edge."""
        f, tile = self.function, self.tile
        full = there >= tile.columns
        for condition, masks in ((full, [None] * tile.vectors), (~full, self.masks)):
            with f.when(condition):
                for start, line in zip(starts, sums):
                    for i, (total, mask) in enumerate(zip(line, masks)):
                        f.store(total.get(), start, i * tile.lanes, mask)

    def finish(self, height, row, column, out):
        """Go over the stored tile once more, while it is in the cache."""
        f, arg, tile = self.function, self.arg, self.tile
        kinds, lanes = self.spec.kinds, tile.lanes
        end = f.offset(self.c, row * arg.c_row + column, kinds[2])
        vector = Type(tile.kind, lanes)
        with f.loop(0, height) as i:
            source = f.offset(out, i * self.sums_row, tile.kind)
            target = f.offset(end, i * arg.c_row, kinds[2])
            with f.loop(0, smaller(arg.columns - column, tile.columns), lanes) as j:
                mask = f.lanes_below(arg.columns - column - j, lanes)
                value = f.load(source, j, vector, mask)
                value = self.after(value, row + i, column + j, mask)
                f.store(value.to(kinds[2]), target, j, mask)

    def after(self, value, row, column, mask):
        """What `spec.after` makes of a vector of sums that stands at this place of the result."""
        f, arg, after = self.function, self.arg, self.spec.after
        kind, lanes = self.tile.kind, self.tile.lanes
        memory = Type(self.spec.kinds[2], lanes)

        def bias():
            return f.load(arg.bias, column, memory, mask).to(kind)

        def residual():
            line = self.matrix * arg.rows + row
            start = f.offset(arg.residual, line * arg.residual_row, memory.kind)
            return f.load(start, column, memory, mask).to(kind)

        return after.apply(value, lambda: arg.scale.to(kind), bias, residual)
