"""Attention on NumPy arrays in machine code, forward and backward.

>>> import numpy as np
>>> x = np.eye(2, dtype=np.float32)
>>> out, state = forward(x, x, x, None, None, True, 1.0)
>>> out.round(4)
array([[1.    , 0.    ],
       [0.2689, 0.7311]], dtype=float32)
"""

import functools
import math

import numpy as np

from iskra.codegen.kernels.attention_backward import KeyGradient, QueryGradient
from iskra.codegen.kernels.attention_forward import Forward
from iskra.codegen.kernels.attention_tiles import spec_of
from iskra.codegen.kernels.gemm_plan import compiled
from iskra.codegen.kernels.gemm_tiles import host
from iskra.runtime.memory import empty
from iskra.runtime.native import available

_KINDS = {"float32": "f32", "float64": "f64"}
_NARROW = ("float16", "bfloat16")   # to be converted to float32 first
_MOST = 256             # elements of a query or a value: so many panels fit the stack
_FEWEST = 4             # queries: a panel of fewer is mostly empty
_SCORES = 2048          # in all: fewer are not worth a kernel's compilation
_TASKS = 16             # a launch has that many where it can, so that threads end together

# Kernels, shapes, strides and settings -> the tasks and what they need to know.
_launches = {}
_MOST_LAUNCHES = 1024


def serves(query, key, value, mask):
    """Whether the kernels take these arrays (`mask` may be None) and are expected to be quicker.

    By their class, dtypes and shapes alone. Narrow floats count as the float32 that they are to
    be converted to.
    """
    arrays = [x for x in (query, key, value, mask) if x is not None]
    if any(type(x) is not np.ndarray or x.size == 0 for x in arrays) or query.dtype != key.dtype:
        return False
    try:
        scores = np.broadcast_shapes(
            (*query.shape[:-1], 1), (*key.shape[:-2], 1, key.shape[-2]),
            (*value.shape[:-2], 1, value.shape[-2]), () if mask is None else mask.shape)
    except ValueError:
        return False
    return (query.dtype == value.dtype and query.dtype.name in (*_KINDS, *_NARROW)
            and (mask is None or mask.dtype == query.dtype or mask.dtype == bool)
            and query.shape[-1] == key.shape[-1] <= _MOST and value.shape[-1] <= _MOST
            and scores[-2:] == (query.shape[-2], key.shape[-2])
            and query.shape[-2] >= _FEWEST and np.prod(scores) >= _SCORES and available())


def forward(query, key, value, mask, kept, causal, scale, share=1.0):
    """Return ``softmax(scale * query @ key.T + mask) @ value``, and what `backward` needs of it.

    query: (..., L, E); key: (..., S, E); value: (..., S, Ev), of float32 or float64; mask: None,
    or what broadcasts to (..., L, S): bools (what takes part), or numbers to be added. causal:
    whether query i sees the keys up to number i only. kept: None, or bools (..., L, S): weights
    are multiplied by `share` where it is true, else by 0. Leading dimensions broadcast; strides
    are any. The results are (..., L, Ev) and (..., 2, L). A query that sees nothing gets zeros.
    """
    arrays = _arranged(query, key, value, mask, kept)
    batch = _batch(arrays)
    launch = _launch(Forward, arrays, batch, causal)
    queries, width = query.shape[-2], value.shape[-1]
    out = empty((*batch, queries, width), query.dtype)
    state = empty((*batch, 2, queries), query.dtype)
    launch(arrays, (out, state), scale, share)
    return out, state


def backward(grad, query, key, value, mask, kept, out, state, causal, scale, share=1.0):
    """Return the gradients for query, key and value, of the broadcast batch.

    grad: the gradient of `out`, of its shape; the others are `forward`'s operands and results.
    """
    arrays = _arranged(query, key, value, mask, kept, grad, out)
    batch, dtype = _batch(arrays), query.dtype
    query_launch = _launch(QueryGradient, arrays, batch, causal)
    key_launch = _launch(KeyGradient, arrays[:6], batch, causal)
    totals = empty((*batch, query.shape[-2]), dtype)
    results = [empty((*batch, *x.shape[-2:]), dtype) for x in (query, key, value)]
    query_launch(arrays, (state, totals, results[0]), scale, share)
    key_launch(arrays[:6], (state, totals, *results[1:]), scale, share)
    return tuple(results)


def _arranged(query, key, value, mask, *others):
    """The operands as the kernels read them: elements of a row side by side, the mask whole."""
    if mask is not None:
        mask = np.broadcast_to(mask, (*mask.shape[:-2], query.shape[-2], key.shape[-2]))
    return [x if x is None or _regular(x) else np.ascontiguousarray(x)
            for x in (query, key, value, mask, *others)]


def _regular(array):
    size = array.itemsize
    return (array.strides[-1] == size and array.flags.aligned
            and not any(s % size for s in array.strides))


def _batch(arrays):
    return np.broadcast_shapes(*[x.shape[:-2] for x in arrays if x is not None])


def _launch(kernel, arrays, batch, causal):
    """A function of the operands, the results and the scale that runs the kernel."""
    key = kernel, causal, *[None if x is None else (x.shape, x.strides, x.dtype) for x in arrays]
    launch = _launches.get(key)
    if launch is None:
        if len(_launches) >= _MOST_LAUNCHES:
            _launches.clear()
        launch = _launches[key] = _prepared(kernel, arrays, batch, causal)
    return launch


def _prepared(kernel, arrays, batch, causal):
    query, key, value, mask, kept = arrays[:5]
    kind = _KINDS[query.dtype.name]
    mask_kind = "" if mask is None else "i1" if mask.dtype == bool else kind
    rows = (key if kernel is KeyGradient else query).shape[-2]
    spec = spec_of(host(), kind, rows, query.shape[-1], value.shape[-1], mask_kind, causal,
                   kept is not None)
    run = compiled(kernel.function_of, (spec,), kernel.kinds)
    offsets = np.stack([_starts(x, batch) for x in arrays], axis=1)
    panels = -(-rows // spec.tile.columns)
    share = max(1, min(spec.panels, panels * len(offsets) // _TASKS))
    blocks = -(-panels // share)
    steps = [0 if x is None else x.strides[-2] // x.itemsize for x in arrays]
    numbers = (query.shape[-2], key.shape[-2], *steps, blocks, share)
    tasks = blocks * len(offsets)
    return lambda operands, results, *settings: run(
        *operands, *results, offsets, *settings, numbers, tasks)


def _starts(array, batch):
    """Where the matrices of an operand begin, for each of the broadcast batch, in elements."""
    if array is None:
        return np.zeros(math.prod(batch), np.int64)
    steps = [np.arange(n) * (s // array.itemsize)
             for n, s in zip(array.shape[:-2], array.strides[:-2])]
    starts = functools.reduce(np.add.outer, steps, np.int64(0))
    return np.broadcast_to(starts, batch).reshape(-1)
