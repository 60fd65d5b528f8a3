"""Recurrent layers over whole sequences, on NumPy arrays.

>>> import numpy as np
>>> h, w = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
>>> x = np.ones((3, 1, 1), np.float32)
>>> forward("RNN_RELU", x, None, h, None, Weights(w, w), False)[0].ravel()
array([1., 2., 3.], dtype=float32)
"""

import functools
from typing import NamedTuple

import numpy as np

from iskra.codegen.kernels import recurrent_kernels
from iskra.codegen.kernels.gemm_kernel import COPIED, PACK_KINDS, TURNED, pack_ahead
from iskra.codegen.kernels.gemm_plan import workspace
from iskra.codegen.kernels.gemm_tiles import Tile, host
from iskra.codegen.kernels.products import matmul
from iskra.codegen.kernels.recurrent_cells import CELLS
from iskra.codegen.kernels.recurrent_kernels import (
    BACKWARD_KINDS,
    FORWARD_KINDS,
    MOST_ROWS,
    Spec,
    stage_of,
)
from iskra.codegen.kernels.sharing import compiled
from iskra.codegen.primitives import kind_of
from iskra.runtime.memory import empty
from iskra.runtime.native import available

_FEWEST = 1024  # elements of all states: fewer are not worth a kernel's compilation
_CHUNK = 8      # sequences that a task should have
_CACHED = 1 << 21  # bytes of weights that every task may read for itself
_PART = 1 << 16    # bytes of weights that are worth a task of their own


_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Weights(NamedTuple):
    """The weights of a layer: (gates * H, I), (gates * H, P), (gates * H,) twice, (P, H)."""

    ih: object
    hh: object
    b_ih: object = None
    b_hh: object = None
    hr: object = None


class _Cut(NamedTuple):
    """How a layer is shared out: chunks of sequences, parts of columns; whether by steps."""

    chunks: int
    parts: int
    by_steps: bool


def serves(steps, arrays):
    """Whether the kernels take these: an input (..., I), a state (B, P), the others, the weights.
    """
    first, state = arrays[:2]
    return (all(type(a) is np.ndarray and a.size and a.dtype == first.dtype for a in arrays)
            and first.dtype in _FLOATS
            and steps * state.size >= _FEWEST and available())


def forward(mode, x, sizes, h, c, weights, backwards, keep=True):
    """Return (outputs (..., P), last c, and what `backward` needs: cells, kept).

    x: (T, B, I), or (sum of sizes, I) with `sizes`, a tuple of how many sequences each step has,
    which never grows; h: (B, P), c: (B, H), None but for LSTM; weights: `Weights`; backwards:
    whether the last step comes first. P is H without a projection. What a mode has not is None, and
    so is what backward needs unless `keep`.
    """
    cell, dtype, rows = CELLS[mode], x.dtype, len(h)
    size, state = weights.hh.shape[0] // cell.gates, h.shape[1]
    b_ih, b_hh = weights.b_ih, weights.b_hh
    if mode != "GRU" and b_ih is not None:  # of GRU a gate comes in between
        b_ih, b_hh = b_ih + b_hh, None
    gates = matmul(x, weights.ih.T, None, b_ih)
    outputs, total = empty((*x.shape[:-1], state), dtype), gates.size // gates.shape[-1]
    kept = empty((total, cell.kept * size), dtype) if keep and not cell.in_place else None
    cells = empty((total, size), dtype) if keep and mode == "LSTM" else None
    hidden = None if weights.hr is None else empty((rows, size), dtype)
    last = None if c is None else c.copy(order="C")
    cut = _cut(rows, weights)
    gates_of_stages = (cell.gates,) if hidden is None else (cell.gates, 1)
    spec = _spec(mode, dtype, -(-rows // cut.chunks), gates_of_stages, b_hh is not None, keep)
    kernel = compiled(recurrent_kernels.forward, (spec,), FORWARD_KINDS)
    packed = _packed(weights.hh, cell.gates, TURNED)
    projection = None if hidden is None else _packed(weights.hr, 1, TURNED)
    states = np.empty((2, *h.shape), dtype)
    states[:] = h
    _run(kernel, [packed, projection, b_hh, gates, states, last, outputs, cells, kept, hidden],
         (size, state, rows), cut, _starts(x, sizes), backwards)
    if not keep:
        return outputs, last, None, None
    return outputs, last, cells, gates if kept is None else kept


def backward(mode, grad, grad_c, x, sizes, h, c, weights, saved, backwards, needs):
    """Return the gradients of `forward` for x, h, c and each of the weights.

    grad: that of the outputs, grad_c: that of the last c; either may be None. saved: the outputs
    and what `forward` kept. needs: which gradients are wanted; the others are None.
    """
    outputs, cells, kept = saved
    cell, dtype, rows, state = CELLS[mode], x.dtype, len(h), h.shape[1]
    size = weights.hh.shape[0] // cell.gates
    grad = np.zeros(outputs.shape, dtype) if grad is None else np.ascontiguousarray(grad)
    starts = _starts(x, sizes)
    total = int(starts[-1])
    states = _states_before(outputs.reshape(total, state), h, starts, backwards)
    carry = None
    if mode in ("LSTM", "GRU"):
        carry = np.zeros((rows, size), dtype) if grad_c is None else grad_c.copy(order="C")
    d_gates = empty((total, cell.gates * size), dtype)
    d_products = empty(d_gates.shape, dtype) if mode == "GRU" else d_gates
    d_outputs = projection = hidden = None
    if weights.hr is not None:
        d_outputs, hidden = empty((total, state), dtype), empty((total, size), dtype)
        projection = _packed(weights.hr, 1, COPIED)
    cut = _cut(rows, weights)
    spec = _spec(mode, dtype, -(-rows // cut.chunks), (1,) if projection is None else (1, 1))
    kernel = compiled(recurrent_kernels.backward, (spec,), BACKWARD_KINDS)
    packed = _packed(weights.hh, 1, COPIED)
    _run(kernel, [packed, projection, kept, grad, states, cells, carry, d_gates,
                  d_products if mode == "GRU" else None, d_outputs, hidden],
         (size, state, rows), cut, starts, not backwards)
    found = [None] * 8
    if needs[0]:
        found[0] = matmul(d_gates, weights.ih).reshape(x.shape)
    if needs[1]:
        first = d_products[_first_rows(starts, rows, backwards)]
        found[1] = matmul(first, weights.hh, residual=carry if mode == "GRU" else None)
    if needs[2] and mode == "LSTM":
        found[2] = carry
    if needs[3]:
        found[3] = matmul(d_gates.T, x.reshape(total, -1))
    if needs[4]:
        found[4] = matmul(d_products.T, states)
    if needs[5] or needs[6]:
        found[5] = found[6] = np.add.reduce(d_gates, 0)
        if d_products is not d_gates:
            found[6] = np.add.reduce(d_products, 0)
    if needs[7] and projection is not None:
        found[7] = matmul(d_outputs.T, hidden)
    return tuple(a if need else None for a, need in zip(found, needs))


def _starts(x, sizes):
    """Where each step's rows begin, and the end of the last one's."""
    if sizes is None:
        return np.arange(x.shape[0] + 1, dtype=np.int64) * x.shape[1]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _states_before(outputs, h, starts, backwards):
    """The state before each row of `outputs`."""
    found, steps = np.empty_like(outputs), len(starts) - 1
    if len(outputs) == steps * len(h):  # as many in each step
        split = len(outputs) - len(h)
        if backwards:
            found[:split], found[split:] = outputs[len(h):], h
        else:
            found[len(h):], found[:len(h)] = outputs[:split], h
        return found
    for step in range(steps):
        start, end = starts[step], starts[step + 1]
        before = step + 1 if backwards else step - 1
        there = 0
        if 0 <= before < steps:
            there = min(end - start, starts[before + 1] - starts[before])
            found[start:start + there] = outputs[starts[before]:starts[before] + there]
        found[start + there:end] = h[there:end - start]
    return found


def _first_rows(starts, rows, backwards):
    """The row of each sequence's first step."""
    return _last_rows(starts, rows) if backwards else np.arange(rows)


def _last_rows(starts, rows):
    """The row of each sequence's last element."""
    lengths = (np.diff(starts)[:, None] > np.arange(rows)).sum(0)
    return starts[lengths - 1] + np.arange(rows)


def last_rows(sizes):
    """The rows of packed data where the sequences end.

    >>> last_rows((3, 1))
    array([3, 1, 2])
    """
    return _last_rows(_starts(None, sizes), sizes[0])


def _cut(rows, weights):
    """Sequences are shared out as long as each task may read all weights for itself."""
    chunks = max(-(-rows // MOST_ROWS), min(16, -(-rows // _CHUNK)))
    size = weights.hh.nbytes
    if weights.hr is not None or size <= _CACHED and (chunks > 1 or size <= _PART):
        return _Cut(chunks, 1, False)
    chunks = -(-rows // MOST_ROWS)
    return _Cut(chunks, max(1, min(-(-16 // chunks), size // _PART)), True)


@functools.lru_cache(256)
def _spec(mode, dtype, rows, gates, bias=False, keep=False):
    """What to compile for chunks of so many rows; gates: of each product of a step."""
    machine = host()
    stages = tuple(stage_of(machine, n, rows) for n in gates)
    return Spec(machine, mode, kind_of(dtype), stages, bias, keep)


def _run(kernel, arrays, numbers, cut, starts, backwards):
    """Run a kernel over all steps."""
    steps = len(starts) - 1
    origin, direction = (steps - 1, -1) if backwards else (0, 1)
    pieces = [(i, i + 1) for i in range(steps)] if cut.by_steps else [(0, steps)]
    tasks = cut.chunks * cut.parts
    for piece in pieces:
        kernel(starts, *arrays, (*numbers, cut.chunks, cut.parts, origin, direction, *piece), tasks)


def _packed(weights, gates, layout):
    """The weights as the kernels read them: for a vector of a gate's columns at a time, k by k.

    layout: COPIED for a product with `weights`, TURNED for one with their transpose.
    """
    weights = np.ascontiguousarray(weights)
    kernel, size, *rest = _packing(weights.shape, weights.dtype, gates, layout)
    packed = workspace(size, weights.dtype)
    kernel(weights, packed, *rest)
    return packed


@functools.lru_cache(256)
def _packing(shape, dtype, gates, layout):
    """How to pack weights: the kernel, the room that is wanted, the kernel's other arguments."""
    kind = kind_of(dtype)
    tile, (rows, columns) = Tile(host(), kind, 1, 1), shape
    if layout == COPIED:
        count, inner, strides = columns, rows, (columns, 1)
    else:
        count, inner, strides = rows // gates, columns, (1, columns)
    panels = -(-count // tile.lanes)
    size = -(-inner // tile.lanes) * tile.lanes * tile.lanes
    offsets = np.zeros((gates, 3), np.int64)
    offsets[:, 1] = np.arange(gates) * (rows * columns // gates)
    share = max(1, min(panels, (1 << 13) // size))
    kernel = compiled(pack_ahead, (tile, layout, kind, True), PACK_KINDS)
    return (kernel, gates * panels * size, offsets, (count, inner, *strides, panels, share),
            gates * -(-panels // share))
