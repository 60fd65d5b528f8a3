"""Adamax: Adam with the largest recent gradient in place of the root of the mean square."""

from iskra.optim.checks import check_at_least_0, check_betas, check_lr
from iskra.optim.update import Elementwise, decay, descent, lerp, number


class Adamax(Elementwise):
    """Adamax: ``p -= lr / (1 - beta1**step) * exp_avg / exp_inf``.

    ``exp_inf`` is the larger of ``beta2 * exp_inf`` and ``abs(g) + eps``. `weight_decay` adds
    ``weight_decay * p`` to the gradient, `maximize` climbs; `foreach` and `capturable` are
    accepted and change nothing.

    Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adamax([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *,
        maximize=False, differentiable=False, capturable=False,
    ):
        check_lr(lr, foreach, capturable)
        check_at_least_0("epsilon value", eps)
        check_betas(betas)
        check_at_least_0("weight_decay value", weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        })

    def _names(self, group):
        return "exp_avg", "exp_inf"

    def _numbers(self, group, step, state):
        beta1, beta2 = map(float, group["betas"])
        rate = number(group["lr"], group) / (1 - beta1**step)
        return (
            rate, 1 - beta1, beta1 > 0.5, beta2, float(group["eps"]), decay(group),
            group["maximize"],
        )

    @staticmethod
    def _formula(xp, grad, tensors, rate, weight1, near, beta2, eps, weight_decay, maximize):
        param, exp_avg, exp_inf = tensors
        grad = descent(grad, param, maximize, weight_decay)
        exp_avg = lerp(exp_avg, grad, weight1, near)
        exp_inf = xp.maximum(exp_inf * beta2, xp.abs(grad) + eps)
        return param - exp_avg * rate / exp_inf, exp_avg, exp_inf
