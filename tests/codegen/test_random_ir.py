"""Random programs: machine code and interpreter agree bit for bit."""

import itertools

import numpy as np
import pytest
from codegen.both import ARITY, COMPARISONS, FLOATS, KINDS, NUMBERS, OPERATIONS, compare, edges
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iskra.codegen import ir
from iskra.codegen.ir import Function, Type
from iskra.codegen.semantics import numpy_dtype
from iskra.runtime import cache

INPUT = 128  # elements of each kind that a program may load
SIZES = {kind: numpy_dtype(kind).itemsize for kind in KINDS}


@pytest.fixture(autouse=True, scope="module")
def nothing_is_kept():
    """Programs that never come again do not belong into the cache on disk."""
    with pytest.MonkeyPatch.context() as patch:
        empty = cache.ObjectCache(None)
        patch.setattr(cache, "default_cache", lambda: empty)
        yield


class Program:
    """A function being made up: `draw` decides everything."""

    def __init__(self, draw):
        self.draw = draw
        self.f = Function("random")
        self.lanes = draw(st.sampled_from([1, 4, 16]))
        # Of few kinds, so that instructions find results of others to work on.
        self.kinds = sorted({"i1", draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(FLOATS)),
                             draw(st.sampled_from(KINDS))})
        self.values = []  # those in sight
        self.variables = []
        for _ in range(draw(st.integers(4, 16))):
            self.step(depth=0)
        self.counts = dict.fromkeys(KINDS, 0)
        for value in (*self.values, *(v.get() for v in self.variables)):
            self.output(value)

    def slots(self, seed):
        """The arguments: an input and an output for each kind."""
        rng = np.random.default_rng(seed)
        inputs = [rng.permutation(np.resize(edges(kind), INPUT)) for kind in KINDS]
        return inputs + [np.zeros(self.counts[kind], numpy_dtype(kind)) for kind in KINDS]

    def output(self, value):
        kind = value.type.kind
        self.f.store(value, self.f.slot(len(KINDS) + KINDS.index(kind), "ptr"), self.counts[kind])
        self.counts[kind] += value.type.lanes

    def step(self, depth):
        """One more statement, perhaps with a block of its own."""
        steps = [self.operation, self.operation, self.operation, self.conversion, self.bitcast,
                 self.select, self.shuffle, self.spread, self.masked_load, self.set_variable]
        if depth < 2:
            steps += [self.branch, self.loop]
        made = self.draw(st.sampled_from(steps))
        if made in (self.branch, self.loop):
            made(depth)
        else:
            value = made()
            if value is not None:
                self.values.append(value)

    def block(self, depth):
        """Statements whose values go out of sight; variables carry some outside."""
        outer = list(self.values), list(self.variables)
        for _ in range(self.draw(st.integers(1, 4))):
            self.step(depth + 1)
        self.set_variable(self.values[len(outer[0]):], outer[1])
        self.values, self.variables = outer

    def branch(self, depth):
        lane = self.draw(st.integers(-1, self.lanes - 1))
        mask = self.operand("i1")
        condition = mask.any() if lane < 0 else mask.lane(lane)
        if not self.variables:
            self.set_variable()
        with self.f.when(condition):
            self.block(depth)

    def loop(self, depth):
        if not self.variables:
            self.set_variable()
        with self.f.loop(self.draw(st.integers(-2, 2)), 3, self.draw(st.integers(1, 3))) as i:
            outer = list(self.values)
            self.values.append(i.splat(self.lanes))
            self.block(depth)
            self.values = outer

    # Operands

    def operand(self, kind):
        """A value in sight, a variable's, a constant, or something from memory."""
        found = [v for v in self.values if v.type.kind == kind]
        found += [v for v in self.variables if v.type.kind == kind]
        choice = self.draw(st.integers(0, len(found) + 1))
        if choice < len(found):
            chosen = found[choice]
            return chosen.get() if isinstance(chosen, ir.Variable) else chosen
        if choice == len(found):
            return self.load(kind)
        values = edges(kind)
        return self.f.const(values[self.draw(st.integers(0, len(values) - 1))].item(),
                            Type(kind, self.lanes))

    def load(self, kind, mask=None):
        at = self.draw(st.integers(0, INPUT - self.lanes))
        return self.f.load(self.f.slot(KINDS.index(kind), "ptr"), at, Type(kind, self.lanes), mask)

    def without_nan(self, x):
        """Which NaN a NaN is depends on the processor: it must not become visible."""
        return ir.select(x.ne(x), 1.5, x) if x.type.is_float else x

    # Instructions

    def operation(self):
        op, kind = self.draw(st.sampled_from([(o, k) for o, k in OPERATIONS if k in self.kinds]))
        operands = [self.operand(kind) for _ in range(ARITY.get(op, 2))]
        if op == "copysign":
            operands[1] = self.without_nan(operands[1])
        result = operands[0].type.of("i1" if op in COMPARISONS else kind)
        return self.f.emit(op, result, operands)

    def conversion(self):
        source, kind = self.draw(st.sampled_from([*itertools.permutations(self.kinds, 2)]))
        return self.operand(source).to(kind)

    def bitcast(self):
        source = self.draw(st.sampled_from([k for k in self.kinds if k in NUMBERS]))
        kind = self.draw(st.sampled_from(
            [k for k in KINDS if k not in ("i1", source) and SIZES[k] == SIZES[source]]))
        return self.without_nan(self.operand(source)).bits_as(kind)

    def select(self):
        kind = self.draw(st.sampled_from(self.kinds))
        return ir.select(self.operand("i1"), self.operand(kind), self.operand(kind))

    def shuffle(self):
        kind = self.draw(st.sampled_from(self.kinds))
        lanes = self.draw(st.lists(st.integers(0, 2 * self.lanes - 1), min_size=self.lanes,
                                   max_size=self.lanes))
        return self.operand(kind).shuffle(lanes, self.operand(kind))

    def spread(self):
        kind = self.draw(st.sampled_from(self.kinds))
        return self.operand(kind).lane(self.draw(st.integers(0, self.lanes - 1))).splat(self.lanes)

    def masked_load(self):
        kind = self.draw(st.sampled_from(self.kinds))
        if self.draw(st.booleans()):
            count = self.operand("i64").lane(0)
            return self.load(kind, self.f.lanes_below(count, self.lanes))
        where = self.operand("i32") & (INPUT - 1)
        return self.f.gather(self.f.slot(KINDS.index(kind), "ptr"), where, kind,
                             self.operand("i1"))

    def set_variable(self, values=None, variables=None):
        """Set a variable to a value, or make one."""
        variables = self.variables if variables is None else variables
        fitting = [(x, v) for x in (self.values if values is None else values)
                   for v in variables if x.type.kind == v.type.kind]
        if fitting:
            value, variable = self.draw(st.sampled_from(fitting))
            variable.set(value)
        elif values is None:
            value = self.operand(self.draw(st.sampled_from(self.kinds)))
            self.variables.append(self.f.variable(value, value.type))


@st.composite
def programs(draw):
    return Program(draw)


@settings(max_examples=200, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))
@given(programs(), st.integers(0, 2**32 - 1))
def test_random_programs(program, seed):
    compare(program.f, program.slots(seed))
