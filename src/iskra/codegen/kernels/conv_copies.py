"""Loop IR that copies images into *blocks*, the form in which convolutions multiply them.

A block is some rows of an image with their padding written out. Its channels come in chunks of a
vector's lanes: as ``(chunks, rows, width, lanes)`` neighbouring places are a fixed number of
elements apart, whatever the number of channels; ``(rows, width, chunks, lanes)`` has all channels
of a place side by side. Vectors of channels can be loaded anywhere. Images have their channels
first or last; of the former, squares are transposed in registers.
"""

from typing import NamedTuple

from iskra.codegen.ir import Type, larger, select, smaller
from iskra.codegen.kernels.gemm_pack import transpose


class Source(NamedTuple):
    """Images in memory and the part of them that a block holds, as values of the IR.

    channel, row: elements from one to the next (places are side by side if channels come first;
    else places are `channel` elements apart and channels side by side); height, width: of the
    image; channels: how many there are; top, left: where the block begins, perhaps outside.
    """

    pointer: object
    kind: str
    first: bool
    channel: object
    row: object
    height: object
    width: object
    channels: object
    top: object
    left: object


def copy_block(f, tile, source, target, shape, chunk_size, place_size):
    """Write the block of ``shape = (rows, width)``; what lies outside of the image becomes 0.

    chunk_size, place_size: elements from one to the next. Behind the block there must be room for
    `lanes` places more.
    """
    copy = _turned_block if source.first else _copied_block
    copy(f, tile, source, target, shape, (chunk_size, place_size))


def _inside(f, low, high, most):
    """The part of ``range(most)`` that lies between `low` and `high`."""
    start = smaller(larger(low, 0), most)
    return start, larger(smaller(high, most), start)


def _copied_block(f, tile, source, target, shape, sizes):
    """Place by place, as they lie in memory, so that it is read from one end to the other."""
    lanes, (rows, width), (chunk_size, place_size) = tile.lanes, shape, sizes
    whole, vector = source.channels // lanes * lanes, Type(source.kind, lanes)
    there = f.lanes_below(source.channels - whole, lanes)
    zero = f.const(0.0, Type(tile.kind, lanes))
    first, last = _inside(f, -source.left, source.width - source.left, width)
    with f.loop(0, rows) as row:
        y = source.top + row
        outside = (y < 0) | (y >= source.height)
        start = select(outside, f.coerce(0), first)
        stop = select(outside, f.coerce(0), last)
        line = f.offset(target, row * width * place_size, tile.kind)
        with f.loop(start, stop) as x:
            place = y * source.row + (source.left + x) * source.channel
            place = f.offset(source.pointer, place, source.kind)
            out = f.offset(line, x * place_size, tile.kind)
            with f.loop(0, whole, lanes) as channel:
                f.store(f.load(place, channel, vector).to(tile.kind), out,
                        channel // lanes * chunk_size)
            with f.when(whole < source.channels):
                f.store(f.load(place, whole, vector, there).to(tile.kind), out,
                        whole // lanes * chunk_size)
        with f.loop(0, source.channels, lanes) as channel:
            out = f.offset(line, channel // lanes * chunk_size, tile.kind)
            for low, high in ((0, start), (stop, width)):
                with f.loop(low, high) as x:
                    f.store(zero, out, x * place_size)


def _turned_block(f, tile, source, target, shape, sizes):
    lanes, (rows, width), (chunk_size, place_size) = tile.lanes, shape, sizes
    vector = Type(source.kind, lanes)
    with f.loop(0, source.channels, lanes) as channel:
        out = f.offset(target, channel // lanes * chunk_size, tile.kind)
        valid = source.channels - channel
        with f.loop(0, rows) as row:
            y = source.top + row
            inside = (y >= 0) & (y < source.height)
            line = f.offset(out, row * width * place_size, tile.kind)
            with f.loop(0, width, lanes) as x:
                place = source.left + x
                there = f.lanes_below(source.width - place, lanes) & ~f.lanes_below(-place, lanes)
                vectors = []
                for i in range(lanes):
                    mask = there & (inside & (valid > i)).splat(lanes)
                    start = (channel + i) * source.channel + y * source.row + place
                    values = f.load(source.pointer, start, vector, mask)
                    vectors.append(values.to(tile.kind))
                # What is too much is overwritten by the next row.
                for i, values in enumerate(transpose(vectors)):
                    f.store(values, line, (x + i) * place_size)
