"""SGD: stochastic gradient descent, with momentum."""

from iskra.optim.checks import check_at_least_0, check_lr, check_speed_options
from iskra.optim.update import Elementwise, decay, descent, number, zeros_like


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

    def _remembers(self, group):
        return bool(group["momentum"])

    def _names(self, group):
        return ("momentum_buffer",) if group["momentum"] else ()

    def _count(self, state, p, group):
        """There is no step count: only whether it is the parameter's first step with momentum."""
        if not group["momentum"] or state.get("momentum_buffer") is not None:
            return False
        state["momentum_buffer"] = zeros_like(p)
        return True

    def _numbers(self, group, step, state):
        # What is left of a gradient on its way into the buffer; all of the first one.
        share = 1.0 if step else 1 - float(group["dampening"])
        return (
            number(group["lr"], group), float(group["momentum"]), None if share == 1 else share,
            group["nesterov"], decay(group), group["maximize"],
        )

    @staticmethod
    def _formula(xp, grad, tensors, lr, momentum, share, nesterov, weight_decay, maximize):
        param, *buffer = tensors
        grad = descent(grad, param, maximize, weight_decay)
        if buffer:
            buffer[0] = buffer[0] * momentum + (grad if share is None else grad * share)
            grad = grad + buffer[0] * momentum if nesterov else buffer[0]
        return param - grad * lr, *buffer
