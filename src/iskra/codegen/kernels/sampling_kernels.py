"""Loop IR of sampling: images at the places of a grid, and the gradients.

Sixteen places are worked out together (`sampling_places`): which elements each is made of, its
taps, and their weights. Then each place in turn reads its taps, a vector of channels at a time.
For that the channels of an element lie side by side, `Spec.lanes` of them in a block:
``(samples, blocks, elements + 1, lanes)``. The last element is one of zeros: what lies outside of
the image. Images much larger than the grid are not arranged so, but read where they lie.
"""

from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, fma
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sampling_places import Setting, Taps
from iskra.codegen.kernels.sharing import my_units

NUMBERS = ("samples", "channels", "depth", "height", "width", "count", "blocks", "groups",
           "units", "tasks")
POINTERS = {
    "arrange": ("image", "arranged"), "restore": ("arranged", "image"),
    "sample": ("image", "grid", "result"), "gradient_of_image": ("grad", "grid", "arranged"),
    "gradient_of_grid": ("image", "grid", "grad", "result"),
}


class Spec(NamedTuple):
    """What a kernel's code depends on: the setting (None where it does not matter); how many
    channels are read together, a power of two; whether the image is arranged for it."""

    setting: Setting
    kind: str
    lanes: int
    arranged: bool = True


def interleaved(vectors):
    """Vectors whose elements, read one after the other, take one of each of these in turn."""
    count = len(vectors)
    if count == 1:
        return vectors
    half = LANES // 2
    first = [lane for i in range(half) for lane in (i, LANES + i)]
    second = [lane + half for lane in first]
    pairs = [(a.shuffle(first, b), a.shuffle(second, b))
             for a, b in zip(vectors[:count // 2], vectors[count // 2:])]
    low, high = (interleaved([pair[i] for pair in pairs]) for i in range(2))
    return low + high


def separated(vectors):
    """What `interleaved` made these of."""
    count = len(vectors)
    if count == 1:
        return vectors
    pairs = list(zip(vectors[::2], vectors[1::2]))
    even = separated([a.shuffle(range(0, 2 * LANES, 2), b) for a, b in pairs])
    odd = separated([a.shuffle(range(1, 2 * LANES, 2), b) for a, b in pairs])
    return [vector for pair in zip(even, odd) for vector in pair]


class _Channels:
    """Blocks of channels: of the image, arranged, and of arrays (samples, channels, count)."""

    def __init__(self, f, arg, spec):
        self.f, self.arg, self.spec = f, arg, spec
        self.vector, self.wide = Type(spec.kind, spec.lanes), Type(spec.kind, LANES)
        self.elements = arg.depth * arg.height * arg.width

    def block(self, pointer, sample, group):
        """Where a block of an arranged image begins."""
        size = (self.elements + 1) * self.spec.lanes
        return self.f.offset(pointer, (sample * self.arg.groups + group) * size, self.spec.kind)

    def _rows(self, count, sample, group, place):
        """Of each channel of a block, where 16 of its `count` elements lie, and which there are.

        place: the first's number; channels that do not exist have none.
        """
        f, arg = self.f, self.arg
        wanted = f.lanes_below(count - place, LANES)
        for lane in range(self.spec.lanes):
            channel = group * self.spec.lanes + lane
            yield ((sample * arg.channels + channel) * count + place,
                   wanted & (channel < arg.channels).splat(LANES))

    def load_rows(self, pointer, *where):
        """Sixteen elements of each channel."""
        return [self.f.load(pointer, index, self.wide, mask)
                for index, mask in self._rows(*where)]

    def store_rows(self, vectors, pointer, *where):
        """Write them."""
        for vector, (index, mask) in zip(vectors, self._rows(*where)):
            self.f.store(vector, pointer, index, mask)

    def parts(self, place):
        """Where 16 elements of a block lie, as whole vectors, and which there are."""
        left = (self.elements - place) * self.spec.lanes
        for start in range(0, LANES * self.spec.lanes, LANES):
            yield (place * self.spec.lanes + start,
                   self.f.lanes_below(left - start, LANES))

    def write(self, vectors, pointer):
        """Write whole vectors one after the other."""
        for number, vector in enumerate(vectors):
            self.f.store(vector, pointer, number * LANES)

    def read(self, pointer):
        """Read as many."""
        return [self.f.load(pointer, number * LANES, self.wide)
                for number in range(self.spec.lanes)]

    def reader(self, sample, group):
        """A function that loads the channels of an element, given its number."""
        f, spec, arg = self.f, self.spec, self.arg
        if spec.arranged:
            block = self.block(arg.image, sample, group)
            return lambda place: f.load(block, place * spec.lanes, self.vector)
        first = (sample * arg.channels + group * spec.lanes) * self.elements
        planes = f.offset(arg.image, first, spec.kind)
        left = arg.channels - group * spec.lanes
        if spec.lanes == 1:
            return lambda place: f.load(planes, place, self.vector, place < self.elements)
        steps = f.iota(Type("i64", spec.lanes)) * self.elements.splat(spec.lanes)
        there = f.lanes_below(left, spec.lanes)
        return lambda place: f.gather(
            f.offset(planes, place, spec.kind), steps, spec.kind,
            there & (place < self.elements).splat(spec.lanes))


def _start(name, spec):
    how = "" if spec.setting is None else f"_{spec.setting.name}"
    f = Function(f"sampling_{name}{how}_{spec.kind}x{spec.lanes}")
    return f, Arguments(f, POINTERS[name], NUMBERS)


def arrange(spec):
    """The kernel that arranges an image; a unit is a block of channels of a sample."""
    f, arg = _start("arrange", spec)
    channels, lanes = _Channels(f, arg, spec), spec.lanes
    with my_units(f, arg.units, arg.tasks) as unit:
        sample, group = unit // arg.groups, unit % arg.groups
        block = channels.block(arg.arranged, sample, group)
        with f.loop(0, channels.elements, LANES) as place:
            rows = channels.load_rows(arg.image, channels.elements, sample, group, place)
            for vector, (index, mask) in zip(interleaved(rows), channels.parts(place)):
                f.store(vector, block, index, mask)
        f.store(f.const(0.0, channels.vector), block, channels.elements * lanes)
    return f


def restore(spec):
    """The kernel that undoes `arrange`."""
    f, arg = _start("restore", spec)
    channels = _Channels(f, arg, spec)
    with my_units(f, arg.units, arg.tasks) as unit:
        sample, group = unit // arg.groups, unit % arg.groups
        block = channels.block(arg.arranged, sample, group)
        with f.loop(0, channels.elements, LANES) as place:
            vectors = [f.load(block, index, channels.wide, mask)
                       for index, mask in channels.parts(place)]
            channels.store_rows(separated(vectors), arg.image, channels.elements, sample, group,
                                place)
    return f


def sample(spec):
    """The kernel that samples all channels; a unit is 16 places of a sample."""
    f, arg = _start("sample", spec)
    channels, taps = _Channels(f, arg, spec), Taps(f, arg, spec.setting, spec.kind)
    sums = f.scratch(channels.vector, LANES)
    with my_units(f, arg.units, arg.tasks) as unit:
        number, first = unit // arg.blocks, unit % arg.blocks * LANES
        wanted = f.lanes_below(arg.count - first, LANES)
        taps.work_out(number * arg.count + first, wanted)
        with f.loop(0, arg.groups) as group:
            read = channels.reader(number, group)
            with f.loop(0, LANES) as i:
                total = None
                for tap in range(taps.count):
                    value, weight = read(taps.place(tap, i)), taps.weight(tap, i)
                    if weight is not None:
                        weight = weight.splat(spec.lanes)
                        value = value * weight if total is None else fma(value, weight, total)
                    total = value
                f.store(total, sums, i * spec.lanes)
            channels.store_rows(separated(channels.read(sums)), arg.result, arg.count, number,
                                group, first)
    return f


def gradient_of_image(spec):
    """The kernel that adds each result's gradient to its taps in an arranged image.

    A unit is a block of channels of a sample; it adds in the order of the places.
    """
    f, arg = _start("gradient_of_image", spec)
    channels, taps = _Channels(f, arg, spec), Taps(f, arg, spec.setting, spec.kind)
    grads = f.scratch(channels.vector, LANES)
    zero = f.const(0.0, channels.vector)
    with my_units(f, arg.units, arg.tasks) as unit:
        number, group = unit // arg.groups, unit % arg.groups
        block = channels.block(arg.arranged, number, group)
        with f.loop(0, channels.elements + 1) as place:
            f.store(zero, block, place * spec.lanes)
        with f.loop(0, arg.count, LANES) as first:
            wanted = f.lanes_below(arg.count - first, LANES)
            taps.work_out(number * arg.count + first, wanted)
            rows = channels.load_rows(arg.grad, arg.count, number, group, first)
            channels.write(interleaved(rows), grads)
            with f.loop(0, LANES) as i:
                grad = f.load(grads, i * spec.lanes, channels.vector)
                for tap in range(taps.count):
                    place, weight = taps.place(tap, i) * spec.lanes, taps.weight(tap, i)
                    old = f.load(block, place, channels.vector)
                    if weight is None:
                        new = old + grad
                    else:
                        new = fma(grad, weight.splat(spec.lanes), old)
                    f.store(new, block, place)
    return f


def gradient_of_grid(spec):
    """The kernel of the grid's gradient: sums over all channels; a unit is 16 places."""
    f, arg = _start("gradient_of_grid", spec)
    channels = _Channels(f, arg, spec)
    taps = Taps(f, arg, spec.setting, spec.kind, slopes=True)
    grads = f.scratch(channels.vector, LANES)
    sums = [f.scratch(channels.vector, LANES) for _ in range(spec.setting.rank)]
    zero = f.const(0.0, channels.wide)
    with my_units(f, arg.units, arg.tasks) as unit:
        number, first = unit // arg.blocks, unit % arg.blocks * LANES
        wanted = f.lanes_below(arg.count - first, LANES)
        taps.work_out(number * arg.count + first, wanted)
        for total in sums:
            channels.write([zero] * spec.lanes, total)
        with f.loop(0, arg.groups) as group:
            rows = channels.load_rows(arg.grad, arg.count, number, group, first)
            channels.write(interleaved(rows), grads)
            read = channels.reader(number, group)
            with f.loop(0, LANES) as i:
                values = [read(taps.place(tap, i)) for tap in range(taps.count)]
                grad = f.load(grads, i * spec.lanes, channels.vector)
                for axis, total in enumerate(sums):
                    slope = None
                    for tap, value in enumerate(values):
                        factor = taps.slope(axis, tap, i).splat(spec.lanes)
                        slope = value * factor if slope is None else fma(value, factor, slope)
                    old = f.load(total, i * spec.lanes, channels.vector)
                    f.store(fma(grad, slope, old), total, i * spec.lanes)
        for axis, total in enumerate(sums):
            parts = separated(channels.read(total))
            while len(parts) > 1:
                parts = [a + b for a, b in zip(parts[::2], parts[1::2])]
            taps.store_slope(axis, parts[0], number * arg.count + first, wanted)
    return f
