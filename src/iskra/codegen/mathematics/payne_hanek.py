"""Large arguments of the trigonometric functions: M. Payne and R. Hanek's reduction (1983).

x = m 2^e with an integer m. Of the product of m with the binary digits of 2 / pi, those before a
certain place make multiples of 4, hence whole turns, and those after another are too small to
matter. So a window of the digits is multiplied, in integers, and what is above 4 wraps around.
"""

from iskra.codegen.ir import fma, larger
from iskra.codegen.mathematics.floats import bits_of, format_of

TWO_OVER_PI = 0.6366197723675814
# 32 zeros and then the digits of 2 / pi, in words of 32 bits.
DIGITS = (
    0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB,
    0xDEBBC561, 0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5,
    0x2EBB4484, 0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF,
    0xDE05980F, 0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7,
    0xEBE5F17B, 0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20,
)
# pi / 2 in two parts.
HALF_PI = (1.5707963267948966, 6.123233995736766e-17)


def large_argument(t):
    """(r, what r lacks, n modulo 4) with t = n pi / 2 + r, for t >= 2^17; NaN at infinity."""
    form = format_of(t)
    bits = bits_of(t)
    m = (bits & ((1 << form.mantissa) - 1)) | (1 << form.mantissa)
    # Digits up to weight 2^(2 - e) make multiples of 4.
    # (Lanes with smaller arguments are computed in vain, but must not read before the digits.)
    start = larger((bits >> form.mantissa) - (form.bias + form.mantissa + 2 - 32), 0)
    reduce = _reduce_32 if t.type.kind == "f32" else _reduce_64
    r, rest, n = reduce(m, start)
    # Infinity minus itself is NaN, and nothing else is changed.
    return r + (t - t), rest, n


def _window(start, words):
    """That many words of digits from a place on, as u64."""
    function, kind = start.function, "u64"
    table = function.scratch(start.type._replace(kind="u32", lanes=1), len(DIGITS))
    for place, word in enumerate(DIGITS):
        function.store(function.const(word, start.type._replace(kind="u32", lanes=1)), table, place)
    first = start >> 5
    shift = (start & 31).to(kind)
    found = [function.gather(table, first + k, "u32").to(kind) for k in range(words + 1)]
    low = 0xFFFFFFFF
    return [
        (((a << 32) | b) << shift) >> 32 & low for a, b in zip(found, found[1:])
    ]


def _reduce_32(m, start):
    high, middle, low = _window(start, 3)
    m = m.to("u64")
    # In units of 2^-62 of a quarter turn; whole turns overflow.
    turns = m * ((high << 32) | middle) + ((m * low) >> 32)
    n = (turns + (1 << 61)) >> 62
    angle = (turns - (n << 62)).to("i64").to("f64") * (HALF_PI[0] * 2.0**-62)
    r = angle.to("f32")
    return r, (angle - r.to("f64")).to("f32"), n.to("i32")


def _reduce_64(m, start):
    """As above, with six words of digits: 128 bits of the product are wanted."""
    digits = _window(start, 6)
    m = m.to("u64")
    low, high = m & 0xFFFFFFFF, m >> 32
    # Columns of 32 bits, the last first; what is above the topmost column is whole turns.
    carry, columns = None, []
    for k in reversed(range(6)):
        column = (low * digits[k]) & 0xFFFFFFFF
        if k < 5:
            column = column + ((low * digits[k + 1]) >> 32) + ((high * digits[k + 1]) & 0xFFFFFFFF)
        if k < 4:
            column = column + ((high * digits[k + 2]) >> 32)
        if carry is not None:
            column = column + carry
        columns.append(column & 0xFFFFFFFF)
        carry = column >> 32
    third, second, first, top = columns[2:]
    whole = (top << 32) | first
    n = (whole + (1 << 61)) >> 62
    signed = (whole - (n << 62)).to("i64")
    # The fraction, in units of a quarter turn: exact pieces, then a sum in two parts.
    pieces = (
        (signed >> 32).to("f64") * 2.0**-30, (signed & 0xFFFFFFFF).to("f64") * 2.0**-62,
        second.to("i64").to("f64") * 2.0**-94, third.to("i64").to("f64") * 2.0**-126,
    )
    a = pieces[0] + pieces[1]
    b = (pieces[1] - (a - pieces[0])) + (pieces[2] + pieces[3])
    part = a + b
    rest = b - (part - a)
    r = part * HALF_PI[0]
    error = fma(part, HALF_PI[0], -r) + fma(part, HALF_PI[1], rest * HALF_PI[0])
    return r, error, n.to("i64")
