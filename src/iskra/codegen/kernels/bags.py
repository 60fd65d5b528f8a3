"""Sums, means and maxima of bags of a table's rows in machine code, without copying the rows.

>>> import numpy as np
>>> table, indices = np.eye(3, dtype=np.float32), np.array([0, 2, 1, 2])
>>> reduce_bags("sum", table, indices, np.array([0, 0, 1, 4]))[0]
array([[0., 0., 0.],
       [1., 0., 0.],
       [0., 1., 2.]], dtype=float32)
"""

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import INT, Function, Type, select, smaller
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.moving import index_kind
from iskra.codegen.kernels.sharing import compiled, is_served, my_units, tasks_for
from iskra.runtime.memory import empty

_COPIES = {"sum": 16, "mean": 16, "max": 8}  # vectors of columns that are reduced together
_FAR = 1 << 18  # elements of a table that is asked for ahead of time: caches may not hold it
_AHEAD = 8  # rows
_KINDS = {"float32": "f32", "float64": "f64"}


def reduce_bags(mode, table, indices, starts, weights=None):
    """Return ``(results, chosen)``: a row for each bag, and for "max" the rows' numbers, else None.

    mode: "sum", "mean" or "max". table: (n, m), float32 or float64. indices: a vector of int32 or
    int64 within the table; bag k has those from ``starts[k]`` up to ``starts[k + 1]`` (int64).
    weights: of the table's dtype, a factor for each index (for sums). Rows are taken in one after
    another. A bag without rows gives zeros, and -1 for chosen; of equal elements the first is
    chosen, NaN is larger than any. Returns None for what kernels do not serve.
    """
    kind, index = _KINDS.get(table.dtype.name), index_kind(indices)
    bags, columns = len(starts) - 1, table.shape[1]
    if kind is None or index is None or not table.dtype.isnative:
        return None
    if not is_served(indices.size * columns) or not is_served(bags * columns):
        return None
    made = empty((bags, columns), table.dtype)
    chosen = empty(made.shape, np.dtype(np.int64)) if mode == "max" else None
    tasks = tasks_for(bags, indices.size * columns)
    form = mode, kind, index, weights is not None, table.size >= _FAR
    call = compiled(kernel, form, "aaaaaatn")
    table, indices = np.ascontiguousarray(table), np.ascontiguousarray(indices)
    weights = None if weights is None else np.ascontiguousarray(weights)
    call(table, indices, starts, weights, made, chosen, (columns, bags, tasks), tasks)
    return made, chosen


class _Bag:
    """The kernel's inner part: some columns of one bag."""

    def __init__(self, f, arg, mode, kind, index, weighted, far):
        self.f, self.arg, self.mode, self.far = f, arg, mode, far
        self.type, self.index, self.weighted = Type(kind, LANES), index, weighted

    def reduce(self, bag, column, copies, mask):
        """Reduce `copies` vectors of columns from `column` on."""
        f, arg = self.f, self.arg
        low, high = f.load(arg.starts, bag, INT), f.load(arg.starts, bag + 1, INT)
        largest = self.mode == "max"
        best = [f.variable(0, self.type) for _ in range(copies)]
        chosen = [f.variable(-1, Type("i64", LANES)) for _ in range(copies if largest else 0)]
        with f.loop(low, high) as entry:
            if self.far:
                self._ask_for(entry + _AHEAD, column, copies)
            row = self._row(entry)
            start = row * arg.columns + column
            for copy in range(copies):
                value = f.load(arg.table, start + copy * LANES, self.type, mask)
                if largest:
                    self._choose(value, row.splat(LANES), best[copy], chosen[copy])
                    continue
                if self.weighted:
                    value = value * f.load(arg.weights, entry, Type(self.type.kind))
                best[copy].set(best[copy].get() + value)
        place = bag * arg.columns + column
        for copy in range(copies):
            value = best[copy].get()
            if self.mode == "mean":
                count = high - low
                value = value / select(count > 1, count, 1).to(self.type.kind)
            f.store(value, arg.result, place + copy * LANES, mask)
            if largest:
                f.store(chosen[copy].get(), arg.chosen, place + copy * LANES, mask)

    def _row(self, entry):
        return self.f.load(self.arg.indices, entry, Type(self.index)).to("i64")

    def _ask_for(self, entry, column, copies):
        """Prefetch what a later entry, perhaps of another bag, needs of these columns."""
        f, arg = self.f, self.arg
        last = f.load(arg.starts, arg.units, INT) - 1
        start = self._row(smaller(entry, last)) * arg.columns + column
        for copy in range(copies):
            f.prefetch(arg.table, start + copy * LANES, self.type.kind)

    def _choose(self, value, row, best, chosen):
        """Take in a vector of elements of a row."""
        before, rows = best.get(), chosen.get()
        better = (value > before) | (value.ne(value) & before.eq(before)) | (rows < 0)
        best.set(select(better, value, before))
        chosen.set(select(better, row, rows))


def kernel(mode, kind, index, weighted, far):
    """A unit of work is a bag. far: whether rows are asked for ahead of time."""
    f = Function(f"bags_{mode}_{kind}_{index}{'_weighted' if weighted else ''}")
    arg = Arguments(f, ("table", "indices", "starts", "weights", "result", "chosen"),
                    ("columns", "units", "tasks"))
    bag = _Bag(f, arg, mode, kind, index, weighted, far)
    copies = _COPIES[mode]
    wide = LANES * copies
    with my_units(f, arg.units, arg.tasks) as unit:
        full = arg.columns // wide * wide
        with f.loop(0, full, wide) as column:
            bag.reduce(unit, column, copies, None)
        with f.loop(full, arg.columns, LANES) as column:
            bag.reduce(unit, column, 1, f.lanes_below(arg.columns - column, LANES))
    return f
