"""Order: sorting, the largest k, medians, quantiles, searching in sorted sequences, uniqueness.

NaN counts as larger than every number.
Source: https://docs.pytorch.org/docs/stable/torch.html#comparison-ops
"""

import numpy as np

from iskra.core.dtypes import float32, float64, int32, int64
from iskra.core.size import format_shape, wrap_dim
from iskra.dispatch import composite, operator
from iskra.ops.extrema import index_gradient
from iskra.ops.reduction import extremum_gradient
from iskra.tensor import Tensor, wrap
from iskra.tensor.bridge import convert

INTERNAL = dict(method=False, function=False, out=False)


def sortable(array):
    """The array, or one that sorts as it: NumPy would not put the NaN of bfloat16 last."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


_ALL, _BACKWARD = slice(None), slice(None, None, -1)


def _flipped(array, dim):
    """``np.flip(array, dim)``, which looks longer at its arguments."""
    return array[(*(_ALL,) * dim, _BACKWARD)]


def _taken(array, indices, dim):
    """``np.take_along_axis``, sooner for rows."""
    if array.ndim == 1:
        return array[indices]
    if array.ndim == 2 and dim == 1 and len(indices) == len(array):
        return array[np.arange(len(array))[:, None], indices]
    return np.take_along_axis(array, indices, dim)


def _order(input, dim, descending):
    """The indices that sort `input` along `dim`, equal elements in their order."""
    input = sortable(input)
    if not descending:
        return np.argsort(input, axis=dim, kind="stable")
    turned = _flipped(np.argsort(_flipped(input, dim), axis=dim, kind="stable"), dim)
    return input.shape[dim] - 1 - turned


def _taking_gradient(g, input_shape, indices, dim):
    """Sorted and selected elements give their gradients back to where they were."""
    return index_gradient(g, input_shape, indices, dim, True)


def _no_complex(name, input):
    if input.dtype.kind == "c":
        raise RuntimeError(f"{name}(): complex numbers have no order")


@operator(
    outputs=2, result=("values", "indices"), method=False, function=False, node="SortBackward0",
    grad=_taking_gradient,
    samples=lambda make: [((make((3, 4)), 1, False), {}), ((make((2, 3, 4)), 0, True), {})],
)
def sort_along(input, dim, descending):
    """The operator behind `sort`."""
    _no_complex("sort", input)
    if not input.ndim:
        return np.copy(input), np.zeros((), np.int64)
    order = _order(input, dim, descending)
    return _taken(input, order, dim), order.astype(np.int64, copy=False)


@composite(out="aligned")
def sort(input, dim=-1, descending=False, stable=False):
    """Return the elements in order along `dim`, and where they were.

    Equal elements keep their order always. Raises RuntimeError for complex numbers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.sort.html

    >>> import iskra as torch
    >>> values, indices = torch.sort(torch.tensor([3, 1, 2]))
    >>> values, indices
    (tensor([1, 2, 3]), tensor([1, 2, 0]))
    """
    return sort_along(input, wrap_dim(dim, input.dim()), bool(descending))


@composite(out=True)
def argsort(input, dim=-1, descending=False, stable=False):
    """Return the indices that sort the elements along `dim`.

    >>> import iskra as torch
    >>> torch.argsort(torch.tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """
    return sort(input, dim, descending).indices


@composite(out="exact aligned")
def msort(input):
    """Return the elements in order along the first dimension.

    >>> import iskra as torch
    >>> torch.msort(torch.tensor([3, 1, 2]))
    tensor([1, 2, 3])
    """
    return sort(input, 0).values


@operator(
    out="apart", outputs=2, result=("values", "indices"), grad=_taking_gradient,
    samples=lambda make: [((make((3, 4)), 2), {}), ((make((5, 3)), 3, 0, False), {})],
)
def topk(input, k, dim=-1, largest=True, sorted=True):
    """Return the `k` largest (or smallest) elements along `dim` in order, and where they are.

    Raises RuntimeError where `k` is larger than the dimension.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.topk.html

    >>> import iskra as torch
    >>> torch.topk(torch.tensor([1, 5, 2]), 2).values
    tensor([5, 2])
    """
    _no_complex("topk", input)
    dim = wrap_dim(dim, input.ndim)
    size = input.shape[dim] if input.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: selected index k out of range: k={k} for a dimension of {size}")
    if not input.ndim:
        shape = () if k else (0,)
        return np.copy(input).reshape(-1)[:1 if k else 0].reshape(shape), np.zeros(shape, np.int64)
    chosen = _largest(input, k, dim, largest)
    return _taken(input, chosen, dim), chosen.astype(np.int64, copy=False)


def _largest(input, k, dim, largest):
    """Where the `k` largest or smallest elements along `dim` are, in order."""
    size = input.shape[dim]
    if size < 256 or k * 8 > size:
        return _order(input, dim, largest)[(*(_ALL,) * dim, slice(k))]
    parted = np.argpartition(sortable(input), size - k if largest else k - 1, axis=dim)
    some = np.arange(size - k, size) if largest else np.arange(k)
    chosen = np.sort(np.take(parted, some, axis=dim), axis=dim)
    order = _order(_taken(input, chosen, dim), dim, largest)
    return _taken(chosen, order, dim)


@operator(
    out="apart", outputs=2, result=("values", "indices"), grad=index_gradient, accepts="int float",
    samples=lambda make: [((make((3, 4)), 2), {}), ((make((5, 3)), 3, 0, True), {})],
)
def kthvalue(input, k, dim=-1, keepdim=False):
    """Return the `k`-th smallest element along `dim` (counted from 1), and where it is.

    >>> import iskra as torch
    >>> torch.kthvalue(torch.tensor([3, 1, 2]), 2).values
    tensor(2)
    """
    dim = wrap_dim(dim, input.ndim)
    size = input.shape[dim] if input.ndim else 1
    if not size:
        raise IndexError(
            f"kthvalue(): Expected reduction dim {dim} to have non-zero size."
        )
    if not 1 <= k <= size:
        raise RuntimeError(
            f"kthvalue(): selected number k out of range for dimension {dim}: k={k}, size={size}"
        )
    if not input.ndim:
        return np.copy(input), np.zeros((), np.int64)
    chosen = np.argpartition(sortable(input), k - 1, axis=dim)[(*(_ALL,) * dim, slice(k - 1, k))]
    values, chosen = _taken(input, chosen, dim), chosen.astype(np.int64, copy=False)
    return (values, chosen) if keepdim else (values.squeeze(dim), chosen.squeeze(dim))


def _at_rank(input, rank, dim, keepdim):
    """The elements of the given ranks along `dim`, and where they are."""
    order = _order(input, dim, False)
    shape = [1 if d == dim else n for d, n in enumerate(input.shape)]
    chosen = _taken(order, np.broadcast_to(rank, shape), dim)
    values = _taken(input, chosen, dim)
    chosen = chosen.astype(np.int64, copy=False)
    return (values, chosen) if keepdim else (values.squeeze(dim), chosen.squeeze(dim))


def _median_rank(input, dim, skip_nan):
    """The rank of the lower median; that of the first NaN where NaN wins."""
    size = input.shape[dim]
    if input.dtype.kind in "iub":
        shape = [1 if d == dim else n for d, n in enumerate(input.shape)]
        return np.full(shape, (size - 1) // 2)
    count = size - np.isnan(input).sum(dim, keepdims=True)
    if skip_nan:
        return np.maximum(count - 1, 0) // 2
    return np.where(count < size, count, (size - 1) // 2)


def _median_along(name, input, dim, keepdim, skip_nan):
    if not input.ndim:
        return np.copy(input), np.zeros((), np.int64)
    if not input.shape[dim]:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return _at_rank(input, _median_rank(input, dim, skip_nan), dim, keepdim)


_MEDIAN = dict(outputs=2, result=("values", "indices"), **INTERNAL, accepts="int float")
_ALONG = lambda make: [((make((3, 5)), 1, False), {}), ((make((4, 3)), 0, True), {})]


@operator(**_MEDIAN, node="MedianBackward1", grad=index_gradient, samples=_ALONG)
def median_along(input, dim, keepdim):
    """The operator behind `median` with `dim`."""
    return _median_along("median", input, dim, keepdim, False)


@operator(**_MEDIAN, node="NanmedianBackward1", grad=index_gradient, samples=_ALONG)
def nanmedian_along(input, dim, keepdim):
    """The operator behind `nanmedian` with `dim`."""
    return _median_along("nanmedian", input, dim, keepdim, True)


def _median_of_all(input, skip_nan):
    """The lower median of all elements, found without sorting the rest."""
    if not input.size:
        return convert(np.full((), np.nan, np.float64), input.dtype)
    flat = sortable(input.reshape(-1))
    rank = int(_median_rank(flat, 0, skip_nan)[0])
    return np.partition(flat, rank)[rank].astype(input.dtype)


_WHOLE = dict(
    **INTERNAL, accepts="int float",
    grad=lambda g, input, result: extremum_gradient(g, input, result, None, False),
    samples=lambda make: [((make((3, 5)),), {})],
)


@operator(**_WHOLE, node="MedianBackward0")
def median_of_all(input):
    """The operator behind `median` without `dim`."""
    return _median_of_all(input, False)


@operator(**_WHOLE, node="NanmedianBackward0")
def nanmedian_of_all(input):
    """The operator behind `nanmedian` without `dim`."""
    return _median_of_all(input, True)


@composite(out=True)
def median(input, dim=None, keepdim=False):
    """Return the lower median; with `dim` the medians along it and where they are. NaN wins.

    >>> import iskra as torch
    >>> torch.median(torch.tensor([3, 1, 2, 4]))
    tensor(2)
    """
    if dim is None:
        return median_of_all(input)
    return median_along(input, wrap_dim(dim, input.dim()), keepdim)


@composite(out=True)
def nanmedian(input, dim=None, keepdim=False):
    """Return the lower median of the elements that are not NaN (see `median`).

    >>> import iskra as torch
    >>> torch.nanmedian(torch.tensor([3.0, float("nan"), 1.0]))
    tensor(1.)
    """
    if dim is None:
        return nanmedian_of_all(input)
    return nanmedian_along(input, wrap_dim(dim, input.dim()), keepdim)


@operator(
    out="apart", outputs=2, result=("values", "indices"), grad=index_gradient,
    samples=lambda make: [((make((3, 5)),), {}), ((make((4, 3)), 0, True), {})],
)
def mode(input, dim=-1, keepdim=False):
    """Return the most frequent element along `dim` (the smallest of equals), and its last place.

    >>> import iskra as torch
    >>> torch.mode(torch.tensor([2, 1, 2, 1])).values
    tensor(1)
    """
    if not input.ndim:
        return np.copy(input), np.zeros((), np.int64)
    dim = wrap_dim(dim, input.ndim)
    if not input.shape[dim]:
        raise IndexError(f"mode(): Expected reduction dim {dim} to have non-zero size.")
    order = np.argsort(input, axis=dim, kind="stable")
    ranked = np.moveaxis(np.take_along_axis(input, order, dim), dim, -1)
    places = np.broadcast_to(np.arange(ranked.shape[-1]), ranked.shape)
    starts = np.zeros(ranked.shape, np.int64)
    starts[..., 1:] = np.where(ranked[..., 1:] != ranked[..., :-1], places[..., 1:], 0)
    runs = places - np.maximum.accumulate(starts, axis=-1)
    # The first longest run ends where the smallest of the most frequent elements stands last.
    best = np.expand_dims(np.argmax(runs, axis=-1), dim)
    indices = np.take_along_axis(order, best, dim).astype(np.int64, copy=False)
    values = np.take_along_axis(input, indices, dim)
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def _quantile(name, input, q, dim, keepdim, interpolation, skip_nan):
    """Quantiles by taking elements of two neighbouring ranks and mixing them."""
    if not isinstance(q, Tensor):
        q = input.new_tensor(float(q))
    if input.dtype not in (float32, float64):
        raise RuntimeError(
            f"{name}() input tensor must be either float or double dtype, got {input.dtype}"
        )
    if q.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor, got {q.dtype} and "
            f"{input.dtype}"
        )
    if q.dim() > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    if not input.numel():
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    levels = q.detach().reshape(-1)
    if ((levels < 0) | (levels > 1)).any():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1], got {q.tolist()}")
    rank, flat = input.dim(), dim is None or not input.dim()
    axis = 0 if flat else wrap_dim(dim, rank)
    ordered = sort(input.reshape(-1) if flat else input.movedim(axis, -1)).values
    result = _mixed(ordered, _ranks(ordered, q.reshape(-1), skip_nan), interpolation)
    result = result.movedim(-1, 0)
    if keepdim:
        shape = [1] * rank if flat else [1 if d == axis else n for d, n in enumerate(input.shape)]
        result = result.reshape([q.numel(), *shape])
    return result.squeeze(0) if q.dim() == 0 else result


def _ranks(ordered, levels, skip_nan):
    """The places, between two elements as a rule, of quantiles in sorted rows."""
    missing = ordered.isnan()
    if skip_nan:
        last = (ordered.shape[-1] - 1 - missing.sum(-1, keepdim=True)).clamp(min=0)
        return levels * last
    last = ordered.shape[-1] - 1
    ranks = (levels * last).expand(*ordered.shape[:-1], -1)
    # Where there is a NaN, the last element is one, and the answer.
    return ranks.masked_fill(missing[..., -1:], last)


def _mixed(ordered, ranks, interpolation):
    """The elements of sorted rows at broken `ranks`, interpolated."""
    if interpolation in ("lower", "higher", "nearest"):
        chosen = {"lower": ranks.floor, "higher": ranks.ceil, "nearest": ranks.round}
        return ordered.gather(-1, chosen[interpolation]().long())
    below = ranks.floor()
    weight = ranks - below if interpolation == "linear" else ranks.new_full(ranks.shape, 0.5)
    low = ordered.gather(-1, below.long())
    return low.lerp(ordered.gather(-1, ranks.ceil().long()), weight)


@composite(autocast="float32", out="exact")
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """Return the `q`-th quantiles (of 0 to 1) of all elements or along `dim`; NaN wins.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.quantile.html

    >>> import iskra as torch
    >>> torch.quantile(torch.tensor([0.0, 1.0, 2.0, 3.0]), 0.5)
    tensor(1.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@composite(autocast="float32", out="exact")
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """Return quantiles of the elements that are not NaN (see `quantile`).

    >>> import iskra as torch
    >>> torch.nanquantile(torch.tensor([0.0, float("nan"), 2.0]), 0.5)
    tensor(1.)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


def _search(sequence, values, side):
    """Where to put `values` into sorted rows so that they stay sorted."""
    sequence, values = sortable(sequence), sortable(values)
    if sequence.ndim == 1:
        return np.searchsorted(sequence, values, side)
    result = np.empty(values.shape, np.int64)
    for place in np.ndindex(*sequence.shape[:-1]):
        result[place] = np.searchsorted(sequence[place], values[place], side)
    return result


def _value_among(sequence, value):
    """The number as a tensor of the sequence's dtype, unless it would lose its fraction."""
    if isinstance(value, (list, tuple, str)) or value is None:
        raise TypeError(
            f"searchsorted(): argument 'input' must be Tensor or Number, not {type(value).__name__}"
        )
    kind = sequence.dtype if sequence.is_floating_point() or isinstance(value, int) else None
    return sequence.new_tensor(value, dtype=kind or float64)


@composite(out="exact", method=False)
def searchsorted(
    sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None
):
    """Return where to put elements of `input` into sorted sequences so that these stay sorted.

    Raises RuntimeError where the leading dimensions differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.searchsorted.html

    >>> import iskra as torch
    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]))
    tensor([1, 2])
    """
    if not isinstance(input, Tensor):
        input = _value_among(sorted_sequence, input)
    if side not in (None, "left", "right"):
        raise RuntimeError(
            f"searchsorted(): side can only be 'left' or 'right' but got {side}"
        )
    if right and side == "left":
        raise RuntimeError(
            "searchsorted(): side and right can't be set to opposites, got side of left while "
            "right was True"
        )
    if sorted_sequence.dim() == 0:
        raise RuntimeError("searchsorted(): boundaries tensor should have positive dimension")
    if sorted_sequence.dim() != 1 and (
        sorted_sequence.dim() != input.dim()
        or sorted_sequence.shape[:-1] != input.shape[:-1]
    ):
        raise RuntimeError(
            "searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
            "of boundaries tensor and input value tensor must match, but we got boundaries tensor "
            f"{format_shape(sorted_sequence.shape)} and input value tensor "
            f"{format_shape(input.shape)}"
        )
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "searchsorted(): boundary and sorter must have the same size, but got boundary "
                f"tensor {format_shape(sorted_sequence.shape)} and sorter tensor "
                f"{format_shape(sorter.shape)}"
            )
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    where_to = "right" if right or side == "right" else "left"
    found = _search(sorted_sequence._array, input._array, where_to)
    kind = int32 if out_int32 else int64
    return wrap(np.asarray(found, kind.numpy))


@composite(out="exact", method=False)
def bucketize(input, boundaries, *, out_int32=False, right=False):
    """Return the index of the bucket, between sorted `boundaries`, of each element.

    >>> import iskra as torch
    >>> torch.bucketize(torch.tensor([3, 6]), torch.tensor([1, 3, 5]))
    tensor([1, 3])
    """
    if boundaries.dim() != 1:
        raise RuntimeError(
            f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})"
        )
    if not isinstance(input, Tensor):
        input = _value_among(boundaries, input)
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@composite(out="exact", method=False)
def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """Return whether each of `elements` is among `test_elements`.

    >>> import iskra as torch
    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2]))
    tensor([False,  True, False])
    """
    both = (elements, test_elements)
    if not any(isinstance(t, Tensor) for t in both) or any(
        isinstance(t, (list, tuple, str)) or t is None for t in both
    ):
        raise TypeError(
            "isin(): elements and test_elements must be a Tensor and a Tensor or Number, got "
            + " and ".join(type(t).__name__ for t in both)
        )
    arrays = [t._array if isinstance(t, Tensor) else np.asarray(t) for t in both]
    return wrap(np.asarray(np.isin(*arrays, invert=invert)))


def _unique_parts(values, first, inverse, counts, return_inverse, return_counts, shape):
    parts = [wrap(np.ascontiguousarray(values))]
    if return_inverse:
        parts.append(wrap(np.asarray(inverse, np.int64).reshape(shape)))
    if return_counts:
        parts.append(wrap(np.asarray(counts, np.int64)))
    return parts[0] if len(parts) == 1 else tuple(parts)


def _check_sizes(name, input, dim):
    """Slices without elements cannot be told apart."""
    if dim is None:
        return
    dim = wrap_dim(dim, input.dim())
    if any(not n for d, n in enumerate(input._array.shape) if d != dim):
        raise RuntimeError(
            f"{name}: There are 0 sized dimensions, and they aren't selected, so unique cannot be "
            f"applied to shape {format_shape(input.shape)} along dimension {dim}"
        )


@composite()
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """Return the distinct elements (or slices along `dim`) in order; also inverses and counts.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unique.html

    >>> import iskra as torch
    >>> torch.unique(torch.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    _check_sizes("unique", input, dim)
    found = np.unique(
        input._array, return_index=True, return_inverse=True, return_counts=True, axis=dim,
        equal_nan=False,
    )
    shape = input.shape if dim is None else (-1,)
    return _unique_parts(*found, return_inverse, return_counts, shape)


@composite()
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """Return the elements (or slices along `dim`) without those equal to the one before.

    >>> import iskra as torch
    >>> torch.unique_consecutive(torch.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    _check_sizes("unique_consecutive", input, dim)
    array = input._array.reshape(-1) if dim is None else np.moveaxis(input._array, dim, 0)
    if len(array):
        rows = array.reshape(len(array), -1)
        new = np.concatenate(([True], (rows[1:] != rows[:-1]).any(1)))
    else:
        new = np.zeros(0, bool)
    starts = np.flatnonzero(new)
    values = array[starts] if dim is None else np.moveaxis(array[starts], 0, dim)
    counts = np.diff(np.append(starts, len(array)))
    shape = input.shape if dim is None else (-1,)
    return _unique_parts(
        values, starts, np.cumsum(new) - 1, counts, return_inverse, return_counts, shape
    )
