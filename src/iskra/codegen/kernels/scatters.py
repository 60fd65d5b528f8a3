"""Writing to NumPy arrays at index arrays in machine code: sums and the like in the index's order.

`scatter_rows` and `scatter_along` write into `target`, a contiguous array that nobody else holds,
and return whether they did. Where they return False, NumPy must do it: anything may stand in
`target` if an index lies outside, else it is as before.

>>> import numpy as np
>>> target = np.zeros(4096)
>>> scatter_rows("add", target, np.array([7, 7]), np.array([1.0, 2.0]), 0), target[7]
(True, np.float64(3.0))
"""

import math

import numpy as np

from iskra.codegen.kernels import scatter_kernel
from iskra.codegen.kernels.moving import as_vector, flags_for, index_kind, word_of
from iskra.codegen.kernels.sharing import compiled, folded, is_served, tasks_for
from iskra.codegen.primitives import KINDS
from iskra.runtime.memory import empty

_NARROWEST, _WIDEST = 128, 1024  # columns that a unit of work takes together
_MANY = 64  # places along the index, for work to be split over them
_NONE_DROPPED = (-1,)
_UNITS = 16  # of work; so many are enough


def scatter_rows(how, target, index, values, axis, from_end=False):
    """``target[..., index[k], ...]`` takes in the k-th entry of `values` along `axis`.

    how: "set", "add", "multiply", "maximum" or "minimum", as of NumPy's functions. index: a vector
    of int32 or int64; with `from_end` those below 0 count from the end. values: of the target's
    dtype and shape, but along the axis as long as the index. The axis is not negative.
    """
    return _scatter_rows(how, target, index, values, axis, from_end)


def sum_rows(values, index, size, dropped=-1):
    """Return `size` rows of zeros, with the k-th row of `values` added at ``index[k]``, or None.

    values: (n, m) of a kernel's dtype; index: n of int32 or int64. The row `dropped` stays zero.
    None where that is not served, or an index lies outside.
    """
    target = empty((size, values.shape[1]), values.dtype)
    return target if _scatter_rows("add", target, index, values, 0, False, (dropped,)) else None


def _scatter_rows(how, target, index, values, axis, from_end, cleared=()):
    words = _words(how, target.dtype)
    kind = index_kind(index)
    if words is None or kind is None or not _are_served(target, values):
        return False
    word, count = words
    form = how, word, kind, from_end
    outer, size, inner = folded(target.shape, axis)
    inner *= count
    values = np.ascontiguousarray(values)
    if inner == 1:
        return _elements(form, True, target, index, values, (outer, size, index.size), cleared)
    far = size * inner >= scatter_kernel.FAR_ROWS
    elements = values.size + (target.size if cleared else 0)
    width, parts = _cut(outer, size, inner, elements)
    sizes = outer, size, index.size, inner
    return _across(scatter_kernel.rows, form, target, index, values, sizes,
                   elements, (width, parts, far, bool(cleared)), cleared or _NONE_DROPPED)


def scatter_along(how, target, index, values, axis):
    """``target`` takes in each of `values` at the index at its place along `axis`.

    index and values have one shape, which is the target's but along the axis; see `scatter_rows`.
    """
    shape = target.shape
    if index.shape[:axis] != shape[:axis] or index.shape[axis + 1:] != shape[axis + 1:]:
        return False
    vector = as_vector(index, axis) if index.size else None
    if vector is not None:
        return scatter_rows(how, target, vector, values, axis)
    words = _words(how, target.dtype)
    kind = index_kind(index)
    if words is None or words[1] != 1 or kind is None or not _are_served(target, values):
        return False
    form, count = (how, words[0], kind, False), index.shape[axis]
    outer, size, inner = folded(shape, axis)
    values = np.ascontiguousarray(values)
    if inner == 1:
        return _elements(form, False, target, index, values, (outer, size, count))
    sizes = outer, size, count, inner
    width, _ = _cut(outer, 1, inner, values.size)
    return _across(scatter_kernel.columns, form, target, index, values, sizes,
                   values.size, (width,))


def _words(how, dtype):
    """``(kind, how many)``: what an element consists of, each part combined by itself; or None."""
    if how == "set":
        return word_of(dtype)
    if dtype.kind == "c" and how == "add" and dtype.isnative and dtype.itemsize <= 16:
        return ("f32" if dtype.itemsize == 8 else "f64"), 2
    if dtype.name in ("float16", "bfloat16") or dtype.name not in KINDS or not dtype.isnative:
        return None
    return KINDS[dtype.name], 1


def _are_served(target, values):
    return (is_served(values.size) and is_served(2 * target.size)
            and target.dtype == values.dtype and target.flags.c_contiguous)


def _elements(form, shared, target, index, values, sizes, cleared=()):
    outer, size, count = sizes
    tasks = tasks_for(outer, values.size)
    call = compiled(scatter_kernel.elements, (form, shared, bool(cleared)), "aaaaatn")
    numbers = size, count, outer, tasks, *(cleared or _NONE_DROPPED)
    return _run(call, target, index, values, numbers, tasks)


def _cut(outer, size, inner, elements):
    """How many columns a unit of work takes, and into how many kinds of places it is cut.

    Long stretches of memory are read faster; but there should be work for some threads, where
    there are enough `elements`.
    """
    width, parts = _NARROWEST, 1
    while width < min(inner, _WIDEST) and (size >= _MANY or outer * inner > _UNITS * width):
        width *= 2
    if size >= _MANY:
        units, wanted = outer * math.ceil(inner / width), tasks_for(_UNITS, elements)
        while units * parts < wanted and 2 * parts * _NARROWEST <= min(inner, width):
            parts *= 2
    return width, parts


def _across(build, form, target, index, values, sizes, elements, variant, more=()):
    """A kernel whose units are some columns of one of the outer entries, or a part of those."""
    outer, size, count, inner = sizes
    segments = math.ceil(inner / variant[0])
    parts = math.prod(variant[1:2])
    units = outer * segments * parts
    tasks = tasks_for(units, elements)
    call = compiled(build, (form, *variant), "aaaaatn")
    numbers = size, count, inner, segments, units, tasks, *more
    return _run(call, target, index, values, numbers, tasks, listed=parts > 1)


def _run(call, target, index, values, numbers, tasks, listed=False):
    """Run a kernel; whether all indices lay inside."""
    flags = flags_for(tasks)
    mine = empty((tasks, numbers[1]), np.dtype(np.int32)) if listed else None
    call(target, np.ascontiguousarray(index), values, flags, mine, numbers, tasks)
    return not flags.any()
