"""Sweeps: one map over many groups of arrays in one launch, as an optimizer's step needs it.

A formula gives new values for some arrays from their old ones and a gradient, element by element. A
sweep applies it to all parameters at once: the kernel reads the arrays' addresses from tables, and
the units of work are stretches of single arrays, listed with the table.
"""

import numpy as np

from iskra.codegen.expr import Expr, cast
from iskra.codegen.extent import Extent
from iskra.codegen.nest import SEGMENT, Kernel
from iskra.codegen.placement import Nest
from iskra.codegen.primitives import kind_of
from iskra.codegen.values import Layout
from iskra.graph import observers
from iskra.graph.compiled import Compiled
from iskra.graph.layout import MOST_TASKS
from iskra.runtime.native import available

_KINDS = ("float32", "float64", "float16", "bfloat16")
_sweeps = {}
_units = {}


class _SweepKernel(Kernel):
    """The kernel of a nest whose arrays stand in tables."""

    def build(self):
        f = self.function
        self.outer = []
        arrays = len(self.leaves) + len(self.nest.outputs)
        listing = f.slot(arrays + len(self.nest.scalars), "ptr")
        self.first_integer += 1
        tasks, units = self.argument("tasks"), self.argument("units")
        with f.loop(f.task * units // tasks, (f.task + 1) * units // tasks) as unit, self.block():
            place, low, high = (f.load(listing, unit * 3 + i, f.task.type) for i in range(3))
            for array in range(arrays):
                self.memo[-1]["pointer", array, ()] = f.table(f.slot(array, "ptr"), place)
            self.stretch(low, high)
        return f


class Sweep:
    """A formula compiled for tensors of given dtypes; `run` applies it."""

    def __init__(self, formula, dtypes, numbers):
        """`dtypes`: of the gradient, then of the arrays that are rewritten."""
        extent = Extent((0,))
        inputs = [Expr.input(n, d, (extent,)) for n, d in enumerate(dtypes)]
        computes_in = np.dtype(np.float64 if np.dtype(np.float64) in dtypes else np.float32)
        scalars = iter(range(len(numbers)))
        values = [
            cast(Expr.scalar(next(scalars)), computes_in) if n.__class__ is float else n
            for n in numbers
        ]
        wide = [cast(x, computes_in) for x in inputs]
        results = formula(np, wide[0], wide[1:], *values)
        nest = Nest((extent,), ())
        self.writes = []  # numbers of the arrays that change
        for place, (result, dtype) in enumerate(zip(results, dtypes[1:], strict=True), 1):
            if result is not wide[place]:
                nest.output(cast(result, dtype), (0,))
                self.writes.append(place)
        self.reads = [expr.attr for expr, _ in nest.leaves]
        self.scalars = [expr.attr for expr in nest.scalars]
        kinds = "l" * (len(self.reads) + len(self.writes)) + "f" * len(self.scalars) + "aiin"
        self.kernel = Compiled(nest, Layout(((0,),), frozenset()), kinds, _SweepKernel)
        self.call = self.kernel.call

    def run(self, columns, numbers, listing, units, tasks):
        """Apply the formula; `columns`: a list of arrays for the gradient and each tensor."""
        given = [n for n in numbers if n.__class__ is float]
        self.call(*[columns[r] for r in self.reads], *[columns[w] for w in self.writes],
                  *[given[s] for s in self.scalars], listing, tasks, units, tasks)


def sweep_arrays(formula, columns, numbers):
    """Give arrays the values that a formula computes for them; False where that can't be done.

    columns: lists of equal lengths, the gradients' arrays first, then those of each tensor that the
    formula rewrites; arrays at one place of the lists have one shape and lie in memory without gaps
    in the same order. formula: ``formula(np, gradient, tensors, *numbers)``, as in
    `iskra.optim.update`. numbers: floats are given to the kernel at each call, all else is part of
    it.
    """
    dtypes = tuple([c[0].dtype for c in columns])
    key = formula, dtypes, tuple([float if n.__class__ is float else n for n in numbers])
    found = _sweeps.get(key)
    if found is None:
        served = available() and all(d.name in _KINDS and kind_of(d) for d in dtypes)
        found = _sweeps[key] = Sweep(formula, dtypes, numbers) if served else False
    if not found:
        return False
    for observer in observers:
        observer.swept(formula, found, columns)
    found.run(columns, numbers, *_listing(tuple([a.size for a in columns[1]])))
    return True


def _listing(sizes):
    """``(array of (place, low, high) for each unit, units, tasks)`` for arrays of these sizes."""
    found = _units.get(sizes)
    if found is None:
        rows = [
            (place, low, min(low + SEGMENT, size))
            for place, size in enumerate(sizes) for low in range(0, size, SEGMENT)
        ]
        tasks = max(1, min(MOST_TASKS, sum(sizes) // SEGMENT))
        if len(_units) > 256:
            _units.clear()
        found = _units[sizes] = np.array(rows, np.int64).reshape(-1, 3), len(rows), tasks
    return found
