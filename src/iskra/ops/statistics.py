"""Counting and statistics: histograms, bincount, covariance, correlation, hashes.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#reduction-ops
"""

import math

import numpy as np

from iskra.codegen import kernels
from iskra.core import dtypes
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator, reduction
from iskra.dispatch.named import return_type
from iskra.ops.arithmetic import maximum
from iskra.ops.grids import complex
from iskra.ops.large import is_large
from iskra.ops.searching import places_among
from iskra.ops.slicing import as_int
from iskra.tensor import Tensor, wrap

_MOST_BINS = 1 << 31  # of more NumPy says what is wrong


@operator(
    operands="input weights", out=False, grad={"weights": lambda g, input: g[input]},
    samples=lambda make: [
        ((make((5,), 0, 4, dtype=dtypes.int64), make((5,))), {}),
    ] if make.dtype.is_floating_point else [],
)
def bincount(input, weights=None, minlength=0):
    """Return how often each of 0, 1, 2 ... occurs in a one-dimensional tensor of integers.

    With `weights` the sum of the weights at these places, as float64 unless they are float32.
    Raises RuntimeError for negative integers and for lengths that differ.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.bincount.html

    >>> import iskra as torch
    >>> torch.bincount(torch.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if input.dtype.kind not in "iu":
        name = dtypes.of_numpy(input.dtype).scalar_name
        raise NotImplementedError(f'"bincount_cpu" not implemented for \'{name}\'')
    if input.ndim != 1 and input.size or _has_negative(input):
        raise RuntimeError(
            "bincount only supports 1-d non-negative integral inputs, got shape "
            f"{format_shape(input.shape)}"
        )
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError(
            "weights should be 1-d and have the same length as input, got shapes "
            f"{format_shape(weights.shape)} and {format_shape(input.shape)}"
        )
    counts = _occurrences(input.reshape(-1), weights, minlength)
    if weights is not None and weights.dtype == np.float32:
        return counts.astype(np.float32)
    return counts


def _has_negative(integers):
    """Whether an integer is below 0."""
    return integers.dtype.kind == "i" and integers.size > 0 and integers.min() < 0


def _occurrences(integers, weights=None, least=0):
    """``np.bincount`` of a vector of integers that are not negative."""
    if is_large(integers) and (weights is None or weights.__class__ is np.ndarray):
        size = max(int(integers.max()) + 1, least)
        found = kernels.counts.count(integers, size, weights) if size < _MOST_BINS else None
        if found is not None:
            return found
    return np.bincount(integers.astype(np.int64, copy=False), weights, least)


def _edges_around(values, low, high, name):
    """The range to count in: as given, else that of the values, widened if it has no width."""
    if low == high and values.size:
        low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min, got min {low} and max {high}")
    if low != high:
        return low, high
    return (low - 0.5, high + 0.5) if values.size else (0.0, 1.0)


def _check_bins(name, bins):
    if bins <= 0:
        raise RuntimeError(f"{name}(): bins must be > 0, but got {bins} for dimension 0")


@operator(computes=True, accepts="float", samples=lambda make: [
    ((make((3, 4), requires_grad=False),), {"bins": 5, "min": -1, "max": 1}),
] if make.dtype.is_floating_point else [])
def histc(input, bins=100, min=0, max=0):
    """Return how many elements fall into each of `bins` equal intervals from `min` to `max`.

    Elements outside and NaN are not counted; the last interval contains `max`. With ``min ==
    max`` the range is that of the data.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.histc.html

    >>> import iskra as torch
    >>> torch.histc(torch.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    _check_bins("histogram", bins)
    kind = input.dtype.type
    low, high = map(kind, _edges_around(input, min, max, "histc"))
    values = input[(input >= low) & (input <= high)]
    places = ((values - low) * kind(bins) / (high - low)).astype(np.int64)
    counts = _occurrences(np.minimum(places, bins - 1), None, bins)
    return counts.astype(kind)


def _counted(columns, edges, weight, dtype):
    """Sums of weights in the boxes that `edges` mark along each column of values."""
    shape = [len(e) - 1 for e in edges]
    if len(edges) == 1 and weight is None:
        return _counted_alone(columns[0], edges[0]).astype(dtype)
    inside = np.ones(len(columns[0]), bool)
    places = []
    for values, marks in zip(columns, edges, strict=True):
        place = places_among(marks, values, "right") - 1
        place = np.where(values == marks[-1], len(marks) - 2, place)
        inside &= (values >= marks[0]) & (values <= marks[-1])
        places.append(place)
    flat = np.ravel_multi_index([p[inside] for p in places], shape)
    weights = None if weight is None else weight.reshape(-1)[inside].astype(np.float64)
    counts = np.bincount(flat, weights, math.prod(shape))
    return counts.astype(dtype).reshape(shape)


def _counted_alone(values, marks):
    """How many values lie between each two marks; the last interval contains its right end."""
    below = _occurrences(places_among(marks, values, "right"), None, len(marks) + 1)
    counts = below[1:-1]  # the others lie before the first mark, or not before the last
    if len(counts):
        counts[-1] += np.count_nonzero(values == marks[-1])
    return counts


def _density(counts, edges):
    """Counts divided by their sum and by the volume of their boxes."""
    volume = 1
    for axis, marks in enumerate(edges):
        shape = [1] * counts.ndim
        shape[axis] = -1
        volume = volume * np.diff(marks).reshape(shape)
    return (counts / (counts.sum() * volume)).astype(counts.dtype)


def _marks(values, bins, limits, dimension):
    """The edges of the intervals along one dimension."""
    if not isinstance(bins, (int, np.integer)):
        marks = np.asarray(bins)
        if marks.dtype != values.dtype:
            raise RuntimeError(
                "histogramdd: input tensor and bins tensors should have the same dtype, but got "
                f"input with dtype {values.dtype} and bins for dimension {dimension} with dtype "
                f"{marks.dtype}"
            )
        if marks.ndim != 1 or marks.size == 0:
            raise RuntimeError(
                "histogramdd: bins tensor should have one dimension and at least 1 element, but "
                f"got {marks.ndim} dimensions for dimension {dimension}"
            )
        return marks
    if bins <= 0:
        raise RuntimeError(
            f"histogram(): bins must be > 0, but got {bins} for dimension {dimension}"
        )
    low, high = (0, 0) if limits is None else limits
    if low > high:
        raise RuntimeError(
            f"histogramdd: min should not exceed max, but got min {low} max {high} for dimension "
            f"{dimension}"
        )
    low, high = _edges_around(values, low, high, "histogramdd")
    return np.linspace(low, high, bins + 1).astype(values.dtype)


def _check_weight(weight, shape):
    if weight is not None and weight.shape != shape:
        raise RuntimeError(
            "histogramdd: if weight tensor is provided it should have the same shape as the "
            f"input tensor excluding its innermost dimension, but got {format_shape(shape)} and "
            f"weight with shape {format_shape(weight.shape)}"
        )


@operator(
    operands="input bins weight", outputs=2, result=("hist", "bin_edges"), scalars=True,
    accepts="int float",
    samples=lambda make: [((make((3, 4), requires_grad=False), 4), {})]
    if make.dtype in (dtypes.float32, dtypes.float64) else [],
)
def histogram(input, bins, *, range=None, weight=None, density=False):
    """Return a histogram and the edges of its intervals.

    `bins` is their number, or a tensor of increasing edges. The last interval contains its right
    edge. `density` divides by the sum and by the widths. `weight` has the shape of `input`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.histogram.html

    >>> import iskra as torch
    >>> torch.histogram(torch.tensor([1.0, 2.0, 1.0]), bins=2, range=(0.0, 2.0)).hist
    tensor([0., 3.])
    """
    if input.dtype.kind != "f":
        name = dtypes.of_numpy(input.dtype).scalar_name
        raise NotImplementedError(f'"histogramdd" not implemented for \'{name}\'')
    _check_weight(weight, input.shape)
    values = input.reshape(-1)
    edges = [_marks(values, bins, range, 0)]
    counts = _counted([values], edges, weight, input.dtype)
    return _density(counts, edges) if density else counts, edges[0].copy()


@composite(result=("hist", "bin_edges"))
def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """Return a histogram in several dimensions, and a tuple of its edges along each.

    The innermost dimension of `input` holds the coordinates; `bins` is one number for all, a
    number for each, or a tensor of edges for each; `range` lists low and high of each.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.histogramdd.html

    >>> import iskra as torch
    >>> points = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
    >>> torch.histogramdd(points, bins=[2, 2]).hist
    tensor([[0., 1.],
            [1., 1.]])
    """
    if input.ndim < 2:
        raise RuntimeError(
            "histogramdd: input tensor should have at least 2 dimensions, but got "
            f"{input.ndim}"
        )
    count = input.shape[-1]
    bins = [bins] * count if isinstance(bins, int) else list(bins)
    if len(bins) != count:
        raise RuntimeError(
            f"histogramdd: expected {count} sequences of bin edges or counts for a {count}-"
            f"dimensional histogram but got {len(bins)}"
        )
    if range is not None and len(range) != 2 * count:
        raise RuntimeError(
            f"histogramdd: for a {count}-dimensional histogram range should have {2 * count} "
            f"elements, but got {len(range)}"
        )
    array = input._array
    weights = None if weight is None else weight._array
    _check_weight(weights, array.shape[:-1])
    columns = list(array.reshape(-1, count).T)
    edges = [
        _marks(columns[d], bins[d]._array if isinstance(bins[d], Tensor) else bins[d],
               None if range is None else range[2 * d: 2 * d + 2], d)
        for d in np.arange(count)
    ]
    counts = _counted(columns, edges, weights, array.dtype)
    if density:
        counts = _density(counts, edges)
    return return_type(histogramdd.operator)((wrap(counts), tuple(wrap(e.copy()) for e in edges)))


def _check_observations(name, input):
    if input.ndim > 2:
        raise RuntimeError(
            f"{name}(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    if input._dtype is dtypes.bool_:
        raise RuntimeError(f"{name}(): bool dtype is not supported for input")


def _check_weights(name, weights, integral, count):
    if weights.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
            f"{weights.ndim} dimensions"
        )
    wanted = dtypes.INTEGER if integral else dtypes.FLOATING
    if weights._dtype.category != wanted:
        raise RuntimeError(
            f"cov(): expected {name} to have {'integral' if integral else 'floating point'} dtype "
            f"but got {name} with {weights._dtype.scalar_name} dtype"
        )
    if weights.numel() != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the "
            f"input but got {weights.numel()} != {count}"
        )
    if count and weights.min().item() < 0:
        raise RuntimeError(f"cov(): {name} cannot be negative")


def _weights_of(fweights, aweights, count):
    """The product of both kinds of weights, or None."""
    if fweights is not None:
        _check_weights("fweights", fweights, True, count)
    if aweights is not None:
        _check_weights("aweights", aweights, False, count)
        return aweights if fweights is None else fweights * aweights
    return fweights


@composite()
def cov(input, *, correction=1, fweights=None, aweights=None):
    """Return the covariance matrix of variables in rows, their observations in columns.

    `fweights` counts each observation, `aweights` weighs it; the sum is divided by the total
    weight less `correction`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.cov.html

    >>> import iskra as torch
    >>> torch.cov(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    _check_observations("cov", input)
    correction = as_int(correction, "cov", "correction")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    count = x.shape[1]
    weights = _weights_of(fweights, aweights, count)
    if weights is None:
        total = count
        mean = x.sum(1, keepdim=True) / count if count else x.new_zeros((x.shape[0], 1))
    else:
        total = weights.sum()
        if total.item() == 0:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        mean = (x * weights).sum(1, keepdim=True) / total
    divisor = total - correction
    if aweights is not None and correction != 0:
        divisor = total - correction * (weights * aweights).sum() / total
    centered = x - mean
    weighted = centered if weights is None else centered * weights
    product = weighted.matmul(centered.mT.conj())
    if isinstance(divisor, Tensor):
        divisor = maximum(divisor, divisor.new_zeros(()))
    else:
        divisor = divisor if divisor > 0 else 0
    return (product / divisor).squeeze()


@composite()
def corrcoef(input):
    """Return the matrix of Pearson's correlation coefficients of variables in rows.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.corrcoef.html

    >>> import iskra as torch
    >>> torch.corrcoef(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    _check_observations("corrcoef", input)
    c = cov(input)
    if c.ndim == 0:
        return c / c
    deviation = c.diag().sqrt()
    c = c / deviation.view(-1, 1)
    c = c / deviation.view(1, -1)
    if c.is_complex():
        return complex(c.real.clip(-1, 1), c.imag.clip(-1, 1))
    return c.clip(-1, 1)


@reduction(computes=False, samples=lambda make: [
    ((make((3, 4), dtype=dtypes.int64),), {}), ((make((3, 4), dtype=dtypes.int64), 1, True), {}),
])
def hash_tensor(input, dim=(), keepdim=False, *, mode=0):
    """Return a hash as uint64: the exclusive or of all elements' bits, or of those along `dim`.

    Integers count as int64, floats as float64. Equal values hash alike in any order.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.hash_tensor.html

    >>> import iskra as torch
    >>> torch.hash_tensor(torch.tensor([1, 2, 3]))
    tensor(0, dtype=iskra.uint64)
    """
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    dim = None if dim == () else dim
    if not input.size and dim is None:
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
            "the reduction dim with the 'dim' argument."
        )
    wide = np.int64 if input.dtype.kind in "iub" else np.float64
    bits = np.ascontiguousarray(input.astype(wide)).reshape(input.shape).view(np.uint64)
    return np.bitwise_xor.reduce(bits, axis=dim, keepdims=keepdim)
