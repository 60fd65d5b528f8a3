"""The shapes that a matrix product's innermost loops have on each kind of machine.

A tile is a rectangle of the result that stays in registers while the sum over k runs: `rows` times
`vectors` vectors. Each step loads `vectors` vectors of B, and one element of A for each row, spread
over all lanes; so a tile wants to be large, and as square as the registers allow.
"""

from typing import NamedTuple

from numpy._core._multiarray_umath import __cpu_features__ as _features

from iskra.codegen.ir import SIZES, fma


class Machine(NamedTuple):
    """What the tiles depend on.

    bytes: of a vector register; registers: how many there are; masks: whether loads and stores of
    a part of a vector are cheap; fused: whether multiplying and adding is one instruction.
    """

    name: str
    bytes: int
    registers: int
    masks: bool
    fused: bool

    def lanes(self, kind):
        """Elements of a kind of number in a vector."""
        return self.bytes // SIZES[kind]

    def add_product(self, a, b, total):
        """total + a * b, in IR."""
        return fma(a, b, total) if self.fused else total + a * b


AVX512 = Machine("avx512", 64, 32, True, True)
AVX2 = Machine("avx2", 32, 16, True, True)
NEON = Machine("neon", 16, 32, False, True)
BASELINE = Machine("baseline", 16, 16, False, False)

# rows, vectors of the largest tile; a vector of B each and one of A are needed besides.
_LARGEST = {"avx512": (14, 2), "avx2": (6, 2), "neon": (8, 3), "baseline": (6, 2)}


class Tile(NamedTuple):
    """A tile's shape for a kind of number on a machine; `rows` is the most it may have."""

    machine: Machine
    kind: str
    rows: int
    vectors: int

    @property
    def lanes(self):
        """Elements in a vector."""
        return self.machine.lanes(self.kind)

    @property
    def columns(self):
        """Columns of the result that a tile covers: the width of a panel of B."""
        return self.vectors * self.lanes


def host():
    """The machine that this process runs on."""
    if _features.get("AVX512F") and _features.get("AVX512VL") and _features.get("AVX512DQ"):
        return AVX512
    if _features.get("AVX2") and _features.get("FMA3"):
        return AVX2
    return NEON if _features.get("ASIMD") else BASELINE


def tile(machine, kind, rows=None):
    """The tile for a result of `rows` rows (None: many): the fewer rows, the wider it is."""
    most, vectors = _LARGEST[machine.name]
    if rows is None or rows > most:
        return Tile(machine, kind, most, vectors)
    # rows * vectors sums, a row of B's vectors and one element of A have to fit.
    widest = (machine.registers - 1) // (rows + 1)
    return Tile(machine, kind, rows, max(vectors, min(widest, 4)))


def heights(rows, most):
    """How `rows` are cut into tiles of nearly equal height: (tiles, height, how many are 1 higher).

    No tile is nearly empty, and a product needs code for at most two heights.

    >>> heights(100, 14)
    (8, 12, 4)
    """
    count = -(-rows // most)
    return count, rows // count, rows % count
