"""The machine code of normal samples and of the C library's functions on arrays, as LLVM IR.

The float32 kernel does what `iskra.runtime.normal` does in NumPy, operation for operation: see
there for the formulas. A block is 16 words of the stream: 8 for radii, 8 for angles; two blocks are
made at a time.

The other kernels call the C library's `log`, `cos`, ... for each element, as the module `math`
does: no formula of our own would have the same last bits.
"""

from string import Template

import numpy as np

from iskra.runtime.normal import (
    FOUR_OVER_PI,
    LN2_HIGH,
    LN2_LOW,
    LOG,
    QUARTER,
    ROOT_HALF_BITS,
    TRIG,
    TWO_PI,
)
from iskra.runtime.random_ir import TWISTER, WIDTH, Kernel, hexadecimal, splat

_V, _F4 = f"<{WIDTH} x i32>", f"<{WIDTH} x float>"
_PAIR = f"<{2 * WIDTH} x float>"


class _Floats:
    """Arithmetic on vectors of 16 float32 numbers, each operation rounded once."""

    def __init__(self, lines):
        self.lines = lines

    def constant(self, value):
        return splat("float", hexadecimal(float(np.float32(value))))

    def do(self, operation, a, b):
        return self.lines(f"{operation} {_F4} {a}, {b}")

    def times(self, a, b):
        return self.do("fmul", a, b)

    def plus(self, a, b):
        return self.do("fadd", a, b)

    def minus(self, a, b):
        return self.do("fsub", a, b)

    def fma(self, a, b, c):
        return self.lines(
            f"call {_F4} @llvm.fma.v16f32({_F4} {a}, {_F4} {b}, {_F4} {c})"
        )

    def whole(self, operation, a, number):
        return self.lines(f"{operation} {_V} {a}, {splat('i32', number)}")

    def bits(self, a):
        return self.lines(f"bitcast {_F4} {a} to {_V}")

    def of_bits(self, a):
        return self.lines(f"bitcast {_V} {a} to {_F4}")

    def of_whole(self, a):
        return self.lines(f"sitofp {_V} {a} to {_F4}")

    def select(self, condition, a, b):
        return self.lines(f"select <{WIDTH} x i1> {condition}, {_F4} {a}, {_F4} {b}")


def _radii(f, units):
    """``sqrt(-2 log(1 - u))``."""
    c = f.constant
    bits = f.bits(f.minus(c(1), units))
    exponent = f.whole("ashr", f.whole("sub", bits, int(ROOT_HALF_BITS)), 23)
    shifted = f.whole("shl", exponent, 23)
    x = f.minus(f.of_bits(f.lines(f"sub {_V} {bits}, {shifted}")), c(1))
    exponent = f.of_whole(exponent)
    square = f.times(x, x)
    y = c(LOG[0])
    for coefficient in LOG[1:]:
        y = f.fma(y, x, c(coefficient))
    y = f.times(y, x)
    y = f.fma(y, square, f.times(exponent, c(LN2_LOW)))
    y = f.minus(y, f.times(square, c(0.5)))
    x = f.plus(x, y)
    x = f.plus(x, f.times(exponent, c(LN2_HIGH)))
    x = f.times(x, c(-2))
    return f.lines(f"call {_F4} @llvm.sqrt.v16f32({_F4} {x})")


def _cos_sin(f, units):
    """Cosine and sine of ``2 pi u``."""
    c = f.constant
    angle = f.times(units, c(TWO_PI))
    octant = f.lines(f"fptosi {_F4} {f.times(angle, c(FOUR_OVER_PI))} to {_V}")
    octant = f.whole("and", f.whole("add", octant, 1), -2)
    steps = f.of_whole(octant)
    for part in QUARTER[:2]:
        angle = f.minus(angle, f.times(steps, c(part)))
    x = f.fma(steps, c(-QUARTER[2]), angle)
    square = f.times(x, x)
    waves = []
    for column, factor, last in ((0, square, f.times(square, c(-0.5))), (1, x, x)):
        first, second, third = (c(row[column, 0]) for row in TRIG)
        y = f.fma(f.fma(square, first, second), square, third)
        waves.append(f.fma(f.times(y, square), factor, last))
    cosine, sine = f.plus(waves[0], c(1)), waves[1]
    return _turned(f, cosine, sine, f.whole("lshr", octant, 1))


def _turned(f, cosine, sine, quarter):
    """Cosine and sine after so many quarter turns."""
    odd = f.lines(f"trunc {_V} {quarter} to <{WIDTH} x i1>")
    turned = []
    for a, b, ahead in ((cosine, sine, 1), (sine, cosine, 0)):
        value = f.select(odd, b, a)
        sign = f.whole("shl", f.whole("and", f.whole("add", quarter, ahead), 2), 30)
        turned.append(f.of_bits(f.lines(f"xor {_V} {f.bits(value)}, {sign}")))
    return turned


def _scaled(f, wave, std, mean, has_mean):
    """``wave * std + mean``; where the mean is 0, the product is rounded before it is added."""
    plain = f.plus(f.times(wave, std), mean)
    return f.select(has_mean, f.fma(wave, std, mean), plain)


def _normal32():
    kernel = Kernel("normal32", "float", step=2 * WIDTH)
    f = _Floats(kernel.body)
    std, mean = kernel.parameter(0, "float"), kernel.parameter(1, "float")
    has_mean = kernel.head(f"fcmp une {_F4} {mean}, zeroinitializer")
    units = []
    for first in (0, 8):
        places = [first + lane + 8 * (lane >= 8) for lane in range(WIDTH)]
        words = f.lines(
            f"shufflevector <32 x i32> %drawn, <32 x i32> undef, "
            f"{_V} <{', '.join(f'i32 {place}' for place in places)}>"
        )
        low = f.of_whole(f.whole("and", words, (1 << 24) - 1))
        units.append(f.times(low, f.constant(2.0 ** -24)))
    radii = _radii(f, units[0])
    waves = [_scaled(f, f.times(wave, radii), std, mean, has_mean)
             for wave in _cos_sin(f, units[1])]
    places = [*range(8), *range(16, 24), *range(8, 16), *range(24, 32)]
    return kernel.text(f.lines(
        f"shufflevector {_F4} {waves[0]}, {_F4} {waves[1]}, "
        f"<32 x i32> <{', '.join(f'i32 {place}' for place in places)}>"
    ))


# A kernel that changes an array of $count float64 numbers in place: a task for each $per_task of
# them, so that it may run on several threads. Each turn of the loop sees to $step elements.
_IN_PLACE = Template("""
define void @$name(ptr %slots, i64 %task) {
entry:
  %array = load ptr, ptr %slots
  %count_slot = getelementptr i64, ptr %slots, i64 1
  %count = load i64, ptr %count_slot
$head
  %start = mul i64 %task, $per_task
  %full_end = add i64 %start, $per_task
  %end = call i64 @llvm.umin.i64(i64 %full_end, i64 %count)
  br label %look
look:
  %index = phi i64 [%start, %entry], [%next, %each]
  %more = icmp ult i64 %index, %end
  br i1 %more, label %each, label %done
each:
$body
  %next = add i64 %index, $step
  br label %look
done:
  ret void
}
""")

PER_TASK = 1 << 14


def _in_place(name, body, step=1, head=""):
    return _IN_PLACE.substitute(name=name, body=body, step=step, head=head, per_task=PER_TASK)


def _map(name):
    """A function of the C library on each element."""
    return f"declare double @{name}(double)" + _in_place(f"map_{name}", f"""\
  %place = getelementptr double, ptr %array, i64 %index
  %value = load double, ptr %place
  %result = call double @{name}(double %value)
  store double %result, ptr %place""")


# ``array[i] * factor + term``, rounded once.
_FMA = _in_place("fma64", head="""\
  %factor_slot = getelementptr i64, ptr %slots, i64 2
  %factor = load double, ptr %factor_slot
  %term_slot = getelementptr i64, ptr %slots, i64 3
  %term = load double, ptr %term_slot""", body="""\
  %place = getelementptr double, ptr %array, i64 %index
  %value = load double, ptr %place
  %result = call double @llvm.fma.f64(double %value, double %factor, double %term)
  store double %result, ptr %place""")


def _box_muller(name, places, share, turn, logarithm):
    """From uniform numbers to normal ones; `places` says where the %first and %second lie."""
    return _in_place(name, step=2, body=f"""\
{places}
  %first_place = getelementptr double, ptr %array, i64 %first
  %second_place = getelementptr double, ptr %array, i64 %second
  %share = load double, ptr %{share}_place
  %turn = load double, ptr %{turn}_place
{logarithm}
  %square = fmul double %log, -2.0
  %radius = call double @llvm.sqrt.f64(double %square)
  %angle = fmul double %turn, {hexadecimal(TWO_PI)}
  %cosine = call double @cos(double %angle)
  %sine = call double @sin(double %angle)
  %x = fmul double %radius, %cosine
  %y = fmul double %radius, %sine
  store double %x, ptr %first_place
  store double %y, ptr %second_place""")


_IN_BLOCKS = _box_muller("normal_blocks", share="first", turn="second", places="""\
  %block = and i64 %index, -16
  %pair_twice = and i64 %index, 15
  %pair = lshr i64 %pair_twice, 1
  %first = add i64 %block, %pair
  %second = add i64 %first, 8""", logarithm="""\
  %rest = fsub double 1.0, %share
  %log = call double @log(double %rest)""")

_IN_PAIRS = _box_muller("normal_pairs", share="second", turn="first", places="""\
  %first = add i64 %index, 0
  %second = add i64 %index, 1""", logarithm="""\
  %less = fneg double %share
  %log = call double @log1p(double %less)""")

FUNCTIONS = ("log", "log1p", "exp", "cos", "sin", "tan")

_DECLARATIONS = f"""
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare {_F4} @llvm.fma.v16f32({_F4}, {_F4}, {_F4})
declare {_F4} @llvm.sqrt.v16f32({_F4})
declare double @llvm.sqrt.f64(double)
declare double @llvm.fma.f64(double, double, double)
"""


def text():
    """The IR of these kernels."""
    return "".join((
        TWISTER, _DECLARATIONS, _normal32(),
        _IN_BLOCKS, _IN_PAIRS, _FMA, *map(_map, FUNCTIONS),
    ))
