"""Accumulators: how a reduction's value is carried through a kernel's loops, in a fixed tree.

A vector of `LANES` partial results is kept for each of a few copies of the innermost loop's body,
so that the additions do not wait for one another. Sums of floats are cut into blocks: the partial
sums of a block are added up pairwise and go into a total of twice the precision (of float64: into
a total and its rounding error), which makes them at least as accurate as pairwise summation. Where
the cuts are depends on sizes alone, never on threads.
"""

from iskra.codegen.ir import Type, select
from iskra.codegen.primitives import PRIMITIVES, identity, kind_of

LANES = 16


def accumulator(kernel, placed, copies, across):
    """The accumulator of a reduction.

    `copies` vectors are kept. With `across` they are parts of one result, a scalar in the end;
    otherwise each holds results of its own, one per lane.
    """
    name = placed.attr
    if name.startswith("arg"):
        cls = Place
    elif name in ("maximum", "minimum") and placed.dtype.kind == "f":
        cls = Extremum
    elif name == "add" and placed.dtype.kind == "f":
        cls = Sum
    else:
        cls = Extreme
    return cls(kernel, placed, copies, across)


class Accumulator:
    """What a kernel carries through its loops; most need not know where blocks begin and end."""

    def open_block(self):
        """Begin a block."""

    def close_block(self):
        """End it."""


class Extreme(Accumulator):
    """What needs no blocks: extrema, products, sums of integers, any, all."""

    def __init__(self, kernel, placed, copies, across):
        self.function = kernel.function
        self.name = placed.attr
        self.combine = PRIMITIVES[placed.attr]
        self.across = across
        self.type = Type(kind_of(placed.dtype), LANES)
        self.identity = identity(placed.attr, placed.dtype)
        self.parts = [self.function.variable(self.identity, self.type) for _ in range(copies)]

    def add(self, copy, value, mask, position):
        """Take in one vector; lanes that the mask excludes do not count."""
        value = value.splat(LANES)
        if mask is not None and self.across:
            value = select(mask, value, self.identity)
        part = self.parts[copy]
        part.set(self.combine(part.get(), value))

    def results(self):
        """The result; a list of one scalar, or of a vector for each copy."""
        parts = [p.get() for p in self.parts]
        return [_horizontal(_tree(parts, self.combine), self.combine)] if self.across else parts


class Extremum(Accumulator):
    """The largest or smallest float; NaN, if there is one.

    NaN is looked for apart: one comparison more, but the extrema then take one instruction each.
    """

    def __init__(self, kernel, placed, copies, across):
        self.function = kernel.function
        self.across = across
        self.type = Type(kind_of(placed.dtype), LANES)
        self.identity = identity(placed.attr, placed.dtype)
        self.largest = placed.attr == "maximum"
        self.parts = [self.function.variable(self.identity, self.type) for _ in range(copies)]
        mask = self.type.of("i1")
        self.nans = [self.function.variable(False, mask) for _ in range(copies)]

    def _further(self, a, b):
        return select(a > b, a, b) if self.largest else select(a < b, a, b)

    def add(self, copy, value, mask, position):
        """Take in one vector; lanes that the mask excludes do not count."""
        value = value.splat(LANES)
        if mask is not None and self.across:
            value = select(mask, value, self.identity)
        self.nans[copy].set(self.nans[copy].get() | value.ne(value))
        self.parts[copy].set(self._further(value, self.parts[copy].get()))

    def results(self):
        """The result; a list of one scalar, or of a vector for each copy."""
        parts, nans = [p.get() for p in self.parts], [n.get() for n in self.nans]
        if self.across:
            parts = [_horizontal(_tree(parts, self._further), self._further)]
            nans = [_horizontal(_tree(nans, _either), _either)]
        return [select(n, float("nan"), p) for n, p in zip(nans, parts)]


class Sum(Accumulator):
    """Sums of floats, in blocks."""

    def __init__(self, kernel, placed, copies, across):
        self.function = kernel.function
        self.across = across
        self.type = Type(kind_of(placed.args[0].dtype), LANES)
        self.kind = kind_of(placed.dtype)  # chunks' sums are kept in double precision
        self.parts = [self.function.variable(0, self.type) for _ in range(copies)]
        wide = Type("f64", 1 if across else LANES)
        count = 1 if across else copies
        self.totals = [self.function.variable(0, wide) for _ in range(count)]
        double = self.type.kind == "f64"
        self.errors = [self.function.variable(0, wide) for _ in range(count)] if double else None

    def open_block(self):
        """Begin a block: partial sums from zero."""
        for part in self.parts:
            part.set(0)

    def add(self, copy, value, mask, position):
        """Take in one vector; lanes that the mask excludes do not count."""
        value = value.splat(LANES)
        if mask is not None and self.across:
            value = select(mask, value, 0)
        self.parts[copy].set(self.parts[copy].get() + value)

    def close_block(self):
        """Bring the block's sums into the totals."""
        parts = [p.get() for p in self.parts]
        if self.across:
            parts = [_horizontal(_tree(parts, _plus), _plus)]
        for number, part in enumerate(parts):
            self._enter(number, part.to("f64"))

    def _enter(self, number, part):
        total = self.totals[number]
        before = total.get()
        after = before + part
        if self.errors is not None:
            # What the addition rounded away (Knuth's two-sum); infinities have no such rest.
            share = after - before
            error = (before - (after - share)) + (part - share)
            error = select(abs(error) < float("inf"), error, 0)
            self.errors[number].set(self.errors[number].get() + error)
        total.set(after)

    def results(self):
        """The result; a list of one scalar, or of a vector for each copy."""
        totals = [t.get() for t in self.totals]
        if self.errors is not None:
            totals = [t + e.get() for t, e in zip(totals, self.errors)]
        return [t.to(self.kind) for t in totals]


class Place(Accumulator):
    """The place of the first extremum; NaN counts as one."""

    def __init__(self, kernel, placed, copies, across):
        function = self.function = kernel.function
        self.highest = placed.attr == "argmax"
        self.across = across
        operand = placed.args[0]
        self.type = Type(kind_of(operand.dtype), LANES)
        begin = identity(placed.attr, operand.dtype)
        self.best = [function.variable(begin, self.type) for _ in range(copies)]
        # Nothing is found yet: any element is better, even one that equals the beginning.
        self.place = [function.variable(2**63 - 1, Type("i64", LANES)) for _ in range(copies)]

    def add(self, copy, value, mask, position):
        """Take in one vector, whose first element's (or whose lanes') place is `position`."""
        value = value.splat(LANES)
        best, place = self.best[copy].get(), self.place[copy].get()
        better = self._better(value, position.splat(LANES), best, place)
        if mask is not None and self.across:
            better = better & mask
        self.best[copy].set(select(better, value, best))
        self.place[copy].set(select(better, position.splat(LANES), place))

    def _better(self, value, place, best, best_place):
        """Whether an element comes before the best so far."""
        exceeds = value > best if self.highest else value < best
        if self.type.kind == "i1":
            exceeds = value & ~best if self.highest else ~value & best
        earlier = place < best_place
        tie = value.eq(best)
        if self.type.is_float:
            fresh = value.ne(value) & best.eq(best)
            both = value.ne(value) & best.ne(best)
            return (exceeds | fresh) | ((tie | both) & earlier)
        return exceeds | (tie & earlier)

    def results(self):
        """The places; a list of one scalar, or of a vector for each copy."""
        pairs = [(b.get(), p.get()) for b, p in zip(self.best, self.place)]
        if not self.across:
            return [place for _, place in pairs]
        pair = _tree(pairs, self._first)
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            low, high = range(lanes), range(lanes, 2 * lanes)
            pair = self._first(tuple(v.shuffle(low) for v in pair),
                               tuple(v.shuffle(high) for v in pair))
        return [pair[1]]

    def _first(self, a, b):
        better = self._better(b[0], b[1], a[0], a[1])
        return select(better, b[0], a[0]), select(better, b[1], a[1])


def _plus(a, b):
    return a + b


def _either(a, b):
    return a | b


def _tree(parts, combine):
    """All parts combined pairwise."""
    while len(parts) > 1:
        pairs = [combine(a, b) for a, b in zip(parts[::2], parts[1::2])]
        parts = pairs + parts[len(pairs) * 2:]
    return parts[0]


def _horizontal(vector, combine):
    """All lanes of a vector combined: halves with halves."""
    lanes = vector.type.lanes
    while lanes > 1:
        lanes //= 2
        vector = combine(vector.shuffle(range(lanes)), vector.shuffle(range(lanes, 2 * lanes)))
    return vector


