"""NAdam: Adam with Nesterov's look ahead."""

from iskra.optim.checks import check_at_least_0, check_betas, check_lr
from iskra.optim.update import Elementwise, decays, descent, lerp, number, scalar_tensor, zeros_like


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
    tensor([0.4718])
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

    _own_numbers = True  # of mu_product

    def _names(self, group):
        return "exp_avg", "exp_avg_sq"

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

    def _numbers(self, group, step, state):
        lr, momentum_decay = number(group["lr"], group), group["momentum_decay"]
        beta1, beta2 = map(float, group["betas"])
        mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
        product = state["mu_product"]._array
        product *= mu
        mu_product = product.item()
        return (
            lr * (1 - mu) / (1 - mu_product), lr * mu_next / (1 - mu_product * mu_next),
            1 - beta1, beta1 > 0.5, beta2, 1 - beta2, 1 - beta2**step, float(group["eps"]),
            *decays(group, lr), group["maximize"],
        )

    @staticmethod
    def _formula(
        xp, grad, tensors, grad_rate, momentum_rate, weight1, near, beta2, weight2, correction2,
        eps, keep, weight_decay, maximize,
    ):
        param, exp_avg, exp_avg_sq = tensors
        if keep is not None:
            param = param * keep
        grad = descent(grad, param, maximize, weight_decay)
        exp_avg = lerp(exp_avg, grad, weight1, near)
        exp_avg_sq = exp_avg_sq * beta2 + grad * weight2 * grad
        denominator = xp.sqrt(exp_avg_sq / correction2) + eps
        param = param - grad * grad_rate / denominator
        return param - exp_avg * momentum_rate / denominator, exp_avg, exp_avg_sq
