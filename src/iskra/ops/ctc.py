"""ctc_loss: the likelihood of a label sequence, summed over its alignments with the input.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html
and Graves et al. 2006, whose forward and backward variables these are, as logarithms. All
sequences of a batch and all their states advance together, one time step after another.
"""

import numpy as np

from iskra.dispatch import composite, fused
from iskra.ops.comparison import where
from iskra.ops.loss import BOTH, INTERNAL, reduction_name
from iskra.tensor import Tensor

_NEVER = -np.inf


def _padded(targets, target_lengths):
    """Targets as a batch of rows; a one-dimensional target holds the rows one after another."""
    if targets.ndim == 2:
        return targets
    width = max(target_lengths, default=0)
    rows = np.zeros((len(target_lengths), width), targets.dtype)
    start = 0
    for row, length in enumerate(target_lengths):
        rows[row, :length] = targets[start : start + length]
        start += length
    return rows


def _states(targets, target_lengths, blank):
    """The label of each state, and whether it may be entered from two states before.

    A sequence of S labels has 2 S + 1 states: a blank, then each label and a blank.
    """
    rows = _padded(targets, target_lengths)[:, : max(target_lengths, default=0)]
    labels = np.full((rows.shape[0], 2 * rows.shape[1] + 1), blank, np.int64)
    labels[:, 1::2] = rows
    skips = np.zeros(labels.shape, bool)
    skips[:, 3::2] = rows[:, 1:] != rows[:, :-1]
    inside = np.arange(labels.shape[1]) <= 2 * np.asarray(target_lengths)[:, np.newaxis]
    return np.where(inside, labels, blank), skips & inside, inside


def _shifted(x, by):
    """`x` moved towards higher states, or lower ones where `by` is negative."""
    result = np.full_like(x, _NEVER)
    if by > 0:
        result[:, by:] = x[:, : x.shape[1] - by]
    else:
        result[:, :by] = x[:, -by:]
    return result


def _sum_of_exponentials(*terms):
    """log(exp(a) + exp(b) + ...) of arrays that may hold minus infinity."""
    top = np.maximum.reduce(terms)
    base = np.where(np.isfinite(top), top, 0)
    return np.log(sum(np.exp(t - base) for t in terms)) + base


def _emissions(log_probs, labels):
    """The log-probability of each state's label at each time: (T, N, states)."""
    batch = np.arange(labels.shape[0])[:, np.newaxis]
    return log_probs[:, batch, labels]


def _forward(emitted, skips, inside):
    """log alpha: (T, N, states)."""
    alpha = np.full_like(emitted, _NEVER)
    if not len(alpha):
        return alpha
    alpha[0, :, :2] = emitted[0, :, :2]
    alpha[0][~inside] = _NEVER
    for t in range(1, len(alpha)):
        held = alpha[t - 1]
        skipped = np.where(skips, _shifted(held, 2), _NEVER)
        alpha[t] = _sum_of_exponentials(held, _shifted(held, 1), skipped) + emitted[t]
        alpha[t][~inside] = _NEVER
    return alpha


def _backward(emitted, skips, inside, input_lengths, target_lengths):
    """log beta, of each sequence from its own last time step on."""
    steps, batch, states = emitted.shape
    beta = np.full_like(emitted, _NEVER)
    last = 2 * np.asarray(target_lengths)
    is_end = np.arange(states) == last[:, np.newaxis]
    is_end |= np.arange(states) == (last - 1)[:, np.newaxis]
    lengths = np.asarray(input_lengths)
    held = np.full((batch, states), _NEVER, emitted.dtype)
    for t in range(steps - 1, -1, -1):
        skipped = _shifted(np.where(skips, held, _NEVER), -2)
        step = _sum_of_exponentials(held, _shifted(held, -1), skipped) + emitted[t]
        start = np.where(is_end, emitted[t], _NEVER)
        at_end = (lengths - 1 == t)[:, np.newaxis]
        held = np.where(at_end, start, np.where((lengths - 1 > t)[:, np.newaxis], step, _NEVER))
        held[~inside] = _NEVER
        beta[t] = held
    return beta


def _losses(alpha, input_lengths, target_lengths):
    """-log of the sequences' probabilities, from the forward variables."""
    losses = []
    for row, (steps, labels) in enumerate(zip(input_lengths, target_lengths, strict=True)):
        if steps == 0:
            losses.append(0.0 if labels == 0 else np.inf)
            continue
        ends = alpha[steps - 1, row, max(2 * labels - 1, 0) : 2 * labels + 1]
        top = ends.max()
        base = top if np.isfinite(top) else 0
        losses.append(-(np.log(np.exp(ends - base).sum()) + base))
    return np.array(losses, alpha.dtype)


@fused(
    **INTERNAL, operands="log_probs targets", outputs=2, node="CtcLossBackward0",
    grad={"log_probs": lambda g, result, log_probs, targets, input_lengths, target_lengths, blank,
          zero_infinity: None if g[0] is None else ctc_loss_backward(
              g[0], log_probs, targets, input_lengths, target_lengths, blank, result[0].detach(),
              result[1].detach(), zero_infinity,
          )},
)
def ctc_losses(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    """The loss of each sequence, and the forward variables."""
    labels, skips, inside = _states(targets, target_lengths, blank)
    alpha = _forward(_emissions(log_probs, labels), skips, inside)
    losses = _losses(alpha, input_lengths, target_lengths)
    return losses, alpha


@fused(**INTERNAL, operands="grad log_probs targets losses alpha")
def ctc_loss_backward(
    grad, log_probs, targets, input_lengths, target_lengths, blank, losses, alpha, zero_infinity
):
    """The gradient of `ctc_losses`: probabilities less the share of paths through each label."""
    labels, skips, inside = _states(targets, target_lengths, blank)
    emitted = _emissions(log_probs, labels)
    beta = _backward(emitted, skips, inside, input_lengths, target_lengths)
    paths = np.exp(alpha + beta + losses[np.newaxis, :, np.newaxis] - emitted)
    paths = np.where(np.isneginf(alpha + beta), 0, paths)
    result = np.exp(log_probs)
    batch = np.arange(labels.shape[0])[:, np.newaxis]
    np.subtract.at(result, (slice(None), batch, labels), paths)
    result *= grad[np.newaxis, :, np.newaxis]
    if zero_infinity:
        result[:, np.isinf(losses)] = 0
    steps = np.arange(len(result))[:, np.newaxis] < np.asarray(input_lengths)
    return np.where(steps[:, :, np.newaxis], result, 0)


def _lengths(name, lengths, batch):
    lengths = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if any(not isinstance(n, int) for n in lengths):
        raise RuntimeError(f"ctc_loss: {name} must be integral")
    if len(lengths) != batch:
        raise RuntimeError(
            f"ctc_loss: Expected {name} to have value for each of the {batch} sequences, but got "
            f"{len(lengths)}"
        )
    return tuple(lengths)


def _check_ctc(log_probs, targets, input_lengths, target_lengths, blank):
    steps, _, classes = log_probs.shape
    if not 0 <= blank < classes:
        raise RuntimeError("ctc_loss: blank must be in label range")
    for name, lengths in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        if any(n < 0 for n in lengths):
            raise RuntimeError(f"ctc_loss: Expected {name} to be non-negative")
    if any(n > steps for n in input_lengths):
        raise RuntimeError(
            f"ctc_loss: Expected input_lengths to have value at most {steps}, but got value "
            f"{max(input_lengths)}"
        )
    needed = sum(target_lengths) if targets.ndim == 1 else max(target_lengths, default=0)
    if targets.shape[-1] < needed:
        raise RuntimeError(
            f"ctc_loss: Expected tensor to have size at least {needed} at dimension "
            f"{targets.ndim - 1}, but got size {targets.shape[-1]} for argument 'targets'"
        )
    if targets.dtype.category != 1:
        raise RuntimeError(
            f"ctc_loss: expected integer targets, but found {targets.dtype.scalar_name}"
        )


@composite(autocast="float32", **BOTH)
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean",
    zero_infinity=False,
):
    """Return the connectionist temporal classification loss.

    `log_probs` is ``(T, N, C)`` or ``(T, C)``; `targets` is ``(N, S)``, or one-dimensional with
    all sequences one after another; the lengths are tensors or tuples of N ints. The mean is over
    the batch, each loss divided by its target's length. `zero_infinity` makes infinite losses
    and their gradients 0. Sequences are not differentiable twice.
    Raises RuntimeError where lengths or shapes do not fit.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html

    >>> import iskra as torch
    >>> log_probs = torch.full((2, 1, 2), 0.5).log()
    >>> torch.nn.functional.ctc_loss(log_probs, torch.tensor([[1]]), (2,), (1,))
    tensor(0.2877)
    """
    reduction = reduction_name(reduction)
    batched = log_probs.ndim == 3
    if not batched:
        if log_probs.ndim != 2:
            raise RuntimeError(
                f"ctc_loss: expected log_probs of 2 or 3 dimensions, got {log_probs.ndim}"
            )
        log_probs = log_probs.unsqueeze(1)
        targets = targets.unsqueeze(0) if targets.ndim == 1 else targets
        input_lengths, target_lengths = map(_as_batch, (input_lengths, target_lengths))
    batch = log_probs.shape[1]
    input_lengths = _lengths("input_lengths", input_lengths, batch)
    target_lengths = _lengths("target_lengths", target_lengths, batch)
    _check_ctc(log_probs, targets, input_lengths, target_lengths, blank)
    losses = ctc_losses(
        log_probs, targets, input_lengths, target_lengths, blank, zero_infinity
    )[0]
    if zero_infinity:
        losses = where(losses == float("inf"), 0.0, losses)
    if reduction == "mean":
        return (losses / losses.new_tensor([max(n, 1) for n in target_lengths])).mean()
    if reduction == "sum":
        return losses.sum()
    return losses if batched else losses.squeeze(0)


def _as_batch(lengths):
    if isinstance(lengths, Tensor):
        return lengths.reshape(-1)
    return (lengths,) if isinstance(lengths, int) else lengths
