"""RAdam: Adam that waits until its average of squares can be trusted."""

from iskra.optim.checks import check_at_least_0, check_betas, check_lr
from iskra.optim.update import Elementwise, decays, descent, lerp, number


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

    def _names(self, group):
        return "exp_avg", "exp_avg_sq"

    def _numbers(self, group, step, state):
        lr = number(group["lr"], group)
        beta1, beta2 = map(float, group["betas"])
        correction2 = 1 - beta2**step
        return (
            lr, 1 - beta1, beta1 > 0.5, beta2, 1 - beta2, 1 - beta1**step, correction2**0.5,
            _rectification(step, beta2, correction2), float(group["eps"]), *decays(group, lr),
            group["maximize"],
        )

    @staticmethod
    def _formula(
        xp, grad, tensors, lr, weight1, near, beta2, weight2, correction1, root2, rectification,
        eps, keep, weight_decay, maximize,
    ):
        param, exp_avg, exp_avg_sq = tensors
        if keep is not None:
            param = param * keep
        grad = descent(grad, param, maximize, weight_decay)
        exp_avg = lerp(exp_avg, grad, weight1, near)
        exp_avg_sq = exp_avg_sq * beta2 + grad * weight2 * grad
        change = exp_avg / correction1 * lr
        if rectification is not None:
            change = change * (root2 / (xp.sqrt(exp_avg_sq) + eps)) * rectification
        return param - change, exp_avg, exp_avg_sq


def _rectification(step, beta2, correction2):
    """The factor that corrects the variance of the average of squares; None while too few steps."""
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / correction2
    if length <= 5:
        return None
    now = (length - 4) * (length - 2) * longest
    return (now / ((longest - 4) * (longest - 2) * length)) ** 0.5
