"""Losses that are negative log likelihoods: of bits, counts and normal variables, and kl_div.

Every loss takes ``reduction="none"`` (one loss per element), ``"mean"`` or ``"sum"``.
Source: https://docs.pytorch.org/docs/stable/nn.functional.html#loss-functions
"""

import math

import numpy as np

from iskra.autograd import no_grad
from iskra.core.checks import anywhere
from iskra.core.size import format_shape
from iskra.dispatch import SAME, calling, composite, fused
from iskra.ops.activation import logsigmoid
from iskra.ops.comparison import clamp_min, where
from iskra.ops.loss import (
    BOTH,
    INTERNAL,
    PUBLIC,
    element_samples,
    reduce_losses,
    reduced,
    reduction_name,
    shared,
    size_of,
    spread,
    weighed,
)
from iskra.ops.mathematics import exp, log, log1p, sigmoid
from iskra.ops.warning import warn


def _check_same_size(name, input, target):
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: Using a target size ({size_of(target)}) that is different to the input size "
            f"({size_of(input)}) is deprecated. Please ensure they have the same size."
        )


def _probability_bend(g, grad, input, target, weight, reduction):
    product = (1 - input) * input
    safe = clamp_min(product, 1e-12)
    bend = where(product < 1e-12, 0.0, (input - target) * (1 - 2 * input) / (safe * safe))
    return weighed(shared(g * grad, reduction, input.shape) * (1 / safe - bend), weight)


@fused(SAME, **INTERNAL, operands="input grad target weight", grad={
    "grad": lambda g, grad, input, target, weight, reduction: g * binary_cross_entropy_backward(
        grad.new_ones(()), input, target, weight, reduction
    ),
    "input": _probability_bend,
    "target": lambda g, grad, input, weight, reduction: weighed(
        shared(g * grad, reduction, input.shape) / -clamp_min((1 - input) * input, 1e-12), weight
    ),
    "weight": lambda g, grad, input, target, reduction: binary_cross_entropy_backward(
        g * grad, input, target, None, reduction
    ),
}, samples=lambda make: [
    ((make(()), make((3, 4), 0.1, 0.9), make((3, 4), 0.1, 0.9)), {}),
    ((make((3, 4)), make((3, 4), 0.1, 0.9), make((3, 4), 0.1, 0.9), make((3, 4)), "none"), {}),
])
def binary_cross_entropy_backward(grad, input, target, weight=None, reduction="mean"):
    """The gradient of `binary_cross_entropy` for its input."""
    product = np.maximum(np.multiply(np.subtract(1, input), input), 1e-12)
    slope = np.divide(np.subtract(input, target), product)
    return spread(grad, slope, weight, reduction, input.size)


def _logits_bend(g, grad, input, target, weight, pos_weight, reduction):
    s = sigmoid(input)
    bend = s * (1 - s)
    if pos_weight is not None:
        bend = bend * (pos_weight * target + 1 - target)
    return weighed(shared(g * grad, reduction, input.shape) * bend, weight)


def _logits_target_bend(g, grad, input, weight, pos_weight, reduction):
    bend = -1 if pos_weight is None else (pos_weight - 1) * sigmoid(input) - pos_weight
    return weighed(shared(g * grad, reduction, input.shape) * bend, weight)


@fused(SAME, **INTERNAL, operands="input grad target weight pos_weight", grad={
    "grad": lambda g, grad, input, target, weight, pos_weight, reduction: g * logits_nll_backward(
        grad.new_ones(()), input, target, weight, pos_weight, reduction
    ),
    "input": _logits_bend,
    "target": _logits_target_bend,
    "weight": lambda g, grad, input, target, pos_weight, reduction: logits_nll_backward(
        g * grad, input, target, None, pos_weight, reduction
    ),
    "pos_weight": lambda g, grad, input, target, weight, reduction: weighed(
        shared(g * grad, reduction, input.shape) * target * (sigmoid(input) - 1), weight
    ),
}, samples=lambda make: [
    ((make(()), make((3, 4)), make((3, 4), 0, 1)), {}),
    ((make((3, 4)), make((3, 4)), make((3, 4), 0, 1), make((4,), 0.5, 2), make((3, 1), 0.5, 2),
      "none"), {}),
])
def logits_nll_backward(
    grad, input, target, weight=None, pos_weight=None, reduction="mean"
):
    """The gradient of `binary_cross_entropy_with_logits` for its input."""
    likely = np.reciprocal(np.add(np.exp(np.negative(input)), 1))
    if pos_weight is None:
        slope = np.subtract(likely, target)
    else:
        positive = np.multiply(target, pos_weight)
        slope = np.multiply(np.subtract(np.add(positive, 1), target), likely)
        slope = np.subtract(slope, positive)
    return spread(grad, slope, weight, reduction, input.size)


def _bce_target_gradient(g, input, target, weight, reduction):
    slope = clamp_min(log1p(-input), -100) - clamp_min(log(input), -100)
    slope = shared(g, reduction, input.shape) * slope
    return slope if weight is None else slope * weight


@fused(SAME, **INTERNAL, operands="input target weight", node="BinaryCrossEntropyBackward0", grad={
    "input": calling(binary_cross_entropy_backward, "g input target weight reduction"),
    "target": _bce_target_gradient,
}, samples=element_samples(0.1, 0.9, (0.1, 0.9)))
def bernoulli_nll(input, target, weight=None, reduction="mean"):
    """`binary_cross_entropy` of operands that have been checked."""
    inside = np.logical_and(np.greater_equal(input, 0), np.less_equal(input, 1))
    if anywhere(np.logical_not(inside)):
        raise RuntimeError("all elements of input should be between 0 and 1")
    sure = np.maximum(np.log(input), -100)
    unsure = np.maximum(np.log1p(np.negative(input)), -100)
    losses = np.subtract(np.multiply(np.subtract(target, 1), unsure), np.multiply(target, sure))
    if weight is not None:
        losses = np.multiply(losses, weight)
    return reduced(losses, reduction)


@composite(autocast="float32", **PUBLIC, samples=element_samples(0.1, 0.9, (0.1, 0.9)))
def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Return ``-target log(input) - (1 - target) log(1 - input)``; logarithms are at least -100.

    `input` holds probabilities, `target` numbers between 0 and 1, of the same shape.
    Raises ValueError for other shapes, RuntimeError for values outside 0 to 1.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html

    >>> import iskra as torch
    >>> torch.nn.functional.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    _check_same_size("binary_cross_entropy", input, target)
    if input.dtype != target.dtype:
        raise RuntimeError(
            f"binary_cross_entropy: Found dtype {target.dtype} but expected {input.dtype}"
        )
    if weight is not None and weight.shape != input.shape:
        weight = weight.expand(input.shape)
    return bernoulli_nll(input, target, weight, reduction)


def _logits_target_gradient(g, input, weight, pos_weight, reduction):
    if pos_weight is None:
        slope = -input
    else:
        slope = logsigmoid(-input) - pos_weight * logsigmoid(input)
    slope = shared(g, reduction, input.shape) * slope
    return slope if weight is None else slope * weight


def _logits_losses(input, target, pos_weight):
    """The losses before weighing, in tensors: for the gradients of the weights."""
    factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    return (1 - target) * input - factor * logsigmoid(input)


@fused(
    SAME, **INTERNAL, operands="input target weight pos_weight",
    node="BinaryCrossEntropyWithLogitsBackward0", grad={
        "input": calling(logits_nll_backward, "g input target weight pos_weight reduction"),
        "target": _logits_target_gradient,
        "weight": lambda g, input, target, pos_weight, reduction: (
            shared(g, reduction, input.shape) * _logits_losses(input, target, pos_weight)
        ),
        "pos_weight": lambda g, input, target, weight, reduction: (
            shared(g, reduction, input.shape) * -logsigmoid(input) * target
            * (1 if weight is None else weight)
        ),
    },
    samples=lambda make: [
        *element_samples(target=(0.1, 0.9))(make),
        ((make((3, 4)), make((3, 4), 0, 1), make((4,), 0.5, 2), make((3, 1), 0.5, 2)), {}),
    ],
)
def logits_nll(input, target, weight=None, pos_weight=None, reduction="mean"):
    """`binary_cross_entropy_with_logits` of operands that have been checked."""
    losses = np.log1p(np.exp(np.negative(np.absolute(input))))
    losses = np.subtract(losses, np.minimum(input, 0))  # -log(sigmoid(input))
    if pos_weight is not None:
        losses = np.multiply(losses, (pos_weight - 1) * target + 1)
    losses = np.add(np.multiply(np.subtract(1, target), input), losses)
    if weight is not None:
        losses = np.multiply(losses, weight)
    return reduced(losses, reduction)


@composite(autocast="float32", **BOTH, samples=element_samples(target=(0, 1)))
def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """Return the binary cross entropy of ``sigmoid(input)``, without overflow.

    `weight` weighs the elements, `pos_weight` the positive answers; both broadcast.
    Raises ValueError where the shapes of input and target differ.
    Source: https://docs.pytorch.org/docs/stable/generated/\
torch.nn.functional.binary_cross_entropy_with_logits.html

    >>> import iskra as torch
    >>> F = torch.nn.functional
    >>> F.binary_cross_entropy_with_logits(torch.tensor([0.0]), torch.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(
            f"Target size ({size_of(target)}) must be the same as input size ({size_of(input)})"
        )
    return logits_nll(input, target, weight, pos_weight, reduction)


@composite(autocast="float32", **BOTH, samples=element_samples(
    target=(0.1, 1), reductions=("none", "sum")
))
def kl_div(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """Return the Kullback-Leibler divergence ``target * (log(target) - input)``.

    `input` holds log-probabilities; so does `target` with ``log_target=True``.
    ``reduction="batchmean"`` divides the sum by the size of dimension 0.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html

    >>> import iskra as torch
    >>> p = torch.tensor([0.5, 0.5])
    >>> torch.nn.functional.kl_div(torch.tensor([0.25, 0.75]).log(), p, reduction="sum")
    tensor(0.1438)
    """
    by_batch = reduction == "batchmean" and size_average is None and reduce is None
    if by_batch:
        reduction = "sum"
    else:
        if reduction == "mean" and size_average is None and reduce is None:
            warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support "
                "size. 'batchmean' divides only by the batch size, and aligns with the KL div "
                "math definition. 'mean' will be changed to behave the same as 'batchmean' in "
                "the next major release."
            )
        reduction = reduction_name(reduction, size_average, reduce)
    if log_target:
        losses = exp(target) * (target - input)
    else:
        losses = target.xlogy(target) - target * input
    losses = reduce_losses(losses, reduction)
    return losses / input.shape[0] if by_batch and input.ndim else losses


@composite(autocast="float32", **BOTH, samples=element_samples(target=(0.1, 3)))
def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):
    """Return the negative log likelihood of counts `target` under rates ``exp(input)``.

    ``log_input=False``: the rates are `input` itself. `full` adds Stirling's approximation of
    ``log(target!)``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.poisson_nll_loss.html

    >>> import iskra as torch
    >>> torch.nn.functional.poisson_nll_loss(torch.tensor([0.0]), torch.tensor([2.0]))
    tensor(1.)
    """
    reduction = reduction_name(reduction, size_average, reduce)
    if log_input:
        losses = exp(input) - target * input
    else:
        losses = input - target * log(input + eps)
    if full:
        stirling = target * log(target) - target + 0.5 * log(2 * math.pi * target)
        losses = losses + where(target <= 1, 0.0, stirling)
    return reduce_losses(losses, reduction)


@composite(**PUBLIC, samples=element_samples(var=0.7))
def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Return the negative log likelihood of `target` under normals of mean `input`.

    `var` holds the variances, at least `eps`: of input's shape, without its last dimension (or
    with size 1 there), or one number. `full` adds the constant term.
    Raises ValueError for a negative variance or another shape.
    Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gaussian_nll_loss.html

    >>> import iskra as torch
    >>> x = torch.tensor([1.0])
    >>> torch.nn.functional.gaussian_nll_loss(x, torch.tensor([3.0]), torch.tensor([1.0]))
    tensor(2.)
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.new_ones(input.shape) * var
    elif var.numel() and var.min().item() < 0:
        raise ValueError("var has negative entry/entries")
    var = _fitting_variance(input, var)
    reduction = reduction_name(reduction)
    var = var.clone()
    with no_grad():
        var.clamp_(min=eps)
    losses = 0.5 * (log(var) + (input - target) ** 2 / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduce_losses(losses, reduction)


def _fitting_variance(input, var):
    """`var`, with a last dimension where it lacks one."""
    if var.shape == input.shape or var.ndim == 0:
        return var
    if input.shape[:-1] == var.shape:
        return var.unsqueeze(-1)
    if input.shape[:-1] == var.shape[:-1] and var.shape[-1] == 1:
        return var
    fits = len(var.shape) == len(input.shape) and all(
        v in (1, i) for v, i in zip(var.shape, input.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"var is of incorrect size: {format_shape(var.shape)} for an input of "
            f"{format_shape(input.shape)}"
        )
    return var
