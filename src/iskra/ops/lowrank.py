"""Approximate decompositions of low rank, by random projections.

Source: https://docs.pytorch.org/docs/stable/generated/torch.svd_lowrank.html, after
N. Halko, P. G. Martinsson and J. A. Tropp, "Finding structure with randomness" (2009).
"""

from iskra.dispatch import composite
from iskra.ops.decompositions import linalg_qr, linalg_svd
from iskra.ops.matmul import adjoint_times, matmul
from iskra.ops.random import randn


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
