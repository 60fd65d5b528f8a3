"""Products added to something: addmm, addmv, addr, baddbmm, addbmm.

Source of every operator here:
https://docs.pytorch.org/docs/stable/torch.html#blas-and-lapack-operations
"""

import numpy as np

from iskra.core.size import format_shape
from iskra.dispatch import SAME, operator
from iskra.ops.arithmetic import conj_of
from iskra.ops.matmul import (
    ACCEPTS,
    adjoint_times,
    check_batches,
    check_matrix_vector,
    check_multiply,
    matmul,
    multiplications,
    product,
    same_dtype,
    times_adjoint,
    times_vector,
)


def _refuse_self_mat2(first, mat1, mat2=None):
    other = mat1 if mat2 is None or mat2 is first else mat2
    raise RuntimeError(
        f"self and mat2 must have the same dtype, but got {first.scalar_name} and "
        f"{other.scalar_name}"
    )


def _added(input, result, beta, alpha):
    """``beta * input + alpha * result``, in the shape of `result`."""
    shape = result.shape
    if input.shape != shape:
        check_expands(input.shape, shape)
    if alpha != 1:
        result = result * _factor(alpha, result.dtype)
    if beta == 0:  # whatever input holds, NaN too, is left out
        return result
    addend = input if beta == 1 else input * _factor(beta, input.dtype)
    return np.add(result, addend)


def _factor(value, dtype):
    return dtype.type(value)


def check_expands(shape, target):
    """The error of ``expand`` where `shape` does not broadcast to `target`."""
    if len(shape) > len(target):
        raise RuntimeError(
            f"expand({format_shape(shape)}, size={list(target)}): the number of sizes provided "
            f"({len(target)}) must be greater or equal to the number of dimensions in the tensor "
            f"({len(shape)})"
        )
    offset = len(target) - len(shape)
    for place, size in reversed(list(enumerate(shape, offset))):
        if size not in (1, target[place]):
            raise RuntimeError(
                f"The expanded size of the tensor ({target[place]}) must match the existing size "
                f"({size}) at non-singleton dimension {place}.  Target sizes: "
                f"{format_shape(target)}.  Tensor sizes: {format_shape(shape)}"
            )


def _scaled(x, factor):
    return x if factor == 1 else x * conj_of(factor)


_ADDED = dict(inplace=True, computes=True, accepts=ACCEPTS, uniform=_refuse_self_mat2,
              work=lambda input, a, b: multiplications(a, b))


@operator(
    operands="input mat1 mat2",
    grad={
        "input": lambda g, beta: _scaled(g, beta),
        "mat1": lambda g, mat2, alpha: _scaled(times_adjoint(g, mat2), alpha),
        "mat2": lambda g, mat1, alpha: _scaled(adjoint_times(mat1, g), alpha),
    },
    samples=lambda make: [
        ((make((2, 4)), make((2, 3)), make((3, 4))), {}),
        ((make((4,)), make((2, 3)), make((3, 4))), {"beta": 2, "alpha": 3}),
    ],
    autocast="lower", **_ADDED,
)
def addmm(input, mat1, mat2, *, beta=1, alpha=1):
    """Return ``beta * input + alpha * (mat1 @ mat2)``; `input` is broadcast.

    Where `beta` is 0, `input` is left out whatever it holds.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.addmm.html

    >>> import iskra as torch
    >>> torch.addmm(torch.tensor([1, 2]), torch.tensor([[1, 2]]), torch.tensor([[1, 0], [0, 1]]))
    tensor([[2, 4]])
    """
    if mat1.ndim != 2:
        raise RuntimeError(f"mat1 must be a matrix, got {mat1.ndim}-D tensor")
    if mat2.ndim != 2:
        raise RuntimeError(f"mat2 must be a matrix, got {mat2.ndim}-D tensor")
    same_dtype(input, mat1, mat2)
    check_multiply(mat1.shape, mat2.shape)
    return _added(input, product(mat1, mat2), beta, alpha)


@operator(
    operands="input mat vec",
    grad={
        "input": lambda g, beta: _scaled(g, beta),
        "mat": lambda g, vec, alpha: _scaled(g.unsqueeze(-1) * conj_of(vec), alpha),
        "vec": lambda g, mat, alpha: _scaled(
            adjoint_times(mat, g.unsqueeze(-1)).squeeze(-1), alpha
        ),
    },
    samples=lambda make: [((make((2,)), make((2, 3)), make((3,))), {"beta": 2, "alpha": 3})],
    **_ADDED,
)
def addmv(input, mat, vec, *, beta=1, alpha=1):
    """Return ``beta * input + alpha * (mat @ vec)``; `input` is broadcast.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addmv.html

    >>> import iskra as torch
    >>> torch.addmv(torch.tensor([1, 1]), torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 1]))
    tensor([4, 8])
    """
    same_dtype(input, mat, vec)
    check_matrix_vector(mat, vec, input.size)
    return _added(input, times_vector(mat, vec), beta, alpha)


@operator(
    operands="input batch1 batch2",
    grad={
        "input": lambda g, beta: _scaled(g, beta),
        "batch1": lambda g, batch2, alpha: _scaled(times_adjoint(g, batch2), alpha),
        "batch2": lambda g, batch1, alpha: _scaled(adjoint_times(batch1, g), alpha),
    },
    samples=lambda make: [((make((2, 1)), make((2, 2, 3)), make((2, 3, 2))), {"beta": 2})],
    autocast="lower", **_ADDED,
)
def baddbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """Return ``beta * input + alpha * (batch1 @ batch2)`` for each matrix of the batches.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.baddbmm.html

    >>> import iskra as torch
    >>> torch.baddbmm(torch.ones(1), torch.ones(2, 1, 3), torch.ones(2, 3, 1)).flatten()
    tensor([4., 4.])
    """
    check_batches(batch1, batch2)
    same_dtype(input, batch1)
    return _added(input, product(batch1, batch2), beta, alpha)


@operator(
    operands="input batch1 batch2",
    grad={
        "input": lambda g, beta: _scaled(g, beta),
        "batch1": lambda g, batch2, alpha: _scaled(times_adjoint(g.unsqueeze(0), batch2), alpha),
        "batch2": lambda g, batch1, alpha: _scaled(adjoint_times(batch1, g.unsqueeze(0)), alpha),
    },
    samples=lambda make: [((make((2, 2)), make((3, 2, 3)), make((3, 3, 2))), {"alpha": 2})],
    autocast="lower", **_ADDED,
)
def addbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """Return ``beta * input`` plus `alpha` times the sum of the products of two batches.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addbmm.html

    >>> import iskra as torch
    >>> torch.addbmm(torch.zeros(1, 1), torch.ones(2, 1, 3), torch.ones(2, 3, 1))
    tensor([[6.]])
    """
    check_batches(batch1, batch2)
    same_dtype(input, batch1)
    # The sum over the batch is part of one long contraction.
    count, rows, inner = batch1.shape
    left = batch1.transpose(1, 0, 2).reshape(rows, count * inner)
    right = batch2.reshape(count * inner, batch2.shape[2])
    return _added(input, product(left, right), beta, alpha)


@operator(
    out="casts aligned", promote=SAME, operands="input vec1 vec2", inplace=True, computes=True,
    grad={
        "input": lambda g, beta: _scaled(g, beta),
        "vec1": lambda g, vec2, alpha: _scaled(matmul(g, conj_of(vec2)), alpha),
        "vec2": lambda g, vec1, alpha: _scaled(matmul(conj_of(vec1), g), alpha),
    },
    samples=lambda make: [((make((2, 3)), make((2,)), make((3,))), {"alpha": 2})],
)
def addr(input, vec1, vec2, *, beta=1, alpha=1):
    """Return ``beta * input + alpha * outer(vec1, vec2)``; `input` is broadcast.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addr.html

    >>> import iskra as torch
    >>> torch.addr(torch.zeros(2, 2), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    for name, vector in (("vec1", vec1), ("vec2", vec2)):
        if vector.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {vector.ndim}-D")
    if input.dtype.kind in "biu" and any(isinstance(x, float) for x in (beta, alpha)):
        raise RuntimeError(
            "addr: For integral input tensors, arguments beta and alpha must not be floating "
            f"point numbers, got beta={beta}, alpha={alpha}."
        )
    return _added(input, np.multiply(vec1[:, None], vec2), beta, alpha)
