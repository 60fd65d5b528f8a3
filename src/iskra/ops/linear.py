"""The layers' products: linear and bilinear.

Source of every operator here:
https://docs.pytorch.org/docs/stable/nn.functional.html#linear-functions
"""

import math

import numpy as np

from iskra.core.size import format_shape
from iskra.dispatch import calling, composite, operator
from iskra.dispatch.execute import on_arrays
from iskra.ops.addmm import check_expands
from iskra.ops.arithmetic import conj_of
from iskra.ops.matmul import (
    ACCEPTS,
    adjoint_times,
    matmul,
    product,
    refuse_m1_m2,
    same_dtype,
    times_vector,
    widened,
)
from iskra.ops.reduction import sum as sum_along


def _node_of_linear(input, bias):
    rank = input._array.ndim
    if rank == 2:
        return "MmBackward0" if bias is None else "AddmmBackward0"
    if bias is not None:
        return "ViewBackward0"
    return "SqueezeBackward4" if rank == 1 else "UnsafeViewBackward0"


def _input_gradient(g, weight):
    if weight.dim() == 1:
        return g.unsqueeze(-1) * conj_of(weight)
    return matmul(g, conj_of(weight))


def _weight_gradient(g, input, weight_shape):
    if len(weight_shape) == 1:
        return (g.unsqueeze(-1) * conj_of(input)).reshape(-1, input.size(-1)).sum(0)
    if input.dim() != 2:
        input = input.reshape(-1, input.size(-1))
        g = g.reshape(input.size(0), -1)
    return adjoint_times(conj_of(g), conj_of(input))


def _bias_gradient(g):
    rank = g.dim()
    if rank == 2:
        return g.sum(0)
    return g.sum(tuple(range(rank - 1))) if rank > 1 else g


def _rows(array):
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _sum_of_rows(array):
    return on_arrays(sum_along, widened(array), 0)


def _second_of_parameters(g, input, grad_shape):
    of_weight, of_bias = g
    if of_weight is None:
        return of_bias.expand(grad_shape)
    return linear(input, of_weight, of_bias)


def _second_of_all(g, input, weight, grad_shape):
    of_input, *of_parameters = g
    if of_input is None:
        return _second_of_parameters(of_parameters, input, grad_shape)
    result = linear(of_input, weight)
    if all(part is None for part in of_parameters):
        return result
    return result + _second_of_parameters(of_parameters, input, grad_shape)


_GRADIENTS = dict(method=False, function=False, out=False, computes="narrow",
                  node="MmBackward0")


@operator(operands="grad input", outputs=2, work=lambda grad, input: (
    grad.size * input.shape[-1]
), grad={
    "grad": _second_of_parameters,
    "input": lambda g, grad: None if g[0] is None else _input_gradient(grad, g[0]),
}, **_GRADIENTS)
def linear_backward_parameters(grad, input):
    """The gradients of the weight and the bias of `linear`, given that of the result."""
    if grad.ndim == 2 == input.ndim and grad.dtype.kind == "f":
        return product(grad.T, input), _sum_of_rows(grad)
    vector = grad.ndim < input.ndim  # the weight is one
    rows = grad.reshape(grad.size, 1) if vector else grad if grad.ndim == 2 else _rows(grad)
    taken = input if input.ndim == 2 else _rows(input)
    if grad.dtype.kind == "c":
        taken = np.conjugate(taken)
    of_weight, of_bias = product(rows.T, taken), _sum_of_rows(rows)
    return (of_weight[0], of_bias.reshape(())) if vector else (of_weight, of_bias)


@operator(operands="grad input weight", outputs=3, work=lambda grad, input, weight: (
    2 * grad.size * input.shape[-1]
), grad={
    "grad": _second_of_all,
    "input": lambda g, grad: None if g[1] is None else _input_gradient(grad, g[1]),
    "weight": lambda g, grad, weight_shape: (
        None if g[0] is None else _weight_gradient(grad, g[0], weight_shape)
    ),
}, **_GRADIENTS)
def linear_backward(grad, input, weight):
    """The gradients of the operands of `linear`. One call for all costs less than half of three."""
    conjugated = np.conjugate(weight) if weight.dtype.kind == "c" else weight
    if weight.ndim == 1:
        of_input = np.multiply(grad[..., np.newaxis], conjugated)
    elif grad.ndim == 1:
        of_input = product(grad[np.newaxis], conjugated)[0]
    else:
        of_input = product(grad, conjugated)
    return of_input, *linear_backward_parameters.operator.body(grad, input)


@operator(
    namespace="nn.functional", operands="input weight bias", computes="narrow", accepts=ACCEPTS,
    uniform=refuse_m1_m2, autocast="lower", node=_node_of_linear,
    work=lambda input, weight, *_: input.size * len(weight),
    grad={
        "input": _input_gradient, "weight": _weight_gradient, "bias": _bias_gradient,
        ("weight", "bias"): calling(linear_backward_parameters, "g input"),
        ("input", "weight", "bias"): calling(linear_backward, "g input weight"),
    },
    samples=lambda make: [
        ((make((2, 3)), make((4, 3)), make((4,))), {}), ((make((2, 3)), make((4, 3))), {}),
        ((make((2, 2, 3)), make((4, 3)), make((4,))), {}), ((make((3,)), make((4, 3))), {}),
        ((make((2, 3)), make((3,))), {}),
    ],
)
def linear(input, weight, bias=None):
    """Return ``input @ weight.T + bias``.

    `input` is ``(*, in)``, `weight` ``(out, in)``, `bias` ``(out,)``; the result is ``(*, out)``.
    Raises RuntimeError for sizes or dtypes that do not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear.html

    >>> import iskra as torch
    >>> x, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    >>> torch.nn.functional.linear(x, weight, torch.tensor([10.0, 20.0]))
    tensor([[13., 22.]])
    """
    dtype = input.dtype
    if weight.dtype is not dtype or bias is not None and bias.dtype is not dtype:
        same_dtype(input, weight, *(() if bias is None else (bias,)))
    if weight.ndim == 2 <= input.ndim:
        if input.shape[-1] != weight.shape[1]:
            _refuse_shapes(input, weight)
        if bias is not None and bias.shape == weight.shape[:1]:
            return product(input, weight.T, bias)
    if bias is None:
        return _product_of_ranks(input, weight)
    # Narrow floats are rounded once, when the bias is in the sum.
    result, bias = _product_of_ranks(widened(input), widened(weight)), widened(bias)
    if bias.shape != result.shape[-1:]:
        rows = (math.prod(result.shape[:-1]), result.shape[-1])
        check_expands(bias.shape, rows if result.ndim != 2 else result.shape)
    return np.add(result, bias, result if result.ndim and result.size else None)


def _refuse_shapes(input, weight):
    rows = math.prod(input.shape[:-1])
    raise RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and "
        f"{weight.shape[1]}x{weight.shape[0]})"
    )


def _product_of_ranks(input, weight):
    if not input.ndim or weight.ndim not in (1, 2):
        raise RuntimeError(
            "linear: input must have at least one dimension and weight one or two, got shapes "
            f"{format_shape(input.shape)} and {format_shape(weight.shape)}"
        )
    if weight.ndim == 2 and input.shape[-1] != weight.shape[1]:
        _refuse_shapes(input, weight)
    if weight.ndim == 1:
        if input.shape[-1] != weight.size:
            raise RuntimeError(
                f"size mismatch, got input ({math.prod(input.shape[:-1])}), mat "
                f"({math.prod(input.shape[:-1])}x{input.shape[-1]}), vec ({weight.size})"
            )
        return np.asarray(times_vector(input, weight))
    if input.ndim == 1:
        return product(input[None], weight.T)[0]
    return product(input, weight.T)


@composite(
    autocast="keep",
    namespace="nn.functional",
    samples=lambda make: [
        ((make((2, 3)), make((2, 4)), make((5, 3, 4)), make((5,))), {}),
        ((make((2, 2, 3)), make((2, 2, 4)), make((5, 3, 4))), {}),
    ],
)
def bilinear(input1, input2, weight, bias=None):
    """Return ``input1 @ weight[o] @ input2 + bias[o]`` for every output o.

    `input1` is ``(*, in1)``, `input2` ``(*, in2)``, `weight` ``(out, in1, in2)``; the result is
    ``(*, out)``. Raises RuntimeError for sizes that do not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.bilinear.html

    >>> import iskra as torch
    >>> x = torch.tensor([[1.0, 2.0]])
    >>> torch.nn.functional.bilinear(x, x, torch.ones(1, 2, 2))
    tensor([[9.]])
    """
    _check_bilinear(input1, input2, weight, bias)
    leading = input1.shape[:-1]
    first = input1.reshape(-1, input1.size(-1))
    second = input2.reshape(-1, input2.size(-1))
    out, size1, size2 = weight.shape
    # (n, in1) @ (in1, out * in2) leaves one product with the second input per output.
    middle = matmul(first, weight.permute(1, 0, 2).reshape(size1, out * size2))
    result = matmul(middle.view(-1, out, size2), second.unsqueeze(-1)).squeeze(-1)
    if bias is not None:
        result = result + bias
    return result.reshape(*leading, out)


def _check_bilinear(input1, input2, weight, bias):
    if input1.dim() != input2.dim():
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}"
        )
    for dim in range(input1.dim() - 1):
        if input1.size(dim) != input2.size(dim):
            raise RuntimeError(
                "bilinear(): input batch dimensions do not match at dim "
                f"{dim}: got {input1.size(dim)} and {input2.size(dim)}"
            )
    for number, tensor in ((1, input1), (2, input2)):
        if tensor.size(-1) != weight.size(number):
            raise RuntimeError(
                f"bilinear(): input{number} size does not match weight size: got "
                f"{tensor.size(-1)} but expected {weight.size(number)}"
            )
    if bias is not None and bias.size(0) != weight.size(0):
        raise RuntimeError(
            f"bilinear(): bias size does not match weight size: got {bias.size(0)} but expected "
            f"{weight.size(0)}"
        )
