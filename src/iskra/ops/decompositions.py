"""Decompositions with orthogonal or triangular factors: cholesky, qr, eigh, eig, svd.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import numpy as np

from iskra.core.errors import LinAlgError
from iskra.core.local import local
from iskra.dispatch import composite, operator
from iskra.dispatch.named import named_results
from iskra.ops.linalg_base import (
    adjoint_of,
    batch_element,
    check_float,
    check_matrix,
    check_square,
    each_matrix,
    lapack,
)
from iskra.ops.matmul import adjoint_times, matmul, times_adjoint
from iskra.ops.solving import linalg_solve, linalg_solve_triangular

_LINALG = dict(namespace="linalg")
_INNER = dict(function=False, method=False, out=False)


def _real_diagonal(tensor):
    diagonal = tensor.diagonal(0, -2, -1)
    return diagonal.real if diagonal.is_complex() else diagonal


# -- cholesky -------------------------------------------------------------------------------------


def _cholesky_gradient(g, result, upper):
    if isinstance(g, (list, tuple)):
        g, result = g[0], result[0]
    if g is None:
        return None
    lower = result.mH if upper else result
    g = g.mH if upper else g
    # The strictly lower part with its mirror image: twice the Hermitian part wanted.
    phi = adjoint_times(lower, g)
    phi = phi.tril(-1) + phi.tril(-1).mH + _real_diagonal(phi).diag_embed()
    half = linalg_solve_triangular(lower.mH, phi, upper=True)
    return linalg_solve_triangular(lower, half, upper=False, left=False) * 0.5


def _cholesky(A, upper, name, check_errors):
    check_square(name, A)
    check_float(name, A)
    source = adjoint_of(A) if upper else A
    try:
        lower = np.linalg.cholesky(source)
        info = np.zeros(A.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        lower, info = _cholesky_each(source)
    if check_errors and info.any():
        where, code = batch_element(info)
        raise LinAlgError(
            f"{name}: {where}The factorization could not be completed because the input is not "
            f"positive-definite (the leading minor of order {code} is not positive-definite)."
        )
    return (adjoint_of(lower) if upper else lower), info


def _cholesky_each(array):
    """Matrix by matrix, for the place where each fails."""
    potrf = lapack("potrf", array)

    def one(matrix):
        lower, code = potrf(matrix, lower=1, clean=1)
        return lower, np.int32(code)

    return each_matrix(one, array)


@operator(
    autocast="float32",
    outputs=2, result=("L", "info"), grad={"A": _cholesky_gradient}, **_LINALG,
)
def linalg_cholesky_ex(A, *, upper=False, check_errors=False):
    """Return ``(L, info)``; info is not 0 where a matrix is not positive-definite.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky_ex.html

    >>> import iskra as torch
    >>> torch.linalg.cholesky_ex(torch.tensor([[4.0]])).L
    tensor([[2.]])
    """
    return _cholesky(A, upper, "linalg.cholesky_ex", check_errors)


@operator(
    autocast="float32", grad={"A": _cholesky_gradient}, node="LinalgCholeskyExBackward0", **_LINALG,
)
def linalg_cholesky(A, *, upper=False):
    """Return the lower triangular L with ``L @ L.mH = A`` (or the upper one, its adjoint).

    A must be Hermitian positive-definite; only one triangle is read. Raises LinAlgError where it
    is not positive-definite.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky.html

    >>> import iskra as torch
    >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    return _cholesky(A, upper, "linalg.cholesky", True)[0]


@operator(out="casts", autocast="float32", grad=_cholesky_gradient)
def cholesky(input, upper=False):
    """Return the Cholesky factor: the older form of `linalg.cholesky`.

    >>> import iskra as torch
    >>> torch.cholesky(torch.tensor([[4.0]]))
    tensor([[2.]])
    """
    return _cholesky(input, upper, "cholesky", True)[0]


# -- qr -------------------------------------------------------------------------------------------

_NO_Q = (
    "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
    "linalg.qr(A, mode='reduced') if you are going to require gradients."
)


def _hermitian_of_upper(x):
    """The Hermitian matrix with the upper triangle of `x` (and a real diagonal)."""
    upper = x.triu(1)
    return upper + upper.mH + _real_diagonal(x).diag_embed()


def _qr_square_gradient(g_q, g_r, q, r):
    """For ``A = q @ r`` with at least as many rows as columns, and square r."""
    middle = None
    if g_r is not None:
        middle = times_adjoint(g_r, r)
    if g_q is not None:
        part = adjoint_times(q, g_q)
        middle = -part if middle is None else middle - part
    found = matmul(q, _hermitian_of_upper(middle))
    found = found if g_q is None else found + g_q
    return linalg_solve_triangular(r.mH, found, upper=False, left=False)


def _qr_gradient(g, A, mode, result):
    g_q, g_r = g
    if g_q is None and g_r is None:
        return None
    q, r = result
    rows, columns = A.shape[-2:]
    if mode == "r":
        raise RuntimeError(_NO_Q)
    if mode == "complete" and rows > columns:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    if rows >= columns:
        return _qr_square_gradient(g_q, g_r, q, r)
    # A wide matrix: q and the first columns of r are those of the first columns of A; the other
    # columns of r are q.mH @ (the other columns of A).
    first, rest = r[..., :rows], A[..., rows:]
    if g_r is None:
        g_first = g_rest = None
    else:
        g_first, g_rest = g_r[..., :rows], g_r[..., rows:]
        extra = times_adjoint(rest, g_rest)
        g_q = extra if g_q is None else g_q + extra
    for_first = _qr_square_gradient(g_q, g_first, q, first)
    for_rest = matmul(q, g_rest) if g_rest is not None else rest.new_zeros(rest.shape)
    return _join_columns(for_first, for_rest)


def _join_columns(a, b):
    whole = b.new_zeros((*a.shape[:-1], a.shape[-1] + b.shape[-1]))
    width = a.shape[-1]
    return whole.slice_scatter(a, -1, 0, width).slice_scatter(b, -1, width)


@operator(
    autocast="float32",
    outputs=2, result=("Q", "R"), grad={"A": _qr_gradient}, **_LINALG,
)
def linalg_qr(A, mode="reduced"):
    """Return Q with orthonormal columns and the upper triangular R, with ``Q @ R = A``.

    `mode` is ``"reduced"``, ``"complete"`` (Q square) or ``"r"`` (Q empty).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.qr.html

    >>> import iskra as torch
    >>> Q, R = torch.linalg.qr(torch.tensor([[3.0], [4.0]]))
    >>> R.abs()
    tensor([[5.]])
    """
    check_matrix("linalg.qr", A)
    check_float("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), "
            "'r', or 'complete'"
        )
    if mode == "r":
        return np.empty_like(A, shape=(0,), subok=False), np.linalg.qr(A, mode="r")
    return tuple(np.linalg.qr(A, mode=mode))


@composite(autocast="float32", out=True)
def qr(input, some=True):
    """Return Q and R: the older form of `linalg.qr`; `some` means its mode "reduced".

    >>> import iskra as torch
    >>> torch.qr(torch.tensor([[2.0]])).R.abs()
    tensor([[2.]])
    """
    found = linalg_qr(input, "reduced" if some else "complete")
    return named_results("qr", ("Q", "R"))(found)


# -- eigenvalues of Hermitian matrices ------------------------------------------------------------


def _differences(values):
    """``values[j] - values[i]`` with ones on the diagonal."""
    found = values.unsqueeze(-2) - values.unsqueeze(-1)
    return found + values.new_ones(values.shape).diag_embed()


def _eigh_gradient(g, result):
    g_values, g_vectors = g
    values, vectors = result
    if g_values is None and g_vectors is None:
        return None
    middle = None
    if g_vectors is not None:
        middle = adjoint_times(vectors, g_vectors)
        middle = (middle - middle.diagonal(0, -2, -1).diag_embed()) / _differences(values)
    if g_values is not None:
        diagonal = g_values.to(vectors.dtype)
        if middle is None:
            return times_adjoint(vectors * diagonal.unsqueeze(-2), vectors)
        middle = middle + diagonal.diag_embed()
    return times_adjoint(matmul(vectors, middle), vectors)


def _check_triangle(name, A, UPLO):
    check_square(name, A)
    check_float(name, A)
    if str(UPLO).upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return str(UPLO).upper()


def _converged(name, function, *args):
    """Call a decomposition of NumPy's; LinAlgError where it fails or finds nothing."""
    array = args[0]
    try:
        result = function(*args)
    except np.linalg.LinAlgError:
        result = None
    values = result[1] if name == "linalg.svd" and isinstance(result, tuple) else result
    values = values[0] if isinstance(values, tuple) else values
    if result is None or not np.isfinite(values).all():
        finite = np.isfinite(array).all()
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix "
            + ("is ill-conditioned or has too many repeated values." if finite
               else "contained non-finite values.")
        )
    return result


@operator(
    autocast="float32",
    outputs=2, result=("eigenvalues", "eigenvectors"), grad={"A": _eigh_gradient}, **_LINALG,
)
def linalg_eigh(A, UPLO="L"):
    """Return eigenvalues (real, ascending) and eigenvectors of Hermitian matrices.

    Only the triangle `UPLO` is read. Raises LinAlgError where the algorithm fails.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigh.html

    >>> import iskra as torch
    >>> torch.linalg.eigh(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    UPLO = _check_triangle("linalg.eigh", A, UPLO)
    return tuple(_converged("linalg.eigh", np.linalg.eigh, A, UPLO))


@operator(**_INNER)
def eigenvalues_of_hermitian(A, UPLO):
    """The eigenvalues alone."""
    UPLO = _check_triangle("linalg.eigh", A, UPLO)
    return _converged("linalg.eigh", np.linalg.eigvalsh, A, UPLO)


def _taped(tensor):
    return local.grad_enabled and tensor.requires_grad


@composite(autocast="float32", out="exact", **_LINALG)
def linalg_eigvalsh(A, UPLO="L"):
    """Return the eigenvalues of Hermitian matrices, ascending.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvalsh.html

    >>> import iskra as torch
    >>> torch.linalg.eigvalsh(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    return linalg_eigh(A, UPLO)[0] if _taped(A) else eigenvalues_of_hermitian(A, UPLO)


# -- eigenvalues ----------------------------------------------------------------------------------


def _eig_gradient(g, result):
    g_values, g_vectors = g
    values, vectors = result
    if g_values is None and g_vectors is None:
        return None
    if g_vectors is None:
        return linalg_solve(vectors.mH, g_values.unsqueeze(-1) * vectors.mH)
    overlap = adjoint_times(vectors, g_vectors)
    # The vectors have length 1 at any phase: gradients along either are not to be followed.
    along = adjoint_times(vectors, vectors * _real_diagonal(overlap).unsqueeze(-2))
    middle = (overlap - along) / _differences(values.conj())
    middle = middle - middle.diagonal(0, -2, -1).diag_embed()
    if g_values is not None:
        middle = middle + g_values.diag_embed()
    return linalg_solve(vectors.mH, times_adjoint(middle, vectors))


def _check_eig(A):
    check_square("linalg.eig", A)
    check_float("linalg.eig", A)
    if not np.isfinite(A).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")


def _as_complex(array, like):
    kind = np.complex64 if like.dtype in (np.float32, np.complex64) else np.complex128
    return array.astype(kind, copy=False)


@operator(
    out="casts", autocast="float32",
    outputs=2, result=("eigenvalues", "eigenvectors"), grad={"A": _eig_gradient}, **_LINALG,
)
def linalg_eig(A):
    """Return eigenvalues and eigenvectors of square matrices, always complex.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eig.html

    >>> import iskra as torch
    >>> torch.linalg.eig(torch.tensor([[0.0, 1.0], [-1.0, 0.0]])).eigenvalues
    tensor([0.+1.j, 0.-1.j])
    """
    _check_eig(A)
    return tuple(_as_complex(x, A) for x in np.linalg.eig(A))


@operator(**_INNER)
def eigenvalues_of(A):
    """The eigenvalues alone."""
    _check_eig(A)
    return _as_complex(np.linalg.eigvals(A), A)


@composite(autocast="float32", out=True, **_LINALG)
def linalg_eigvals(A):
    """Return the eigenvalues of square matrices, always complex.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvals.html

    >>> import iskra as torch
    >>> torch.linalg.eigvals(torch.tensor([[2.0]]))
    tensor([2.+0.j])
    """
    return linalg_eig(A)[0] if _taped(A) else eigenvalues_of(A)


# -- singular values ------------------------------------------------------------------------------


def _skew(x):
    return x - x.mH


def _svd_gradient(g, result, full_matrices):
    g_u, g_s, g_vh = g
    if g_u is None and g_s is None and g_vh is None:
        return None
    u, s, vh = result
    k = s.size(-1)
    if full_matrices:
        u, vh = u[..., :k], vh[..., :k, :]
        g_u = None if g_u is None else g_u[..., :k]
        g_vh = None if g_vh is None else g_vh[..., :k, :]
    if g_u is None and g_vh is None:
        return matmul(u * g_s.to(u.dtype).unsqueeze(-2), vh)
    middle = _svd_middle(g_u, g_s, g_vh, u, s, vh)
    found = None
    if g_u is not None and u.size(-2) > k:  # the part of g_u outside the span of u
        scaled = g_u / s.unsqueeze(-2)
        outside = scaled - matmul(u, adjoint_times(u, scaled))
        found = matmul(matmul(u, middle) + outside, vh)
    else:
        found = matmul(u, matmul(middle, vh))
    if g_vh is not None and vh.size(-1) > k:
        scaled = g_vh / s.unsqueeze(-1)
        outside = scaled - matmul(times_adjoint(scaled, vh), vh)
        found = found + matmul(u, outside)
    return found


def _svd_middle(g_u, g_s, g_vh, u, s, vh):
    """The gradient in the coordinates of the singular vectors."""
    squares = s * s
    gaps = squares.unsqueeze(-2) - squares.unsqueeze(-1)
    gaps = gaps + squares.new_ones(squares.shape).diag_embed()
    middle = None
    if g_u is not None:
        turn = _skew(adjoint_times(u, g_u))
        middle = turn / gaps * s.unsqueeze(-2)
        if u.is_complex():
            middle = middle - middle.diagonal(0, -2, -1).diag_embed()
            phase = turn.diagonal(0, -2, -1) / (2 * s)
            middle = middle + phase.diag_embed()
    if g_vh is not None:
        turn = _skew(times_adjoint(vh, g_vh))
        part = s.unsqueeze(-1) * (turn / gaps)
        if u.is_complex():
            part = part - part.diagonal(0, -2, -1).diag_embed()
            if g_u is None:
                part = part - (turn.diagonal(0, -2, -1) / (2 * s)).diag_embed()
        middle = part if middle is None else middle + part
    if g_s is not None:
        middle = middle + g_s.to(u.dtype).diag_embed()
    return middle


def _check_svd(A, driver):
    check_matrix("linalg.svd", A)
    check_float("linalg.svd", A)
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with "
            "cuSOLVER backend."
        )


@operator(
    autocast="float32",
    outputs=3, result=("U", "S", "Vh"), grad={"A": _svd_gradient}, **_LINALG,
)
def linalg_svd(A, full_matrices=True, *, driver=None):
    """Return U, S and Vh with ``U @ diag(S) @ Vh = A``; S is real and descending.

    With `full_matrices` U and Vh are square. Raises LinAlgError where the algorithm fails.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svd.html

    >>> import iskra as torch
    >>> torch.linalg.svd(torch.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    _check_svd(A, driver)
    return tuple(_converged("linalg.svd", np.linalg.svd, A, full_matrices))


@operator(**_INNER)
def singular_values(A):
    """The singular values alone."""
    _check_svd(A, None)
    return np.linalg.svd(A, compute_uv=False)


@composite(autocast="float32", out="exact", **_LINALG)
def linalg_svdvals(A, *, driver=None):
    """Return the singular values of each matrix, descending.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svdvals.html

    >>> import iskra as torch
    >>> torch.linalg.svdvals(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    _check_svd(A._array, driver)
    return linalg_svd(A, False)[1] if _taped(A) else singular_values(A)


@composite(autocast="float32", out=True)
def svd(input, some=True, compute_uv=True):
    """Return U, S and V with ``U @ diag(S) @ V.mH = input``: the older form of `linalg.svd`.

    Without `compute_uv` U and V are zeros.

    >>> import iskra as torch
    >>> torch.svd(torch.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    results = named_results("svd", ("U", "S", "V"))
    if not compute_uv:
        rows, columns = input.shape[-2:]
        batch = input.shape[:-2]
        values = linalg_svdvals(input)
        return results((
            input.new_zeros((*batch, rows, rows)), values,
            input.new_zeros((*batch, columns, columns)),
        ))
    u, s, vh = linalg_svd(input, not some)
    return results((u, s, vh.mH))
