"""The loops of scans: along rows, 16 elements at a time, or down columns.

Along a row the 16 states of a vector are combined in four steps, each with what lies 1, 2, 4, 8
lanes before it, and then with the carry. Only the carry's own combination waits for the vector
before. Long rows are cut into chunks: `totals` leaves the state of each, `offsets` makes of these
the states before each, from which `rows` starts.
"""

from typing import NamedTuple

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.running import running
from iskra.codegen.kernels.sharing import my_units


class Spec(NamedTuple):
    """Which scan: its name, the elements' kind, the results' kind and dtype."""

    name: str
    source: str
    kind: str
    dtype: np.dtype

    def running(self):
        """What the scan carries along."""
        return running(self.name, self.dtype, self.kind)


class _Scan:
    """One kernel being written."""

    def __init__(self, spec, name, numbers, outputs=True, states=False):
        self.spec = spec
        self.running = spec.running()
        self.f = Function(f"{name}_{spec.name}_{spec.source}_{spec.kind}")
        kept = [f"state{n}" for n in range(len(self.running.kinds))] if states else []
        self.results = 2 if spec.name in ("maximum", "minimum") else 1
        made = [f"result{n}" for n in range(self.results)] if outputs else []
        self.arg = Arguments(self.f, ("x", *made, *kept) if outputs or name == "totals" else kept,
                             numbers)

    def identity(self, lanes):
        """The state of no elements."""
        r = self.running
        return tuple(self.f.const(v, Type(k, lanes)) for k, v in zip(r.kinds, r.identity))

    def read(self, start, index, lanes, place, mask=None):
        """The states of single elements."""
        type = Type(self.spec.source, lanes)
        return self.running.lift(self.f.load(self.arg.x, start + index, type, mask), place)

    def write(self, state, index, mask=None):
        """Store the results of a state."""
        for number, value in enumerate(self.running.results(state)):
            self.f.store(value, getattr(self.arg, f"result{number}"), index, mask)

    def kept(self, index):
        """A state that lies in memory."""
        return tuple(self.f.load(getattr(self.arg, f"state{n}"), index, Type(kind))
                     for n, kind in enumerate(self.running.kinds))

    def keep(self, state, index):
        """Put a state into memory."""
        for number, value in enumerate(state):
            self.f.store(value, getattr(self.arg, f"state{number}"), index)

    def along(self, start, low, high, carry, write):
        """Scan the places `low` to `high` of the row at `start`; return the carry's variables."""
        carry = [self.f.variable(c) for c in carry]
        if self.running.ordered:
            with self.f.loop(low, high) as place:
                state = self.read(start, place, 1, place.to("i32"))
                state = self.running.combine([c.get() for c in carry], state)
                self._set(carry, state)
                if write:
                    self.write(state, start + place)
            return carry
        full = low + (high - low) // LANES * LANES
        with self.f.loop(low, full, LANES) as place:
            self._vector(start, place, carry, None, write)
        with self.f.loop(full, high, LANES) as place:
            self._vector(start, place, carry, self.f.lanes_below(high - place, LANES), write)
        return carry

    def total(self, start, low, high):
        """The state of the places `low` to `high`, multiples of 16, of the row at `start`."""
        if not self.running.commutes:
            return [c.get() for c in self.along(start, low, high, self.identity(1), False)]
        lanes = [self.f.variable(c) for c in self.identity(LANES)]
        with self.f.loop(low, high, LANES) as place:
            state = self.read(start, place, LANES, place.to("i32"))
            self._set(lanes, self.running.combine([v.get() for v in lanes], state))
        state, half = tuple(v.get() for v in lanes), LANES // 2
        while half:
            low_half, high_half = range(half), range(half, 2 * half)
            state = self.running.combine(*(
                tuple(v.shuffle(part) for v in state) for part in (low_half, high_half)))
            half //= 2
        return state

    def _set(self, carry, state):
        for variable, value in zip(carry, state):
            variable.set(value)

    def _vector(self, start, place, carry, mask, write):
        """16 elements of a row; extrema seldom change the state."""
        places = place.to("i32").splat(LANES) + self.f.iota(Type("i32", LANES))
        state = self.read(start, place, LANES, places, mask)
        if not self.running.settles:
            self._combined(start, place, carry, state, mask, write)
            return
        spread = tuple(c.get().splat(LANES) for c in carry)
        changes = self.running.changes(spread, state).any()
        with self.f.when(changes):
            self._combined(start, place, carry, state, mask, write)
        if write:
            with self.f.when(~changes):
                self.write(spread, start + place, mask)

    def _combined(self, start, place, carry, state, mask, write):
        nothing, step = self.identity(LANES), 1
        while step < LANES:
            lanes = [*range(LANES, LANES + step), *range(LANES - step)]
            before = tuple(s.shuffle(lanes, n) for s, n in zip(state, nothing))
            state = self.running.combine(before, state)
            step *= 2
        now = [c.get() for c in carry]
        if write:
            spread = tuple(c.splat(LANES) for c in now)
            self.write(self.running.combine(spread, state), start + place, mask)
        last = tuple(s.lane(LANES - 1) for s in state)
        self._set(carry, self.running.combine(now, last))


def rows(spec, chunked):
    """Scan rows, or the chunks of rows, that lie one after another."""
    k = _Scan(spec, "rows_in_chunks" if chunked else "rows",
              ("length", "chunks", "chunk", "units", "tasks"), states=chunked)
    f, arg = k.f, k.arg
    with my_units(f, arg.units, arg.tasks) as unit:
        if chunked:
            start = unit // arg.chunks * arg.length
            low = unit % arg.chunks * arg.chunk
            high = smaller(low + arg.chunk, arg.length)
            k.along(start, low, high, k.kept(unit), True)
        else:
            k.along(unit * arg.length, f.coerce(0), arg.length, k.identity(1), True)
    return f


def totals(spec):
    """The state of each chunk but the last of each row, which nobody needs."""
    k = _Scan(spec, "totals", ("length", "chunks", "chunk", "units", "tasks"), False, True)
    f, arg = k.f, k.arg
    with my_units(f, arg.units, arg.tasks) as unit:
        row, part = unit // arg.chunks, unit % arg.chunks
        low = part * arg.chunk
        with f.when(part < arg.chunks - 1):
            k.keep(k.total(row * arg.length, low, low + arg.chunk), unit)
        with f.when(part.eq(arg.chunks - 1)):
            k.keep(k.identity(1), unit)
    return f


def offsets(spec):
    """The chunks' states become those of all that stands before each in its row: one task."""
    k = _Scan(spec, "offsets", ("rows", "chunks"), False, True)
    f, arg = k.f, k.arg
    with f.loop(0, arg.rows) as row:
        carry = [f.variable(c) for c in k.identity(1)]
        with f.loop(row * arg.chunks, (row + 1) * arg.chunks) as place:
            found, before = k.kept(place), [c.get() for c in carry]
            k.keep(before, place)
            k._set(carry, k.running.combine(before, found))
    return f


def columns(spec, width):
    """Scan down columns, `width` of them at a time, whose states are kept on the stack."""
    k = _Scan(spec, f"columns{width}", ("length", "columns", "segments", "units", "tasks"))
    f, arg, r = k.f, k.arg, k.running
    memory = [f.scratch(Type(kind, LANES), width // LANES) for kind in r.kinds]
    with my_units(f, arg.units, arg.tasks) as unit:
        first = unit % arg.segments * width
        start = unit // arg.segments * arg.length * arg.columns + first
        count = smaller(arg.columns - first, f.coerce(width))
        with f.loop(0, count, LANES) as column:
            for pointer, value in zip(memory, k.identity(LANES)):
                f.store(value, pointer, column)
        full = count // LANES * LANES
        with f.loop(0, arg.length) as row:
            here = start + row * arg.columns
            for low, high, masked in ((f.coerce(0), full, False), (full, count, True)):
                with f.loop(low, high, LANES) as column:
                    mask = f.lanes_below(high - column, LANES) if masked else None
                    before = tuple(f.load(p, column, Type(kind, LANES))
                                   for p, kind in zip(memory, r.kinds))
                    state = r.combine(before, k.read(here, column, LANES, row.to("i32"), mask))
                    for pointer, value in zip(memory, state):
                        f.store(value, pointer, column)
                    k.write(state, here + column, mask)
    return f
