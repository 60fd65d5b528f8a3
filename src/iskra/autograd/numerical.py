"""`gradcheck` and `gradgradcheck`: gradients compared with finite differences.

Source: https://docs.pytorch.org/docs/stable/autograd.html#numerical-gradient-checking
"""

import warnings

import numpy as np

from iskra.autograd.api import grad
from iskra.core import dtypes
from iskra.tensor import Tensor, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient differs from the finite difference."""


def gradcheck(
    func, inputs, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True,
    nondet_tol=0.0, check_undefined_grad=True, check_grad_dtypes=False,
    check_batched_grad=False, check_batched_forward_grad=False, check_forward_ad=False,
    check_backward_ad=True, fast_mode=False, masked=None,
):
    """Check the gradients of ``func(*inputs)`` against central differences.

    Inputs that require a gradient should be float64 (or complex128). Returns True; on a
    difference raises GradcheckError, or returns False without `raise_exception`.

    >>> import iskra as torch
    >>> x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, (x,))
    True
    """
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    try:
        _check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad):
    tensors = _checked_inputs(inputs)
    outputs = _outputs_of(func, inputs)
    if not outputs:
        raise GradcheckError("gradcheck: no output of the function requires a gradient")
    for number, output in enumerate(outputs):
        numerical = [_numerical(func, inputs, number, t, output, eps) for t in tensors]
        analytical = _analytical(output, tensors)
        again = _analytical(output, tensors)
        for place in range(len(tensors)):
            _compare(numerical[place], analytical[place], number, place, atol, rtol)
            if np.abs(analytical[place] - again[place]).max(initial=0) > nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and "
                    "grad_output multiple times gives different values"
                )


def _checked_inputs(inputs):
    tensors = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    if not tensors:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the "
            "them have requires_grad=True."
        )
    for tensor in tensors:
        if tensor.dtype not in (dtypes.float64, dtypes.complex128):
            warnings.warn(
                f"gradcheck: an input is of {tensor.dtype}, which has too few digits for finite "
                "differences; use float64 or complex128",
                stacklevel=4,
            )
    return tensors


def _outputs_of(func, inputs):
    outputs = func(*inputs)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [o for o in outputs if isinstance(o, Tensor) and o.requires_grad]


def _flat(tensor):
    """The elements, complex ones as pairs of real numbers."""
    array = np.ascontiguousarray(tensor.detach()._array).reshape(-1)
    if array.dtype.kind == "c":
        return array.view(array.real.dtype).astype(np.float64)
    return array.astype(np.float64)


def _numerical(func, inputs, number, tensor, output, eps):
    """The Jacobian by central differences: a row per input element, a column per output's."""
    data = tensor.detach()
    array = data._array
    rows = []
    directions = (1, 1j) if array.dtype.kind == "c" else (1,)
    for index in np.ndindex(array.shape):
        held = array[index].copy()
        for direction in directions:
            array[index] = held + eps * direction
            above = _flat(_outputs_of(func, inputs)[number])
            array[index] = held - eps * direction
            below = _flat(_outputs_of(func, inputs)[number])
            array[index] = held
            rows.append((above - below) / (2 * eps))
    return np.array(rows).reshape(len(rows), _flat(output).size)


def _analytical(output, tensors):
    """The Jacobians by backward, one per tensor, laid out as `_numerical` does."""
    columns = [[] for _ in tensors]
    shape = output._array.shape
    directions = (1, 1j) if output.is_complex() else (1,)
    for index in np.ndindex(shape):
        for direction in directions:
            weight = np.zeros(shape, output._array.dtype)
            weight[index] = direction
            found = grad(output, tensors, wrap(weight), retain_graph=True, allow_unused=True)
            for column, gradient, tensor in zip(columns, found, tensors, strict=True):
                gradient = tensor.detach() * 0 if gradient is None else gradient
                if gradient.shape != tensor.shape:
                    raise GradcheckError("Analytical gradient has incorrect size")
                column.append(_flat(gradient))
    size = [_flat(t).size for t in tensors]
    return [
        np.array(c).T if c else np.zeros((n, 0)) for c, n in zip(columns, size, strict=True)
    ]


def _compare(numerical, analytical, output, place, atol, rtol):
    if np.allclose(analytical, numerical, rtol, atol, equal_nan=True):
        return
    raise GradcheckError(
        f"Jacobian mismatch for output {output} with respect to input {place},\n"
        f"numerical:{numerical}\nanalytical:{analytical}\n"
    )


def gradgradcheck(
    func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3,
    gen_non_contig_grad_outputs=False, raise_exception=True, nondet_tol=0.0,
    check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
    check_fwd_over_rev=False, check_rev_over_rev=True, fast_mode=False, masked=False,
):
    """Check second derivatives: `gradcheck` of the gradient of ``func(*inputs)``.

    `grad_outputs` are the weights of the outputs, drawn at random if not given.

    >>> import iskra as torch
    >>> x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(torch.sin, (x,))
    True
    """
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    outputs = _outputs_of(func, inputs)
    if grad_outputs is None:
        weights = tuple(_random_like(o) for o in outputs)
    else:
        given = grad_outputs if isinstance(grad_outputs, (tuple, list)) else (grad_outputs,)
        weights = tuple(given)
    count = len(inputs)

    def gradient(*arguments):
        found_outputs = _outputs_of(func, arguments[:count])
        tensors = [t for t in arguments[:count] if isinstance(t, Tensor) and t.requires_grad]
        return grad(found_outputs, tensors, arguments[count:], create_graph=True,
                    allow_unused=True)

    return gradcheck(
        gradient, inputs + weights, eps=eps, atol=atol, rtol=rtol,
        raise_exception=raise_exception, nondet_tol=nondet_tol,
    )


def _random_like(output):
    generator = np.random.default_rng(0)
    values = generator.uniform(0.5, 1.5, output._array.shape)
    if output.is_complex():
        values = values + 1j * generator.uniform(0.5, 1.5, output._array.shape)
    return wrap(np.asarray(values, output._array.dtype)).requires_grad_()
