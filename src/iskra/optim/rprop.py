"""Rprop: step sizes of each element's own, grown or shrunk by the gradient's sign alone."""

import numpy as np

from iskra.optim.checks import check_lr
from iskra.optim.update import Elementwise, scalar_tensor, zeros_like
from iskra.tensor import wrap


class Rprop(Elementwise):
    """Rprop: ``p -= sign(g) * step_size``.

    Where the gradient kept its sign, the step size grows by the factor ``etas[1]``; where it
    turned, it shrinks by ``etas[0]`` and the element rests; always within `step_sizes`. The state
    is ``step``, ``prev`` (the last gradient) and ``step_size``. `maximize` climbs; `foreach` and
    `capturable` are accepted and change nothing.

    Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Rprop.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Rprop([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, capturable=False,
        foreach=None, maximize=False, differentiable=False,
    ):
        check_lr(lr, foreach, capturable)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })

    def _start(self, state, p, group):
        lr = float(group["lr"])
        state["step"] = scalar_tensor(0.0)
        state["prev"] = zeros_like(p)
        first = complex(lr, lr) if p.is_complex() else lr
        state["step_size"] = wrap(np.full_like(p._array, first))

    def _names(self, group):
        return "prev", "step_size"

    def _numbers(self, group, step, state):
        return *map(float, group["etas"]), *map(float, group["step_sizes"]), group["maximize"]

    @staticmethod
    def _formula(xp, grad, tensors, shrink, grow, smallest, largest, maximize):
        param, previous, step_size = tensors
        if maximize:
            grad = -grad
        agreement = grad * previous
        shrunk = xp.where(agreement < 0, step_size * shrink, step_size)
        step_size = xp.where(agreement > 0, step_size * grow, shrunk)
        step_size = xp.clip(step_size, smallest, largest)
        grad = xp.where(agreement < 0, 0.0, grad)
        return param - xp.sign(grad) * step_size, grad, step_size
