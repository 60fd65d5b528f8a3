"""ASGD: gradient descent that also keeps the average of all its points."""

import numpy as np

from iskra.optim.checks import check_at_least_0, check_lr
from iskra.optim.update import Elementwise, decay, descent, scalar_tensor, zeros_like
from iskra.tensor import wrap


class ASGD(Elementwise):
    """Averaged SGD: ``p = p * (1 - lambd * eta) - eta * g``; the average of ``p`` is state ``ax``.

    ``eta = lr / (1 + lambd * lr * step) ** alpha``; averaging begins after `t0` steps. The state is
    ``step``, ``eta``, ``mu`` (the weight of the newest point) and ``ax``. `weight_decay` adds
    ``weight_decay * p`` to the gradient, `maximize` climbs; `foreach` and `capturable` are
    accepted and change nothing.

    Raises ValueError for negative options.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.ASGD.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.ASGD([p], lr=0.25, lambd=0.0)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None,
        maximize=False, differentiable=False, capturable=False,
    ):
        check_lr(lr, foreach, capturable)
        check_at_least_0("weight_decay value", weight_decay)
        super().__init__(params, {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        })

    _own_numbers = True  # of eta and mu

    def _start(self, state, p, group):
        state["step"] = scalar_tensor(0.0)
        state["eta"] = wrap(np.array(float(group["lr"]), state["step"]._array.dtype))
        state["mu"] = scalar_tensor(1.0)
        state["ax"] = zeros_like(p)

    def _names(self, group):
        return ("ax",)

    def _numbers(self, group, step, state):
        lr, lambd = float(group["lr"]), group["lambd"]
        eta_array, mu_array = state["eta"]._array, state["mu"]._array
        eta, mu = eta_array.item(), mu_array.item()
        eta_array[...] = lr / (1 + lambd * lr * step) ** group["alpha"]  # of the next step
        mu_array[...] = 1 / max(1, step - group["t0"])
        keep = 1 - lambd * eta
        return keep, eta, None if mu == 1 else mu, decay(group), group["maximize"]

    @staticmethod
    def _formula(xp, grad, tensors, keep, eta, mu, weight_decay, maximize):
        param, average = tensors
        grad = descent(grad, param, maximize, weight_decay)
        param = param * keep - grad * eta
        return param, param if mu is None else average + (param - average) * mu
