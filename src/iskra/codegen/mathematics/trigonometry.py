"""Sine, cosine and tangent.

The argument's size is brought to |r| <= pi / 4 by taking off the nearest multiple n of pi / 2:
for usual sizes with pi / 2 in three parts (Cody and Waite), for large ones with the digits of
2 / pi that matter (Payne and Hanek), a path that is taken only where a lane needs it. r is kept
in two parts, so that the results are within one unit in the last place.
"""

from iskra.codegen.ir import floor, fma, select
from iskra.codegen.mathematics import coefficients
from iskra.codegen.mathematics.floats import (
    bits_of,
    format_of,
    from_bits,
    polynomial,
    round_to_integer,
)
from iskra.codegen.mathematics.payne_hanek import TWO_OVER_PI, large_argument

# pi / 2 in three parts, each as good as the kind allows.
HALF_PI = {
    "f32": (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    "f64": (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# Beyond, n would be too large for the three parts.
LARGE = {"f32": 2.0**17, "f64": 2.0**27}


def _reduced(x):
    """(r, what r lacks, integers of which the lowest two bits are n's) of the size of x."""
    kind = x.type.kind
    t = abs(x)
    first, second, third = HALF_PI[kind]
    n, bits = round_to_integer(t, TWO_OVER_PI)
    exact = fma(n, -first, t)
    product = n * second
    r = exact - product
    # What the product and the difference have lost, and the third part.
    rest = fma(n, -third, ((exact - r) - product) - fma(n, second, -product))
    function = x.function
    large = t > LARGE[kind]
    parts = [function.variable(v) for v in (r, rest, bits)]
    with function.when(large.any()):
        for part, other in zip(parts, large_argument(t)):
            part.set(select(large, other, part.get()))
    return [part.get() for part in parts]


def _sine(r, rest):
    s = r * r
    return r + fma(r * s, polynomial(s, coefficients.SIN[r.type.kind]), rest)


def _cosine(r, rest):
    # 1 - r^2 / 2 in two parts: its roundings would cost half a unit.
    half = r * 0.5
    parabola = fma(-half, r, 1.0)
    lost = fma(-half, r, 1.0 - parabola) - r * rest
    s = r * r
    return parabola + fma(s * s, polynomial(s, coefficients.COS[r.type.kind]), lost)


def _signed(value, flips):
    """The value with its sign turned where the topmost bit of these integers is set."""
    sign = 1 << format_of(value).bits - 1
    return from_bits(bits_of(value) ^ (flips & -sign), value.type.kind)


def sin(x):
    """The sine; NaN of infinities."""
    r, rest, n = _reduced(x)
    value = select((n & 1).ne(0), _cosine(r, rest), _sine(r, rest))
    return _signed(value, (n << format_of(x).bits - 2) ^ bits_of(x))


def cos(x):
    """The cosine; NaN of infinities."""
    r, rest, n = _reduced(x)
    value = select((n & 1).ne(0), _sine(r, rest), _cosine(r, rest))
    return _signed(value, (n + 1) << format_of(x).bits - 2)


def sin_and_cos(x):
    """Both, by one reduction; NaN of infinities."""
    r, rest, n = _reduced(x)
    sine, cosine = _sine(r, rest), _cosine(r, rest)
    odd, high = (n & 1).ne(0), format_of(x).bits - 2
    return (_signed(select(odd, cosine, sine), (n << high) ^ bits_of(x)),
            _signed(select(odd, sine, cosine), (n + 1) << high))


def tan(x):
    """The tangent; NaN of infinities."""
    r, rest, n = _reduced(x)
    sine, cosine = _sine(r, rest), _cosine(r, rest)
    odd = (n & 1).ne(0)
    value = select(odd, cosine, sine) / select(odd, sine, cosine)
    return _signed(value, (n << format_of(x).bits - 1) ^ bits_of(x))


PI = 3.141592653589793
# What the nearest number lacks.
PI_REST = {"f32": -8.742277657347586e-08, "f64": 1.2246467991473532e-16}


def sinc(x):
    """sin(pi x) / (pi x), and 1 at 0; the product with pi is rounded, as in PyTorch."""
    angle = x * PI
    return select(x.eq(0.0), 1.0, sin(angle) / angle)


def sin_and_cos_pi(x):
    """sin(pi x) and cos(pi x) for finite x >= 0, good to a few units also about their zeros."""
    turn = x - 2.0 * floor(x * 0.5)
    n, bits = round_to_integer(turn, 2.0)
    angle = fma(n, -0.5, turn)
    r = angle * PI
    rest = fma(angle, PI, -r) + angle * PI_REST[x.type.kind]
    sine, cosine = _sine(r, rest), _cosine(r, rest)
    odd = (bits & 1).ne(0)
    high = format_of(x).bits - 2
    return (_signed(select(odd, cosine, sine), bits << high),
            _signed(select(odd, sine, cosine), (bits + 1) << high))
