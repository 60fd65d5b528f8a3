"""Distances and similarities between vectors, and the losses made of them.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#distance-functions
"""

import math

import numpy as np

from iskra.core import promote_types
from iskra.core.size import broadcast, format_shape
from iskra.dispatch import composite, fused
from iskra.ops.activation import gated
from iskra.ops.arithmetic import minimum
from iskra.ops.comparison import clamp_min, where
from iskra.ops.loss import BOTH, PUBLIC, reduce_losses, reduction_name
from iskra.ops.mathematics import sign

_COSINE_EPS = 1e-12


@composite(**BOTH, samples=lambda make: [((make((3, 4)), make((3, 4))), {})])
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """Return the cosine of the angle between `x1` and `x2` along `dim`; both broadcast.

    Lengths below `eps` count as `eps`. Raises RuntimeError for integers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_similarity.html

    >>> import iskra as torch
    >>> a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    >>> torch.nn.functional.cosine_similarity(a, b)
    tensor([0.9600])
    """
    kind = promote_types(x1.dtype, x2.dtype)
    if not (kind.is_floating_point or kind.is_complex):
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {kind}"
        )
    shape = broadcast(x1.shape, x2.shape)
    x1, x2 = x1.to(kind).expand(shape), x2.to(kind).expand(shape)
    unit1 = x1 / _length(x1, dim, eps)
    unit2 = x2 / _length(x2, dim, eps)
    return (unit1 * unit2).sum(dim)


def _length(x, dim, eps):
    return clamp_min(x.norm(2, dim, keepdim=True), eps)


@composite(**BOTH, samples=lambda make: [((make((3, 4)), make((3, 4))), {})])
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """Return the `p` norm of ``x1 - x2 + eps`` along the last dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pairwise_distance.html

    >>> import iskra as torch
    >>> a, b = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    >>> torch.nn.functional.pairwise_distance(a, b)
    tensor([5.0000])
    """
    last = max(x1.ndim, x2.ndim) - 1
    return (x1 - x2 + eps).norm(p, last, keepdim=keepdim)


def norms(differences, p):
    """The `p` norm of an array along its last dimension."""
    size = np.absolute(differences)
    if p == 0:
        return np.sum(np.not_equal(size, 0), axis=-1).astype(size.dtype)
    if p == 1:
        return np.sum(size, axis=-1)
    if p == 2:
        return np.sqrt(np.sum(np.multiply(size, size), axis=-1))
    if math.isinf(p):
        return np.max(size, axis=-1, initial=0)
    return np.power(np.sum(np.power(size, p), axis=-1), 1 / p)


def norm_slope(differences, distance, p):
    """The derivative of the `p` norm along the last dimension; 0 where the norm is 0."""
    distance = distance.unsqueeze(-1)
    if p == 0:
        return differences * 0
    if p == 1:
        return sign(differences)
    safe = where(distance == 0, 1.0, distance)
    if p == 2:
        return gated(distance != 0, differences / safe)
    if math.isinf(p):
        return sign(differences) * (differences.abs() == distance).to(differences.dtype)
    ratio = differences.abs() / safe
    if p < 2:  # the slope has a pole where an element is 0
        ratio = where(differences == 0, 1.0, ratio)
    return gated(distance != 0, sign(differences) * ratio ** (p - 1))


def _pdist_gradient(g, input, p, result):
    rows, columns = _pairs(input)
    differences = input[rows] - input[columns]
    slope = g.unsqueeze(-1) * norm_slope(differences, result, p)
    return input.new_zeros(input.shape).index_add(0, rows, slope).index_add(0, columns, -slope)


def _pairs(input):
    """Index tensors of all pairs of rows, the first before the second."""
    ones = input.new_ones((input.shape[0], input.shape[0]))
    pairs = ones.triu(1).nonzero()
    return pairs[:, 0], pairs[:, 1]


@fused(namespace="torch nn.functional", method=False, out=False, accepts="float",
       grad=_pdist_gradient, samples=lambda make: [
           ((make((4, 3)), p), {}) for p in (2.0, 1.0, 1.5, 3.0, 0.0, math.inf)
       ])
def pdist(input, p=2.0):
    """Return the distances between all pairs of rows, in the order (0, 1), (0, 2), ..., (1, 2).

    Raises RuntimeError unless the input has two dimensions and `p` is not negative.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pdist.html

    >>> import iskra as torch
    >>> torch.nn.functional.pdist(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]]))
    tensor([5., 4., 3.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows, columns = np.triu_indices(input.shape[0], 1)
    return norms(np.subtract(input[rows], input[columns]), p)


@composite(autocast="float32", **BOTH)
def cosine_embedding_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """Return ``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1.

    The inputs are vectors or a batch of them. Raises RuntimeError for other shapes.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_embedding_loss.html

    >>> import iskra as torch
    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> torch.nn.functional.cosine_embedding_loss(a, b, torch.tensor([1]))
    tensor(0.2929)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    _check_embeddings(input1, input2, target)
    dim = target.ndim
    product = (input1 * input2).sum(dim)
    length1 = (input1 * input1).sum(dim) + _COSINE_EPS
    length2 = (input2 * input2).sum(dim) + _COSINE_EPS
    cosine = product / (length1 * length2).sqrt()
    losses = gated(target == 1, 1 - cosine) + gated(target == -1, clamp_min(cosine - margin, 0))
    return reduce_losses(losses, reduction)


def _check_embeddings(input1, input2, target):
    if target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    rank = target.ndim + 1
    if input1.ndim != rank or input2.ndim != rank:
        what = "1D target tensor expects 2D" if rank == 2 else "0D target tensor expects 1D"
        raise RuntimeError(
            f"{what} input tensors, but found inputs with sizes {format_shape(input1.shape)} and "
            f"{format_shape(input2.shape)}."
        )


@composite(autocast="float32", **BOTH, samples=lambda make: [
    ((make((3, 4)), make((3, 4)), make((3, 4))), {"swap": swap}) for swap in (False, True)
])
def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None,
    reduce=None, reduction="mean",
):
    """Return ``max(0, d(anchor, positive) - d(anchor, negative) + margin)``, d the `p` distance.

    `swap`: take the positive's distance to the negative where it is less than the anchor's.
    Raises ValueError unless `margin` is positive, RuntimeError where dimensions differ.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_loss.html

    >>> import iskra as torch
    >>> a, p, n = torch.zeros(1, 1), torch.tensor([[2.0]]), torch.tensor([[1.0]])
    >>> torch.nn.functional.triplet_margin_loss(a, p, n)
    tensor(2.)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet("triplet_margin_loss", anchor, positive, negative)
    return _triplet(
        anchor, positive, negative, margin, swap, reduction,
        lambda a, b: pairwise_distance(a, b, p, eps),
    )


def _check_triplet(name, anchor, positive, negative):
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"{name}: The anchor, positive, and negative tensors are expected to have the same "
            f"number of dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and "
            f"negative {negative.ndim}D inputs"
        )


def _triplet(anchor, positive, negative, margin, swap, reduction, distance):
    near = distance(anchor, positive)
    far = distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduce_losses(clamp_min(margin + near - far, 0), reduction)


@composite(**PUBLIC)
def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
    reduction="mean",
):
    """Return `triplet_margin_loss` with any function of two tensors as the distance.

    The default is `pairwise_distance`.
    Raises ValueError unless `margin` is positive, RuntimeError where dimensions differ.
    Source: https://docs.pytorch.org/docs/stable/generated/\
torch.nn.functional.triplet_margin_with_distance_loss.html

    >>> import iskra as torch
    >>> a, p, n = torch.zeros(1, 1), torch.tensor([[2.0]]), torch.tensor([[1.0]])
    >>> F = torch.nn.functional
    >>> F.triplet_margin_with_distance_loss(a, p, n, distance_function=F.mse_loss)
    tensor(4.)
    """
    reduction = reduction_name(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet("triplet_margin_loss", anchor, positive, negative)
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, margin, swap, reduction, distance)
