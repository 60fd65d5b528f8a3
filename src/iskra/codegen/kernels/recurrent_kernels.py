"""Loop IR of what recurrent cells do with the products of one step: gates, and their gradients.

A unit of work is a row: one sequence of the batch. `size` is the width of the state.
"""

from typing import NamedTuple

from iskra.codegen.ir import Function, Type, select
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.mathematics.activations import sigmoid
from iskra.codegen.mathematics.exponentials import tanh

LANES = 16
FORWARD = ("product", "gates", "h", "c", "new_h", "new_c", "kept")
FORWARD_KINDS = "aaaaaaatn"
BACKWARD = ("kept", "grad", "back", "h", "c", "new_c", "carry", "d_gates", "d_product")
BACKWARD_KINDS = "aaaaaaaaatn"
NUMBERS = ("size", "units", "tasks")


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


class _Step:
    """A kernel while it is being written: loads and stores of rows that hold several gates."""

    def __init__(self, name, cell, kind, pointers):
        self.kind, self.cell = kind, cell
        self.vector = Type(kind, LANES)
        self.f = Function(f"{cell.mode.lower()}_{name}_{kind}")
        self.arg = Arguments(self.f, pointers, NUMBERS)

    def build(self, step):
        f, arg = self.f, self.arg
        with my_units(f, arg.units, arg.tasks) as self.row:
            with f.loop(0, arg.size, LANES) as self.column:
                self.mask = f.lanes_below(arg.size - self.column, LANES)
                step(self)
        return f

    def _index(self, gate, gates):
        return (self.row * gates + gate) * self.arg.size + self.column

    def load(self, name, gate=0, gates=1):
        """16 elements of an argument whose rows hold `gates` parts."""
        return self.f.load(getattr(self.arg, name), self._index(gate, gates), self.vector,
                           self.mask)

    def store(self, value, name, gate=0, gates=1):
        """Write 16 elements."""
        self.f.store(value, getattr(self.arg, name), self._index(gate, gates), self.mask)

    def keep(self, *values):
        """What backward needs."""
        self.put("gates" if self.cell.in_place else "kept", *values)

    def kept(self, count):
        """What forward kept."""
        return [self.load("kept", number, count) for number in range(count)]

    def put(self, name, *values):
        """Write all gates."""
        for number, value in enumerate(values):
            self.store(value, name, number, len(values))


def _lstm(k):
    i, f, g, o = (k.load("product", n, 4) + k.load("gates", n, 4) for n in range(4))
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * k.load("c") + i * g
    k.store(c, "new_c")
    k.store(o * tanh(c), "new_h")
    k.keep(i, f, g, o)


def _lstm_back(k):
    i, f, g, o = k.kept(4)
    t = tanh(k.load("new_c"))
    dh = k.load("grad") + k.load("back")
    dc = k.load("carry") + dh * o * (1.0 - t * t)
    k.store(dc * f, "carry")
    k.put("d_gates", dc * g * i * (1.0 - i), dc * k.load("c") * f * (1.0 - f),
          dc * i * (1.0 - g * g), dh * t * o * (1.0 - o))


def _gru(k):
    own_r, own_z, own_n = (k.load("product", n, 3) for n in range(3))
    in_r, in_z, in_n = (k.load("gates", n, 3) for n in range(3))
    r, z = sigmoid(in_r + own_r), sigmoid(in_z + own_z)
    n = tanh(in_n + r * own_n)
    k.store((k.load("h") - n) * z + n, "new_h")
    k.keep(r, z, n, own_n)


def _gru_back(k):
    r, z, n, own_n = k.kept(4)
    dh = k.load("grad") + k.load("back")
    k.store(dh * z, "carry")
    dz = dh * (k.load("h") - n) * z * (1.0 - z)
    dn = dh * (1.0 - z) * (1.0 - n * n)
    dr = dn * own_n * r * (1.0 - r)
    k.put("d_gates", dr, dz, dn)
    k.put("d_product", dr, dz, dn * r)


def _rnn(function):
    def step(k):
        h = function(k.load("product") + k.load("gates"))
        k.store(h, "new_h")
        k.keep(h)
    return step


def _rnn_back(slope):
    def step(k):
        (h,) = k.kept(1)
        k.put("d_gates", slope(k.load("grad") + k.load("back"), h))
    return step


def _relu(x):
    return select(x < 0.0, 0.0, x)


_STEPS = {
    "LSTM": (_lstm, _lstm_back), "GRU": (_gru, _gru_back),
    "RNN_TANH": (_rnn(tanh), _rnn_back(lambda d, h: d * (1.0 - h * h))),
    "RNN_RELU": (_rnn(_relu), _rnn_back(lambda d, h: select(h > 0.0, d, 0.0))),
}


def forward(mode, kind):
    """The kernel from one step's products and inputs to the new state.

    product, gates: (rows, gates * size); h, c, new_h, new_c: (rows, size), c only of LSTM; kept:
    (rows, `Cell.kept` * size), unless what is kept is written to `gates`.
    """
    return _Step("forward", CELLS[mode], kind, FORWARD).build(_STEPS[mode][0])


def backward(mode, kind):
    """The kernel of a step's gradient, given those of its output and by way of the next step.

    carry: of LSTM the gradient of c, replaced by that for the step before; of GRU what goes past
    the gates to h. d_product: only of GRU, of the others it is d_gates.
    """
    return _Step("backward", CELLS[mode], kind, BACKWARD).build(_STEPS[mode][1])
