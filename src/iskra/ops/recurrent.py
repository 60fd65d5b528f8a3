"""Recurrent layers over whole sequences, and the single steps that they are made of.

Two ways: machine code for the products and gates of a step (`recurrent_layer`, for the operands
that `iskra.codegen.kernels.recurrent.serves` names), and the steps as compositions of operators.

A state is a tuple of tensors (B, H): (h,) for RNN and GRU, (h, c) for LSTM.
"""

from iskra.autograd import grad as gradients_of
from iskra.autograd import is_grad_enabled
from iskra.codegen import kernels
from iskra.dispatch import operator
from iskra.ops.activation import relu, sigmoid
from iskra.ops.joining import cat, stack
from iskra.ops.linear import linear
from iskra.ops.mathematics import tanh
from iskra.tensor import wrap


def rnn_tanh_step(gates, state, w_hh, b_hh, w_hr=None):
    """h' = tanh(gates + W h + b)."""
    return (tanh(gates + linear(state[0], w_hh, b_hh)),)


def rnn_relu_step(gates, state, w_hh, b_hh, w_hr=None):
    """h' = relu(gates + W h + b)."""
    return (relu(gates + linear(state[0], w_hh, b_hh)),)


def gru_step(gates, state, w_hh, b_hh, w_hr=None):
    """h' = n + z (h - n), n = tanh(gates_n + r (W_n h + b_n)); r and z are sigmoids."""
    (h,) = state
    in_r, in_z, in_n = gates.chunk(3, -1)
    own_r, own_z, own_n = linear(h, w_hh, b_hh).chunk(3, -1)
    reset, update = sigmoid(in_r + own_r), sigmoid(in_z + own_z)
    new = tanh(in_n + reset * own_n)
    return ((h - new) * update + new,)


def lstm_step(gates, state, w_hh, b_hh, w_hr=None):
    """c' = f c + i g, h' = o tanh(c'), then projected by w_hr if there is one."""
    h, c = state
    i, f, g, o = (gates + linear(h, w_hh, b_hh)).chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h if w_hr is None else linear(h, w_hr), c)


STEPS = {
    "RNN_TANH": rnn_tanh_step, "RNN_RELU": rnn_relu_step, "GRU": gru_step, "LSTM": lstm_step,
}


def composed_layer(mode, input, state, weights, backwards, sizes=None):
    """`layer` as a composition, step by step."""
    if sizes is not None:
        return _composed_packed(mode, input, state, weights, backwards, sizes)
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    step, outputs = STEPS[mode], []
    gates = linear(input, w_ih, b_ih).unbind(0)
    for at_step in reversed(gates) if backwards else gates:
        state = step(at_step, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    return stack(outputs[::-1] if backwards else outputs), state


def _composed_packed(mode, input, state, weights, backwards, sizes):
    """The same over packed data: sequences end (backwards: begin) at their own steps."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    gates = linear(input, w_ih, b_ih).split(list(sizes))
    outputs, ended = [None] * len(gates), []
    current = tuple(part[:0] for part in state) if backwards else state
    for t in reversed(range(len(gates))) if backwards else range(len(gates)):
        size, running = sizes[t], current[0].size(0)
        if size > running:
            parts = zip(current, state, strict=True)
            current = tuple(cat([now, first[running:size]]) for now, first in parts)
        elif size < running:
            ended.append(tuple(part[size:] for part in current))
            current = tuple(part[:size] for part in current)
        current = STEPS[mode](gates[t], current, w_hh, b_hh, w_hr)
        outputs[t] = current[0]
    ended.append(current)
    # The sequences that ended last stand first.
    return cat(outputs), tuple(cat(parts[::-1]) for parts in zip(*ended, strict=True))


_INTERNAL = dict(method=False, function=False, out=False, node="StackBackward0")
_OPERANDS = ("x", "h", "c", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr")


@operator(**_INTERNAL, operands="grad grad_c x h c w_ih w_hh w_hr outputs cells kept", outputs=8)
def recurrent_backward(
    grad, grad_c, x, h, c, w_ih, w_hh, w_hr, outputs, cells, kept, mode, backwards, sizes, needs
):
    """The gradients of `recurrent_layer` for all of its operands that need one."""
    weights = kernels.recurrent.Weights(w_ih, w_hh, hr=w_hr)
    return kernels.recurrent.backward(
        mode, grad, grad_c, x, sizes, h, c, weights, (outputs, cells, kept), backwards, needs
    )


def _differentiable(g, operands, needs, mode, backwards, sizes):
    """The gradients by way of the composition, to be differentiated again."""
    x, h, c, *weights = operands
    outputs, state = composed_layer(
        mode, x, (h,) if c is None else (h, c), weights, backwards, sizes)
    pairs = [(y, given) for y, given in ((outputs, g[0]), (state[-1], g[1])) if given is not None]
    wanted = [x for x, need in zip(operands, needs, strict=True) if need]
    found = iter(gradients_of(
        [y for y, _ in pairs], wanted, [given for _, given in pairs], create_graph=True,
        allow_unused=True,
    ))
    return tuple(next(found) if need else None for need in needs)


def _gradients(
    g, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, result, needs, mode, backwards, sizes
):
    if is_grad_enabled():
        operands = (x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr)
        return _differentiable(g, operands, needs, mode, backwards, sizes)
    outputs, _, cells, kept = result
    return recurrent_backward(
        g[0], g[1], x, h, c, w_ih, w_hh, w_hr, outputs, cells, kept, mode, backwards, sizes, needs
    )


@operator(**_INTERNAL, operands=" ".join(_OPERANDS), outputs=4, grad={_OPERANDS: _gradients})
def recurrent_layer(x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, mode, backwards, sizes, keep):
    """``(outputs (T, B, P), last c, what backward needs)``; c only of LSTM."""
    weights = kernels.recurrent.Weights(w_ih, w_hh, b_ih, b_hh, w_hr)
    return kernels.recurrent.forward(mode, x, sizes, h, c, weights, backwards, keep)


def layer(mode, input, state, weights, backwards, sizes=None):
    """``(outputs (T, B, H), final state)`` of one layer in one direction.

    input: (T, B, I), or packed data (sum of sizes, I) with `sizes`, how many sequences each step
    has; the outputs are alike. state: tensors (B, H); weights: w_ih, w_hh, b_ih, b_hh (None without
    bias), w_hr (projection, None without).
    """
    operands = [x for x in (input, *state, *weights) if x is not None]
    steps = input.size(0) if sizes is None else len(sizes)
    if not kernels.recurrent.serves(steps, [x._array for x in operands]):
        return composed_layer(mode, input, state, weights, backwards, sizes)
    keep = is_grad_enabled() and any(x.requires_grad for x in operands)
    c = state[1] if mode == "LSTM" else None
    sizes = None if sizes is None else tuple(sizes)
    outputs, last, *_ = recurrent_layer(
        input, state[0], c, *weights, mode, backwards, sizes, keep)
    if sizes is None:
        h = outputs[0 if backwards else -1]
    elif backwards:
        h = outputs[:sizes[0]]
    else:
        h = outputs.index_select(0, wrap(kernels.recurrent.last_rows(sizes)))
    return outputs, (h,) if c is None else (h, last)
