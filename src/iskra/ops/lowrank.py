"""Approximate decompositions of low rank, by random projections; a few eigenvectors.

Source: https://docs.pytorch.org/docs/stable/generated/torch.svd_lowrank.html, after
N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness" (2009).
"""

from iskra.dispatch import composite
from iskra.ops.decompositions import linalg_cholesky, linalg_eigh, linalg_qr, linalg_svd
from iskra.ops.matmul import adjoint_times, matmul
from iskra.ops.random import randn
from iskra.ops.solving import linalg_solve_triangular


def _basis(A, q, niter):
    """Orthonormal columns that nearly span the range of A."""
    random = randn(A.size(-1), q, dtype=A.dtype, device=A.device)
    basis = linalg_qr(matmul(A, random))[0]
    for _ in range(niter):
        basis = linalg_qr(adjoint_times(A, basis))[0]
        basis = linalg_qr(matmul(A, basis))[0]
    return basis


@composite(method=False)
def svd_lowrank(A, q=6, niter=2, M=None):
    """Return U, S and V of rank `q` with ``A - M`` nearly ``U @ diag(S) @ V.mH``.

    `niter` subspace iterations sharpen the approximation. Uses the random generator.

    >>> import iskra as torch
    >>> U, S, V = torch.svd_lowrank(torch.diag(torch.tensor([3.0, 2.0, 0.0])), q=2)
    >>> torch.allclose(S, torch.tensor([3.0, 2.0]))
    True
    """
    q = 6 if q is None else q
    A = A if M is None else A - M.broadcast_to(A.shape)
    wide = A.size(-2) < A.size(-1)
    A = A.mH if wide else A
    basis = _basis(A, q, niter)
    u, s, vh = linalg_svd(adjoint_times(basis, A), False)
    u, v = matmul(basis, u), vh.mH
    return (v, s, u) if wide else (u, s, v)


@composite(method=False)
def pca_lowrank(A, q=None, center=True, niter=2):
    """Return U, S and V of the `q` principal components of the rows of A.

    `center` subtracts the mean of the rows first. Raises ValueError for a `q` that does not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.pca_lowrank.html

    >>> import iskra as torch
    >>> torch.pca_lowrank(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), q=1)[1]
    tensor([1.4142])
    """
    rows, columns = A.shape[-2:]
    q = min(6, rows, columns) if q is None else q
    if not 0 <= q <= min(rows, columns):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)="
            f"{min(rows, columns)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


def _check_lobpcg(A, k, B, X, method):
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"lobpcg: expected a square matrix A, but got shape {tuple(A.shape)}")
    if B is not None and B.shape[-2:] != A.shape[-2:]:
        raise RuntimeError(
            f"lobpcg: B of shape {tuple(B.shape)} does not go with A of shape {tuple(A.shape)}"
        )
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"lobpcg: unknown method {method!r}; it is 'basic' or 'ortho'")
    rows = A.shape[-1]
    if rows < 3 * k:
        raise ValueError(
            f"LPBPCG algorithm is not applicable when the number of A rows (={rows}) is smaller "
            f"than 3 x the number of requested eigenpairs (={k})"
        )


@composite(method=False)
def lobpcg(
    A, k=None, B=None, X=None, n=None, iK=None, niter=None, tol=None, largest=None, method=None,
    tracker=None, ortho_iparams=None, ortho_fparams=None, ortho_bparams=None,
):
    """Return the `k` largest (or smallest) eigenvalues of ``A x = B x lambda``, and vectors.

    A is symmetric and B (the identity by default) positive definite; both may be batched. The
    dense matrices that there are allow a full decomposition, so the settings of the iteration
    (X beyond its width, iK, niter, tol, tracker and the rest) are not needed.
    Raises ValueError where A has fewer than ``3 * k`` rows.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.lobpcg.html

    >>> import iskra as torch
    >>> torch.lobpcg(torch.diag(torch.tensor([1.0, 5.0, 3.0])), k=1)[0]
    tensor([5.])
    """
    if k is None:
        k = 1 if X is None else X.shape[-1]
    _check_lobpcg(A, k, B, X, method)
    if B is None:
        values, vectors = linalg_eigh(A)
    else:  # with B = L L^T, the eigenvectors y of L^-1 A L^-T are L^T x
        lower = linalg_cholesky(B)
        half = linalg_solve_triangular(lower, A, upper=False)
        inner = linalg_solve_triangular(lower, half.mT, upper=False)
        values, vectors = linalg_eigh((inner + inner.mT) / 2)
        vectors = linalg_solve_triangular(lower.mT, vectors, upper=True)
    if largest is None or largest:
        return values[..., -k:].flip(-1), vectors[..., -k:].flip(-1)
    return values[..., :k], vectors[..., :k]
