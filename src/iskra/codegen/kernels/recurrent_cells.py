"""What recurrent cells do with the products of one step: gates, and their gradients.

The formulas are written over an object `k` that reads and writes vectors of one sequence's row:
`recurrent_kernels.Forward` and `recurrent_kernels.Backward` say what its methods do.
"""

from typing import NamedTuple

from iskra.codegen.ir import select
from iskra.codegen.mathematics.activations import sigmoid
from iskra.codegen.mathematics.exponentials import tanh


class Cell(NamedTuple):
    """A mode, how many gates it has, and how many values of each element backward needs."""

    mode: str
    gates: int
    kept: int

    @property
    def in_place(self):
        """Whether these values take the place of what the inputs contributed."""
        return self.kept == self.gates


CELLS = {cell.mode: cell for cell in (
    Cell("RNN_TANH", 1, 1), Cell("RNN_RELU", 1, 1), Cell("GRU", 3, 4), Cell("LSTM", 4, 4))}


def _lstm(k):
    i, f, g, o = (k.product(n) + k.gate(n) for n in range(4))
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    before = k.load("c")
    c = f * before + i * g
    k.store(c, "c")
    k.output(o * tanh(c))
    k.keep(i, f, g, o, cell=before)


def _lstm_back(k):
    i, f, g, o = k.kept(4)
    before, carry = k.load_step("cells"), k.load("carry")
    t = tanh(f * before + i * g)
    dh = k.grad()
    dc = carry + dh * o * (1.0 - t * t)
    k.store(dc * f, "carry")
    k.put("d_gates", dc * g * i * (1.0 - i), dc * before * f * (1.0 - f),
          dc * i * (1.0 - g * g), dh * t * o * (1.0 - o))
    return o * t


def _gru(k):
    own_r, own_z, own_n = (k.product(n) for n in range(3))
    in_r, in_z, in_n = (k.gate(n) for n in range(3))
    r, z = sigmoid(in_r + own_r), sigmoid(in_z + own_z)
    n = tanh(in_n + r * own_n)
    k.output((k.before() - n) * z + n)
    k.keep(r, z, n, own_n)


def _gru_back(k):
    r, z, n, own_n = k.kept(4)
    dh = k.grad() + k.load("carry")
    k.store(dh * z, "carry")
    dz = dh * (k.load_step("states") - n) * z * (1.0 - z)
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dr = dn * own_n * r * (1.0 - r)
    k.put("d_gates", dr, dz, dn)
    k.put("d_products", dr, dz, dn * r)


def _rnn(function):
    def step(k):
        h = function(k.product(0) + k.gate(0))
        k.output(h)
        k.keep(h)
    return step


def _rnn_back(slope):
    def step(k):
        (h,) = k.kept(1)
        k.put("d_gates", slope(k.grad(), h))
    return step


def _relu(x):
    return select(x < 0.0, 0.0, x)


FORWARD = {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _rnn(tanh), "RNN_RELU": _rnn(_relu)}
BACKWARD = {
    "LSTM": _lstm_back, "GRU": _gru_back,
    "RNN_TANH": _rnn_back(lambda d, h: d * (1.0 - h * h)),
    "RNN_RELU": _rnn_back(lambda d, h: select(h > 0.0, d, 0.0)),
}
