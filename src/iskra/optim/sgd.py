"""SGD: stochastic gradient descent, with momentum."""

from iskra.optim.checks import check_at_least_0, check_lr, check_speed_options
from iskra.optim.update import Elementwise, descent, number, rewrite


class SGD(Elementwise):
    """Stochastic gradient descent: ``p -= lr * g``, or with momentum ``p -= lr * b``.

    ``b = momentum * b + (1 - dampening) * g`` is remembered as ``momentum_buffer``, beginning with
    the first gradient; `nesterov` looks ahead: ``g + momentum * b`` instead of ``b``.
    `weight_decay` adds ``weight_decay * p`` to the gradient, `maximize` climbs. `foreach` and
    `fused` are accepted and change nothing.

    Raises ValueError for negative options, or `nesterov` without momentum or with dampening.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = torch.optim.SGD([p], lr=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     p.sum().backward()
    ...     optimizer.step()
    >>> p.data
    tensor([-0.2500,  0.7500])
    """

    def __init__(
        self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *,
        maximize=False, foreach=None, differentiable=False, fused=None,
    ):
        check_lr(lr)
        check_at_least_0("momentum value", momentum)
        check_at_least_0("weight_decay value", weight_decay)
        check_speed_options(foreach, fused, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening, but got "
                f"momentum={momentum}, dampening={dampening}"
            )
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        })

    def _start(self, state, p, group):
        if group["momentum"]:
            state["momentum_buffer"] = None

    def _step_group(self, group):
        lr, weight_decay = number(group["lr"], group), number(group["weight_decay"], group)
        momentum, maximize = group["momentum"], group["maximize"]
        for p, grad, state in self._ready(group):
            if not momentum:
                rewrite(group, _sgd, grad, (p,), lr, weight_decay, maximize)
                continue
            buffer = state["momentum_buffer"]
            first = buffer is None
            if first:
                buffer = state["momentum_buffer"] = grad.detach().clone()
            rewrite(
                group, _sgd_momentum, grad, (p, buffer), lr, weight_decay, maximize, momentum,
                1 - group["dampening"], group["nesterov"], first,
            )


def _sgd(xp, grad, tensors, lr, weight_decay, maximize):
    (param,) = tensors
    return (param - descent(grad, param, maximize, weight_decay) * lr,)


def _sgd_momentum(
    xp, grad, tensors, lr, weight_decay, maximize, momentum, keep, nesterov, first
):
    param, buffer = tensors
    grad = descent(grad, param, maximize, weight_decay)
    buffer = grad if first else buffer * momentum + grad * keep
    if nesterov:
        grad = grad + buffer * momentum
    else:
        grad = buffer
    return param - grad * lr, buffer
