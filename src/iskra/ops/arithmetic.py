"""Pointwise arithmetic: add to pow, remainders, rounding, extrema.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#pointwise-ops
"""

import numpy as np

from iskra.dispatch import FLOAT, SAME, pointwise
from iskra.tensor import Tensor


def conj_of(x):
    """The conjugate of a tensor or number; `x` itself where it is real."""
    if isinstance(x, Tensor):
        return x.conj() if x._dtype.is_complex else x
    return x.conjugate() if isinstance(x, complex) else x


def no_bool(name, *operands):
    """PyTorch refuses minus on bools, since there is no sensible answer."""
    if any(getattr(x, "dtype", None) == np.bool_ for x in operands):
        raise RuntimeError(
            f"{name}: Subtraction, the `-` operator, with a bool tensor is not supported. If you "
            "are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


def scaled(x, alpha):
    """``alpha * x`` in x's dtype."""
    if alpha == 1:
        return x
    if isinstance(alpha, float) and x.dtype.kind in "iub":
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    if x.dtype.kind == "b" and not isinstance(alpha, bool):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    return np.multiply(x, x.dtype.type(alpha))


@pointwise(SAME, ufunc=np.add, grad={
    "input": lambda g: g,
    "other": lambda g, alpha: g if alpha == 1 else g * conj_of(alpha),
})
def add(input, other, *, alpha=1):
    """Return ``input + alpha * other``, broadcast and promoted.

    `other` may be a Python number. Raises RuntimeError for shapes that do not broadcast.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.add.html

    >>> import iskra as torch
    >>> torch.add(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [10.0]]), alpha=2)
    tensor([[ 3.,  4.],
            [21., 22.]])
    """
    return np.add(input, scaled(other, alpha))


@pointwise(SAME, aliases=("subtract",), grad={
    "input": lambda g: g,
    "other": lambda g, alpha: -g if alpha == 1 else g * conj_of(-alpha),
})
def sub(input, other, *, alpha=1):
    """Return ``input - alpha * other``.

    >>> import iskra as torch
    >>> torch.sub(torch.tensor([3, 4]), 1)
    tensor([2, 3])
    """
    no_bool("sub", input, other)
    return np.subtract(input, scaled(other, alpha))


@pointwise(SAME, inplace=False, node="RsubBackward1", grad={
    "input": lambda g, alpha: -g if alpha == 1 else g * conj_of(-alpha),
    "other": lambda g: g,
})
def rsub(input, other, *, alpha=1):
    """Return ``other - alpha * input``.

    >>> import iskra as torch
    >>> torch.rsub(torch.tensor([3, 4]), 1)
    tensor([-2, -3])
    """
    no_bool("rsub", input, other)
    return np.subtract(other, scaled(input, alpha))


@pointwise(SAME, ufunc=np.multiply, aliases=("multiply",), grad={
    "input": lambda g, other: g * conj_of(other),
    "other": lambda g, input: g * conj_of(input),
})
def mul(input, other):
    """Return the product, element by element.

    >>> import iskra as torch
    >>> torch.mul(torch.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    return np.multiply(input, other)


def _refuse_zero(name, other):
    if np.any(np.equal(other, 0)):
        raise RuntimeError(f"{name}: ZeroDivisionError: integer division by zero")


def truncated_quotient(input, other):
    """Quotient rounded towards zero."""
    if input.dtype.kind == "f":
        return np.trunc(np.divide(input, other))
    _refuse_zero("div", other)
    quotient = np.floor_divide(input, other)
    # Floor division is one too small where the signs differ and something is left over.
    inexact = np.not_equal(np.multiply(quotient, other), input)
    return np.where(np.logical_and(inexact, np.less(quotient, 0)), quotient + 1, quotient).astype(
        input.dtype, copy=False
    )


def floor_quotient(input, other):
    """Quotient rounded down; floats by zero give an infinity, as true division does."""
    if input.dtype.kind != "f":
        _refuse_zero("floor_divide", other)
        return np.floor_divide(input, other)
    quotient = np.floor_divide(input, other)
    return np.where(np.equal(other, 0), np.divide(input, other), quotient)


def _div_rule(rounding_mode):
    return FLOAT if rounding_mode is None else SAME


@pointwise(_div_rule, ufunc=np.divide, aliases=("divide", "true_divide"), grad={
    "input": lambda g, other, rounding_mode: (
        g / conj_of(other) if rounding_mode is None else g * 0
    ),
    "other": lambda g, input, other, rounding_mode: (
        -g * conj_of(input / other / other) if rounding_mode is None else g * 0
    ),
})
def div(input, other, *, rounding_mode=None):
    """Return the quotient; `rounding_mode` is None, ``"trunc"`` or ``"floor"``.

    Without a rounding mode integers give a result of the default dtype. Raises RuntimeError for
    an unknown mode and where integers are divided by zero.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.div.html

    >>> import iskra as torch
    >>> torch.div(torch.tensor([7, -7]), 2, rounding_mode="floor")
    tensor([ 3, -4])
    """
    if rounding_mode is None:
        return np.divide(input, other)
    if rounding_mode == "floor":
        return floor_quotient(input, other)
    if rounding_mode == "trunc":
        return truncated_quotient(input, other)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


@pointwise(SAME, grad=lambda g: -g)
def neg(input):
    """Return the negative of each element. Raises RuntimeError for bools.

    >>> import iskra as torch
    >>> torch.neg(torch.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    if input.dtype == np.bool_:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return np.negative(input)


@pointwise(FLOAT, ufunc=np.exp, grad=lambda g, result: g * conj_of(result))
def exp(input):
    """Return e to the power of each element.

    >>> import iskra as torch
    >>> torch.exp(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return np.exp(input)
