"""Adam and AdamW."""

from iskra.optim.checks import check_at_least_0, check_betas, check_lr, check_speed_options
from iskra.optim.update import Elementwise, decays, descent, lerp, number
from iskra.tensor import Tensor


class Adam(Elementwise):
    """Adam: steps scaled by running averages of the gradient and of its square.

    The state of a parameter is ``step``, ``exp_avg``, ``exp_avg_sq`` and, with `amsgrad`,
    ``max_exp_avg_sq``. `weight_decay` adds ``weight_decay * p`` to the gradient; with
    `decoupled_weight_decay` it shrinks the parameter itself, as `AdamW` does. `maximize` climbs.
    `foreach`, `capturable` and `fused` are accepted and change nothing.

    Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = torch.optim.Adam([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000, 1.5000])
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *,
        foreach=None, maximize=False, capturable=False, differentiable=False, fused=None,
        decoupled_weight_decay=False,
    ):
        check_lr(lr, foreach, capturable)
        check_at_least_0("epsilon value", eps)
        check_betas(betas)
        check_at_least_0("weight_decay value", weight_decay)
        check_speed_options(foreach, fused, differentiable)
        _check_tensor_betas(betas, foreach, capturable)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        })

    def _names(self, group):
        if group["amsgrad"]:
            return "exp_avg", "exp_avg_sq", "max_exp_avg_sq"
        return "exp_avg", "exp_avg_sq"

    def _numbers(self, group, step, state):
        beta1, beta2 = group["betas"]
        beta1, beta2, lr = number(beta1, group), number(beta2, group), number(group["lr"], group)
        return (
            lr / (1 - beta1**step), 1 - beta1, bool(beta1 > 0.5), beta2, 1 - beta2,
            (1 - beta2**step) ** 0.5, number(group["eps"], group), *decays(group, lr),
            group["maximize"],
        )

    @staticmethod
    def _formula(
        xp, grad, tensors, rate, weight1, near, beta2, weight2, root2, eps, keep, weight_decay,
        maximize,
    ):
        param, exp_avg, exp_avg_sq, *largest = tensors
        if keep is not None:
            param = param * keep
        grad = descent(grad, param, maximize, weight_decay)
        exp_avg = lerp(exp_avg, grad, weight1, near)
        exp_avg_sq = exp_avg_sq * beta2 + grad * weight2 * grad
        size = exp_avg_sq
        if largest:
            size = xp.maximum(largest[0], exp_avg_sq)
            largest = [size]
        denominator = xp.sqrt(size) / root2 + eps
        return param - exp_avg * rate / denominator, exp_avg, exp_avg_sq, *largest


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself and leaves the averages alone.

    All else, also the state and the errors, is as in `Adam`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.AdamW([p], lr=0.5, weight_decay=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.2500])
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
        maximize=False, foreach=None, capturable=False, differentiable=False, fused=None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state):
        """Take up saved state; groups that PyTorch saved before 2.7 do not say "decoupled"."""
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def _check_tensor_betas(betas, foreach, capturable):
    tensors = [isinstance(beta, Tensor) for beta in betas]
    if not any(tensors):
        return
    if not all(tensors):
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if foreach and not capturable:
            raise ValueError(
                f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
            )
        if beta.numel() != 1:
            raise ValueError(
                f"Tensor betas[{i}] must be 1-element, but has shape {tuple(beta.shape)}"
            )
