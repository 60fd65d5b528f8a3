"""The operators behind nll_loss and cross_entropy where targets are class indices.

Scores are ``(C)``, ``(N, C)`` or ``(N, C, d1, ...)``, targets have the same shape without C.
Each loss is one operator, and so is its gradient: a compiler may run them without making an array
of log-probabilities.
"""

import numpy as np

from iskra.core import int64
from iskra.core.checks import anywhere, perhaps
from iskra.core.size import format_shape
from iskra.dispatch import fused
from iskra.ops.loss import INTERNAL, reduced, reduction_name
from iskra.ops.mathematics import exp
from iskra.ops.reduction import extremum_gradient
from iskra.ops.softmax import check_floats

IGNORED = -100


def class_axis(rank):
    """The dimension along which the classes lie."""
    return 0 if rank == 1 else 1


def _check_operands(shape, target, weight):
    """Raise as PyTorch does for operands that don't belong together."""
    if not shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if target.dtype not in (np.int64, np.uint8):
        raise RuntimeError(
            f"nll_loss: expected scalar type Long but found {target.dtype} for the target; convert "
            "it with .long()"
        )
    batch = shape[0] if len(shape) > 1 else None
    if batch is not None and (not target.ndim or target.shape[0] != batch):
        found = target.shape[0] if target.ndim else 1
        raise ValueError(
            f"Expected input batch_size ({batch}) to match target batch_size ({found})."
        )
    if batch is None and target.ndim == 1 and target.shape[0] != 1:
        raise ValueError(
            f"For 1D input, 1D target must have size 1, but got target size: {target.shape[0]}"
        )
    expected = shape[:1] + shape[2:] if batch is not None else target.shape
    if target.shape != expected or batch is None and target.ndim > 1:
        raise RuntimeError(
            f"Expected target size {format_shape(expected)}, got {format_shape(target.shape)}"
        )
    check_weight(shape[1] if batch is not None else shape[0], weight)


def check_weight(classes, weight):
    """Raise RuntimeError where there is not one weight for each class."""
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {format_shape(weight.shape)}"
        )


def _places(shape, target, ignore_index):
    """The checked target as ints, and which of them count (None: all)."""
    if not target.size:
        return target, None
    lowest, highest = np.minimum.reduce(target, None), np.maximum.reduce(target, None)
    counts = None
    if perhaps((lowest <= ignore_index) & (highest >= ignore_index)):
        counts = np.not_equal(target, ignore_index)
        target = np.where(counts, target, 0)
        lowest, highest = np.minimum.reduce(target, None), np.maximum.reduce(target, None)
    if anywhere((lowest < 0) | (highest >= shape[class_axis(len(shape))])):
        raise IndexError(f"Target {lowest if lowest < 0 else highest} is out of bounds.")
    return target, counts


def _pick(input, target):
    """``input[n, target[n, ...], ...]``"""
    if input.ndim == 1:
        return input[target]
    if input.ndim == 2 and isinstance(input, np.ndarray):  # NumPy does this the fastest
        return input[np.arange(target.size), target]
    return np.squeeze(np.take_along_axis(input, target[:, np.newaxis], 1), 1)


def _weights(target, counts, weight, kind):
    """The weight of each target, or None where all weigh 1."""
    if weight is None:
        return None if counts is None else counts.astype(kind)
    weights = np.take(weight, target)
    return weights if counts is None else np.where(counts, weights, kind.type(0))


def _summed(losses, counts, weights, reduction):
    """The losses weighed, and reduced; the mean is the weighted one."""
    if weights is None:
        return reduced(losses, reduction)
    # What is ignored must not count even if it is infinite.
    losses = np.multiply(losses if counts is None else np.where(counts, losses, 0), weights)
    if reduction == "mean":
        return np.divide(np.add.reduce(losses, axis=None), np.add.reduce(weights, axis=None))
    return reduced(losses, reduction)


def _shares(grad, target, weight, ignore_index, reduction, rank):
    """How much of `grad` each target's loss has, to be spread over scores with `rank` dimensions.

    The target has been checked, on the way forward.
    """
    counts = None
    if target.size and perhaps(np.logical_or.reduce(np.equal(target, ignore_index), None)):
        counts = np.not_equal(target, ignore_index)
        target = np.where(counts, target, 0)
    weights = _weights(target, counts, weight, grad.dtype)
    if reduction == "mean":
        grad = np.divide(grad, target.size if weights is None else np.add.reduce(weights, None))
    share = grad if weights is None else np.multiply(grad, weights)
    return share[:, np.newaxis] if share.ndim and rank > 1 else share


def own_class(target, input):
    """Which of the scores are the targets' own."""
    rank = input.ndim
    classes = np.arange(input.shape[class_axis(rank)], like=target)
    if rank > 2:
        classes = classes.reshape((-1,) + (1,) * (rank - 2))
    return np.equal(classes, target if rank == 1 else target[:, np.newaxis])


def node_name(input):
    """PyTorch's name of the loss's node."""
    return "NllLossBackward0" if input.ndim <= 2 else "NllLoss2DBackward0"


def class_samples(make, **settings):
    """Sample calls: scores for three classes, their targets and weights."""
    def classes(*shape):
        return make(shape, 0, 2.99, dtype=int64)

    weight = make((3,), 0.5, 2, requires_grad=False)
    return [
        ((make((4, 3)), classes(4)), settings),
        ((make((3,)), classes()), settings),
        *(((make((4, 3)), classes(4), weight), {"reduction": r, "ignore_index": 1, **settings})
          for r in ("none", "mean", "sum")),
        ((make((2, 3, 2)), classes(2, 2)), settings),
    ]


def _gradient_samples(make, *between):
    """Sample calls of a gradient, with `between` the scores and the targets."""
    return [
        ((make(()), make((4, 3)), *between, make((4,), 0, 2.99, dtype=int64)), {}),
        ((make((4,)), make((4, 3)), *between, make((4,), 0, 2.99, dtype=int64),
          make((3,), 0.5, 2, requires_grad=False), 1, "none"), {}),
    ]


# Negative log likelihood


@fused(**INTERNAL, operands="input grad target weight", grad={
    "grad": lambda g, target, weight, ignore_index, reduction: nll(
        g, target, weight, ignore_index, reduction
    ),
}, samples=_gradient_samples)
def nll_loss_backward(
    grad, input, target, weight=None, ignore_index=IGNORED, reduction="mean"
):
    """The gradient of `nll`."""
    share = _shares(grad, target, weight, ignore_index, reduction, input.ndim)
    return np.where(own_class(target, input), np.negative(share), grad.dtype.type(0))


def _nll_gradient(g, input, target, weight, ignore_index, reduction):
    return nll_loss_backward(g, input, target, weight, ignore_index, reduction_name(reduction))


@fused(
    **INTERNAL, operands="input target weight", node=node_name, grad=_nll_gradient,
    samples=class_samples,
)
def nll(input, target, weight=None, ignore_index=IGNORED, reduction="mean"):
    """`nll_loss` with a checked reduction."""
    _check_operands(input.shape, target, weight)
    target, counts = _places(input.shape, target, ignore_index)
    weights = _weights(target, counts, weight, input.dtype)
    return _summed(np.negative(_pick(input, target)), counts, weights, reduction)


# Cross entropy


def _likelihood_gradient(
    g, grad, input, top, total, target, weight, ignore_index, reduction, own
):
    """The gradient of `class_entropy_backward`, which is linear in `grad`, for `grad`."""
    ones = grad.new_ones(grad.shape)
    slope = g * class_entropy_backward(
        ones, input, top, total, target, weight, ignore_index, reduction, own
    )
    return slope.sum() if reduction != "none" else slope.sum(class_axis(input.ndim))


def _spread(g, grad, input, top, total, target, weight, ignore_index, reduction):
    """`g` times the probabilities' part of the gradient."""
    return g * class_entropy_backward(
        grad, input, top, total, target, weight, ignore_index, reduction, False
    )


@fused(**INTERNAL, operands="input grad top total target weight", grad={
    "grad": _likelihood_gradient,
    "input": _spread,
    ("top", "total"): lambda g, grad, input, top, total, target, weight, ignore_index, reduction: (
        -_spread(g, grad, input, top, total, target, weight, ignore_index, reduction).sum(
            class_axis(input.ndim), keepdim=True
        ),
    ) * 2,
}, samples=lambda make: _gradient_samples(make, make((4, 1)), make((4, 1))))
def class_entropy_backward(
    grad, input, top, total, target, weight=None, ignore_index=IGNORED, reduction="mean", own=True
):
    """The gradient of `class_entropy`: probabilities, less 1 for the targets' own, times a share.

    Without `own` nothing is taken away.
    """
    share = _shares(grad, target, weight, ignore_index, reduction, input.ndim)
    likely = np.exp(np.subtract(np.subtract(input, top), total))
    if own:
        likely = np.subtract(likely, own_class(target, input))
    return np.multiply(likely, share)


def _entropy_gradient(g, input, result, target, weight, ignore_index, reduction):
    _, top, total = result
    to_input = None
    if g[0] is not None:
        to_input = class_entropy_backward(
            g[0], input, top, total, target, weight, ignore_index, reduction
        )
    for part in _normalizer_gradients(g, input, top, total):
        to_input = part if to_input is None else to_input + part
    return to_input


def _normalizer_gradients(g, input, top, total):
    """What `g` makes of the gradients of maxima and sums; the maxima's part is in both."""
    to_top = g[1]
    if g[2] is not None:
        yield g[2] * exp(input - top - total)
        to_top = -g[2] if to_top is None else to_top - g[2]
    if to_top is not None:
        yield extremum_gradient(to_top, input, top, class_axis(input.ndim), True)


@fused(
    **INTERNAL, outputs=3, operands="input target weight", node=node_name,
    grad={"input": _entropy_gradient}, samples=class_samples,
)
def class_entropy(input, target, weight=None, ignore_index=IGNORED, reduction="mean"):
    """`cross_entropy` with class indices; also each row's maximum and the logarithm of its sum.

    That is, of the sum of exponentials of the scores less their maximum. Both keep the classes'
    dimension with size 1.
    """
    check_floats("log_softmax", input)
    _check_operands(input.shape, target, weight)
    target, counts = _places(input.shape, target, ignore_index)
    axis = class_axis(input.ndim)
    top = np.maximum.reduce(input, axis=axis, keepdims=True)
    shifted = np.subtract(input, top)
    total = np.log(np.add.reduce(np.exp(shifted), axis=axis, keepdims=True))
    own = _pick(shifted, target)
    losses = np.subtract(total.reshape(own.shape), own)
    weights = _weights(target, counts, weight, input.dtype)
    return _summed(losses, counts, weights, reduction), top, total
