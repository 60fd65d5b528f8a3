"""Loop IR that lays a piece of a matrix out in the order in which the innermost loop reads it.

A packed strip holds, for each k in turn, the `width` elements that a tile needs at that step. Where
the matrix has them side by side they are copied; where it has the k's side by side, squares of
lanes × lanes elements are transposed in registers.

bfloat16 may be packed in pairs: then an element of the strip, a "u32", holds that of an even k in
its lower half and that of the next in its upper half, or 0 where there is none.
"""

from typing import NamedTuple

from iskra.codegen.ir import Type, smaller

COPIED, TURNED = "copied", "turned"


def transpose(vectors):
    """A square of vectors, rows for columns: log2(lanes) rounds of two-vector shuffles.

    First squares within sixteen bytes are turned, then these as wholes. Such shuffles need no
    tables, which would be loaded ahead of all loops and take registers from sums.
    """
    lanes = len(vectors)
    unit = min(lanes, 16 // vectors[0].type.size)
    groups = [_turned_within(vectors[i:i + unit], unit) for i in range(0, lanes, unit)]
    columns = [_turned_units(rows, unit) for rows in zip(*groups)]
    return [columns[i % unit][i // unit] for i in range(lanes)]


def _turned_within(rows, unit, size=1):
    """The squares that lie in each `unit` elements turned, which come in pieces of `size`."""
    if len(rows) == 1:
        return rows
    lanes, turned = rows[0].type.lanes, []
    for half in (0, unit // 2):
        chosen = [first + half + start + i + other for first in range(0, lanes, unit)
                  for start in range(0, unit // 2, size) for other in (0, lanes)
                  for i in range(size)]
        pairs = [a.shuffle(chosen, b) for a, b in zip(rows[::2], rows[1::2])]
        turned += _turned_within(pairs, unit, 2 * size)
    return turned


def _turned_units(rows, unit):
    """A square whose elements are as long as `unit` of the vectors' elements."""
    if len(rows) == 1:
        return rows
    lanes, turned = rows[0].type.lanes, [None] * len(rows)
    for odd in (0, 1):
        chosen = [first + i for first in range(odd * unit, 2 * lanes, 2 * unit)
                  for i in range(unit)]
        turned[odd::2] = _turned_units(
            [a.shuffle(chosen, b) for a, b in zip(rows[::2], rows[1::2])], unit)
    return turned


class Strip(NamedTuple):
    """Where a piece of a matrix is to lie packed.

    pointer: its first element; width: elements for each k (a Value or an int); most: the largest
    that may be; there: how many of them exist, the others are padding.
    """

    pointer: object
    width: object
    most: int
    there: object


def copy(f, tile, strip, source, step, count, kinds):
    """Pack from where the elements for one k lie side by side.

    source: pointer to the element at k = 0; step: elements from one k to the next; count: how many
    k's; kinds: (in memory, packed); packed as "u32" are pairs.

    Whole vectors are written, in ascending order: the next k overwrites what was too much, and
    behind the strip there must be room for a vector more. The neighbouring strip is asked for.
    """
    if tile.pairs:
        _copy_pairs(f, strip, source, step, count)
        return
    lanes = tile.lanes

    def rows(mask):
        parts = [(i, mask(strip.there - i)) for i in range(0, strip.most, lanes)]
        with f.loop(0, count) as k:
            row = f.offset(source, k * step, kinds[0])
            out = f.offset(strip.pointer, k * strip.width, kinds[1])
            for i, valid in parts:
                f.prefetch(row, strip.most + i, kinds[0])
                f.store(f.load(row, i, Type(kinds[0], lanes), valid).to(kinds[1]), out, i)

    _whole_or_masked(f, tile, strip, rows)


def _copy_pairs(f, strip, source, step, count):
    """`copy` of bfloat16 in pairs: two rows are merged, eight elements at a time.

    Longer vectors could only be merged with a table in a register, which LLVM would not let go
    while the tile's sums need them all.
    """
    bits = Type("u16", 8)
    parts = [(i, f.lanes_below(strip.there - i, 8)) for i in range(0, strip.most, 8)]
    with f.loop(0, count, 2) as k:
        first = f.offset(source, k * step, bits.kind)
        second = f.offset(first, step, bits.kind)
        out = f.offset(strip.pointer, k // 2 * strip.width, "u32")
        more = (k + 1 < count).splat(8)
        for i, valid in parts:
            if i % 32 == 0:
                f.prefetch(first, strip.most + i, bits.kind)
                f.prefetch(second, strip.most + i, bits.kind)
            a = f.load(first, i, bits, valid)
            b = f.load(second, i, bits, valid & more)
            for half in (0, 4):
                merged = a.shuffle([half + j // 2 + j % 2 * 8 for j in range(8)], b)
                f.store(merged.bits_as("u32"), out, i + half)


def _whole_or_masked(f, tile, strip, emit):
    """Code for strips of any width; where masks are dear, a second one for the full width."""
    def masked(count):
        return f.lanes_below(count, tile.lanes)

    if tile.machine.masks:
        emit(masked)
        return
    full = f.coerce(strip.there).eq(strip.most)
    with f.when(full):
        emit(lambda count: None)
    with f.when(~full):
        emit(masked)


def turn(f, tile, strip, source, step, count, kinds):
    """Pack from where the k's lie side by side; `step`: elements from one of the strip's rows to
    the next.

    As `copy`, but padding repeats the last row, and whole vectors of k's are written: behind the
    strip there must be room for `lanes` k's and a vector more.
    """
    last = f.coerce(strip.there) - 1
    rows = [f.offset(source, smaller(f.coerce(i), last) * step, kinds[0])
            for i in range(padded_rows(tile, strip))]
    turn_rows(f, tile, strip, rows, count, kinds)


def padded_rows(tile, strip):
    """How many rows `turn_rows` wants: whole vectors of them."""
    return -(-strip.most // tile.lanes) * tile.lanes


def turn_rows(f, tile, strip, rows, count, kinds):
    """As `turn`, from a pointer to each row."""
    lanes, across = tile.lanes, tile.lanes * tile.together

    def square(k, mask=None):
        groups = [
            transpose([packed(f.load(row, k, Type(kinds[0], across), mask))
                       for row in rows[group:group + lanes]])
            for group in range(0, len(rows), lanes)
        ]
        out = f.offset(strip.pointer, tile.steps(k) * strip.width, kinds[1])
        for i in range(lanes):
            for group, vectors in enumerate(groups):
                f.store(vectors[i], out, f.coerce(strip.width) * i + group * lanes)

    def packed(values):
        return values.bits_as(kinds[1]) if tile.pairs else values.to(kinds[1])

    whole = count - count % across
    with f.loop(0, whole, across) as k:
        square(k)
    with f.when(whole < count):
        square(whole, f.lanes_below(count - whole, across))


PACKERS = {COPIED: copy, TURNED: turn}
