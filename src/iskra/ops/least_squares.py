"""Least squares: pseudo-inverse, lstsq, rank and condition numbers' tolerance.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import numpy as np

from iskra.core.size import broadcast, format_shape
from iskra.dispatch import composite, operator
from iskra.dispatch.named import named_results
from iskra.ops.axes import real
from iskra.ops.decompositions import eigenvalues_of_hermitian, singular_values
from iskra.ops.linalg_base import (
    adjoint_of,
    check_float,
    check_matrix,
    check_same,
    check_square,
    each_matrix,
    lapack,
    shifted,
)
from iskra.ops.matmul import adjoint_times, matmul, times_adjoint
from iskra.ops.solving import is_vector
from iskra.tensor import Tensor

_LINALG = dict(namespace="linalg")


def _plain(value):
    return value._array if isinstance(value, Tensor) else value


def cutoff(values, shape, rtol, atol):
    """The size below which singular values (descending, per matrix) count as 0."""
    largest = values.max(-1, initial=0) if values.size else np.zeros(values.shape[:-1])
    if rtol is None:
        given = atol is not None
        if given and np.ndim(atol) == 0:
            given = atol > 0
        eps = np.finfo(values.dtype).eps * max(shape[-2:])
        rtol = np.where(np.asarray(atol) > 0, 0.0, eps) if given else eps
    atol = 0.0 if atol is None else atol
    return np.maximum(atol, rtol * largest)[..., None]


# -- pseudo-inverse -------------------------------------------------------------------------------


def _pinv_gradient(g, A, result):
    rows, columns = A.shape[-2:]
    g = g.mH
    if rows <= columns:
        k = matmul(g, result)
        kp = times_adjoint(k, result)
        return (
            kp - matmul(result, k).mH - matmul(matmul(A, result), kp)
            + matmul(adjoint_times(result, result), g - matmul(k, A))
        )
    k = matmul(result, g)
    pk = adjoint_times(result, k)
    return (
        pk - matmul(k, result).mH + times_adjoint(matmul(g - matmul(A, k), result), result)
        - matmul(matmul(pk, result), A)
    )


@operator(
    function=False, method=False, out=False, operands="A", grad={"A": _pinv_gradient},
    node="LinalgPinvBackward0",
)
def pseudo_inverse(A, atol, rtol, hermitian):
    """The operator behind `linalg.pinv`."""
    if hermitian:
        check_square("linalg.pinv", A)
        values, vectors = np.linalg.eigh(A)
        size = np.absolute(values)
        keep = size > cutoff(np.sort(size)[..., ::-1], A.shape, rtol, atol)
        inverted = np.where(keep, 1 / np.where(keep, values, 1), 0)
        return np.matmul(vectors * inverted[..., None, :], adjoint_of(vectors))
    u, s, vh = np.linalg.svd(A, full_matrices=False)
    keep = s > cutoff(s, A.shape, rtol, atol)
    inverted = np.where(keep, 1 / np.where(keep, s, 1), 0)
    return np.matmul(adjoint_of(vh) * inverted[..., None, :], adjoint_of(u))


@composite(
    out=True, samples=lambda make: [((shifted(make, 3, 2),), {}), ((shifted(make, 2, 2, 3),), {})],
    **_LINALG,
)
def linalg_pinv(A, rcond=None, hermitian=False, *, atol=None, rtol=None):
    """Return the Moore-Penrose pseudo-inverse of each matrix.

    Singular values up to ``max(atol, rtol * largest)`` count as 0; by default `rtol` is eps times
    the larger size (0 where `atol` is given). `rcond` is the older name of `rtol`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.pinv.html

    >>> import iskra as torch
    >>> torch.linalg.pinv(torch.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    array = A._array
    kind = A._dtype.scalar_name
    if array.ndim < 2 or kind not in ("Float", "Double", "ComplexFloat", "ComplexDouble"):
        raise RuntimeError(
            f"linalg.pinv({kind}{{{format_shape(array.shape)}}}): expected a tensor with 2 or "
            "more dimensions of float, double, cfloat or cdouble types"
        )
    rtol = rcond if rtol is None else rtol
    return pseudo_inverse(A, _plain(atol), _plain(rtol), hermitian)


@composite(autocast="float32")
def pinverse(input, rcond=1e-15):
    """Return the pseudo-inverse: see `linalg.pinv`.

    >>> import iskra as torch
    >>> torch.pinverse(torch.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return linalg_pinv(input, rcond)


# -- rank -----------------------------------------------------------------------------------------


@operator(function=False, method=False, out=False, operands="values")
def count_above(values, shape, rtol, atol):
    """How many of each matrix's singular values do not count as 0."""
    ordered = np.sort(np.absolute(values))[..., ::-1]
    return np.asarray(np.sum(ordered > cutoff(ordered, shape, rtol, atol), -1))


@composite(autocast="float32", out=True, **_LINALG)
def linalg_matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None):
    """Return the number of singular values of each matrix above ``max(atol, rtol * largest)``.

    `tol` is an older name of `atol`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_rank.html

    >>> import iskra as torch
    >>> torch.linalg.matrix_rank(torch.tensor([[1.0, 1.0], [1.0, 1.0]]))
    tensor(1)
    """
    check_matrix("torch.linalg.matrix_rank", A._array, "input")
    if tol is not None:
        atol, rtol = tol, 0.0 if rtol is None else rtol
    A = A.detach()
    values = eigenvalues_of_hermitian(A, "L") if hermitian else singular_values(A)
    return count_above(values, tuple(A.shape), _plain(rtol), _plain(atol))


# -- lstsq ----------------------------------------------------------------------------------------

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _lstsq_gradients(g, A, B, needs):
    g = g[0]
    if g is None:
        return None, None
    vector = is_vector(A.shape, B.shape)
    g = g.unsqueeze(-1) if vector else g
    columns = B.unsqueeze(-1) if vector else B
    inverse = linalg_pinv(A)
    for_b = adjoint_times(inverse, g)
    for_a = None
    if needs[0]:
        for_a = _pinv_gradient(times_adjoint(g, columns), A, inverse)
    return for_a, for_b.squeeze(-1) if vector else for_b


def _solve_one(a, b, rcond):
    """Solution, rank and singular values for one matrix, by singular values."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    keep = s > rcond * (s.max() if s.size else 0)
    inverted = np.where(keep, 1 / np.where(keep, s, 1), 0).astype(s.dtype)
    solution = np.matmul(adjoint_of(vh) * inverted, np.matmul(adjoint_of(u), b))
    return solution, np.asarray(int(keep.sum()), np.int64), s


def _by_qr(a, b):
    """The solution for a matrix of full rank, as LAPACK's gels gives it."""
    found, info = lapack("gels", a)(a, _padded(a, b))[1:3]
    return found[:a.shape[1]], info


def _by_pivoted_qr(a, b, rcond):
    """Solution and rank as LAPACK's gelsy gives them, by a factorisation that reveals the rank."""
    (rows, columns), right = a.shape, _padded(a, b)
    work, _ = lapack("gelsy_lwork", a)(rows, columns, b.shape[1], rcond)
    order = np.zeros(columns, np.int32)  # any column may come first
    _, found, _, rank, _ = lapack("gelsy", a)(a, right, order, rcond, int(work.real))
    return found[:columns], np.asarray(rank, np.int64)


def _padded(a, b):
    """Right-hand sides in as many rows as the solutions may take."""
    padded = np.zeros((max(a.shape), b.shape[1]), a.dtype)
    padded[:len(b)] = b
    return padded


def _check_lstsq(A, B, driver):
    name = "torch.linalg.lstsq"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    check_float(name, A)
    check_same(name, A, B, ("input", "other"))
    if driver not in (None, *_DRIVERS):
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    vector = is_vector(A.shape, B.shape)
    columns = B[..., None] if vector else B
    if A.shape[-2] != columns.shape[-2]:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size(-{1 if vector else 2}), got "
            f"{format_shape(A.shape)} and {format_shape(B.shape)}"
        )
    return vector, columns


@operator(
    operands="A B", outputs=3, function=False, method=False, out=False,
    grad={("A", "B"): _lstsq_gradients}, node="LinalgLstsqBackward0",
)
def least_squares(A, B, rcond, driver):
    """The operator behind `linalg.lstsq`: solution, rank and singular values."""
    vector, columns = _check_lstsq(A, B, driver)
    if rcond is None:
        rcond = np.finfo(A.dtype).eps * max(A.shape[-2:])
    batch = broadcast(A.shape[:-2], columns.shape[:-2])
    matrices = np.broadcast_to(A, (*batch, *A.shape[-2:]))
    right = np.broadcast_to(columns, (*batch, *columns.shape[-2:]))
    if not matrices.size or not right.size:
        return _nothing_to_solve(A, right, batch, vector, driver)
    if driver == "gels":
        solution = each_matrix(_by_qr, matrices, right)[0]
        rank, values = np.empty(0, np.int64), np.empty(0, A.real.dtype)
    elif driver == "gelsy":
        solution, rank = each_matrix(
            lambda a, b: _by_pivoted_qr(a, b, rcond), matrices, right
        )
        values = np.empty(0, A.real.dtype)
    else:
        solution, rank, values = each_matrix(
            lambda a, b: _solve_one(a, b, rcond), matrices, right
        )
    solution = solution[..., 0] if vector else solution
    return np.ascontiguousarray(solution), np.asarray(rank), values


@composite(autocast="float32", out="casts", **_LINALG)
def linalg_lstsq(A, B, rcond=None, *, driver=None):
    """Return the X that makes ``A @ X - B`` smallest, with residuals, rank and singular values.

    B may hold one vector per matrix. Rank, singular values and (for full rank and more rows than
    columns) residuals come from the drivers ``"gelsy"``, ``"gelsd"`` and ``"gelss"``; the default
    is ``"gelsy"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lstsq.html

    >>> import iskra as torch
    >>> A = torch.tensor([[1.0], [1.0]])
    >>> torch.linalg.lstsq(A, torch.tensor([[1.0], [3.0]])).solution
    tensor([[2.0000]])
    """
    driver = "gelsy" if driver is None else driver
    solution, rank, values = least_squares(A, B, rcond, driver)
    residuals = _residuals(A, B, solution, rank, driver)
    if residuals is None:  # empty, and of the graph all the same
        residuals = real(solution.reshape(-1)[:0])
    results = solution, residuals, rank, values.detach()
    fields = ("solution", "residuals", "rank", "singular_values")
    return named_results("linalg_lstsq", fields)(results)


def _nothing_to_solve(A, right, batch, vector, driver):
    rows, columns = A.shape[-2:]
    solution = np.zeros_like(A, shape=(*batch, columns, right.shape[-1]), subok=False)
    rank = np.empty(0, np.int64) if driver == "gels" else np.zeros(batch, np.int64)
    kept = 0 if driver in ("gels", "gelsy") else (*batch, min(rows, columns))
    return solution[..., 0] if vector else solution, rank, np.zeros(kept, A.real.dtype)


def _residuals(A, B, solution, rank, driver):
    """Squared distances, where the system is overdetermined and of full rank."""
    rows, columns = A.shape[-2:]
    if rows <= columns or driver == "gelsy":
        return None
    if driver != "gels" and not bool((rank == columns).all()):
        return None
    if is_vector(A.shape, B.shape):
        B, solution = B.unsqueeze(-1), solution.unsqueeze(-1)
    difference = matmul(A, solution) - B
    return (difference.abs() ** 2).sum(-2)
