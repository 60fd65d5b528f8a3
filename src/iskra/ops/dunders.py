"""Python's operators on tensors: ``a + b`` and the rest, written out by hand."""

from numbers import Number

import numpy as np

from iskra.ops.arithmetic import add, div, mul, neg, rsub, sub
from iskra.tensor import Tensor


def _not_ours(other, error):
    """A TypeError for an operand that might know better means NotImplemented."""
    if isinstance(other, (Tensor, Number, np.ndarray)):
        raise error
    return NotImplemented


class _Dunders:
    """The special methods, as they will read on `Tensor`."""

    def __add__(self, other):
        try:
            return add(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    __radd__ = __add__

    def __sub__(self, other):
        try:
            return sub(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __rsub__(self, other):
        try:
            return rsub(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __mul__(self, other):
        try:
            return mul(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    __rmul__ = __mul__

    def __truediv__(self, other):
        try:
            return div(self, other)
        except TypeError as error:
            return _not_ours(other, error)

    def __neg__(self):
        return neg(self)


for _name, _member in vars(_Dunders).items():
    if _name.startswith("__") and _name not in ("__module__", "__dict__", "__weakref__", "__doc__",
                                                "__qualname__"):
        setattr(Tensor, _name, _member)
