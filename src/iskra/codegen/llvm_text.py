"""LLVM's assembly language: how types and constants are spelt, and a writer of instructions."""

import struct

from iskra.codegen import semantics
from iskra.codegen.ir import NARROW

KINDS = {
    "i1": "i1", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64",
    "u8": "i8", "u16": "i16", "u32": "i32", "u64": "i64",
    # bfloat16 is carried as its bits: not every target computes with it, and none needs to.
    "f16": "half", "bf16": "i16", "f32": "float", "f64": "double", "ptr": "ptr",
}
SUFFIX = {"half": "f16", "float": "f32", "double": "f64", "ptr": "p0"}


def llvm_type(type):
    """LLVM's spelling of a type in a register."""
    kind = KINDS[type.kind]
    return kind if type.lanes == 1 else f"<{type.lanes} x {kind}>"


def memory_type(type):
    """LLVM's spelling of a type in memory: bools are bytes there."""
    return llvm_type(type.of("u8") if type.kind == "i1" else type)


def constant(number, type):
    """LLVM's spelling of a constant."""
    kind = type.kind
    if kind == "i1":
        element = "true" if number else "false"
    elif kind in ("f32", "f64"):
        # LLVM writes floats as the bits of the double with that value.
        if kind == "f32":
            number = _to_float32(number)
        element = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    elif kind in NARROW:
        bits = semantics.constant(number, type).view("u2")[0]
        element = f"0xH{bits:04X}" if kind == "f16" else str(bits)
    elif kind == "ptr":
        element = "null"
    else:
        element = str(number)
    if type.lanes == 1:
        return element
    return "<" + ", ".join([f"{KINDS[kind]} {element}"] * type.lanes) + ">"


def _to_float32(number):
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


class Writer:
    """The lines of one function; `declarations` is shared by all functions of a module."""

    def __init__(self, declarations):
        self.declarations = declarations
        self.lines = []
        self.count = 0
        self.label = "body"  # of the block that is being written

    def line(self, text):
        """One line, as it stands."""
        self.lines.append("  " + text)

    def fresh(self, prefix="t"):
        """A name that is not taken."""
        self.count += 1
        return f"{prefix}{self.count}"

    def step(self, expression):
        """One helping instruction; its name."""
        name = "%" + self.fresh()
        self.line(f"{name} = {expression}")
        return name

    def define(self, value, expression):
        """The instruction that makes a value of the loop IR."""
        self.line(f"%v{value.number} = {expression}")

    def name(self, value):
        """What a value of the loop IR is called."""
        if value.op == "const":
            return constant(value.attr, value.type)
        return "%task" if value.op == "task" else f"%v{value.number}"

    def typed(self, value):
        """Its type and its name, as LLVM wants a first operand."""
        return f"{llvm_type(value.type)} {self.name(value)}"

    def intrinsic(self, name, result, arguments):
        """A call of an LLVM intrinsic; `arguments` are ``(type, name)`` pairs."""
        types = ", ".join(t for t, _ in arguments)
        self.declarations[name] = f"declare {result} @{name}({types})"
        return f"call {result} @{name}(" + ", ".join(f"{t} {n}" for t, n in arguments) + ")"

    def begin(self, label):
        """Start a block."""
        self.lines.append(f"{label}:")
        self.label = label
