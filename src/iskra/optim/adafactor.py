"""Adafactor: Adam's scaling at a fraction of its memory."""

from iskra import ops
from iskra.autograd import no_grad
from iskra.core import finfo
from iskra.optim.checks import check_at_least_0, check_lr
from iskra.optim.optimizer import Optimizer
from iskra.optim.update import scalar_tensor


class Adafactor(Optimizer):
    """Adafactor: the squared gradient of a matrix is remembered by its row and column means only.

    The state is ``step`` and ``row_var``, ``col_var``, or ``variance`` for a vector. Steps are
    relative to the size of the parameter, at least ``eps[1]`` of it, and no larger in mean square
    than `d`; ``eps[0]`` (None: that of the dtype) keeps variances off zero. `weight_decay` shrinks
    the parameter itself, `maximize` climbs; `foreach` is accepted and changes nothing.

    Raises ValueError for options out of range, RuntimeError for complex parameters.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = torch.optim.Adafactor([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.data
    tensor([0.5000])
    """

    def __init__(
        self, params, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, *,
        foreach=None, maximize=False,
    ):
        check_lr(lr)
        if not beta2_decay <= 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None:
            check_at_least_0("epsilon1 value", eps[0])
        check_at_least_0("epsilon2 value", eps[1])
        if not d >= 1:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_at_least_0("weight_decay value", weight_decay)
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
            "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
        })

    def step(self, closure=None):
        """Do one step for all parameters that have a gradient; return what `closure` returned.

        >>> import iskra as torch
        >>> optimizer = torch.optim.Adafactor([torch.nn.Parameter(torch.ones(2, 3))])
        >>> optimizer.step(lambda: "the loss")
        'the loss'
        """
        loss = self._closure_loss(closure)
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._step_one(p, group)
        return loss

    def _step_one(self, p, group):
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state = self.state[p]
        if not state:
            _start(state, p.grad)
        grad = -p.grad if group["maximize"] else p.grad
        state["step"] += 1
        step, lr = state["step"].item(), float(group["lr"])
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = finfo(p.dtype).eps
        scale = max(eps2, _root_mean_square(p)) * min(lr, 1 / step**0.5)
        if group["weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        variance = _variance(state, grad, step ** group["beta2_decay"], eps1)
        change = variance.clamp(min=eps1 * eps1).rsqrt() * grad
        p.add_(change, alpha=-scale / max(1.0, _root_mean_square(change) / group["d"]))


def _start(state, grad):
    state["step"] = scalar_tensor(0.0)
    if grad.dim() > 1:
        state["row_var"] = grad.new_zeros((*grad.shape[:-1], 1))
        state["col_var"] = grad.new_zeros((*grad.shape[:-2], 1, grad.shape[-1]))
    else:
        state["variance"] = ops.zeros_like(grad)


def _root_mean_square(t):
    return t.norm(2).item() / t.numel() ** 0.5


def _variance(state, grad, weight, eps):
    """Move the remembered variances towards ``grad * grad`` and return what they say of it."""
    if grad.dim() <= 1:
        return state["variance"].lerp_(grad * grad, weight)
    rows, columns = state["row_var"], state["col_var"]
    rows.lerp_(grad.norm(dim=-1, keepdim=True).square_().div_(grad.size(-1)), weight)
    columns.lerp_(grad.norm(dim=-2, keepdim=True).square_().div_(grad.size(-2)), weight)
    return (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=eps))
