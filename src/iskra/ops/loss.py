"""Losses that compare input and target element by element: squares, absolutes, margins.

Every loss takes ``reduction="none"`` (one loss per element), ``"mean"`` or ``"sum"``.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#loss-functions
"""

import math
import warnings

import numpy as np

from iskra.core import get_default_dtype
from iskra.core.naming import prefix
from iskra.core.size import broadcast, format_shape
from iskra.dispatch import SAME, calling, composite, fused
from iskra.ops.activation import gated
from iskra.ops.comparison import clamp_min, where
from iskra.ops.mathematics import abs, sigmoid
from iskra.ops.warning import warn

F = "nn.functional"
INTERNAL = dict(method=False, function=False, out=False)
PUBLIC = dict(namespace=F, method=False, out=False)
BOTH = dict(namespace=f"{F} torch", method=False, out=False)

_BY_NUMBER = ("none", "mean", "sum")


def reduction_name(reduction, size_average=None, reduce=None):
    """The reduction meant by `reduction` and the two flags that it replaced.

    Raises ValueError for an unknown one.
    """
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{reduction}' instead.",
        )
    elif reduction not in _BY_NUMBER:
        if isinstance(reduction, int) and 0 <= reduction <= 2:  # as torch.kl_div has it
            return _BY_NUMBER[reduction]
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced(losses, reduction):
    """The array `losses`, reduced."""
    if reduction == "none":
        return losses
    total = np.add.reduce(losses, axis=None)
    return np.divide(total, losses.size) if reduction == "mean" else total


def element_samples(low=-2.0, high=2.0, target=(-2.0, 2.0), reductions=_BY_NUMBER, **settings):
    """Sample calls of a loss between two tensors of one shape, with every reduction."""
    return lambda make: [
        ((make((3, 4), low, high), make((3, 4), *target)), {"reduction": r, **settings})
        for r in reductions
    ]


def reduce_losses(losses, reduction):
    """The tensor `losses`, reduced."""
    if reduction == "mean":
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses


def shared(g, reduction, *shapes):
    """The gradient of each loss: `g`, divided by their number where the mean was taken."""
    if reduction_name(reduction) != "mean":
        return g
    return g / math.prod(broadcast(*shapes))


def spread(grad, slope, weight, reduction, count):
    """The gradient of each of `count` losses: `grad` times its slope, in arrays."""
    if reduction == "mean":
        grad = np.divide(grad, count)
    slope = np.multiply(grad, slope)
    return slope if weight is None else np.multiply(slope, weight)


def weighed(x, weight):
    """`x` times a weight, if there is one."""
    return x if weight is None else x * weight


def warn_broadcast(input, target):
    """Warn where shapes differ: broadcasting is rarely what was meant."""
    if input.shape != target.shape:
        warn(
            f"Using a target size ({size_of(target)}) that is different to the input size "
            f"({size_of(input)}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
        )


def size_of(array):
    """The shape as PyTorch's messages show it."""
    return f"{prefix()}.Size({format_shape(array.shape)})"


# Squares and absolutes


def _present(reduction, size_average, reduce):
    """The reduction meant, without the warning, which the forward call has given."""
    if size_average is None and reduce is None:
        return reduction
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reduction_name(reduction, size_average, reduce)


def _target_gradient(g, input, target, weight, reduction, size_average, reduce):
    return -mse_loss_backward(g, input, target, weight, reduction, size_average, reduce)


def _bend_of_weight(product, weight, reduction):
    """The gradient of ``(product * weight).sum()``, of `product` and a weighted mean."""
    if reduction != "mean":
        return product
    total = weight.sum()
    return (product - (product * weight).sum() / total) / total


def _weight_gradient(g, input, target, weight, reduction):
    return g * _bend_of_weight((input - target) ** 2, weight, reduction)


def _squares_factor(size, weight, reduction, size_average, reduce):
    """The factor of ``grad * (input - target)``; tensors and arrays alike."""
    factor = 2.0 if weight is None else weight * 2.0
    if _present(reduction, size_average, reduce) != "mean":
        return factor
    if weight is not None:
        return factor / weight.sum()
    return factor / size if size != 0 else factor   # without elements nobody asks


def _second_of_input(g, grad, weight, reduction, size_average, reduce):
    return g * grad * _squares_factor(g.numel(), weight, reduction, size_average, reduce)


@fused(SAME, **INTERNAL, operands="input grad target weight", grad={
    "grad": lambda g, input, target, weight, reduction, size_average, reduce: (
        g * (input - target)
        * _squares_factor(g.numel(), weight, reduction, size_average, reduce)
    ),
    "input": _second_of_input,
    "target": lambda g, grad, weight, reduction, size_average, reduce: -_second_of_input(
        g, grad, weight, reduction, size_average, reduce
    ),
    "weight": lambda g, grad, input, target, weight, reduction, size_average, reduce: (
        _bend_of_weight(
            2 * g * grad * (input - target), weight, _present(reduction, size_average, reduce)
        )
    ),
}, samples=lambda make: [
    ((make(()), make((3, 4)), make((3, 4))), {}),
    ((make((3, 4)), make((3, 4)), make((3, 4)), make((3, 4), 0.5, 2), "none"), {}),
])
def mse_loss_backward(
    grad, input, target, weight=None, reduction="mean", size_average=None, reduce=None
):
    """The gradient of `mse_loss`."""
    difference = np.subtract(input, target)
    factor = _squares_factor(difference.size, weight, reduction, size_average, reduce)
    return np.multiply(difference, np.multiply(grad, factor))


@fused(SAME, autocast="float32", **PUBLIC, operands="input target weight", grad={
    "input": calling(
        mse_loss_backward, "g input target weight reduction size_average reduce"
    ),
    "target": _target_gradient,
    "weight": _weight_gradient,
}, samples=lambda make: [
    *element_samples()(make),
    *((args, {**settings, "weight": make((3, 4), 0.5, 2)})
      for args, settings in element_samples()(make)),
])
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """Return the squared difference of input and target; `weight` weighs the elements.

    Shapes that differ are broadcast, with a warning.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html

    >>> import iskra as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    if reduction not in _BY_NUMBER or size_average is not None or reduce is not None:
        reduction = reduction_name(reduction, size_average, reduce)
    if input.shape != target.shape:
        warn_broadcast(input, target)
    difference = np.subtract(input, target)
    if weight is not None:
        return _weighted(np.multiply(difference, difference), weight, reduction)
    if reduction == "mean" and difference.dtype.kind not in "fc":
        raise RuntimeError(_no_mean("mse_loss", difference))
    return reduced(np.multiply(difference, difference), reduction)


def _no_mean(name, array):
    return (
        f"{name}: the mean needs a floating point dtype, but got {array.dtype}; convert the input "
        "with .float()"
    )


def _weighted(losses, weight, reduction):
    if weight.shape != losses.shape:
        raise ValueError("Inputs and weights must have the same size.")
    losses = np.multiply(losses, weight)
    if reduction == "none":
        return losses
    total = np.add.reduce(losses, axis=None)
    if reduction != "mean":
        return total
    mean = np.divide(total, np.add.reduce(weight, axis=None))
    return mean if weight.dtype.kind in "fc" else mean.astype(get_default_dtype().numpy)


@composite(autocast="float32", **PUBLIC, samples=element_samples())
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """Return the absolute difference of input and target; `weight` weighs the elements.

    Shapes that differ are broadcast, with a warning.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.l1_loss.html

    >>> import iskra as torch
    >>> torch.nn.functional.l1_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(1.)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    warn_broadcast(input, target)
    losses = abs(input - target)
    if weight is None:
        return reduce_losses(losses, reduction)
    if weight.shape != losses.shape:
        raise ValueError("Inputs and weights must have the same size.")
    losses = losses * weight
    return losses.sum() / weight.sum() if reduction == "mean" else reduce_losses(losses, reduction)


def _bounded(difference, bound):
    return np.minimum(np.maximum(difference, -bound), bound)


def _difference_samples(make):
    return [
        ((make(()), make((3, 4)), make((3, 4)), "mean", 0.7), {}),
        ((make((3, 4)), make((3, 4)), make((4,)), "none", 0.7), {}),
    ]


def _inner(g, grad, input, target, reduction, bound):
    """What `g` makes of the slope's own slope of 1, which it has within the bound."""
    difference = input - target
    part = shared(g * grad, reduction, input.shape, target.shape)
    return where(difference.abs() < bound, part, 0.0)


@fused(SAME, **INTERNAL, operands="input grad target", grad={
    "grad": lambda g, grad, input, target, reduction, delta: g * huber_loss_backward(
        grad.new_ones(()), input, target, reduction, delta
    ),
    "input": lambda g, grad, input, target, reduction, delta: _inner(
        g, grad, input, target, reduction, delta
    ),
    "target": lambda g, grad, input, target, reduction, delta: -_inner(
        g, grad, input, target, reduction, delta
    ),
}, samples=_difference_samples)
def huber_loss_backward(grad, input, target, reduction, delta):
    """The gradient of `huber_loss` for its input."""
    slope = _bounded(np.subtract(input, target), delta)
    return spread(grad, slope, None, reduction, slope.size)


@fused(SAME, **INTERNAL, operands="input grad target", grad={
    "grad": lambda g, grad, input, target, reduction, beta: g * smooth_l1_loss_backward(
        grad.new_ones(()), input, target, reduction, beta
    ),
    "input": lambda g, grad, input, target, reduction, beta: _inner(
        g / beta, grad, input, target, reduction, beta
    ),
    "target": lambda g, grad, input, target, reduction, beta: -_inner(
        g / beta, grad, input, target, reduction, beta
    ),
}, samples=_difference_samples)
def smooth_l1_loss_backward(grad, input, target, reduction, beta):
    """The gradient of `smooth_l1_loss` for its input."""
    slope = _bounded(np.divide(np.subtract(input, target), beta), 1)
    return spread(grad, slope, None, reduction, slope.size)


@fused(SAME, **INTERNAL, operands="input target", node="SmoothL1LossBackward0", grad={
    "input": calling(smooth_l1_loss_backward, "g input target reduction beta"),
    "target": calling(smooth_l1_loss_backward, "g target input reduction beta"),
}, samples=element_samples(beta=0.7))
def smooth_absolute(input, target, reduction, beta):
    """`smooth_l1_loss` for a beta above zero."""
    size = np.absolute(np.subtract(input, target))
    losses = np.where(
        np.less(size, beta), np.multiply(np.multiply(size, size), 0.5 / beta), size - 0.5 * beta
    )
    return reduced(losses, reduction)


@composite(autocast="float32", **PUBLIC, samples=element_samples())
def smooth_l1_loss(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """Return the absolute difference, rounded off to a square below `beta`.

    Raises RuntimeError for a negative `beta`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.smooth_l1_loss.html

    >>> import iskra as torch
    >>> torch.nn.functional.smooth_l1_loss(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]))
    tensor(1.3125)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    warn_broadcast(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return reduce_losses(abs(input - target), reduction)
    return smooth_absolute(input, target, reduction, beta)


@fused(SAME, **INTERNAL, operands="input target", node="HuberLossBackward0", grad={
    "input": calling(huber_loss_backward, "g input target reduction delta"),
    "target": calling(huber_loss_backward, "g target input reduction delta"),
}, samples=element_samples(delta=0.7))
def huber(input, target, reduction, delta):
    """`huber_loss` without weights."""
    size = np.absolute(np.subtract(input, target))
    inner = np.minimum(size, delta)
    return reduced(np.multiply(inner, np.subtract(size, np.multiply(inner, 0.5))), reduction)


@composite(autocast="float32", **PUBLIC, samples=element_samples())
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """Return half the square below `delta`, ``delta * (|difference| - delta / 2)`` above.

    Raises RuntimeError unless `delta` is positive.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.huber_loss.html

    >>> import iskra as torch
    >>> torch.nn.functional.huber_loss(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 0.0]))
    tensor(1.3125)
    """
    reduction = reduction_name(reduction)
    warn_broadcast(input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is None:
        return huber(input, target, reduction, delta)
    losses = huber(input, target, "none", delta)
    if weight.shape != losses.shape:
        raise ValueError("Inputs and weights must have the same size.")
    return reduce_losses(losses * weight, reduction)


# Two-valued targets: 1 and -1


@fused(SAME, **INTERNAL, operands="input target", node="SoftMarginLossBackward0", grad={
    "input": lambda g, input, target, reduction: (
        shared(g, reduction, input.shape, target.shape) * -target * sigmoid(-target * input)
    ),
    "target": lambda g, input, target, reduction: (
        shared(g, reduction, input.shape, target.shape) * -input * sigmoid(-target * input)
    ),
}, samples=element_samples())
def soft_margin(input, target, reduction):
    """`soft_margin_loss` with a checked reduction."""
    z = np.negative(np.multiply(target, input))
    if z.dtype.kind == "c":
        return reduced(np.log(np.add(np.exp(z), 1)), reduction)
    return reduced(np.logaddexp(z.dtype.type(0), z), reduction)


@composite(autocast="float32", **PUBLIC, samples=element_samples())
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """Return ``log(1 + exp(-target * input))`` for targets 1 and -1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.soft_margin_loss.html

    >>> import iskra as torch
    >>> torch.nn.functional.soft_margin_loss(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor(0.6931)
    """
    return soft_margin(input, target, reduction_name(reduction, size_average, reduce))


@composite(autocast="float32", **BOTH, samples=element_samples(target=(1, 1)))
def hinge_embedding_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """Return the input where the target is 1, ``max(0, margin - input)`` where it is -1.

    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hinge_embedding_loss.html

    >>> import iskra as torch
    >>> x, y = torch.tensor([0.5, 0.25]), torch.tensor([1, -1])
    >>> torch.nn.functional.hinge_embedding_loss(x, y, reduction="none")
    tensor([0.5000, 0.7500])
    """
    reduction = reduction_name(reduction, size_average, reduce)
    close = clamp_min(margin - input, 0).to(input.dtype)
    return reduce_losses(gated(target != 1, close) + gated(target != -1, input), reduction)


@composite(autocast="float32", **BOTH)
def margin_ranking_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """Return ``max(0, -target * (input1 - input2) + margin)`` for targets 1 and -1.

    Raises RuntimeError where the numbers of dimensions differ.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.margin_ranking_loss.html

    >>> import iskra as torch
    >>> a, b = torch.tensor([1.0]), torch.tensor([3.0])
    >>> torch.nn.functional.margin_ranking_loss(a, b, torch.tensor([1.0]))
    tensor(2.)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        shapes = ", ".join(
            f"{name}: {size_of(x)}"
            for name, x in (("input1", input1), ("input2", input2), ("target", target))
        )
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            + shapes
        )
    return reduce_losses(clamp_min(-target * (input1 - input2) + margin, 0), reduction)
