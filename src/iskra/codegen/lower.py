"""Lowering: a `Function` of the loop IR as LLVM's assembly language.

Each instruction becomes one or a few of LLVM's, with no fast-math flags: the bits are those that
the IR fixes. Variables become stack slots, which LLVM's SROA pass turns into registers.
"""

from iskra.codegen.ir import NARROW, Loop, Value, number
from iskra.codegen.llvm_text import KINDS, SUFFIX, Writer, constant, llvm_type, memory_type


def text(*functions):
    """The LLVM module of these functions, as text."""
    declarations = {}
    bodies = [_Lowering(f, declarations).text() for f in functions]
    return "\n".join([*declarations.values(), "", *bodies])


_INTEGER = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem"}
_ORDERED = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_INTRINSICS = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
               "rint": "roundeven", "copysign": "copysign", "fma": "fma", "maximum": "maximum",
               "minimum": "minimum"}


class _Lowering(Writer):
    """One function on its way into LLVM's language."""

    def __init__(self, function, declarations):
        super().__init__(declarations)
        self.function = function
        self.stack = []  # allocas, which belong into the entry block
        self.variables = set()
        self.closing = []  # what stands before the end

    def text(self):
        number(self.function)
        self.block(self.function.slots.values())
        self.block(self.function.body)
        return "\n".join([
            f"define void @{self.function.name}(ptr %slots, i64 %task) nounwind {{",
            "entry:", *self.stack, "  br label %body", "body:", *self.lines, *self.closing,
            "  ret void", "}", "",
        ])

    # Statements

    def block(self, statements):
        for statement in statements:
            if isinstance(statement, Value):
                getattr(self, "op_" + statement.op, self.arithmetic)(statement)
            elif isinstance(statement, Loop):
                self.loop(statement)
            else:
                self.branch(statement)

    def loop(self, loop):
        head, body, step, after = (self.fresh(p) for p in ("head", "body", "step", "after"))
        counter, before = self.name(loop.counter), self.label
        self.line(f"br label %{head}")
        self.begin(head)
        self.line(f"{counter} = phi i64 [ {self.name(loop.start)}, %{before} ], "
                  f"[ {counter}.next, %{step} ]")
        more = self.step(f"icmp slt i64 {counter}, {self.name(loop.stop)}")
        self.line(f"br i1 {more}, label %{body}, label %{after}")
        self.begin(body)
        self.block(loop.body)
        self.line(f"br label %{step}")
        self.begin(step)
        self.line(f"{counter}.next = add nsw i64 {counter}, {self.name(loop.step)}")
        self.line(f"br label %{head}")
        self.begin(after)

    def branch(self, branch):
        body, after = self.fresh("when"), self.fresh("after")
        self.line(f"br i1 {self.name(branch.condition)}, label %{body}, label %{after}")
        self.begin(body)
        self.block(branch.body)
        self.line(f"br label %{after}")
        self.begin(after)

    # Instructions

    def arithmetic(self, value):
        """An operation on elements: one LLVM instruction or intrinsic, by the operands' type."""
        op, type = value.op, value.args[0].type
        if op in _INTRINSICS:
            return self.call_intrinsic(_INTRINSICS[op], value)
        left = self.typed(value.args[0])
        right = self.name(value.args[1])
        if op in _ORDERED:
            compare = f"fcmp {_ORDERED[op]}" if type.is_float else "icmp " + (
                op if op in ("eq", "ne") else ("s" if type.is_signed else "u") + op
            )
            return self.define(value, f"{compare} {left}, {right}")
        instruction = (_FLOAT if type.is_float else _INTEGER)[op]
        return self.define(value, f"{instruction} {left}, {right}")

    def op_div(self, value):
        """The quotient; integers divided by zero give 0, not the end of the process."""
        if value.type.is_float:
            return self.arithmetic(value)
        dividend, divisor = value.args
        safe, is_zero = self.safe_divisor(dividend, divisor)
        sign, spelt = "s" if value.type.is_signed else "u", llvm_type(value.type)
        quotient = f"{sign}div {self.typed(dividend)}, {safe}"
        if not is_zero:
            return self.define(value, quotient)
        mask, zero = llvm_type(value.type.of("i1")), constant(0, value.type)
        return self.define(
            value, f"select {mask} {is_zero}, {spelt} {zero}, {spelt} {self.step(quotient)}")

    def op_rem(self, value):
        if value.type.is_float:
            return self.arithmetic(value)
        dividend, divisor = value.args
        safe, _ = self.safe_divisor(dividend, divisor)
        sign = "s" if value.type.is_signed else "u"
        self.define(value, f"{sign}rem {self.typed(dividend)}, {safe}")

    def safe_divisor(self, dividend, divisor):
        """The divisor, but 1 where a processor would trap; and where it is 0, if it may be."""
        if divisor.op == "const" and divisor.attr not in (0, -1):
            return self.name(divisor), None
        type = divisor.type
        spelt, mask = llvm_type(type), llvm_type(type.of("i1"))
        is_zero = unfit = self.step(f"icmp eq {self.typed(divisor)}, {constant(0, type)}")
        if type.is_signed:
            least = constant(-(1 << type.bits - 1), type)
            is_least = self.step(f"icmp eq {self.typed(dividend)}, {least}")
            negates = self.step(f"icmp eq {self.typed(divisor)}, {constant(-1, type)}")
            too_large = self.step(f"and {mask} {is_least}, {negates}")
            unfit = self.step(f"or {mask} {unfit}, {too_large}")
        one = constant(1, type)
        safe = f"select {mask} {unfit}, {spelt} {one}, {self.typed(divisor)}"
        return self.step(safe), is_zero

    def op_shl(self, value):
        self.shift(value, "shl")

    def op_shr(self, value):
        self.shift(value, "ashr" if value.type.is_signed else "lshr")

    def shift(self, value, instruction):
        """Shift; everything goes out where the count is not below the width (LLVM's poison)."""
        operand, count = value.args
        type, spelt = value.type, llvm_type(value.type)
        if count.op == "const" and 0 <= count.attr < type.bits:
            return self.define(value, f"{instruction} {self.typed(operand)}, {self.name(count)}")
        mask = llvm_type(type.of("i1"))
        fits = self.step(f"icmp ult {self.typed(count)}, {constant(type.bits, type)}")
        if instruction == "ashr":
            most = constant(type.bits - 1, type)
            bounded = self.step(f"select {mask} {fits}, {self.typed(count)}, {spelt} {most}")
            return self.define(value, f"ashr {self.typed(operand)}, {bounded}")
        # The shift's poison is not chosen, and unlike a branch's condition it does no harm.
        shifted = self.step(f"{instruction} {self.typed(operand)}, {self.name(count)}")
        zero = constant(0, type)
        return self.define(value, f"select {mask} {fits}, {spelt} {shifted}, {spelt} {zero}")

    def call_intrinsic(self, name, value):
        type = value.type
        spelt = llvm_type(type)
        lanes = "" if type.lanes == 1 else f"v{type.lanes}"
        suffix = lanes + (SUFFIX.get(KINDS[type.kind]) or KINDS[type.kind])
        arguments = [(spelt, self.name(a)) for a in value.args]
        self.define(value, self.intrinsic(f"llvm.{name}.{suffix}", spelt, arguments))

    def op_slot(self, value):
        address = self.step(f"getelementptr i64, ptr %slots, i64 {value.attr}")
        self.define(value, f"load {llvm_type(value.type)}, ptr {address}, align 8")

    def op_get(self, value):
        spelt = llvm_type(value.type)
        self.define(value, f"load {spelt}, ptr %var{value.attr.number}")

    def op_set(self, value):
        variable = value.attr
        if variable not in self.variables:
            self.variables.add(variable)
            self.stack.append(f"  %var{variable.number} = alloca {llvm_type(variable.type)}")
        self.line(f"store {self.typed(value.args[0])}, ptr %var{variable.number}")

    def op_scratch(self, value):
        type, count = value.attr
        self.stack.append(
            f"  %v{value.number} = alloca {memory_type(type)}, i64 {count}, align 64")

    def op_neg(self, value):
        if value.type.is_float:
            return self.define(value, f"fneg {self.typed(value.args[0])}")
        spelt, zero = llvm_type(value.type), constant(0, value.type)
        return self.define(value, f"sub {spelt} {zero}, {self.name(value.args[0])}")

    def op_not(self, value):
        ones = constant(True if value.type.kind == "i1" else -1, value.type)
        self.define(value, f"xor {self.typed(value.args[0])}, {ones}")

    def op_abs(self, value):
        if value.type.is_float:
            return self.call_intrinsic("fabs", value)
        spelt, operand = llvm_type(value.type), self.name(value.args[0])
        if not value.type.is_signed:
            return self.define(value, f"or {spelt} {operand}, {constant(0, value.type)}")
        negative = self.step(f"icmp slt {spelt} {operand}, {constant(0, value.type)}")
        flipped = self.step(f"sub {spelt} {constant(0, value.type)}, {operand}")
        mask = llvm_type(value.type.of("i1"))
        return self.define(
            value, f"select {mask} {negative}, {spelt} {flipped}, {spelt} {operand}")

    def op_select(self, value):
        self.define(value, "select " + ", ".join(self.typed(a) for a in value.args))

    def op_bitcast(self, value):
        self.define(value, f"bitcast {self.typed(value.args[0])} to {llvm_type(value.type)}")

    def op_dot(self, value):
        lanes = value.type.lanes
        narrow = f"<{2 * lanes} x bfloat>"
        a, b = (self.step(f"bitcast {self.typed(v)} to {narrow}") for v in value.args[:2])
        self.define(value, self.intrinsic(f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}",
                                          llvm_type(value.type),
                                          [(llvm_type(value.type), self.name(value.args[2])),
                                           (narrow, a), (narrow, b)]))

    # Lanes

    def op_splat(self, value):
        self.define(value, self.splatted(self.typed(value.args[0]), value.type))

    def splatted(self, typed_scalar, type):
        spelt = llvm_type(type)
        first = self.step(f"insertelement {spelt} poison, {typed_scalar}, i32 0")
        return (f"shufflevector {spelt} {first}, {spelt} poison, "
                f"<{type.lanes} x i32> zeroinitializer")

    def op_any(self, value):
        mask = value.args[0]
        if mask.type.lanes == 1:
            return self.alias(value, mask)
        name = f"llvm.vector.reduce.or.v{mask.type.lanes}i1"
        arguments = [(llvm_type(mask.type), self.name(mask))]
        return self.define(value, self.intrinsic(name, "i1", arguments))

    def op_lane(self, value):
        vector = value.args[0]
        if vector.type.lanes == 1:
            self.alias(value, vector)
        else:
            self.define(value, f"extractelement {self.typed(vector)}, i32 {value.attr}")

    def alias(self, value, other):
        """Another name for a value, for what needs no instruction."""
        spelt, yes = llvm_type(value.type), self.name(other)
        self.define(value, f"select i1 true, {spelt} {yes}, {spelt} {yes}")

    def op_shuffle(self, value):
        first = value.args[0]
        lanes, source = value.attr, first.type.lanes
        if source == 1 or len(lanes) == 1:
            return self.shuffle_scalars(value)
        second = self.typed(value.args[1]) if len(value.args) == 2 else (
            f"{llvm_type(first.type)} poison")
        mask = f"<{len(lanes)} x i32> <" + ", ".join(f"i32 {i}" for i in lanes) + ">"
        return self.define(value, f"shufflevector {self.typed(first)}, {second}, {mask}")

    def shuffle_scalars(self, value):
        """A shuffle from or to a scalar, which LLVM does not count as a vector."""
        lanes = value.args[0].type.lanes
        picked = [self.element(value.args[i // lanes], i % lanes) for i in value.attr]
        if len(picked) == 1:
            spelt = llvm_type(value.type)
            return self.define(value, f"select i1 true, {spelt} {picked[0]}, {spelt} {picked[0]}")
        spelt, kind = llvm_type(value.type), KINDS[value.type.kind]
        vector = "poison"
        for i, element in enumerate(picked[:-1]):
            vector = self.step(f"insertelement {spelt} {vector}, {kind} {element}, i32 {i}")
        return self.define(
            value, f"insertelement {spelt} {vector}, {kind} {picked[-1]}, i32 {len(picked) - 1}")

    def element(self, value, index):
        if value.type.lanes == 1:
            return self.name(value)
        return self.step(f"extractelement {self.typed(value)}, i32 {index}")

    def op_iota(self, value):
        kind = value.type.kind
        if value.type.lanes == 1:
            return self.define(value, self.scalar_constant(0, value.type))
        scalar = value.type._replace(lanes=1)
        lanes = ", ".join(f"{KINDS[kind]} {constant(i, scalar)}" for i in range(value.type.lanes))
        spelt = llvm_type(value.type)
        return self.define(value, f"select i1 true, {spelt} <{lanes}>, {spelt} <{lanes}>")

    def scalar_constant(self, number, type):
        spelt, text = llvm_type(type), constant(number, type)
        return f"select i1 true, {spelt} {text}, {spelt} {text}"

    def op_lanes_below(self, value):
        lanes, count = value.type.lanes, self.name(value.args[0])
        if lanes == 1:
            return self.define(value, f"icmp sgt i64 {count}, 0")
        # 32 bits are enough once the count has been brought between 0 and the number of lanes.
        low = self.step(f"icmp slt i64 {count}, 0")
        positive = self.step(f"select i1 {low}, i64 0, i64 {count}")
        high = self.step(f"icmp sgt i64 {positive}, {lanes}")
        bounded = self.step(f"select i1 {high}, i64 {lanes}, i64 {positive}")
        short = self.step(f"trunc i64 {bounded} to i32")
        type = value.type.of("i32")
        spread = self.step(self.splatted(f"i32 {short}", type))
        numbers = ", ".join(f"i32 {i}" for i in range(lanes))
        return self.define(value, f"icmp slt {llvm_type(type)} <{numbers}>, {spread}")

    # Memory

    def op_offset(self, value):
        pointer, index = value.args
        kind = "i8" if value.attr == "i1" else KINDS[value.attr]
        self.define(value, f"getelementptr {kind}, ptr {self.name(pointer)}, {self.typed(index)}")

    def address(self, pointer, index, type):
        kind = memory_type(type._replace(lanes=1))
        return self.step(f"getelementptr {kind}, ptr {self.name(pointer)}, {self.typed(index)}")

    def op_load(self, value):
        pointer, index, *mask = value.args
        address = self.address(pointer, index, value.type)
        spelt = memory_type(value.type)
        if mask and value.type.lanes > 1:
            name = f"llvm.masked.load.{self.vector_suffix(value.type)}.p0"
            loaded = self.intrinsic(name, spelt, [
                ("ptr", address), ("i32", value.type.size),
                (llvm_type(mask[0].type), self.name(mask[0])), (spelt, "zeroinitializer"),
            ])
        elif mask:
            loaded = self.guarded_load(address, value.type, self.name(mask[0]))
        else:
            loaded = f"load {spelt}, ptr {address}, align {value.type.size}"
        self.from_memory(value, loaded)

    def from_memory(self, value, loaded):
        if value.type.kind == "i1":
            byte = self.step(loaded)
            spelt = memory_type(value.type)
            zero = constant(0, value.type.of("u8"))
            return self.define(value, f"icmp ne {spelt} {byte}, {zero}")
        return self.define(value, loaded)

    def guarded_load(self, address, type, mask):
        """A scalar load that a mask may exclude: by a branch."""
        body, after, before = self.fresh("when"), self.fresh("after"), self.label
        spelt = memory_type(type)
        self.line(f"br i1 {mask}, label %{body}, label %{after}")
        self.begin(body)
        loaded = self.step(f"load {spelt}, ptr {address}, align {type.size}")
        self.line(f"br label %{after}")
        self.begin(after)
        zero = constant(0, type.of("u8") if type.kind == "i1" else type)
        return f"phi {spelt} [ {loaded}, %{body} ], [ {zero}, %{before} ]"

    def vector_suffix(self, type):
        kind = memory_type(type._replace(lanes=1))
        return f"v{type.lanes}{SUFFIX.get(kind, kind)}"

    def to_memory(self, value):
        """The value as it lies in memory: ``(type, name)``."""
        spelt = memory_type(value.type)
        if value.type.kind == "i1":
            return spelt, self.step(f"zext {self.typed(value)} to {spelt}")
        return spelt, self.name(value)

    def op_store(self, value):
        stored, pointer, index, *mask = value.args
        address = self.address(pointer, index, stored.type)
        spelt, name = self.to_memory(stored)
        size = stored.type.size
        if value.attr == "stream":
            self.declarations["stream"] = "!0 = !{i32 1}"
            self.closing = ["  fence seq_cst"]  # such writes wait for nothing else
            whole = size * stored.type.lanes
            self.line(f"store {spelt} {name}, ptr {address}, align {whole}, !nontemporal !0")
        elif not mask:
            self.line(f"store {spelt} {name}, ptr {address}, align {size}")
        elif stored.type.lanes > 1:
            suffix = self.vector_suffix(stored.type)
            self.line(self.intrinsic(f"llvm.masked.store.{suffix}.p0", "void", [
                (spelt, name), ("ptr", address), ("i32", size),
                (llvm_type(mask[0].type), self.name(mask[0])),
            ]))
        else:
            self.guarded(self.name(mask[0]), f"store {spelt} {name}, ptr {address}, align {size}")

    def guarded(self, mask, line):
        """A line that a scalar mask may exclude: by a branch."""
        body, after = self.fresh("when"), self.fresh("after")
        self.line(f"br i1 {mask}, label %{body}, label %{after}")
        self.begin(body)
        self.line(line)
        self.line(f"br label %{after}")
        self.begin(after)

    def addresses(self, pointer, indices, type):
        kind = memory_type(type._replace(lanes=1))
        return self.step(f"getelementptr {kind}, ptr {self.name(pointer)}, {self.typed(indices)}")

    def op_gather(self, value):
        pointer, indices, *mask = value.args
        addresses = self.addresses(pointer, indices, value.type)
        spelt, lanes = memory_type(value.type), value.type.lanes
        if lanes == 1:
            loaded = self.guarded_load(addresses, value.type, self.name(mask[0])) if mask else (
                f"load {spelt}, ptr {addresses}, align {value.type.size}")
        else:
            guard = self.name(mask[0]) if mask else constant(True, value.type.of("i1"))
            suffix = self.vector_suffix(value.type)
            loaded = self.intrinsic(f"llvm.masked.gather.{suffix}.v{lanes}p0", spelt, [
                (f"<{lanes} x ptr>", addresses), ("i32", value.type.size),
                (f"<{lanes} x i1>", guard), (spelt, "zeroinitializer"),
            ])
        self.from_memory(value, loaded)

    def op_scatter(self, value):
        stored, pointer, indices, *mask = value.args
        addresses = self.addresses(pointer, indices, stored.type)
        spelt, name = self.to_memory(stored)
        lanes, size = stored.type.lanes, stored.type.size
        if lanes == 1:
            line = f"store {spelt} {name}, ptr {addresses}, align {size}"
            self.guarded(self.name(mask[0]), line) if mask else self.line(line)
            return
        guard = self.name(mask[0]) if mask else constant(True, stored.type.of("i1"))
        suffix = self.vector_suffix(stored.type)
        self.line(self.intrinsic(f"llvm.masked.scatter.{suffix}.v{lanes}p0", "void", [
            (spelt, name), (f"<{lanes} x ptr>", addresses), ("i32", size),
            (f"<{lanes} x i1>", guard),
        ]))

    def op_prefetch(self, value):
        pointer, index = value.args
        kind = KINDS[value.attr]
        address = self.step(f"getelementptr {kind}, ptr {self.name(pointer)}, {self.typed(index)}")
        self.line(self.intrinsic("llvm.prefetch.p0", "void", [
            ("ptr", address), ("i32", 0), ("i32", 3), ("i32", 1)]))

    # Conversions

    def op_convert(self, value):
        source = value.args[0]
        self.define(value, self.converted(self.name(source), source.type, value.type.kind))

    def converted(self, name, type, kind):
        """An expression for the value called `name`, of `type`, as another kind."""
        target = type.of(kind)
        if kind == "i1":
            compare = "fcmp une" if type.is_float and type.kind != "bf16" else "icmp ne"
            if type.kind == "bf16":
                return self.converted(self.step(self.widen_bf16(name, type)), type.of("f32"), kind)
            return f"{compare} {llvm_type(type)} {name}, {constant(0, type)}"
        if type.kind == "bf16":
            wide = self.step(self.widen_bf16(name, type))
            return self.recast(wide, type.of("f32"), kind)
        if kind in NARROW and type.kind != "f32":
            name, type = self.step(self.converted(name, type, "f32")), type.of("f32")
        if kind == "bf16":
            return self.narrow_bf16(name, type)
        spelt, wanted = llvm_type(type), llvm_type(target)
        if type.is_float and target.is_float:
            instruction = "fpext" if target.bits > type.bits else "fptrunc"
            return f"{instruction} {spelt} {name} to {wanted}"
        if target.is_float:
            instruction = "sitofp" if type.is_signed else "uitofp"
            return f"{instruction} {spelt} {name} to {wanted}"
        if type.is_float:
            return self.float_to_integer(name, type, target)
        return self.resize(name, type, target)

    def recast(self, name, type, kind):
        if type.kind == kind:
            spelt = llvm_type(type)
            return f"select i1 true, {spelt} {name}, {spelt} {name}"
        return self.converted(name, type, kind)

    def resize(self, name, type, target):
        spelt, wanted = llvm_type(type), llvm_type(target)
        if target.bits == type.bits:
            return f"select i1 true, {spelt} {name}, {spelt} {name}"
        if target.bits < type.bits:
            return f"trunc {spelt} {name} to {wanted}"
        return f"{'sext' if type.is_signed else 'zext'} {spelt} {name} to {wanted}"

    def float_to_integer(self, name, type, target):
        """x86's conversion: what does not fit becomes the smallest integer of the register."""
        wide = "i64" if target.kind in ("i64", "u64", "u32") else "i32"
        register = type.of(wide)
        limit = 2.0 ** (register.bits - 1)
        if target.kind == "u64":
            return self.float_to_u64(name, type, limit)
        integer = self.bounded_conversion(name, type, register, limit)
        return self.resize(self.step(integer), register, target)

    def bounded_conversion(self, name, type, register, limit):
        if type.kind == "f16":  # its range is within every register's
            name, type = self.step(self.converted(name, type, "f32")), type.of("f32")
        spelt, mask = llvm_type(type), llvm_type(type.of("i1"))
        above = self.step(f"fcmp oge {spelt} {name}, {constant(-limit, type)}")
        below = self.step(f"fcmp olt {spelt} {name}, {constant(limit, type)}")
        fits = self.step(f"and {mask} {above}, {below}")
        safe = self.step(
            f"select {mask} {fits}, {spelt} {name}, {spelt} {constant(0.0, type)}")
        whole = self.step(f"fptosi {spelt} {safe} to {llvm_type(register)}")
        smallest = constant(-int(limit), register)
        wanted = llvm_type(register)
        return f"select {mask} {fits}, {wanted} {whole}, {wanted} {smallest}"

    def float_to_u64(self, name, type, limit):
        """The upper half of the range goes through a subtraction of 2^63."""
        if type.kind == "f16":
            name, type = self.step(self.converted(name, type, "f32")), type.of("f32")
        spelt, mask = llvm_type(type), llvm_type(type.of("i1"))
        register = type.of("i64")
        big = self.step(f"fcmp oge {spelt} {name}, {constant(limit, type)}")
        less = self.step(f"fsub {spelt} {name}, {constant(limit, type)}")
        low = self.step(self.bounded_conversion(name, type, register, limit))
        high = self.step(self.bounded_conversion(less, type, register, limit))
        wanted = llvm_type(register)
        lifted = self.step(f"xor {wanted} {high}, {constant(-(2**63), register)}")
        return f"select {mask} {big}, {wanted} {lifted}, {wanted} {low}"

    def widen_bf16(self, name, type):
        """bfloat16 is the upper half of a float32."""
        narrow, bits, wide = (llvm_type(type.of(k)) for k in ("u16", "u32", "f32"))
        long = self.step(f"zext {narrow} {name} to {bits}")
        shifted = self.step(f"shl {bits} {long}, {constant(16, type.of('u32'))}")
        return f"bitcast {bits} {shifted} to {wide}"

    def narrow_bf16(self, name, type):
        """Round to nearest, halves to even; NaN stays NaN."""
        word = type.of("u32")
        spelt, bits, mask = llvm_type(type), llvm_type(word), llvm_type(type.of("i1"))
        raw = self.step(f"bitcast {spelt} {name} to {bits}")
        upper = self.step(f"lshr {bits} {raw}, {constant(16, word)}")
        odd = self.step(f"and {bits} {upper}, {constant(1, word)}")
        half = self.step(f"add {bits} {odd}, {constant(0x7FFF, word)}")
        rounded = self.step(f"add {bits} {raw}, {half}")
        cut = self.step(f"lshr {bits} {rounded}, {constant(16, word)}")
        quiet = self.step(f"or {bits} {upper}, {constant(0x40, word)}")
        nan = self.step(f"fcmp uno {spelt} {name}, {name}")
        chosen = self.step(f"select {mask} {nan}, {bits} {quiet}, {bits} {cut}")
        return f"trunc {bits} {chosen} to {llvm_type(type.of('u16'))}"
