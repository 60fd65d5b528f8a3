"""A program: traced expressions, the kernels that compute them, and how to run those on arrays.

Two caches stand between a call and machine code. A *launch* is everything about one combination of
shapes and strides: which kernel, its integer arguments, the shapes of results; looking it up is
most of what a call costs. A *kernel* serves all launches whose memory layout has the same form.
"""

import numpy as np

from iskra.codegen.exactness import EXACT, ROUNDED
from iskra.codegen.expr import mapped
from iskra.codegen.extent import NotTraceable
from iskra.graph.compiled import Compiled
from iskra.graph.fuse import column_sums, partition, reductions
from iskra.graph.layout import FEW_UNITS, PANEL_ROWS, Crosswise, Plan, is_long
from iskra.runtime import memory


class Step:
    """One kernel of a launch, ready to be called."""

    __slots__ = ("kernel", "call", "reads", "shapes", "dtypes", "orders", "writes", "scalars",
                 "integers", "tasks")

    def run(self, values, scalars, into):
        """Make the results (or take `into` for the one), compute and return them."""
        if len(self.shapes) == 1:
            made = memory.empty(self.shapes[0], self.dtypes[0]) if into is None else into
            self.call(*[values[r] for r in self.reads], made,
                      *[scalars[s] for s in self.scalars], self.integers, self.tasks)
            order = self.orders[0]
            return [made if order is None else _viewed(made, order)]
        made = [memory.empty(s, d) for s, d in zip(self.shapes, self.dtypes)]
        self.call(*[values[r] for r in self.reads], *made,
                  *[scalars[s] for s in self.scalars], self.integers, self.tasks)
        return self.arranged(made)

    def arranged(self, made):
        """The results with their axes in order."""
        return [a if order is None else _viewed(a, order) for a, order in zip(made, self.orders)]


def _viewed(array, order):
    """Axes in another order; None stands for a new one of size 1."""
    moved = array.transpose([a for a in order if a is not None])
    new = [i for i, a in enumerate(order) if a is None]
    return np.expand_dims(moved, new) if new else moved


class Program:
    """Expressions that are computed together.

    `outputs` are the expressions, in terms of inputs numbered from 0 whose symbols of sizes are
    numbered too. `run` takes arrays for the inputs and numbers for the scalars.
    """

    def __init__(self, outputs):
        # What is an operand as it stands is copied.
        self.outputs = [mapped("positive", (o,), o.dtype) if o.op == "input" else o
                        for o in outputs]
        self.reductions = reductions(self.outputs)
        self.column_sums = column_sums(self.outputs)
        memory.start()  # the compiler is there: so may the allocator be
        self.launches = {}
        self.partitions = {}  # which reductions are cut or taken along -> (nests, outputs)
        self.kernels = {}

    @property
    def is_exact(self):
        """Whether NumPy would give the same bits: every element is rounded at most once.

        Places of extrema are counted among what has one answer, extrema not: zero has two signs.
        """
        seen, roundings, waiting = set(), 0, list(self.outputs)
        while waiting:
            expr = waiting.pop()
            if expr in seen:
                continue
            seen.add(expr)
            waiting += expr.args
            if expr.op == "map" and expr.attr not in EXACT:
                if expr.attr not in ROUNDED:
                    return False
                roundings += 1
            elif expr.op == "reduce" and not expr.attr[0].startswith("arg"):
                return False
        return roundings < 2

    def launch(self, arrays, sizes, into=None):
        """The steps for arrays of these shapes and strides; `sizes` by symbol."""
        long = {r for r in self.reductions if _long(r, sizes)}
        columns = {r for r in self.column_sums if _many_rows(r, sizes)}
        try:
            return self._launch(arrays, dict(sizes), into, long - columns, columns)
        except Crosswise:
            return self._launch(arrays, dict(sizes), into, long, set())

    def _launch(self, arrays, sizes, into, long, columns):
        key = frozenset(long), frozenset(columns)
        found = self.partitions.get(key)
        if found is None:
            found = self.partitions[key] = partition(self.outputs, *key)
        nests, outputs = found
        if into is not None:
            _check_into(nests, into)
        strides = {}
        steps = [self._step(nest, arrays, sizes, strides, into) for nest in nests]
        return steps, outputs

    def _step(self, nest, arrays, sizes, strides, into):
        """One kernel for these arrays; notes the strides of what it writes."""
        own = []
        for expr, _ in nest.leaves:
            if expr.op == "input":
                array = arrays[expr.attr]
                own.append(tuple(s // array.itemsize for s in array.strides))
            else:
                own.append(strides[expr])
        fixed = None if into is None else tuple(s // into.itemsize for s in into.strides)
        plan = Plan(nest, sizes, own, fixed)
        if into is not None and _shape(nest.outputs[0], plan) != into.shape:
            raise NotTraceable("a result of another shape than the array that it is written to")
        step = Step()
        step.kernel = self.kernel(nest, plan.layout)
        step.call = step.kernel.call
        step.reads = [e.attr if e.op == "input" else e for e, _ in nest.leaves]
        step.scalars = [e.attr for e in nest.scalars]
        step.shapes = [shape for shape, _ in plan.outputs]
        step.orders = [None if order == list(range(len(order))) else order
                       for _, order in plan.outputs]
        step.dtypes = [o.placed.dtype for o in nest.outputs]
        step.writes = [o.expr for o in nest.outputs]
        step.integers = plan.integers(step.kernel.arguments)
        step.tasks = plan.tasks
        for number, output in enumerate(nest.outputs, len(nest.leaves)):
            by_axis = plan.strides[number]
            strides[output.expr] = tuple(by_axis.get(a, 0) for a in output.axes)
        return step

    def kernel(self, nest, layout):
        """The kernel of a nest for operands that lie in memory like this."""
        found = self.kernels.get((nest, layout))
        if found is None:
            kinds = "a" * (len(nest.leaves) + len(nest.outputs)) + "".join(
                "f" if e.dtype.kind == "f" else "i" for e in nest.scalars) + "tn"
            found = self.kernels[nest, layout] = Compiled(nest, layout, kinds)
        return found

    def run(self, arrays, scalars, launch, into=None):
        """The outputs' arrays."""
        steps, outputs = launch
        if len(outputs) == len(steps) == 1 and len(steps[0].shapes) == 1:
            return steps[0].run(arrays, scalars, into)
        values = dict(enumerate(arrays))
        for step in steps:
            values.update(zip(step.writes, step.run(values, scalars, into)))
        return [values[o] for o in outputs]


def _check_into(nests, into):
    """A result goes into an array of the caller's where one map makes it, in its dtype."""
    if len(nests) != 1 or len(nests[0].outputs) != 1 or nests[0].reduced:
        raise NotTraceable("several kernels or reductions, written in place")
    if nests[0].outputs[0].placed.dtype != into.dtype:
        raise NotTraceable("a result of another dtype than the array that it is written to")


def _shape(output, plan):
    return tuple(1 if a is None else plan.extent[a] for a in output.axes)


def _count(shape, sizes):
    """How many elements a shape of symbols has."""
    total = 1
    for n in shape:
        total *= n if n.__class__ is int else n.of(sizes)
    return total


def _many_rows(reduction, sizes):
    """Whether there are rows enough for sums down their columns to go by panels."""
    (operand,) = reduction.args
    rows = _count([operand.shape[a] for a in reduction.attr[1]], sizes)
    return rows >= FEW_UNITS * PANEL_ROWS[0]


def _long(reduction, sizes):
    """Whether a reduction is cut into chunks, for lack of rows to share out."""
    name, axes = reduction.attr
    if name.startswith("arg") and len(axes) > 1:
        return False  # a chunk's place among several axes says nothing about the axes
    kept = _count(reduction.shape, sizes)
    # Columns are taken 16 at a time: fewer rows than that are not much to share out either.
    return is_long(min(kept, max(1, kept // 16) if kept > 16 else kept), _count(
        reduction.args[0].shape, sizes))
