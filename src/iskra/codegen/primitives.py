"""The primitives: what each NumPy function on elements is in the loop IR.

`PRIMITIVES` maps a ufunc's name (SciPy's too) to a function of IR values, which have arrived in the
dtypes that NumPy would compute in. Longer mathematics stands in `iskra.codegen.mathematics`.
"""

import math

import numpy as np

from iskra.codegen import ir
from iskra.codegen.ir import select
from iskra.codegen.mathematics import FUNCTIONS

_LOG2_E = 1 / math.log(2)

# NumPy's dtype names -> kinds of the IR.
KINDS = {
    "bool": "i1", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8",
    "uint16": "u16", "uint32": "u32", "uint64": "u64", "float16": "f16", "bfloat16": "bf16",
    "float32": "f32", "float64": "f64",
}


def kind_of(dtype):
    """The IR's kind for a NumPy dtype."""
    return KINDS[dtype.name]


def _is_bool(x):
    return x.type.kind == "i1"


def _is_float(x):
    return x.type.is_float


def add(a, b):
    """The sum; of bools, whether either is true."""
    return a | b if _is_bool(a) else a + b


def multiply(a, b):
    """The product; of bools, whether both are true."""
    return a & b if _is_bool(a) else a * b


def _extreme(a, b, further):
    """`further` of the two, one machine instruction that gives its second operand if either is NaN.

    So NaN must be looked for in the first operand only, and not if that is a number of the program.
    """
    if b.op == "const" and a.op != "const":
        a, b = b, a
    if not _is_float(a) or a.op == "const" and a.attr == a.attr:
        return further(a, b)
    return select(a.ne(a), a, further(a, b))


def maximum(a, b):
    """The larger; NaN if either is NaN."""
    if _is_bool(a):
        return a | b
    return _extreme(a, b, lambda x, y: select(x > y, x, y))


def minimum(a, b):
    """The smaller; NaN if either is NaN."""
    if _is_bool(a):
        return a & b
    return _extreme(a, b, lambda x, y: select(x < y, x, y))


def fmax(a, b):
    """The larger; the other one where one is NaN."""
    if not _is_float(a):
        return maximum(a, b)
    return select(isnan(a), b, select(isnan(b), a, ir.maximum(a, b)))


def fmin(a, b):
    """The smaller; the other one where one is NaN."""
    if not _is_float(a):
        return minimum(a, b)
    return select(isnan(a), b, select(isnan(b), a, ir.minimum(a, b)))


def isnan(x):
    """Whether it is NaN; integers never are."""
    return x.ne(x)


def isinf(x):
    """Whether it is an infinity."""
    return abs(x).eq(float("inf")) if _is_float(x) else x.ne(x)


def isfinite(x):
    """Whether it is neither an infinity nor NaN."""
    return abs(x) < float("inf") if _is_float(x) else x.eq(x)


def sign(x):
    """-1, 0 or 1; NaN stays."""
    if not x.type.is_float and not x.type.is_signed:
        return select(x.ne(0), x * 0 + 1, x * 0)
    signed = select(x > 0, _number(x, 1), select(x < 0, _number(x, -1), _number(x, 0)))
    return select(isnan(x), x, signed) if _is_float(x) else signed


def _number(like, number):
    return like.function.const(number, like.type)


def heaviside(x, half):
    """0 below zero, `half` at it, 1 above."""
    step = select(x < 0, _number(x, 0), select(x.eq(0), half, _number(x, 1)))
    return select(isnan(x), x, step)


def absolute(x):
    """The magnitude."""
    return x if _is_bool(x) else abs(x)


def logical_not(x):
    """Whether it is zero."""
    return ~x if _is_bool(x) else x.eq(0)


def _truth(x):
    return x if _is_bool(x) else x.ne(0)


def floor_divide(a, b):
    """The quotient of integers, rounded down; 0 where the divisor is."""
    quotient = a // b
    return select(_is_over(a, b), quotient - 1, quotient)


def remainder(a, b):
    """What `floor_divide` leaves: it has the divisor's sign."""
    rest = a % b
    return select(_is_over(a, b), rest + b, rest)


def _is_over(a, b):
    """Whether truncated division rounds up: something is left, and the signs differ."""
    rest = a % b
    if not a.type.is_signed:
        return rest.ne(rest)
    return rest.ne(0) & ((rest ^ b) < 0)


def entr(x):
    """-x log(x); 0 at 0, -inf below."""
    inside = select(x > 0, -x * FUNCTIONS["log"](x), _number(x, 0))
    return select(x < 0, _number(x, -float("inf")), select(isnan(x), x, inside))


def xlogy(x, y):
    """x log(y); 0 where x is, unless y is NaN."""
    return _unless_zero(x, y, FUNCTIONS["log"])


def xlog1py(x, y):
    """x log(1 + y); 0 where x is, unless y is NaN."""
    return _unless_zero(x, y, FUNCTIONS["log1p"])


def _unless_zero(x, y, logarithm):
    product = x * logarithm(y)
    return select(x.eq(0) & y.eq(y), _number(x, 0), product)


def logaddexp2(x, y):
    """log2(2**x + 2**y)."""
    larger = select(x > y, x, y)
    rest = FUNCTIONS["log1p"](FUNCTIONS["exp2"](-abs(x - y)))
    return select(x.eq(y), x + 1, larger + rest * _LOG2_E)  # equal infinities too


def signbit(x):
    """Whether the sign bit is set."""
    bits = x.bits_as("i32" if x.type.kind == "f32" else "i64")
    return bits < 0


def _rounding(function):
    return lambda x: function(x) if _is_float(x) else x


PRIMITIVES = {
    "add": add, "subtract": lambda a, b: a - b, "multiply": multiply,
    "divide": lambda a, b: a / b, "negative": lambda x: -x, "positive": lambda x: x,
    "absolute": absolute, "fabs": abs, "square": lambda x: x * x,
    "reciprocal": lambda x: 1.0 / x, "sqrt": ir.sqrt, "sign": sign, "heaviside": heaviside,
    "maximum": maximum, "minimum": minimum, "fmax": fmax, "fmin": fmin,
    "floor": _rounding(ir.floor), "ceil": _rounding(ir.ceil), "trunc": _rounding(ir.trunc),
    "rint": _rounding(ir.rint), "copysign": ir.copysign, "signbit": signbit,
    "isnan": isnan, "isinf": isinf, "isfinite": isfinite,
    "less": lambda a, b: a < b, "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b, "greater_equal": lambda a, b: a >= b,
    "equal": lambda a, b: a.eq(b), "not_equal": lambda a, b: a.ne(b),
    "logical_and": lambda a, b: _truth(a) & _truth(b),
    "logical_or": lambda a, b: _truth(a) | _truth(b),
    "logical_xor": lambda a, b: _truth(a) ^ _truth(b), "logical_not": logical_not,
    "bitwise_and": lambda a, b: a & b, "bitwise_or": lambda a, b: a | b,
    "bitwise_xor": lambda a, b: a ^ b, "invert": lambda x: ~x,
    "left_shift": lambda a, b: a << b, "right_shift": lambda a, b: a >> b,
    "entr": entr, "xlogy": xlogy, "xlog1py": xlog1py, "logaddexp2": logaddexp2,
    "where": select,
}
# Of integers; what floats have under these names stands in `iskra.codegen.mathematics`.
_OF_INTEGERS = {"floor_divide": floor_divide, "remainder": remainder, "fmod": lambda a, b: a % b}

# NumPy's and SciPy's names of the functions in `iskra.codegen.mathematics`.
_NAMES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "power": "pow", "float_power": "pow",
    "gammaln": "lgamma", "psi": "digamma", "expit": "sigmoid",
}
_MATHEMATICS = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin",
    "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "erf",
    "erfc", "erfinv", "power", "hypot", "gammaln", "psi", "digamma", "expit", "logaddexp", "cbrt",
    "remainder", "fmod", "floor_divide", "nextafter", "gelu", "gelu_tanh", "erfcx", "ndtr",
    "log_ndtr", "ndtri", "i0", "i0e", "i1", "i1e", "k0", "k0e", "k1", "k1e", "j0", "j1", "y0", "y1",
    "airy_ai", "trigamma", "zeta", "gammainc", "gammaincc",
)


def _by_kind(name, of_floats, of_integers):
    """What floats and what integers have; where one is missing, the reference tier serves."""

    def build(*operands):
        function = of_floats if all(map(_is_float, operands)) else of_integers
        if function is None:
            raise NotImplementedError(f"{name} of these operands")
        return function(*operands)

    return build


for _name in _MATHEMATICS:
    _found = FUNCTIONS.get(_NAMES.get(_name, _name)), _OF_INTEGERS.get(_name)
    if any(_found):
        PRIMITIVES[_name] = _by_kind(_name, *_found)

# Primitives that cost many instructions: worth keeping rather than computing again.
EXPENSIVE = frozenset((*_MATHEMATICS, "entr", "xlogy", "xlog1py", "logaddexp2"))


def identity(name, dtype):
    """What a reduction begins with."""
    if name in ("add", "logical_or"):
        return 0
    if name in ("multiply", "logical_and"):
        return 1
    low = name in ("maximum", "argmax")
    if dtype.kind == "f":
        return -float("inf") if low else float("inf")
    if dtype.kind == "b":
        return not low
    limits = np.iinfo(dtype)
    return int(limits.min if low else limits.max)
