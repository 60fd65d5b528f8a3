"""Python's operators on tensors: ``a + b`` and the rest, written out by hand."""

from numbers import Number

import numpy as np

from iskra.core.dtypes import of_scalar
from iskra.ops import arithmetic as a
from iskra.ops import comparison as c
from iskra.ops import mathematics as m
from iskra.tensor import Tensor
from iskra.tensor.bridge import shared_array
from iskra.tensor.factory import finish


def _not_ours(other, error):
    """A TypeError for an operand that might know better means NotImplemented."""
    if isinstance(other, (Tensor, Number)):
        raise error
    return NotImplemented


def _with_array(compare, tensor, other, error):
    """Compare with an ndarray as with a tensor."""
    if isinstance(other, np.ndarray):
        return compare(tensor, finish(*shared_array(other, warn=False)))
    return _not_ours(other, error)


class _Dunders:
    """The special methods, as they will read on `Tensor`."""

    def __add__(self, other):
        try:
            return a.add(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __sub__(self, other):
        try:
            return a.sub(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __rsub__(self, other):
        try:
            return a.rsub(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __mul__(self, other):
        try:
            return a.mul(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __truediv__(self, other):
        try:
            return a.div(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __floordiv__(self, other):
        try:
            return a.floor_divide(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __mod__(self, other):
        try:
            return a.remainder(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __pow__(self, other):
        try:
            return a.pow(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __and__(self, other):
        try:
            return c.bitwise_and(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __or__(self, other):
        try:
            return c.bitwise_or(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __xor__(self, other):
        try:
            return c.bitwise_xor(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __lshift__(self, other):
        try:
            return c.bitwise_left_shift(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __rshift__(self, other):
        try:
            return c.bitwise_right_shift(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __eq__(self, other):
        try:
            return c.eq(self, other)
        except TypeError as error:
            return _with_array(c.eq, self, other, error)

    def __ne__(self, other):
        try:
            return c.ne(self, other)
        except TypeError as error:
            return _with_array(c.ne, self, other, error)

    def __lt__(self, other):
        try:
            return c.lt(self, other)
        except TypeError as error:
            return _with_array(c.lt, self, other, error)

    def __le__(self, other):
        try:
            return c.le(self, other)
        except TypeError as error:
            return _with_array(c.le, self, other, error)

    def __gt__(self, other):
        try:
            return c.gt(self, other)
        except TypeError as error:
            return _with_array(c.gt, self, other, error)

    def __ge__(self, other):
        try:
            return c.ge(self, other)
        except TypeError as error:
            return _with_array(c.ge, self, other, error)

    __radd__ = __add__
    __rmul__ = __mul__
    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __rtruediv__(self, other):
        try:
            return a.mul(m.reciprocal(self), other)
        except TypeError as error:
            return _not_ours(other, error)

    def __rfloordiv__(self, other):
        try:
            return a.floor_divide(_like(self, other), self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rmod__(self, other):
        try:
            return a.remainder(_like(self, other), self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rpow__(self, other):
        try:
            return a.pow(other, self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rlshift__(self, other):
        try:
            return c.bitwise_left_shift(_like(self, other), self)
        except TypeError as error:
            return _not_ours(other, error)

    def __rrshift__(self, other):
        try:
            return c.bitwise_right_shift(_like(self, other), self)
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
        return c.bitwise_not(self)


def _like(tensor, number):
    """A number as a zero-dimensional tensor, so that it can be a first operand."""
    return tensor.new_tensor(number, dtype=of_scalar(number))


_SKIP = {"__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__hash__"}
for _name, _member in vars(_Dunders).items():
    if _name.startswith("__") and _name not in _SKIP:
        setattr(Tensor, _name, _member)
