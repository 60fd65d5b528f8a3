"""Solvers of linear systems and inverses.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import math

import numpy as np

from iskra.core.errors import LinAlgError
from iskra.core.size import broadcast, format_shape
from iskra.dispatch import composite, operator
from iskra.dispatch.named import named_results
from iskra.ops.linalg_base import (
    batch_element,
    blas,
    check_float,
    check_matrix,
    check_same,
    check_square,
    each_matrix,
    identity_like,
    lapack,
    refuse_singular,
    shifted,
)
from iskra.ops.matmul import adjoint_times, matmul, times_adjoint

_LINALG = dict(namespace="linalg")
_INNER = dict(function=False, method=False, out=False)


def zero_pivots(array):
    """Per matrix the number of the first pivot of its LU decomposition that is 0, or 0."""

    def first(matrix):
        code = lapack("getrf", matrix)(matrix)[2] if matrix.size else 0
        return (np.int32(max(code, 0)),)

    if 0 in array.shape[:-2]:
        return np.zeros(array.shape[:-2], np.int32)
    return each_matrix(first, array)[0]


def _or_nan(function, array, *others):
    """NumPy's answer, with NaN for the matrices of the batch that are singular; and the info."""
    try:
        return function(array, *others), np.zeros(array.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        pass
    info = zero_pivots(array)
    if not info.any():  # singular only by rounding inside the solver
        info = np.asarray(np.linalg.matrix_rank(array) < array.shape[-1]).astype(np.int32)
    bad = (info != 0)[..., None, None]
    safe = np.where(bad, np.eye(array.shape[-1], dtype=array.dtype), array)
    return np.where(bad, np.asarray(np.nan, array.dtype), function(safe, *others)), info


# -- inverse --------------------------------------------------------------------------------------


def _inverse_gradient(g, result):
    if isinstance(g, (list, tuple)):
        g, result = g[0], result[0]
    return None if g is None else -times_adjoint(adjoint_times(result, g), result)


@operator(
    autocast="float32",
    outputs=2, result=("inverse", "info"), grad={"A": _inverse_gradient},
    samples=lambda make: [((shifted(make, 3, 3),), {}), ((shifted(make, 2, 2, 2),), {})],
    **_LINALG,
)
def linalg_inv_ex(A, *, check_errors=False):
    """Return ``(inverse, info)``; info is not 0 where a matrix is singular.

    Raises LinAlgError for singular matrices only with `check_errors`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv_ex.html

    >>> import iskra as torch
    >>> torch.linalg.inv_ex(torch.tensor([[2.0]])).inverse
    tensor([[0.5000]])
    """
    return _inverse(A, "linalg.inv_ex", check_errors)


def _inverse(A, name, check_errors):
    check_square(name, A)
    check_float(name, A)
    result, info = _or_nan(np.linalg.inv, A)
    if check_errors:
        refuse_singular(name, info)
    return result, info


@operator(
    autocast="float32",
    grad={"A": _inverse_gradient}, node="LinalgInvExBackward0",
    samples=lambda make: [((shifted(make, 3, 3),), {}), ((shifted(make, 2, 2, 2),), {})],
    **_LINALG,
)
def linalg_inv(A):
    """Return the inverse of each square matrix.

    Raises LinAlgError for singular matrices, RuntimeError for matrices that are not square.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv.html

    >>> import iskra as torch
    >>> torch.linalg.inv(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return _inverse(A, "linalg.inv", True)[0]


@composite(autocast="float32", out=True)
def inverse(input):
    """Return the inverse of each square matrix: see `linalg.inv`.

    >>> import iskra as torch
    >>> torch.inverse(torch.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return linalg_inv(input)


# -- solve ----------------------------------------------------------------------------------------


def is_vector(a_shape, b_shape):
    """Whether B holds one vector per matrix."""
    return len(b_shape) == 1 or (
        len(a_shape) - 1 == len(b_shape) and tuple(b_shape) == tuple(a_shape[:-1])
    )


def _check_systems(name, A, B, left):
    check_square(name, A)
    check_float(name, A)
    check_same(name, A, B)
    if not B.ndim:
        raise RuntimeError(f"{name}: The input tensor B must have at least 1 dimension.")
    vector = is_vector(A.shape, B.shape)
    if vector and not left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. "
            "In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    columns = B[..., None] if vector else B
    if A.shape[-1] != columns.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({_by(A)} and {_by(columns)})"
        )
    return vector, columns


def _by(array):
    return f"{array.shape[-2]}x{array.shape[-1]}"


def _solved(A, B, left, name, check_errors):
    vector, columns = _check_systems(name, A, B, left)
    batch = broadcast(A.shape[:-2], columns.shape[:-2])
    matrices = np.broadcast_to(A, (*batch, *A.shape[-2:]))
    if left:
        found, info = _or_nan(np.linalg.solve, matrices, columns)
    else:  # XA = B is the same as A^T X^T = B^T
        found, info = _or_nan(np.linalg.solve, matrices.swapaxes(-1, -2), columns.swapaxes(-1, -2))
        found = np.ascontiguousarray(found.swapaxes(-1, -2))
    if check_errors and info.any():
        where = batch_element(info)[0]
        raise LinAlgError(
            f"torch.{name}: {where}The solver failed because the input matrix is singular."
        )
    return (found[..., 0] if vector else found), info


def _first(value):
    return value[0] if isinstance(value, (list, tuple)) else value


def _solve_gradients(g, A, B_shape, left, result, needs):
    """Solve with the adjoint for B; A's gradient is an outer product of that and the solution."""
    g, result = _first(g), _first(result)
    if g is None:
        return None, None
    vector = is_vector(A.shape, B_shape)
    for_b = linalg_solve(A.mH, g, left=left)
    if not needs[0]:
        return None, for_b
    if vector:
        return -times_adjoint(for_b.unsqueeze(-1), result.unsqueeze(-1)), for_b
    if left:
        return -times_adjoint(for_b, result), for_b
    return -adjoint_times(result, for_b), for_b


_SOLVE_SAMPLES = dict(samples=lambda make: [
    ((shifted(make, 3, 3), make((3, 2))), {}), ((shifted(make, 3, 3), make((3,))), {}),
    ((shifted(make, 2, 3, 3), make((2, 3))), {}),
    ((shifted(make, 3, 3), make((2, 3))), {"left": False}),
])


@operator(
    operands="A B", outputs=2, result=("result", "info"), grad={("A", "B"): _solve_gradients},
    **_LINALG, **_SOLVE_SAMPLES,
)
def linalg_solve_ex(A, B, *, left=True, check_errors=False):
    """Return ``(result, info)``; info is not 0 where a matrix is singular.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve_ex.html

    >>> import iskra as torch
    >>> torch.linalg.solve_ex(torch.tensor([[2.0]]), torch.tensor([4.0])).result
    tensor([2.])
    """
    return _solved(A, B, left, "linalg.solve_ex", check_errors)


@operator(
    autocast="float32",
    operands="A B", grad={("A", "B"): _solve_gradients}, node="LinalgSolveExBackward0",
    **_LINALG, **_SOLVE_SAMPLES,
)
def linalg_solve(A, B, *, left=True):
    """Return the X with ``A @ X = B`` (or ``X @ A = B``) for square matrices A.

    B may hold one vector per matrix. Batches broadcast. Raises LinAlgError for singular A.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve.html

    >>> import iskra as torch
    >>> torch.linalg.solve(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    return _solved(A, B, left, "linalg.solve", True)[0]


# -- triangular systems ---------------------------------------------------------------------------


def _triangle(tensor, upper, unitriangular):
    """The part of a matrix that `solve_triangular` reads."""
    if upper:
        return tensor.triu(1 if unitriangular else 0)
    return tensor.tril(-1 if unitriangular else 0)


def _triangular_gradients(g, A, upper, left, unitriangular, result, needs):
    for_b = linalg_solve_triangular(
        A.mH, g, upper=not upper, left=left, unitriangular=unitriangular
    )
    if not needs[0]:
        return None, for_b
    for_a = -times_adjoint(for_b, result) if left else -adjoint_times(result, for_b)
    return _triangle(for_a, upper, unitriangular), for_b


@operator(
    operands="A B", grad={("A", "B"): _triangular_gradients},
    samples=lambda make: [
        ((shifted(make, 3, 3), make((3, 2))), {"upper": True}),
        ((shifted(make, 2, 3, 3), make((2, 3))), {"upper": False, "left": False}),
        ((make((3, 3)), make((3, 2))), {"upper": False, "unitriangular": True}),
    ],
    **_LINALG,
)
def linalg_solve_triangular(A, B, *, upper, left=True, unitriangular=False):
    """Return the X with ``A @ X = B`` (or ``X @ A = B``) for triangular matrices A.

    Only the triangle is read; with `unitriangular` its diagonal counts as ones. Nothing is
    checked: a zero on the diagonal gives infinities or NaN.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve_triangular.html

    >>> import iskra as torch
    >>> A = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
    >>> torch.linalg.solve_triangular(A, torch.tensor([[5.0], [8.0]]), upper=True)
    tensor([[1.],
            [2.]])
    """
    name = "linalg.solve_triangular"
    check_square(name, A)
    check_matrix(name, B, "B")
    check_float(name, A)
    check_same(name, A, B)
    if A.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({_by(A)} and {_by(B)})"
        )
    batch = broadcast(A.shape[:-2], B.shape[:-2])
    A = np.broadcast_to(A, (*batch, *A.shape[-2:]))
    B = np.broadcast_to(B, (*batch, *B.shape[-2:]))
    if not B.size:
        return np.empty_like(B, subok=False)
    trsm = blas("trsm", A)

    def solve(a, b):
        return (trsm(1, a, b, side=not left, lower=not upper, diag=unitriangular),)

    return np.ascontiguousarray(each_matrix(solve, A, B)[0])


@composite(autocast="float32", out=True)
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """Return ``(solution, cloned_coefficient)``: the older form of `linalg.solve_triangular`.

    >>> import iskra as torch
    >>> torch.triangular_solve(torch.tensor([[4.0]]), torch.tensor([[2.0]])).solution
    tensor([[2.]])
    """
    matrix, is_upper = (A.mH, not upper) if transpose else (A, upper)
    solution = linalg_solve_triangular(
        matrix, b, upper=is_upper, unitriangular=unitriangular
    )
    results = named_results("triangular_solve", ("solution", "cloned_coefficient"))
    return results((solution, A.clone()))


# -- powers and tensors ---------------------------------------------------------------------------


@composite(
    samples=lambda make: [((shifted(make, 3, 3), n), {}) for n in (0, 1, 3, -2)],
    out=True, **_LINALG,
)
def linalg_matrix_power(A, n):
    """Return each square matrix multiplied n times with itself; its inverse for negative n.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_power.html

    >>> import iskra as torch
    >>> torch.linalg.matrix_power(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), 2)
    tensor([[4., 0.],
            [0., 9.]])
    """
    check_square("linalg.matrix_power", A._array)
    if not hasattr(n, "__index__"):
        raise TypeError(
            "linalg_matrix_power(): argument 'n' (position 2) must be int, not "
            f"{type(n).__name__}"
        )
    if n == 0:  # the zeros keep the result in A's graph
        return identity_like(A) + A.triu(A.size(-1))
    base = linalg_inv(A) if n < 0 else A
    n, result = abs(n), None
    while True:
        if n & 1:
            result = base if result is None else matmul(result, base)
        n >>= 1
        if not n:
            return result.clone() if result is A else result
        base = matmul(base, base)


@composite(out=True)
def matrix_power(input, n):
    """Return each square matrix multiplied n times with itself: see `linalg.matrix_power`.

    >>> import iskra as torch
    >>> torch.matrix_power(torch.tensor([[2.0]]), 3)
    tensor([[8.]])
    """
    return linalg_matrix_power(input, n)


@composite(autocast="float32", out=True, **_LINALG)
def linalg_tensorinv(A, ind=2):
    """Return the inverse of A for `tensordot` over its first `ind` dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.tensorinv.html

    >>> import iskra as torch
    >>> torch.linalg.tensorinv(torch.eye(6).reshape(2, 3, 6)).shape
    iskra.Size([6, 2, 3])
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    first, last = A.shape[:ind], A.shape[ind:]
    if math.prod(first) != math.prod(last):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {math.prod(last)} != {math.prod(first)}"
        )
    flat = A.reshape(math.prod(last), math.prod(first))
    return linalg_inv(flat).reshape(*last, *first)


@composite(autocast="float32", out=True, **_LINALG)
def linalg_tensorsolve(A, B, dims=None):
    """Return the X with ``tensordot(A, X, X.ndim) = B``; `dims` of A are moved last first.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.tensorsolve.html

    >>> import iskra as torch
    >>> torch.linalg.tensorsolve(torch.eye(6).reshape(2, 3, 6), torch.ones(2, 3)).shape
    iskra.Size([6])
    """
    if dims is not None:
        last = [d % A.dim() for d in dims]
        A = A.permute([d for d in range(A.dim()) if d not in last] + last)
    rest = A.shape[B.dim():]
    if math.prod(rest) != math.prod(A.shape[: B.dim()]):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {math.prod(rest)} != "
            f"{math.prod(A.shape[: B.dim()])} (shapes {format_shape(A.shape)} and "
            f"{format_shape(B.shape)})"
        )
    size = math.prod(rest)
    return linalg_solve(A.reshape(size, size), B.reshape(-1)).reshape(rest)
