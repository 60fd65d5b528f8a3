"""Distances between all pairs of two sets of vectors.

Source: https://docs.pytorch.org/docs/stable/generated/torch.cdist.html
"""

import numpy as np

from iskra.core.size import broadcast, format_shape
from iskra.dispatch import composite, operator
from iskra.ops.comparison import where
from iskra.ops.distance import norm_slope, norms
from iskra.ops.matmul import product

_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)
_CHUNK = 1 << 21  # elements of the differences held at once


def _gradient_of(g, mine, others, result, p, axis):
    """The gradient of one set; `axis` is -1 where its vectors are the rows of the result."""
    if p == 2 and result.numel() * mine.size(-1) > _CHUNK:
        ratio = g / where(result == 0, float("inf"), result)
        ratio = ratio if axis == -1 else ratio.mT
        return ratio.sum(-1, keepdim=True) * mine - ratio @ others
    if axis == -1:
        differences = mine.unsqueeze(-2) - others.unsqueeze(-3)
    else:
        differences = mine.unsqueeze(-3) - others.unsqueeze(-2)
    return (g.unsqueeze(-1) * norm_slope(differences, result, p)).sum(-2 if axis == -1 else -3)


@operator(
    function=False, method=False, out=False, operands="x1 x2", computes=True,
    node="CdistBackward0", work=lambda x1, x2: x1.size * x2.shape[-2],
    grad={
        "x1": lambda g, x1, x2, result: _gradient_of(g, x1, x2, result, 2, -1),
        "x2": lambda g, x1, x2, result: _gradient_of(g, x2, x1, result, 2, -2),
    },
)
def euclidean_by_product(x1, x2):
    """Squares of lengths minus twice the products: quick for many vectors."""
    squares1 = np.sum(x1 * x1, -1)[..., :, None]
    squares2 = np.sum(x2 * x2, -1)[..., None, :]
    found = squares1 + squares2 - 2 * product(x1, np.swapaxes(x2, -1, -2))
    return np.sqrt(np.maximum(found, 0))


def _pairwise(x1, x2, p):
    """All distances, a few rows at a time."""
    rows, columns, width = x1.shape[-2], x2.shape[-2], x1.shape[-1]
    count = max(1, _CHUNK // max(1, columns * width * int(np.prod(x1.shape[:-2]))))
    parts = [
        norms(x1[..., i:i + count, None, :] - x2[..., None, :, :], p)
        for i in range(0, rows, count)
    ]
    return np.concatenate(parts, -2)


@operator(
    function=False, method=False, out=False, operands="x1 x2", computes=True,
    node="CdistBackward0",
    grad={
        "x1": lambda g, x1, x2, p, result: _gradient_of(g, x1, x2, result, p, -1),
        "x2": lambda g, x1, x2, p, result: _gradient_of(g, x2, x1, result, p, -2),
    },
)
def cdist_of(x1, x2, p):
    """The operator behind `cdist`, but for distances by a product."""
    batch = broadcast(x1.shape[:-2], x2.shape[:-2])
    x1 = np.broadcast_to(x1, (*batch, *x1.shape[-2:]))
    x2 = np.broadcast_to(x2, (*batch, *x2.shape[-2:]))
    shape = (*batch, x1.shape[-2], x2.shape[-2])
    if 0 in shape or not x1.shape[-1]:
        return np.zeros_like(x1, shape=shape, subok=False)
    return _pairwise(x1, x2, p)


@composite(
    autocast="float32",
    method=False,
    samples=lambda make: [
        ((make((3, 4)), make((2, 4))), {"p": p}) for p in (1.0, 2.0, 3.0, float("inf"))
    ] + [((make((2, 3, 4)), make((1, 2, 4))), {})],
)
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """Return the `p`-norm distance of every row of `x1`, ``(*, P, M)``, to every row of `x2`.

    `x2` is ``(*, R, M)``, the result ``(*, P, R)``; batches broadcast. For p = 2 and more than 25
    rows on either side the distances come from a matrix product, which is quicker and less
    exact, unless `compute_mode` says otherwise.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.cdist.html

    >>> import iskra as torch
    >>> torch.cdist(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    for name, tensor in (("X1", x1), ("X2", x2)):
        if tensor.dim() < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {name} got: {tensor.dim()}D"
            )
        if not tensor.is_floating_point():
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: "
                f"{tensor._dtype.scalar_name}"
            )
    if x1._dtype is not x2._dtype:
        raise RuntimeError(
            f"cdist: expected X1 and X2 of one dtype, got {x1._dtype.scalar_name} and "
            f"{x2._dtype.scalar_name}; convert one of them"
        )
    if x1.size(-1) != x2.size(-1):
        raise RuntimeError(
            "X1 and X2 must have the same number of columns. "
            f"X1: {x1.size(-1)} X2: {x2.size(-1)} (shapes {format_shape(x1.shape)} and "
            f"{format_shape(x2.shape)})"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    mode = _MODES.index(compute_mode)
    many = x1.size(-2) > 25 or x2.size(-2) > 25
    if p == 2 and (mode == 1 or mode == 0 and many) and x1.numel() and x2.numel():
        return euclidean_by_product(x1, x2)
    return cdist_of(x1, x2, p)
