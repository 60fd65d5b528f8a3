"""Norms of vectors and matrices, distances and condition numbers.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import math

import numpy as np

from iskra.core import can_cast
from iskra.core.dtypes import FLOATING, of_numpy
from iskra.core.size import wrap_dim
from iskra.dispatch import composite, reduction
from iskra.ops.comparison import where
from iskra.ops.decompositions import linalg_svdvals
from iskra.ops.linalg_base import check_float, check_matrix, check_square
from iskra.ops.reduction import restore_dims
from iskra.ops.solving import linalg_inv_ex

_LINALG = dict(namespace="linalg")


# -- vectors --------------------------------------------------------------------------------------


def _vector_gradient(g, x, ord, dim, keepdim, result):
    shape = x._array.shape
    g = restore_dims(g, shape, dim, keepdim)
    norm = restore_dims(result, shape, dim, keepdim)
    if ord == 0:
        return None
    if ord == 1:
        return g * x.sgn()
    if ord == 2:
        return x * where(norm == 0, g.new_zeros(()), g / where(norm == 0, 1.0, norm))
    size = x.abs()
    if math.isinf(ord):
        hit = (size == norm) | norm.isnan()
        share = hit.to(norm.dtype)
        dims = None if dim is None or dim == () else dim
        return x.sgn() * share * (g / share.sum(dims, keepdim=True))
    safe = where(norm == 0, 1.0, norm)
    slope = where(norm == 0, g.new_zeros(()), g * (safe ** (1 - ord)))
    if ord >= 2:
        return x * size ** (ord - 2) * slope
    power = where(size == 0, 1.0, size) ** (ord - 1)
    return x.sgn() * power * slope


def _check_vector_norm(x, ord, dim):
    if isinstance(ord, str):
        raise TypeError("linalg_vector_norm(): argument 'ord' must be Number, not str")
    if x.dtype.kind in "biu":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{of_numpy(x.dtype).scalar_name}; convert with .float() first"
        )
    if ord < 0 or ord == math.inf:
        dims = range(x.ndim) if dim is None else dim if isinstance(dim, tuple) else (dim,)
        if not x.size and any(x.shape[d] == 0 for d in dims):
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the "
                "operation does not have an identity"
            )


def _norm_of(x, ord, dim, keepdim):
    size = np.absolute(x)
    kept = dict(axis=dim, keepdims=keepdim)
    if ord == 2:
        return np.sqrt(np.sum(np.multiply(size, size), **kept))
    if ord == 1:
        return np.sum(size, **kept)
    if ord == 0:
        return np.sum(np.not_equal(size, 0), dtype=size.dtype, **kept)
    if ord == math.inf:
        return np.max(size, **kept)
    if ord == -math.inf:
        return np.min(size, **kept)
    return np.power(np.sum(np.power(size, ord), **kept), 1 / ord)


@reduction(
    grad={"x": _vector_gradient},
    samples=lambda make: [((make((3, 4)), p), {"dim": 1}) for p in (
        0.5, 1, 1.5, 2, 3, math.inf, -math.inf)] + [((make((2, 3)),), {}), ((make(()),), {})],
    **_LINALG,
)
def linalg_vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """Return the `ord`-norm of all elements, or along `dim`.

    `ord` is any number: 0 counts, inf and -inf are the largest and smallest size. The result is
    real. Raises RuntimeError for integers, and for empty tensors where a norm has no identity.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vector_norm.html

    >>> import iskra as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    _check_vector_norm(x, ord, dim)
    return _norm_of(x, ord, dim, keepdim)


def _check_dtype(name, tensor, dtype):
    """`dtype=` may widen, not narrow."""
    kind = tensor._dtype
    if kind.category < FLOATING:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got "
            f"{kind.scalar_name}; convert with .float() first"
        )
    if dtype is None:
        return
    if dtype.is_complex != kind.is_complex or dtype.category < FLOATING or not can_cast(
        kind, dtype
    ):
        raise RuntimeError(
            f"{name}: dtype should be {'complex' if kind.is_complex else 'floating point'} for "
            f"{kind.scalar_name} inputs, but got {dtype.scalar_name}"
        )
    if dtype.itemsize < kind.itemsize:
        raise RuntimeError(
            f"{name}: the dtype of the input ({kind.scalar_name}) should be convertible without "
            f"narrowing to the specified dtype ({dtype.scalar_name})"
        )


# -- matrices -------------------------------------------------------------------------------------


def _check_dims(A, dim):
    if len(dim) != 2:
        raise RuntimeError(
            f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dim))}"
        )
    rows, columns = (wrap_dim(d, A.dim()) for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got {tuple(dim)}")
    return rows, columns


def _by_singular_values(A, rows, columns, keepdim, reduce):
    others = [d for d in range(A.dim()) if d not in (rows, columns)]
    values = linalg_svdvals(A.permute([*others, rows, columns]))
    result = reduce(values)
    if keepdim:
        for d in sorted((rows, columns)):
            result = result.unsqueeze(d)
    return result


def _extreme_of_sums(A, summed, other, keepdim, largest):
    sums = linalg_vector_norm(A, 1, summed, keepdim)
    if not keepdim and other > summed:
        other -= 1
    return sums.amax(other, keepdim) if largest else sums.amin(other, keepdim)


def _ordered_matrix_norm(A, ord, rows, columns, keepdim):
    if ord in ("fro", "nuc"):
        if ord == "fro":
            return linalg_vector_norm(A, 2, (rows, columns), keepdim)
        return _by_singular_values(A, rows, columns, keepdim, lambda s: s.sum(-1))
    if isinstance(ord, str) or abs(ord) not in (1, 2, math.inf):
        name = int(ord) if isinstance(ord, float) and ord == int(ord) else ord
        raise RuntimeError(f"linalg.matrix_norm: Order {name} not supported.")
    if abs(ord) == 2:
        return _by_singular_values(
            A, rows, columns, keepdim, lambda s: s.amax(-1) if ord > 0 else s.amin(-1)
        )
    summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
    return _extreme_of_sums(A, summed, other, keepdim, ord > 0)


@composite(
    out="exact",
    samples=lambda make: [((make((3, 4)), p), {}) for p in (
        "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)] + [
        ((make((2, 3, 4)), 1, (0, 2), True), {})],
    **_LINALG,
)
def linalg_matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """Return a norm of the matrices in the dimensions `dim`.

    `ord` is ``"fro"``, ``"nuc"``, 1, -1, 2, -2, inf or -inf. Raises RuntimeError for others.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_norm.html

    >>> import iskra as torch
    >>> torch.linalg.matrix_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), 2)
    tensor(4.)
    """
    check_matrix("linalg.matrix_norm", A._array)
    _check_dtype("linalg.matrix_norm", A, dtype)
    rows, columns = _check_dims(A, dim)
    A = A if dtype is None else A.to(dtype)
    return _ordered_matrix_norm(A, ord, rows, columns, keepdim)


@composite(out="exact", **_LINALG)
def linalg_norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """Return a norm: of all elements (no `ord`, no `dim`), of a vector, or of a matrix.

    A string, or two dimensions (given, or those of a matrix), mean a matrix norm.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.norm.html

    >>> import iskra as torch
    >>> torch.linalg.norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    if dim is not None:
        dim = dim if isinstance(dim, (tuple, list)) else (dim,)
        if len(dim) not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}"
            )
    elif ord is not None and A.dim() not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{A.dim()}D."
        )
    if isinstance(ord, str) or ord is not None and (
        dim is not None and len(dim) == 2 or dim is None and A.dim() == 2
    ):
        return linalg_matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype)
    _check_dtype("linalg.vector_norm", A, dtype)
    return linalg_vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@composite(
    samples=lambda make: [((make((3, 4)),), {}), ((make((3, 4)), 3, 1), {}),
                          ((make((3, 4)), "nuc"), {})],
    out="exact",
)
def norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    """Return a norm of all elements, or along `dim`: prefer `linalg.vector_norm`.

    `p` is a number (always a vector norm), ``"fro"`` or ``"nuc"``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.norm.html

    >>> import iskra as torch
    >>> torch.norm(torch.tensor([3.0, 4.0])), torch.tensor([3.0, -4.0]).norm(1)
    (tensor(5.), tensor(7.))
    """
    _check_dtype("linalg.vector_norm", input, dtype)
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
    if p == "nuc":
        return linalg_matrix_norm(input, "nuc", dim or (-2, -1), keepdim, dtype=dtype)
    p = 2 if p in ("fro", None) else p
    return linalg_vector_norm(input, p, dim, keepdim, dtype=dtype)


@composite(method=False, out=True)
def frobenius_norm(input, dim, keepdim=False):
    """Return the square root of the sum of squares along up to two dimensions.

    >>> import iskra as torch
    >>> torch.frobenius_norm(torch.tensor([[3.0, 4.0]]), (0, 1))
    tensor(5.)
    """
    return linalg_vector_norm(input, 2, dim, keepdim)


@composite(method=False, out=True)
def nuclear_norm(input, dim=(-2, -1), keepdim=False):
    """Return the sum of the singular values.

    >>> import iskra as torch
    >>> torch.nuclear_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(7.)
    """
    return linalg_matrix_norm(input, "nuc", dim, keepdim)


@composite(samples=lambda make: [((make((3, 4)), make((4,)), 3), {})], out=True)
def dist(input, other, p=2):
    """Return the `p`-norm of ``input - other``, which are broadcast.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dist.html

    >>> import iskra as torch
    >>> torch.dist(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
    tensor(5.)
    """
    return linalg_vector_norm(input - other, p)


# -- condition numbers ----------------------------------------------------------------------------


@composite(
    autocast="float32",
    samples=lambda make: [((make((3, 3)), p), {}) for p in (None, "fro", 1, -2)],
    out=True, **_LINALG,
)
def linalg_cond(A, p=None):
    """Return the condition number of each matrix in the norm `p` (2 if None).

    For 2 and -2 any matrix will do; other norms need square ones and give inf for singular ones.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cond.html

    >>> import iskra as torch
    >>> torch.linalg.cond(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    check_matrix("linalg.cond", A._array)
    check_float("linalg.cond", A._array)
    known = p in ("fro", "nuc") if isinstance(p, str) else p is None or abs(p) in (
        1, 2, math.inf)
    if not known:
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p is None or not isinstance(p, str) and abs(p) == 2:
        values = linalg_svdvals(A)
        if not A.numel():
            return values.new_zeros(A.shape[:-2])
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    check_square(f"linalg.cond(ord={p})", A._array)
    if not A.numel():
        return linalg_svdvals(A).new_zeros(A.shape[:-2])
    inverse, info = linalg_inv_ex(A)
    found = linalg_matrix_norm(A, p) * linalg_matrix_norm(inverse, p)
    return where(info != 0, found.new_full((), math.inf), found)


# -- renorm ---------------------------------------------------------------------------------------


@composite(
    inplace=True, out="exact aligned", samples=lambda make: [((make((3, 4)), 2, 0, 1.5), {})],
)
def renorm(input, p, dim, maxnorm):
    """Return a copy in which the parts along `dim` have a `p`-norm of at most `maxnorm`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.renorm.html

    >>> import iskra as torch
    >>> torch.renorm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), 2, 0, 5)
    tensor([[3., 4.],
            [0., 1.]])
    """
    if p <= 0:
        raise RuntimeError(f"renorm: non-positive-norm not supported, got p={p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    rank = input.dim()
    if rank < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {rank} dimensions"
        )
    dim = wrap_dim(dim, rank)
    others = tuple(d for d in range(rank) if d != dim)
    norms = linalg_vector_norm(input, p, others, True)
    return input * where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0).to(input.dtype)
