"""How a matrix product is computed: decided by dtypes, shapes and strides alone.

`plan` picks the kernels, has them compiled and works out their arguments. The choices were measured
on two cores with AVX-512 (`benchmarks/products.py`); each says what it trades.
"""

import functools
from typing import NamedTuple

import numpy as np

from iskra.codegen import lower
from iskra.codegen.kernels import gemm_kernel, gemm_split, gemm_thin, gemm_updates
from iskra.codegen.kernels.gemm_call import After
from iskra.codegen.kernels.gemm_kernel import (
    AHEAD,
    DIRECT,
    Spec,
    longest,
    most_tiles,
    pack_ahead,
)
from iskra.codegen.kernels.gemm_pack import COPIED, TURNED
from iskra.codegen.kernels.gemm_split import Joined
from iskra.codegen.kernels.gemm_thin import Thin, group_of
from iskra.codegen.kernels.gemm_tiles import heights, host, tile
from iskra.codegen.kernels.gemm_updates import MOST_ROWS, Updates
from iskra.runtime import jit, native
from iskra.runtime.memory import empty

TASK = 4_000_000        # floating-point operations that are worth a task of their own (16 µs)
STREAM = 1 << 20        # bytes of B that, read once only, come from main memory
MOST_PACKED = 1 << 26   # elements of B that are packed ahead; else each task packs what it needs
FEW_TILES = 16          # a result of fewer gives too few tasks, or such as differ in size
PART = 1024             # k's that are worth sums of their own
PAGE = 4096             # rows this far apart fall into the same few sets of the first-level cache

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

# Kinds of the operands -> kind of the sums.
SUMS = {"f32": "f32", "f64": "f64", "f16": "f32", "bf16": "f32"}


class Matrices(NamedTuple):
    """Operands and result of a product, or of a batch of them, as the kernels see them.

    Strides count elements: a = (from row to row, from k to k), b = (from k to k, from column to
    column), c = from row to row. The result's columns lie side by side. offsets: where the
    matrices of A, B and the result start, an int64 array (matrices, 3), or None for one product.
    residual: its stride from row to row; those of a batch stand below each other. sums: whether the
    result is of the kind of the sums, not of the operands'.
    """

    kind: str
    rows: int
    columns: int
    inner: int
    a: tuple
    b: tuple
    c: int
    offsets: object = None
    residual: int = 0
    sums: bool = False

    @property
    def count(self):
        """How many products there are."""
        return 1 if self.offsets is None else len(self.offsets)

    @property
    def work(self):
        """Floating-point operations of one product."""
        return 2 * self.rows * self.columns * self.inner

    @property
    def into(self):
        """The result's kind."""
        return SUMS[self.kind] if self.sums else self.kind

    @property
    def kinds(self):
        """Of A, B and the result in memory."""
        return self.kind, self.kind, self.into

    @property
    def size(self):
        """Bytes of an element of the operands."""
        return {"f64": 8, "f32": 4}.get(self.kind, 2)


@functools.cache
def compiled(build, arguments, kinds):
    """The function that runs ``build(*arguments)``, a kernel whose arguments are of these kinds."""
    function = build(*arguments)
    address = jit.load(lower.text(function)).address(function.name)
    source = functools.partial(build, *arguments)
    return native.builtin(function.name, address, kinds, source)


def plan(matrices, after):
    """An object whose ``run(a, b, c, bias, residual, scale)`` computes the product.

    It takes arrays whose strides are those of `matrices`; inner and all sizes must be at least 1.
    """
    m = _with_unit_strides(matrices)
    parts = _parts(m)
    return _whole(m, after) if parts == 1 else SplitPlan(m, after, parts)


def _whole(m, after):
    """The plan of a product that is not cut along k."""
    if _is_thin(m):
        return ThinPlan(m, after)
    swapped = m._replace(rows=m.columns, columns=m.rows, a=m.b[::-1], b=m.a[::-1],
                         offsets=_swapped(m.offsets))
    if _is_thin(swapped):
        return ThinPlan(swapped, after, swapped=True)
    if m.columns == 1 == m.c == m.residual and m.a[0] == 1 and not after.bias:
        # A column times a matrix whose columns lie side by side: the same memory as a row.
        return _streamed_or_in_blocks(swapped, after, swapped=True)
    return _streamed_or_in_blocks(m, after)


def _streamed_or_in_blocks(m, after, swapped=False):
    streams = (m.rows <= MOST_ROWS and m.b[1] == 1 and m.offsets is None and m.kind == SUMS[m.kind]
               and m.inner * m.columns * m.size > STREAM and host().masks)
    return (UpdatesPlan if streams else BlockPlan)(m, after, swapped)


def _parts(m):
    """Into how many parts k is cut: several where the result alone gives few tasks."""
    shape = tile(host(), SUMS[m.kind])
    tiles = -(-m.rows // shape.rows) * -(-m.columns // shape.columns)
    if m.offsets is not None or tiles >= FEW_TILES:
        return 1
    return max(1, min(16, m.work // TASK, m.inner // PART))


def wanted_orders(matrices):
    """How A and B are to be copied first: "rows" or "columns" side by side; None: not at all.

    The kernels need one or the other. The small operand of a product with few rows or columns is
    copied too, if then the k's of both lie side by side.
    """
    m = _with_unit_strides(matrices)
    a = None if 1 in m.a else "rows"
    b = None if 1 in m.b else "rows"
    if m.inner >= 64:
        if m.b[0] == 1 and m.a[1] != 1 and m.rows <= min(16, m.columns // 4):
            a = "rows"
        if m.a[1] == 1 and m.b[0] != 1 and m.columns <= min(16, m.rows // 4):
            b = "columns"
    return a, b


def _with_unit_strides(m):
    """Strides along dimensions of size 1 mean nothing: let them say what suits best."""
    (a_row, a_inner), (b_inner, b_column) = m.a, m.b
    if m.inner == 1:
        a_inner = 1
        b_inner = m.columns if b_column == 1 else b_inner
    if m.rows == 1:
        a_row = 1 if a_inner != 1 else m.inner
    if m.columns == 1:
        b_column = 1 if b_inner != 1 else m.inner
    return m._replace(a=(a_row, a_inner), b=(b_inner, b_column))


def _is_thin(m):
    """Few rows, and the k's of both operands side by side: then nothing is worth packing.

    The sums' lanes are added up in the end, which takes as long as some 64 steps of k.
    """
    return m.rows <= 16 and m.a[1] == 1 == m.b[0] and (m.inner >= 64 or m.rows == 1)


def _in_pairs(m):
    """Whether the products of two neighbours are added by one instruction."""
    return m.kind == "bf16" and host().dots


def _swapped(offsets):
    if offsets is None:
        return None
    offsets = np.ascontiguousarray(offsets[:, [1, 0, 2]])
    offsets.flags.writeable = False
    return offsets


class ThinPlan:
    """A product of few rows; swapped: its operands change places, the result is transposed."""

    def __init__(self, m, after, swapped=False):
        machine, kind = host(), SUMS[m.kind]
        high = min(m.rows, 8)
        # Partial sums are added up in the result, which is too coarse for narrow kinds.
        wide = m.into == kind
        # Rows of A that stay in the first-level cache; with few of them it is B that counts.
        depth = 1024 if m.rows > 3 and m.inner > 2048 and wide else m.inner
        group = min(group_of(machine, kind, high), m.columns)
        ahead = 256 if m.rows <= 3 else group * m.b[1]
        spec = Thin(machine, (high, m.rows % high) if m.rows % high else (high,), group, kind,
                    m.kinds, m.offsets is not None, swapped, after, _in_pairs(m))
        self.swapped, self.offsets = swapped, m.offsets
        self.kernel = compiled(gemm_thin.product, (spec,), gemm_thin.KINDS)
        parts = max(1, min(64, m.columns * m.inner * m.size // (1 << 17), m.columns // group))
        share = _share(m, parts)
        self.tasks = parts * -(-m.count // share)
        self.numbers = (m.rows, m.columns, m.inner, m.a[0], m.b[1], m.c, m.residual,
                        (m.columns if swapped else m.rows) * m.residual, depth, ahead, parts,
                        m.count, share)

    def run(self, a, b, c, bias, residual, scale):
        """Compute the product into c."""
        if self.swapped:
            a, b = b, a
        self.kernel(a, b, c, bias, residual, self.offsets, scale, self.numbers, self.tasks)


def _share(m, parts):
    """How many matrices of a batch a task takes: enough to be worth it, not so many that some
    threads have none."""
    worth = max(1, TASK // 4 * parts // m.work)
    return max(1, min(worth, m.count // 16)) if m.work * m.count > TASK else m.count


class SplitPlan:
    """A product whose long sums are computed in `parts` parts of k, and a rest."""

    def __init__(self, m, after, parts):
        kind, length = SUMS[m.kind], m.inner // parts // 16 * 16
        rest = m.inner - parts * length
        self.first = self._product(m, length, range(parts))
        # The rest begins where the parts end.
        self.rest = self._product(m, rest, [parts], length) if rest else None
        self.count = (parts + bool(rest)) * m.rows * m.columns
        spec = Joined(kind, host().lanes(kind), m.into, after)
        self.kernel = compiled(gemm_split.total, (spec,), gemm_split.KINDS)
        self.numbers = parts + bool(rest), m.rows, m.columns, m.c, m.residual

    @staticmethod
    def _product(m, inner, parts, length=None):
        """The plan of the products of some parts, `length` k's (else `inner`) apart."""
        apart = length or inner
        offsets = [(part * apart * m.a[1], part * apart * m.b[0], part * m.rows * m.columns)
                   for part in parts]
        return _whole(m._replace(inner=inner, c=m.columns, residual=0, sums=True,
                                 offsets=np.array(offsets, np.int64)), After())

    def run(self, a, b, c, bias, residual, scale):
        """Compute the product into c."""
        sums = workspace(self.count, a.dtype)
        self.first.run(a, b, sums, None, None, 1.0)
        if self.rest is not None:
            self.rest.run(a, b, sums, None, None, 1.0)
        self.kernel(sums, c, bias, residual, scale, self.numbers, 1)


class UpdatesPlan:
    """A product of very few rows with a large matrix; swapped: the operands change places."""

    def __init__(self, m, after, swapped=False):
        spec = Updates(host(), m.kind, m.rows, after)
        self.swapped = swapped
        self.kernel = compiled(gemm_updates.product, (spec,), gemm_updates.KINDS)
        self.tasks = max(1, min(16, m.columns // 1024))
        self.numbers = m.columns, m.inner, *m.a, m.b[0], m.c, m.residual, self.tasks

    def run(self, a, b, c, bias, residual, scale):
        """Compute the product into c."""
        if self.swapped:
            a, b = b, a
        self.kernel(a, b, c, bias, residual, scale, self.numbers, self.tasks)


class BlockPlan:
    """A product in blocks of tiles, B packed ahead where several tasks need the same panels.

    swapped: its operands change places.
    """

    def __init__(self, m, after, swapped=False):
        machine, kind = host(), SUMS[m.kind]
        shape = tile(machine, kind, m.rows, _in_pairs(m))
        shape = shape._replace(vectors=min(shape.vectors, -(-m.columns // shape.lanes)))
        tiles, height, higher = heights(m.rows, shape.rows)
        panels = -(-m.columns // shape.columns)
        a = _layout_of_a(m, shape)
        down, across = _blocks(m, tiles, panels, packs=a != DIRECT)
        b = _layout_of_b(m, shape, tiles // down)
        streams = tiles == 1 and b == DIRECT and m.inner * m.columns * m.size > STREAM
        if streams:
            across = max(1, m.columns // 1024)
        self.pack = None
        if b != DIRECT and down > 1 and m.count * m.inner * m.columns <= MOST_PACKED:
            self._pack_ahead(m, shape, b, panels)
            b = AHEAD
        # Long rows of B are read side by side, few at a time: else they would fall into one set of
        # the cache, and nothing would foresee where the next element comes from.
        depth = 16 if streams else even(shape.steps(m.inner), longest(shape)) * shape.together
        apart = m.into != kind and depth < m.inner
        spec = Spec(shape, (height + 1, height) if higher else (height,), a, b, m.kinds,
                    m.offsets is not None, after, streams, m.into != kind and not apart)
        self.offsets, self.swapped = m.offsets, swapped
        self.kernel = compiled(gemm_kernel.product, (spec,), gemm_kernel.KINDS)
        share = _share(m, down * across)
        self.tasks = down * across * -(-m.count // share)
        self.sums = m.count * m.rows * m.columns if apart else 0
        self.numbers = (m.rows, m.columns, m.inner, *m.a, *m.b, m.c, m.columns, m.residual, depth,
                        down, across, tiles, height, higher, m.count, share, depth * m.b[0])

    def _pack_ahead(self, m, shape, layout, panels):
        arguments = shape, layout, m.kind, m.offsets is not None
        self.pack = compiled(pack_ahead, arguments, gemm_kernel.PACK_KINDS)
        size = -(-shape.steps(m.inner) // shape.lanes) * shape.lanes * shape.columns
        self.packed = m.count * panels * size
        # A task packs 32 KiB or more.
        share = max(1, min(panels, (1 << 13) // size))
        self.pack_numbers = m.columns, m.inner, *m.b, panels, share
        self.pack_tasks = m.count * -(-panels // share)

    def run(self, a, b, c, bias, residual, scale):
        """Compute the product into c."""
        offsets, sums = self.offsets, None
        if self.swapped:
            a, b = b, a
        if self.pack is not None:
            packed = workspace(self.packed, a.dtype)
            self.pack(b, packed, offsets, self.pack_numbers, self.pack_tasks)
            b = packed
        if self.sums:
            sums = workspace(self.sums, a.dtype)
        self.kernel(a, b, c, sums, bias, residual, offsets, scale, self.numbers, self.tasks)


def workspace(count, dtype):
    """Memory for `count` sums of operands of this dtype."""
    return empty((count,), _DOUBLE if dtype == _DOUBLE else _SINGLE)


def even(count, most):
    """The length of the fewest stretches of at most `most` that make up `count`, all alike."""
    stretches = -(-count // most)
    return min(most, -(-count // stretches // 16) * 16)


def _layout_of_a(m, shape):
    """Packing costs about as much as 10 columns of the product, and pays where a tile's rows would
    push each other out of the cache."""
    wide = m.kind == SUMS[m.kind]
    if wide and m.columns <= 2 * shape.columns:
        return DIRECT
    size = m.rows * m.inner * m.size
    if m.a[1] == 1:
        if wide and size <= 1 << 18 and m.a[0] * m.size % PAGE:
            return DIRECT
        return TURNED
    return DIRECT if wide and size <= 1 << 16 else COPIED


def _layout_of_b(m, shape, tiles):
    """Reading B where it lies costs a fault of the translation buffer or the first-level cache
    for each tile, and much more where it comes from main memory; copying it pays from some tiles
    on."""
    if m.b[1] != 1:
        return TURNED
    size = m.inner * m.columns * m.size
    wide = m.kind == SUMS[m.kind] and (shape.machine.masks or m.columns % shape.columns == 0)
    few = tiles == 1 or tiles <= 3 and size <= STREAM
    apart = m.b[0] * m.size % PAGE
    if wide and (few or apart and (tiles <= 6 and size <= STREAM or size <= 384 << 10)):
        return DIRECT
    return COPIED


def _blocks(m, tiles, panels, packs):
    """Into how many blocks the result's rows and columns are cut.

    More blocks down than across: a block's rows of A are packed once for each block across.
    """
    worth = min(128, max(1, m.work // TASK))
    down = -(-tiles // most_tiles(SUMS[m.kind])) if packs else 1
    across = 1
    if m.count < 16:
        # Up to 16 tasks whatever it costs, more only where it costs little.
        for most, least in ((min(worth, 16), 4), (worth, 16)):
            if down * across < most:
                across = max(across, min(-(-most // down), panels // least))
        if down * across < min(worth, 16):
            down = min(tiles, -(-min(worth, 16) // across))
    # Two, four or eight threads want an even number of blocks.
    if down * across % 2 and 1 < down * across < 16 and down < tiles:
        down += 1
    return down, across
