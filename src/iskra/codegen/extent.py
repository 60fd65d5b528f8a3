"""`Extent`: a size that a trace keeps open, so that one kernel serves every size.

A dimension of size 1 is the int 1 in a trace, for it broadcasts; any other is an `Extent`, a
product of symbols, each some number greater than 1. Products of extents are extents; other
arithmetic gives an expression that the kernel computes. What would need the number raises
`NotTraceable`, and the operator stays on the reference tier.
"""

import numpy as np


class NotTraceable(Exception):
    """The body does something that a kernel cannot express."""


class Extent:
    """A product of symbols, by their numbers in ascending order."""

    __slots__ = ("symbols",)
    as_expression = None  # makes an expression of an extent; set by iskra.codegen.expr

    def __init__(self, symbols):
        self.symbols = tuple(sorted(symbols))

    def __mul__(self, other):
        if isinstance(other, Extent):
            return Extent(self.symbols + other.symbols)
        if other.__class__ is int and other == 1:
            return self
        return self._expression() * other

    __rmul__ = __mul__

    def _expression(self):
        return self.as_expression(self)

    def __add__(self, other):
        return self._expression() + other

    def __sub__(self, other):
        return self._expression() - other

    def __rsub__(self, other):
        return other - self._expression()

    def __truediv__(self, other):
        return self._expression() / other

    def __rtruediv__(self, other):
        return other / self._expression()

    __radd__ = __add__

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        inputs = [x._expression() if isinstance(x, Extent) else x for x in inputs]
        return getattr(ufunc, method)(*inputs, **settings)

    def __eq__(self, other):
        if isinstance(other, Extent):
            return self.symbols == other.symbols
        if other in (0, 1):
            return False
        raise NotTraceable("a size is compared with a number")

    def __hash__(self):
        return hash(self.symbols)

    def __bool__(self):
        return True  # sizes are greater than 1

    def __lt__(self, other):
        return self._order(other, False)

    def __le__(self, other):
        return self._order(other, False)

    def __gt__(self, other):
        return self._order(other, True)

    def __ge__(self, other):
        return self._order(other, True)

    def _order(self, other, greater):
        if other.__class__ is int and other <= 1:
            return greater
        raise NotTraceable("a size is compared with a number")

    def _number(self, *_):
        raise NotTraceable("a size is needed as a number")

    __int__ = __index__ = __float__ = __mod__ = __floordiv__ = __rmod__ = __rfloordiv__ = _number

    def of(self, sizes):
        """The number, given each symbol's."""
        total = 1
        for symbol in self.symbols:
            total *= sizes[symbol]
        return total

    def __repr__(self):
        return "*".join(f"s{s}" for s in self.symbols)


def same_shape(a, b):
    """Whether two shapes of ints and extents are equal."""
    return len(a) == len(b) and all(
        (x == y) if x.__class__ is y.__class__ else False for x, y in zip(a, b))


def broadcast_shapes(*shapes):
    """The shape to which symbolic shapes broadcast."""
    rank = max(map(len, shapes))
    result = []
    for axis in range(-rank, 0):
        sizes = {s[axis] for s in shapes if len(s) >= -axis} - {1}
        if len(sizes) > 1:
            raise NotTraceable(f"shapes do not broadcast: {shapes}")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def is_float(dtype):
    """Whether a NumPy dtype is a floating-point one that kernels compute in."""
    return dtype in (np.float32, np.float64)
