"""What each operation of the loop IR computes, on NumPy arrays with an element for each lane.

This is the definition that machine code is tested against, bit for bit; only the bits of a NaN
that arithmetic makes are left open, as processors differ. Integers wrap around. Where machines
disagree, there is one answer nevertheless:

- division by zero gives 0, and so does its remainder; the smallest integer divided by -1 is itself;
- shifts by the width or more (or by less than 0) shift everything out: 0, or copies of the sign;
- floats that do not fit an integer become what x86's conversion makes of them (`convert`).
"""

from fractions import Fraction

import numpy as np

from iskra.core import dtypes

_DTYPES = {
    "i1": dtypes.bool_, "i8": dtypes.int8, "i16": dtypes.int16, "i32": dtypes.int32,
    "i64": dtypes.int64, "u8": dtypes.uint8, "u16": dtypes.uint16, "u32": dtypes.uint32,
    "u64": dtypes.uint64, "f16": dtypes.float16, "bf16": dtypes.bfloat16, "f32": dtypes.float32,
    "f64": dtypes.float64,
}
_F4, _F8 = np.float32, np.float64


def numpy_dtype(kind):
    """The NumPy dtype of a kind of element.

    >>> numpy_dtype("i1"), numpy_dtype("u16")
    (dtype('bool'), dtype('uint16'))
    """
    return _DTYPES[kind].numpy


def constant(number, type):
    """A constant as an array with an element for each lane.

    Integers may be given as signed or as unsigned numbers of their width; what is too large for a
    float becomes infinite.
    """
    if type.is_float:
        with np.errstate(over="ignore"):
            element = np.float64(number).astype(_F4 if type.kind != "f64" else _F8)
    elif type.kind == "i1":
        element = np.bool_(number)
    else:
        element = np.uint64(number % (1 << 64))
    return np.full(type.lanes, element).astype(numpy_dtype(type.kind))


def divide(a, b):
    """The quotient, for integers rounded towards zero."""
    if a.dtype.kind == "f":
        return a / b
    safe = _divisor(a, b)
    # Without its remainder the dividend is a multiple: nothing is left to be rounded.
    return np.where(b == 0, b, (a - np.fmod(a, safe)) // safe)


def remainder(a, b):
    """What truncated division leaves: it has the dividend's sign."""
    if a.dtype.kind == "f":
        return np.fmod(a, b)
    return np.fmod(a, _divisor(a, b))


def _divisor(a, b):
    """The divisor, but 1 in place of 0, and of -1 if the quotient would not fit."""
    unfit = b == 0
    if a.dtype.kind == "i":
        unfit |= (b == -1) & (a == np.iinfo(a.dtype).min)
    return np.where(unfit, b.dtype.type(1), b)


def shift_left(a, count):
    """``a`` times two to the power of `count`, cut off at its width."""
    count, beyond = _shift(a, count)
    return np.where(beyond, a.dtype.type(0), a << count)


def shift_right(a, count):
    """The bits moved to the right; the sign's copies come in if the type is signed, else zeros."""
    count, beyond = _shift(a, count)
    rest = a >> a.dtype.type(8 * a.itemsize - 1) if a.dtype.kind == "i" else a.dtype.type(0)
    return np.where(beyond, rest, a >> count)


def _shift(a, count):
    """A count that NumPy's shifts define, and where it is beyond the width."""
    width = 8 * a.itemsize
    beyond = (count < 0) | (count >= width)
    return np.where(beyond, a.dtype.type(0), count), beyond


def maximum(a, b):
    """The larger; NaN if either is; +0 is above -0."""
    return np.where(a == b, np.where(np.signbit(a), b, a), np.maximum(a, b))


def minimum(a, b):
    """The smaller; NaN if either is; -0 is below +0."""
    return np.where(a == b, np.where(np.signbit(a), a, b), np.minimum(a, b))


def fma(a, b, c):
    """``a * b + c``, rounded once."""
    if a.dtype == _F8:
        return np.array([_fma64(*row) for row in zip(a.tolist(), b.tolist(), c.tolist())])
    product, addend = a.astype(_F8) * b, c.astype(_F8)  # exact: 24 + 24 bits fit into 53
    total = product + addend
    part = total - product
    lost = (product - (total - part)) + (addend - part)
    # Rounded to odd, the sum cannot be taken for a tie when it is rounded again, to float32.
    is_even = total.view(np.int64) & 1 == 0
    unfinished = np.isfinite(total) & (lost != 0) & is_even
    odd = np.nextafter(total, np.copysign(np.inf, lost))
    return np.where(unfinished, odd, total).astype(_F4)


def _fma64(a, b, c):
    if not (np.isfinite(a) and np.isfinite(b)):
        return a * b + c
    if not np.isfinite(c):
        return c  # even where a * b alone is too large for a float
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if not exact:
        return a * b + c if a == 0 or b == 0 else 0.0
    try:
        return exact.numerator / exact.denominator  # which Python rounds correctly
    except OverflowError:
        return np.copysign(np.inf, float(np.sign(exact.numerator)))


def dot(a, b, total):
    """``total`` plus the products of two pairs of bfloat16: the second's, then the first's, each
    rounded once. What is too small to be a normal number counts as 0, before and after."""
    a, b = _flush(a.astype(_F4)), _flush(b.astype(_F4))
    return _flush(fma(a[::2], b[::2], _flush(fma(a[1::2], b[1::2], _flush(total)))))


def _flush(x):
    return np.where(np.abs(x) < np.finfo(_F4).tiny, np.copysign(_F4(0), x), x)


def convert(x, source, kind):
    """Elements of kind `source` as another kind, by value.

    To a bool: whether it differs from 0. To and from float16 and bfloat16: by way of float32. A
    float that does not fit becomes the smallest integer of the register that x86 converts it in,
    cut off to the kind: 64 bits for i64 and u32, 32 bits for what is shorter. u64 is an i64 below
    2^63, and from there on an i64 after 2^63 has been taken away.
    """
    if kind == "i1":
        return x != 0
    if source in ("f16", "bf16"):
        x = x.astype(_F4)
    wanted = numpy_dtype(kind)
    if kind in ("f16", "bf16"):
        return x.astype(_F4).astype(wanted)
    if x.dtype.kind != "f" or kind in ("f32", "f64"):
        return x.astype(wanted)
    if kind == "u64":
        top = x.dtype.type(2.0 ** 63)
        upper = _to_register(x - top, np.int64) ^ np.int64(-2 ** 63)
        return np.where(x >= top, upper, _to_register(x, np.int64)).view(np.uint64)
    return _to_register(x, np.int64 if kind in ("i64", "u32") else np.int32).astype(wanted)


def _to_register(x, register):
    limit = x.dtype.type(2.0 ** (8 * np.dtype(register).itemsize - 1))
    fits = (x >= -limit) & (x < limit)
    whole = np.where(fits, x, x.dtype.type(0)).astype(register)
    return np.where(fits, whole, np.iinfo(register).min)


# Operations whose operands and result are elements, lane by lane.
ELEMENTWISE = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": divide, "rem": remainder,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": shift_left, "shr": shift_right, "neg": np.negative, "abs": np.abs,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint,
    "copysign": np.copysign, "fma": fma, "maximum": maximum, "minimum": minimum,
    "select": np.where,
}
