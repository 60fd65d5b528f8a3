"""The primitives: what each NumPy function on elements is in the loop IR.

`PRIMITIVES` maps a ufunc's name (SciPy's too) to a function of IR values, which have arrived in the
dtypes that NumPy would compute in. Longer mathematics stands in `iskra.codegen.mathematics`.
"""

import numpy as np

from iskra.codegen import ir
from iskra.codegen.ir import select
from iskra.codegen.mathematics import FUNCTIONS

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


def maximum(a, b):
    """The larger; NaN if either is NaN."""
    if _is_bool(a):
        return a | b
    return ir.maximum(a, b) if _is_float(a) else select(a > b, a, b)


def minimum(a, b):
    """The smaller; NaN if either is NaN."""
    if _is_bool(a):
        return a & b
    return ir.minimum(a, b) if _is_float(a) else select(a < b, a, b)


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


def power_of_integers(base, exponent):
    """Integers to non-negative powers wrap around; left to the reference tier."""
    raise NotImplementedError


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
    "where": select,
}

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
    "remainder", "fmod", "floor_divide", "nextafter",
)


def _of_floats(function):
    """Only floats: what needs integers raises, and its operator stays on the reference tier."""

    def build(*operands):
        if not all(map(_is_float, operands)):
            raise NotImplementedError
        return function(*operands)

    return build


for _name in _MATHEMATICS:
    _found = FUNCTIONS.get(_NAMES.get(_name, _name))
    if _found is not None:
        PRIMITIVES[_name] = _of_floats(_found)

# Primitives that cost many instructions: worth keeping rather than computing again.
EXPENSIVE = frozenset(_MATHEMATICS)


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
