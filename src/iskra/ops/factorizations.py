"""LU, LDL and Householder factorisations, and solving with them.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import math

import numpy as np

from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.linalg_base import (
    batch_element,
    check_float,
    check_matrix,
    check_same,
    check_square,
    each_matrix,
    identity_like,
    lapack,
    shifted,
)
from iskra.ops.matmul import adjoint_times, matmul, times_adjoint
from iskra.ops.solving import linalg_solve_triangular
from iskra.ops.view_writes import slice_scatter

_LINALG = dict(namespace="linalg")
_INNER = dict(function=False, method=False, out=False)


# -- lu -------------------------------------------------------------------------------------------


def _factor(name, A, pivot):
    """LAPACK's packed factors, its pivots (from 1) and info."""
    if A.ndim < 2:
        raise RuntimeError(
            f"{name}: Expected tensor with 2 or more dimensions. Got size: "
            f"{format_shape(A.shape)} instead"
        )
    check_float(name, A)
    if not pivot:
        raise RuntimeError(
            "linalg.lu_factor: LU without pivoting is not implemented on the CPU"
        )
    batch, size = A.shape[:-2], min(A.shape[-2:])
    if not A.size:
        pivots = np.broadcast_to(np.arange(1, size + 1, dtype=np.int32), (*batch, size))
        return np.copy(A), pivots.copy(), np.zeros(batch, np.int32)
    getrf = lapack("getrf", A)

    def one(matrix):
        packed, pivots, info = getrf(matrix)
        return packed, (pivots + 1).astype(np.int32), np.int32(info)

    return each_matrix(one, A)


def _refuse_zero_pivot(name, info):
    if np.any(info):
        where, code = batch_element(info)
        raise RuntimeError(
            f"{name}: {where}U[{code},{code}] is zero and using it on lu_solve would result in a "
            "division by zero. If you still want to perform the factorization, consider calling "
            "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )


def permutation(pivots, rows, dtype):
    """The permutation matrices that row exchanges amount to: ``A = P @ L @ U``."""
    *batch, size = pivots.shape
    P = np.zeros((math.prod(batch), rows, rows), dtype)
    for matrix, exchanges in zip(P, pivots.reshape(len(P), size).tolist(), strict=True):
        order = list(range(rows))
        for place, other in enumerate(exchanges):
            order[place], order[other - 1] = order[other - 1], order[place]
        matrix[order, range(rows)] = 1
    return P.reshape(*batch, rows, rows)


def _unpacked(packed):
    """L (with ones on the diagonal) and U of a packed factorisation."""
    rows, columns = packed.shape[-2:]
    size = min(rows, columns)
    lower = np.tril(packed[..., :size], -1) + np.eye(rows, size, dtype=packed.dtype)
    return lower, np.triu(packed[..., :size, :])


def _lu_gradient(g_lower, g_upper, P, lower, upper):
    """The gradient of A from those of L and U (either may be None); see Walter & Lehmann."""
    rows, columns = lower.size(-2), upper.size(-1)
    size = min(rows, columns)
    square_l, square_u = lower[..., :size, :], upper[..., :, :size]
    middle = square_l.new_zeros(square_l.shape)
    if g_lower is not None:
        middle = middle + adjoint_times(square_l, g_lower[..., :size, :])
    if g_upper is not None and columns > rows:
        middle = middle - times_adjoint(g_upper[..., size:], upper[..., size:])
    below = middle.tril(-1)
    middle = square_l.new_zeros(square_l.shape)
    if g_upper is not None:
        middle = middle + times_adjoint(g_upper[..., :, :size], square_u)
    if g_lower is not None and rows > columns:
        middle = middle - adjoint_times(lower[..., size:, :], g_lower[..., size:, :])
    core = below + middle.triu()
    if rows > columns:
        rest = g_lower[..., size:, :] if g_lower is not None else None
        core = linalg_solve_triangular(square_l.mH, core, upper=True, unitriangular=True)
        core = _joined(core, rest, rows, -2)
        core = linalg_solve_triangular(square_u.mH, core, upper=False, left=False)
    else:
        core = linalg_solve_triangular(square_u.mH, core, upper=False, left=False)
        core = _joined(core, g_upper[..., size:] if g_upper is not None else None, columns, -1)
        core = linalg_solve_triangular(square_l.mH, core, upper=True, unitriangular=True)
    return core if P is None else matmul(P, core)


def _joined(core, rest, length, dim):
    """`core` followed by `rest` (or zeros) along `dim`."""
    size = core.size(dim)
    if size == length:
        return core
    shape = list(core.shape)
    shape[dim] = length
    whole = slice_scatter(core.new_zeros(shape), core, dim, 0, size)
    return whole if rest is None else slice_scatter(whole, rest, dim, size, length)


def _gradient_of_packed(g, result):
    g_packed, (packed, pivots) = g[0], result[:2]
    if g_packed is None:
        return None
    P, lower, upper = lu_unpack(packed, pivots)
    size = min(packed.shape[-2:])
    return _lu_gradient(
        g_packed[..., :size].tril(-1), g_packed[..., :size, :].triu(), P, lower, upper
    )


@operator(
    outputs=3, result=("LU", "pivots", "info"), grad={"A": _gradient_of_packed},
    samples=lambda make: [((shifted(make, *s),), {}) for s in ((3, 3), (2, 3, 2), (2, 3))],
    **_LINALG,
)
def linalg_lu_factor_ex(A, *, pivot=True, check_errors=False):
    """Return ``(LU, pivots, info)``; info is not 0 where a pivot is 0.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor_ex.html

    >>> import iskra as torch
    >>> torch.linalg.lu_factor_ex(torch.tensor([[2.0]])).info
    tensor(0, dtype=iskra.int32)
    """
    packed, pivots, info = _factor("linalg.lu_factor_ex", A, pivot)
    if check_errors:
        _refuse_zero_pivot("torch.linalg.lu_factor_ex", info)
    return packed, pivots, info


@operator(
    outputs=2, result=("LU", "pivots"), grad={"A": _gradient_of_packed},
    node="LinalgLuFactorExBackward0",
    samples=lambda make: [((shifted(make, *s),), {}) for s in ((3, 3), (2, 3, 2), (2, 3))],
    **_LINALG,
)
def linalg_lu_factor(A, *, pivot=True):
    """Return the factors of ``A = P @ L @ U`` in one matrix, and the row exchanges (from 1).

    Raises RuntimeError where a pivot is 0.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor.html

    >>> import iskra as torch
    >>> torch.linalg.lu_factor(torch.tensor([[2.0]])).pivots
    tensor([1], dtype=iskra.int32)
    """
    packed, pivots, info = _factor("linalg.lu_factor", A, pivot)
    _refuse_zero_pivot("torch.linalg.lu_factor", info)
    return packed, pivots


def _gradient_of_lu(g, result):
    _, g_lower, g_upper = g
    if g_lower is None and g_upper is None:
        return None
    P, lower, upper = result
    return _lu_gradient(g_lower, g_upper, P, lower, upper)


@operator(
    outputs=3, result=("P", "L", "U"), grad={"A": _gradient_of_lu},
    samples=lambda make: [((shifted(make, *s),), {}) for s in ((3, 3), (2, 3, 2), (2, 3))],
    **_LINALG,
)
def linalg_lu(A, *, pivot=True):
    """Return the permutation P and the triangular L and U with ``P @ L @ U = A``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu.html

    >>> import iskra as torch
    >>> torch.linalg.lu(torch.tensor([[0.0, 1.0], [2.0, 0.0]])).U
    tensor([[2., 0.],
            [0., 1.]])
    """
    packed, pivots, _ = _factor("linalg.lu", A, pivot)
    lower, upper = _unpacked(packed)
    return permutation(pivots, A.shape[-2], A.dtype), lower, upper


def _unpack_gradient(g, LU_data_shape):
    _, g_lower, g_upper = g
    if g_lower is None and g_upper is None:
        return None
    rows, columns = LU_data_shape[-2:]
    found = None
    if g_lower is not None:
        found = _joined(g_lower.tril(-1), None, columns, -1)
    if g_upper is not None:
        part = _joined(g_upper.triu(), None, rows, -2)
        found = part if found is None else found + part
    return found


@operator(
    outputs=3, result=("P", "L", "U"), operands="LU_data LU_pivots", method=False,
    grad={"LU_data": _unpack_gradient},
)
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True):
    """Return P, L and U out of what `linalg.lu_factor` gives; empty ones for what is not wanted.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu_unpack.html

    >>> import iskra as torch
    >>> P, L, U = torch.lu_unpack(*torch.linalg.lu_factor(torch.tensor([[0.0, 1.0], [2.0, 0.0]])))
    >>> P @ L @ U
    tensor([[0., 1.],
            [2., 0.]])
    """
    if unpack_pivots and LU_pivots.dtype != np.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            "dtype. Note: this function is intended to be used with the output produced by "
            f"torch.linalg.lu_factor; got {LU_pivots.dtype}"
        )
    nothing = np.empty_like(LU_data, shape=(0,), subok=False)
    P = permutation(LU_pivots, LU_data.shape[-2], LU_data.dtype) if unpack_pivots else nothing
    lower, upper = _unpacked(LU_data) if unpack_data else (nothing, nothing)
    return P, lower, upper


@composite(autocast="float32", out="casts")
def lu(A, pivot=True, get_infos=False):
    """Return ``(LU, pivots)``, and with `get_infos` the info: prefer `linalg.lu_factor`.

    >>> import iskra as torch
    >>> torch.lu(torch.tensor([[2.0]]))[1]
    tensor([1], dtype=iskra.int32)
    """
    packed, pivots, info = linalg_lu_factor_ex(A, pivot=pivot, check_errors=not get_infos)
    return (packed, pivots, info) if get_infos else (packed, pivots)


@composite(out="exact", **_LINALG)
def linalg_lu_solve(LU, pivots, B, *, left=True, adjoint=False):
    """Return the X with ``A @ X = B`` (or ``X @ A = B``, or with A's adjoint), given A's factors.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_solve.html

    >>> import iskra as torch
    >>> factors = torch.linalg.lu_factor(torch.tensor([[2.0]]))
    >>> torch.linalg.lu_solve(*factors, torch.tensor([[4.0]]))
    tensor([[2.]])
    """
    name = "torch.linalg.lu_solve"
    check_float(name, LU._array)
    check_square(name, LU._array, "LU")
    check_matrix("linalg.lu_solve", B._array, "B")
    check_same(name, LU._array, B._array, ("LU", "B"))
    if LU.size(-1) != B.size(-2 if left else -1):
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({format_shape(LU.shape)} and "
            f"{format_shape(B.shape)})"
        )
    if tuple(pivots.shape) != tuple(LU.shape[:-1]):
        raise RuntimeError(
            f"linalg.lu_solve: Number of pivots per batch should be same as the dimension of the "
            f"matrix, got {format_shape(pivots.shape)} and {format_shape(LU.shape)}"
        )
    if not left:  # X A = B is A^H X^H = B^H
        return linalg_lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    P, lower, upper = lu_unpack(LU, pivots)
    if adjoint:
        found = linalg_solve_triangular(upper.mH, B, upper=False)
        found = linalg_solve_triangular(lower.mH, found, upper=True, unitriangular=True)
        return matmul(P, found)
    found = linalg_solve_triangular(lower, matmul(P.mT, B), upper=False, unitriangular=True)
    return linalg_solve_triangular(upper, found, upper=True)


@composite(autocast="float32", out="exact")
def lu_solve(b, LU_data, LU_pivots):
    """Return the X with ``A @ X = b``, given A's factors: prefer `linalg.lu_solve`.

    >>> import iskra as torch
    >>> torch.lu_solve(torch.tensor([[4.0]]), *torch.lu(torch.tensor([[2.0]])))
    tensor([[2.]])
    """
    return linalg_lu_solve(LU_data, LU_pivots, b)


# -- cholesky -------------------------------------------------------------------------------------


@composite(autocast="float32", out=True)
def cholesky_solve(B, L, upper=False):
    """Return the X with ``A @ X = B``, given A's Cholesky factor.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky_solve.html

    >>> import iskra as torch
    >>> torch.cholesky_solve(torch.tensor([[4.0]]), torch.tensor([[2.0]]))
    tensor([[1.]])
    """
    for name, tensor in (("b", B), ("u", L)):
        if tensor.dim() < 2:
            raise RuntimeError(
                f"{name} should have at least 2 dimensions, but has {tensor.dim()} dimensions "
                "instead"
            )
    lower = L.mH if upper else L
    return linalg_solve_triangular(
        lower.mH, linalg_solve_triangular(lower, B, upper=False), upper=True
    )


@composite(autocast="float32", out=True)
def cholesky_inverse(L, upper=False):
    """Return the inverse of A, given its Cholesky factor.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky_inverse.html

    >>> import iskra as torch
    >>> torch.cholesky_inverse(torch.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    check_square("cholesky_inverse", L._array)
    return cholesky_solve(identity_like(L), L, upper)


# -- ldl ------------------------------------------------------------------------------------------


def _ldl(name, A, hermitian):
    check_square(name, A)
    check_float(name, A)
    if not A.size:
        return np.copy(A), np.zeros(A.shape[:-1], np.int32), np.zeros(A.shape[:-2], np.int32)
    kind = "hetrf" if hermitian and A.dtype.kind == "c" else "sytrf"
    factor = lapack(kind, A)

    def one(matrix):
        packed, pivots, info = factor(matrix, lower=1)
        return np.tril(packed), pivots.astype(np.int32), np.int32(info)

    return each_matrix(one, A)


@operator(outputs=3, result=("LD", "pivots", "info"), **_LINALG)
def linalg_ldl_factor_ex(A, *, hermitian=False, check_errors=False):
    """Return ``(LD, pivots, info)`` of symmetric (or Hermitian) matrices.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_factor_ex.html

    >>> import iskra as torch
    >>> torch.linalg.ldl_factor_ex(torch.tensor([[2.0]])).info
    tensor(0, dtype=iskra.int32)
    """
    packed, pivots, info = _ldl("torch.linalg.ldl_factor_ex", A, hermitian)
    if check_errors and info.any():
        where, code = batch_element(info)
        raise RuntimeError(
            f"torch.linalg.ldl_factor_ex: {where}D[{code},{code}] is zero."
        )
    return packed, pivots, info


@operator(outputs=2, result=("LD", "pivots"), **_LINALG)
def linalg_ldl_factor(A, *, hermitian=False):
    """Return the factors of symmetric (or Hermitian) matrices in LAPACK's packed form, and pivots.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_factor.html

    >>> import iskra as torch
    >>> torch.linalg.ldl_factor(torch.tensor([[2.0]])).LD
    tensor([[2.]])
    """
    return _ldl("torch.linalg.ldl_factor", A, hermitian)[:2]


@operator(operands="LD pivots B", **_LINALG)
def linalg_ldl_solve(LD, pivots, B, *, hermitian=False):
    """Return the X with ``A @ X = B``, given what `linalg.ldl_factor` gave for A.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_solve.html

    >>> import iskra as torch
    >>> factors = torch.linalg.ldl_factor(torch.tensor([[2.0]]))
    >>> torch.linalg.ldl_solve(*factors, torch.tensor([[4.0]]))
    tensor([[2.]])
    """
    name = "torch.linalg.ldl_solve"
    check_square(name, LD, "LD")
    check_float(name, LD)
    check_matrix(name, B, "B")
    check_same(name, LD, B, ("LD", "B"))
    if pivots.dtype.kind not in "iu" or pivots.shape != LD.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected pivots to be integers of shape {format_shape(LD.shape[:-1])}, got "
            f"{pivots.dtype} of shape {format_shape(pivots.shape)}"
        )
    if LD.shape[-1] != B.shape[-2]:
        raise RuntimeError(
            f"{name}: Incompatible matrix sizes for B and LD: {format_shape(B.shape)} and "
            f"{format_shape(LD.shape)}"
        )
    batch = np.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    LD = np.broadcast_to(LD, (*batch, *LD.shape[-2:]))
    pivots = np.broadcast_to(pivots, LD.shape[:-1])
    B = np.broadcast_to(B, (*batch, *B.shape[-2:]))
    if not B.size:
        return np.copy(B)
    solve = lapack("hetrs" if hermitian and LD.dtype.kind == "c" else "sytrs", LD)
    return np.ascontiguousarray(each_matrix(
        lambda a, p, b: (solve(a, p[..., 0], b, lower=1)[0],), LD, pivots[..., None], B
    )[0])


# -- householder ----------------------------------------------------------------------------------


def _check_reflectors(name, A, tau):
    check_matrix(name, A._array, "input")
    if A.size(-2) < A.size(-1):
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if tau.size(-1) > A.size(-1):
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if A.dim() - tau.dim() != 1 or A.shape[:-2] != tau.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input and its batch, got "
            f"{format_shape(tau.shape)} and {format_shape(A.shape)}"
        )
    check_same(name, A._array, tau._array, ("input", "tau"))


def _reflected(vector, tau, matrix):
    """``(1 - tau v v^H) @ matrix`` for column vectors v."""
    return matrix - tau * matmul(vector, adjoint_times(vector, matrix))


def _reflectors(A, tau):
    """The vectors v, with a one at the diagonal and zeros above, and the factors tau."""
    count = tau.size(-1)
    vectors = A[..., :count].tril(-1) + _eye(A, A.size(-2), count)
    return [
        (vectors[..., i:i + 1], tau[..., i, None, None]) for i in range(count)
    ]


def _eye(like, rows, columns):
    """The first columns of an identity matrix."""
    return like.new_ones(rows).diag_embed()[:, :columns]


@composite(autocast="float32", out=True, **_LINALG)
def linalg_householder_product(input, tau):
    """Return the first columns of the product of Householder reflections.

    Column i of `input` below the diagonal holds the vector of reflection i, ``tau[i]`` its
    factor, as `geqrf` gives them.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.householder_product.html

    >>> import iskra as torch
    >>> torch.linalg.householder_product(torch.zeros(2, 1), torch.zeros(1))
    tensor([[1.],
            [0.]])
    """
    _check_reflectors("torch.linalg.householder_product", input, tau)
    if not input.numel():
        return input.clone()
    result = _eye(input, input.size(-2), input.size(-1)).expand(input.shape)
    if not tau.numel():  # the zeros keep the result in the graph of input
        return result + input.triu(input.size(-1))
    for vector, factor in reversed(_reflectors(input, tau)):
        result = _reflected(vector, factor, result)
    return result.contiguous()


@composite(autocast="float32", out=True)
def orgqr(input, tau):
    """Return the product of Householder reflections: see `linalg.householder_product`.

    >>> import iskra as torch
    >>> torch.orgqr(torch.zeros(1, 1), torch.zeros(1))
    tensor([[1.]])
    """
    return linalg_householder_product(input, tau)


@composite(autocast="float32", out="exact")
def ormqr(input, tau, other, left=True, transpose=False):
    """Return `other` multiplied by the whole Q of Householder reflections (or its adjoint).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ormqr.html

    >>> import iskra as torch
    >>> torch.ormqr(torch.zeros(2, 1), torch.zeros(1), torch.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    check_matrix("torch.ormqr", input._array, "input")
    check_matrix("torch.ormqr", other._array, "other")
    side = other.size(-2 if left else -1)
    if side != input.size(-2):
        raise RuntimeError(
            f"torch.ormqr: other.shape[-{2 if left else 1}] must be equal to input.shape[-2], got "
            f"{format_shape(other.shape)} and {format_shape(input.shape)}"
        )
    if tau.size(-1) > side:
        raise RuntimeError(
            f"torch.ormqr: other.shape[-{2 if left else 1}] must be greater than or equal to "
            "tau.shape[-1]"
        )
    if tau.size(-1) != min(side, input.size(-1)):
        raise RuntimeError(
            f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[-{2 if left else 1}], "
            f"input.shape[-1]), got {tau.size(-1)} and min({side}, {input.size(-1)})"
        )
    for name, tensor in (("tau", tau), ("other", other)):
        check_same("torch.ormqr", input._array, tensor._array, ("input", name))
    if input.shape[:-2] != tau.shape[:-1] or input.shape[:-2] != other.shape[:-2]:
        raise RuntimeError(
            "torch.ormqr: Expected batch dimensions of input, tau and other to be equal, got "
            f"{format_shape(input.shape)}, {format_shape(tau.shape)} and "
            f"{format_shape(other.shape)}"
        )
    if not left:  # other Q is (Q^H other^H)^H
        return ormqr(input, tau, other.mH, True, not transpose).mH
    reflections = _reflectors(input, tau)
    result = other
    for vector, factor in reflections if transpose else reversed(reflections):
        factor = factor.conj() if transpose else factor
        result = _reflected(vector, factor, result)
    return result


@operator(out="casts", autocast="float32", outputs=2, result=("a", "tau"))
def geqrf(input):
    """Return the QR decomposition as LAPACK packs it: R and Householder vectors, and factors.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.geqrf.html

    >>> import iskra as torch
    >>> torch.geqrf(torch.tensor([[2.0]])).tau
    tensor([0.])
    """
    check_matrix("torch.geqrf", input, "input")
    check_float("torch.geqrf", input)
    packed, tau = np.linalg.qr(input, mode="raw")
    return np.ascontiguousarray(packed.swapaxes(-1, -2)), tau

