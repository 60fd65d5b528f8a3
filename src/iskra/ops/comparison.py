"""Comparisons, logic on bools and bits, tests of floats, selection by a condition.

Source: https://docs.pytorch.org/docs/stable/torch.html#comparison-ops
"""

import numpy as np

from iskra.core import bool_, uint8
from iskra.dispatch import OPERATORS, SAME, calling, composite, pointwise
from iskra.tensor import Tensor
from iskra.tensor.facts import result_type


@pointwise(SAME, ufunc=np.equal)
def eq(input, other):
    """Return whether elements are equal.

    >>> import iskra as torch
    >>> torch.eq(torch.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return np.equal(input, other)


@pointwise(SAME, ufunc=np.not_equal, aliases=("not_equal",))
def ne(input, other):
    """Return whether elements differ.

    >>> import iskra as torch
    >>> torch.ne(torch.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return np.not_equal(input, other)


@pointwise(SAME, ufunc=np.less, aliases=("less",), accepts="bool int float")
def lt(input, other):
    """Return whether ``input < other``.

    >>> import iskra as torch
    >>> torch.lt(torch.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return np.less(input, other)


@pointwise(SAME, ufunc=np.less_equal, aliases=("less_equal",), accepts="bool int float")
def le(input, other):
    """Return whether ``input <= other``.

    >>> import iskra as torch
    >>> torch.le(torch.tensor([1, 2]), 1)
    tensor([ True, False])
    """
    return np.less_equal(input, other)


@pointwise(SAME, ufunc=np.greater, aliases=("greater",), accepts="bool int float")
def gt(input, other):
    """Return whether ``input > other``.

    >>> import iskra as torch
    >>> torch.gt(torch.tensor([1, 2]), 1)
    tensor([False,  True])
    """
    return np.greater(input, other)


@pointwise(SAME, ufunc=np.greater_equal, aliases=("greater_equal",), accepts="bool int float")
def ge(input, other):
    """Return whether ``input >= other``.

    >>> import iskra as torch
    >>> torch.ge(torch.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return np.greater_equal(input, other)


def _refuse_dtypes(first, second):
    raise RuntimeError(f"isclose: {first.scalar_name} did not match {second.scalar_name}")


@pointwise(SAME, numbers=False, inplace=False, uniform=_refuse_dtypes)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Return whether ``|input - other| <= atol + rtol * |other|``.

    Raises RuntimeError where the dtypes differ.

    >>> import iskra as torch
    >>> torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.000001, 2.1]))
    tensor([ True, False])
    """
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must be at least zero, got {rtol} and {atol}")
    if input.dtype.kind in "iub":
        input, other = input.astype(np.float64), other.astype(np.float64)
    gap = np.absolute(np.subtract(input, other))
    allowed = np.add(np.multiply(np.absolute(other), rtol), atol)
    near = np.logical_and(np.less_equal(gap, allowed), np.isfinite(gap))
    close = np.logical_or(np.equal(input, other), near)
    if equal_nan:
        close = np.logical_or(close, np.logical_and(np.isnan(input), np.isnan(other)))
    return close


@composite()
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Return, as a bool, whether all elements are close (see `isclose`).

    >>> import iskra as torch
    >>> torch.allclose(torch.tensor([1.0]), torch.tensor([1.000001]))
    True
    """
    return isclose(input, other, rtol=rtol, atol=atol, equal_nan=equal_nan).all().item()


@composite()
def equal(input, other):
    """Return, as a bool, whether shape and all elements are equal.

    >>> import iskra as torch
    >>> torch.equal(torch.tensor([1, 2]), torch.tensor([1, 2]))
    True
    """
    if input.shape != other.shape:
        return False
    return eq(input, other).all().item()


@pointwise(SAME, ufunc=np.isnan, inplace=False)
def isnan(input):
    """Return whether elements are NaN.

    >>> import iskra as torch
    >>> torch.isnan(torch.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return np.isnan(input)


@pointwise(SAME, ufunc=np.isinf, inplace=False)
def isinf(input):
    """Return whether elements are infinite.

    >>> import iskra as torch
    >>> torch.isinf(torch.tensor([1.0, float("-inf")]))
    tensor([False,  True])
    """
    return np.isinf(input)


@pointwise(SAME, ufunc=np.isfinite, inplace=False)
def isfinite(input):
    """Return whether elements are neither infinite nor NaN.

    >>> import iskra as torch
    >>> torch.isfinite(torch.tensor([1.0, float("inf")]))
    tensor([ True, False])
    """
    return np.isfinite(input)


@pointwise(SAME, inplace=False, accepts="bool int float")
def isposinf(input):
    """Return whether elements are positive infinity.

    >>> import iskra as torch
    >>> torch.isposinf(torch.tensor([float("inf"), float("-inf")]))
    tensor([ True, False])
    """
    return np.equal(input, np.inf)


@pointwise(SAME, inplace=False, accepts="bool int float")
def isneginf(input):
    """Return whether elements are negative infinity.

    >>> import iskra as torch
    >>> torch.isneginf(torch.tensor([float("inf"), float("-inf")]))
    tensor([False,  True])
    """
    return np.equal(input, -np.inf)


@pointwise(SAME, inplace=False, out=False)
def isreal(input):
    """Return whether elements have no imaginary part.

    >>> import iskra as torch
    >>> torch.isreal(torch.tensor([1, 1j]))
    tensor([ True, False])
    """
    return np.equal(input.imag, 0) if input.dtype.kind == "c" else np.ones_like(input, dtype=bool)


@pointwise(SAME, accepts="bool int float", inplace=False)
def signbit(input):
    """Return whether the sign bit is set: for negative numbers and for -0.0.

    >>> import iskra as torch
    >>> torch.signbit(torch.tensor([-0.0, 1.0]))
    tensor([ True, False])
    """
    if input.dtype.kind == "f":
        return np.signbit(input)
    return np.zeros_like(input) if input.dtype == bool else np.less(input, 0)


@pointwise(SAME, numbers=False, ufunc=np.logical_and)
def logical_and(input, other):
    """Return whether both elements are non-zero.

    >>> import iskra as torch
    >>> torch.logical_and(torch.tensor([1, 0]), torch.tensor([2, 2]))
    tensor([ True, False])
    """
    return np.logical_and(input, other)


@pointwise(SAME, numbers=False, ufunc=np.logical_or)
def logical_or(input, other):
    """Return whether either element is non-zero.

    >>> import iskra as torch
    >>> torch.logical_or(torch.tensor([1, 0]), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    return np.logical_or(input, other)


@pointwise(SAME, numbers=False, ufunc=np.logical_xor)
def logical_xor(input, other):
    """Return whether exactly one element is non-zero.

    >>> import iskra as torch
    >>> torch.logical_xor(torch.tensor([1, 1]), torch.tensor([0, 1]))
    tensor([ True, False])
    """
    return np.logical_xor(input, other)


@pointwise(SAME, out="casts", ufunc=np.logical_not)
def logical_not(input):
    """Return whether elements are zero.

    >>> import iskra as torch
    >>> torch.logical_not(torch.tensor([1, 0]))
    tensor([False,  True])
    """
    return np.logical_not(input)


@pointwise(SAME, ufunc=np.bitwise_and, accepts="bool int", scalars=True)
def bitwise_and(input, other):
    """Return the bits set in both integers (for bools: logical and).

    >>> import iskra as torch
    >>> torch.bitwise_and(torch.tensor([6]), torch.tensor([3]))
    tensor([2])
    """
    return np.bitwise_and(input, other)


@pointwise(SAME, ufunc=np.bitwise_or, accepts="bool int", scalars=True)
def bitwise_or(input, other):
    """Return the bits set in either integer (for bools: logical or).

    >>> import iskra as torch
    >>> torch.bitwise_or(torch.tensor([6]), torch.tensor([3]))
    tensor([7])
    """
    return np.bitwise_or(input, other)


@pointwise(SAME, ufunc=np.bitwise_xor, accepts="bool int", scalars=True)
def bitwise_xor(input, other):
    """Return the bits set in exactly one integer (for bools: logical xor).

    >>> import iskra as torch
    >>> torch.bitwise_xor(torch.tensor([6]), torch.tensor([3]))
    tensor([5])
    """
    return np.bitwise_xor(input, other)


@pointwise(SAME, ufunc=np.invert, accepts="bool int")
def bitwise_not(input):
    """Return the integer with all bits inverted (for bools: logical not).

    >>> import iskra as torch
    >>> torch.bitwise_not(torch.tensor([0, 5]))
    tensor([-1, -6])
    """
    return np.invert(input)


def _shift(function, input, other, name):
    """Shifting by more bits than there are, or by a negative count, leaves 0 (or the sign)."""
    if input.dtype.kind == "b":
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")
    bits = 8 * input.dtype.itemsize
    outside = np.logical_or(np.less(other, 0), np.greater_equal(other, bits))
    shifted = function(input, np.where(outside, 0, other).astype(input.dtype))
    beyond = np.right_shift(input, bits - 1) if function is np.right_shift else 0
    return np.where(outside, beyond, shifted).astype(input.dtype)


@pointwise(SAME, accepts="bool int", scalars=True)
def bitwise_left_shift(input, other):
    """Return ``input * 2 ** other`` by shifting bits.

    >>> import iskra as torch
    >>> torch.bitwise_left_shift(torch.tensor([1]), 3)
    tensor([8])
    """
    return _shift(np.left_shift, input, other, "bitwise_left_shift")


@pointwise(SAME, accepts="bool int", scalars=True)
def bitwise_right_shift(input, other):
    """Return ``floor(input / 2 ** other)`` by shifting bits.

    >>> import iskra as torch
    >>> torch.bitwise_right_shift(torch.tensor([8]), 3)
    tensor([1])
    """
    return _shift(np.right_shift, input, other, "bitwise_right_shift")


@pointwise(
    SAME, operands="input other", scalars=True, inplace=False, out=False, function=False,
    method=False, node="WhereBackward0",
    samples=lambda make: [
        ((make((3, 4)) > 0, make((3, 4)), make((3, 4))), {}),
        ((make((4,)) > 0, make((3, 1)), make(())), {}),
    ],
    grad={
        "input": lambda g, condition: where(condition, g, g.new_zeros(())),
        "other": lambda g, condition: where(condition, g.new_zeros(()), g),
    },
)
def choose(condition, input, other):
    """The operator behind `where`: `input` where the condition holds, else `other`."""
    return np.where(condition, input, other)


@composite(out=True, method=False)
def where(condition, input=None, other=None):
    """Return elements of `input` where the condition holds, else of `other`.

    All three broadcast; `input` and `other` are promoted and may be numbers. With the condition
    alone: the indices of its non-zero elements, as `nonzero(as_tuple=True)`.
    Raises RuntimeError for a condition that is not bool.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.where.html

    >>> import iskra as torch
    >>> x = torch.tensor([-1.0, 2.0])
    >>> torch.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(
            f"where(): argument 'condition' (position 1) must be Tensor, not "
            f"{type(condition).__name__}"
        )
    if condition._dtype not in (bool_, uint8):
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{condition._dtype.scalar_name}; compare first, for example `condition != 0`"
        )
    if condition._dtype is uint8:
        condition = condition != 0
    if not (isinstance(input, Tensor) or isinstance(other, Tensor)):
        kind = result_type(input, other)  # raises for what are no numbers
        input, other = (condition.new_tensor(x, dtype=kind) for x in (input, other))
    return _choose(condition, input, other)


_choose = OPERATORS["choose"].public


def _where_method(self, condition, other):
    """Return this tensor's elements where the condition holds, else those of `other`."""
    return where(condition, self, other)


Tensor.where = _where_method


def _extreme_gradient(g, kept):
    return where(kept, g, g.new_zeros(()))


@pointwise(
    SAME, operands="grad input min max", inplace=False, out=False, function=False, method=False,
    grad=lambda g, input, min, max: clamp_backward(g, input, min, max),
    samples=lambda make: [
        ((make((3, 4)), make((3, 4)), -0.5), {}), ((make((3, 4)), make((3, 4)), None, 0.5), {}),
        ((make((3, 4)), make((3, 4)), make((4,)), make((3, 1))), {}),
    ],
)
def clamp_backward(grad, input, min=None, max=None):
    """The gradient of `clamp` for its input."""
    if min is not None:
        grad = np.where(np.greater_equal(input, min), grad, grad.dtype.type(0))
    return grad if max is None else np.where(np.less_equal(input, max), grad, grad.dtype.type(0))


@pointwise(
    SAME, operands="input min max", accepts="bool int float", aliases=("clip",),
    grad={
        "input": calling(clamp_backward, "g input min max"),
        "min": lambda g, input, min, max: _extreme_gradient(
            g, input < min if max is None else (input < min) & (min < max)
        ),
        "max": lambda g, input, min, max: _extreme_gradient(
            g, input > max if min is None else (input > max) | (max < min)
        ),
    },
)
def clamp(input, min=None, max=None):
    """Limit elements to between `min` and `max`, numbers or tensors; None is no limit.

    Where min > max the result is max. Raises RuntimeError if both are None.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.clamp.html

    >>> import iskra as torch
    >>> torch.clamp(torch.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is not None:
        input = np.maximum(input, min)
    return input if max is None else np.minimum(input, max)


@composite(out="aligned", inplace=True)
def clamp_min(input, min):
    """Limit elements from below.

    >>> import iskra as torch
    >>> torch.clamp_min(torch.tensor([-2.0, 3.0]), 0)
    tensor([0., 3.])
    """
    return clamp(input, min=min)


@composite(out="aligned", inplace=True)
def clamp_max(input, max):
    """Limit elements from above.

    >>> import iskra as torch
    >>> torch.clamp_max(torch.tensor([-2.0, 3.0]), 0)
    tensor([-2.,  0.])
    """
    return clamp(input, max=max)
