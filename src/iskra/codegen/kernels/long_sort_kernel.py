"""The loops that sort one long row in chunks, which are shared out: a launch for each step.

The keys, records and buffers are those of `sort_kernel`. For each digit the chunks' counts are
made, from these (by NumPy) the places where each chunk's records of each digit go, then the records
are moved; so they come into the same order as in one piece.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.kernels.sort_kernel import BUCKETS, Records, any_bit, distribute, tally

_NUMBERS = ("length", "kept", "source", "number", "chunk", "units", "tasks")


def _begin(spec, name, pointers):
    f = Function(f"long_{name}_{'descending' if spec.descending else 'ascending'}_{spec.told}")
    arg = Arguments(f, (*pointers, "memory", "least"), _NUMBERS)
    return f, arg, Records(f, spec, arg.memory, arg.length)


def _base(f, spec, arg):
    return f.load(arg.least, 0, Type("i64")) if spec.near else None


def _range(arg, unit, length):
    low = unit * arg.chunk
    return low, smaller(low + arg.chunk, length)


def fill(spec):
    """Make records, and note in which bits of its keys a chunk is not like the first element."""
    f, arg, records = _begin(spec, "fill", ("x", "varying"))
    with my_units(f, arg.units, arg.tasks) as unit:
        low, high = _range(arg, unit, arg.length)
        base = _base(f, spec, arg)
        first = records.made(spec.key(f, arg.x, f.coerce(0), base), f.const(0, Type("u32")))[0]
        found = f.variable(f.const(0, Type("u64", LANES)))
        with f.loop(low, high, LANES) as place:
            mask = f.lanes_below(high - place, LANES)
            key = spec.key(f, arg.x, place, base, LANES, mask)
            record = records.made(key, place.to("u32").splat(LANES) + f.iota(Type("u32", LANES)))
            records.put(record, place, mask)
            found.set(found.get() | select(mask, record[0] ^ first.splat(LANES), 0))
        f.store(any_bit(found.get()), arg.varying, unit)
    return f


class _Passing(Records):
    """Records that are made of elements as they are read, and elements again when they are put.

    That is enough for keys of one digit, which are moved but once.
    """

    def __init__(self, f, spec, arg):
        super().__init__(f, spec, arg.x, 0)
        self.arg = arg

    def get(self, at):
        key = self.spec.key(self.f, self.arg.x, at, None)
        return self.made(key, at.to("u32"))

    def put(self, record, at):
        self.write(self.arg, None, record, self.f.coerce(0), at)


def count_bytes(spec):
    """As `count`, of the elements themselves."""
    f, arg, _ = _begin(spec, "count_bytes", ("x", "counts"))
    with my_units(f, arg.units, arg.tasks) as unit:
        low, high = _range(arg, unit, arg.length)
        counts = f.offset(arg.counts, unit * BUCKETS, "u32")
        tally(f, _Passing(f, spec, arg), counts, low, high, f.coerce(0))
    return f


def move_bytes(spec):
    """As `move` and `write` in one."""
    f, arg, _ = _begin(spec, "move_bytes", ("x", "counts", "values", "indices"))
    with my_units(f, arg.units, arg.tasks) as unit:
        low, high = _range(arg, unit, arg.length)
        counts = f.offset(arg.counts, unit * BUCKETS, "u32")
        distribute(f, _Passing(f, spec, arg), counts, low, high, f.coerce(0), f.coerce(0))
    return f


def count(spec):
    """Count in each chunk how often each value of the digit of a number occurs."""
    f, arg, records = _begin(spec, "count", ("counts",))
    with my_units(f, arg.units, arg.tasks) as unit:
        low, high = _range(arg, unit, arg.length)
        counts = f.offset(arg.counts, unit * BUCKETS, "u32")
        tally(f, records, counts, arg.source + low, arg.source + high, arg.number)
    return f


def move(spec):
    """Bring records into the other buffer, to where those of their chunk and digit go."""
    f, arg, records = _begin(spec, "move", ("counts",))
    with my_units(f, arg.units, arg.tasks) as unit:
        low, high = _range(arg, unit, arg.length)
        counts = f.offset(arg.counts, unit * BUCKETS, "u32")
        target = arg.length - arg.source
        distribute(f, records, counts, arg.source + low, arg.source + high, target, arg.number)
    return f


def write(spec):
    """Store elements and places."""
    f, arg, records = _begin(spec, "write", ("x", "values", "indices"))
    with my_units(f, arg.units, arg.tasks) as unit:
        low, high = _range(arg, unit, arg.kept)
        base = _base(f, spec, arg)
        with f.loop(low, high) as place:
            records.write(arg, base, records.get(arg.source + place), f.coerce(0), place)
    return f
