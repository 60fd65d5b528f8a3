"""RMSprop: steps scaled by a running average of the squared gradient."""

from iskra.optim.checks import check_at_least_0, check_lr
from iskra.optim.update import Elementwise, decay, descent, lerp, number


class RMSprop(Elementwise):
    """RMSprop: ``p -= lr * g / (sqrt(v) + eps)`` with ``v = alpha * v + (1 - alpha) * g * g``.

    `centered` takes the square of the average gradient off ``v``; `momentum` remembers the steps.
    The state is ``step``, ``square_avg`` and, where asked for, ``momentum_buffer``, ``grad_avg``.
    `weight_decay` adds ``weight_decay * p`` to the gradient, `maximize` climbs; `foreach` and
    `capturable` are accepted and change nothing.

    Raises ValueError for negative options.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.RMSprop([p], lr=0.05)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
        capturable=False, foreach=None, maximize=False, differentiable=False,
    ):
        check_lr(lr, foreach, capturable)
        check_at_least_0("epsilon value", eps)
        check_at_least_0("momentum value", momentum)
        check_at_least_0("weight_decay value", weight_decay)
        check_at_least_0("alpha value", alpha)
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        })

    def _names(self, group):
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return names

    def _numbers(self, group, step, state):
        alpha, momentum = float(group["alpha"]), float(group["momentum"])
        return (
            number(group["lr"], group), alpha, 1 - alpha, alpha > 0.5, float(group["eps"]),
            decay(group),
            momentum if momentum > 0 else None, group["centered"], group["maximize"],
        )

    @staticmethod
    def _formula(
        xp, grad, tensors, lr, alpha, weight, near, eps, weight_decay, momentum, centered,
        maximize,
    ):
        param, square_avg, *rest = tensors
        grad = descent(grad, param, maximize, weight_decay)
        size = square_avg = square_avg * alpha + grad * weight * grad
        if centered:
            rest[-1] = grad_avg = lerp(rest[-1], grad, weight, near)
            size = square_avg - grad_avg * grad_avg
        denominator = xp.sqrt(size) + eps
        if momentum is not None:
            rest[0] = rest[0] * momentum + grad / denominator
            param = param - rest[0] * lr
        else:
            param = param - grad * lr / denominator
        return param, square_avg, *rest
