"""From a nest to a launch: loop order, merged axes and strides for operands of given layout.

Axes are put in the order of the operands' memory, neighbours that lie in memory as one axis are
merged, and what is left decides which of a nest's kernels serves the call. Sizes and strides then
become the kernel's integer arguments. All of it follows from shapes and strides alone, and so does
the number of tasks into which the work is cut.
"""

import functools
import math

from iskra.codegen.accumulate import LANES
from iskra.codegen.extent import NotTraceable
from iskra.codegen.kernels.sharing import power_above
from iskra.codegen.nest import SEGMENT, SQUARES, Kernel
from iskra.codegen.placement import Placed
from iskra.codegen.squares import SHORT, SHORT_TOGETHER
from iskra.codegen.values import Layout
from iskra.runtime import memory
from iskra.runtime.hardware import past_caches

# Work of one task (elements times what each costs; an addition costs about 4), where there is
# little to share out and where there is enough: a task costs its start, and the prefetchers'. What
# one of a map touches should fit a core's own cache, for there the next launch begins.
TASK, LARGE_MAP, LARGE_TASK = 1 << 17, 1 << 18, 1 << 20
ENOUGH = 32  # tasks
MOST_TASKS = 256
CHUNK = 1 << 15  # elements of a chunk of a long reduction
STREAM = past_caches()  # bytes of a map's arrays: it writes past the caches then
FEW_UNITS = 8  # with fewer units than this a long reduction is cut into chunks
PANEL_ROWS = 16, 64  # how many rows of a panel there are at least and at most


class Crosswise(NotTraceable):
    """Memory lies so that a kernel's rows are no rows, and cannot take sums of columns along."""


def is_long(units, elements):
    """Whether a reduction of so many elements into so many units is cut into chunks."""
    return units < FEW_UNITS and elements >= 2 * CHUNK


class Plan:
    """How one nest runs on operands of given sizes and strides (all in elements)."""

    def __init__(self, nest, sizes, strides, fixed=None):
        """`strides`: for each leaf its strides by its own axes; `sizes`: by symbol; `fixed`: the
        strides of the one output, where its array is there already.
        """
        self.nest = nest
        self.sizes = sizes
        chunk, panel = nest.chunk, nest.panel
        self.extent = [
            1 if e.__class__ is int else 0 if a in (chunk, panel) else e.of(sizes)
            for a, e in enumerate(nest.extents)
        ]
        self.own_strides = strides
        self.strides = [_by_axis(axes, s) for (_, axes), s in zip(nest.leaves, strides)]
        order = self._order(fixed)
        memory = [self._memory(o, order, fixed) for o in nest.outputs]
        self.groups = self._merged(order)
        if chunk is not None:
            self._cut()
        if panel is not None:
            self._stack()
        # For each output its shape in memory, and the order into which to bring its axes.
        self.outputs = [self._made(axes, o) for axes, o in zip(memory, nest.outputs)]
        if self._is_copy() and self.group_size(len(self.groups) - 1) < LANES // 2:
            raise NotTraceable("a copy of rows of a few elements, which NumPy does as fast")
        tile, crossed = self._turned()
        flat = self._flat()
        if tile is None:
            tile, crossed = self._crossed(flat)
        if tile is None and self._is_mere_copy():
            raise NotTraceable("a copy of rows, for which there is a kernel by hand")
        streamed = fixed is None and tile is None and self._streams()
        self.layout = Layout(
            tuple(self.groups), self._strided() - crossed, tile, crossed, flat, streamed)

    def _order(self, fixed):
        """The axes from the outermost loop to the innermost.

        Elements are best written side by side: an array that is there already comes first.
        """
        axes = range(len(self.nest.extents))
        if self._is_copy():
            return list(axes)
        ranked = sorted(self.strides, key=lambda s: -sum(1 for a in s if s[a]))
        if fixed is not None and len(fixed) == len(self.nest.outputs[0].axes):
            ranked.insert(0, _by_axis(self.nest.outputs[0].axes, fixed))

        def compare(a, b):
            for outermost in (self.nest.chunk, self.nest.panel):
                if outermost in (a, b):
                    return -1 if a == outermost else 1
            for strides in ranked:
                first, second = strides.get(a, 0), strides.get(b, 0)
                if first and second and first != second:
                    return second - first
            return a - b

        return sorted(axes, key=functools.cmp_to_key(compare))

    def _is_copy(self):
        """Whether elements are read in the order in which they are to lie."""
        return any(o.expr.op == "ordered" and o.expr.attr == "loops" for o in self.nest.outputs)

    def _is_mere_copy(self):
        """Whether elements only change their places."""
        return all(o.expr.op == "ordered" and o.expr.args[0].op in ("input", "axes")
                   for o in self.nest.outputs)

    def _cut(self):
        """Choose the length and the number of the first reduced group's chunks."""
        nest = self.nest
        size = next(self.group_size(n) for n, g in enumerate(self.groups) if g[0] in nest.reduced)
        total = math.prod(n for a, n in enumerate(self.extent) if a != nest.chunk)
        pieces = max(1, min(MOST_TASKS, total // CHUNK, size))
        self.chunk_length = -(-size // pieces)
        self.extent[nest.chunk] = -(-size // self.chunk_length)
        self.sizes[-1] = self.extent[nest.chunk]

    def _stack(self):
        """Choose how many rows make a panel, and note the number of panels."""
        nest = self.nest
        if self.groups[-1][-1] not in nest.reduced:
            raise Crosswise("sums of columns that lie in memory as rows")
        rows = math.prod(self.extent[a] for a in nest.kept if a != nest.panel)
        least, most = PANEL_ROWS
        self.panel_rows = max(least, min(most, rows // least))
        self.extent[nest.panel] = -(-rows // self.panel_rows)
        (symbol,) = nest.extents[nest.panel].symbols
        self.sizes[symbol] = self.extent[nest.panel]

    def _memory(self, output, order, fixed):
        """An output's axes as they lie in memory; notes its strides."""
        if fixed is not None:
            self.strides.append({a: s for a, s in zip(output.axes, fixed) if a is not None})
            return list(output.axes)
        memory = [a for a in output.axes if a is not None]
        if output.expr.op != "ordered":
            memory.sort(key=order.index)
        strides, step = {}, 1
        for axis in reversed(memory):
            strides[axis] = step
            step *= self.extent[axis]
        self.strides.append(strides)
        return memory

    def _made(self, axes, output):
        """An output's shape in memory, and the order into which to bring its axes."""
        order = [None if a is None else axes.index(a) for a in output.axes]
        if [n for n in order if n is not None] == list(range(len(axes))):
            shape = tuple(1 if a is None else self.extent[a] for a in output.axes)
            return shape, list(range(len(shape)))
        return tuple(self.extent[a] for a in axes), order

    def _merged(self, order):
        """Neighbouring axes that all operands see as one, as one group."""
        groups = []
        for axis in order:
            if groups and self._as_one(groups[-1][-1], axis):
                # The last axis has the group's stride: one of a single place has none.
                single = self.extent[axis] == 1
                groups[-1] = (axis, *groups[-1]) if single else (*groups[-1], axis)
            else:
                groups.append((axis,))
        return groups or [()]

    def _as_one(self, outer, inner):
        nest = self.nest
        if outer in nest.rigid or inner in nest.rigid:
            return False
        if nest.chunk in (outer, inner) or nest.panel in (outer, inner):
            return False
        if (outer in nest.reduced) != (inner in nest.reduced):
            return False
        if 1 in (self.extent[outer], self.extent[inner]):
            return True
        return all(
            s.get(outer, 0) == s.get(inner, 0) * self.extent[inner] for s in self.strides
        )

    def _along_last(self, strides):
        """An array's stride along the last group; None where it has none of its axes.

        One that has others of them than the last is repeated along that, and so along the group.
        """
        last = self.groups[-1]
        return strides.get(last[-1], 0) if any(a in strides for a in last) else None

    def _strided(self):
        along = map(self._along_last, self.strides)
        return frozenset(n for n, stride in enumerate(along) if stride not in (None, 1))

    def _flat(self):
        """The leaves of which one element serves all places along the last group."""
        leaves = enumerate(self.strides[:len(self.nest.leaves)])
        return frozenset(n for n, s in leaves if self._along_last(s) == 0)

    def _streams(self):
        """Whether elements are written past the caches: where they cannot hold all that a map or a
        row program reads and writes. Not to fetch the memory first, only to overwrite it, saves
        some of the traffic then; what stays in the caches is written to them faster, and read from
        them.
        """
        last = self.groups[-1][-1] if self.groups[-1] else None
        if self.nest.reduced and last not in self.nest.reduced:
            return False
        if self._strided() - set(range(len(self.nest.leaves))):
            return False
        if sum(map(self._bytes, range(len(self.strides)))) < STREAM:
            return False
        outer = [g[-1] for g in self.groups[:-1]]
        for output, strides in zip(self.nest.outputs, self.strides[len(self.nest.leaves):]):
            size = output.placed.dtype.itemsize
            if last in output.axes and any(strides.get(a, 0) * size % 64 for a in outer):
                return False
        return memory.start()  # whose arrays begin at multiples of 64 bytes

    def _bytes(self, number):
        """How much memory a leaf or an output takes, the parts that are read again counted once."""
        leaves = list(self.nest.leaves)
        last = number - len(leaves)
        dtype = leaves[number][0].dtype if last < 0 else self.nest.outputs[last].placed.dtype
        strides = self.strides[number]
        return dtype.itemsize * math.prod(self.extent[a] for a, s in strides.items() if s)

    def _crossed(self, flat):
        """The group along which strided leaves of a map lie side by side, and those leaves."""
        leaves, last = len(self.nest.leaves), len(self.groups) - 1
        strided = sorted(n for n in self._strided() - flat if n < leaves)
        if self.nest.reduced or not strided or any(n >= leaves for n in self._strided()):
            return None, frozenset()
        for number in range(last):
            axis = self.groups[number][-1]
            if min(self.group_size(number), self.group_size(last)) < LANES // 2:
                continue
            crossed = frozenset(n for n in strided if self.strides[n].get(axis) == 1)
            if crossed:
                return number, crossed
        return None, frozenset()

    def _turned(self):
        """The group of short rows that are reduced, and the arrays that lie along them.

        Changes places with the group before, along which vectors go then, a lane for each row.
        """
        nest, short = self.nest, len(self.groups) - 1
        reduced = [g for g, axes in enumerate(self.groups) if set(axes) & nest.reduced]
        if nest.chunk is not None or nest.panel is not None or reduced != [short] or not short:
            return None, frozenset()
        rows, row = self.groups[-2:]
        crossed = frozenset(n for n, s in enumerate(self.strides)
                            if s.get(row[-1]) == 1 and s.get(rows[-1]))
        size = self.group_size(short)
        if not crossed or self.group_size(short - 1) < LANES or size > SHORT:
            return None, frozenset()
        if size * len(crossed) > SHORT_TOGETHER:
            return None, frozenset()
        self.groups[-2:] = row, rows
        return short - 1, crossed

    # Arguments and tasks

    def group_size(self, group):
        """How many elements a group has."""
        return math.prod(self.extent[a] for a in self.groups[group])

    @functools.cached_property
    def units(self):
        """How many units of work there are."""
        total, last = 1, len(self.groups) - 1
        reduces = any(g and g[0] in self.nest.reduced for g in self.groups)
        for number, group in enumerate(self.groups):
            if group and (group[0] in self.nest.reduced or group[0] == self.nest.panel):
                continue
            size = self.group_size(number)
            if number == self.layout.tile:
                size = -(-size // LANES)
            elif number == last:
                width = SEGMENT if self.layout.tile is None else SQUARES
                size = -(-size // (LANES * self._columns() if reduces else width))
            total *= size
        return total

    def _columns(self):
        return _columns(self.nest, self.layout)

    @functools.cached_property
    def tasks(self):
        """Into how many tasks the units are shared out."""
        panel = self.nest.panel
        elements = math.prod(n for a, n in enumerate(self.extent) if a != panel)
        work = elements * (self.nest.cost + len(self.strides))
        most = self.units if panel is None else self.extent[panel]
        large = LARGE_TASK if self.nest.reduced else LARGE_MAP
        return max(1, min(most, MOST_TASKS, _pieces(work, large)))

    def integers(self, arguments):
        """The values of a kernel's integer arguments."""
        return tuple(self._integer(*what) for what in arguments)

    def _integer(self, what, *of):
        if what == "tasks":
            return self.tasks
        if what == "units":
            return self.units
        if what == "size":
            return self.group_size(of[0])
        if what == "extent":
            return of[0].of(self.sizes)
        if what == "chunk length":
            return self.chunk_length
        if what == "panel rows":
            return self.panel_rows
        array, place = of
        if what == "axis stride":  # along one of the array's own axes
            return self.own_strides[array][place]
        return self.strides[array].get(self.groups[place][-1], 0)


def _pieces(work, large):
    """Into how many tasks so much work is cut, if there are units enough; `large`: one of many."""
    return max(min(power_above(work // TASK), ENOUGH), power_above(work // large))


@functools.lru_cache(1024)
def _columns(nest, layout):
    return Kernel(nest, layout, "").columns


def _by_axis(axes, strides):
    """Strides by the axes of the space."""
    return {
        axis: stride for axis, stride in zip(axes, strides, strict=True)
        if axis is not None and not isinstance(axis, Placed)
    }

