"""Loop IR of bilinear sampling: images at places between their elements, and the gradients.

Places are given as rows and columns, ``(samples, count)``; 16 of them are worked on together.
Elements outside of the image are 0, and so is everything at places that are NaN or far away.
"""

from iskra.codegen.ir import Function, Type, floor, fma, select
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.kernels.window_kernels import clear

LANES = 16
NUMBERS = ("channels", "height", "width", "count", "blocks", "units", "tasks")
FORWARD = ("image", "rows", "columns", "result")
OF_IMAGE = ("grad", "rows", "columns", "result")
OF_PLACES = ("image", "rows", "columns", "grad", "d_rows", "d_columns")


class _Corners:
    """The four elements around each of 16 places: which there are, where, and their weights."""

    def __init__(self, f, arg, kind, start, wanted):
        self.f, self.kind = f, kind
        vector = Type(kind, LANES)
        down, self.tops = self._split(f.load(arg.rows, start, vector, wanted))
        across, self.lefts = self._split(f.load(arg.columns, start, vector, wanted))
        self.down, self.across = down, across
        width = arg.width.to("i32").splat(LANES)
        self.places, self.masks = [], []
        for i in range(2):
            row, row_there = self._inside(self.tops, i, arg.height)
            for j in range(2):
                column, there = self._inside(self.lefts, j, arg.width)
                mask = there & row_there & wanted
                self.masks.append(mask)
                self.places.append(select(mask, row * width + column, 0))
        up, back = 1.0 - down, 1.0 - across
        self.weights = [up * back, up * across, down * back, down * across]

    def _split(self, place):
        """The fraction and the whole part, which is very small for what is no number or far."""
        whole = floor(place)
        return place - whole, whole.to("i32")

    def _inside(self, whole, step, size):
        place = whole + step
        return place, (place >= 0) & (place < size.to("i32").splat(LANES))

    def values(self, image):
        """The elements of one channel, 0 where there is none."""
        return [self.f.gather(image, place, self.kind, mask)
                for place, mask in zip(self.places, self.masks)]


def _places(f, arg, unit):
    """The sample, the first place of a unit, which are wanted; a unit is 16 places of a sample."""
    sample, column = unit // arg.blocks, unit % arg.blocks * LANES
    return sample, column, f.lanes_below(arg.count - column, LANES)


def sample(kind):
    """The kernel that samples all channels."""
    f = Function(f"sample_{kind}")
    arg = Arguments(f, FORWARD, NUMBERS)
    with my_units(f, arg.units, arg.tasks) as unit:
        number, column, wanted = _places(f, arg, unit)
        corners = _Corners(f, arg, kind, number * arg.count + column, wanted)
        with f.loop(0, arg.channels) as channel:
            plane = number * arg.channels + channel
            image = f.offset(arg.image, plane * arg.height * arg.width, kind)
            first, *values = corners.values(image)
            total = first * corners.weights[0]
            for value, weight in zip(values, corners.weights[1:]):
                total = fma(value, weight, total)
            f.store(total, arg.result, plane * arg.count + column, wanted)
    return f


def gradient_of_image(kind):
    """The kernel that adds each result's gradient to four elements; a unit is a plane.

    It adds one number after another, in the order of the places.
    """
    f = Function(f"sample_image_{kind}")
    arg = Arguments(f, OF_IMAGE, NUMBERS)
    vector = Type(kind, LANES)
    shares, places = f.scratch(vector, 4), f.scratch(vector.of("i32"), 4)
    with my_units(f, arg.units, arg.tasks) as plane:
        image = f.offset(arg.result, plane * arg.height * arg.width, kind)
        clear(f, image, arg.height * arg.width, kind)
        with f.loop(0, arg.count, LANES) as column:
            wanted = f.lanes_below(arg.count - column, LANES)
            start = plane // arg.channels * arg.count + column
            corners = _Corners(f, arg, kind, start, wanted)
            grad = f.load(arg.grad, plane * arg.count + column, vector, wanted)
            for i, mask in enumerate(corners.masks):
                f.store(select(mask, grad * corners.weights[i], 0.0), shares, i * LANES)
                f.store(corners.places[i], places, i * LANES)
            with f.loop(0, 4 * LANES) as i:
                place = f.load(places, i, Type("i32")).to("i64")
                share = f.load(shares, i, Type(kind))
                f.store(f.load(image, place, Type(kind)) + share, image, place)
    return f


def gradient_of_places(kind):
    """The kernel of the gradients for rows and columns: sums over all channels."""
    f = Function(f"sample_places_{kind}")
    arg = Arguments(f, OF_PLACES, NUMBERS)
    vector = Type(kind, LANES)
    with my_units(f, arg.units, arg.tasks) as unit:
        number, column, wanted = _places(f, arg, unit)
        start = number * arg.count + column
        corners = _Corners(f, arg, kind, start, wanted)
        sums = [f.variable(f.const(0.0, vector), vector) for _ in range(2)]
        with f.loop(0, arg.channels) as channel:
            plane = number * arg.channels + channel
            image = f.offset(arg.image, plane * arg.height * arg.width, kind)
            a, b, c, d = corners.values(image)
            grad = f.load(arg.grad, plane * arg.count + column, vector, wanted)
            up, back = 1.0 - corners.down, 1.0 - corners.across
            of_row = fma(d - b, corners.across, (c - a) * back)
            of_column = fma(d - c, corners.down, (b - a) * up)
            for total, slope in zip(sums, (of_row, of_column)):
                total.set(fma(grad, slope, total.get()))
        f.store(sums[0].get(), arg.d_rows, start, wanted)
        f.store(sums[1].get(), arg.d_columns, start, wanted)
    return f
