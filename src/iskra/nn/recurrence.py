"""The steps of recurrent networks, and the loops over time, layers and directions.

A state is a tuple of tensors (B, H): (h,) for RNN and GRU, (h, c) for LSTM. The weights of one
layer and direction come in PyTorch's order: w_ih, w_hh, b_ih, b_hh (None without bias), w_hr
(projection, None without).
"""

from iskra.nn import functional as F
from iskra.ops import cat, relu, sigmoid, stack, tanh


def rnn_tanh_step(gates, state, w_hh, b_hh, w_hr=None):
    """h' = tanh(gates + W h + b)."""
    return (tanh(gates + F.linear(state[0], w_hh, b_hh)),)


def rnn_relu_step(gates, state, w_hh, b_hh, w_hr=None):
    """h' = relu(gates + W h + b)."""
    return (relu(gates + F.linear(state[0], w_hh, b_hh)),)


def gru_step(gates, state, w_hh, b_hh, w_hr=None):
    """h' = n + z (h - n), n = tanh(gates_n + r (W_n h + b_n)); r and z are sigmoids."""
    (h,) = state
    in_r, in_z, in_n = gates.chunk(3, -1)
    own_r, own_z, own_n = F.linear(h, w_hh, b_hh).chunk(3, -1)
    reset, update = sigmoid(in_r + own_r), sigmoid(in_z + own_z)
    new = tanh(in_n + reset * own_n)
    return ((h - new) * update + new,)


def lstm_step(gates, state, w_hh, b_hh, w_hr=None):
    """c' = f c + i g, h' = o tanh(c'), then projected by w_hr if there is one."""
    h, c = state
    i, f, g, o = (gates + F.linear(h, w_hh, b_hh)).chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h if w_hr is None else F.linear(h, w_hr), c)


STEPS = {
    "RNN_TANH": rnn_tanh_step, "RNN_RELU": rnn_relu_step, "GRU": gru_step, "LSTM": lstm_step,
}


def run_layers(mode, input, state, weights, dropout, training, bidirectional, batch_sizes=None):
    """All layers over a whole sequence: (outputs, final state).

    `input` (T, B, I), or (sum, I) with `batch_sizes`; `state` tensors (layers * directions, B, H);
    `weights` one tuple per layer and direction. The outputs of two directions are joined.
    """
    directions = 2 if bidirectional else 1
    final = []
    for layer in range(len(weights) // directions):
        if layer and dropout and training:
            input = F.dropout(input, dropout, True)
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            start = tuple(part[place] for part in state)
            run = _run_packed if batch_sizes is not None else _run
            output, end = run(STEPS[mode], input, start, weights[place], direction, batch_sizes)
            outputs.append(output)
            final.append(end)
        input = outputs[0] if directions == 1 else cat(outputs, -1)
    return input, tuple(stack(parts) for parts in zip(*final, strict=True))


def _run(step, input, state, weights, backward, _):
    """One layer in one direction over (T, B, I): (outputs (T, B, H), final state)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    gates = F.linear(input, w_ih, b_ih).unbind(0)
    outputs = []
    for at_step in reversed(gates) if backward else gates:
        state = step(at_step, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    return stack(outputs[::-1] if backward else outputs), state


def _run_packed(step, input, state, weights, backward, batch_sizes):
    """The same over packed data (sum, I): sequences end (backward: begin) at their own steps."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    gates = F.linear(input, w_ih, b_ih).split(batch_sizes)
    outputs, ended = [None] * len(gates), []
    current = tuple(part[:0] for part in state) if backward else state
    for t in reversed(range(len(gates))) if backward else range(len(gates)):
        size, running = batch_sizes[t], current[0].size(0)
        if size > running:
            parts = zip(current, state, strict=True)
            current = tuple(cat([now, first[running:size]]) for now, first in parts)
        elif size < running:
            ended.append(tuple(part[size:] for part in current))
            current = tuple(part[:size] for part in current)
        current = step(gates[t], current, w_hh, b_hh, w_hr)
        outputs[t] = current[0]
    ended.append(current)
    # The sequences that ended last stand first.
    return cat(outputs), tuple(cat(parts[::-1]) for parts in zip(*ended, strict=True))
