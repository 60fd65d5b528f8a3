"""LBFGS: a quasi-Newton method that asks its closure for the loss several times a step."""

from iskra import ops
from iskra.autograd import enable_grad, no_grad
from iskra.optim.checks import check_lr
from iskra.optim.line_search import strong_wolfe
from iskra.optim.optimizer import Optimizer


class LBFGS(Optimizer):
    """Limited-memory BFGS, without line search or with ``line_search_fn="strong_wolfe"``.

    One step makes up to `max_iter` iterations and about `max_eval` evaluations (None: 1.25 times
    `max_iter`), and ends when no gradient exceeds `tolerance_grad` or a step or the loss changes
    less than `tolerance_change`. It keeps ``2 * history_size`` copies of all parameters. ``step``
    needs a closure that clears the gradients, computes the loss, calls ``backward`` and returns
    the loss.

    Raises ValueError for several parameter groups or a negative `lr`, RuntimeError at the step
    for an unknown line search.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.LBFGS.html

    >>> import iskra as torch
    >>> p = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    >>> optimizer = torch.optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()
    29.0
    >>> [round(x, 4) for x in p.tolist()]
    [1.0, 1.0]
    """

    def __init__(
        self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
        history_size=100, line_search_fn=None,
    ):
        check_lr(lr)
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        })
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def __setstate__(self, state):
        super().__setstate__(state)
        self._params = self.param_groups[0]["params"]

    def step(self, closure):
        """Do one step; return what the first call of `closure` returned.

        >>> import iskra as torch
        >>> p = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.LBFGS([p])
        >>> optimizer.step(lambda: (p * 0).sum()).item()
        0.0
        """
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(
                f"only 'strong_wolfe' is supported as line_search_fn, not "
                f"{group['line_search_fn']!r}"
            )
        closure = enable_grad()(closure)
        with no_grad():
            state = self.state[self._params[0]]
            state.setdefault("func_evals", 0)
            state.setdefault("n_iter", 0)
            first_loss = closure()
            state["func_evals"] += 1
            gradient = self._gradient()
            if not _flat(gradient, group):
                self._iterate(state, group, closure, float(first_loss), gradient)
        return first_loss

    def _iterate(self, state, group, closure, loss, gradient):
        """Walk until there is a reason to stop; leave in `state` what the next step needs."""
        evaluations, smallest = 1, group["tolerance_change"]
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                _forget(state, gradient)
            else:
                _remember(state, gradient, group["history_size"])
                _choose_direction(state, gradient)
            state["prev_flat_grad"], state["prev_loss"] = gradient, loss
            direction, rate = state["d"], float(group["lr"])
            if state["n_iter"] == 1:
                rate *= min(1.0, 1.0 / gradient.abs().sum().item())
            state["t"] = rate
            slope = gradient.dot(direction).item()
            if slope > -smallest:
                break
            last = iteration == group["max_iter"]
            loss, gradient, calls = self._move(state, group, closure, loss, gradient, slope, last)
            evaluations += calls
            state["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or _flat(gradient, group)
                or (direction * state["t"]).abs().max().item() <= smallest
                or abs(loss - state["prev_loss"]) < smallest
            ):
                break

    def _move(self, state, group, closure, loss, gradient, slope, last):
        """Go along the direction; return the loss and gradient there and the number of calls."""
        direction, rate = state["d"], state["t"]
        if group["line_search_fn"] is None:
            self._add(direction, rate)
            if last:  # the next step will evaluate here anyway
                return loss, gradient, 0
            loss = float(closure())
            return loss, self._gradient(), 1
        here = [p.clone() for p in self._params]

        def evaluate(t):
            self._add(direction, t)
            value = float(closure())
            found = self._gradient()
            for p, old in zip(self._params, here):
                p.copy_(old)
            return value, found

        loss, gradient, state["t"], calls = strong_wolfe(
            evaluate, rate, direction, loss, gradient, slope
        )
        self._add(direction, state["t"])
        return loss, gradient, calls

    def _gradient(self):
        """All gradients as one vector; complex ones as pairs of reals."""
        parts = []
        for p in self._params:
            grad = p.new_zeros(p.shape) if p.grad is None else p.grad
            parts.append((ops.view_as_real(grad) if grad.is_complex() else grad).reshape(-1))
        return ops.cat(parts, 0)

    def _add(self, direction, rate):
        """``p += rate * direction``, each parameter its part of the vector."""
        start = 0
        for p in self._params:
            real = ops.view_as_real(p) if p.is_complex() else p
            stop = start + real.numel()
            real.add_(direction[start:stop].view_as(real), alpha=rate)
            start = stop


def _flat(gradient, group):
    return gradient.abs().max().item() <= group["tolerance_grad"]


def _forget(state, gradient):
    """Begin with steepest descent."""
    state["d"] = -gradient
    state["old_dirs"], state["old_stps"], state["ro"] = [], [], []
    state["H_diag"] = 1


def _remember(state, gradient, size):
    """Keep how the gradient changed over the last step, if the loss curves upwards along it."""
    change = gradient - state["prev_flat_grad"]
    step = state["d"] * state["t"]
    curvature = change.dot(step)
    if curvature.item() <= 1e-10:
        return
    history = state["old_dirs"], state["old_stps"], state["ro"]
    for values, newest in zip(history, (change, step, 1.0 / curvature)):
        if len(values) == size:
            values.pop(0)
        values.append(newest)
    state["H_diag"] = curvature / change.dot(change)


def _choose_direction(state, gradient):
    """The two-loop recursion: minus the inverse Hessian, as remembered, times the gradient."""
    history = list(zip(state["old_dirs"], state["old_stps"], state["ro"]))
    direction, weights = -gradient, []
    for change, step, inverse in reversed(history):
        weight = step.dot(direction) * inverse
        direction.add_(change * -weight)
        weights.append(weight)
    direction = direction * state["H_diag"]
    for (change, step, inverse), weight in zip(history, reversed(weights)):
        direction.add_(step * (weight - change.dot(direction) * inverse))
    state["d"] = direction
