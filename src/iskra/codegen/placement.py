"""Placing expressions in the space over which a kernel loops.

A `Nest` is one kernel before its loops are written: a *space* of axes, some of them reduced; the
*leaves* that it reads (operands and results of earlier kernels); the *outputs* that it writes. In
it, expressions have lost their shapes: a `Placed` knows along which axes of the space it varies.
One that varies along no reduced axis is one value per row and is computed between the passes over
the row.
"""

import functools

from iskra.codegen.extent import Extent, NotTraceable
from iskra.codegen.primitives import EXPENSIVE


class Placed:
    """An expression in a space; equal ones are one object."""

    __slots__ = ("op", "args", "attr", "dtype", "varies", "axes", "depth", "cost")

    def __init__(self, op, args, attr, dtype, varies, axes=()):
        self.op = op
        self.args = args
        self.attr = attr
        self.dtype = dtype
        self.varies = varies  # the axes of the space along which values differ
        self.axes = axes  # a leaf's own axes: an axis of the space, None, or a Placed position
        below = [a.depth for a in args] + [a.depth for a in axes if isinstance(a, Placed)]
        self.depth = max(below, default=0) + (op == "reduce")  # passes that must come before it
        self.cost = 8 if op == "map" and attr in EXPENSIVE else 1


class Output:
    """What a nest writes: an expression, and its axes in the space.

    With `summed` what is written are the sums of `placed` down each panel of rows.
    """

    __slots__ = ("expr", "placed", "axes", "summed")

    def __init__(self, expr, placed, axes, summed=False):
        self.expr = expr
        self.placed = placed
        self.axes = axes
        self.summed = summed


class Nest:
    """One kernel: a space, leaves, outputs. Expressions are added by `place`."""

    def __init__(self, shape, reduced, split=False, panels=None):
        self.extents = list(shape)  # of each axis of the space
        self.reduced = frozenset(reduced)
        # Whether the first reduced axis is cut into chunks, each reduced by itself; the chunks'
        # numbers are the last axis of the space then.
        self.chunk = len(self.extents) if split else None
        if split:
            self.extents.append(Extent((-1,)))
        # Where sums down the columns are taken beside reductions along the rows, rows come in
        # panels, each with sums of its own; the panels' numbers are the last axis then.
        self.panel = None if panels is None else len(self.extents)
        if panels is not None:
            self.extents.append(panels)
        self.given = set()  # expressions that are read, not computed: results of other kernels
        # What is read, and how: (expression, for each of its axes where it lies) -> its number.
        self.leaves = {}
        self.scalars = {}  # numbers that are given at each call -> their numbers
        self.outputs = []
        self.rigid = set()  # axes whose positions matter, which cannot be merged with others
        self._known = {}

    @functools.cached_property
    def cost(self):
        """What an element costs, in additions; asked for when all outputs are there."""
        return sum(p.cost for p in topological(o.placed for o in self.outputs))

    @property
    def kept(self):
        """The axes that are not reduced."""
        return [a for a in range(len(self.extents)) if a not in self.reduced]

    def _node(self, op, args, attr, dtype, varies, axes=()):
        key = op, args, repr(attr) if op == "const" else attr, dtype, axes
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Placed(op, args, attr, dtype, frozenset(varies), axes)
        return found

    def output(self, expr, axes):
        """Have `expr` written, its axes being those of the space that `axes` names.

        What lies along the panels is a sum down the columns.
        """
        if self.panel is not None and self.panel in axes:
            (operand,) = expr.args
            placed = self.place(operand, tuple(range(self.panel)))
            self.outputs.append(Output(expr, placed, axes, summed=True))
        else:
            self.outputs.append(Output(expr, self.place(expr, axes), axes))

    def place(self, expr, axes):
        """`expr` in this space; `axes` tells for each of its axes which one of the space it is."""
        if expr in self.given:
            return self._leaf(expr, axes)
        return getattr(self, "_place_" + expr.op)(expr, axes)

    def _leaf(self, expr, axes):
        leaf = expr, tuple(axes)
        varies = set()
        for axis in axes:
            if isinstance(axis, Placed):
                varies |= axis.varies
            elif axis is not None:
                varies.add(axis)
        number = self.leaves.setdefault(leaf, len(self.leaves))
        return self._node("leaf", (), number, expr.dtype, varies, tuple(axes))

    _place_input = _leaf

    def _place_scalar(self, expr, axes):
        number = self.scalars.setdefault(expr, len(self.scalars))
        return self._node("scalar", (), number, expr.dtype, ())

    def _place_const(self, expr, axes):
        return self._node("const", (), expr.attr, expr.dtype, ())

    def _place_extent(self, expr, axes):
        return self._node("extent", (), expr.attr, expr.dtype, ())

    def _place_cast(self, expr, axes):
        operand = self.place(expr.args[0], axes)
        return self._node("cast", (operand,), None, expr.dtype, operand.varies)

    def _place_map(self, expr, axes):
        operands = tuple(self.place(a, _aligned(a, axes)) for a in expr.args)
        varies = frozenset().union(*(p.varies for p in operands))
        return self._node("map", operands, expr.attr, expr.dtype, varies)

    def _place_ordered(self, expr, axes):
        return self.place(expr.args[0], axes)

    def _place_expand(self, expr, axes):
        (operand,) = expr.args
        return self.place(operand, _aligned(operand, axes))

    def _place_axes(self, expr, axes):
        (operand,) = expr.args
        inner = [None] * operand.ndim
        for axis, place in zip(expr.attr, axes):
            if axis is not None and operand.shape[axis].__class__ is Extent:
                inner[axis] = place
        return self.place(operand, tuple(inner))

    def _place_index(self, expr, axes):
        (axis,) = axes
        self.rigid.add(axis)
        return self._node("index", (), axis, expr.dtype, (axis,))

    def _place_pick(self, expr, axes):
        source, positions = expr.args
        at = self.place(positions, _aligned(positions, axes))
        inner = [a if n.__class__ is Extent else None for a, n in zip(axes, source.shape)]
        inner[expr.attr] = at
        return self.place(source, tuple(inner))

    def _place_reduce(self, expr, axes):
        name, taken = expr.attr
        (operand,) = expr.args
        inside = self.inside(expr, axes)
        if inside is None:
            raise NotTraceable("reductions over different axes in one kernel")
        placed = self.place(operand, inside)
        if name.startswith("arg"):
            self.rigid.update(inside[a] for a in taken if len(taken) == 1)
        varies = placed.varies - self.reduced
        if self.chunk is not None:
            varies |= {self.chunk}
        return self._node("reduce", (placed,), name, expr.dtype, varies)

    def inside(self, expr, axes):
        """The places of a reduction's operand's axes, given its own; None where they don't fit."""
        taken = expr.attr[1]
        shape = expr.args[0].shape
        own = iter(axes if self.chunk is None else axes[1:])
        order = iter(sorted(self.reduced))
        places = [next(order, None) if a in taken else next(own) for a in range(len(shape))]
        for axis in taken:
            if places[axis] is None or self.extents[places[axis]] != shape[axis]:
                return None
        return tuple(places)


def _aligned(operand, axes):
    """The places of an operand's axes in a map, which broadcasts from the right."""
    places = axes[len(axes) - operand.ndim:] if operand.ndim else ()
    return tuple(p if n.__class__ is Extent else None for p, n in zip(places, operand.shape))


def topological(roots, stop=()):
    """All that the roots need, operands first; what is in `stop` is not looked into."""
    order, seen, stack = [], set(), [(r, False) for r in reversed(list(roots))]
    while stack:
        placed, done = stack.pop()
        if done:
            order.append(placed)
            continue
        if placed in seen:
            continue
        seen.add(placed)
        stack.append((placed, True))
        if placed in stop:
            continue
        below = placed.args + tuple(a for a in placed.axes if isinstance(a, Placed))
        stack.extend((p, False) for p in reversed(below) if p not in seen)
    return order
