"""Squares of 16 by 16 elements, transposed in registers, where memory lies across the vectors.

A map whose operands lie in different orders reads those that are *crossed* square by square. A
reduction along short rows takes 16 rows at a time: each lane has a row, which costs no sums across
lanes and no empty ones. What the rows are made of is turned on its way in, and on its way out.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Type, select
from iskra.codegen.values import Values

SHORT = 48  # elements of a short row at most
SHORT_TOGETHER = 80  # and of the rows of all arrays that are turned


class Squares(Values):
    """Reads and writes them. Crossed arrays lie side by side along the group `tile`.

    `squares` tells where each crossed array is kept, from the place `tile_start` of that group on:
    a vector along the vector group for each place.
    """

    def keep_squares(self, places):
        """Make room for so many places."""
        self.squares = {
            array: self.function.scratch(Type(self.kind(array), LANES), places)
            for array in sorted(self.crossed)
        }

    def each_square(self, move, arrays, base, start, high):
        """`move` the square of each of these arrays at `base` and `start`.

        There is none from `high` on along the vector group; where that ends the square early,
        `move` is told so.
        """
        f = self.function
        with f.when(base + LANES <= high):
            for array in arrays:
                move(array, base, start)
        with f.when(base + LANES > high):
            for array in arrays:
                move(array, base, start, high)

    def read_square(self, array, base, start, high=None):
        """Read a square line by line, and keep it crosswise."""
        f = self.function
        type = Type(self.kind(array), LANES)
        with self.block():
            lines = [f.load(*place, type, mask) for *place, mask in
                     self._lines(array, base, start, high)]
        for place, vector in enumerate(transposed(lines)):
            f.store(vector, self.squares[array], (start - self.tile_start + place) * LANES)

    def write_square(self, array, base, start, high=None):
        """Write a square that is kept crosswise, line by line."""
        f = self.function
        type = Type(self.kind(array), LANES)
        vectors = [f.load(self.squares[array], (start - self.tile_start + place) * LANES, type)
                   for place in range(LANES)]
        with self.block():
            for vector, (*place, mask) in zip(
                    transposed(vectors), self._lines(array, base, start, high), strict=True):
                f.store(vector, *place, mask)

    def ask_ahead(self, array, base, start, high=None):
        """Have the memory of the next square along the vector group fetched, which hardware would
        not: it sees lines that lie in steps.
        """
        if high is None:
            for origin, place, _ in self._lines(array, base + LANES, start, None):
                self.function.prefetch(origin, place, self.kind(array))

    def _lines(self, array, base, start, high):
        """Where the lines of a square are, and which of their elements there are."""
        f = self.function
        origin = self.pointer(array, self.outer_groups(self.axes_of(array)))
        stride = self.argument("stride", array, self.vector)
        length = self.size(self.tile) - start
        mask = f.lanes_below(length, LANES)
        for line in range(LANES):
            if high is not None:
                there = select(base + line < high, length, f.coerce(0))
                mask = f.lanes_below(there, LANES)
            yield origin, (base + line) * stride + start, mask


def transposed(vectors):
    """16 vectors of 16 lanes: rows become columns."""
    half = LANES // 2
    low = [n for i in range(half) for n in (i, LANES + i)]
    high = [n + half for n in low]
    while half:  # as often as 16 halves to 1: interleaving halves, as cards are shuffled
        pairs = [(vectors[i], vectors[i + LANES // 2]) for i in range(LANES // 2)]
        vectors = [a.shuffle(p, b) for a, b in pairs for p in (low, high)]
        half //= 2
    return vectors
