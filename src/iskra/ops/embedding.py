"""Embeddings: rows looked up by index, bags of rows, one-hot vectors.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#sparse-functions
"""

import math

import numpy as np

from iskra.autograd import no_grad
from iskra.core.dtypes import int32, int64
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.accumulating import add_rows
from iskra.ops.activation import gated
from iskra.ops.gathering import are_below
from iskra.ops.moving import reduced_bags, summed_rows, taken, taken_by_kernels
from iskra.tensor import Tensor, wrap

FUNCTIONAL = dict(namespace="nn.functional", method=False, out=False)
INTERNAL = dict(method=False, function=False, out=False)


def _check_kind(name, indices):
    if indices.dtype.kind not in "iu" or indices.dtype.itemsize < 4:
        raise RuntimeError(
            f"Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {indices.dtype} instead (while checking arguments for {name})"
        )


def _check_indices(name, indices, rows):
    if not are_below(indices, rows):
        bad = indices[(indices < 0) | (indices >= rows)].flat[0]
        raise IndexError(
            f"{name}: index out of range in self: {bad} is not in [0, {rows - 1}]"
        )


def _summed(rows, indices, count):
    """Sum `rows` into `count` rows, each where `indices` says."""
    total = np.zeros((count, *rows.shape[1:]), rows.dtype)
    if total.size:
        add_rows(total, indices, rows)
    return total


def _backward_of_lookup(g, input, padding_idx):
    rows = lookup(g, input, -1, False)
    if padding_idx >= 0:
        rows = rows.masked_fill((input == padding_idx).unsqueeze(-1), 0)
    return rows


@operator(
    **INTERNAL, operands="g input", computes=True, repeats=True, node="EmbeddingDenseBackward0",
    grad={"g": lambda g, input, padding_idx: _backward_of_lookup(g, input, padding_idx)},
)
def embedding_backward(g, input, rows, padding_idx, scale_grad_by_freq):
    """The gradient of the table: each row gets what was looked up from it."""
    indices = input.reshape(-1)
    row = g.shape[input.ndim:]
    flat = g.reshape(indices.size, math.prod(row))
    if scale_grad_by_freq and indices.size:
        counts = np.bincount(indices, minlength=rows)
        flat = flat / counts[indices][:, None].astype(flat.dtype)
    total = summed_rows(flat, indices, rows, padding_idx)
    if total is None:
        total = _summed(flat, indices, rows)
        if padding_idx >= 0:
            total[padding_idx] = 0
    return total.reshape(rows, *row)


@operator(
    **INTERNAL, operands="weight input", repeats=True, node="EmbeddingBackward0",
    grad=lambda g, input, weight_shape, padding_idx, scale_grad_by_freq: embedding_backward(
        g, input, weight_shape[0], padding_idx, scale_grad_by_freq
    ),
)
def lookup(weight, input, padding_idx, scale_grad_by_freq):
    """The operator behind `embedding`."""
    _check_kind("embedding", input)
    found = taken_by_kernels(weight, input, 0)
    if found is None:
        _check_indices("embedding", input, weight.shape[0])
        found = np.take(weight, input, 0)
    return found


def _renormalise(weight, indices, max_norm, norm_type):
    """Scale the rows that are looked up and are too long, in place."""
    with no_grad():
        used = wrap(np.unique(indices._array))
        rows = weight.detach()[used]
        norms = rows.norm(norm_type, dim=1, keepdim=True)
        factor = (max_norm / (norms + 1e-7)).clamp(max=1.0)
        weight.detach()[used] = rows * factor


def _padding(padding_idx, rows):
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


@composite(**FUNCTIONAL)
def embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
    sparse=False,
):
    """Return the rows of `weight` that `input` names: of shape ``(*input.shape, row)``.

    The row `padding_idx` gets no gradient. Rows longer than `max_norm` are scaled in place.
    Raises IndexError for an index outside the table. `sparse` gradients are given dense.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html

    >>> import iskra as torch
    >>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> torch.nn.functional.embedding(torch.tensor([1, 0, 1]), table)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    if weight.dim() != 2:
        raise RuntimeError(
            f"embedding: 'weight' must be 2-D, got shape {format_shape(weight.shape)}"
        )
    padding = _padding(padding_idx, weight.size(0))
    if max_norm is not None:
        _renormalise(weight, input, max_norm, norm_type)
    return lookup(weight, input, padding, scale_grad_by_freq)


def _check_bag(input, offsets, mode, per_sample_weights):
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}')."
        )
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then "
            f"it must have the same shape as the input ({input.shape})"
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if input.dim() == 2 and offsets is not None:
        raise ValueError(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
            "fixed length sequences."
        )
    if input.dim() == 1 and offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if input.dim() == 1 and offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if input.dim() not in (1, 2):
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )


# Bags of rows


def _bags(bounds, count):
    """The bag to which each of `count` entries belongs; -1 for those outside of all."""
    bags = np.full(count, -1)
    bags[bounds[0]:bounds[-1]] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return bags


def _bag_gradient(
    g, result, needs, weight, indices, bounds, mode, weights, padding_idx, by_freq
):
    """The gradients of the table and of the weights of its rows."""
    g = g[0]
    if not g.shape[0]:  # no bags
        return None, None
    if mode == "max":
        chosen = result[1].detach()
        spread = gated(chosen >= 0, g)
        table = g.new_zeros(weight.shape).scatter_add(0, chosen.clamp(min=0), spread)
        return table, None
    bags = wrap(_bags(bounds._array, indices.numel()))
    kept = (bags >= 0) & (indices != padding_idx)
    rows = lookup(g, bags.clamp(min=0), -1, False)
    if mode == "mean":
        sizes = kept.new_zeros(g.shape[0], dtype=int64)
        sizes = sizes.index_add(0, bags.clamp(min=0), kept.to(int64)).clamp(min=1)
        rows = rows / sizes[bags.clamp(min=0)].unsqueeze(-1)
    rows = gated(kept.unsqueeze(-1), rows)
    to_weights = (rows * lookup(weight, indices, -1, False)).sum(-1) if needs[1] else None
    if not needs[0]:
        return None, to_weights
    rows = rows if weights is None else rows * weights.unsqueeze(-1)
    return embedding_backward(rows, indices, weight.shape[0], -1, by_freq), to_weights


def _largest(rows, indices, bags, count):
    """The largest elements of each bag, and the first index that holds each; -1 for no rows."""
    result = np.zeros((count, rows.shape[1]), rows.dtype)
    chosen = np.full(result.shape, -1)
    starts = np.flatnonzero(np.concatenate(([True], bags[1:] != bags[:-1])))
    if len(bags):
        present = bags[starts]
        result[present] = np.maximum.reduceat(rows, starts, axis=0)
        holds = np.equal(rows, result[bags]) | np.isnan(rows)
        places = np.where(holds, np.arange(len(bags))[:, None], len(bags) - 1)
        chosen[present] = indices[np.minimum.reduceat(places, starts, axis=0)]
    return result, chosen


@operator(
    **INTERNAL, operands="weight indices bounds weights", outputs=2, computes=True,
    node="EmbeddingBagBackward0", grad={("weight", "weights"): _bag_gradient},
)
def bags_of_rows(weight, indices, bounds, mode, weights=None, padding_idx=-1, by_freq=False):
    """The sum, mean or maximum of the rows in each bag; the maximum's indices.

    Bag k has the entries from ``bounds[k]`` up to ``bounds[k + 1]``, but for those of padding.
    """
    _check_bag_indices(indices, weight.shape[0])
    if padding_idx >= 0:
        kept = np.not_equal(indices, padding_idx)
        before = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(kept, out=before[1:])
        indices, bounds = indices[kept], before[bounds]
        weights = None if weights is None else weights[kept]
    found = reduced_bags(mode, weight, indices, bounds, weights)
    if found is not None:
        return found
    count, inside = len(bounds) - 1, slice(bounds[0], bounds[-1])
    bags, indices = _bags(bounds, len(indices))[inside], indices[inside]
    rows = taken(weight, indices, 0)
    if mode == "max":
        return _largest(rows, indices, bags, count)
    if weights is not None:
        rows = rows * weights[inside, None]
    result = _summed(rows, bags, count)
    if mode == "mean":
        result /= np.maximum(np.diff(bounds), 1)[:, None].astype(result.dtype)
    return result, None


def _check_bag_indices(indices, rows):
    if indices.dtype.kind not in "iu":
        raise RuntimeError(
            f"embedding_bag: expected indices of type Long or Int, but got {indices.dtype}"
        )
    if not are_below(indices, rows):
        place = np.flatnonzero((indices < 0) | (indices >= rows))[0]
        raise RuntimeError(
            f"embedding_bag: Index {place} of input takes value {indices[place]} which is not in "
            f"the valid range [0, {rows})"
        )


@composite(**FUNCTIONAL)
def embedding_bag(
    input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False,
    mode="mean", sparse=False, per_sample_weights=None, include_last_offset=False,
    padding_idx=None,
):
    """Look up bags of rows and return the sum, mean or maximum of each.

    A 2-D `input` holds one bag a row; a 1-D one is cut at `offsets`. Rows of `padding_idx` do not
    count; `per_sample_weights` weigh the rows of a sum. `sparse` gradients are given dense.
    Raises RuntimeError for an index outside the table, ValueError where arguments do not belong
    together.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html

    >>> import iskra as torch
    >>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> torch.nn.functional.embedding_bag(torch.tensor([[0, 1], [1, 1]]), table)
    tensor([[2., 3.],
            [3., 4.]])
    """
    if weight.dtype in (int64, int32) and input.is_floating_point():
        input, weight = weight, input  # an older order of the arguments
    _check_bag(input, offsets, mode, per_sample_weights)
    bounds = wrap(_bounds(input, offsets, include_last_offset))
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(f"embedding_bag: padding_idx must be within [-{rows}, {rows})")
    padding = -1 if padding_idx is None else padding_idx % rows
    flat = input.reshape(-1)
    if max_norm is not None:
        _renormalise(weight, flat, max_norm, norm_type)
    weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    return bags_of_rows(weight, flat, bounds, mode, weights, padding, scale_grad_by_freq)[0]


def _bounds(input, offsets, include_last_offset):
    """Where each bag begins in the flattened input, and where the last one ends, as an array."""
    if input.dim() == 2:
        count, size = input.shape
        return np.arange(count + 1) * size
    starts = offsets._array
    if starts.size and starts[0] != 0:
        raise RuntimeError(
            f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {starts[0]}"
        )
    if starts.size and starts[-1] > input.numel():
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({input.numel()}) but got "
            f"offsets[-1] of {starts[-1]}"
        )
    end = input.numel()
    if include_last_offset:
        starts, end = starts[:-1], int(starts[-1]) if starts.size else 0
    bounds = np.append(np.sort(starts), end).astype(np.int64)
    if bounds[0] < 0:
        raise RuntimeError(f"embedding_bag: offsets must not be negative, got {bounds[0]}")
    return np.minimum(bounds, end, out=bounds)


@composite(**FUNCTIONAL)
def one_hot(tensor, num_classes=-1):
    """Return vectors of zeros with a one at each index: shape ``(*tensor.shape, num_classes)``.

    Without `num_classes` it is one more than the largest index.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html

    >>> import iskra as torch
    >>> torch.nn.functional.one_hot(torch.tensor([2, 0]))
    tensor([[0, 0, 1],
            [1, 0, 0]])
    """
    if not isinstance(tensor, Tensor) or tensor.dtype is not int64:
        raise RuntimeError(
            "one_hot is only applicable to index tensor of type LongTensor, got "
            f"{getattr(tensor, 'dtype', type(tensor).__name__)}; convert with .long()"
        )
    indices = tensor._array
    if not indices.size and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if indices.size and indices.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(indices.max()) + 1
    elif indices.size and indices.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    result = np.zeros((*indices.shape, num_classes), np.int64)
    np.put_along_axis(result, indices[..., None], 1, -1)
    return wrap(result)
