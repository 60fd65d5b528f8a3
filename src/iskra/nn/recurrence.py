"""The loops of recurrent networks over layers and directions, and over packed sequences.

A state is a tuple of tensors (B, H): (h,) for RNN and GRU, (h, c) for LSTM. The weights of one
layer and direction come in PyTorch's order: w_ih, w_hh, b_ih, b_hh (None without bias), w_hr
(projection, None without).
"""

from iskra.nn import functional as F
from iskra.ops import cat, stack
from iskra.ops.recurrent import STEPS, layer


def run_layers(mode, input, state, weights, dropout, training, bidirectional, batch_sizes=None):
    """All layers over a whole sequence: (outputs, final state).

    `input` (T, B, I), or (sum, I) with `batch_sizes`; `state` tensors (layers * directions, B, H);
    `weights` one tuple per layer and direction. The outputs of two directions are joined.
    """
    directions = 2 if bidirectional else 1
    final = []
    for number in range(len(weights) // directions):
        if number and dropout and training:
            input = F.dropout(input, dropout, True)
        outputs = []
        for direction in range(directions):
            place = number * directions + direction
            start = tuple(part[place] for part in state)
            output, end = _run(mode, input, start, weights[place], direction, batch_sizes)
            outputs.append(output)
            final.append(end)
        input = outputs[0] if directions == 1 else cat(outputs, -1)
    return input, tuple(stack(parts) for parts in zip(*final, strict=True))


def _run(mode, input, state, weights, backward, batch_sizes):
    """One layer in one direction over (T, B, I), or packed data: (outputs, final state)."""
    if batch_sizes is not None:
        return _run_packed(STEPS[mode], input, state, weights, backward, batch_sizes)
    return layer(mode, input, state, weights, bool(backward))


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
