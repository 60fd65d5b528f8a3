"""Linear algebra that is neither a solver nor a decomposition: matrix_exp, cross, trace and kin.

Source of every operator here: https://docs.pytorch.org/docs/stable/linalg.html
"""

import numpy as np

from iskra import graph
from iskra.core.dtypes import FLOATING
from iskra.core.size import broadcast, format_shape, wrap_dim
from iskra.dispatch import SAME, composite, operator
from iskra.ops import slicing
from iskra.ops.arithmetic import conj_of
from iskra.ops.joining import stack
from iskra.ops.linalg_base import check_float, check_square
from iskra.ops.moving import filled, is_served, put
from iskra.ops.reduction import sum as total
from iskra.ops.slicing import diagonal_of

_SUM = total.operator
_LINALG = dict(namespace="linalg")


# -- matrix_exp -----------------------------------------------------------------------------------


def _exp_gradient(g, A):
    """The exponential of ``[[A^H, g], [0, A^H]]`` holds the derivative in its corner."""
    size = A.size(-1)
    adjoint = A.mH
    block = A.new_zeros((*A.shape[:-2], 2 * size, 2 * size))
    block = block.slice_scatter(_half(block, adjoint, size, 0), -2, 0, size)
    block = block.slice_scatter(_half(block, adjoint, size, size), -2, size)
    corner = block[..., :size, :].slice_scatter(g, -1, size)
    block = block.slice_scatter(corner, -2, 0, size)
    return linalg_matrix_exp(block)[..., :size, size:]


def _half(block, matrix, size, start):
    rows = block[..., start:start + size, :]
    return rows.slice_scatter(matrix, -1, start, start + size)


@operator(
    grad={"A": _exp_gradient},
    samples=lambda make: [((make((3, 3), low=-1, high=1),), {}), ((make((2, 2, 2)),), {})],
    **_LINALG,
)
def linalg_matrix_exp(A):
    """Return the matrix exponential of each square matrix.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_exp.html

    >>> import iskra as torch
    >>> torch.linalg.matrix_exp(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_square("linalg.matrix_exp", A)
    check_float("linalg.matrix_exp", A)
    if not A.size:
        return np.copy(A)
    from scipy.linalg import expm

    return expm(A).astype(A.dtype, copy=False)


@composite()
def matrix_exp(input):
    """Return the matrix exponential of each square matrix: see `linalg.matrix_exp`.

    >>> import iskra as torch
    >>> torch.matrix_exp(torch.zeros(1, 1))
    tensor([[1.]])
    """
    return linalg_matrix_exp(input)


# -- cross, vecdot --------------------------------------------------------------------------------


def _refuse_cross(input, other):
    raise RuntimeError(
        f"linalg.cross: expected vectors of one dtype, got {input} and {other}; convert one of them"
    )


@operator(
    out="apart", promote=SAME, operands="input other", uniform=_refuse_cross,
    grad={
        "input": lambda g, other, dim: linalg_cross(conj_of(other), g, dim=dim),
        "other": lambda g, input, dim: linalg_cross(g, conj_of(input), dim=dim),
    },
    samples=lambda make: [((make((2, 3)), make((2, 3))), {}),
                          ((make((3, 2)), make((3, 1))), {"dim": 0})],
    **_LINALG,
)
def linalg_cross(input, other, *, dim=-1):
    """Return the cross products of the vectors of size 3 along `dim`; other dimensions broadcast.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cross.html

    >>> import iskra as torch
    >>> torch.linalg.cross(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    if input.ndim != other.ndim:
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions, got "
            f"{input.ndim} and {other.ndim}."
        )
    sizes = input.shape[wrap_dim(dim, input.ndim)], other.shape[wrap_dim(dim, other.ndim)]
    if sizes != (3, 3):
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes[0]} and "
            f"{sizes[1]}"
        )
    shape = broadcast(input.shape, other.shape)
    a = np.moveaxis(np.broadcast_to(input, shape), dim, 0)
    b = np.moveaxis(np.broadcast_to(other, shape), dim, 0)
    parts = [a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return np.stack(parts, wrap_dim(dim, input.ndim))


@composite(out="exact apart")
def cross(input, other, dim=None):
    """Return cross products along `dim`, by default the first dimension of size 3.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cross.html

    >>> import iskra as torch
    >>> torch.cross(torch.tensor([1, 0, 0]), torch.tensor([0, 1, 0]), dim=0)
    tensor([0, 0, 1])
    """
    if dim is None:
        if input.dim() != other.dim():
            raise RuntimeError(
                "linalg.cross: inputs must have the same number of dimensions, got "
                f"{input.dim()} and {other.dim()}."
            )
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(
                f"no dimension of size 3 in input, which has shape {format_shape(input.shape)}"
            )
    return linalg_cross(input, other, dim=dim)


@composite(
    autocast="lower",
    out="exact", samples=lambda make: [((make((2, 3)), make((3,))), {})], **_LINALG,
)
def linalg_vecdot(x, y, *, dim=-1):
    """Return the dot products of the vectors along `dim`, those of `x` conjugated.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vecdot.html

    >>> import iskra as torch
    >>> torch.linalg.vecdot(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    tensor(11.)
    """
    for tensor in (x, y):
        if tensor._dtype.category < FLOATING:
            raise RuntimeError(
                "linalg.vecdot: Expected a floating point or complex tensor as input. Got "
                f"{tensor._dtype.scalar_name}; convert with .float() first"
            )
    if x._dtype is not y._dtype:
        raise RuntimeError(
            "linalg.vecdot: Expected vectors of same dtype, got "
            f"{x._dtype.scalar_name} and {y._dtype.scalar_name}"
        )
    if x.dim() == 1 == y.dim():
        return x.vdot(y)
    return (x.conj() * y).sum(dim)


# -- diagonals ------------------------------------------------------------------------------------


@operator(
    function=False, method=False, out=False, rearranges=True, repeats=True,
    grad=lambda g: trace(g),
)
def trace_backward(input, shape):
    """Zeros with the number `input` on the diagonal."""
    result = np.empty_like(input, shape=tuple(shape), order="C", subok=False)
    filled(result, 0)
    diagonal = diagonal_of(result, 0, 0, 1)
    put(diagonal, np.broadcast_to(input, diagonal.shape))
    return result


@operator(
    autocast="float32", repeats=True,
    out=False, grad=lambda g, input_shape: trace_backward(g, input_shape),
    samples=lambda make: [((make((2, 3)),), {})],
)
def trace(input):
    """Return the sum of a matrix's diagonal.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.trace.html

    >>> import iskra as torch
    >>> torch.trace(torch.tensor([[1, 2], [3, 4]]))
    tensor(5)
    """
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    if is_served(input):
        arguments = np.diagonal(input), *_SUM.signature.defaults[1:]
        found = graph.run(_SUM, arguments)
        if found is not graph.UNSERVED:
            return found
    wide = np.int64 if input.dtype.kind in "iub" else None
    return np.asarray(np.sum(np.diagonal(input), dtype=wide))


@composite(**_LINALG)
def linalg_diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """Return a view of the diagonals of each matrix: see `diagonal`.

    >>> import iskra as torch
    >>> torch.linalg.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return slicing.diagonal(A, offset, dim1, dim2)


@composite(
    samples=lambda make: [((make((3,)),), {}), ((make((2, 3)),), {"N": 4})], **_LINALG,
)
def linalg_vander(x, *, N=None):
    """Return the Vandermonde matrices: powers 0 to N - 1 of the last dimension's elements.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vander.html

    >>> import iskra as torch
    >>> torch.linalg.vander(torch.tensor([2, 3]), N=3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    count = N if N is not None else x.size(-1) if x.dim() else 1
    if count <= 1:
        raise RuntimeError(f"N must be greater than 1, got {count}.")
    x = x if x.dim() else x.reshape(1)
    x = x if x.is_floating_point() or x.is_complex() else x.long()
    columns = [x.new_ones(x.shape)]
    for _ in range(1, count):
        columns.append(columns[-1] * x)
    return stack(columns, -1)
