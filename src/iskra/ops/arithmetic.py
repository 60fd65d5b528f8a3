"""Pointwise arithmetic: add to pow, remainders, rounding, extrema.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#pointwise-ops
"""

import numpy as np

from iskra.core.checks import anywhere
from iskra.core.dtypes import BOOL, INTEGER, of_numpy
from iskra.dispatch import FLOAT, SAME, calling, composite, pointwise
from iskra.dispatch.execute import number
from iskra.ops.comparison import where
from iskra.ops.quotients import mul_backward, power_backward, quotient_backward
from iskra.tensor import Tensor


def conj_of(x):
    """The conjugate of a tensor or number; `x` itself where it is real."""
    if isinstance(x, Tensor):
        return x.conj() if x._dtype.is_complex else x
    return x.conjugate() if isinstance(x, complex) else x


def _minus_rule(input, other):
    """The common dtype; PyTorch refuses minus on bools, since there is no sensible answer."""
    bools = [x._dtype.category == BOOL if isinstance(x, Tensor) else isinstance(x, bool)
             for x in (input, other)]
    if all(bools) and isinstance(input, Tensor) and isinstance(other, Tensor):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(bools):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
            "trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return SAME


def refuse_kinds(name, array, kinds):
    """NotImplementedError where the common dtype of the operands is of one of NumPy's kinds."""
    if array.dtype.kind in kinds:
        raise NotImplementedError(
            f'"{name}" not implemented for \'{of_numpy(array.dtype).scalar_name}\''
        )


def scaled(x, alpha):
    """``alpha * x`` in x's dtype."""
    if isinstance(alpha, int) and alpha == 1:
        return x
    if x.dtype.kind in "iub" and not isinstance(alpha, (int, complex)):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    if x.dtype.kind == "b" and not isinstance(alpha, bool):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    return np.multiply(x, number(alpha, x.dtype) if x.dtype.kind in "iu" else alpha)


@pointwise(SAME, ufunc=np.add, scalars=True, grad={
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


@pointwise(_minus_rule, aliases=("subtract",), scalars=True, grad={
    "input": lambda g: g,
    "other": lambda g, alpha: -g if alpha == 1 else g * conj_of(-alpha),
})
def sub(input, other, *, alpha=1):
    """Return ``input - alpha * other``.

    >>> import iskra as torch
    >>> torch.sub(torch.tensor([3, 4]), 1)
    tensor([2, 3])
    """
    return np.subtract(input, scaled(other, alpha))


@pointwise(_minus_rule, inplace=False, node="RsubBackward1", grad={
    "input": lambda g, alpha: -g if alpha == 1 else g * conj_of(-alpha),
    "other": lambda g: g,
})
def rsub(input, other, *, alpha=1):
    """Return ``other - alpha * input``.

    >>> import iskra as torch
    >>> torch.rsub(torch.tensor([3, 4]), 1)
    tensor([-2, -3])
    """
    return np.subtract(other, scaled(input, alpha))


@pointwise(SAME, ufunc=np.multiply, aliases=("multiply",), scalars=True, grad={
    "input": calling(mul_backward, "g other"), "other": calling(mul_backward, "g input"),
})
def mul(input, other):
    """Return the product, element by element.

    >>> import iskra as torch
    >>> torch.mul(torch.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    return np.multiply(input, other)


def _refuse_zero(name, input, other):
    if np.size(input) and anywhere(np.equal(other, 0)):
        raise RuntimeError(f"{name}: ZeroDivisionError: integer division by zero")


def truncated_quotient(input, other):
    """Quotient rounded towards zero."""
    if input.dtype.kind == "f":
        return np.trunc(np.divide(input, other))
    _refuse_zero("div", input, other)
    quotient = np.floor_divide(input, other)
    # Floor division is one too small where the signs differ and something is left over.
    inexact = np.not_equal(np.multiply(quotient, other), input)
    return np.where(np.logical_and(inexact, np.less(quotient, 0)), quotient + 1, quotient).astype(
        input.dtype, copy=False
    )


def floor_quotient(input, other):
    """Quotient rounded down; floats by zero give an infinity, as true division does."""
    if input.dtype.kind != "f":
        _refuse_zero("floor_divide", input, other)
        return np.floor_divide(input, other)
    quotient = np.floor_divide(input, other)
    return np.where(np.equal(other, 0), np.divide(input, other), quotient)


def _is_real(x):
    return isinstance(x, Tensor) and not x._dtype.is_complex


def _divisor_gradient(g, input, other, rounding_mode):
    if rounding_mode is not None:
        return g * 0
    if _is_real(g) and _is_real(input):
        return quotient_backward(g, input, other)
    return -g * conj_of(input / other / other)


def _div_rule(rounding_mode):
    return FLOAT if rounding_mode is None else SAME


@pointwise(_div_rule, ufunc=np.divide, aliases=("divide", "true_divide"), scalars=True, grad={
    "input": lambda g, other, rounding_mode: (
        g / conj_of(other) if rounding_mode is None else g * 0
    ),
    "other": _divisor_gradient,
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


@pointwise(SAME, accepts="bool int float", domain=(1, 4), scalars=True, grad=lambda g: g * 0)
def floor_divide(input, other):
    """Return the quotient rounded down. Raises RuntimeError for integers divided by zero.

    >>> import iskra as torch
    >>> torch.floor_divide(torch.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    return floor_quotient(input, other)


@pointwise(SAME, accepts="bool int float", domain=(1, 4), scalars=True, grad={
    "input": lambda g: g,
    "other": lambda g, input, other: -g * div(input, other, rounding_mode="floor"),
})
def remainder(input, other):
    """Return the remainder with the sign of the divisor, as Python's ``%``.

    Raises RuntimeError for integers divided by zero.

    >>> import iskra as torch
    >>> torch.remainder(torch.tensor([-3.0, 3.0]), 2)
    tensor([1., 1.])
    """
    if input.dtype.kind != "f":
        refuse_kinds("remainder", input, "b")
        _refuse_zero("remainder", input, other)
    return np.remainder(input, other)


@pointwise(SAME, accepts="bool int float", domain=(1, 4), grad={
    "input": lambda g: g,
    "other": lambda g, input, other: -g * div(input, other, rounding_mode="trunc"),
})
def fmod(input, other):
    """Return the remainder with the sign of the dividend, as C's ``fmod``.

    Raises RuntimeError for integers divided by zero.

    >>> import iskra as torch
    >>> torch.fmod(torch.tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])
    """
    if input.dtype.kind != "f":
        refuse_kinds("fmod", input, "b")
        _refuse_zero("fmod", input, other)
    return np.fmod(input, other)


def _power_gradient_base(g, input, exponent):
    if isinstance(exponent, (int, float)) and _is_real(g):
        return power_backward(g, input, exponent)
    if not isinstance(exponent, Tensor):
        return g * 0 if exponent == 0 else g * conj_of(exponent * input ** (exponent - 1))
    slope = conj_of(exponent * input ** (exponent - 1))
    return where(exponent == 0, slope.new_zeros(()), g * slope)


def _power_gradient_exponent(g, input, exponent, result):
    logarithm = input.log() if isinstance(input, Tensor) else scalar_log(input)
    slope = g * conj_of(result * logarithm)
    # 0 ** exponent is flat: log(0) must not make it NaN.
    flat = (input == 0) & (exponent >= 0) if not result._dtype.is_complex else input == 0
    if not isinstance(flat, Tensor):
        return slope * 0 if flat else slope
    return where(flat, slope.new_zeros(()), slope)


def scalar_log(x):
    """The logarithm of a Python number; -inf for 0, NaN below."""
    with np.errstate(all="ignore"):
        return complex(np.log(x)) if isinstance(x, complex) else float(np.log(float(x)))


def _power_node(input, exponent):
    if not isinstance(exponent, Tensor):
        return "PowBackward0"
    return "PowBackward1" if isinstance(input, Tensor) else "PowBackward2"


def _power_rule(input, exponent):
    """The common dtype; a negative number (not a tensor) as exponent has no integer answers."""
    if isinstance(exponent, int) and exponent < 0 and isinstance(input, Tensor):
        if input._dtype.category == INTEGER:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    return SAME


@pointwise(_power_rule, node=_power_node, scalars=True, grad={
    "input": _power_gradient_base, "exponent": _power_gradient_exponent,
})
def pow(input, exponent):
    """Return `input` to the power of `exponent`; either may be a number.

    Raises RuntimeError for integers to a negative integer power.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.pow.html

    >>> import iskra as torch
    >>> torch.pow(torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    if exponent.ndim == 0 and exponent == 2:
        return np.multiply(input, input)
    if input.dtype.kind == "i":
        return _integer_power(input, exponent)
    if exponent.ndim == 0 and input.dtype.kind in "fc":
        if exponent == 0.5:
            return np.sqrt(input)
        if exponent == 3:
            return np.multiply(np.multiply(input, input), input)
    return np.power(input, exponent)


def _integer_power(base, exponent):
    """Integer power; a negative exponent gives 0, except for bases 1 and -1."""
    negative = np.less(exponent, 0)
    if not np.any(negative):
        return np.power(base, exponent)
    result = np.power(base, np.where(negative, 0, exponent))
    odd = np.equal(np.remainder(exponent, 2), 1)
    inverse = np.where(base == 1, 1, np.where(base == -1, np.where(odd, -1, 1), 0))
    return np.where(negative, inverse, result).astype(base.dtype)


@pointwise(SAME, inplace=True, scalars=True, grad={
    "input": _power_gradient_base, "exponent": _power_gradient_exponent,
})
def float_power(input, exponent):
    """Return the power computed in float64 (complex128 for complex operands).

    >>> import iskra as torch
    >>> torch.float_power(torch.tensor([2]), 3)
    tensor([8.], dtype=iskra.float64)
    """
    wide = np.complex128 if "c" in (input.dtype.kind, exponent.dtype.kind) else np.float64
    return np.power(input.astype(wide), exponent.astype(wide))


@pointwise(SAME, grad=lambda g: -g, aliases=("negative",))
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


@composite()
def positive(input):
    """Return the tensor itself. Raises RuntimeError for bools.

    >>> import iskra as torch
    >>> torch.positive(torch.tensor([1]))
    tensor([1])
    """
    if input.dtype.category == BOOL:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def _half_of_ties(g, input, other, chosen):
    """The gradient of an extremum: all of it where chosen, half where both are equal."""
    tie = input == other
    return where(tie, g / 2, where(chosen, g, g * 0))


@pointwise(SAME, numbers=False, ufunc=np.maximum, inplace=False, accepts="bool int float", grad={
    "input": lambda g, input, other: _half_of_ties(g, input, other, input > other),
    "other": lambda g, input, other: _half_of_ties(g, input, other, other > input),
})
def maximum(input, other):
    """Return the larger of each pair of elements; NaN wins.

    >>> import iskra as torch
    >>> torch.maximum(torch.tensor([1, 5]), torch.tensor([3, 2]))
    tensor([3, 5])
    """
    return np.maximum(input, other)


@pointwise(SAME, numbers=False, ufunc=np.minimum, inplace=False, accepts="bool int float", grad={
    "input": lambda g, input, other: _half_of_ties(g, input, other, input < other),
    "other": lambda g, input, other: _half_of_ties(g, input, other, other < input),
})
def minimum(input, other):
    """Return the smaller of each pair of elements; NaN wins.

    >>> import iskra as torch
    >>> torch.minimum(torch.tensor([1, 5]), torch.tensor([3, 2]))
    tensor([1, 2])
    """
    return np.minimum(input, other)


@pointwise(SAME, numbers=False, ufunc=np.fmax, inplace=False, accepts="bool int float", grad={
    "input": lambda g, input, other: where((input >= other) | other.isnan(), g, g * 0),
    "other": lambda g, input, other: where((input >= other) | other.isnan(), g * 0, g),
})
def fmax(input, other):
    """Return the larger of each pair of elements; a number wins over NaN.

    >>> import iskra as torch
    >>> torch.fmax(torch.tensor([1.0, float("nan")]), torch.tensor([3.0, 2.0]))
    tensor([3., 2.])
    """
    return np.fmax(input, other)


@pointwise(SAME, numbers=False, ufunc=np.fmin, inplace=False, accepts="bool int float", grad={
    "input": lambda g, input, other: where((input <= other) | other.isnan(), g, g * 0),
    "other": lambda g, input, other: where((input <= other) | other.isnan(), g * 0, g),
})
def fmin(input, other):
    """Return the smaller of each pair of elements; a number wins over NaN.

    >>> import iskra as torch
    >>> torch.fmin(torch.tensor([1.0, float("nan")]), torch.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """
    return np.fmin(input, other)


@pointwise(SAME, numbers=False, grad={
    "input": lambda g: g,
    "tensor1": lambda g, tensor2, value: g * conj_of(tensor2 * value),
    "tensor2": lambda g, tensor1, value: g * conj_of(tensor1 * value),
})
def addcmul(input, tensor1, tensor2, *, value=1):
    """Return ``input + value * tensor1 * tensor2``.

    >>> import iskra as torch
    >>> torch.addcmul(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0]), value=2)
    tensor([13.])
    """
    return np.add(input, np.multiply(scaled(tensor1, value), tensor2))


@pointwise(SAME, numbers=False, grad={
    "input": lambda g: g,
    "tensor1": lambda g, tensor2, value: g * conj_of(value / tensor2),
    "tensor2": lambda g, tensor1, tensor2, value: (
        -g * conj_of(value * tensor1 / (tensor2 * tensor2))
    ),
})
def addcdiv(input, tensor1, tensor2, *, value=1):
    """Return ``input + value * tensor1 / tensor2``. Raises RuntimeError for integers only.

    >>> import iskra as torch
    >>> torch.addcdiv(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([2.0]), value=2)
    tensor([4.])
    """
    if input.dtype.kind in "iub":
        raise RuntimeError(
            "addcdiv: Integer division with addcdiv is no longer supported. Use (input + value * "
            "torch.trunc(tensor1 / tensor2)).to(input.dtype) or float tensors instead."
        )
    return np.add(input, scaled(np.divide(tensor1, tensor2), value))


@pointwise(SAME, scalars=True, accepts="float complex", grad={
    "input": lambda g, weight: g * conj_of(1 - weight),
    "end": lambda g, weight: g * conj_of(weight),
    "weight": lambda g, input, end: g * conj_of(end - input),
})
def lerp(input, end, weight):
    """Return ``input + weight * (end - input)``; `weight` is a number or a tensor.

    Unlike in PyTorch, dtypes may differ: they are promoted.

    >>> import iskra as torch
    >>> torch.lerp(torch.tensor([1.0]), torch.tensor([3.0]), 0.25)
    tensor([1.5000])
    """
    span = np.subtract(end, input)
    # The second form is exact at weight 1; PyTorch changes over at one half.
    near = np.add(input, np.multiply(weight, span))
    far = np.subtract(end, np.multiply(span, np.subtract(input.dtype.type(1), weight)))
    return np.where(np.less(np.abs(weight), 0.5), near, far)


@pointwise(SAME, numbers=False, accepts="bool int")
def gcd(input, other):
    """Return the greatest common divisor of each pair of integers.

    >>> import iskra as torch
    >>> torch.gcd(torch.tensor([12, 7]), torch.tensor([18, 21]))
    tensor([6, 7])
    """
    refuse_kinds("gcd", input, "b")
    return np.gcd(input, other)


@pointwise(SAME, numbers=False, accepts="bool int")
def lcm(input, other):
    """Return the least common multiple of each pair of integers.

    >>> import iskra as torch
    >>> torch.lcm(torch.tensor([4, 7]), torch.tensor([6, 2]))
    tensor([12, 14])
    """
    refuse_kinds("lcm", input, "b")
    return np.lcm(input, other)


@pointwise(FLOAT, numbers=False, accepts="bool int float", grad={
    "input": lambda g, input, other: g * other / (input * input + other * other),
    "other": lambda g, input, other: -g * input / (input * input + other * other),
}, aliases=("arctan2",))
def atan2(input, other):
    """Return the angle of the point ``(other, input)``, in radians between -pi and pi.

    >>> import iskra as torch
    >>> torch.atan2(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([0.7854])
    """
    return np.arctan2(input, other)


@pointwise(SAME, numbers=False, accepts="bool int float", grad={
    "input": lambda g, input, result: g * (input / result),
    "other": lambda g, other, result: g * (other / result),
})
def hypot(input, other):
    """Return the length of the hypotenuse with these legs.

    >>> import iskra as torch
    >>> torch.hypot(torch.tensor([3.0]), torch.tensor([4.0]))
    tensor([5.])
    """
    refuse_kinds("hypot", input, "iub")
    return np.hypot(input, other)


@pointwise(FLOAT, accepts="bool int float", grad={
    "input": lambda g, input, result: where(input == 0, g * 0, g * result / input),
})
def copysign(input, other):
    """Return the magnitude of `input` with the sign of `other`.

    >>> import iskra as torch
    >>> torch.copysign(torch.tensor([1.0, 2.0]), torch.tensor([-0.0, 5.0]))
    tensor([-1.,  2.])
    """
    return np.copysign(input, other)


def complex_logaddexp(x, y):
    """`logaddexp` of complex arrays: the operand of the larger real part is taken out."""
    ahead = np.greater_equal(x.real, y.real)
    high, low = np.where(ahead, x, y), np.where(ahead, y, x)
    infinite = np.equal(high.real, low.real) & np.isinf(high.real)
    return np.where(infinite, high, high + np.log1p(np.exp(low - high)))


@pointwise(SAME, numbers=False, inplace=False, grad={
    "input": lambda g, input, other: g * conj_of((input - other).sigmoid()),
    "other": lambda g, input, other: g * conj_of((other - input).sigmoid()),
})
def logaddexp(input, other):
    """Return ``log(exp(input) + exp(other))`` without overflow.

    >>> import iskra as torch
    >>> torch.logaddexp(torch.tensor([-1000.0]), torch.tensor([-1001.0]))
    tensor([-999.6868])
    """
    refuse_kinds("logaddexp", input, "iub")
    if input.dtype.kind == "c":
        return complex_logaddexp(input, other)
    return np.logaddexp(input, other)


@pointwise(SAME, numbers=False, inplace=False, accepts="bool int float", grad={
    "input": lambda g, input, result: g * (input - result).exp2(),
    "other": lambda g, other, result: g * (other - result).exp2(),
})
def logaddexp2(input, other):
    """Return ``log2(2 ** input + 2 ** other)`` without overflow.

    >>> import iskra as torch
    >>> torch.logaddexp2(torch.tensor([3.0]), torch.tensor([3.0]))
    tensor([4.])
    """
    refuse_kinds("logaddexp2", input, "iub")
    return np.logaddexp2(input, other)


@composite(inplace=True, out="aligned")
def ldexp(input, other):
    """Return ``input * 2 ** other``. Raises TypeError unless both are tensors.

    >>> import iskra as torch
    >>> torch.ldexp(torch.tensor([1.0, 2.0]), torch.tensor([3, 4]))
    tensor([ 8., 32.])
    """
    for name, operand in (("input", input), ("other", other)):
        if not isinstance(operand, Tensor):
            raise TypeError(
                f"ldexp(): argument '{name}' must be Tensor, not {type(operand).__name__}"
            )
    return mul(input, pow(2.0, other))
