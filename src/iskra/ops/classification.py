"""Losses over classes: nll_loss, cross_entropy, and the margins between classes.

`input` is ``(C)``, ``(N, C)`` or ``(N, C, d1, ...)``, one score for each of C classes; targets
are class indices, unless said otherwise.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#loss-functions
"""

import numpy as np

from iskra.core import int64
from iskra.core.checks import anywhere
from iskra.core.size import format_shape
from iskra.dispatch import composite, fused
from iskra.ops.activation import logsigmoid
from iskra.ops.class_indices import (
    check_weight,
    class_axis,
    class_entropy,
    class_samples,
    nll,
    own_class,
)
from iskra.ops.comparison import clamp_min, where
from iskra.ops.loss import (
    INTERNAL,
    PUBLIC,
    reduce_losses,
    reduced,
    reduction_name,
    shared,
)
from iskra.ops.softmax import log_softmax

# Class indices and probabilities


@composite(autocast="float32", **PUBLIC, samples=class_samples)
def nll_loss(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"
):
    """Return the negated log-probabilities `input` of the target classes.

    `weight` holds one weight per class: the mean is then the weighted mean. Targets equal to
    `ignore_index` do not count.
    Raises IndexError for a class that is not there, ValueError or RuntimeError where shapes don't
    fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html

    >>> import iskra as torch
    >>> log_p = torch.tensor([[-0.5, -1.0], [-2.0, -0.25]])
    >>> torch.nn.functional.nll_loss(log_p, torch.tensor([0, 1]))
    tensor(0.3750)
    """
    return nll(
        input, target, weight, ignore_index, reduction_name(reduction, size_average, reduce)
    )


@composite(autocast="float32", **PUBLIC, samples=lambda make: [
    *class_samples(make), *class_samples(make, label_smoothing=0.1),
    ((make((3, 4)), make((3, 4), 0, 1)), {"label_smoothing": 0.1}),
])
def cross_entropy(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
    reduction="mean", label_smoothing=0.0,
):
    """Return the cross entropy between the scores `input` (before softmax) and the target.

    The target holds class indices, or probabilities if it has the shape of the input. `weight`
    holds one weight per class; `label_smoothing` is the share of each target that is spread over
    all classes.
    Raises IndexError for a class that is not there, RuntimeError for a smoothing outside 0 to 1,
    ValueError or RuntimeError where shapes don't fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html

    >>> import iskra as torch
    >>> scores = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1]))
    tensor(0.2201)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(
            f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if input.ndim == 0:
        raise RuntimeError("cross_entropy: expected an input with 1 or more dimensions, got 0")
    axis = class_axis(input.ndim)
    if input.shape == target.shape:
        return _soft_cross_entropy(
            input, target, weight, ignore_index, reduction, label_smoothing, axis
        )
    if target.dtype.category > 1:
        raise RuntimeError(
            f"expected scalar type Long but found {target.dtype.scalar_name}: class indices must "
            "be integers, and probabilities must have the shape of the input "
            f"({format_shape(input.shape)}), not {format_shape(target.shape)}"
        )
    if not label_smoothing and input.numel():
        return class_entropy(input, target, weight, ignore_index, reduction)[0]
    scores = log_softmax(input, axis)
    if not label_smoothing:
        return nll(scores, target, weight, ignore_index, reduction)
    return _smoothed_cross_entropy(
        scores, target, weight, ignore_index, reduction, label_smoothing, axis
    )


def _along_classes(weight, ndim):
    return weight if ndim == 1 else weight.reshape((1, -1) + (1,) * (ndim - 2))


def _soft_cross_entropy(input, target, weight, ignore_index, reduction, smoothing, axis):
    """Cross entropy against probabilities."""
    if not target.dtype.is_floating_point:
        raise RuntimeError(
            "Expected floating point type for target with class probabilities, got "
            f"{target.dtype.scalar_name}"
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    classes = input.shape[axis]
    check_weight(classes, weight)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    losses = log_softmax(input, axis) * target
    if weight is not None:
        losses = losses * _along_classes(weight, input.ndim)
    if reduction == "none":
        return -losses.sum(axis)
    total = -losses.sum()
    return total / (input.numel() / classes) if reduction == "mean" else total


def _smoothed_cross_entropy(
    scores, target, weight, ignore_index, reduction, smoothing, axis
):
    """Cross entropy with class indices, of which a share is spread over all classes."""
    sharp = nll(scores, target, weight, ignore_index, reduction)
    spread = scores if weight is None else scores * _along_classes(weight, scores.ndim)
    spread = -spread.sum(axis)
    ignored = target == ignore_index
    spread = spread.masked_fill(ignored, 0.0)
    if reduction == "mean":
        if weight is None:
            count = ignored.logical_not().sum()
        else:
            count = weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0).sum()
        spread = spread.sum() / count
    else:
        spread = reduce_losses(spread, reduction)
    return sharp * (1 - smoothing) + spread * (smoothing / scores.shape[axis])


# Margins between classes


def _as_rows(name, input, target, target_is_row):
    """`input` and `target` as a batch; raise RuntimeError where they don't fit."""
    fits = 0 < input.ndim <= 2 and (input.ndim == 2 or input.shape[0]) or input.ndim == 0
    if not fits or input.ndim == 2 and input.shape[1] == 0:
        raise RuntimeError(
            f"{name}: Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{format_shape(input.shape)}"
        )
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    expected = rows.shape if target_is_row else rows.shape[:1]
    if input.ndim < 2:
        targets = target.reshape(1, -1) if target_is_row else target.reshape(-1)
    else:
        targets = target
    if target.ndim > input.ndim and input.ndim or targets.shape != expected:
        raise RuntimeError(
            f"inconsistent target size: {format_shape(target.shape)} for input of size: "
            f"{format_shape(input.shape)}"
        )
    return rows, targets


def _multi_margin_terms(input, target, margin):
    """How far each class comes within the margin of the target's, and where the target is."""
    own = target.unsqueeze(1)
    inside = clamp_min(margin - input.gather(1, own) + input, 0)
    return inside, own


def _multi_margin_gradient(g, input, target, p, margin, weight, reduction):
    rows, targets = _as_rows("multi_margin_loss", input, target, False)
    inside, own = _multi_margin_terms(rows, targets, margin)
    slope = (inside > 0).to(input.dtype) if p == 1 else 2 * inside
    slope = slope.scatter(1, own, 0.0) / rows.shape[1]
    if weight is not None:
        slope = slope * weight[targets].unsqueeze(1)
    slope = slope.scatter_add(1, own, -slope.sum(1, keepdim=True))
    share = shared(g, reduction, targets.shape)
    share = share.reshape(-1, 1) if reduction == "none" else share
    return (share * slope).reshape(input.shape)


@fused(
    **INTERNAL, operands="input target weight", accepts=None, node="MultiMarginLossBackward0",
    grad={"input": _multi_margin_gradient}, samples=lambda make: [
        ((make((4, 3)), make((4,), 0, 2.99, dtype=int64)), {}),
        ((make((4, 3)), make((4,), 0, 2.99, dtype=int64),
          make((3,), 0.5, 2, requires_grad=False), 2, 0.7, "none"), {}),
    ],
)
def class_margins(input, target, weight=None, p=1, margin=1.0, reduction="mean"):
    """`multi_margin_loss` with a checked reduction."""
    rows, targets = _as_rows("multi_margin_loss", input, target, False)
    if anywhere(np.logical_or(targets < 0, targets >= rows.shape[1])):
        raise RuntimeError("target out of range")
    places = targets[:, np.newaxis]
    inside = np.maximum(margin - np.take_along_axis(rows, places, 1) + rows, 0)
    losses = inside if p == 1 else np.multiply(inside, inside)
    if weight is not None:
        losses = np.multiply(losses, np.take(weight, places))
    losses = np.where(own_class(targets, rows), losses.dtype.type(0), losses)
    losses = np.sum(losses, axis=1) / rows.shape[1]
    return reduced(losses.reshape(()) if input.ndim < 2 else losses, reduction)


@composite(autocast="float32", **PUBLIC)
def multi_margin_loss(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Return the mean over classes of ``max(0, margin - x[target] + x)**p``, target excepted.

    `p` is 1 or 2; `weight` holds one weight per class.
    Raises ValueError for another `p`, RuntimeError for a class that is not there.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multi_margin_loss.html

    >>> import iskra as torch
    >>> scores = torch.tensor([[0.0, 0.5, 2.0]])
    >>> torch.nn.functional.multi_margin_loss(scores, torch.tensor([2]))
    tensor(0.)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None:
        if weight.ndim != 1:
            raise ValueError("weight must be one-dimensional")
        check_weight(input.shape[-1] if input.ndim else 1, weight)
    return class_margins(input, target, weight, p, margin, reduction)


def _named_classes(target, rows):
    """For each row: which positions of the target count, and which classes they name."""
    counts = np.logical_and.accumulate(np.greater_equal(target, 0), axis=1)
    named = np.zeros(rows.shape, bool)
    row, column = np.nonzero(counts)
    named[row, target[row, column]] = True
    return counts, named


@fused(**INTERNAL, operands="input target")
def named_classes(input, target):
    """Whether each class is named by its row's target, and the target with 0 where it ends."""
    counts, named = _named_classes(target, input)
    return np.concatenate((named, counts), axis=1)


def _multilabel_gradient(g, input, target, reduction):
    rows, targets = _as_rows("multilabel_margin_loss", input, target, True)
    named, counts = named_classes(rows, targets).chunk(2, 1)
    own = where(counts, targets, 0)
    gaps = 1 - rows.gather(1, own).unsqueeze(2) + rows.unsqueeze(1)
    slope = (gaps > 0) & counts.unsqueeze(2) & ~named.unsqueeze(1)
    slope = slope.to(input.dtype) / rows.shape[1]
    slope = slope.sum(1).scatter_add(1, own, -slope.sum(2))
    share = shared(g, reduction, targets.shape[:1])
    share = share.reshape(-1, 1) if reduction == "none" else share
    return (share * slope).reshape(input.shape)


@fused(
    **INTERNAL, operands="input target", node="MultilabelMarginLossBackward0",
    grad={"input": _multilabel_gradient}, samples=lambda make: [
        ((make((4, 3)), make((4, 3), -1, 2.99, dtype=int64), r), {})
        for r in ("none", "mean", "sum")
    ],
)
def label_margins(input, target, reduction):
    """`multilabel_margin_loss` with a checked reduction."""
    rows, targets = _as_rows("multilabel_margin_loss", input, target, True)
    if targets.size and (targets.min() < -1 or targets.max() >= rows.shape[1]):
        raise RuntimeError("target is out of range")
    counts, named = _named_classes(targets, rows)
    own = np.take_along_axis(rows, np.where(counts, targets, 0), 1)
    gaps = np.maximum(1 - own[:, :, np.newaxis] + rows[:, np.newaxis, :], 0)
    matters = counts[:, :, np.newaxis] & ~named[:, np.newaxis, :]
    losses = np.sum(np.where(matters, gaps, 0), axis=(1, 2)) / rows.shape[1]
    losses = losses.astype(rows.dtype, copy=False)
    return reduced(losses.reshape(()) if input.ndim < 2 else losses, reduction)


@composite(autocast="float32", **PUBLIC)
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """Return the sum of ``max(0, 1 - x[y] + x[j])`` over classes y named and j not, over C.

    Each row of the target names classes, up to the first -1. Raises RuntimeError for a class that
    is not there, and where shapes differ.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_margin_loss.html

    >>> import iskra as torch
    >>> scores = torch.tensor([[0.1, 0.2, 0.4, 0.8]])
    >>> F = torch.nn.functional
    >>> F.multilabel_margin_loss(scores, torch.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    return label_margins(input, target, reduction_name(reduction, size_average, reduce))


@composite(**PUBLIC)
def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Return the mean over classes of the binary cross entropy of ``sigmoid(input)``.

    Source: https://docs.pytorch.org/docs/stable/generated/\
torch.nn.functional.multilabel_soft_margin_loss.html

    >>> import iskra as torch
    >>> x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> torch.nn.functional.multilabel_soft_margin_loss(x, y)
    tensor(0.6931)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    losses = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return reduce_losses(losses.sum(-1) / input.shape[-1], reduction)
