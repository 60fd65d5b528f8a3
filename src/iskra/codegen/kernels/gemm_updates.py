"""Loop IR for products of very few rows with a matrix that comes from main memory.

Nothing is used twice, so all that counts is that B is read as memory likes it: some rows of B side
by side, each from its beginning to its end. The rows of the result are updated with all of these
at once.
"""

from typing import NamedTuple

from iskra.codegen.ir import Function, Type
from iskra.codegen.kernels.gemm_call import After, Arguments
from iskra.codegen.kernels.gemm_tiles import Machine

POINTERS = ("a", "b", "c", "bias", "residual")
NUMBERS = ("columns", "inner", "a_row", "a_inner", "b_inner", "c_row", "residual_row", "parts")
KINDS = "aaaaaftn"
MOST_ROWS = 3


class Updates(NamedTuple):
    """All that the code depends on; kind: of all operands and of the sums."""

    machine: Machine
    kind: str
    rows: int
    after: After


def together(spec):
    """How many rows of B are read side by side: their factors stay in registers.

    >>> from iskra.codegen.kernels.gemm_tiles import AVX2, AVX512
    >>> [together(Updates(AVX512, "f32", rows, After())) for rows in (1, 2, 3)]
    [12, 12, 8]
    >>> together(Updates(AVX2, "f32", 2, After()))
    4
    """
    free = spec.machine.registers - spec.rows - 2
    return max(2, min(12, free // spec.rows // 4 * 4))


def product(spec, name="updates"):
    """The kernel that computes a share of the result's columns."""
    f = Function(name)
    arg = Arguments(f, POINTERS, NUMBERS, ("scale",))
    first = arg.columns * f.task // arg.parts
    last = arg.columns * (f.task + 1) // arg.parts
    outs = [f.offset(arg.c, i * arg.c_row, spec.kind) for i in range(spec.rows)]
    whole = arg.inner - arg.inner % together(spec)
    with f.loop(0, whole, together(spec)) as k:
        _update(f, arg, spec, outs, (first, last), k, together(spec))
    with f.loop(whole, arg.inner) as k:
        _update(f, arg, spec, outs, (first, last), k, 1)
    if any(spec.after):
        _finish(f, arg, spec, outs, (first, last))
    return f


def _update(f, arg, spec, outs, columns, k, count):
    """Add what `count` k's bring to the results; before the first they count as 0."""
    kind, lanes = spec.kind, spec.machine.lanes(spec.kind)
    vector = Type(kind, lanes)
    factors = [[f.load(arg.a, i * arg.a_row + (k + r) * arg.a_inner, Type(kind)).splat(lanes)
                for r in range(count)] for i in range(spec.rows)]
    lines = [f.offset(arg.b, (k + r) * arg.b_inner, kind) for r in range(count)]
    begun = (k > 0).splat(lanes)
    with f.loop(*columns, lanes) as j:
        mask = f.lanes_below(columns[1] - j, lanes)
        totals = [f.load(out, j, vector, mask & begun) for out in outs]
        for r, line in enumerate(lines):
            values = f.load(line, j, vector, mask)
            totals = [spec.machine.add_product(row[r], values, total)
                      for row, total in zip(factors, totals)]
        for out, total in zip(outs, totals):
            f.store(total, out, j, mask)


def _finish(f, arg, spec, outs, columns):
    kind, lanes = spec.kind, spec.machine.lanes(spec.kind)
    vector = Type(kind, lanes)
    for i, out in enumerate(outs):
        with f.loop(*columns, lanes) as j:
            mask = f.lanes_below(columns[1] - j, lanes)

            def bias(j=j, mask=mask):
                return f.load(arg.bias, j, vector, mask)

            def residual(j=j, mask=mask, start=i * arg.residual_row):
                return f.load(arg.residual, j + start, vector, mask)

            value = spec.after.apply(f.load(out, j, vector, mask), lambda: arg.scale.to(kind),
                                     bias, residual)
            f.store(value, out, j, mask)
