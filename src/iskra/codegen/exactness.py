"""Which primitives have one right answer, so that kernels and NumPy give the same bits.

Apart from `iskra.codegen.primitives`, because the compiler need not be loaded to know it.
"""

# Those of one right answer, which NumPy gives too; of the second set only as long as no other of it
# comes before or after, with which it might become one machine instruction.
EXACT = frozenset((
    "absolute", "bitwise_and", "bitwise_or", "bitwise_xor", "ceil", "copysign", "equal", "fabs",
    "floor", "greater", "greater_equal", "invert", "isfinite", "isinf", "isnan", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum",
    "negative", "not_equal", "positive", "rint", "sign", "signbit", "trunc", "where",
))
ROUNDED = frozenset(("add", "subtract", "multiply", "divide", "sqrt", "square", "reciprocal"))
