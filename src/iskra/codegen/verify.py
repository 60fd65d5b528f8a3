"""The verifier: what a `Function` of the loop IR must be before it is run or lowered.

It checks what Python cannot: the types of operands, that values are made before they are used and
in a block that encloses the use, that variables are set before they are read. It looks at the
finished function, so it also finds what a transformation of the IR has broken.
"""

import re

from iskra.codegen import ir
from iskra.codegen.ir import INT, NARROW, POINTER, SIZES, Type, Value

SLOTS = 96  # as many arguments fit onto the stack of a call
LANES = 64
SCRATCH = 1 << 18  # bytes: it lies on the stack of a worker thread

_INTEGERS = frozenset({"i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"})
_FLOATS = frozenset({"f32", "f64"})
_NUMBERS = _INTEGERS | _FLOATS
_BITS = _INTEGERS | {"i1"}
_ELEMENTS = frozenset(SIZES) - {"ptr"}

# Operations on elements: how many operands, of which kinds. All have the type of the result.
_SAME = {
    "add": (2, _NUMBERS), "sub": (2, _NUMBERS), "mul": (2, _NUMBERS), "div": (2, _NUMBERS),
    "rem": (2, _NUMBERS), "neg": (1, _NUMBERS), "abs": (1, _NUMBERS),
    "and": (2, _BITS), "or": (2, _BITS), "xor": (2, _BITS), "not": (1, _BITS),
    "shl": (2, _INTEGERS), "shr": (2, _INTEGERS),
    "sqrt": (1, _FLOATS), "floor": (1, _FLOATS), "ceil": (1, _FLOATS), "trunc": (1, _FLOATS),
    "rint": (1, _FLOATS), "copysign": (2, _FLOATS), "fma": (3, _FLOATS),
    "maximum": (2, _FLOATS), "minimum": (2, _FLOATS),
}
# Comparisons: of which kinds. The result is a bool for each lane.
_COMPARED = dict.fromkeys(("lt", "le", "gt", "ge"), _NUMBERS | {"i1"})
_COMPARED |= dict.fromkeys(("eq", "ne"), _NUMBERS | {"i1", "ptr"})


def verify(function):
    """Check a function; raise ValueError naming the kernel, the instruction and what is wrong.

    >>> from iskra.codegen.ir import Function, Type
    >>> f = Function("broken")
    >>> x = f.load(f.slot(0, "ptr"), 0, Type("f32", 4))
    >>> f.store(x & x, f.slot(0, "ptr"), 0)
    >>> verify(f)
    Traceback (most recent call last):
    ValueError: kernel broken: %2: f32x4 = and %1 %1: takes i1, i8, i16, i32, i64, ... not f32
    """
    _Verifier(function).run()


class _Verifier:
    """One function under scrutiny."""

    def __init__(self, function):
        self.function = function
        self.statement = None  # the one that is being looked at
        self.visible = set()  # values and variables that may be used here
        self.seen = set()  # everything that has been defined anywhere
        self.types = set()  # those found right so far

    def run(self):
        if not re.fullmatch(r"[A-Za-z_.$][\w.$]*", self.function.name, re.ASCII):
            self.fail("the name is not one of LLVM's")
        self.structure(self.function.body)
        ir.number(self.function)
        self.slots()
        self.block(self.function.body)

    def fail(self, message):
        place = f"kernel {self.function.name}"
        if self.statement is not None:
            place += f": {ir.describe(self.statement)}"
        raise ValueError(f"{place}: {message}")

    def require(self, condition, message):
        if not condition:
            self.fail(message)

    def structure(self, statements):
        """Check what printing a statement takes for granted."""
        for statement in statements:
            if isinstance(statement, Value):
                used = statement.args
                if statement.op in ("get", "set") and not isinstance(statement.attr, ir.Variable):
                    self.fail(f"{statement.op} of {statement.attr!r}, which is no variable")
            elif isinstance(statement, (ir.Loop, ir.Branch)):
                *used, body = statement
                self.structure(body)
            else:
                self.fail(f"{statement!r} is not a statement")
            for value in used:
                if not isinstance(value, Value):
                    self.fail(f"{value!r} is used, which is not a value")

    # What is visible

    def slots(self):
        kinds = {}
        for value in self.function.slots.values():
            self.statement = value
            index = value.attr
            self.require(value.op == "slot", "is not a slot")
            self.require(value.type in (INT, Type("f64"), POINTER), "slots are i64, f64 or ptr")
            self.require(isinstance(index, int) and 0 <= index < SLOTS,
                         f"slots are numbered 0 to {SLOTS - 1}")
            self.require(index not in kinds, f"is {kinds.get(index)} elsewhere")
            kinds[index] = value.type.kind
            self.once(value)
            self.visible.add(value)

    def block(self, statements):
        here = set()
        for statement in statements:
            self.statement = statement
            if isinstance(statement, Value):
                here |= self.instruction(statement)
            elif isinstance(statement, ir.Loop):
                self.loop(statement)
            else:
                self.use(statement.condition)
                self.expect(statement.condition, Type("i1"), "the condition")
                self.block(statement.body)
        self.visible.difference_update(here)

    def loop(self, loop):
        for part in ("start", "stop", "step"):
            self.use(getattr(loop, part))
            self.expect(getattr(loop, part), INT, part)
        self.require(loop.step.op != "const" or loop.step.attr > 0, "the step is not positive")
        self.expect(loop.counter, INT, "the counter")
        self.once(loop.counter)
        self.visible.add(loop.counter)
        self.block(loop.body)
        self.visible.discard(loop.counter)

    def once(self, value):
        self.require(value not in self.seen, "stands twice")
        self.seen.add(value)

    def use(self, value):
        """Check that a value is defined where it is used."""
        if value.function is not self.function:
            self.fail("uses a value of another kernel")
        if value.op == "const":
            self.constant(value)
        elif value.op == "task":
            self.require(value is self.function.task, "uses a task number that is not its own")
        elif value not in self.visible:
            where = "outside the block that defines it" if value in self.seen else (
                "before it is defined")
            self.fail(f"uses %{value.number} ({value.op}) {where}")

    def constant(self, value):
        self.type(value.type)
        kind, bits = value.type.kind, value.type.bits
        if kind == "ptr":
            self.require(value.attr == 0, "the only constant pointer is null")
        elif not value.type.is_float:
            # Either reading of the bits will do: 0xFFFFFFFF is a mask of i32 too.
            low = -(1 << bits - 1) if kind != "i1" else 0
            if not low <= value.attr < 1 << bits:
                self.fail(f"{value.attr} does not fit {kind}")

    # Types

    def type(self, type):
        if type in self.types:
            return
        self.require(isinstance(type, Type) and type.kind in SIZES, f"{type} is not a type")
        self.require(isinstance(type.lanes, int) and 1 <= type.lanes <= LANES,
                     f"vectors have 1 to {LANES} lanes, not {type.lanes}")
        self.require(type.kind != "ptr" or type.lanes == 1, "there are no vectors of pointers")
        self.types.add(type)

    def expect(self, value, type, what):
        if value.type != type:
            self.fail(f"{what} is {value.type}, not {type}")

    def kinds(self, kind, allowed):
        if kind not in allowed:
            if kind in NARROW and _FLOATS <= allowed:
                self.fail(f"there is no arithmetic on {kind}: convert it to f32")
            some = sorted(allowed, key=list(SIZES).index)
            names = ", ".join(some[:5]) + (", ..." if len(some) > 5 else "")
            self.fail(f"takes {names} not {kind}")

    def operands(self, value, count):
        if len(value.args) != count:
            self.fail(f"takes {count} operands, not {len(value.args)}")

    def alike(self, value):
        first = value.args[0].type
        for other in value.args[1:]:
            if other.type != first:
                self.fail(f"operands are {first} and {other.type}")
        return first

    def mask(self, masks, type):
        if masks:
            self.expect(masks[0], type.of("i1"), "the mask")

    # Instructions

    def instruction(self, value):
        """Check one instruction; the set of values and variables that it makes visible."""
        for operand in value.args:
            self.use(operand)
        self.require(value.function is self.function, "belongs to another kernel")
        if value.type is not None:
            self.type(value.type)
        if value.op in _SAME:
            self.same(value)
        elif value.op in _COMPARED:
            self.comparison(value)
        else:
            check = getattr(self, "op_" + value.op, None)
            if check is None:
                self.fail("there is no such operation")
            check(value)
        return self.made_visible(value)

    def made_visible(self, value):
        if value.op == "set":
            new = {value.attr} - self.visible
        else:
            self.once(value)
            new = {value}
        self.visible |= new
        return new

    def same(self, value):
        count, kinds = _SAME[value.op]
        self.operands(value, count)
        type = self.alike(value)
        self.kinds(type.kind, kinds)
        self.expect(value, type, "the result")

    def comparison(self, value):
        self.operands(value, 2)
        type = self.alike(value)
        self.kinds(type.kind, _COMPARED[value.op])
        self.expect(value, type.of("i1"), "the result")

    def op_select(self, value):
        self.operands(value, 3)
        condition, yes, no = value.args
        self.require(yes.type == no.type, f"chooses between {yes.type} and {no.type}")
        self.expect(condition, yes.type.of("i1"), "the condition")
        self.expect(value, yes.type, "the result")

    def op_convert(self, value):
        self.operands(value, 1)
        source = value.args[0].type
        for type in (source, value.type):
            self.kinds(type.kind, _ELEMENTS)
        self.require(source.lanes == value.type.lanes, f"from {source.lanes} lanes")
        self.require(source.kind != value.type.kind, f"from {source.kind} to itself")

    def op_bitcast(self, value):
        self.operands(value, 1)
        source = value.args[0].type
        for type in (source, value.type):
            self.kinds(type.kind, _ELEMENTS - {"i1"})
        self.require(source.kind != value.type.kind, f"from {source.kind} to itself")
        before, after = (type.bits * type.lanes for type in (source, value.type))
        self.require(before == after, f"{source} has {before} bits, {value.type} {after}")

    def op_dot(self, value):
        self.operands(value, 3)
        first, _, total = value.args
        self.expect(value.args[1], first.type, "the second operand")
        self.require(first.type.kind == "bf16" and total.type.kind == "f32", "sums f32 of bf16")
        self.require(first.type.lanes == 2 * total.type.lanes, "takes two neighbours for each lane")
        self.expect(value, total.type, "the result")

    def op_splat(self, value):
        self.operands(value, 1)
        self.expect(value.args[0], Type(value.type.kind), "the operand")
        self.require(value.type.lanes > 1, "makes a scalar")

    def op_any(self, value):
        self.operands(value, 1)
        self.kinds(value.args[0].type.kind, {"i1"})
        self.expect(value, Type("i1"), "the result")

    def op_lane(self, value):
        self.operands(value, 1)
        vector = value.args[0].type
        self.lane(value.attr, vector.lanes)
        self.expect(value, Type(vector.kind), "the result")

    def op_shuffle(self, value):
        self.require(len(value.args) in (1, 2), "takes one or two operands")
        type = self.alike(value)
        self.kinds(type.kind, _ELEMENTS)
        self.require(isinstance(value.attr, tuple), "the lanes are not a tuple")
        for lane in value.attr:
            self.lane(lane, type.lanes * len(value.args))
        self.expect(value, Type(type.kind, len(value.attr)), "the result")

    def lane(self, lane, lanes):
        self.require(isinstance(lane, int) and 0 <= lane < lanes,
                     f"there is no lane {lane} among {lanes}")

    def op_iota(self, value):
        self.operands(value, 0)
        self.kinds(value.type.kind, _NUMBERS)

    def op_lanes_below(self, value):
        self.operands(value, 1)
        self.expect(value.args[0], INT, "the count")
        self.kinds(value.type.kind, {"i1"})

    def op_get(self, value):
        self.operands(value, 0)
        self.require(value.attr in self.visible, "the variable is not set here")
        self.expect(value, value.attr.type, "the variable")

    def op_set(self, value):
        self.operands(value, 1)
        self.require(value.attr.function is self.function, "sets a variable of another kernel")
        self.expect(value.args[0], value.attr.type, "the new value")

    # Memory

    def address(self, pointer, index):
        self.expect(pointer, POINTER, "the pointer")
        self.expect(index, INT, "the index")

    def addresses(self, pointer, indices, lanes):
        self.expect(pointer, POINTER, "the pointer")
        self.kinds(indices.type.kind, {"i32", "i64"})
        self.require(indices.type.lanes == lanes,
                     f"{indices.type.lanes} indices for {lanes} lanes")

    def op_load(self, value):
        self.require(len(value.args) in (2, 3), "takes a pointer, an index and perhaps a mask")
        pointer, index, *mask = value.args
        self.address(pointer, index)
        self.mask(mask, value.type)
        self.require(value.type.kind != "ptr" or not mask, "pointers are loaded without a mask")

    def op_store(self, value):
        self.require(len(value.args) in (3, 4), "takes a value, a pointer, an index, a mask")
        stored, pointer, index, *mask = value.args
        self.kinds(stored.type.kind, _ELEMENTS)
        self.address(pointer, index)
        self.mask(mask, stored.type)
        self.require(value.attr in (None, "stream"), "streams or does not")
        self.require(not (mask and value.attr), "streams whole vectors only")
        self.require(value.type is None, "has no result")

    def op_gather(self, value):
        self.require(len(value.args) in (2, 3), "takes a pointer, indices and perhaps a mask")
        pointer, indices, *mask = value.args
        self.kinds(value.type.kind, _ELEMENTS)
        self.addresses(pointer, indices, value.type.lanes)
        self.mask(mask, value.type)

    def op_scatter(self, value):
        self.require(len(value.args) in (3, 4), "takes a value, a pointer, indices, a mask")
        stored, pointer, indices, *mask = value.args
        self.kinds(stored.type.kind, _ELEMENTS)
        self.addresses(pointer, indices, stored.type.lanes)
        self.mask(mask, stored.type)
        self.require(value.type is None, "has no result")

    def op_offset(self, value):
        self.operands(value, 2)
        self.address(*value.args)
        self.require(value.attr in SIZES, f"{value.attr} is not a kind")
        self.expect(value, POINTER, "the result")

    def op_prefetch(self, value):
        self.operands(value, 2)
        self.address(*value.args)
        self.require(value.attr in SIZES, f"{value.attr} is not a kind")

    def op_scratch(self, value):
        self.operands(value, 0)
        self.expect(value, POINTER, "the result")
        type, count = value.attr
        self.type(type)
        self.kinds(type.kind, _ELEMENTS)
        self.require(isinstance(count, int) and count > 0, f"{count} is not a count")
        size = count * type.lanes * type.size
        self.require(size <= SCRATCH, f"{size} bytes do not fit the stack ({SCRATCH})")
