"""The typed loop IR: what a kernel does, before any machine is chosen.

A kernel is a `Function` of two parameters: `slots`, an array of eight-byte arguments, and `task`,
the number of the piece of work to do. Its body is a tree: instructions in order, `Loop` and
`Branch` with blocks of their own, and variables that may be set again. Values are scalars or short
vectors of `lanes` elements; operators on them are spelt as in Python and append an instruction:

>>> f = Function("twice")
>>> n = f.slot(2, "i64")
>>> with f.loop(0, n, 4) as i:
...     mask = f.lanes_below(n - i, 4)
...     x = f.load(f.slot(0, "ptr"), i, Type("f32", 4), mask)
...     f.store(x * 2.0, f.slot(1, "ptr"), i, mask)
>>> print(f)
kernel twice(slots, task)
  %0: i64 = slot 2
  %1: ptr = slot 0
  %2: ptr = slot 1
  loop %3 from 0 to %0 step 4
    %4: i64 = sub %0 %3
    %5: i1x4 = lanes_below %4
    %6: f32x4 = load %1 %3 %5
    %7: f32x4 = mul %6 2.0
    store %7 %2 %3 %5

Nothing here is fast-math: an instruction means one IEEE operation, so the IR fixes the bits.
`iskra.codegen.verify` checks a function, `iskra.codegen.interpret` runs it element by element in
NumPy, `iskra.codegen.lower` turns it into LLVM's language.
"""

import math
from contextlib import contextmanager
from typing import NamedTuple

# What a scalar can be -> its bytes in memory. Signedness belongs to the type, as in C; "i1" is a
# bool, one byte in memory. Narrow floats are only loaded, stored and converted.
SIZES = {
    "i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8,
    "f16": 2, "bf16": 2, "f32": 4, "f64": 8, "ptr": 8,
}
FLOATS = frozenset({"f16", "bf16", "f32", "f64"})
NARROW = frozenset({"f16", "bf16"})


class Type(NamedTuple):
    """A scalar kind and how many of them lie side by side (1: a scalar)."""

    kind: str
    lanes: int = 1

    @property
    def is_float(self):
        """Whether elements are floating-point numbers."""
        return self.kind in FLOATS

    @property
    def is_signed(self):
        """Whether elements are signed integers."""
        return self.kind[0] == "i" and self.kind != "i1"

    @property
    def size(self):
        """Bytes of one element in memory."""
        return SIZES[self.kind]

    @property
    def bits(self):
        """Bits of one element in a register."""
        return 1 if self.kind == "i1" else 8 * self.size

    def of(self, kind):
        """As many lanes of another kind."""
        return Type(kind, self.lanes)

    def __str__(self):
        return self.kind if self.lanes == 1 else f"{self.kind}x{self.lanes}"


INT = Type("i64")
POINTER = Type("ptr")


class Value:
    """The result of one instruction (of a constant, a parameter, a loop's counter)."""

    __slots__ = ("function", "type", "op", "args", "attr", "number")

    def __init__(self, function, type, op, args=(), attr=None):
        self.function = function
        self.type = type
        self.op = op
        self.args = args
        self.attr = attr  # what the operation needs besides values: a constant, a shuffle's lanes
        self.number = None

    def _with(self, op, other, type=None):
        a, b = match(self, other)
        return self.function.emit(op, type or a.type, (a, b))

    def _from(self, op, other):
        a, b = match(self, other)
        return self.function.emit(op, a.type, (b, a))

    def __add__(self, other):
        return self._with("add", other)

    def __sub__(self, other):
        return self._with("sub", other)

    def __mul__(self, other):
        return self._with("mul", other)

    def __truediv__(self, other):
        return self._with("div", other)

    def __floordiv__(self, other):
        """Integer division, rounded towards zero; by zero it gives 0."""
        return self._with("div", other)

    def __mod__(self, other):
        """The remainder of truncated division, with the dividend's sign; 0 for integers and 0."""
        return self._with("rem", other)

    def __and__(self, other):
        return self._with("and", other)

    def __or__(self, other):
        return self._with("or", other)

    def __xor__(self, other):
        return self._with("xor", other)

    def __lshift__(self, other):
        """By the width or more: 0."""
        return self._with("shl", other)

    def __rshift__(self, other):
        """Copies of the sign bit come in from the left if the type is signed, else zeros."""
        return self._with("shr", other)

    def __radd__(self, other):
        return self._from("add", other)

    def __rsub__(self, other):
        return self._from("sub", other)

    def __rmul__(self, other):
        return self._from("mul", other)

    def __rtruediv__(self, other):
        return self._from("div", other)

    def __neg__(self):
        return self.function.emit("neg", self.type, (self,))

    def __invert__(self):
        return self.function.emit("not", self.type, (self,))

    def __abs__(self):
        return self.function.emit("abs", self.type, (self,))

    # Comparisons of NaN are false, all but `ne`.
    def __lt__(self, other):
        return self._with("lt", other, self.type.of("i1"))

    def __le__(self, other):
        return self._with("le", other, self.type.of("i1"))

    def __gt__(self, other):
        return self._with("gt", other, self.type.of("i1"))

    def __ge__(self, other):
        return self._with("ge", other, self.type.of("i1"))

    def eq(self, other):
        """Whether the elements are equal (``==`` compares the Python objects)."""
        return self._with("eq", other, self.type.of("i1"))

    def ne(self, other):
        """Whether the elements differ; NaN differs from itself."""
        return self._with("ne", other, self.type.of("i1"))

    def to(self, kind):
        """Converted to another kind, by value.

        Floats outside an integer's range, and NaN, become its smallest value, as x86 has it; to
        fewer than 32 bits they are converted to i32 first and cut off, to u32 by way of i64
        (`iskra.codegen.semantics` tells of u64). Narrow floats go by way of f32. A bool tells
        whether the number differs from 0.
        """
        if kind == self.type.kind:
            return self
        return self.function.emit("convert", self.type.of(kind), (self,))

    def bits_as(self, kind):
        """The same bits, seen as another kind; of a larger one there are fewer lanes."""
        if kind == self.type.kind:
            return self
        lanes = self.type.lanes * self.type.size // SIZES[kind]
        return self.function.emit("bitcast", Type(kind, lanes), (self,))

    def splat(self, lanes):
        """A vector of which each lane is this scalar."""
        if lanes == self.type.lanes:
            return self
        if self.op == "const":
            return self.function.const(self.attr, Type(self.type.kind, lanes))
        return self.function.emit("splat", Type(self.type.kind, lanes), (self,))

    def any(self):
        """Whether a bool holds in any lane: a scalar."""
        return self.function.emit("any", Type("i1"), (self,))

    def lane(self, index):
        """One element of a vector."""
        return self.function.emit("lane", Type(self.type.kind), (self,), index)

    def shuffle(self, lanes, other=None):
        """The lanes whose numbers are given; `other`'s are counted on from this one's."""
        args = (self,) if other is None else (self, other)
        return self.function.emit("shuffle", Type(self.type.kind, len(lanes)), args, tuple(lanes))


def match(*values):
    """The values with one type: Python numbers become constants, scalars vectors."""
    first = next(v for v in values if isinstance(v, Value))
    lanes = max(v.type.lanes for v in values if isinstance(v, Value))
    kind = first.type.kind
    return tuple(
        v.splat(lanes) if isinstance(v, Value) else first.function.const(v, Type(kind, lanes))
        for v in values
    )


def _same(op):
    def build(*operands):
        operands = match(*operands)
        return operands[0].function.emit(op, operands[0].type, operands)

    build.__name__ = op
    return build


sqrt, floor, ceil, trunc = map(_same, ("sqrt", "floor", "ceil", "trunc"))
rint = _same("rint")  # to the nearest integer, halves to even
copysign = _same("copysign")
fma = _same("fma")  # a * b + c, rounded once
maximum = _same("maximum")  # NaN if either is NaN; -0 is below +0
minimum = _same("minimum")


def dot(a, b, total):
    """`total` (f32) plus, for each lane, the products of two neighbours in `a` and `b` (bf16).

    The second product is added first, and each is rounded once; numbers too small to be normal
    count as 0. Only processors with AVX512-BF16 have it, which other operations cannot imitate.
    """
    return total.function.emit("dot", total.type, (a, b, total))


def select(condition, yes, no):
    """`yes` where the condition holds, `no` elsewhere (no branch)."""
    yes, no = match(yes, no)
    lanes = max(condition.type.lanes, yes.type.lanes)
    condition, yes, no = (v.splat(lanes) if v.type.lanes == 1 else v for v in (condition, yes, no))
    return condition.function.emit("select", yes.type, (condition, yes, no))


def smaller(a, b):
    """The smaller of two integers."""
    return select(a < b, a, b)


def larger(a, b):
    """The larger of two integers."""
    return select(a > b, a, b)


class Block(list):
    """Statements in order."""


class Loop(NamedTuple):
    """``for counter in range(start, stop, step)``."""

    counter: Value
    start: Value
    stop: Value
    step: Value
    body: Block


class Branch(NamedTuple):
    """Statements that run only where a scalar condition holds."""

    condition: Value
    body: Block


class Variable:
    """A value that may be set again: what a loop carries from turn to turn."""

    __slots__ = ("function", "type", "number")

    def __init__(self, function, initial):
        self.function = function
        self.type = initial.type
        self.number = None
        self.set(initial)

    def get(self):
        """The value now."""
        return self.function.emit("get", self.type, (), self)

    def set(self, value):
        """Set it from here on."""
        value = self.function.coerce(value, self.type)
        self.function.emit("set", None, (value,), self)


class Function:
    """A kernel being built: instructions are appended to the innermost open block."""

    def __init__(self, name):
        self.name = name
        self.body = Block()
        self.task = Value(self, INT, "task")
        self._open = [self.body]
        self._constants = {}
        self.slots = {}  # (number, kind) -> value: the arguments that are used

    def emit(self, op, type, args=(), attr=None):
        """Append one instruction and return its value."""
        value = Value(self, type, op, args, attr)
        self._open[-1].append(value)
        return value

    def const(self, number, type):
        """A constant; vectors hold it in each lane."""
        # repr tells -0.0 from 0.0; the class True from 1.
        key = (repr(number), type)
        found = self._constants.get(key)
        if found is None:
            number = float(number) if type.is_float else int(number)
            found = self._constants[key] = Value(self, type, "const", (), number)
        return found

    def coerce(self, value, type=INT):
        """A Python number as a constant; scalars as vectors where lanes are wanted."""
        if not isinstance(value, Value):
            return self.const(value, type)
        return value.splat(type.lanes) if value.type.lanes == 1 else value

    def slot(self, index, kind):
        """Argument number `index`, as an "i64", an "f64" or a "ptr"; read once, at the top."""
        found = self.slots.get((index, kind))
        if found is None:
            found = self.slots[index, kind] = Value(self, Type(kind), "slot", (), index)
        return found

    def iota(self, type):
        """0, 1, 2, ... along the lanes."""
        return self.emit("iota", type)

    def lanes_below(self, count, lanes):
        """A mask of the first `count` (i64; may be negative or too large) of `lanes` lanes."""
        return self.emit("lanes_below", Type("i1", lanes), (self.coerce(count),))

    def load(self, pointer, index, type, mask=None):
        """Elements ``pointer[index]`` onwards; lanes that the mask excludes are 0 and not read."""
        args = (pointer, self.coerce(index)) + (() if mask is None else (mask,))
        return self.emit("load", type, args)

    def store(self, value, pointer, index, mask=None, stream=False):
        """Write ``pointer[index]`` onwards; lanes that the mask excludes are left alone.

        With `stream` a whole vector goes past the caches; its address must be a multiple of its
        size. The kernel's end waits until such writes can be seen by all.
        """
        args = (value, pointer, self.coerce(index)) + (() if mask is None else (mask,))
        self.emit("store", None, args, "stream" if stream else None)

    def gather(self, pointer, indices, kind, mask=None):
        """``pointer[indices[lane]]`` for each lane; excluded lanes are 0 and not read."""
        args = (pointer, indices) + (() if mask is None else (mask,))
        return self.emit("gather", Type(kind, indices.type.lanes), args)

    def scatter(self, value, pointer, indices, mask=None):
        """Write ``pointer[indices[lane]]``; of equal indices the last lane wins."""
        self.emit("scatter", None, (value, pointer, indices) + (() if mask is None else (mask,)))

    def offset(self, pointer, index, kind):
        """The address of ``pointer[index]``, elements being of `kind`."""
        return self.emit("offset", POINTER, (pointer, self.coerce(index)), kind)

    def table(self, pointer, index):
        """The pointer that lies at ``pointer[index]`` in an array of pointers."""
        return self.emit("load", POINTER, (pointer, self.coerce(index)))

    def scratch(self, type, count=1):
        """Memory of this call's own for `count` values of `type` (small: it is on the stack)."""
        return self.emit("scratch", POINTER, (), (type, count))

    def prefetch(self, pointer, index, kind):
        """Ask for the cache line of ``pointer[index]``; addresses need not be valid."""
        self.emit("prefetch", None, (pointer, self.coerce(index)), kind)

    def variable(self, initial, type=None):
        """A variable with a first value."""
        return Variable(self, self.coerce(initial, type or INT))

    @contextmanager
    def loop(self, start, stop, step=1):
        """``for counter in range(start, stop, step)``: yields the counter, an i64."""
        counter = Value(self, INT, "counter")
        bounds = (self.coerce(v) for v in (start, stop, step))
        with self._block(Loop(counter, *bounds, Block())):
            yield counter

    @contextmanager
    def when(self, condition):
        """Statements that run only where the scalar condition holds."""
        with self._block(Branch(condition, Block())):
            yield

    @contextmanager
    def _block(self, statement):
        self._open[-1].append(statement)
        self._open.append(statement.body)
        yield
        self._open.pop()

    def __str__(self):
        number(self)
        lines = [f"kernel {self.name}(slots, task)"]
        _write(self.slots.values(), lines, "  ")
        _write(self.body, lines, "  ")
        return "\n".join(lines)


def instructions(block):
    """Every instruction in `block` and the blocks inside it, in order."""
    for statement in block:
        if isinstance(statement, Value):
            yield statement
        else:
            yield from instructions(statement.body)


def number(function):
    """Give values and variables their numbers, in the order in which they stand."""
    count, variables = 0, set()
    pending = [iter((*function.slots.values(), *function.body))]
    while pending:
        statement = next(pending[-1], None)
        if statement is None:
            pending.pop()
        elif isinstance(statement, Value):
            if statement.type is not None:
                statement.number = count
                count += 1
            elif statement.op == "set" and statement.attr not in variables:
                statement.attr.number = len(variables)
                variables.add(statement.attr)
        else:
            if isinstance(statement, Loop):
                statement.counter.number = count
                count += 1
            pending.append(iter(statement.body))


def describe(statement):
    """One statement as a line of text, without what stands inside; `number` comes first."""
    if isinstance(statement, Loop):
        counter, start, stop, step = map(_name, statement[:4])
        return f"loop {counter} from {start} to {stop} step {step}"
    if isinstance(statement, Branch):
        return f"when {_name(statement.condition)}"
    parts = [statement.op, *map(_name, statement.args)]
    if isinstance(statement.attr, Variable):
        parts.insert(1, f"${statement.attr.number}")
    elif statement.attr is not None:
        parts.append(_attribute(statement.attr))
    text = " ".join(parts)
    return text if statement.type is None else f"%{statement.number}: {statement.type} = {text}"


def _name(value):
    if value.op == "const":
        exact = not value.type.is_float or not math.isfinite(value.attr)
        return str(value.attr) if exact else repr(value.attr)
    return "task" if value.op == "task" else f"%{value.number}"


def _attribute(attr):
    if isinstance(attr, tuple):
        return ",".join(map(str, attr))
    return str(attr)


def _write(block, lines, indent):
    for statement in block:
        lines.append(indent + describe(statement))
        if not isinstance(statement, Value):
            _write(statement.body, lines, indent + "  ")
