"""The loops of recurrent networks over layers and directions, and over packed sequences.

A state is a tuple of tensors (B, H): (h,) for RNN and GRU, (h, c) for LSTM. The weights of one
layer and direction come in PyTorch's order: w_ih, w_hh, b_ih, b_hh (None without bias), w_hr
(projection, None without).
"""

from iskra.nn import functional as F
from iskra.ops import cat, stack
from iskra.ops.recurrent import layer


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
            output, end = layer(mode, input, start, weights[place], bool(direction), batch_sizes)
            outputs.append(output)
            final.append(end)
        input = outputs[0] if directions == 1 else cat(outputs, -1)
    return input, tuple(stack(parts) for parts in zip(*final, strict=True))
