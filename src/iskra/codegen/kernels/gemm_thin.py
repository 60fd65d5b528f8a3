"""Loop IR for products with few rows whose operands both have their k's side by side.

There is nothing to pack: each element of the long operand is used a few times only, and packing
would cost more than the product. A group of rows of B is multiplied vector by vector with all rows
of A; in the end the lanes of each sum are added up. Matrix-vector products are the case of one row.
"""

from typing import NamedTuple

from iskra.codegen.ir import INT, Function, Type, dot, smaller
from iskra.codegen.kernels.gemm_call import After, Arguments, task_matrices
from iskra.codegen.kernels.gemm_tiles import Machine

# The arguments: pointers, a float, whole numbers. Strides count elements; those of the k's are 1.
POINTERS = ("a", "b", "c", "bias", "residual", "offsets")
NUMBERS = ("rows", "columns", "inner", "a_row", "b_row", "c_row", "residual_row",
           "residual_matrix", "depth", "ahead", "parts", "matrices", "share")
KINDS = "aaaaaaftn"

AHEAD = 1024             # elements between what is used and what is asked for


class Thin(NamedTuple):
    """All that the code of a thin product depends on.

    heights: how many rows of A are taken together, largest first; group: how many rows of B; kinds:
    of A, B and the result in memory; kind: of the sums; swapped: whether the result is written
    transposed, so that B's rows are its rows; pairs: whether bfloat16s are multiplied two k's at a
    time.
    """

    machine: Machine
    heights: tuple
    group: int
    kind: str
    kinds: tuple
    batched: bool
    swapped: bool
    after: After
    pairs: bool = False

    @property
    def lanes(self):
        """Sums in a vector."""
        return self.machine.lanes(self.kind)

    @property
    def across(self):
        """How many k's a step takes."""
        return 2 * self.lanes if self.pairs else self.lanes

    def load(self, f, start, k, kind, mask):
        """The elements of a step, as they are multiplied."""
        values = f.load(start, k, Type(kind, self.across), mask)
        return values if self.pairs else values.to(self.kind)

    def add_product(self, a, b, total):
        """total + a * b for the elements of a step."""
        return dot(a, b, total) if self.pairs else self.machine.add_product(a, b, total)


def group_of(machine, kind, height):
    """How many rows of B are taken together with `height` rows of A.

    >>> from iskra.codegen.kernels.gemm_tiles import AVX512
    >>> [group_of(AVX512, "f32", height) for height in (1, 2, 4, 8)]
    [8, 8, 6, 3]
    """
    # The sums, a vector of each row of B and one of A have to fit into registers.
    fitting = (machine.registers - 1) // (height + 1)
    return min(fitting, machine.lanes(kind), 8)


def lane_sums(vectors):
    """A vector whose first lanes are the sums of the lanes of each vector.

    Pairs of vectors are folded into one, until one is left: half the shuffles of adding up each by
    itself.
    """
    lanes = vectors[0].type.lanes
    if lanes == 1:
        return vectors[0]
    count = 1
    while count < len(vectors):
        count *= 2
    vectors = [vectors[min(i, len(vectors) - 1)] for i in range(count)]
    width = lanes                   # lanes of a vector that belong to one sum
    while len(vectors) > 1:
        half = width // 2
        low = [q + q // half * half for q in range(lanes)]
        high = [q + half for q in low]
        vectors = [a.shuffle(low, b) + a.shuffle(high, b)
                   for a, b in zip(vectors[::2], vectors[1::2])]
        width = half
    total = vectors[0]
    while width > 1:
        half = width // 2
        low = [q % lanes for q in (q + q // half * half for q in range(lanes))]
        high = [(q + half) % lanes for q in low]
        total = total.shuffle(low) + total.shuffle(high)
        width = half
    return total


def product(spec, name="thin"):
    """The kernel that computes a share of the result's columns."""
    return _Thin(spec, name).function


class _Thin:
    """A thin product's kernel while it is being written."""

    def __init__(self, spec, name):
        self.spec = spec
        self.function = f = Function(name)
        self.arg = arg = Arguments(f, POINTERS, NUMBERS, ("scale",))
        with task_matrices(f, arg, arg.parts, spec.batched) as (matrix, part):
            self.matrix = matrix
            self.first = arg.columns * part // arg.parts
            self.last = arg.columns * (part + 1) // arg.parts
            self.a, self.b, self.c = map(self.start, range(3), (arg.a, arg.b, arg.c))
            with f.loop(0, arg.inner, arg.depth) as k:
                self.stretch(k, smaller(arg.depth, arg.inner - k))

    def stretch(self, k, count):
        """Add to the results what `count` steps from k onwards bring."""
        f, group = self.function, self.spec.group
        self.k, self.count = k, count
        with f.loop(self.first, self.last, group) as column:
            self.column, self.there = column, smaller(self.last - column, group)
            self.mask = f.lanes_below(self.there, self.spec.lanes)
            self.rows()

    def start(self, number, pointer):
        """Where the task's matrix of operand `number` begins."""
        if not self.spec.batched:
            return pointer
        f = self.function
        offset = f.load(self.arg.offsets, self.matrix * 3 + number, INT)
        return f.offset(pointer, offset, self.spec.kinds[number])

    def rows(self):
        """All rows of A with one group of rows of B."""
        f, arg, (height, *rest) = self.function, self.arg, self.spec.heights
        whole = arg.rows - arg.rows % height if rest else arg.rows
        with f.loop(0, whole, height) as row:
            self.sums(height, row)
        if rest:
            self.sums(rest[0], whole)

    def sums(self, height, row):
        """The sums of `height` rows of A with the group, from the loop to the stores."""
        f, spec = self.function, self.spec
        vector = Type(spec.kind, spec.lanes)
        zero = f.const(0.0, vector)
        totals = [[f.variable(zero, vector) for _ in range(spec.group)] for _ in range(height)]
        self.add_products(row, totals)
        for i, line in enumerate(totals):
            self.store(row + i, lane_sums([total.get() for total in line]))

    def add_products(self, row, totals):
        """The loop along k: each lane of the totals sums every `lanes`-th product."""
        f, arg, spec = self.function, self.arg, self.spec
        a = [f.offset(self.a, (row + i) * arg.a_row + self.k, spec.kinds[0])
             for i in range(len(totals))]
        # Where the group is not complete, its last row is taken several times.
        b = [f.offset(self.b, (self.column + smaller(f.coerce(i), self.there - 1)) * arg.b_row
                      + self.k, spec.kinds[1]) for i in range(spec.group)]

        def step(k, mask=None):
            long = [spec.load(f, start, k, spec.kinds[1], mask) for start in b]
            for start, line in zip(a, totals):
                short = spec.load(f, start, k, spec.kinds[0], mask)
                for values, total in zip(long, line):
                    total.set(spec.add_product(short, values, total.get()))

        whole = self.count - self.count % spec.across
        with f.loop(0, whole, spec.across) as k:
            for start in b:
                f.prefetch(start, k + arg.ahead, spec.kinds[1])
            step(k)
        with f.when(whole < self.count):
            step(whole, f.lanes_below(self.count - whole, spec.across))

    def store(self, row, sums):
        """Write the results of one row of A with the group, the first lanes of `sums`."""
        f, arg, spec = self.function, self.arg, self.spec
        total = f.variable(sums, sums.type)
        with f.when(self.k > 0):
            before = self.read(self.c, self.place(row, arg.c_row), arg.c_row)
            total.set(sums + before)
        if any(spec.after):
            with f.when((self.k + self.count).eq(arg.inner)):
                total.set(self.after(total.get(), row))
        self.write(total.get().to(spec.kinds[2]), row)

    def after(self, value, row):
        f, arg, spec = self.function, self.arg, self.spec

        def bias():
            if spec.swapped:
                scalar = f.load(arg.bias, row, Type(spec.kinds[2]))
                return scalar.to(spec.kind).splat(spec.lanes)
            return self.read(arg.bias, self.column, 1)

        def residual():
            place = self.place(row, arg.residual_row) + self.matrix * arg.residual_matrix
            return self.read(arg.residual, place, arg.residual_row)

        return spec.after.apply(value, lambda: arg.scale.to(spec.kind), bias, residual)

    def place(self, row, stride):
        """Where the first of the group's results with a row of A stands, from the matrix' start."""
        if self.spec.swapped:
            return self.column * stride + row
        return row * stride + self.column

    def read(self, pointer, place, stride):
        """A vector of what stands beside the group's results."""
        f, spec = self.function, self.spec
        kind = spec.kinds[2]
        if not spec.swapped:
            return f.load(pointer, place, Type(kind, spec.lanes), self.mask).to(spec.kind)
        indices = f.iota(Type("i64", spec.lanes)) * stride + place
        return f.gather(pointer, indices, kind, self.mask).to(spec.kind)

    def write(self, values, row):
        f, arg, spec = self.function, self.arg, self.spec
        place = self.place(row, arg.c_row)
        if not spec.swapped:
            f.store(values, self.c, place, self.mask)
            return
        for i in range(spec.group):
            with f.when(self.there > i):
                f.store(values.lane(i), self.c, place + arg.c_row * i)
