"""What kernels that move elements to or from computed places have in common."""

import numpy as np

from iskra.codegen.ir import Type, select

VECTOR = 64  # bytes of a vector
WORDS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_INDICES = {"int32": "i32", "int64": "i64"}


def word_of(dtype):
    """``(kind, how many)``: the words of which an element consists, for moving it; None: others."""
    size = dtype.alignment
    if size not in WORDS or dtype.hasobject or not dtype.isnative:
        return None
    return WORDS[size], dtype.itemsize // size


def index_kind(index):
    """The kind of an index array's elements; None for arrays that are no indices."""
    return _INDICES.get(index.dtype.name) if index.dtype.isnative else None


def lanes_of(kind):
    """How many elements of a kind fill a vector."""
    return VECTOR // Type(kind).size


class Places:
    """Reads indices, and notes whether all of them lie where they may.

    Those below 0 count from the end, if that is allowed. One that lies outside is taken for 0 (or
    nothing is done at it), and the task's flag set in the end: then the result is worth nothing.
    """

    def __init__(self, f, index, flags, kind, size, from_end):
        self.f = f
        self.index = index
        self.flags = flags
        self.kind = kind
        self.size = size
        self.from_end = from_end
        self.wrong = f.variable(False, Type("i1"))

    def read(self, at):
        """The place that the index at `at` names (i64)."""
        found = self.trusted(at)
        outside = (found < 0) | (found >= self.size)
        self.wrong.set(self.wrong.get() | outside)
        return select(outside, 0, found)

    def trusted(self, at, lanes=1):
        """The same of indices of which it is known that they lie inside."""
        found = self.f.load(self.index, at, Type(self.kind, lanes)).to("i64")
        return select(found < 0, found + self.size, found) if self.from_end else found

    def all_inside(self, at, lanes):
        """Whether the next `lanes` indices do."""
        found = self.trusted(at, lanes)
        outside = (found < 0) | (found >= self.size)
        outside = outside.any() if lanes > 1 else outside
        self.wrong.set(self.wrong.get() | outside)
        return ~outside

    def finish(self):
        """Store the task's flag."""
        self.f.store(self.wrong.get(), self.flags, self.f.task)


def copy(f, source, start, target, place, count, kind, stream=False):
    """Copy `count` words, four vectors at a time as long as there are so many.

    With `stream` whole vectors go past the caches, to places that are multiples of their size.
    """
    lanes = lanes_of(kind)
    type, wide = Type(kind, lanes), 4 * lanes
    most, full = count // wide * wide, count // lanes * lanes
    with f.loop(0, most, wide) as base:
        found = [f.load(source, start + base + lanes * n, type) for n in range(4)]
        for n, vector in enumerate(found):
            f.store(vector, target, place + base + lanes * n, stream=stream)
    with f.loop(most, full, lanes) as base:
        f.store(f.load(source, start + base, type), target, place + base, stream=stream)
    with f.when(full < count):
        mask = f.lanes_below(count - full, lanes)
        f.store(f.load(source, start + full, type, mask), target, place + full, mask)


def as_vector(index, axis):
    """The vector that an index array repeats along all other axes, as views of it do; or None."""
    others = zip(index.shape[:axis] + index.shape[axis + 1:],
                 index.strides[:axis] + index.strides[axis + 1:])
    if index.ndim > 1 and all(n == 1 or stride == 0 for n, stride in others):
        return index[(0,) * axis + (slice(None),) + (0,) * (index.ndim - 1 - axis)]
    return None


def flags_for(tasks):
    """Memory for the flags of so many tasks."""
    return np.zeros(tasks, np.bool_)
