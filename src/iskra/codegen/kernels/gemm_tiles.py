"""The shapes that a matrix product's innermost loops have on each kind of machine.

A tile is a rectangle of the result that stays in registers while the sum over k runs: `rows` times
`vectors` vectors. Each step loads `vectors` vectors of B, and one element of A for each row, spread
over all lanes; so a tile wants to be large, and as square as the registers allow.
"""

from typing import NamedTuple

from numpy._core._multiarray_umath import __cpu_features__ as _features

from iskra.codegen.ir import SIZES, dot, fma


class Machine(NamedTuple):
    """What the tiles depend on.

    bytes: of a vector register; registers: how many there are; masks: whether loads and stores of
    a part of a vector are cheap; fused: whether multiplying and adding is one instruction; dots:
    whether there is one that adds the products of two neighbours in bfloat16.
    """

    name: str
    bytes: int
    registers: int
    masks: bool
    fused: bool
    dots: bool = False

    def lanes(self, kind):
        """Elements of a kind of number in a vector."""
        return self.bytes // SIZES[kind]

    def add_product(self, a, b, total):
        """total + a * b, in IR."""
        return fma(a, b, total) if self.fused else total + a * b


AVX512 = Machine("avx512", 64, 32, True, True)
AVX512_BF16 = AVX512._replace(dots=True)
AVX2 = Machine("avx2", 32, 16, True, True)
NEON = Machine("neon", 16, 32, False, True)
BASELINE = Machine("baseline", 16, 16, False, False)

# rows, vectors of the largest tile; a vector of B each and one of A are needed besides.
_LARGEST = {"avx512": (14, 2), "avx2": (6, 2), "neon": (8, 3), "baseline": (6, 2)}


class Tile(NamedTuple):
    """A tile's shape for a kind of sums on a machine; `rows` is the most it may have.

    pairs: whether bfloat16s are multiplied two k's at a time; else numbers are packed as their kind
    of sums, and multiplied one by one.
    """

    machine: Machine
    kind: str
    rows: int
    vectors: int
    pairs: bool = False

    @property
    def lanes(self):
        """Elements in a vector."""
        return self.machine.lanes(self.kind)

    @property
    def columns(self):
        """Columns of the result that a tile covers: the width of a panel of B."""
        return self.vectors * self.lanes

    @property
    def packed(self):
        """The kind of the elements that packed operands consist of."""
        return "u32" if self.pairs else self.kind

    @property
    def together(self):
        """How many k's a packed element holds."""
        return 2 if self.pairs else 1

    def steps(self, count):
        """How many packed elements hold `count` k's."""
        return (count + 1) // 2 if self.pairs else count

    def add_product(self, a, b, total):
        """total + a * b for packed elements, in IR."""
        if self.pairs:
            return dot(a.bits_as("bf16"), b.bits_as("bf16"), total)
        return self.machine.add_product(a, b, total)


def host():
    """The machine that this process runs on."""
    if _features.get("AVX512F") and _features.get("AVX512VL") and _features.get("AVX512DQ"):
        return AVX512_BF16 if _features.get("AVX512BF16") else AVX512
    if _features.get("AVX2") and _features.get("FMA3"):
        return AVX2
    return NEON if _features.get("ASIMD") else BASELINE


def tile(machine, kind, rows=None, pairs=False):
    """The tile for a result of `rows` rows (None: many): the fewer rows, the wider it is."""
    most, vectors = _LARGEST[machine.name]
    if rows is None or rows > most:
        return Tile(machine, kind, most, vectors, pairs)
    # rows * vectors sums, a row of B's vectors and one element of A have to fit.
    widest = (machine.registers - 1) // (rows + 1)
    return Tile(machine, kind, rows, max(vectors, min(widest, 4)), pairs)


def heights(rows, most):
    """How `rows` are cut into tiles of nearly equal height: (tiles, height, how many are 1 higher).

    No tile is nearly empty, and a product needs code for at most two heights.

    >>> heights(100, 14)
    (8, 12, 4)
    """
    count = -(-rows // most)
    return count, rows // count, rows % count
