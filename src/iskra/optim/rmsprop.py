"""RMSprop: steps scaled by a running average of the squared gradient."""

from iskra.optim.checks import check_at_least_0, check_lr
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

    def _start(self, state, p, group):
        state["step"] = scalar_tensor(0.0)
        state["square_avg"] = zeros_like(p)
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = zeros_like(p)

    def _step_group(self, group):
        lr = number(group["lr"], group)
        momentum, centered = group["momentum"], group["centered"]
        for p, grad, state in self._ready(group):
            advance(state)
            tensors = [p, state["square_avg"]]
            if momentum > 0:
                tensors.append(state["momentum_buffer"])
            if centered:
                tensors.append(state["grad_avg"])
            rewrite(
                group, _rmsprop, grad, tensors, lr, group["alpha"], group["eps"],
                group["weight_decay"], momentum, centered, group["maximize"],
            )


def _rmsprop(
    xp, grad, tensors, lr, alpha, eps, weight_decay, momentum, centered, maximize
):
    param, square_avg, *rest = tensors
    grad = descent(grad, param, maximize, weight_decay)
    size = square_avg = square_avg * alpha + grad * (1 - alpha) * grad
    if centered:
        rest[-1] = grad_avg = lerp(rest[-1], grad, 1 - alpha)
        size = square_avg - grad_avg * grad_avg
    denominator = xp.sqrt(size) + eps
    if momentum > 0:
        rest[0] = rest[0] * momentum + grad / denominator
        param = param - rest[0] * lr
    else:
        param = param - grad * lr / denominator
    return param, square_avg, *rest
