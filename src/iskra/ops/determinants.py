"""Determinants.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import numpy as np

from iskra.dispatch import composite, operator
from iskra.dispatch.named import named_results
from iskra.ops.comparison import where
from iskra.ops.decompositions import linalg_svd
from iskra.ops.joining import stack
from iskra.ops.linalg_base import check_float, check_square, identity_like, shifted
from iskra.ops.solving import linalg_inv, linalg_solve

_LINALG = dict(namespace="linalg")


def _each(value):
    """One number per matrix, shaped to multiply the matrices."""
    return value.unsqueeze(-1).unsqueeze(-1)


def _det_gradient(g, A, result):
    """The conjugated cofactors: det times the inverse's adjoint, where there is an inverse."""
    if A.numel() == 0:
        return A.new_zeros(A.shape)
    if bool((result == 0).any()):
        return _each(g) * _cofactors(A)
    return linalg_solve(A.mH, _each(g * result.conj()) * identity_like(A))


def _cofactors(A):
    """Conjugated cofactors by singular values, which do not mind singular matrices."""
    u, s, vh = linalg_svd(A)
    size = A.size(-1)
    others = [s[..., [k for k in range(size) if k != skip]].prod(-1) for skip in range(size)]
    phase = (linalg_det(u) * linalg_det(vh)).conj()
    middle = stack(others, -1).to(u.dtype).unsqueeze(-2)
    return _each(phase) * ((u * middle) @ vh)


@operator(
    grad={"A": _det_gradient},
    samples=lambda make: [((shifted(make, 3, 3),), {}), ((shifted(make, 2, 2, 2),), {})],
    **_LINALG,
)
def linalg_det(A):
    """Return the determinant of each square matrix.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.det.html

    >>> import iskra as torch
    >>> torch.linalg.det(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor(6.)
    """
    check_square("linalg.det", A)
    check_float("linalg.det", A)
    return np.asarray(np.linalg.det(A), A.dtype)


@composite(out=True)
def det(input):
    """Return the determinant of each square matrix: see `linalg.det`.

    >>> import iskra as torch
    >>> torch.det(torch.tensor([[2.0]]))
    tensor(2.)
    """
    return linalg_det(input)


def _slogdet_gradient(g, A, result):
    g_sign, g_log = g
    factor = None
    if g_log is not None:
        factor = g_log
    if g_sign is not None and A.is_complex():
        # Only the phase of a complex sign can change.
        turn = (g_sign * result[0].conj()).imag * 1j
        factor = turn if factor is None else factor + turn
    if factor is None:
        return None
    return linalg_inv(A).mH * _each(factor)


@operator(
    outputs=2, result=("sign", "logabsdet"), grad={"A": _slogdet_gradient},
    samples=lambda make: [((shifted(make, 3, 3),), {})], **_LINALG,
)
def linalg_slogdet(A):
    """Return sign and logarithm of the absolute value of each determinant.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.slogdet.html

    >>> import iskra as torch
    >>> torch.linalg.slogdet(torch.tensor([[1.0, 0.0], [0.0, -1.0]])).sign
    tensor(-1.)
    """
    check_square("linalg.slogdet", A)
    check_float("linalg.slogdet", A)
    sign, log = np.linalg.slogdet(A)
    return np.asarray(sign), np.asarray(log)


@composite(out=True)
def slogdet(input):
    """Return sign and logarithm of the absolute determinant: see `linalg.slogdet`.

    >>> import iskra as torch
    >>> torch.slogdet(torch.tensor([[1.0]])).logabsdet
    tensor(0.)
    """
    return named_results("slogdet", ("sign", "logabsdet"))(linalg_slogdet(input))


@composite()
def logdet(input):
    """Return the logarithm of each determinant; NaN where it is negative.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logdet.html

    >>> import iskra as torch
    >>> torch.logdet(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor(0.)
    """
    sign, log = linalg_slogdet(input)
    if input.is_complex():
        return sign.log() + log
    return where(sign < 0, log.new_full((), float("nan")), log)
