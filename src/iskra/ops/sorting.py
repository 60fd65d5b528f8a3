"""Order: sorting, the largest k, medians, modes, quantiles.

NaN counts as larger than every number.
Source: https://docs.pytorch.org/docs/stable/torch.html#comparison-ops
"""

import numpy as np

from iskra.codegen import kernels
from iskra.core.dtypes import float32, float64
from iskra.core.size import wrap_dim
from iskra.dispatch import composite, operator
from iskra.ops.extrema import index_gradient
from iskra.ops.large import has_elements
from iskra.ops.reduction import extremum_gradient
from iskra.tensor import Tensor
from iskra.tensor.bridge import convert

INTERNAL = dict(method=False, function=False, out=False)


def sortable(array):
    """The array, or one that sorts as it: NumPy would not put the NaN of bfloat16 last."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


_SHORT = 128  # elements of a row of which the one of a rank is found by sorting
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


def in_order(input, dim, descending=False, kept=None):
    """The elements in order along `dim`, or the first `kept` of them, and their places."""
    if has_elements(input):
        found = kernels.sorts.sort(input, dim, descending, kept)
        if found is not None:
            return found
    order = _order(input, dim, descending).astype(np.int64, copy=False)
    order = order if kept is None else order[(*(_ALL,) * dim, slice(kept))]
    return _taken(input, order, dim), order


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
    repeats=True, grad=_taking_gradient,
    samples=lambda make: [((make((3, 4)), 1, False), {}), ((make((2, 3, 4)), 0, True), {})],
)
def sort_along(input, dim, descending):
    """The operator behind `sort`."""
    _no_complex("sort", input)
    if not input.ndim:
        return np.copy(input), np.zeros((), np.int64)
    return in_order(input, dim, descending)


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
    out="apart", outputs=2, result=("values", "indices"), grad=_taking_gradient, repeats=True,
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
    return in_order(input, dim, bool(largest), k)


@operator(
    out="apart", outputs=2, result=("values", "indices"), grad=index_gradient, accepts="int float",
    repeats=True, samples=lambda make: [((make((3, 4)), 2), {}), ((make((5, 3)), 3, 0, True), {})],
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
    is_short = size <= _SHORT and has_elements(input)
    found = kernels.sorts.ranked(input, dim, k - 1) if is_short else None
    if found is None:
        found = _parted(input, k - 1, dim)
    return found if keepdim else tuple(a.squeeze(dim) for a in found)


def _parted(input, rank, dim):
    """The elements of a rank along `dim` and their places, without sorting the rest."""
    at = (*(_ALL,) * dim, slice(rank, rank + 1))
    chosen = np.argpartition(sortable(input), rank, axis=dim)[at].astype(np.int64, copy=False)
    return _taken(input, chosen, dim), chosen


def _at_rank(input, rank, dim):
    """The elements of the given ranks along `dim`, and where they are."""
    order = _order(input, dim, False)
    shape = [1 if d == dim else n for d, n in enumerate(input.shape)]
    chosen = _taken(order, np.broadcast_to(rank, shape), dim)
    return _taken(input, chosen, dim), chosen.astype(np.int64, copy=False)


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
    found = kernels.sorts.median(input, dim, skip_nan) if has_elements(input) else None
    if found is None:
        found = _at_rank(input, _median_rank(input, dim, skip_nan), dim)
    return found if keepdim else tuple(a.squeeze(dim) for a in found)


_MEDIAN = dict(
    **INTERNAL, outputs=2, result=("values", "indices"), accepts="int float", repeats=True,
)
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
    if input.size <= _SHORT and has_elements(input):
        found = kernels.sorts.median(input.reshape(-1), 0, skip_nan)
        if found is not None:
            return found[0].reshape(())
    flat = sortable(input.reshape(-1))
    rank = int(_median_rank(flat, 0, skip_nan)[0])
    return np.partition(flat, rank)[rank].astype(input.dtype)


_WHOLE = dict(
    **INTERNAL, accepts="int float", repeats=True,
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
    out="apart", outputs=2, result=("values", "indices"), grad=index_gradient, repeats=True,
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
    found = kernels.sorts.mode(input, dim) if has_elements(input) else None
    if found is None:
        found = _mode_along(input, dim)
    return found if keepdim else tuple(a.squeeze(dim) for a in found)


def _mode_along(input, dim):
    order = np.argsort(input, axis=dim, kind="stable")
    ranked = np.moveaxis(np.take_along_axis(input, order, dim), dim, -1)
    places = np.broadcast_to(np.arange(ranked.shape[-1]), ranked.shape)
    starts = np.zeros(ranked.shape, np.int64)
    starts[..., 1:] = np.where(ranked[..., 1:] != ranked[..., :-1], places[..., 1:], 0)
    runs = places - np.maximum.accumulate(starts, axis=-1)
    # The first longest run ends where the smallest of the most frequent elements stands last.
    best = np.expand_dims(np.argmax(runs, axis=-1), dim)
    indices = np.take_along_axis(order, best, dim).astype(np.int64, copy=False)
    return np.take_along_axis(input, indices, dim), indices


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
