"""The step function, the next floating-point number, and numbers in the place of none.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#pointwise-ops
"""

import numpy as np

from iskra.core.dtypes import BOOL, INTEGER, finfo, of_numpy
from iskra.dispatch import SAME, composite, operator, pointwise
from iskra.dispatch.execute import number
from iskra.ops.comparison import where
from iskra.tensor import Tensor
from iskra.tensor.facts import result_type


def _refuse_dtypes(first, second):
    raise RuntimeError(
        f"heaviside: not implemented for tensors of different dtypes, {first} and {second}"
    )


@pointwise(SAME, out="exact", numbers=False, accepts="bool int float", uniform=_refuse_dtypes)
def heaviside(input, values):
    """Return 0 below zero (and for NaN), 1 above, and `values` at zero.

    Raises RuntimeError where the dtypes differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.heaviside.html

    >>> import iskra as torch
    >>> torch.heaviside(torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    step = np.greater(input, 0).astype(input.dtype)
    return np.where(np.equal(input, 0), values, step)


@operator(
    method=False, function=False, inplace=True, out=False, operands="input other",
    accepts="float", node="NextafterBackward0", moves=True,
    grad={"input": lambda g: g, "other": lambda g: g * 0},
    samples=lambda make: [((make((3, 4)), make((4,))), {}), ((make(()), make(())), {})],
)
def next_number(input, other):
    """The operator behind `nextafter`, for operands of one dtype, which is not computed wider."""
    return np.nextafter(input, other)


@composite(out="aligned", inplace=True)
def nextafter(input, other):
    """Return the next floating-point number after `input` in the direction of `other`.

    That is the next of the operands' own dtype: bfloat16 has few.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nextafter.html

    >>> import iskra as torch
    >>> torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0])) - 1
    tensor([1.1921e-07])
    """
    for name, operand in (("input", input), ("other", other)):
        if not isinstance(operand, Tensor):
            raise TypeError(
                f"nextafter(): argument '{name}' must be Tensor, not {type(operand).__name__}"
            )
    kind = result_type(input, other)
    return next_number(input.to(kind), other.to(kind))


@operator(
    out="aligned", inplace=True, grad=lambda g, input: where(input.isfinite(), g, g.new_zeros(())),
    moves=True,
    samples=lambda make: [((make((3, 4)),), {}), ((make(()), 1.0, 2.0, -2.0), {})],
)
def nan_to_num(input, nan=0.0, posinf=None, neginf=None):
    """Replace NaN by `nan` and infinities by the largest numbers, or by `posinf`, `neginf`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nan_to_num.html

    >>> import iskra as torch
    >>> torch.nan_to_num(torch.tensor([float("nan"), 1.0]), nan=7.0)
    tensor([7., 1.])
    """
    dtype = of_numpy(input.dtype)
    if dtype.category in (BOOL, INTEGER):
        return np.copy(input)
    if dtype.is_complex:
        return np.nan_to_num(input, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)
    limits = finfo(dtype)  # those of the elements' own dtype, although narrow ones are widened
    wide = input.astype(np.float32) if dtype.is_narrow else input
    nothing, above, below = (
        number(value, wide.dtype)
        for value in (0.0 if nan is None else nan, limits.max if posinf is None else posinf,
                      limits.min if neginf is None else neginf)
    )
    found = np.where(np.equal(wide, np.inf), above, wide)
    found = np.where(np.equal(wide, -np.inf), below, found)
    found = np.where(np.isnan(wide), nothing, found)
    return found.astype(input.dtype)
