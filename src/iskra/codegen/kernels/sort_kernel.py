"""The loops of sorting: rows of elements are put in order, or their smallest found, with places.

Elements become *keys*, whole numbers in the same order: negative floats with all bits turned, the
others with the sign's; all NaN are one key above the rest, and both zeros are equal. Of integers of
8 bytes that are not far from each other (*near*), the distance from the least is the key. With its
place in the row a key is a *record*. Keys of up to 4 bytes share one word with it, the key above.

Short rows are ordered by counting for each record how many stand before it, 16 at a time. Longer
ones are ordered digit by digit from the last, a byte each (LSD radix sort), which keeps equal keys
in the order of their places; digits that are the same in all keys are left out. Records lie in two
buffers and move from one to the other.
"""

from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import SIZES, Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import WORDS
from iskra.codegen.kernels.sharing import my_units

BUCKETS = 256
_INFINITY = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "f64": 0x7FF0000000000000}
_NUMBERS = ("length", "kept", "capacity", "words", "rank", "rows", "tasks")


class Spec(NamedTuple):
    """What is sorted: the elements' kind, whether the largest come first, and keys are near."""

    kind: str
    descending: bool
    near: bool = False

    @property
    def size(self):
        """Bytes of a key: its digits."""
        return 4 if self.near else SIZES[self.kind]

    @property
    def bits(self):
        """The kind of whole number that moves an element."""
        return WORDS[SIZES[self.kind]]

    @property
    def told(self):
        """The kind, for names of functions."""
        return f"near_{self.kind}" if self.near else self.kind

    @property
    def is_wide(self):
        """Whether keys fill a word, so that places lie beside them."""
        return self.size == 8

    @property
    def word(self):
        """The kind that keys have."""
        return "u64" if self.is_wide else "u32"

    def key(self, f, pointer, index, base, lanes=1, mask=None):
        """The keys of elements in memory; `base`: the least element, from which near ones count."""
        bits = f.load(pointer, index, Type(self.bits, lanes), mask)
        if self.near:
            key = (bits - base.to("u64").splat(lanes)).to("u32")
            return ~key if self.descending else key
        bits = bits.to(self.word)
        top = 1 << 8 * self.size - 1
        ones = 2 * top - 1
        if self.kind in _INFINITY:
            magnitude = bits & (top - 1)
            key = select((bits & top).ne(0), bits ^ ones, bits | top)
            key = select(magnitude.eq(0), f.const(top, key.type), key)
            key = select(magnitude > _INFINITY[self.kind], f.const(ones, key.type), key)
        else:
            key = bits ^ top if self.kind[0] == "i" and self.kind != "i1" else bits
        return key ^ ones if self.descending else key

    def element(self, key, base):
        """The bits of an integer that has the key (a u64); the other way round."""
        if self.descending:
            key = key ^ ((1 << 8 * self.size) - 1)
        if self.near:
            return key + base.to("u64")
        is_signed = self.kind[0] == "i" and self.kind != "i1"
        return (key ^ (1 << 8 * self.size - 1) if is_signed else key).to(self.bits)

    def is_nan(self, key):
        """Whether a float's key is that of NaN."""
        ones = (1 << 8 * self.size) - 1
        return key.eq(0 if self.descending else ones)


class Records:
    """Records in memory: keys, and the places of wide ones behind both buffers."""

    def __init__(self, f, spec, memory, capacity):
        self.f = f
        self.spec = spec
        self.keys = memory
        self.places = f.offset(memory, capacity * 2, "u64") if spec.is_wide else None

    def get(self, at, lanes=1):
        """One record, as `put` takes it."""
        keys = self.f.load(self.keys, at, Type("u64", lanes))
        return (keys, self.f.load(self.places, at, Type("u32", lanes))) if self.places else (keys,)

    def put(self, record, at, mask=None):
        """Write one record, or several side by side."""
        self.f.store(record[0], self.keys, at, mask)
        if self.places:
            self.f.store(record[1], self.places, at, mask)

    def made(self, key, place):
        """A record of a key and a place (u32)."""
        if self.places:
            return key, place
        return ((key.to("u64") << 32) | place.to("u64"),)

    def key(self, record):
        """A record's key, as a u64."""
        return record[0] if self.places else record[0] >> 32

    def place(self, record):
        """A record's place (i64)."""
        return (record[1] if self.places else record[0] & 0xFFFFFFFF).to("i64")

    def digit(self, record, number):
        """One byte of the key, the lowest being number 0 (an i64)."""
        shift = (number * 8 + (0 if self.places else 32)).to("u64")
        return ((record[0] >> shift) & (BUCKETS - 1)).to("i64")

    def write(self, arg, base, record, start, at):
        """Store the element of a record of the row at `start`, and its place."""
        f, spec, place = self.f, self.spec, self.place(record)
        if spec.kind in _INFINITY:  # of a zero's sign, and which NaN, keys know nothing
            element = f.load(arg.x, start + place, Type(spec.bits))
        else:
            element = spec.element(self.key(record), base)
        f.store(element, arg.values, at)
        f.store(place, arg.indices, at)

    def before(self, one, other):
        """Whether one record stands before another."""
        first = one[0] < other[0]
        return first | (one[0].eq(other[0]) & (one[1] < other[1])) if self.places else first


def any_bit(lanes):
    """The bits that are set in any lane."""
    half = lanes.type.lanes // 2
    while half:
        lanes = lanes.shuffle(range(half)) | lanes.shuffle(range(half, 2 * half))
        half //= 2
    return lanes


def tally(f, records, counts, low, high, number):
    """Count how often each value of a digit occurs in the records from `low` to `high`."""
    with f.loop(0, BUCKETS, LANES) as bucket:
        f.store(f.const(0, Type("u32", LANES)), counts, bucket)
    with f.loop(low, high) as place:
        digit = records.digit(records.get(place), number)
        f.store(f.load(counts, digit, Type("u32")) + 1, counts, digit)


def distribute(f, records, counts, low, high, target, number):
    """Move the records from `low` to `high` to where `counts` has the next of their digit go."""
    with f.loop(low, high) as place:
        record = records.get(place)
        digit = records.digit(record, number)
        at = f.load(counts, digit, Type("u32"))
        f.store(at + 1, counts, digit)
        records.put(record, target + at.to("i64"))


class Sorter:
    """One kernel being written, for a task that takes its rows one by one."""

    def __init__(self, spec, name, short, results=("values", "indices")):
        self.spec = spec
        self.short = short
        order = "descending" if spec.descending else "ascending"
        way = "by_counting" if short else "by_digits"
        self.f = f = Function(f"{name}_{way}_{order}_{spec.told}")
        self.arg = Arguments(f, ("x", *results, "memory", "least"), _NUMBERS)
        memory = f.offset(self.arg.memory, f.task * self.arg.words, "u64")
        self.records = Records(f, spec, memory, self.arg.capacity)
        self.base = f.load(self.arg.least, 0, Type("i64")) if spec.near else None
        self.source = f.variable(0)     # where the buffer begins in which records lie
        if short:
            self.ranks = f.scratch(Type("i64", LANES))
        else:
            self.counts = f.scratch(Type("u32", LANES), BUCKETS // LANES)

    def key(self, start, mask):
        """The keys of the 16 elements from there on."""
        return self.spec.key(self.f, self.arg.x, start, self.base, LANES, mask)

    def fill(self, start):
        """Make records of the row that starts there."""
        f, length = self.f, self.arg.length
        self.source.set(0)
        with f.loop(0, length, LANES) as base:
            mask = f.lanes_below(length - base, LANES)
            key = self.key(start + base, mask)
            place = base.to("u32").splat(LANES) + f.iota(Type("u32", LANES))
            self.records.put(self.records.made(key, place), base)

    def order(self, count):
        """Bring the first `count` records in order."""
        if self.short:
            self._rank(count)
        else:
            varying = self._varying(count)
            with self.f.loop(0, self.spec.size) as number:
                with self.f.when(self.records.digit((varying,), number).ne(0)):
                    self._distribute(count, number)

    def _turn(self):
        """The other buffer's beginning."""
        return self.arg.capacity - self.source.get()

    def _rank(self, count):
        f, records = self.f, self.records
        source, target = self.source.get(), self._turn()
        with f.loop(0, count, LANES) as base:
            mine = records.get(source + base, LANES)
            rank = f.variable(f.const(0, Type("i64", LANES)))
            with f.loop(0, count) as other:
                theirs = tuple(part.splat(LANES) for part in records.get(source + other))
                found = select(records.before(theirs, mine), f.const(1, rank.type), 0)
                rank.set(rank.get() + found)
            f.store(rank.get(), self.ranks, 0)
            with f.loop(0, smaller(count - base, f.coerce(LANES))) as lane:
                place = target + f.load(self.ranks, lane, Type("i64"))
                records.put(records.get(source + base + lane), place)
        self.source.set(target)

    def _varying(self, count):
        """The bits in which the records' keys are not all the same (a word like a record's)."""
        f, source = self.f, self.source.get()
        first = self.records.get(source)[0].splat(LANES)
        found = f.variable(f.const(0, first.type))
        full = count // LANES * LANES
        with f.loop(0, full, LANES) as place:
            found.set(found.get() | (self.records.get(source + place, LANES)[0] ^ first))
        varying = f.variable(any_bit(found.get()))
        with f.loop(full, count) as place:
            record = self.records.get(source + place)[0]
            varying.set(varying.get() | (record ^ first.lane(0)))
        return varying.get()

    def _distribute(self, count, number):
        """Bring the records in the order of one digit."""
        f, records, counts = self.f, self.records, self.counts
        source, target = self.source.get(), self._turn()
        tally(f, records, counts, source, source + count, number)
        running = f.variable(0, Type("u32"))
        with f.loop(0, BUCKETS) as bucket:
            found = f.load(counts, bucket, Type("u32"))
            f.store(running.get(), counts, bucket)
            running.set(running.get() + found)
        distribute(f, records, counts, source, source + count, target, number)
        self.source.set(target)


def ordered(spec, short):
    """The first `kept` elements of each row in order, and their places."""
    s = Sorter(spec, "sort", short)
    f, arg = s.f, s.arg
    with my_units(f, arg.rows, arg.tasks) as row:
        start = row * arg.length
        s.fill(start)
        s.order(arg.length)
        source = s.source.get()
        with f.loop(0, arg.kept) as place:
            record = s.records.get(source + place)
            s.records.write(arg, s.base, record, start, row * arg.kept + place)
    return f


def selected(spec, short):
    """The same, for few of many: those not before the last of the best so far are passed over.

    The others gather in a buffer. When it is full it is put in order, and the first are kept.
    """
    s = Sorter(spec, "select", short)
    f, arg, records = s.f, s.arg, s.records
    with my_units(f, arg.rows, arg.tasks) as row:
        start = row * arg.length
        s.source.set(0)
        count, is_open = f.variable(0), f.variable(True, Type("i1"))
        limit = f.variable(0, Type(spec.word))
        with f.loop(0, arg.length, LANES) as base:
            mask = f.lanes_below(arg.length - base, LANES)
            key = s.key(start + base, mask)
            good = ((key < limit.get().splat(LANES)) | is_open.get().splat(LANES)) & mask
            with f.when(good.any()):
                source = s.source.get()
                for lane in range(LANES):
                    record = records.made(key.lane(lane), (base + lane).to("u32"))
                    records.put(record, source + count.get())
                    count.set(count.get() + select(good.lane(lane), f.coerce(1), 0))
            is_last = base + LANES >= arg.length
            with f.when((count.get() + LANES > arg.capacity) | is_last):
                s.order(count.get())
                with f.when(count.get() >= arg.kept):
                    count.set(arg.kept)
                    last = records.get(s.source.get() + arg.kept - 1)
                    limit.set(records.key(last).to(spec.word))
                    is_open.set(False)
        source = s.source.get()
        with f.loop(0, arg.kept) as place:
            records.write(arg, s.base, records.get(source + place), start, row * arg.kept + place)
    return f


def modes(spec, short):
    """The most frequent element of each row (the smallest of equals) and its last place.

    NaN is unlike itself.
    """
    s = Sorter(spec, "mode", short)
    f, arg, records = s.f, s.arg, s.records
    with my_units(f, arg.rows, arg.tasks) as row:
        start = row * arg.length
        s.fill(start)
        s.order(arg.length)
        source = s.source.get()
        best, run, chosen = f.variable(0), f.variable(0), f.variable(0)
        before = f.variable(0, Type("u64"))
        with f.loop(0, arg.length) as place:
            record = records.get(source + place)
            key = records.key(record)
            alike = key.eq(before.get())
            if spec.kind in _INFINITY:
                alike = alike & ~spec.is_nan(key)
            run.set(select(alike, run.get(), 0) + 1)
            better = run.get() > best.get()
            best.set(select(better, run.get(), best.get()))
            chosen.set(select(better, place, chosen.get()))
            before.set(key)
        records.write(arg, s.base, records.get(source + chosen.get()), start, row)
    return f


def ranked(spec, short):
    """The element of each row that has the given rank, and its place."""
    s = Sorter(spec, "ranked", short)
    f, arg = s.f, s.arg
    with my_units(f, arg.rows, arg.tasks) as row:
        start = row * arg.length
        s.fill(start)
        s.order(arg.length)
        s.records.write(arg, s.base, s.records.get(s.source.get() + arg.rank), start, row)
    return f


def medians(spec, short, skip_nan):
    """The lower median of each row and its place.

    With `skip_nan` that of its numbers, else the first NaN if there is one.
    """
    s = Sorter(spec, "nanmedian" if skip_nan else "median", short)
    f, arg, records = s.f, s.arg, s.records
    with my_units(f, arg.rows, arg.tasks) as row:
        start = row * arg.length
        s.fill(start)
        s.order(arg.length)
        source, count = s.source.get(), f.variable(0)
        with f.loop(0, arg.length) as place:
            key = records.key(records.get(source + place))
            is_number = ~spec.is_nan(key) if spec.kind in _INFINITY else f.const(1, Type("i1"))
            count.set(count.get() + select(is_number, f.coerce(1), 0))
        numbers = count.get()
        if skip_nan:
            rank = (numbers - select(numbers > 0, f.coerce(1), 0)) // 2
        else:
            rank = select(numbers < arg.length, numbers, (arg.length - 1) // 2)
        records.write(arg, s.base, records.get(source + rank), start, row)
    return f
