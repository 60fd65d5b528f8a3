"""Values and addresses inside a nest's loops: what `iskra.codegen.nest` writes its kernels with.

A value is computed once in each block of the loops where it is needed, and before a loop if it does
not change in it. It is a vector of 16 lanes where it varies along the innermost group, else one
number.
"""

from contextlib import contextmanager
from typing import NamedTuple

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type
from iskra.codegen.placement import Placed, topological
from iskra.codegen.primitives import PRIMITIVES, kind_of

COPIES = 4  # vectors in flight


class Layout(NamedTuple):
    """What of the memory layout a kernel is made for.

    groups: axes of the space, merged and in order of the loops. strided: numbers of those leaves,
    then outputs (counted on from the leaves), whose elements do not lie side by side along the
    last group. Where leaves of a map lie side by side along another group, that is `tile`, and the
    leaves are `crossed`: they are read in squares, which are transposed in registers. Where a
    reduction goes along short rows, these are the `tile`, outputs may be crossed too, and the last
    group goes from row to row. `flat` leaves
    have one element for all places along the last group, as expanded arrays do. What is `streamed`
    writes its elements past the caches.
    """

    groups: tuple
    strided: frozenset
    tile: int | None = None
    crossed: frozenset = frozenset()
    flat: frozenset = frozenset()
    streamed: bool = False


class Values:
    """Values where the loops are now. `arguments` lists the kernel's integer arguments."""

    def __init__(self, nest, layout, name):
        self.nest = nest
        self.leaves = list(nest.leaves)
        self.groups = layout.groups
        self.strided = layout.strided
        self.tile = layout.tile
        self.crossed = layout.crossed
        self.streamed = layout.streamed
        self.flat = layout.flat
        self.function = Function(name)
        self.group_of = {axis: g for g, axes in enumerate(layout.groups) for axis in axes}
        self.vector = len(layout.groups) - 1
        self.reduced = [g for g, axes in enumerate(self.groups) if set(axes) & nest.reduced]
        self.along = self.vector in self.reduced  # rows lie along the vectors
        self.turned = bool(self.reduced) and self.tile is not None  # lanes go from row to row
        self.panel = None if nest.panel is None else self.group_of[nest.panel]
        self.arguments = []
        self.first_integer = len(nest.leaves) + len(nest.outputs) + len(nest.scalars)
        self.index = {}  # group -> where the loops are now
        self.opened = []  # groups whose loops are open (without the vector group)
        self.memo = [{}]  # values known in each open block
        self.copy = 0
        self.mask = None
        self.base = None
        self.keep = {}  # expression -> output that holds it until the last pass
        self.kept_in = {}  # expression -> output that holds it since an earlier pass
        self.columns = self._columns()

    def _columns(self):
        """How many vectors a unit is wide where reductions run across the vector group."""
        heavy = sum(p.cost for p in topological(o.placed for o in self.nest.outputs))
        if self.along or not self.reduced or self.turned:
            return 1
        return 2 if heavy > 40 else COPIES

    # Arguments

    def argument(self, *what):
        """An integer argument: ``("tasks",)``, ``("size", g)``, ``("stride", array, g)`` ..."""
        if what not in self.arguments:
            self.arguments.append(what)
        return self.function.slot(self.first_integer + self.arguments.index(what), "i64")

    def size(self, group):
        """How many elements a group has."""
        return self.argument("size", group)

    # Values

    def groups_of(self, axes):
        """The groups to which axes belong."""
        return {self.group_of[a] for a in axes}

    def is_vector(self, placed):
        """Whether an expression varies along the vector group."""
        return self.vector in self.groups_of(placed.varies)

    def value(self, placed):
        """The value here: a vector where it varies along the vector group, else a scalar."""
        key = placed, self.copy if self.is_vector(placed) else None
        for known in reversed(self.memo):
            if key in known:
                return known[key]
        if placed in self.kept_in:
            value = self.load(len(self.nest.leaves) + self.kept_in[placed])
        else:
            value = getattr(self, "_" + placed.op)(placed)
        self.memo[-1][key] = value
        return value

    def _const(self, placed):
        return self.function.const(placed.attr, Type(kind_of(placed.dtype)))

    def _scalar(self, placed):
        number = len(self.nest.leaves) + len(self.nest.outputs) + placed.attr
        kind = "f64" if placed.dtype.kind == "f" else "i64"
        return self.function.slot(number, kind).to(kind_of(placed.dtype))

    def _extent(self, placed):
        return self.argument("extent", placed.attr)

    def _cast(self, placed):
        return self.value(placed.args[0]).to(kind_of(placed.dtype))

    def _map(self, placed):
        across = self.is_vector(placed)
        return PRIMITIVES[placed.attr](
            *(self.spread(a) if across else self.value(a) for a in placed.args))

    def spread(self, placed):
        """The value here as a vector, also where it is one for all lanes."""
        for known in reversed(self.memo):
            if (placed, "spread") in known:
                return known[placed, "spread"]
        return self.value(placed).splat(LANES)

    def _index(self, placed):
        return self.place_along(self.group_of[placed.attr])

    def place_along(self, group):
        """The position along a group."""
        if group != self.vector:
            return self.index[group]
        lanes = Type("i64", LANES)
        return self.base.splat(LANES) + self.function.iota(lanes)

    def _leaf(self, placed):
        return self.load(placed.attr)

    # Addresses

    def axes_of(self, array):
        """The places of an array's axes: leaves are numbered first, then outputs."""
        leaves = self.leaves
        return leaves[array][1] if array < len(leaves) else (
            self.nest.outputs[array - len(leaves)].axes)

    def pointer(self, array, groups):
        """The address of an array's element at the present place along `groups`."""
        key = "pointer", array, groups
        for known in reversed(self.memo):
            if key in known:
                return known[key]
        if groups:
            before = self.pointer(array, groups[:-1])
            step = self.index[groups[-1]] * self.argument("stride", array, groups[-1])
            found = self.function.offset(before, step, self.kind(array))
        else:
            found = self.function.slot(array, "ptr")
        self.memo[-1][key] = found
        return found

    def kind(self, array):
        """The kind of an array's elements."""
        leaves = self.leaves
        if array < len(leaves):
            return kind_of(leaves[array][0].dtype)
        return kind_of(self.nest.outputs[array - len(leaves)].placed.dtype)

    def outer_groups(self, axes):
        """The open groups along which an array with these axes varies, in order."""
        own = {self.group_of[a] for a in axes if a is not None and not isinstance(a, Placed)}
        return tuple(g for g in self.opened if g in own)

    def load(self, array):
        """The element here, or 16 along the vector group."""
        axes = self.axes_of(array)
        kind = self.kind(array)
        if array in self.crossed:
            return self.function.load(*self._in_square(array), Type(kind, LANES))
        pointer = self.pointer(array, self.outer_groups(axes))
        picked = [(n, a) for n, a in enumerate(axes) if isinstance(a, Placed)]
        if picked:
            return self._load_picked(array, pointer, axes, picked, kind)
        if self.vector not in {self.group_of[a] for a in axes if a is not None}:
            return self.function.load(pointer, 0, Type(kind))
        if array not in self.strided:
            return self.function.load(pointer, self.base, Type(kind, LANES), self.mask)
        if array in self.flat:
            return self.function.load(pointer, 0, Type(kind)).splat(LANES)
        return self.function.gather(pointer, self.steps(array), kind, self.mask)

    def _in_square(self, array):
        """Where a crossed array's elements here are kept."""
        return self.squares[array], (self.index[self.tile] - self.tile_start) * LANES

    def steps(self, array):
        """Offsets of the elements along the vector group, where they are not neighbours."""
        return self.place_along(self.vector) * self.argument("stride", array, self.vector)

    def _load_picked(self, array, pointer, axes, picked, kind):
        """An element at positions that are computed."""
        offset = 0
        for number, positions in picked:
            stride = self.argument("axis stride", array, number)
            offset = self.value(positions).to("i64") * stride + offset
        if self.vector in {self.group_of[a] for a in axes
                           if a is not None and not isinstance(a, Placed)}:
            along = self.steps(array) if array in self.strided else self.place_along(self.vector)
            offset = along + offset
        mask = self.mask if offset.type.lanes > 1 else None
        return self.function.gather(pointer, offset, kind, mask)

    def store(self, number):
        """Write output `number` here, or add to the sum that stands here."""
        output = self.nest.outputs[number]
        value = self.value(output.placed)
        if output.summed:
            value = self.load(len(self.nest.leaves) + number) + value.splat(LANES)
        self.write(number, value)

    def write(self, number, value):
        """Write this value to output `number` here."""
        output = self.nest.outputs[number]
        array = len(self.nest.leaves) + number
        pointer = self.pointer(array, self.outer_groups(output.axes))
        if self.vector not in {self.group_of[a] for a in output.axes if a is not None}:
            return self.function.store(value, pointer, 0)
        value = value.splat(LANES)
        if array in self.crossed:
            return self.function.store(value, *self._in_square(array))
        if array in self.strided:
            return self.function.scatter(value, pointer, self.steps(array), self.mask)
        again = output.summed or number in self.keep.values()  # what is read again soon
        stream = self.streamed and self.mask is None and not again
        return self.function.store(value, pointer, self.base, self.mask, stream)

    # Blocks

    @contextmanager
    def block(self):
        """A block with values of its own."""
        self.memo.append({})
        yield
        self.memo.pop()

    def hoist(self, roots):
        """Compute now what the roots need and what will not change in the loops to come."""
        done = {key[0] for known in self.memo for key in known}
        open_groups = {*self.opened}
        across = not self.along and self.base is not None
        if across:
            open_groups.add(self.vector)
        for placed in topological(roots, done):
            if isinstance(placed, Placed) and placed.op not in ("const", "scalar", "extent"):
                self._hoist_one(placed, open_groups)

    def _hoist_one(self, placed, open_groups):
        if placed.op == "leaf":
            self.pointer(placed.attr, self.outer_groups(placed.axes))
        if not self.groups_of(placed.varies) <= open_groups:
            return
        if self.is_vector(placed):
            for copy in self.each_column():
                self.copy = copy
                self.value(placed)
        else:
            self.memo[-1][placed, "spread"] = self.value(placed).splat(LANES)

    def each_column(self):
        """The numbers of the unit's vectors, with base and mask set to each."""
        for copy in range(self.columns):
            self.copy = copy
            self.base, self.mask = self.bases[copy]
            yield copy
        self.copy = 0
