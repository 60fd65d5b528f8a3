"""Muon: momentum whose matrix is made orthogonal before it is applied."""

from iskra.autograd import no_grad
from iskra.core import bfloat16
from iskra.optim.checks import check_at_least_0
from iskra.optim.optimizer import Optimizer
from iskra.optim.update import zeros_like
from iskra.tensor import Tensor


class Muon(Optimizer):
    """Muon, for the matrices of hidden layers; give biases and embeddings to another optimizer.

    The gradient is averaged into ``momentum_buffer``; the average, with `nesterov` one step
    ahead, is brought close to an orthogonal matrix by `ns_steps` Newton-Schulz iterations in
    bfloat16. `adjust_lr_fn` is ``"original"`` (None means the same), by which `lr` is multiplied
    by ``sqrt(max(1, rows / columns))``, or ``"match_rms_adamw"``, by ``0.2 * sqrt(max(rows,
    columns))``. `weight_decay` shrinks the parameter itself.

    Raises ValueError for options out of range and parameters that are not 2-D.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.eye(2))
    >>> optimizer = torch.optim.Muon([p], lr=0.5)
    >>> p.sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[p])
    ['momentum_buffer']
    """

    def __init__(
        self, params, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True,
        ns_coefficients=(3.4445, -4.775, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None,
    ):
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        check_at_least_0("learning rate", lr)
        check_at_least_0("momentum", momentum)
        check_at_least_0("weight decay", weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"Adjust learning rate function {adjust_lr_fn} is not supported; it is one of "
                "None, 'original', 'match_rms_adamw'"
            )
        super().__init__(params, {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        })
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with "
                        f"size: {p.size()}; give it to another optimizer"
                    )

    def step(self, closure=None):
        """Do one step for all parameters that have a gradient; return what `closure` returned.

        >>> import iskra as torch
        >>> optimizer = torch.optim.Muon([torch.nn.Parameter(torch.ones(2, 3))])
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
            raise RuntimeError("Muon does not support complex parameters")
        state, grad, lr = self.state[p], p.grad, float(group["lr"])
        if not state:
            state["momentum_buffer"] = zeros_like(grad)
        average = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
        if group["nesterov"]:
            average = grad.lerp(average, group["momentum"])
        change = _orthogonal(average, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.mul_(1 - lr * group["weight_decay"])
        p.add_(change, alpha=-lr * _lr_factor(group["adjust_lr_fn"], *p.shape))


def _lr_factor(name, rows, columns):
    if name == "match_rms_adamw":
        return 0.2 * max(rows, columns) ** 0.5
    return max(1, rows / columns) ** 0.5


def _orthogonal(matrix, coefficients, steps, eps):
    """A matrix near ``U @ V.T`` of ``matrix = U S V.T``: its singular values driven towards 1.

    Each iteration maps every singular value ``s`` to ``a * s + b * s**3 + c * s**5``.
    """
    if steps >= 100:
        raise ValueError(f"ns_steps must be less than 100, but got {steps}")
    if len(coefficients) != 3:
        raise ValueError(f"ns_coefficients must be three numbers, but got {len(coefficients)}")
    a, b, c = coefficients
    x = matrix.to(bfloat16)
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.T  # so that x @ x.T is the smaller of the two products
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = x.addmm(gram.addmm(gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
