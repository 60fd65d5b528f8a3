"""Recurrent layers over whole sequences, on NumPy arrays: products and one kernel for each step.

>>> import numpy as np
>>> h, w = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
>>> x = np.ones((3, 1, 1), np.float32)
>>> forward("RNN_RELU", x, h, None, w, w, None, None, False)[0].ravel()
array([1., 2., 3.], dtype=float32)
"""

import numpy as np

from iskra.codegen.kernels import recurrent_kernels
from iskra.codegen.kernels.products import matmul
from iskra.codegen.kernels.recurrent_kernels import BACKWARD_KINDS, CELLS, FORWARD_KINDS
from iskra.codegen.kernels.sharing import compiled, tasks_for
from iskra.codegen.primitives import kind_of
from iskra.runtime.memory import empty
from iskra.runtime.native import available

_FEWEST = 1024  # elements of all states: fewer are not worth a kernel's compilation
_COST = 16  # an element's gates take as long as moving so many elements


def serves(arrays):
    """Whether the kernels take these: an input (T, B, I), a state (B, H), the others, the weights.
    """
    first, state = arrays[:2]
    return (all(type(a) is np.ndarray and a.size and a.dtype == first.dtype for a in arrays)
            and first.dtype.name in ("float32", "float64")
            and first.shape[0] * state.size >= _FEWEST and available())


def forward(mode, x, h, c, w_ih, w_hh, b_ih, b_hh, backwards, keep=True):
    """Return (outputs (T, B, H), last c, all c, what `backward` needs of each step).

    x: (T, B, I); h, c: (B, H), c None but for LSTM; w_ih: (gates * H, I), w_hh: (gates * H, H),
    b_ih, b_hh: (gates * H,) or both None. backwards: whether the last step comes first. The second
    and third result are None but for LSTM; so are the last two unless `keep`.
    """
    cell, (steps, rows, _), size = CELLS[mode], x.shape, h.shape[-1]
    if mode != "GRU" and b_ih is not None:  # of GRU a gate comes in between
        b_ih, b_hh = b_ih + b_hh, None
    gates = matmul(x, w_ih.T, None, b_ih)
    h, c = _contiguous(h), _contiguous(c)
    outputs = empty((steps, rows, size), x.dtype)
    kept = None
    if not cell.in_place:
        kept = empty((steps if keep else 1, rows, cell.kept * size), x.dtype)
    cells = None if c is None else empty((steps if keep else 2, rows, size), x.dtype)
    # Columns side by side: no step has to arrange them anew.
    transposed = np.ascontiguousarray(w_hh.T)
    product = empty((rows, cell.gates * size), x.dtype)
    kernel, tasks = _kernel("forward", mode, x), tasks_for(rows, rows * size * _COST)
    for step in _order(steps, backwards):
        matmul(h, transposed, product, b_hh)
        new_h, new_c = outputs[step], None if c is None else cells[step if keep else step % 2]
        kernel(product, gates[step], h, c, new_h, new_c,
               None if kept is None else kept[step if keep else 0], (size, rows, tasks), tasks)
        h, c = new_h, new_c
    last = None if c is None else c.copy()
    if not keep:
        return outputs, last, None, None
    return outputs, last, cells, gates if kept is None else kept


def backward(mode, grad, grad_c, x, h, c, w_ih, w_hh, outputs, cells, kept, backwards, needs):
    """Return the gradients of `forward` for x, h, c, w_ih, w_hh, b_ih and b_hh.

    grad: that of `outputs`, grad_c: that of the last c; either may be None. needs: which gradients
    are wanted; the others are None.
    """
    h, c = _contiguous(h), _contiguous(c)
    grad = np.zeros(outputs.shape, outputs.dtype) if grad is None else _contiguous(grad)
    gates, products, back, carry = _through_time(
        mode, grad, grad_c, h, c, np.ascontiguousarray(w_hh), outputs, cells, kept, backwards)
    flat = gates.reshape(-1, gates.shape[-1])
    found = [None, back, carry if mode == "LSTM" else None, None, None, None, None]
    if needs[0]:
        found[0] = matmul(gates, w_ih)
    if needs[3]:
        found[3] = matmul(flat.T, x.reshape(len(flat), -1))
    if needs[4]:
        found[4] = _sum_of_products(products, outputs, h, backwards)
    if needs[5] or needs[6]:
        found[5] = found[6] = np.add.reduce(flat, 0)
        if products is not gates:
            found[6] = np.add.reduce(products, (0, 1))
    return tuple(a if need else None for a, need in zip(found, needs))


def _through_time(mode, grad, grad_c, h, c, w_hh, outputs, cells, kept, backwards):
    """The gradients of all gates, of all products with the state, of h, of c (or None)."""
    (steps, rows, size), cell, dtype = outputs.shape, CELLS[mode], outputs.dtype
    gates = empty((steps, rows, cell.gates * size), dtype)
    products = empty(gates.shape, dtype) if mode == "GRU" else gates
    back, carry = np.zeros((rows, size), dtype), None
    if mode in ("LSTM", "GRU"):
        carry = np.zeros((rows, size), dtype) if grad_c is None else grad_c.copy(order="C")
    past = carry if mode == "GRU" else None  # what goes past the gates to h
    kernel, tasks = _kernel("backward", mode, grad), tasks_for(rows, rows * size * _COST)
    order = _order(steps, backwards)
    for place in reversed(range(steps)):
        step, before, before_c, now_c = order[place], h, c, None
        if place:
            before = outputs[order[place - 1]]
        if c is not None:
            now_c = cells[step]
            before_c = cells[order[place - 1]] if place else c
        kernel(kept[step], grad[step], back, before, before_c, now_c, carry, gates[step],
               None if products is gates else products[step], (size, rows, tasks), tasks)
        matmul(products[step], w_hh, back, residual=past)
    return gates, products, back, carry


def _contiguous(array):
    return None if array is None else np.ascontiguousarray(array)


def _order(steps, backwards):
    return range(steps - 1, -1, -1) if backwards else range(steps)


def _sum_of_products(products, outputs, h, backwards):
    """The weight's gradient: of each step, its gates times the state before."""
    first = products[-1 if backwards else 0]
    total = matmul(first.T, h)
    if len(products) == 1:
        return total
    later, states = (products[:-1], outputs[1:]) if backwards else (products[1:], outputs[:-1])
    later = later.reshape(-1, later.shape[-1])
    return matmul(later.T, states.reshape(-1, states.shape[-1]), residual=total)


def _kernel(direction, mode, array):
    kinds = FORWARD_KINDS if direction == "forward" else BACKWARD_KINDS
    build = getattr(recurrent_kernels, direction)
    return compiled(build, (mode, kind_of(array.dtype)), kinds)
