"""Loop IR of linear maps along the rows and columns of planes, each result from a few elements.

A plane is a matrix of rows. A row of the result is first put together from some rows of the plane,
in a buffer that stays in the cache, then each of its elements from some of the buffer's. Tables
tell which (-1: none), and with which weights. Rows of the result lie one after another, also those
of different planes: several of them are made together, so that short rows fill the vectors too.
"""

from contextlib import contextmanager
from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import INT, Function, Type, fma, larger, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units

ROOM = 1 << 16  # bytes of the buffer, a row of the plane
_UNROLLED = 8  # elements of the buffer that are added up without a loop

# row_places, row_weights: (rows of the result, row_taps); places, weights: (taps, group *
# out_width), of all rows that are made together; divisors: of a plane, and of a group more.
POINTERS = ("x", "result", "row_places", "row_weights", "places", "weights", "divisors")
NUMBERS = ("rows", "width", "out_rows", "out_width", "row_taps", "taps", "group", "all_rows",
           "units", "tasks")
KINDS = "aaaaaaatn"


class Bands(NamedTuple):
    """Which map: the elements' kind; how many elements of the buffer make one of the result (0: it
    is an argument); whether there are weights (else all are 1), whether results are divided; how
    many vectors of the buffer are computed together; whether the buffer is the result already, but
    for the division."""

    kind: str
    taps: int
    weighted: bool
    divided: bool
    block: int
    straight: bool = False


def taps_known(taps):
    """The number of taps, if there is code for just so many; else 0."""
    return taps if taps <= _UNROLLED else 0


@contextmanager
def _rows(f, arg, first, count):
    """The rows of a group, in a loop: (which of the group, plane, which of the plane)."""
    plane, number = f.variable(first // arg.out_rows), f.variable(first % arg.out_rows)
    with f.loop(0, count) as row:
        yield row, plane.get(), number.get()
        # No division for each row.
        following = number.get() + 1
        ended = following >= arg.out_rows
        plane.set(plane.get() + ended.to("i64"))
        number.set(select(ended, f.const(0, INT), following))


def mapped(spec):
    """The kernel that maps planes; a unit of work is a group of rows of the result."""
    return _Mapped(spec).function


class _Mapped:
    """The kernel while it is being written."""

    def __init__(self, spec):
        self.spec, self.vector = spec, Type(spec.kind, LANES)
        self.function = f = Function(
            f"mapped{spec.taps}_{spec.kind}{'_weighted' * spec.weighted}{'_divided' * spec.divided}"
            f"_{spec.block}{'_straight' * spec.straight}")
        self.arg = arg = Arguments(f, POINTERS, NUMBERS)
        # Behind the last row the vectors may reach further.
        self.buffer = f.scratch(self.vector, ROOM // (self.vector.size * LANES) + spec.block)
        with my_units(f, arg.units, arg.tasks) as unit:
            first = unit * arg.group
            count = smaller(arg.group, arg.all_rows - first)
            with _rows(f, arg, first, count) as (row, plane, number):
                self.gather_rows(plane, number, row * arg.width)
            self.write(first, count * arg.out_width)

    def gather_rows(self, plane, number, start_in_buffer):
        """Put a row of a plane's result together from the plane's rows."""
        f, arg, spec = self.function, self.arg, self.spec
        plane = f.offset(arg.x, plane * arg.rows * arg.width, spec.kind)
        first = number * arg.row_taps
        buffer = f.offset(self.buffer, start_in_buffer, spec.kind)
        zero = f.const(0.0, self.vector)
        with f.loop(0, arg.width, LANES * spec.block) as start:
            columns = [start + i * LANES for i in range(spec.block)]
            masks = [f.lanes_below(arg.width - c, LANES) for c in columns]
            sums = [f.variable(zero, self.vector) for _ in columns]
            with f.loop(first, first + arg.row_taps) as tap:
                place = f.load(arg.row_places, tap, INT)
                with f.when(place >= 0):
                    weight = self.weight(arg.row_weights, tap, 1)
                    line = f.offset(plane, place * arg.width, spec.kind)
                    for total, column, mask in zip(sums, columns, masks):
                        value = f.load(line, column, self.vector, mask)
                        total.set(self.add(total.get(), value, weight))
            for total, column in zip(sums, columns):
                f.store(total.get(), buffer, column)

    def weight(self, table, index, lanes, mask=None):
        """The weight that the table holds, in all lanes; None: it is 1."""
        if not self.spec.weighted:
            return None
        found = self.function.load(table, index, Type(self.spec.kind, lanes), mask)
        return found.splat(LANES) if lanes == 1 else found

    def add(self, total, value, weight):
        return total + value if weight is None else fma(value, weight, total)

    def write(self, first, count):
        """Write `count` elements of the result, from the row `first` on."""
        f, arg, spec = self.function, self.arg, self.spec
        result = f.offset(arg.result, first * arg.out_width, spec.kind)
        if spec.divided:
            divisors = f.offset(arg.divisors, first % arg.out_rows * arg.out_width, spec.kind)
        with f.loop(0, count, LANES) as column:
            wanted = f.lanes_below(count - column, LANES)
            total = f.variable(f.const(0.0, self.vector), self.vector)
            if spec.straight:
                total.set(f.load(self.buffer, column, self.vector, wanted))
            elif spec.taps:
                for tap in range(spec.taps):
                    self.add_tap(total, tap, column, wanted)
            else:
                with f.loop(0, arg.taps) as tap:
                    self.add_tap(total, tap, column, wanted)
            value = total.get()
            if spec.divided:
                # Where nothing is wanted nothing is loaded: 0 / 0 does no harm.
                value = value / f.load(divisors, column, self.vector, wanted)
            f.store(value, result, column, wanted)

    def add_tap(self, total, tap, column, wanted):
        f, arg, spec = self.function, self.arg, self.spec
        index = arg.group * arg.out_width * tap + column
        places = f.load(arg.places, index, Type("i32", LANES), wanted)
        value = f.gather(self.buffer, places, spec.kind, wanted & (places >= 0))
        total.set(self.add(total.get(), value, self.weight(arg.weights, index, LANES, wanted)))


def picked(kind, straight=False):
    """The kernel that copies one element for each of the result, by the same tables.

    straight: whether the columns of the result are those of the plane, and whole rows are copied. A
    unit of work is a group of rows. A row that is made of the same row as the one before it is
    copied from that, if both are of one plane and group.
    """
    f = Function(f"picked_{kind}{'_straight' * straight}")
    arg = Arguments(f, POINTERS, NUMBERS)
    vector = Type(kind, LANES)
    with my_units(f, arg.units, arg.tasks) as unit:
        first = unit * arg.group
        count = smaller(arg.group, arg.all_rows - first)
        with _rows(f, arg, first, count) as (row, plane, number):
            place = f.load(arg.row_places, number, INT)
            before = f.load(arg.row_places, larger(number - 1, f.coerce(0)), INT)
            repeated = place.eq(before) & (number > 0) & (row > 0)
            line = f.offset(arg.x, (plane * arg.rows + place) * arg.width, kind)
            out = f.offset(arg.result, (first + row) * arg.out_width, kind)
            earlier = f.offset(out, -arg.out_width, kind)
            with f.loop(0, arg.out_width, LANES) as column:
                wanted = f.lanes_below(arg.out_width - column, LANES)
                with f.when(repeated):
                    f.store(f.load(earlier, column, vector, wanted), out, column, wanted)
                with f.when(~repeated):
                    if straight:
                        found = f.load(line, column, vector, wanted)
                    else:
                        places = f.load(arg.places, column, Type("i32", LANES), wanted)
                        found = f.gather(line, places, kind, wanted)
                    f.store(found, out, column, wanted)
    return f
