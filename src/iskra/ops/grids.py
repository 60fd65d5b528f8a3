"""Grids, products and pairs built from tensors; complex numbers from their parts.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html
"""

import functools
import itertools
import math

import numpy as np

from iskra import graph
from iskra.codegen import kernels
from iskra.core import dtypes
from iskra.core.size import format_shape
from iskra.dispatch import composite, creation, operator
from iskra.ops.creation import empty, ones
from iskra.ops.joining import cat, stack
from iskra.ops.slicing import as_int
from iskra.tensor import wrap
from iskra.tensor.factory import dtype_of, finish


def _check_parts(name, first, second):
    """Both parts must be floats of one and the same dtype."""
    kinds = [dtypes.of_numpy(a.dtype) for a in (first, second)]
    if any(k not in (dtypes.float16, dtypes.float32, dtypes.float64) for k in kinds):
        seen = " and ".join(k.scalar_name for k in kinds)
        raise RuntimeError(
            f"{name}: Expected both inputs to be Half, Float or Double tensors but got {seen}"
        )
    if kinds[0] is not kinds[1]:
        raise RuntimeError(
            f"{name}: Expected object of scalar type {kinds[0].scalar_name} but got scalar type "
            f"{kinds[1].scalar_name} for second argument"
        )


@operator(
    operands="real imag", method=False,
    grad={"real": lambda g: g.real, "imag": lambda g: g.imag},
    samples=lambda make: [
        ((make((3, 4)), make((3, 4))), {}), ((make((3, 1)), make((4,))), {}),
    ] if make.dtype.is_floating_point else [],
)
def complex(real, imag):
    """Return complex numbers with the given real and imaginary parts.

    Both must be of the same float dtype, else RuntimeError.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.complex.html

    >>> import iskra as torch
    >>> torch.complex(torch.tensor([1.0]), torch.tensor([2.0]))
    tensor([1.+2.j])
    """
    _check_parts("complex", real, imag)
    real, imag = np.broadcast_arrays(real, imag)
    if real.dtype == np.float16:  # NumPy lacks half-precision complex numbers: pairs, unread
        return np.ascontiguousarray(np.stack((real, imag), -1)).view("V4")[..., 0]
    pairs = np.stack((real, imag), -1)
    return pairs.view(np.complex64 if real.dtype == np.float32 else np.complex128)[..., 0]


@operator(
    autocast="float32",
    operands="abs angle", method=False, computes=True,
    grad={
        "abs": lambda g, angle: g.real * angle.cos() + g.imag * angle.sin(),
        "angle": lambda g, result: (g * result.conj()).imag,
    },
    samples=lambda make: [
        ((make((3, 4), 0.5, 2.0), make((3, 4))), {}), ((make((3, 1), 0.5, 2.0), make((4,))), {}),
    ] if make.dtype in (dtypes.float32, dtypes.float64) else [],
)
def polar(abs, angle):
    """Return complex numbers with the given absolute values and angles.

    Both must be of the same float dtype, else RuntimeError.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.polar.html

    >>> import iskra as torch
    >>> torch.polar(torch.tensor([2.0]), torch.tensor([0.0]))
    tensor([2.+0.j])
    """
    _check_parts("polar", abs, angle)
    pairs = np.stack(
        np.broadcast_arrays(np.multiply(abs, np.cos(angle)), np.multiply(abs, np.sin(angle))), -1
    )
    return pairs.view(np.complex64 if pairs.dtype == np.float32 else np.complex128)[..., 0]


@composite(method=False)
def meshgrid(*tensors, indexing="ij"):
    """Return the grids spanned by one-dimensional tensors: views, one for each of them.

    `indexing` "ij" (matrix order) or "xy" (the first two dimensions swapped). Raises
    RuntimeError for tensors of several dtypes or of more dimensions.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.meshgrid.html

    >>> import iskra as torch
    >>> torch.meshgrid(torch.tensor([1, 2]), torch.tensor([3, 4]), indexing="ij")[0]
    tensor([[1, 1],
            [2, 2]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for item in tensors:
        if item.ndim > 1:
            raise RuntimeError(
                "meshgrid: Expected 0D or 1D tensor in the tensor list but got shape "
                f"{format_shape(item.shape)}"
            )
        if item._dtype is not tensors[0]._dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    swap = indexing == "xy" and len(tensors) > 1
    if swap:
        tensors = (tensors[1], tensors[0], *tensors[2:])
    shape = tuple(item.numel() for item in tensors)
    grids = [
        item.view([-1 if d == place else 1 for d in range(len(shape))]).expand(shape)
        for place, item in enumerate(tensors)
    ]
    if swap:
        grids[:2] = grids[1], grids[0]
    return tuple(grids)


@composite(method=False)
def cartesian_prod(*tensors):
    """Return all combinations of one element from each one-dimensional tensor, row by row.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cartesian_prod.html

    >>> import iskra as torch
    >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    for item in tensors:
        _check_vector(item)
    if len(tensors) == 1:
        return tensors[0]
    return stack([grid.flatten() for grid in meshgrid(*tensors)], 1)


def _check_vector(input):
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {format_shape(input.shape)}")


@composite()
def combinations(input, r=2, with_replacement=False):
    """Return the combinations of `r` elements of a one-dimensional tensor, row by row.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.combinations.html

    >>> import iskra as torch
    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    _check_vector(input)
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return empty(0, dtype=input._dtype, device=input.device)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    count = input.numel()
    total = math.comb(count + r - 1, r) if with_replacement else math.comb(count, r)
    flat = itertools.chain.from_iterable(choose(range(count), r))
    rows = np.fromiter(flat, np.int64, total * r).reshape(total, r)
    columns = [input[wrap(np.ascontiguousarray(rows[:, i]))] for i in range(r)]
    return stack(columns, 1)


@composite(method=False)
def vander(x, N=None, increasing=False):
    """Return the Vandermonde matrix of a one-dimensional tensor: its powers, falling.

    `N` is the number of columns (by default the length of `x`).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.vander.html

    >>> import iskra as torch
    >>> torch.vander(torch.tensor([2, 3]), N=3)
    tensor([[4, 2, 1],
            [9, 3, 1]])
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.numel() if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    if x._dtype.category < dtypes.FLOATING:
        x = x.to(dtypes.int64)
    if count == 0:
        return x.new_empty(x.numel(), 0)
    first = ones((x.numel(), 1), dtype=x._dtype, device=x.device)
    if count == 1:
        return first
    powers = x.unsqueeze(1).expand(-1, count - 1).cumprod(1)
    result = cat((first, powers), 1)
    return result if increasing else result.flip(1)


def _triangle(name, row, col, offset, dtype, device, upper):
    row, col, offset = (
        as_int(v, name, what) for v, what in ((row, "row"), (col, "col"), (offset, "offset"))
    )
    for what, size in (("row", row), ("col", col)):
        if size < 0:
            raise RuntimeError(f"{name}: {what} must be non-negative, got {size}")
    kind = dtype_of(dtype, name)
    if row * col < graph.LARGE:
        return finish(_few_places(row, col, offset, upper, kind.numpy).copy(), kind, device)
    start = offset if upper else offset + 1
    found = kernels.ranges.triangle_places(row, col, start, upper, kind.numpy)
    if found is None:
        found = _places(row, col, offset, upper, kind.numpy)
    return finish(found, kind, device)


def _places(row, col, offset, upper, kind):
    select = np.triu_indices if upper else np.tril_indices
    return np.stack(select(row, offset, col)).astype(kind, copy=False)


_few_places = functools.lru_cache(64)(_places)


@creation(out=False)
def tril_indices(
    row, col, offset=0, *, dtype=dtypes.int64, device=None, layout=None, pin_memory=False
):
    """Return the row and column numbers of the lower triangle of a matrix, as two rows.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tril_indices.html

    >>> import iskra as torch
    >>> torch.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle("tril_indices", row, col, offset, dtype, device, False)


@creation(out=False)
def triu_indices(
    row, col, offset=0, *, dtype=dtypes.int64, device=None, layout=None, pin_memory=False
):
    """Return the row and column numbers of the upper triangle of a matrix, as two rows.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.triu_indices.html

    >>> import iskra as torch
    >>> torch.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle("triu_indices", row, col, offset, dtype, device, True)


