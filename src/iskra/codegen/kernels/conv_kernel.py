"""Loop IR of convolutions, as matrix products whose right operand is never written down.

For one sample and group, the result is ``(channels, places) = weights @ windows``: column j of
`windows` holds what the kernel meets at output place j, row k belongs to one input channel and one
place in the kernel. Where an element lies splits into a part that depends on k and one that
depends on the output's row; both are tables. A row of the output meets neighbouring elements, so
panels are packed by loading pieces of rows.

That neighbours of the output meet neighbours of the input needs the padding written out, and the
columns of an input with stride s sorted by their remainder modulo s: `pad` makes such a copy.
"""

from iskra.codegen.ir import INT, Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.gemm_kernel import NUMBERS, POINTERS, Product
from iskra.codegen.kernels.gemm_pack import Strip, turn

WINDOWS = "windows"     # how the right operand is read

# inner_places: where k's elements start, for each k. row_places: where the first element of each
# row of the output lies beyond that. width: columns of the output.
CONV_POINTERS = (*POINTERS, "inner_places", "row_places")
CONV_NUMBERS = (*NUMBERS, "width", "output_rows", "groups")
CONV_KINDS = "a" * len(CONV_POINTERS) + "ftn"

PAD_POINTERS = ("image", "padded", "row_sources")
PAD_NUMBERS = ("images", "share", "image_size", "image_width", "before", "padded_rows",
               "padded_width")
PAD_KINDS = "aaatn"

# How the weights of a row lie for one k after the other: all side by side; in runs of as many as
# the kernel has places, or one by one, both of which start at `inner_places`.
SIDE_BY_SIDE, RUNS, SCATTERED = "side by side", "runs", "scattered"
WEIGHT_POINTERS = ("weights", "packed", "inner_places")
WEIGHT_NUMBERS = ("rows", "inner", "row_step", "group_size", "depth", "tiles", "height", "higher",
                  "size", "run")
WEIGHT_KINDS = "aaatn"


def slack(tile):
    """Elements between two stretches of packed weights: packing writes squares."""
    return tile.lanes * (max(tile.rows, tile.lanes) + 2)


def pad(kind, lanes, stride, name="pad"):
    """The kernel that copies images into their padded form, ``(images, stride, rows, width)``.

    Element j of a row of part p is element ``j * stride + p`` of the padded image's row.
    row_sources: where each padded row comes from in the image, or -1 for padding.
    """
    f = Function(name)
    arg = Arguments(f, PAD_POINTERS, PAD_NUMBERS)
    first = f.task * arg.share
    size = arg.padded_rows * arg.padded_width * stride
    with f.loop(first, smaller(first + arg.share, arg.images)) as image:
        source = f.offset(arg.image, image * arg.image_size, kind)
        target = f.offset(arg.padded, image * size, kind)
        copy_padded(f, arg, source, target, Type(kind, lanes), stride)
    return f


def copy_padded(f, arg, source, target, vector, stride):
    """Copy one channel into its padded form; `arg` has the last arguments of `pad`."""
    lanes, width = vector.lanes, arg.padded_width
    # Columns outside, rows inside: the masks are the same for all rows.
    with f.loop(0, width, lanes) as j:
        there = f.lanes_below(width - j, lanes)
        for part in range(stride):
            column = j * stride + part - arg.before
            load = _strided(f, source, column, arg.image_width, stride, vector)
            out = f.offset(target, arg.padded_rows * width * part + j, vector.kind)
            with f.loop(0, arg.padded_rows) as row:
                start = f.load(arg.row_sources, row, INT)
                f.store(load(start, (start >= 0).splat(lanes)), out, row * width, there)


def _between(f, low, high, lanes):
    """A mask of the lanes from `low` to below `high`."""
    return f.lanes_below(high, lanes) & ~f.lanes_below(low, lanes)


def _strided(f, source, column, width, stride, vector):
    """A function that loads every stride-th element of a row from `column` on.

    It takes the row's start and a mask of all lanes or none; elements that are not are 0.
    """
    lanes = vector.lanes
    if stride > 2:
        columns = f.iota(Type("i64", lanes)) * stride + column
        inside = (columns >= 0) & (columns < width)
        return lambda start, there: f.gather(source, columns + start, vector.kind, inside & there)
    starts = [column + i * lanes for i in range(stride)]
    masks = [_between(f, -start, width - start, lanes) for start in starts]

    def load(row, there):
        parts = [f.load(source, row + start, vector, mask & there)
                 for start, mask in zip(starts, masks)]
        return parts[0] if stride == 1 else parts[0].shuffle(range(0, 2 * lanes, 2), parts[1])

    return load


def pack_weights(tile, kind, lie, name="pack_weights"):
    """The kernel that packs the weights: a task packs one stretch of k of one group.

    The tiles of stretch s of group g begin at element ``(g * stretches + s) * size``.
    lie: how the weights of a row lie; a stretch consists of whole runs.
    """
    f = Function(name)
    arg = Arguments(f, WEIGHT_POINTERS, WEIGHT_NUMBERS)
    stretches = (arg.inner + arg.depth - 1) // arg.depth
    group, k = f.task // stretches, f.task % stretches * arg.depth
    count = smaller(arg.depth, arg.inner - k)
    source = f.offset(arg.weights, group * arg.group_size, kind)
    target = f.offset(arg.packed, f.task * arg.size, tile.kind)
    with f.loop(0, arg.tiles) as number:
        row = number * arg.height + smaller(number, arg.higher)
        height = arg.height + (number < arg.higher).to("i64")
        out = f.offset(target, row * count, tile.kind)
        start = f.offset(source, row * arg.row_step, kind)
        if lie == SCATTERED:
            places = f.offset(arg.inner_places, k, "i64")
            _gather_strip(f, tile, (start, out, height), arg.row_step, places, count, kind)
        else:
            length = arg.run if lie == RUNS else count
            with f.loop(0, count, length) as first:
                place = f.load(arg.inner_places, k + first, INT) if lie == RUNS else k
                strip = Strip(f.offset(out, first * height, tile.kind), height, tile.rows, height)
                turn(f, tile, strip, f.offset(start, place, kind), arg.row_step, length,
                     (kind, tile.kind))
    return f


def _gather_strip(f, tile, strip, step, places, count, kind):
    """Pack weights one by one; as elsewhere, the next k overwrites what was too much."""
    source, out, height = strip
    lanes = tile.lanes
    parts = [(first, (f.iota(Type("i64", lanes)) + first) * step,
              f.lanes_below(height - first, lanes)) for first in range(0, tile.rows, lanes)]
    with f.loop(0, count) as k:
        place = f.load(places, k, INT)
        end = f.offset(out, k * height, tile.kind)
        for first, rows, mask in parts:
            values = f.gather(source, rows + place, kind, mask)
            f.store(values.to(tile.kind), end, first)


def separate(kind, lanes, name="separate"):
    """The kernel that turns ``(rows, samples, columns)`` into ``(samples, rows, columns)``."""
    f = Function(name)
    arg = Arguments(f, ("source", "target"), ("rows", "samples", "columns"))
    with f.loop(0, arg.rows) as row:
        source = f.offset(arg.source, (row * arg.samples + f.task) * arg.columns, kind)
        target = f.offset(arg.target, (f.task * arg.rows + row) * arg.columns, kind)
        with f.loop(0, arg.columns, lanes) as j:
            mask = f.lanes_below(arg.columns - j, lanes)
            f.store(f.load(source, j, Type(kind, lanes), mask), target, j, mask)
    return f


SEPARATE_KINDS = "aatn"


def convolution(spec, pieces, name="convolution"):
    """The kernel that computes a block of places of one sample and group, for all channels.

    pieces: of how many rows of the output the places of a vector may be; 0: of any number.
    """
    return _Convolution(spec, pieces, name).function


class _Convolution(Product):
    """A convolution's kernel while it is being written."""

    pointers, numbers = CONV_POINTERS, CONV_NUMBERS

    def __init__(self, spec, pieces, name):
        self.pieces = pieces
        super().__init__(spec, name)

    def packed_rows(self, row, k, count):
        size = self.arg.rows * self.arg.depth + slack(self.tile)
        return self.function.offset(self.a, k // self.arg.depth * size + row * count,
                                    self.tile.kind)

    def panel(self, panel, column, k, count):
        """Pack the panel; where it lies, and how many elements from one k to the next."""
        f, arg, tile = self.function, self.arg, self.tile
        starts = [column + i * tile.lanes for i in range(tile.vectors)]
        if not self.pieces:
            self.pack([self.gathered(start) for start in starts], k, count)
            return self.packed_b, f.coerce(tile.columns)
        # Most panels lie in one row of the output, if rows are long; most vectors in two, if not.
        row, first = column // arg.width, column % arg.width
        place = f.load(arg.row_places, row, INT) + first
        whole = smaller(arg.width - first, arg.columns - column) >= tile.columns
        with f.when(whole):
            self.pack([self.piece(place + i * tile.lanes) for i in range(tile.vectors)], k, count,
                      place + tile.columns)
        few = ~whole
        for pieces in sorted({min(2, self.pieces), self.pieces}):
            suits = few
            if pieces < self.pieces:
                for start in starts:
                    suits = suits & (start % arg.width + (tile.lanes - 1) < arg.width * pieces)
                few = few & ~suits
            with f.when(suits):
                self.pack([self.joined(start, pieces) for start in starts], k, count,
                          place + tile.columns)
        return self.packed_b, f.coerce(tile.columns)

    def pack(self, vectors, k, count, ahead=None):
        """Pack `count` k's; vectors: functions that load what one of them contributes; ahead: where
        the next panel's elements are likely to lie."""
        f, tile, kind = self.function, self.tile, self.spec.kinds[1]
        with f.loop(0, count) as i:
            base = f.offset(self.b, f.load(self.arg.inner_places, k + i, INT), kind)
            out = f.offset(self.packed_b, i * tile.columns, tile.kind)
            for number, load in enumerate(vectors):
                start = number * tile.lanes
                if ahead is not None:
                    f.prefetch(base, ahead + start, kind)
                f.store(load(base).to(tile.kind), out, start)

    def piece(self, place, mask=None):
        """Neighbours in one row of the output."""
        vector = Type(self.spec.kinds[1], self.tile.lanes)
        return lambda base: self.function.load(base, place, vector, mask)

    def gathered(self, first):
        """Places each of which may be in a row of its own."""
        f, arg, lanes = self.function, self.arg, self.tile.lanes
        there = f.lanes_below(arg.columns - first, lanes)
        places = f.iota(Type("i64", lanes)) + first
        rows = f.gather(arg.row_places, places // arg.width, "i64", there)
        elements = rows + places % arg.width
        return lambda base: f.gather(base, elements, self.spec.kinds[1], there)

    def joined(self, first, count):
        """Places of `count` rows: a piece of each."""
        f, arg, lanes = self.function, self.arg, self.tile.lanes
        row, column = first // arg.width, first % arg.width
        pieces = []
        for i in range(count):
            # Lanes from `low` on are of the i-th row from here.
            low = f.coerce(0) if i == 0 else arg.width * i - column
            high = smaller(arg.width * (i + 1) - column, arg.columns - first)
            place = f.load(arg.row_places, smaller(row + i, arg.output_rows - 1), INT)
            mask = _between(f, low, high, lanes)
            pieces.append((mask, self.piece(place - arg.width * i + column, mask)))

        def load(base):
            values = pieces[0][1](base)
            for mask, piece in pieces[1:]:
                values = select(mask, piece(base), values)
            return values

        return load

    def after(self, value, row, column, mask):
        """As for products; but a bias belongs to a channel, that is to a row."""
        f, arg, tile = self.function, self.arg, self.tile
        memory = Type(self.spec.kinds[2], tile.lanes)

        def bias():
            channel = self.matrix % arg.groups * arg.rows + row
            return f.load(arg.bias, channel, Type(memory.kind)).to(tile.kind).splat(tile.lanes)

        def residual():
            line = self.matrix * arg.rows + row
            start = f.offset(arg.residual, line * arg.residual_row, memory.kind)
            return f.load(start, column, memory, mask).to(tile.kind)

        return self.spec.after.apply(value, lambda: arg.scale.to(tile.kind), bias, residual)
