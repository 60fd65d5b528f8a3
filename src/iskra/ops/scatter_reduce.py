"""Reducing into places named by an index: scatter_reduce and index_reduce.

Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.scatter_reduce_.html and
https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_reduce_.html
"""

import numpy as np

from iskra.dispatch import operator
from iskra.ops.comparison import where
from iskra.ops.gathering import check_bounds, positions
from iskra.ops.moving import copied, write_along, write_rows
from iskra.ops.scattering import (
    check_rows,
    check_scatter,
    index_samples,
    rows_back,
    rows_first,
)
from iskra.ops.slicing import put_place

_UFUNCS = {
    "sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum,
}


def reduce_rows(out, rows, values, reduce, include_self):
    """Reduce ``values[i]`` into ``out[rows[i]]``: `out` is ``(n, m)``, `values` ``(k, m)``."""
    if not rows.size:
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ufunc = _UFUNCS[reduce]
    found = ufunc.reduceat(values[order], starts, axis=0, dtype=out.dtype)
    places = ordered[starts]
    if include_self:
        found = ufunc(out[places], found)
    if reduce == "mean":
        counts = np.diff(np.append(starts, rows.size)) + int(include_self)
        counts = counts[:, None].astype(out.dtype)
        found = found // counts if out.dtype.kind in "iu" else found / counts
    out[places] = found


def _identity(reduce, dtype):
    """What a place that does not count itself begins with."""
    if reduce not in ("amax", "amin"):
        return int(reduce == "prod")
    lowest = reduce == "amax"
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    if dtype.kind == "b":
        return not lowest
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max


def _by_kernels(write, result, dim, index, values, reduce, include_self):
    """The reduced `result`, which may be overwritten; None where kernels do not serve."""
    if result.dtype.kind == "c":
        return None
    if not include_self:
        nothing = np.full(values.shape, _identity(reduce, result.dtype), result.dtype)
        if not write("set", result, index, nothing, dim):
            return None
    if not write(_UFUNCS[reduce].__name__, result, index, values, dim):
        return None
    if reduce == "mean":
        counts = np.full_like(result, int(include_self))
        write("add", counts, index, np.ones_like(values), dim)
        counts = np.maximum(counts, 1)
        mean = np.floor_divide if result.dtype.kind in "iu" else np.divide
        result = mean(result, counts).astype(result.dtype, copy=False)
    return result


# -- the gradients, for any way of writing and reading by the index -------------------------------


class _Places:
    """Reading from and adding to the places that an index names, in tensor operators."""

    def __init__(self, dim, index):
        self.dim = dim
        self.index = index

    def read(self, tensor):
        """What lies at the places, one entry for each of the source's."""
        return tensor.gather(self.dim, self.index)

    def add(self, tensor, source):
        """A copy with `source` added at the places."""
        return tensor.scatter_add(self.dim, self.index, source)

    def clear(self, tensor):
        """A copy with zeros at the places."""
        return tensor.scatter(self.dim, self.index, 0)

    def reduce(self, tensor, source, reduce, include_self):
        """The operator itself."""
        return scatter_reduce(
            tensor, self.dim, self.index, source, reduce, include_self=include_self
        )


class _Rows(_Places):
    """The same for `index_reduce`, whose index names whole entries."""

    def read(self, tensor):
        return tensor.index_select(self.dim, self.index)

    def add(self, tensor, source):
        return tensor.index_add(self.dim, self.index, source)

    def clear(self, tensor):
        return tensor.index_fill(self.dim, self.index, 0)

    def reduce(self, tensor, source, reduce, include_self):
        return index_reduce(
            tensor, self.dim, self.index, source, reduce, include_self=include_self
        )


def _gradients(places, g, input, src, result, reduce, include_self):
    """The gradients of input and src."""
    if reduce == "sum":
        for_input, for_src = g, places.read(g)
    elif reduce == "mean":
        counts = input.new_ones(input.shape) if include_self else input.new_zeros(input.shape)
        counts = places.add(counts, src.new_ones(src.shape)).clamp(min=1)
        share = g / counts
        for_input, for_src = share, places.read(share)
    elif reduce == "prod":
        for_input, for_src = _of_product(places, g, input, src, result, include_self)
    else:
        for_input, for_src = _of_extremum(places, g, input, src, result)
    return for_input if include_self else places.clear(for_input), for_src


def _of_product(places, g, input, src, result, include_self):
    """Each factor's gradient is the product of the others, also where some factors are 0."""
    safe_input = where(input == 0, input.new_ones(()), input)
    others = places.reduce(safe_input, src, "prod", include_self) / safe_input
    src_is_zero = src == 0
    zeros = places.add(input.new_zeros(input.shape), src_is_zero.to(src.dtype))
    if include_self:
        zeros = zeros + (input == 0).to(src.dtype)
    # Only where a source is the one zero of its product does it get more than nothing from it.
    alone = src_is_zero.logical_and(places.read(zeros) == 1)
    without = places.reduce(input, where(alone, src.new_ones(()), src), "prod", include_self)
    usual = places.read(g * result) / where(src_is_zero, src.new_ones(()), src)
    return g * others, where(alone, places.read(g * without), usual)


def _of_extremum(places, g, input, src, result):
    """Ties share the gradient."""
    input_wins = (input == result).to(input.dtype)
    src_wins = (src == places.read(result)).to(src.dtype)
    share = g / places.add(input_wins, src_wins).clamp(min=1)
    return input_wins * share, src_wins * places.read(share)


def _scatter_gradients(g, input, dim, index, src, reduce, include_self, result, src_shape):
    used = src if tuple(index.shape) == src_shape else src[
        tuple(slice(0, n) for n in index.shape)
    ]
    places = _Places(dim, index)
    for_input, for_src = _gradients(places, g, input, used, result, reduce, include_self)
    if tuple(used.shape) != src_shape:
        corner = tuple(slice(0, n) for n in used.shape)
        for_src = put_place(for_src, src_shape, corner)
    return for_input, for_src


@operator(
    out="apart", repeats=True, operands="input index src", inplace=True, computes=True,
    grad={("input", "src"): _scatter_gradients},
    samples=lambda make: [
        ((make((3, 4)), 0, index_samples(make, (5, 4), 3), make((5, 4)), reduce),
         {"include_self": include})
        for reduce in ("sum", "prod", "mean", "amax", "amin") for include in (True, False)
    ],
)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True):
    """Return a copy of `input` with `src` reduced into the places `index` along `dim`.

    `reduce` is ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``; without
    `include_self` what stood at a written place does not count.

    >>> import iskra as torch
    >>> index, src = torch.tensor([0, 0, 1]), torch.tensor([1.0, 5.0, 2.0])
    >>> torch.scatter_reduce(torch.zeros(2), 0, index, src, reduce="amax")
    tensor([5., 2.])
    """
    if reduce not in _UFUNCS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    dim, values = check_scatter(input, dim, index, src)
    result = copied(input)
    if values is not None:
        found = _by_kernels(write_along, result, dim, index, values, reduce, include_self)
        if found is not None:
            return found
        places = positions(index, input.shape, dim).reshape(-1)
        reduce_rows(
            result.reshape(-1, 1), places, values.reshape(-1, 1), reduce, include_self
        )
    return result


def _index_gradients(g, input, dim, index, source, reduce, include_self, result):
    places = _Rows(dim, index)
    return _gradients(places, g, input, source, result, reduce, include_self)


@operator(
    out="apart", repeats=True, operands="input index source", inplace=True, computes=True,
    grad={("input", "source"): _index_gradients},
    samples=lambda make: [
        ((make((3, 4)), 0, index_samples(make, (5,), 3), make((5, 4)), reduce),
         {"include_self": include})
        for reduce in ("prod", "mean", "amax", "amin") for include in (True, False)
    ],
)
def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """Return a copy of `input` with `source` reduced into the entries `index` along `dim`.

    `reduce` is ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"`` (for sums: `index_add`).

    >>> import iskra as torch
    >>> torch.index_reduce(torch.ones(2), 0, torch.tensor([1, 1]), torch.tensor([3.0, 4.0]), "prod")
    tensor([ 1., 12.])
    """
    if reduce not in _UFUNCS or reduce == "sum":
        raise RuntimeError(
            "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    dim = check_rows("index_reduce_", input, dim, index, source)
    check_bounds(index, input.shape[dim] if input.ndim else 1, dim)
    if source.ndim == input.ndim > 0:
        result = copied(input)
        found = _by_kernels(write_rows, result, dim, index, source, reduce, include_self)
        if found is not None:
            return found
    result = rows_first(input, dim)
    if result.size:
        rows = rows_first(source, dim)
        reduce_rows(result, index.reshape(-1), rows, reduce, include_self)
    return rows_back(result, input.shape, dim)
