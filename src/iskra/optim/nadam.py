"""NAdam: Adam with Nesterov's look ahead."""

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


class NAdam(Elementwise):
    """NAdam: Adam that already takes part of the next step's momentum.

    The share of momentum is ``mu(t) = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))``; its
    product over all steps is remembered as ``mu_product`` beside ``step``, ``exp_avg`` and
    ``exp_avg_sq``. `weight_decay` adds ``weight_decay * p`` to the gradient, or shrinks the
    parameter itself with `decoupled_weight_decay`; `maximize` climbs; `foreach` and `capturable`
    are accepted and change nothing.

    Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.NAdam([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.4687])
    """

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False,
        differentiable=False,
    ):
        check_lr(lr, foreach, capturable)
        check_at_least_0("epsilon value", eps)
        check_betas(betas)
        check_at_least_0("weight_decay value", weight_decay)
        check_at_least_0("momentum_decay value", momentum_decay)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        })

    def _start(self, state, p, group):
        state["step"] = scalar_tensor(0.0)
        state["mu_product"] = scalar_tensor(1.0)
        state["exp_avg"] = zeros_like(p)
        state["exp_avg_sq"] = zeros_like(p)

    def __setstate__(self, state):
        """Take up saved state, also of older PyTorch, which kept ``mu_product`` as a number."""
        super().__setstate__(state)
        for entry in self.state.values():
            if isinstance(entry.get("mu_product"), float):
                entry["mu_product"] = scalar_tensor(entry["mu_product"])

    def _step_group(self, group):
        lr, decay = number(group["lr"], group), group["momentum_decay"]
        beta1, beta2 = group["betas"]
        for p, grad, state in self._ready(group):
            step = advance(state)
            mu = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
            mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
            product = state["mu_product"]._array
            product *= mu
            mu_product = product.item()
            rewrite(
                group, _nadam, grad, (p, state["exp_avg"], state["exp_avg_sq"]),
                lr * (1 - mu) / (1 - mu_product), lr * mu_next / (1 - mu_product * mu_next),
                beta1, beta2, 1 - beta2**step, group["eps"], lr, group["weight_decay"],
                group["decoupled_weight_decay"], group["maximize"],
            )


def _nadam(
    xp, grad, tensors, grad_rate, momentum_rate, beta1, beta2, correction2, eps, lr, weight_decay,
    decoupled, maximize,
):
    param, exp_avg, exp_avg_sq = tensors
    if decoupled and weight_decay:
        param, weight_decay = param * (1 - lr * weight_decay), 0
    grad = descent(grad, param, maximize, weight_decay)
    exp_avg = lerp(exp_avg, grad, 1 - beta1)
    exp_avg_sq = exp_avg_sq * beta2 + grad * (1 - beta2) * grad
    denominator = xp.sqrt(exp_avg_sq / correction2) + eps
    param = param - grad * grad_rate / denominator
    return param - exp_avg * momentum_rate / denominator, exp_avg, exp_avg_sq
