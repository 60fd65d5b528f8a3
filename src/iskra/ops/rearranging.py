"""Rearranging elements into new tensors: repeat, roll, flip, triangles, diagonals.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html
"""

import itertools

import numpy as np

from iskra.core.size import format_shape, wrap_dim, wrap_dims
from iskra.dispatch import composite, operator
from iskra.ops.moving import arranged, filled, put, triangle
from iskra.ops.slicing import as_int, diagonal_of
from iskra.ops.slicing import diagonal as diagonal_view
from iskra.tensor import Tensor

_ALL = slice(None)


def _repeat_gradient(g, input_shape, repeats):
    """Split every repeated dimension into (times, size) and sum over the times."""
    new = len(repeats) - len(input_shape)
    shape, summed = [], []
    for place, times in enumerate(repeats):
        if place < new:
            summed.append(len(shape))
            shape.append(times)
            continue
        if times != 1:
            summed.append(len(shape))
            shape.append(times)
        shape.append(input_shape[place - new])
    return g.reshape(shape).sum(summed) if summed else g


@operator(
    function=False, variadic="repeats", rearranges=True, repeats=True,
    grad=_repeat_gradient,
    samples=lambda make: [((make((2, 3)), (2, 1, 3)), {}), ((make((2,)), (0,)), {})],
)
def repeat(input, repeats):
    """Return the tensor repeated as often as `repeats` says along each dimension.

    More repeats than dimensions add dimensions in front. Raises RuntimeError for fewer.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.repeat.html

    >>> import iskra as torch
    >>> torch.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    if len(repeats) < input.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            f"tensor: got repeats {tuple(repeats)} for shape {format_shape(input.shape)}"
        )
    if any(r < 0 for r in repeats):
        raise RuntimeError(f"repeat: repeats must not be negative, got {tuple(repeats)}")
    return _repeated(input.reshape((1,) * (len(repeats) - input.ndim) + input.shape), repeats)


def _repeated(input, times):
    """The array side by side with itself along each axis."""
    result = np.empty_like(
        input, shape=tuple([n * r for n, r in zip(input.shape, times, strict=True)]), order="C",
        subok=False)
    seen = result.reshape([size for pair in zip(times, input.shape) for size in pair])
    apart = input[tuple([part for _ in times for part in (None, _ALL)])]
    put(seen, np.broadcast_to(apart, seen.shape))
    return result


@composite(variadic="dims", samples=lambda make: [((make((2, 3)), (2,)), {})])
def tile(input, dims):
    """Return the tensor repeated along its last dimensions (NumPy's form of `repeat`).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tile.html

    >>> import iskra as torch
    >>> torch.tile(torch.tensor([1, 2]), (2,))
    tensor([1, 2, 1, 2])
    """
    dims = tuple(dims)
    return repeat(input, (1,) * (input.dim() - len(dims)) + dims)


def _interleave_gradient(g, input_shape, repeats, dim):
    """Sum every run of copies."""
    if dim is None:
        g, count = g.reshape(-1), int(np.prod(input_shape, dtype=np.int64))
    else:
        dim = wrap_dim(dim, len(input_shape))
        count = input_shape[dim] if input_shape else 1
    if not isinstance(repeats, Tensor):
        if not repeats:
            return g.new_zeros(input_shape)
        axis = dim or 0
        return g.unflatten(axis, (count, repeats)).sum(axis + 1).reshape(input_shape)
    sources = repeat_places(repeats, count)
    shape = list(g.shape)
    shape[dim or 0] = count
    return g.new_zeros(shape).index_add(dim or 0, sources, g).reshape(input_shape)


def _check_repeats(repeats, count):
    if repeats.ndim > 1:
        raise RuntimeError(
            f"repeat_interleave: repeats must be 0-dim or 1-dim tensor, got {repeats.ndim} dims"
        )
    if repeats.dtype not in (np.int32, np.int64):
        raise RuntimeError(
            f"repeat_interleave: repeats has to be Long or Int tensor, got {repeats.dtype}"
        )
    if repeats.size and repeats.min() < 0:
        raise RuntimeError("repeats can not be negative")
    if count is not None and repeats.size not in (1, count):
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{repeats.size} and input.size(0) = {count}"
        )


@operator(function=False, method=False, out=False, node="RepeatInterleaveBackward0")
def repeat_places(repeats, count=None):
    """For each place of the result of `repeat_interleave`, the place of its source."""
    _check_repeats(repeats, count)
    count = repeats.size if count is None else count
    if not repeats.ndim and count is None:
        raise RuntimeError("repeat_interleave: repeats must be 1-dim")
    return np.repeat(np.arange(count, dtype=repeats.dtype), repeats.reshape(-1))


@operator(
    function=False, method=False, out=False, node="RepeatInterleaveBackward0",
    grad={"input": _interleave_gradient},
)
def repeat_each(input, repeats, dim=None):
    """The operator behind `repeat_interleave` where repeats are a tensor."""
    if dim is not None:
        dim = wrap_dim(dim, input.ndim)
    if not input.ndim:
        input, dim = input.reshape(1), None
    _check_repeats(repeats, input.size if dim is None else input.shape[dim])
    return np.repeat(input, repeats.reshape(-1), dim)


@operator(
    function=False, method=False, out=False, node="RepeatInterleaveBackward0",
    rearranges=True, repeats=True, grad={"input": _interleave_gradient},
)
def repeat_evenly(input, repeats, dim=None):
    """The operator behind `repeat_interleave` where repeats are a number."""
    dim = None if dim is None else wrap_dim(dim, input.ndim)
    if as_int(repeats, "repeat_interleave", "repeats") < 0:
        raise RuntimeError("Repeats must be non-negative")
    if dim is None or not input.ndim:
        input, dim = input.reshape(-1), 0
    shape = input.shape
    result = np.empty_like(
        input, shape=(*shape[:dim], shape[dim] * repeats, *shape[dim + 1:]), order="C",
        subok=False)
    seen = result.reshape(*shape[:dim + 1], repeats, *shape[dim + 1:])
    put(seen, np.broadcast_to(np.expand_dims(input, dim + 1), seen.shape))
    return result


@composite(samples=lambda make: [((make((2, 3)), 2), {}), ((make((2, 3)), 2, 1), {})])
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Return the tensor with each element (or each index along `dim`) repeated in place.

    `repeats` is an int or an integer tensor with one entry per index. Called with a tensor of
    counts alone, returns each index as often as its count says.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.repeat_interleave.html

    >>> import iskra as torch
    >>> torch.repeat_interleave(torch.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    >>> torch.repeat_interleave(torch.tensor([1, 2]), torch.tensor([0, 3]))
    tensor([2, 2, 2])
    """
    if repeats is None:
        result = repeat_places(input)
    elif isinstance(repeats, Tensor):
        result = repeat_each(input, repeats, dim)
    else:
        result = repeat_evenly(input, repeats, dim)
    size = result.size(0 if dim is None else dim)
    if output_size is not None and size != output_size:
        raise RuntimeError(
            f"repeat_interleave: output_size {output_size} differs from the result's size {size}"
        )
    return result


def _opposite(shifts):
    return tuple(-s for s in shifts) if isinstance(shifts, (tuple, list)) else -shifts


@operator(
    rearranges=True, repeats=True, grad=lambda g, shifts, dims: g.roll(_opposite(shifts), dims),
    samples=lambda make: [((make((2, 3)), 1), {}), ((make((2, 3)), (1, -2), (0, 1)), {})],
)
def roll(input, shifts, dims=()):
    """Return the tensor with elements shifted along `dims`; those pushed out come in again.

    Without `dims` the flattened tensor is rolled. Raises RuntimeError where the numbers of
    shifts and dims differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.roll.html

    >>> import iskra as torch
    >>> torch.roll(torch.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """
    shifts = tuple(shifts) if isinstance(shifts, (tuple, list)) else (shifts,)
    shifts = tuple(as_int(s, "roll", "shifts") for s in shifts)
    dims = () if dims is None else dims
    dims = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) == 1:
        return _rolled(input.reshape(-1), shifts, (0,)).reshape(input.shape)
    if len(shifts) != len(dims):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}"
        )
    if not input.ndim:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return _rolled(input, shifts, [wrap_dim(d, input.ndim) for d in dims])


def _rolled(input, shifts, dims):
    """``np.roll``: along each dimension the end goes to the front."""
    result = np.empty_like(input, order="C", subok=False)
    total = [0] * input.ndim
    for dim, shift in zip(dims, shifts, strict=True):
        total[dim] += shift
    moves = [_rolls(n, s) for n, s in zip(input.shape, total, strict=True)]
    for move in itertools.product(*moves):
        put(result[tuple([to for to, _ in move])], input[tuple([of for _, of in move])])
    return result


def _rolls(size, shift):
    """Which parts of a dimension go where: pairs of slices."""
    shift = shift % size if size else 0
    if not shift:
        return [(_ALL, _ALL)]
    return [(slice(shift, None), slice(None, size - shift)),
            (slice(None, shift), slice(size - shift, None))]


@operator(
    variadic="dims", rearranges=True, repeats=True, grad=lambda g, dims: g.flip(dims),
    samples=lambda make: [((make((2, 3)), (0, -1)), {}), ((make((3,)), (0,)), {})],
)
def flip(input, dims):
    """Return a copy with the order of the elements along `dims` reversed.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.flip.html

    >>> import iskra as torch
    >>> torch.flip(torch.tensor([1, 2, 3]), (0,))
    tensor([3, 2, 1])
    """
    dims = wrap_dims(dims if isinstance(dims, (tuple, list)) else (dims,), input.ndim)
    # A copy: our arrays never have negative strides.
    return arranged(np.flip(input, tuple(d for d in dims if d < input.ndim)))


@composite()
def fliplr(input):
    """Return a copy with columns reversed. Raises RuntimeError for vectors.

    >>> import iskra as torch
    >>> torch.fliplr(torch.tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    if input.dim() < 2:
        raise RuntimeError(f"Input must be >= 2-d, got {input.dim()} dimensions")
    return flip(input, (1,))


@composite()
def flipud(input):
    """Return a copy with rows reversed. Raises RuntimeError for 0-d tensors.

    >>> import iskra as torch
    >>> torch.flipud(torch.tensor([1, 2]))
    tensor([2, 1])
    """
    if input.dim() < 1:
        raise RuntimeError(f"Input must be >= 1-d, got {input.dim()} dimensions")
    return flip(input, (0,))


@operator(
    rearranges=True, repeats=True, grad=lambda g, k, dims: g.rot90(-k, dims),
    samples=lambda make: [((make((2, 3)),), {}), ((make((2, 3, 4)), -1, (1, 2)), {})],
)
def rot90(input, k=1, dims=(0, 1)):
    """Return a copy turned `k` times by 90 degrees in the plane of `dims`, from first to second.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rot90.html

    >>> import iskra as torch
    >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    k = as_int(k, "rot90", "k")
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    first, second = (wrap_dim(d, input.ndim) for d in dims)
    if first == second:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and "
            f"dim1 = {dims[1]}"
        )
    return arranged(np.rot90(input, k, (first, second)))


def _check_matrix(name, input):
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")


@operator(
    inplace=True, rearranges=True, repeats=True, grad=lambda g, diagonal: g.tril(diagonal),
    samples=lambda make: [((make((3, 4)),), {}), ((make((2, 3, 3)), -1), {})],
)
def tril(input, diagonal=0):
    """Return the lower triangles of the matrices, zeros above `diagonal`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tril.html

    >>> import iskra as torch
    >>> torch.tril(torch.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    _check_matrix("tril", input)
    diagonal = as_int(diagonal, "tril", "diagonal")
    return triangle(input, diagonal + 1, False)


@operator(
    inplace=True, rearranges=True, repeats=True, grad=lambda g, diagonal: g.triu(diagonal),
    samples=lambda make: [((make((3, 4)),), {}), ((make((2, 3, 3)), 1), {})],
)
def triu(input, diagonal=0):
    """Return the upper triangles of the matrices, zeros below `diagonal`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.triu.html

    >>> import iskra as torch
    >>> torch.triu(torch.tensor([[1, 2], [3, 4]]))
    tensor([[1, 2],
            [0, 4]])
    """
    _check_matrix("triu", input)
    diagonal = as_int(diagonal, "triu", "diagonal")
    return triangle(input, diagonal, True)


@operator(
    rearranges=True, repeats=True,
    grad=lambda g, offset, dim1, dim2: diagonal_view(g, offset, dim1, dim2),
    samples=lambda make: [((make((2, 3)),), {}), ((make((2, 3)), 1, 0, 2), {})],
)
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """Return square matrices, in `dim1` and `dim2`, with the last dimension on their diagonals.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diag_embed.html

    >>> import iskra as torch
    >>> torch.diag_embed(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    rank = input.ndim + 1
    first, second = wrap_dim(dim1, rank), wrap_dim(dim2, rank)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for dim in sorted((first, second)):
        shape.insert(dim, size)
    result = np.empty_like(input, shape=tuple(shape), order="C", subok=False)
    filled(result, 0)
    put(diagonal_of(result, offset, first, second), input)
    return result


@composite(out="exact", samples=lambda make: [((make((3,)), 1), {}), ((make((3, 4)),), {})])
def diag(input, diagonal=0):
    """Return a matrix with a vector on its diagonal, or the diagonal of a matrix as a copy.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diag.html

    >>> import iskra as torch
    >>> torch.diag(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if input.dim() == 1:
        return diag_embed(input, diagonal)
    if input.dim() == 2:
        return diagonal_view(input, diagonal).clone()
    raise RuntimeError(
        f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D"
    )


@composite(samples=lambda make: [((make((2, 2)), 1), {})])
def diagflat(input, offset=0):
    """Return a matrix with the flattened tensor on its diagonal.

    >>> import iskra as torch
    >>> torch.diagflat(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(input.reshape(-1), offset)
