"""Loop IR that adds up a product whose long sums were computed in parts.

Where the result is so small that it gives too few tasks, k is cut into parts of equal length. Each
is a product of its own, whose sums stay in memory side by side until they are added, one part
after the other.
"""

from typing import NamedTuple

from iskra.codegen.ir import Function, Type
from iskra.codegen.kernels.gemm_call import After, Arguments

# `sums`: an unrounded result for each part. Strides count elements.
POINTERS = ("sums", "c", "bias", "residual")
NUMBERS = ("parts", "rows", "columns", "c_row", "residual_row")
KINDS = "aaaaftn"


class Joined(NamedTuple):
    """All that the code depends on; kind: of the sums; into: of everything else."""

    kind: str
    lanes: int
    into: str
    after: After


def total(spec, name="total"):
    """The kernel that adds up the parts and finishes the result."""
    f = Function(name)
    arg = Arguments(f, POINTERS, NUMBERS, ("scale",))
    vector = Type(spec.kind, spec.lanes)
    memory = vector.of(spec.into)
    with f.loop(0, arg.rows) as row, f.loop(0, arg.columns, spec.lanes) as column:
        mask = f.lanes_below(arg.columns - column, spec.lanes)
        place, size = row * arg.columns + column, arg.rows * arg.columns
        value = f.variable(f.load(arg.sums, place, vector, mask), vector)
        with f.loop(1, arg.parts) as part:
            value.set(value.get() + f.load(arg.sums, part * size + place, vector, mask))

        def bias():
            return f.load(arg.bias, column, memory, mask).to(spec.kind)

        def residual():
            return f.load(arg.residual, row * arg.residual_row + column, memory,
                          mask).to(spec.kind)

        result = spec.after.apply(value.get(), lambda: arg.scale.to(spec.kind), bias, residual)
        f.store(result.to(spec.into), arg.c, row * arg.c_row + column, mask)
    return f
