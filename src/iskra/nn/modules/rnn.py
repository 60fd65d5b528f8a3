"""Recurrent layers and cells.

Page: https://docs.pytorch.org/docs/stable/nn.html#recurrent-layers
"""

import math
import numbers
import warnings

from iskra.nn import functional as F
from iskra.nn import init
from iskra.nn.module import Module
from iskra.nn.parameter import Parameter
from iskra.nn.recurrence import run_layers
from iskra.nn.utils.rnn import PackedSequence
from iskra.ops import empty, zeros
from iskra.ops.recurrent import STEPS

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


class RNNBase(Module):
    """What RNN, GRU and LSTM share: settings, weights, and the way around the computation.

    Source: `torch.nn.RNNBase`.

    >>> import iskra as torch
    >>> issubclass(torch.nn.LSTM, torch.nn.RNNBase)
    True
    """

    def __init__(
        self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
        dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None,
    ):
        super().__init__()
        _check_settings(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout,
                        proj_size)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                shapes = self._shapes(layer, f"_l{layer}{suffix}")
                self._all_weights.append(list(shapes))
                for name, shape in shapes.items():
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def _shapes(self, layer, suffix):
        """Name and shape of each weight of one layer and direction."""
        gates = _GATES[self.mode] * self.hidden_size
        width = self.proj_size or self.hidden_size
        below = width * (2 if self.bidirectional else 1) if layer else self.input_size
        shapes = {"weight_ih": (gates, below), "weight_hh": (gates, width)}
        if self.bias:
            shapes.update(bias_ih=(gates,), bias_hh=(gates,))
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return {name + suffix: shape for name, shape in shapes.items()}

    @property
    def _flat_weights_names(self):
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self):
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @property
    def all_weights(self):
        """The weights, one list per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self):
        """Does nothing: the weights are used as they lie."""

    def reset_parameters(self):
        """Draw all weights again, uniformly within 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0,
            "bidirectional": False,
        }
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault("proj_size", 0)
        for name in ("_flat_weights", "_flat_weights_names", "_flat_weight_refs", "all_weights"):
            self.__dict__.pop(name, None)  # of a module that PyTorch has pickled

    # ---------------------------------------------------------------- checks

    def check_input(self, input, batch_sizes):
        """RuntimeError or ValueError unless the input fits the weights."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        dims = 3 if batch_sizes is None else 2
        if input.dim() != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def _batch(self, input, batch_sizes):
        if batch_sizes is not None:
            return int(batch_sizes[0])
        return input.size(0) if self.batch_first else input.size(1)

    def get_expected_hidden_size(self, input, batch_sizes):
        """The shape that h must have."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        width = self.proj_size or self.hidden_size
        return (layers, self._batch(input, batch_sizes), width)

    def check_hidden_size(self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"):
        """RuntimeError unless `hx` has the expected shape."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input, hidden, batch_sizes):
        """All checks of one call."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The state with its batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # ---------------------------------------------------------------- computing

    def _zero_state(self, input, batch_sizes):
        shape = self.get_expected_hidden_size(input, batch_sizes)
        return zeros(shape, dtype=input.dtype, device=input.device)

    def _unsqueezed(self, hx, batched):
        """The state with a batch dimension, which it must lack just like the input."""
        expected = 3 if batched else 2
        if hx.dim() != expected:
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {expected}-D but got {hx.dim()}-D tensor"
            )
        return hx if batched else hx.unsqueeze(1)

    def _squeezed(self, hidden):
        return hidden.squeeze(1)

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead"
            )
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1
        if not batched:
            input = input.unsqueeze(batch_dim)
        if hx is None:
            self.check_input(input, None)
            hx = self._zero_state(input, None)
        else:
            hx = self._unsqueezed(hx, batched)
            self.check_forward_args(input, hx, None)
        steps = input.transpose(0, 1) if self.batch_first else input
        if steps.size(0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        output, hidden = self._run(steps, hx, None)
        output = output.transpose(0, 1) if self.batch_first else output
        if not batched:
            return output.squeeze(batch_dim), self._squeezed(hidden)
        return output, hidden

    def _forward_packed(self, packed, hx):
        data, sizes, order, back = packed
        hx = self._zero_state(data, sizes) if hx is None else self.permute_hidden(hx, order)
        self.check_forward_args(data, hx, sizes)
        output, hidden = self._run(data, hx, sizes.tolist())
        return PackedSequence(output, sizes, order, back), self.permute_hidden(hidden, back)

    def _run(self, input, hx, batch_sizes):
        output, (hidden,) = self._run_layers(input, (hx,), batch_sizes)
        return output, hidden

    def _run_layers(self, input, state, batch_sizes):
        weights = []
        for names in self._all_weights:
            found = [getattr(self, name) for name in names]
            projection = found.pop() if self.proj_size else None
            biases = found[2:] if self.bias else (None, None)
            weights.append((*found[:2], *biases, projection))
        return run_layers(
            self.mode, input, state, weights, self.dropout, self.training, self.bidirectional,
            batch_sizes,
        )


def _check_settings(
    mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size
):
    if mode not in _GATES:
        raise ValueError(f"Unrecognized RNN mode: {mode}")
    number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            f"being zeroed, not {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            "expects num_layers greater than 1, but got "
            f"dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(value, int):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu, in `num_layers` layers.

    Shapes: input (T, N, input_size), with `batch_first` (N, T, input_size), without N or a
    PackedSequence; state (layers * directions, N, hidden_size) -> outputs of the last layer (T, N,
    directions * hidden_size) and the final state.

    Source: `torch.nn.RNN`.

    >>> import iskra as torch
    >>> output, state = torch.nn.RNN(4, 3, num_layers=2)(torch.ones(5, 2, 4))
    >>> output.shape, state.shape
    (iskra.Size([5, 2, 3]), iskra.Size([2, 2, 3]))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
        batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, device=device, dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., 2014); shapes as for RNN.

    Source: `torch.nn.GRU`.

    >>> import iskra as torch
    >>> output, state = torch.nn.GRU(4, 3, bidirectional=True)(torch.ones(5, 2, 4))
    >>> output.shape, state.shape
    (iskra.Size([5, 2, 6]), iskra.Size([2, 2, 3]))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, device=None, dtype=None,
    ):
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
        )


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997); shapes as for RNN.

    The state is a pair (h, c); with `proj_size` h and the outputs have that size instead.

    Source: `torch.nn.LSTM`.

    >>> import iskra as torch
    >>> output, (h, c) = torch.nn.LSTM(4, 3, batch_first=True)(torch.ones(2, 5, 4))
    >>> output.shape, h.shape, c.shape
    (iskra.Size([2, 5, 3]), iskra.Size([1, 2, 3]), iskra.Size([1, 2, 3]))
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
        bidirectional=False, proj_size=0, device=None, dtype=None,
    ):
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )

    def get_expected_cell_size(self, input, batch_sizes):
        """The shape that c must have."""
        layers, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return (layers, batch, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        """All checks of one call."""
        self.check_input(input, batch_sizes)
        h_size = self.get_expected_hidden_size(input, batch_sizes)
        c_size = self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], h_size, "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], c_size, "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx, permutation):
        """The state with its batch in another order."""
        if permutation is None:
            return hx
        return tuple(part.index_select(1, permutation) for part in hx)

    def _zero_state(self, input, batch_sizes):
        h = super()._zero_state(input, batch_sizes)
        if not self.proj_size:
            return h, h.clone()
        shape = self.get_expected_cell_size(input, batch_sizes)
        return h, zeros(shape, dtype=input.dtype, device=input.device)

    def _unsqueezed(self, hx, batched):
        expected = 3 if batched else 2
        if any(part.dim() != expected for part in hx):
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {expected}-D but got "
                f"({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )
        return tuple(hx) if batched else tuple(part.unsqueeze(1) for part in hx)

    def _squeezed(self, hidden):
        return tuple(part.squeeze(1) for part in hidden)

    def _run(self, input, hx, batch_sizes):
        return self._run_layers(input, tuple(hx), batch_sizes)


class RNNCellBase(Module):
    """One step of a recurrent network, for loops of one's own.

    Source: `torch.nn.RNNCellBase`.

    >>> import iskra as torch
    >>> issubclass(torch.nn.GRUCell, torch.nn.RNNCellBase)
    True
    """

    _mode = None

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates, where = num_chunks * hidden_size, {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(empty((gates, input_size), **where))
        self.weight_hh = Parameter(empty((gates, hidden_size), **where))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(gates, **where)) if bias else None)
        self.reset_parameters()

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def reset_parameters(self):
        """Draw all weights again, uniformly within 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode, input, state):
        """One step from a state, a tuple or None for zeros; both without batch if the input is."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(
                f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        batched = input.dim() == 2
        input = input if batched else input.unsqueeze(0)
        self._check_sizes(input, state)
        if state is None:
            shape = (input.size(0), self.hidden_size)
            blank = zeros(shape, dtype=input.dtype, device=input.device)
            state = (blank, blank) if mode == "LSTM" else (blank,)
        elif not batched:
            state = tuple(part.unsqueeze(0) for part in state)
        gates = F.linear(input, self.weight_ih, self.bias_ih)
        state = STEPS[mode](gates, state, self.weight_hh, self.bias_hh)
        return state if batched else tuple(part.squeeze(0) for part in state)

    def _check_sizes(self, input, state):
        if input.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(1)}, "
                f"expected {self.input_size}"
            )
        for i, part in enumerate(state or ()):
            which = f"hx[{i}]" if len(state) > 1 else "hidden"
            if part.dim() not in (1, 2):
                raise ValueError(
                    f"{type(self).__name__}: Expected {which} to be 1D or 2D, "
                    f"got {part.dim()}D instead"
                )
            if part.size(-1) != self.hidden_size:
                raise RuntimeError(
                    f"{which} has inconsistent hidden_size: got {part.size(-1)}, "
                    f"expected {self.hidden_size}"
                )


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu.

    Shapes: (N, input_size), (N, hidden_size) -> (N, hidden_size), or without N.

    Source: `torch.nn.RNNCell`.

    >>> import iskra as torch
    >>> torch.nn.RNNCell(4, 3)(torch.ones(2, 4)).shape
    iskra.Size([2, 3])
    """

    def __init__(
        self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        mode = f"RNN_{self.nonlinearity.upper()}"
        if mode not in STEPS:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(mode, input, None if hx is None else (hx,))[0]


class GRUCell(RNNCellBase):
    """One step of a GRU; shapes as for RNNCell.

    Source: `torch.nn.GRUCell`.

    >>> import iskra as torch
    >>> torch.nn.GRUCell(4, 3)(torch.ones(2, 4)).shape
    iskra.Size([2, 3])
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step("GRU", input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM; the state is a pair (h, c).

    Source: `torch.nn.LSTMCell`.

    >>> import iskra as torch
    >>> h, c = torch.nn.LSTMCell(4, 3)(torch.ones(2, 4))
    >>> h.shape, c.shape
    (iskra.Size([2, 3]), iskra.Size([2, 3]))
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        return self._step("LSTM", input, None if hx is None else tuple(hx))
