"""Adagrad: steps scaled by the sum of all squared gradients."""

import numpy as np

from iskra.optim.checks import check_at_least_0, check_lr, check_speed_options
from iskra.optim.update import Elementwise, decay, descent, number, scalar_tensor
from iskra.tensor import wrap


class Adagrad(Elementwise):
    """Adagrad: ``p -= lr_t * g / (sqrt(sum) + eps)``, ``lr_t = lr / (1 + (step - 1) * lr_decay)``.

    The state, ``step`` and ``sum``, exists from the start. `weight_decay` adds
    ``weight_decay * p`` to the gradient, `maximize` climbs; `foreach` and `fused` are accepted and
    change nothing.

    Raises ValueError for negative options.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adagrad([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
        foreach=None, *, maximize=False, differentiable=False, fused=None,
    ):
        check_lr(lr)
        check_at_least_0("lr_decay value", lr_decay)
        check_at_least_0("weight_decay value", weight_decay)
        check_at_least_0("initial_accumulator_value value", initial_accumulator_value)
        check_at_least_0("epsilon value", eps)
        check_speed_options(foreach, fused, differentiable)
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused,
        })
        for group in self.param_groups:
            for p in group["params"]:
                self._start(self.state[p], p, group)

    def _start(self, state, p, group):
        initial = group["initial_accumulator_value"]
        if p.is_complex():
            initial = complex(initial, initial)
        state["step"] = scalar_tensor(0.0)
        state["sum"] = wrap(np.full_like(p._array, initial))

    def share_memory(self):
        """Do nothing: state is handed to other processes when it is sent to them.

        >>> import iskra as torch
        >>> torch.optim.Adagrad([torch.nn.Parameter(torch.ones(1))]).share_memory()
        """

    def _names(self, group):
        return ("sum",)

    def _numbers(self, group, step, state):
        rate = number(group["lr"], group) / (1 + (step - 1) * group["lr_decay"])
        return rate, float(group["eps"]), decay(group), group["maximize"]

    @staticmethod
    def _formula(xp, grad, tensors, rate, eps, weight_decay, maximize):
        param, total = tensors
        grad = descent(grad, param, maximize, weight_decay)
        total = total + grad * grad
        return param - grad * rate / (xp.sqrt(total) + eps), total
