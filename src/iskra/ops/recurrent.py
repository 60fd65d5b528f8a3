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
from iskra.ops.joining import stack
from iskra.ops.linear import linear
from iskra.ops.mathematics import tanh


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


def composed_layer(mode, input, state, weights, backwards):
    """`layer` as a composition, step by step."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    step, outputs = STEPS[mode], []
    gates = linear(input, w_ih, b_ih).unbind(0)
    for at_step in reversed(gates) if backwards else gates:
        state = step(at_step, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    return stack(outputs[::-1] if backwards else outputs), state


_INTERNAL = dict(method=False, function=False, out=False, node="StackBackward0")


@operator(**_INTERNAL, operands="grad grad_c x h c w_ih w_hh outputs cells kept", outputs=7)
def recurrent_backward(
    grad, grad_c, x, h, c, w_ih, w_hh, outputs, cells, kept, mode, backwards, needs
):
    """The gradients of `recurrent_layer` for all of its operands that need one."""
    return kernels.recurrent.backward(
        mode, grad, grad_c, x, h, c, w_ih, w_hh, outputs, cells, kept, backwards, needs
    )


def _differentiable(g, operands, needs, mode, backwards):
    """The gradients by way of the composition, to be differentiated again."""
    x, h, c, w_ih, w_hh, b_ih, b_hh = operands
    outputs, state = composed_layer(
        mode, x, (h,) if c is None else (h, c), (w_ih, w_hh, b_ih, b_hh, None), backwards)
    pairs = [(y, given) for y, given in ((outputs, g[0]), (state[-1], g[1])) if given is not None]
    wanted = [x for x, need in zip(operands, needs, strict=True) if need]
    found = iter(gradients_of(
        [y for y, _ in pairs], wanted, [given for _, given in pairs], create_graph=True,
        allow_unused=True,
    ))
    return tuple(next(found) if need else None for need in needs)


def _gradients(g, x, h, c, w_ih, w_hh, b_ih, b_hh, result, needs, mode, backwards):
    if is_grad_enabled():
        operands = (x, h, c, w_ih, w_hh, b_ih, b_hh)
        return _differentiable(g, operands, needs, mode, backwards)
    outputs, _, cells, kept = result
    return recurrent_backward(
        g[0], g[1], x, h, c, w_ih, w_hh, outputs, cells, kept, mode, backwards, needs
    )


@operator(
    **_INTERNAL, operands="x h c w_ih w_hh b_ih b_hh", outputs=4,
    grad={("x", "h", "c", "w_ih", "w_hh", "b_ih", "b_hh"): _gradients},
)
def recurrent_layer(x, h, c, w_ih, w_hh, b_ih, b_hh, mode, backwards, keep):
    """``(outputs (T, B, H), last c, all c, what backward needs)``; c only of LSTM."""
    return kernels.recurrent.forward(mode, x, h, c, w_ih, w_hh, b_ih, b_hh, backwards, keep)


def layer(mode, input, state, weights, backwards):
    """``(outputs (T, B, H), final state)`` of one layer in one direction.

    input: (T, B, I); state: tensors (B, H); weights: w_ih, w_hh, b_ih, b_hh (None without bias),
    w_hr (projection, None without).
    """
    *weights, w_hr = weights
    operands = [x for x in (input, *state, *weights) if x is not None]
    if w_hr is not None or not kernels.recurrent.serves([x._array for x in operands]):
        return composed_layer(mode, input, state, (*weights, w_hr), backwards)
    keep = is_grad_enabled() and any(x.requires_grad for x in operands)
    c = state[1] if mode == "LSTM" else None
    outputs, last, *_ = recurrent_layer(input, state[0], c, *weights, mode, backwards, keep)
    h = outputs[0 if backwards else -1]
    return outputs, (h,) if c is None else (h, last)
