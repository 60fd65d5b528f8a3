"""Element-wise optimizers: one formula for an element, and the only place that writes by it.

A *formula* is a function ``formula(xp, grad, tensors, ...)`` that returns the new values of
`tensors` (the parameter, then its state) and changes nothing. It is written in operators and in
functions that NumPy and `iskra.ops` name alike, so `xp` is NumPy for a plain step and `iskra.ops`
for a differentiable one. Each element is treated by itself, so a large parameter is rewritten block
by block: the formula's temporaries then stay in cache.
"""

import numpy as np

from iskra import graph, ops
from iskra.autograd import set_grad_enabled
from iskra.core import complex128, float32, float64, get_default_dtype
from iskra.core.interception import wants_operators
from iskra.dispatch.execute import quietly
from iskra.dispatch.variants import bump
from iskra.optim.optimizer import Optimizer
from iskra.tensor import Tensor, storage_of, wrap

BLOCK = 16384  # elements: a float32 block of each operand and temporary fits in the L2 cache


class Elementwise(Optimizer):
    """Base of the optimizers whose step treats every element by itself, by one formula.

    A subclass defines

    - ``_names(group)``: the names of the state tensors that the formula rewrites, in its order;
    - ``_numbers(group, step, state)``: the formula's further arguments at a step. Floats stand for
      numbers to compute with, all else for switches;
    - ``_formula``, the formula.
    """

    # Whether the numbers also depend on the parameter's state, not on the step count alone.
    _own_numbers = False

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
        loss = None if closure is None else self._closure_loss(closure)
        if self.defaults.get("differentiable"):
            with set_grad_enabled(True):
                self._step_groups()
        else:
            quietly(self._step_groups)
        return loss

    def _step_groups(self):
        for group in self.param_groups:
            self._step_group(group)

    def _step_group(self, group):
        names, formula = self._names(group), self._formula
        remembers, own_numbers = self._remembers(group), self._own_numbers
        bundles = {}  # (step count, dtype) -> numbers, and the parameters that share them
        state, step = {}, None
        for p in group["params"]:
            grad = p._grad
            if grad is None:
                continue
            if remembers:
                state = self.state[p]
                step = self._count(state, p, group)
            key = (step, p._dtype, p) if own_numbers else (step, p._dtype)
            bundle = bundles.get(key)
            if bundle is None:
                numbers = self._numbers(group, step, state)
                bundle = bundles[key] = numbers, []
            bundle[1].append((grad, [p, *[state[name] for name in names]]))
        for numbers, members in bundles.values():
            rewrite_all(group, formula, members, numbers)

    def _remembers(self, group):
        """Whether parameters have a state."""
        return True

    def _count(self, state, p, group):
        """Begin the state if it is empty; return the step count, this step included."""
        if not state:
            self._start(state, p, group)
        return advance(state)

    def _start(self, state, p, group):
        """Fill the empty `state` of `p`: the step count, and zeros for each state tensor."""
        state["step"] = scalar_tensor(0.0)
        for name in self._names(group):
            state[name] = zeros_like(p)

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


def decay(group):
    """The weight decay as a formula takes it: None where there is none."""
    value = number(group["weight_decay"], group)
    return None if value.__class__ is float and value == 0 else value


def decays(group, lr):
    """``(keep, weight_decay)``: what to multiply the parameter by, or what to add of it.

    One of them is None, or both: with decoupled weight decay the parameter itself shrinks.
    """
    weight_decay = decay(group)
    if weight_decay is not None and group["decoupled_weight_decay"]:
        return 1 - lr * weight_decay, None
    return None, weight_decay


def prepared(numbers, p):
    """`numbers` with floats as 0-d arrays of the dtype in which `p` is computed.

    That rounds them as they would be rounded in each operation, at half the cost of an operation.
    """
    if p._array.__class__ is not np.ndarray:
        return numbers
    dtype = np.float64 if p._dtype in (float64, complex128) else np.float32
    return [np.array(n, dtype) if n.__class__ is float else n for n in numbers]


def lerp(start, end, weight, near):
    """``start + weight * (end - start)``; `near`, that `weight` is below a half.

    Two ways to write it, so that it is exact at both ends. The comparison itself would cost more
    than all the rest.
    """
    if near:
        return start + (end - start) * weight
    return end - (end - start) * (1 - weight)


def descent(grad, param, maximize, weight_decay):
    """The gradient to descend along: negated to climb, with the pull towards zero added."""
    if maximize:
        grad = -grad
    return grad if weight_decay is None else grad + param * weight_decay


def rewrite_all(group, formula, members, numbers):
    """`rewrite` for several parameters: in one kernel, those whose memory allows it."""
    if group["differentiable"] or wants_operators():
        with set_grad_enabled(group["differentiable"]):
            for grad, tensors in members:
                _rewrite_tracked(formula, grad, tensors, numbers)
        return
    columns = [[grad._array for grad, _ in members]]
    for tensors in zip(*[tensors for _, tensors in members]):
        columns.append([t._array for t in tensors])
    if all(map(_are_alike, columns)) and graph.sweep_arrays(formula, columns, numbers):
        for _, tensors in members:
            for t in tensors:
                (t._storage if t._storage is not None else storage_of(t)).version += 1
        return
    for grad, tensors in _swept(formula, members, numbers):
        rewrite(formula, grad, tensors, numbers)


def _are_alike(arrays):
    """Whether all arrays lie in memory without gaps and have one dtype."""
    dtype = arrays[0].dtype
    for array in arrays:
        if array.dtype is not dtype or array.__class__ is not np.ndarray:
            return False
        if not array.flags.c_contiguous:
            return False
    return True


def _swept(formula, members, numbers):
    """Rewrite in one kernel those members that fit together; return the others."""
    columns, done, left = None, [], []
    for member in members:
        arrays = [member[0]._array, *[t._array for t in member[1]]]
        if columns is None:
            columns = [[] for _ in arrays]
            dtypes = [a.dtype for a in arrays]
        if [a.dtype for a in arrays] == dtypes and all(map(_is_plain, arrays)):
            done.append(member[1])
            for column, array in zip(columns, arrays):
                column.append(array)
        else:
            left.append(member)
    if not done or not graph.sweep_arrays(formula, columns, numbers):
        return members
    for tensors in done:
        for t in tensors:
            bump(t)
    return left


def _is_plain(array):
    return array.__class__ is np.ndarray and array.flags.c_contiguous


def rewrite(formula, grad, tensors, numbers):
    """Give `tensors` (a parameter and its state) the values that `formula` computes for them."""
    numbers = prepared(numbers, tensors[0])
    arrays = [t._array for t in tensors]
    grad_array = grad._array
    if grad_array.size <= BLOCK and grad_array.dtype.char in "fd":
        for array, new in zip(arrays, formula(np, grad_array, arrays, *numbers)):
            array[...] = new
    else:
        _rewrite_blocks(formula, grad_array, arrays, numbers)
    for t in tensors:
        bump(t)


def _rewrite_blocks(formula, grad, arrays, numbers):
    for part, *rest in _blocks([real_view(a) for a in (grad, *arrays)]):
        news = formula(np, _wide(part), [_wide(a) for a in rest], *numbers)
        for array, new in zip(rest, news):
            array[...] = new


def _blocks(arrays):
    """Yield views of equal parts of all `arrays`, or all of them at once.

    That is where no part is flat, and where they lie on a GPU, which has no such cache to fill.
    """
    if arrays[0].__class__ is not np.ndarray:
        yield arrays
        return
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


def _wide(array):
    """Narrow floats are computed with in float32, and rounded when the result is stored."""
    return array if array.itemsize > 2 else array.astype(np.float32)


def _rewrite_tracked(formula, grad, tensors, numbers):
    """The same with tensors, so that the step itself can be differentiated."""
    grad, *tensors = [ops.view_as_real(t) if t.is_complex() else t for t in (grad, *tensors)]
    # Copies, since the originals are written to while the graph may still need these values.
    values = [t.clone() for t in tensors]
    for t, new in zip(tensors, formula(ops, grad, values, *numbers)):
        t.copy_(new)
