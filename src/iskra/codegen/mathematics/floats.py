"""What the vector mathematics shares: formats, polynomials, exponents moved as integers.

Everything here works on values of the loop IR, of kind f32 or f64 and of any number of lanes, and
uses no fast-math: the bits are the same on every machine.
"""

from typing import NamedTuple

from iskra.codegen.ir import fma, select

INF = float("inf")
NAN = float("nan")


class Format(NamedTuple):
    """How a floating-point kind is laid out."""

    mantissa: int  # stored bits
    bias: int
    integer: str  # the signed kind of the same size
    least: float  # the smallest normal number

    @property
    def bits(self):
        """Of one number."""
        return 64 if self.integer == "i64" else 32

    @property
    def magic(self):
        """Added to a number, it rounds it to an integer, which the sum's lowest bits show."""
        return 1.5 * 2.0**self.mantissa

    @property
    def exponent_mask(self):
        """The bits of sign and exponent."""
        return -(1 << self.mantissa)

    def power(self, exponent):
        """The bits of a power of two."""
        return (self.bias + exponent) << self.mantissa


FORMATS = {
    "f32": Format(23, 127, "i32", 2.0**-126),
    "f64": Format(52, 1023, "i64", 2.0**-1022),
}


def format_of(x):
    """The format of a value's elements; NotImplementedError for what is not f32 or f64."""
    try:
        return FORMATS[x.type.kind]
    except KeyError:
        raise NotImplementedError(
            f"mathematics needs f32 or f64, not {x.type.kind}: convert first") from None


def constant(x, number):
    """A number as a value like x."""
    return x.function.const(number, x.type)


def polynomial(x, coefficients):
    """Horner's scheme: coefficients from the lowest power up."""
    *rest, result = coefficients
    for coefficient in reversed(rest):
        result = fma(result, x, coefficient)
    return result


def wide_polynomial(x, coefficients):
    """Estrin's scheme: fewer steps that wait for each other, for a multiplication or two more."""
    terms, power = list(coefficients), x
    while True:
        pairs = [fma(power, odd, even) for even, odd in zip(terms[::2], terms[1::2])]
        terms = pairs + terms[len(terms) & -2:]
        if len(terms) == 1:
            return terms[0]
        power = power * power


def at_least(x, low):
    """x, or a constant that is larger; NaN stays (one instruction on x86)."""
    return select(x < low, low, x)


def at_most(x, high):
    """x, or a constant that is smaller; NaN stays."""
    return select(x > high, high, x)


def bits_of(x):
    """The bits as signed integers."""
    return x.bits_as(format_of(x).integer)


def from_bits(bits, kind):
    """The numbers whose bits these integers are."""
    return bits.bits_as(kind)


def round_to_integer(x, scale, extra=0):
    """``rint(x * scale)`` as (number, bits that hold the same integer plus `extra`, lowest first).

    x * scale must be below 2^(mantissa - 1) in size.
    """
    magic = format_of(x).magic + extra
    shifted = x + magic if scale == 1.0 else fma(x, scale, magic)
    return shifted - magic, bits_of(shifted)


def power_of_two(bits, kind):
    """2^n as numbers, n + bias being in the lowest bits and 2^n a normal number.

    Multiply by it rather than add to the exponent: NaN must stay NaN.
    """
    return from_bits(bits << FORMATS[kind].mantissa, kind)
