"""Python's operators on tensors: ``a + b`` and the rest, written out by hand."""

from numbers import Number

import numpy as np

from iskra.core.dtypes import INTEGER
from iskra.ops import arithmetic as a
from iskra.ops import comparison as c
from iskra.ops import mathematics as m
from iskra.tensor import Tensor
from iskra.tensor.bridge import shared_array
from iskra.tensor.factory import finish

# The operators' functions of two operands and no settings.
_add, _sub, _rsub, _mul, _div, _floor_divide, _remainder, _pow = (
    f.operator.short
    for f in (a.add, a.sub, a.rsub, a.mul, a.div, a.floor_divide, a.remainder, a.pow)
)
_eq, _ne, _lt, _le, _gt, _ge = (f.operator.short for f in (c.eq, c.ne, c.lt, c.le, c.gt, c.ge))
_bitwise_and, _bitwise_or, _bitwise_xor, _bitwise_left_shift, _bitwise_right_shift = (
    f.operator.short for f in (
        c.bitwise_and, c.bitwise_or, c.bitwise_xor, c.bitwise_left_shift, c.bitwise_right_shift,
    )
)


def _not_ours(other, error):
    """A TypeError for an operand that might know better means NotImplemented."""
    if isinstance(other, (Tensor, Number)):
        raise error
    return NotImplemented


def _with_array(compare, tensor, other, error):
    """Compare with an ndarray as with a tensor."""
    if isinstance(other, np.ndarray):
        try:
            return compare(tensor, finish(*shared_array(other, warn=False)))
        except TypeError:  # an array of text, say
            return NotImplemented
    return _not_ours(other, error)


class _Dunders:
    """The special methods, as they will read on `Tensor`."""

    def __add__(self, other):
        try:
            return _add(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __sub__(self, other):
        try:
            return _sub(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __rsub__(self, other):
        try:
            return _rsub(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __mul__(self, other):
        try:
            return _mul(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __truediv__(self, other):
        try:
            return _div(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __floordiv__(self, other):
        try:
            return _floor_divide(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __mod__(self, other):
        try:
            return _remainder(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __pow__(self, other):
        try:
            return _pow(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __and__(self, other):
        try:
            return _bitwise_and(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __or__(self, other):
        try:
            return _bitwise_or(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __xor__(self, other):
        try:
            return _bitwise_xor(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __lshift__(self, other):
        try:
            return _bitwise_left_shift(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __rshift__(self, other):
        try:
            return _bitwise_right_shift(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __eq__(self, other):
        try:
            return _eq(self, other)
        except TypeError as error:
            return _with_array(c.eq, self, other, error)

    def __ne__(self, other):
        try:
            return _ne(self, other)
        except TypeError as error:
            return _with_array(c.ne, self, other, error)

    def __lt__(self, other):
        try:
            return _lt(self, other)
        except TypeError as error:
            return _with_array(c.lt, self, other, error)

    def __le__(self, other):
        try:
            return _le(self, other)
        except TypeError as error:
            return _with_array(c.le, self, other, error)

    def __gt__(self, other):
        try:
            return _gt(self, other)
        except TypeError as error:
            return _with_array(c.gt, self, other, error)

    def __ge__(self, other):
        try:
            return _ge(self, other)
        except TypeError as error:
            return _with_array(c.ge, self, other, error)

    __radd__ = __add__
    __rmul__ = __mul__
    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __rtruediv__(self, other):
        try:
            return _mul(m.reciprocal(self), other)
        except TypeError as error:
            return _not_ours(other, error)

    __rdiv__ = __rtruediv__

    def __rfloordiv__(self, other):
        try:
            return a.floor_divide(other, self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rmod__(self, other):
        try:
            return a.remainder(other, self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rpow__(self, other):
        try:
            return a.pow(other, self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rlshift__(self, other):
        try:
            return c.bitwise_left_shift(other, self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rrshift__(self, other):
        try:
            return c.bitwise_right_shift(other, self)
        except TypeError as error:
            return _not_ours(other, error)

    def __iadd__(self, other):
        return self.add_(other)

    def __isub__(self, other):
        return self.sub_(other)

    def __imul__(self, other):
        return self.mul_(other)

    def __itruediv__(self, other):
        return self.div_(other)

    def __ifloordiv__(self, other):
        return self.floor_divide_(other)

    def __imod__(self, other):
        return self.remainder_(other)

    def __ipow__(self, other):
        return self.pow_(other)

    def __iand__(self, other):
        return self.bitwise_and_(other)

    def __ior__(self, other):
        return self.bitwise_or_(other)

    def __ixor__(self, other):
        return self.bitwise_xor_(other)

    def __ilshift__(self, other):
        return self.bitwise_left_shift_(other)

    def __irshift__(self, other):
        return self.bitwise_right_shift_(other)

    def __neg__(self):
        return a.neg(self)

    def __pos__(self):
        return a.positive(self)

    def __abs__(self):
        return m.abs(self)

    def __invert__(self):
        if self._dtype.category > INTEGER:
            raise TypeError(
                "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
            )
        return c.bitwise_not(self)


_SKIP = {"__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__hash__"}
for _name, _member in vars(_Dunders).items():
    if _name.startswith("__") and _name not in _SKIP:
        setattr(Tensor, _name, _member)
