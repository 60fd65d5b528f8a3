"""Type promotion: which dtype the result of an operation has. Pure and memoised.

Operands fall into three classes; a lower class changes the dtype only through its category
(bool < integer < floating < complex): tensors with dimensions, then zero-dimensional tensors,
then Python numbers.
Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc
"""

from functools import cache

from iskra.core import dtypes as d
from iskra.core.dtypes import BOOL, COMPLEX, FLOATING, INTEGER

_WIDE_UNSIGNED = (d.uint16, d.uint32, d.uint64)


@cache
def promote_types(type1, type2):
    """Return the smallest dtype that holds both, as PyTorch's lattice has it.

    Raises RuntimeError for pairs without a common type (float8, wide unsigned with integers).

    >>> promote_types(d.int32, d.float16), promote_types(d.uint8, d.int8)
    (iskra.float16, iskra.int16)
    """
    if type1 is type2:
        return type1
    _check_promotable(type1, type2)
    low, high = sorted((type1, type2), key=lambda t: t.category)
    if high.category == COMPLEX:
        return _with_complex(low, high)
    if high.category > low.category:
        return high
    if high.category == FLOATING:
        return _wider_float(low, high)
    return _wider_integer(low, high)


def _check_promotable(a, b):
    names = f"attempted to promote {a.scalar_name} and {b.scalar_name}"
    if a.is_float8 or b.is_float8:
        raise RuntimeError(
            f"Promotion for Float8 Types is not supported, {names}; convert with .to(dtype) first"
        )
    for wide, other in ((a, b), (b, a)):
        if wide in _WIDE_UNSIGNED and not other.is_floating_point:
            raise RuntimeError(
                f"Promotion for uint16, uint32, uint64 types is not supported, {names}; "
                "convert with .to(dtype) first"
            )


def _with_complex(low, high):
    if low.category < FLOATING:
        return high
    real = promote_types(low.to_real(), high.to_real())
    return real.to_complex()


def _wider_float(a, b):
    if a.itemsize == b.itemsize:  # float16 and bfloat16 hold neither each other
        return d.float32
    return a if a.itemsize > b.itemsize else b


def _wider_integer(a, b):
    narrow, wide = sorted((a, b), key=lambda t: t.itemsize)
    if narrow is d.uint8 and wide is d.int8 or narrow is d.int8 and wide is d.uint8:
        return d.int16
    return wide


def can_cast(from_, to):
    """Whether PyTorch lets a result of dtype `from_` be stored into a tensor of dtype `to`.

    >>> can_cast(d.int64, d.uint8), can_cast(d.float32, d.int64)
    (True, False)
    """
    if from_.is_complex and not to.is_complex:
        return False
    if from_.is_floating_point and to.category < FLOATING:
        return False
    return not (from_.category != BOOL and to.category == BOOL)


def combine(dimensioned, zero_dim, number):
    """The common dtype of three classes of operands; each is a dtype or None."""
    result = _override(dimensioned, zero_dim)
    return _override(result, number)


def _override(strong, weak):
    """`strong`, unless `weak` is of a higher category: then `weak`, keeping strong's precision."""
    if strong is None or weak is None:
        return strong or weak
    if weak.category <= strong.category:
        return strong
    if weak.category == COMPLEX and strong.category == FLOATING:
        return strong.to_complex() if strong is not d.float16 else d.complex32
    return weak


_number_types = {}


def _refresh_number_types():
    default = d.get_default_dtype()
    _number_types.update(
        {bool: d.bool_, int: d.int64, float: default, complex: default.to_complex()}
    )
    pair.cache_clear()


@cache
def pair(type1, is_zero_dim1, type2, is_zero_dim2):
    """Result dtype of two operands; `type` is a dtype or the class of a Python number."""
    classes = [None, None, None]
    for kind, is_zero_dim in ((type1, is_zero_dim1), (type2, is_zero_dim2)):
        rank = 2 if kind in _number_types else int(is_zero_dim)
        kind = _number_types.get(kind, kind)
        held = classes[rank]
        classes[rank] = kind if held is None else promote_types(held, kind)
    return combine(*classes)


def many(operands):
    """Result dtype of any number of `(dtype or number class, is zero-dimensional)` pairs."""
    classes = [None, None, None]
    for kind, is_zero_dim in operands:
        rank = 2 if kind in _number_types else int(is_zero_dim)
        kind = _number_types.get(kind, kind)
        held = classes[rank]
        classes[rank] = kind if held is None else promote_types(held, kind)
    return combine(*classes)


def to_float(kind):
    """`kind` if it is floating or complex, else the default dtype (as sqrt and div need)."""
    return kind if kind.category >= FLOATING else d.get_default_dtype()


def sum_type(kind):
    """The dtype in which sum and prod of integers and bools accumulate: int64."""
    return d.int64 if kind.category <= INTEGER else kind


_refresh_number_types()
d.default_listeners.append(_refresh_number_types)
