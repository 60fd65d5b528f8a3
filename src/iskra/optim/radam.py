"""RAdam: Adam that waits until its average of squares can be trusted."""

from iskra.optim.checks import check_at_least_0, check_betas, check_lr
from iskra.optim.update import (
    Elementwise,
    advance,
    descent,
    lerp,
    number,
    rewrite,
    scalar_tensor,
    zeros_like,
)


class RAdam(Elementwise):
    """RAdam: Adam whose first steps go by the average gradient alone.

    Once the average of squares rests on more than five steps' worth of gradients, steps are scaled
    by it, times a factor that corrects its variance. The state is ``step``, ``exp_avg``,
    ``exp_avg_sq``. `weight_decay` adds ``weight_decay * p`` to the gradient, or shrinks the
    parameter itself with `decoupled_weight_decay`; `maximize` climbs; `foreach` and `capturable`
    are accepted and change nothing.

    Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.RAdam([p], lr=0.25)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False,
        differentiable=False,
    ):
        check_lr(lr, foreach, capturable)
        check_at_least_0("epsilon value", eps)
        check_betas(betas)
        check_at_least_0("weight_decay value", weight_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        })

    def _start(self, state, p, group):
        state["step"] = scalar_tensor(0.0)
        state["exp_avg"] = zeros_like(p)
        state["exp_avg_sq"] = zeros_like(p)

    def _step_group(self, group):
        lr = number(group["lr"], group)
        beta1, beta2 = group["betas"]
        for p, grad, state in self._ready(group):
            step = advance(state)
            correction2 = 1 - beta2**step
            rewrite(
                group, _radam, grad, (p, state["exp_avg"], state["exp_avg_sq"]), lr, beta1, beta2,
                1 - beta1**step, correction2**0.5, _rectification(step, beta2, correction2),
                group["eps"], group["weight_decay"], group["decoupled_weight_decay"],
                group["maximize"],
            )


def _rectification(step, beta2, correction2):
    """The factor that corrects the variance of the average of squares; None while too few steps."""
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction2
    if length <= 5:
        return None
    now = (length - 4) * (length - 2) * longest
    return (now / ((longest - 4) * (longest - 2) * length)) ** 0.5


def _radam(
    xp, grad, tensors, lr, beta1, beta2, correction1, root2, rectification, eps, weight_decay,
    decoupled, maximize,
):
    param, exp_avg, exp_avg_sq = tensors
    if decoupled and weight_decay:
        param, weight_decay = param * (1 - lr * weight_decay), 0
    grad = descent(grad, param, maximize, weight_decay)
    exp_avg = lerp(exp_avg, grad, 1 - beta1)
    exp_avg_sq = exp_avg_sq * beta2 + grad * (1 - beta2) * grad
    change = exp_avg / correction1 * lr
    if rectification is not None:
        change = change * (root2 / (xp.sqrt(exp_avg_sq) + eps)) * rectification
    return param - change, exp_avg, exp_avg_sq
