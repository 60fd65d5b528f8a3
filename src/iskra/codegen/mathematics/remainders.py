"""Remainders, rounded quotients, signs and neighbours of numbers."""

from iskra.codegen.ir import copysign, floor, fma, select, trunc
from iskra.codegen.mathematics.floats import INF, bits_of, constant, format_of, from_bits


def fmod(x, y):
    """The remainder of x / y, rounded towards zero; exact, with the sign of x.

    NaN for y = 0 and for infinite x.
    """
    a, b = abs(x), abs(y)
    quotient = a / b
    # The quotient may have been rounded to the next integer; the remainder is exact all the same.
    rest = fma(-trunc(quotient), b, a)
    rest = select(rest < 0.0, rest + b, rest)
    result = x.function.variable(select(b.eq(INF) & (a < INF), a, rest))
    # Of larger quotients all integers cannot be told apart: the machine's remainder is slow.
    large = quotient > 2.0 ** (format_of(x).mantissa - 1)
    with x.function.when(large.any()):
        result.set(select(large, a % b, result.get()))
    return copysign(result.get(), x)


def remainder(x, y):
    """The remainder of x / y, rounded down: it has the sign of y."""
    rest = fmod(x, y)
    return select(_of_other_sign(rest, y), rest + y, rest)


def _of_other_sign(rest, y):
    return rest.ne(0.0) & ((rest < 0.0) ^ (y < 0.0))


def floor_divide(x, y):
    """x / y, rounded down; x / y itself for y = 0."""
    rest = fmod(x, y)
    quotient = (x - rest) / y
    quotient = select(_of_other_sign(rest, y), quotient - 1.0, quotient)
    # It is an integer but for its rounding.
    below = floor(quotient)
    result = select(quotient - below > 0.5, below + 1.0, below)
    plain = x / y
    result = select(quotient.eq(0.0), copysign(constant(x, 0.0), plain), result)
    return select(y.eq(0.0), plain, result)


def sign(x):
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    one = constant(x, 1.0)
    return select(x > 0.0, one, 0.0) - select(x < 0.0, one, 0.0)


def nextafter(x, y):
    """The number next to x on the way to y."""
    kind = x.type.kind
    bits = bits_of(x)
    one = bits.function.const(1, bits.type)
    outwards = (y > x) ^ (x < 0.0)
    moved = from_bits(bits + select(outwards, one, -1), kind)
    # From 0 it goes to the smallest number.
    moved = select(x.eq(0.0), copysign(from_bits(one, kind), y), moved)
    result = select(x.eq(y), y, moved)
    return select(x.eq(x) & y.eq(y), result, x + y)
