"""Element-wise optimizers: one formula for an element, and the only place that writes by it.

A *formula* is a function ``formula(xp, grad, tensors, ...scalars)`` that returns the new values of
`tensors` (the parameter, then its state) and changes nothing. It is written in operators and in
functions that NumPy and `iskra.ops` name alike, so `xp` is NumPy for a plain step and `iskra.ops`
for a differentiable one. Each element is treated by itself, so a large parameter is rewritten block
by block: the formula's temporaries then stay in cache.
"""

import numpy as np

from iskra import ops
from iskra.autograd import set_grad_enabled
from iskra.core import float32, float64, get_default_dtype
from iskra.dispatch.variants import bump
from iskra.optim.optimizer import Optimizer
from iskra.tensor import Tensor, wrap

BLOCK = 16384  # elements: a float32 block of each operand and temporary fits in the L2 cache


class Elementwise(Optimizer):
    """Base of the optimizers whose step treats every element by itself, by one formula.

    A subclass defines ``_start(state, p, group)``, which fills an empty state, and
    ``_step_group(group)``, which calls `rewrite` for each parameter that ``_ready`` yields.
    """

    def step(self, closure=None):
        """Do one step for all parameters that have a gradient; return what `closure` returned.

        >>> import iskra as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([p], lr=0.25)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (p * 2).sum()
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item(), p.item()
        (2.0, 0.5)
        """
        loss = self._closure_loss(closure)
        if self.defaults.get("differentiable"):
            with set_grad_enabled(True):
                self._step_groups()
        else:
            self._step_groups()
        return loss

    def _step_groups(self):
        with np.errstate(all="ignore"):
            for group in self.param_groups:
                self._step_group(group)

    def _ready(self, group):
        """Yield ``(p, grad, state)`` for each parameter of `group` that has a gradient."""
        states = self.state
        for p in group["params"]:
            grad = p.grad
            if grad is not None:
                state = states.get(p)
                if not state:
                    state = {}
                    self._start(state, p, group)
                    if state:
                        states[p] = state
                yield p, grad, state

    def _start(self, state, p, group):
        """Fill the empty `state` of `p`; nothing is remembered unless a subclass says so."""

    def __setstate__(self, state):
        """Take up saved state, also of older PyTorch: options it lacks, counts as plain numbers."""
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self.defaults.items():
                group.setdefault(key, value)
        for entry in self.state.values():
            if isinstance(entry, dict) and isinstance(entry.get("step"), (int, float)):
                entry["step"] = scalar_tensor(entry["step"])


def scalar_tensor(value):
    """A 0-d tensor of the dtype that step counts have: float32, or float64 where it is default."""
    dtype = float64 if get_default_dtype() is float64 else float32
    return wrap(np.array(value, dtype.numpy))


def zeros_like(p):
    """Zeros of the shape, dtype and strides of `p`."""
    return wrap(np.zeros_like(p._array))


def advance(state):
    """Add one to the step count and return it as a float."""
    array = state["step"]._array
    count = array.item() + 1.0
    array[...] = count
    return count


def number(value, group):
    """An option as a formula takes it: a float, or as it is where one may differentiate by it."""
    if type(value) is float:
        return value
    if isinstance(value, Tensor):
        return value if group["differentiable"] else value.item()
    return float(value)


def lerp(start, end, weight):
    """``start + weight * (end - start)``, exact at both ends."""
    if weight < 0.5:
        return start + (end - start) * weight
    return end - (end - start) * (1 - weight)


def descent(grad, param, maximize, weight_decay):
    """The gradient to descend along: negated to climb, with the pull towards zero added."""
    if maximize:
        grad = -grad
    return grad + param * weight_decay if weight_decay else grad


def rewrite(group, formula, grad, tensors, *scalars):
    """Give `tensors` (a parameter and its state) the values that `formula` computes for them."""
    if group["differentiable"]:
        return _rewrite_tracked(formula, grad, tensors, scalars)
    arrays = [t._array for t in tensors]
    grad_array = grad._array
    if grad_array.size <= BLOCK and grad_array.dtype.kind != "c":
        for array, new in zip(arrays, formula(np, grad_array, arrays, *scalars)):
            array[...] = new
    else:
        _rewrite_blocks(formula, grad_array, arrays, scalars)
    for t in tensors:
        bump(t)


def _rewrite_blocks(formula, grad, arrays, scalars):
    for part, *rest in _blocks([real_view(a) for a in (grad, *arrays)]):
        for array, new in zip(rest, formula(np, part, rest, *scalars)):
            array[...] = new


def _blocks(arrays):
    """Yield views of equal parts of all `arrays`; all of them at once where no part is flat."""
    order = sorted(range(arrays[0].ndim), key=lambda axis: -arrays[0].strides[axis])
    arrays = [a.transpose(order) for a in arrays]
    if not all(a.flags.c_contiguous for a in arrays):
        yield arrays
        return
    flat = [a.reshape(-1) for a in arrays]
    for start in range(0, flat[0].size, BLOCK):
        yield [a[start : start + BLOCK] for a in flat]


def real_view(array):
    """`array`, or where it is complex its real and imaginary parts along a new last axis."""
    if array.dtype.kind != "c":
        return array
    real = np.empty(0, array.dtype).real.dtype
    return array[..., np.newaxis].view(real)


def _rewrite_tracked(formula, grad, tensors, scalars):
    """The same with tensors, so that the step itself can be differentiated."""
    grad, *tensors = [ops.view_as_real(t) if t.is_complex() else t for t in (grad, *tensors)]
    for t, new in zip(tensors, formula(ops, grad, tensors, *scalars)):
        t.copy_(new)
