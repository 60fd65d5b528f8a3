"""Adadelta: steps as large as recent steps were, relative to recent gradients."""

from iskra.optim.checks import check_at_least_0, check_lr
from iskra.optim.update import Elementwise, decay, descent, number


class Adadelta(Elementwise):
    """Adadelta: ``p -= lr * d`` with ``d = g * sqrt(acc_delta + eps) / sqrt(square_avg + eps)``.

    ``square_avg`` and ``acc_delta`` average ``g * g`` and ``d * d`` with the weight ``1 - rho``.
    `weight_decay` adds ``weight_decay * p`` to the gradient, `maximize` climbs; `foreach` and
    `capturable` are accepted and change nothing.

    Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adadelta([p], lr=100.0)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.6838])
    """

    def __init__(
        self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *,
        capturable=False, maximize=False, differentiable=False,
    ):
        check_lr(lr, foreach, capturable)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        check_at_least_0("epsilon value", eps)
        check_at_least_0("weight_decay value", weight_decay)
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        })

    def _names(self, group):
        return "square_avg", "acc_delta"

    def _numbers(self, group, step, state):
        rho = float(group["rho"])
        lr = number(group["lr"], group)
        return lr, rho, 1 - rho, float(group["eps"]), decay(group), group["maximize"]

    @staticmethod
    def _formula(xp, grad, tensors, lr, rho, weight, eps, weight_decay, maximize):
        param, square_avg, acc_delta = tensors
        grad = descent(grad, param, maximize, weight_decay)
        square_avg = square_avg * rho + grad * weight * grad
        delta = xp.sqrt(acc_delta + eps) / xp.sqrt(square_avg + eps) * grad
        acc_delta = acc_delta * rho + delta * weight * delta
        return param - delta * lr, square_avg, acc_delta
