"""Running sums, products, extrema and sums of exponentials of NumPy arrays in machine code.

>>> import numpy as np
>>> scan("add", np.ones((2, 4096), np.float32), 1, np.dtype(np.float32))[0][:, -1]
array([4096., 4096.], dtype=float32)
"""

import math

import numpy as np

from iskra.codegen.kernels import scan_kernel
from iskra.codegen.kernels.scan_kernel import Spec
from iskra.codegen.kernels.sharing import compiled, folded, is_served, tasks_for
from iskra.codegen.primitives import KINDS, kind_of
from iskra.codegen.semantics import numpy_dtype
from iskra.runtime.memory import empty

CHUNK = 1 << 14  # elements of a chunk of a long row
_FEW = 16  # rows that are too few to keep all threads busy
_NARROWEST, _WIDEST = 128, 512  # columns that a unit of work takes together
_INT64 = np.dtype(np.int64)


def scan(name, array, axis, dtype):
    """Return a list of running results along `axis`, with the shape of `array`; None: not served.

    name: "add", "multiply", "logaddexp" (one result, of `dtype`), "maximum" or "minimum" (the
    extrema, of the array's dtype, and their places along the axis, int64: of equal ones the last;
    NaN is an extremum). array: any strides; of a dtype that kernels know but the narrow floats.
    Sums and products of float32 are kept in float64. The axis is not negative.
    """
    if not is_served(array.size) or not _is_computed(array.dtype) or not _is_computed(dtype):
        return None
    if name == "logaddexp" and dtype.kind != "f":
        return None
    order = sorted(range(array.ndim), key=lambda a: -abs(array.strides[a]))
    moved = array.transpose(order)
    if moved.flags.c_contiguous:
        found = _in_order(name, moved, order.index(axis), dtype)
        back = np.argsort(order)
        return [a.transpose(back) for a in found]
    return _in_order(name, np.ascontiguousarray(array), axis, dtype)


def _is_computed(dtype):
    return dtype.name in KINDS and dtype.isnative and dtype.name not in ("float16", "bfloat16")


def _in_order(name, array, axis, dtype):
    """The scan of a contiguous array."""
    spec = Spec(name, kind_of(array.dtype), kind_of(dtype), dtype)
    made = [empty(array.shape, dtype)]
    if name in ("maximum", "minimum"):
        made.append(empty(array.shape, _INT64))
    outer, length, inner = folded(array.shape, axis)
    if inner > 1:
        _down_columns(spec, array, made, (outer, length, inner))
    elif length >= 2 * CHUNK and outer < _FEW and not spec.running().ordered:
        _in_chunks(spec, array, made, outer, length)
    else:
        kernel = compiled(scan_kernel.rows, (spec, False), "a" + "a" * len(made) + "tn")
        tasks = tasks_for(outer, array.size)
        kernel(array, *made, (length, 1, length, outer, tasks), tasks)
    return made


def _in_chunks(spec, array, made, rows, length):
    """Few long rows: the chunks' totals, what stands before each, then the chunks."""
    chunks = math.ceil(length / CHUNK)
    units = rows * chunks
    states = [np.empty(units, numpy_dtype(kind)) for kind in spec.running().kinds]
    tasks = tasks_for(units, array.size)
    kept, numbers = "a" * len(states), (length, chunks, CHUNK, units, tasks)
    compiled(scan_kernel.totals, (spec,), f"a{kept}tn")(array, *states, numbers, tasks)
    compiled(scan_kernel.offsets, (spec,), f"{kept}tn")(*states, (rows, chunks), 1)
    kernel = compiled(scan_kernel.rows, (spec, True), "a" + "a" * len(made) + f"{kept}tn")
    kernel(array, *made, *states, numbers, tasks)


def _down_columns(spec, array, made, sizes):
    outer, length, inner = sizes
    width = _NARROWEST
    while width < _WIDEST and outer * inner > 16 * width:
        width *= 2
    segments = math.ceil(inner / width)
    units = outer * segments
    tasks = tasks_for(units, array.size)
    kernel = compiled(scan_kernel.columns, (spec, width), "a" + "a" * len(made) + "tn")
    kernel(array, *made, (length, inner, segments, units, tasks), tasks)
