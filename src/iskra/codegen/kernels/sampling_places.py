"""Loop IR of the places of a grid: from numbers between -1 and 1 to elements and their weights.

Each step is PyTorch's, with its rounding: positions among the elements; where padding puts those
outside; the elements beside them. Elements outside of the image, and those of places that are NaN
or far away, are one of zeros that stands behind the image.
"""

import itertools
from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Type, floor, rint, select, trunc

AXES = ("depth", "height", "width")


class Setting(NamedTuple):
    """How to sample: "bilinear" (in any number of dimensions), "nearest" or "bicubic"; padding:
    "zeros", "border" or "reflection"; align: whether -1 and 1 are the outer elements' centres or
    their edges; rank: how many dimensions an image has."""

    mode: str
    padding: str
    align: bool
    rank: int

    @property
    def name(self):
        """A short name."""
        return f"{self.mode}{self.rank}_{self.padding}{'_aligned' * self.align}"

    @property
    def taps(self):
        """How many elements a result is made of."""
        return {"nearest": 1, "bilinear": 2, "bicubic": 4}[self.mode] ** self.rank


class _Tap(NamedTuple):
    """An element along one dimension: its place, an i32; whether it exists; weight and slope."""

    place: object
    there: object
    weight: object = None
    slope: object = None


class Taps:
    """The elements that each of 16 places is made of, kept in memory of the call's own.

    slopes: whether the weights' derivatives by the grid's numbers are wanted too.
    """

    def __init__(self, f, arg, setting, kind, slopes=False):
        self.f, self.arg, self.setting, self.kind = f, arg, setting, kind
        self.vector, self.count = Type(kind, LANES), setting.taps
        self.axes = AXES[3 - setting.rank:]
        self.places = f.scratch(self.vector.of("i32"), self.count)
        self.weights = f.scratch(self.vector, self.count)
        self.slopes = []
        if slopes:
            self.slopes = [f.scratch(self.vector, self.count) for _ in self.axes]

    # Of place number i

    def place(self, tap, i):
        """The number of the tap's element (an i64)."""
        return self.f.load(self.places, i + tap * LANES, Type("i32")).to("i64")

    def weight(self, tap, i):
        """Its weight, or None for 1."""
        if self.setting.mode == "nearest":
            return None
        return self.f.load(self.weights, i + tap * LANES, Type(self.kind))

    def slope(self, axis, tap, i):
        """The derivative of its weight by the position along a dimension."""
        return self.f.load(self.slopes[axis], i + tap * LANES, Type(self.kind))

    # Of 16 places

    def work_out(self, start, wanted):
        """Work out the taps of 16 places from number `start` on, of which some are wanted."""
        f, arg = self.f, self.arg
        lines = [self._along(*pair) for pair in enumerate(self._components(start))]
        outside = (arg.depth * arg.height * arg.width).to("i32").splat(LANES)
        for number, taps in enumerate(itertools.product(*lines)):
            place, there = taps[0].place, taps[0].there & wanted
            for axis, tap in zip(self.axes[1:], taps[1:]):
                place = place * self._size(axis, "i32") + tap.place
                there = there & tap.there
            f.store(select(there, place, outside), self.places, number * LANES)
            if self.setting.mode != "nearest":
                f.store(_product(tap.weight for tap in taps), self.weights, number * LANES)
            for axis, memory in enumerate(self.slopes):
                factors = (tap.slope if i == axis else tap.weight for i, tap in enumerate(taps))
                f.store(_product(factors), memory, number * LANES)

    def store_slope(self, axis, value, start, wanted):
        """Write the grid's gradient along a dimension, 16 places from `start` on."""
        rank = len(self.axes)
        places = self.f.iota(Type("i64", LANES)) * rank
        places = places + (start * rank + (rank - 1 - axis)).splat(LANES)
        self.f.scatter(value, self.arg.result, places, wanted)

    def _size(self, axis, kind):
        return getattr(self.arg, axis).to(kind).splat(LANES)

    def _components(self, start):
        """The grid's numbers for each dimension."""
        rank, left = len(self.axes), self.arg.samples * self.arg.count - start
        vectors = [
            self.f.load(self.arg.grid, start * rank + number, self.vector,
                        self.f.lanes_below(left * rank - number, LANES))
            for number in range(0, rank * LANES, LANES)]
        return [_every(vectors, rank - 1 - axis, rank) for axis in range(rank)]

    def _along(self, axis, given):
        """The taps along one dimension."""
        size, setting = self._size(self.axes[axis], self.kind), self.setting
        if setting.align:
            slope = (size - 1.0) * 0.5
            position = (given + 1.0) * slope
        else:
            slope = size * 0.5
            position = ((given + 1.0) * size - 1.0) * 0.5
        if setting.mode == "bicubic":
            return self._cubic(position, slope, size)
        position, slope = self._settled(position, slope, size)
        if setting.mode == "nearest":
            return [self._tap(rint(position).to("i32"), size)]
        whole = floor(position)
        part, low = position - whole, whole.to("i32")
        return [self._tap(low, size, 1.0 - part, -slope), self._tap(low + 1, size, part, slope)]

    def _cubic(self, position, slope, size):
        """Four taps with Keys' weights; padding says where each of them is."""
        whole, taps = floor(position), []
        for number, (weight, by) in enumerate(_cubic_weights(position - whole)):
            if self.setting.padding == "zeros":
                place = whole.to("i32") + (number - 1)
            else:
                place = self._settled(whole + (number - 1.0), slope, size)[0].to("i32")
            taps.append(self._tap(place, size, weight, by * slope))
        return taps

    def _tap(self, place, size, weight=None, slope=None):
        there = (place >= 0) & (place < size.to("i32"))
        return _Tap(place, there, weight, slope)

    def _settled(self, position, slope, size):
        """Positions outside, put where the padding mode says, those nowhere at the first element;
        and the derivative."""
        if self.setting.padding == "zeros":
            return position, slope
        last = size - 1.0
        if self.setting.padding == "reflection":
            position, slope = self._reflected(position, slope, size)
        above, below = position > 0.0, position < last
        settled = select(above, select(below, position, last), 0.0)
        return settled, select(above & below, slope, 0.0)

    def _reflected(self, position, slope, size):
        """Positions folded back between the outer elements' centres, or their edges."""
        low = 0.0 if self.setting.align else -0.5
        twice = (size - 1.0 if self.setting.align else size) * 2.0
        distance = position - low
        away = abs(distance)
        rest = away - trunc(away / twice) * twice
        back = rest > twice - rest
        turned = (distance < 0.0) ^ back
        return select(back, twice - rest, rest) + low, select(turned, -slope, slope)


def _every(vectors, first, step):
    """Every step-th of the elements that stand in vectors one after the other."""
    lanes = [first + i * step for i in range(LANES)]
    found = vectors[0]
    for number, vector in enumerate(vectors[1:], 1):
        below = number * LANES
        taken = [lane if number == 1 else i for i, lane in enumerate(lanes)]
        found = found.shuffle(
            [place if lane < below else min(max(lane - below, 0), LANES - 1) + LANES
             for place, lane in zip(taken, lanes)], vector)
    return found


def _product(factors):
    total = None
    for factor in factors:
        total = factor if total is None else total * factor
    return total


def _cubic_weights(t):
    """Keys' weights of four neighbours for a fraction `t`, and their derivatives."""
    a = -0.75

    def near(x):
        weight = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        return weight, (3.0 * (a + 2.0) * x - 2.0 * (a + 3.0)) * x

    def far(x):
        weight = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
        return weight, (3.0 * a * x - 10.0 * a) * x + 8.0 * a

    def mirrored(pair):
        return pair[0], -pair[1]

    return far(t + 1.0), near(t), mirrored(near(1.0 - t)), mirrored(far(2.0 - t))
