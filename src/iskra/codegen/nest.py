"""From a nest to loops: the kernel of one `Nest` for one memory layout.

The axes of the space arrive as *groups*, outermost first, merged where memory allows; the last
group is the one along which vectors lie. A *unit* of work is one place of the kept outer groups (a
row), or a segment of the vector group where that is kept. Over each unit the kernel makes as many
passes as reductions wait for one another, then one more for outputs that vary along reduced axes:

    for each unit of this task:
        for each pass: over the reduced groups, 16 elements at a time: accumulate
            and write what has one value per element and waits for no more reductions
        write what has one value per row
        last pass, if need be: write the rest of what has one value per element

Sums down the columns may be taken in the last pass too: tasks then take *panels* of some rows, and
each panel adds its rows up in a row of memory of its own, which stays in the cache.

What does not change in a loop is computed before it. All sizes and strides are arguments.
"""

from contextlib import contextmanager

from iskra.codegen.accumulate import LANES, accumulator
from iskra.codegen.extent import NotTraceable
from iskra.codegen.ir import Type, smaller
from iskra.codegen.placement import Placed, topological
from iskra.codegen.squares import SHORT, Squares
from iskra.codegen.values import COPIES

SEGMENT = 8192  # elements of one unit along a kept vector group
SQUARES = 256  # columns of one unit where leaves are read in squares
ROWS = 64  # rows of a block where sums run across rows
AHEAD = 16  # rows that are fetched ahead where sums run across rows
BLOCK = 4096  # elements of a block where sums run along the row


class Kernel(Squares):
    """Writes the loops."""

    def build(self):
        """Write everything; return the function."""
        f = self.function
        self.outer = [g for g in range(len(self.groups)) if g not in self.reduced
                      and g not in (self.vector, self.tile, self.panel)]
        self._choose_kept()
        tasks, units = self.argument("tasks"), self.argument("units")
        if self.panel is not None:
            self._panels(tasks, units)
            return f
        with f.loop(f.task * units // tasks, (f.task + 1) * units // tasks) as unit:
            with self.block():
                rest = self._decode(unit)
                if self.tile is not None and not self.turned:
                    self._strip_of_squares(rest)
                elif self.along:
                    self._row()
                elif self.reduced:
                    self._column_block(rest)
                else:
                    self._segment(rest)
        return f

    def _panels(self, tasks, units):
        """Rows panel by panel, each with sums down its columns."""
        f = self.function
        panels, length = self.size(self.panel), self.argument("panel rows")
        with f.loop(f.task * panels // tasks, (f.task + 1) * panels // tasks) as panel:
            with self.block():
                self.index[self.panel] = panel
                self.opened = [self.panel]
                self._clear_sums()
                with f.loop(panel * length, smaller((panel + 1) * length, units)) as unit:
                    with self.block():
                        self._decode(unit)
                        self._row()

    def _clear_sums(self):
        """Let this panel's sums begin with zero."""
        f = self.function
        with self._reduced_loops([], [g for g in self.reduced if g != self.vector]):
            self._point_outputs()
            size = self.size(self.vector)
            with f.loop(0, size, LANES) as base, self.block():
                self._at(base, f.lanes_below(size - base, LANES))
                for number, output in enumerate(self.nest.outputs):
                    if output.summed:
                        kind = self.kind(len(self.nest.leaves) + number)
                        self.write(number, f.const(0, Type(kind, LANES)))
                self._at(None, None)

    def _decode(self, unit):
        """Set the places of the outer groups; return what is left, the segment's number."""
        if self.along:
            rest, segment = unit, None
        else:
            width = SEGMENT if not self.reduced else LANES * self.columns
            width = width if self.reduced or self.tile is None else SQUARES
            segments = (self.size(self.vector) + (width - 1)) // width
            rest, segment = unit // segments, unit % segments
        if self.tile is not None and not self.turned:
            blocks = (self.size(self.tile) + (LANES - 1)) // LANES
            rest, block = rest // blocks, rest % blocks
            segment = segment, block
        for group in reversed(self.outer):
            if group == self.outer[0]:
                self.index[group] = rest
            else:
                self.index[group] = rest % self.size(group)
                rest = rest // self.size(group)
        self.opened = [g for g in self.opened if g == self.panel] + self.outer
        return segment

    def _segment(self, segment):
        """A map: one stretch of the vector group."""
        low = segment * SEGMENT
        self.stretch(low, smaller(low + SEGMENT, self.size(self.vector)))

    def stretch(self, low, high):
        """Write the outputs of a map between two places of the vector group."""
        f = self.function
        roots = [o.placed for o in self.nest.outputs]
        self.hoist(roots)
        self._point_outputs()
        full = low + (high - low) // LANES * LANES
        for start, stop, masked in ((low, full, False), (full, high, True)):
            with f.loop(start, stop, LANES) as base, self.block():
                self._at(base, f.lanes_below(high - base, LANES) if masked else None)
                for number in range(len(self.nest.outputs)):
                    self.store(number)
        self._at(None, None)

    def _strip_of_squares(self, place):
        """A map with crossed leaves: some squares of 16 rows by 16 columns, side by side."""
        f = self.function
        segment, block = place
        self.tile_start = block * LANES
        rows = self.size(self.tile) - self.tile_start
        low = segment * SQUARES
        high = smaller(low + SQUARES, self.size(self.vector))
        self.keep_squares(LANES)
        roots = [o.placed for o in self.nest.outputs]
        self.hoist(roots)
        with f.loop(low, high, LANES) as base, self.block():
            self.each_square(self.read_square, sorted(self.crossed), base, self.tile_start, high)
            with f.loop(0, smaller(rows, f.coerce(LANES))) as row, self.block():
                self._open(self.tile, self.tile_start + row, ())
                self._at(base, f.lanes_below(high - base, LANES))
                for number in range(len(self.nest.outputs)):
                    self.store(number)
                self.opened.remove(self.tile)
                self._at(None, None)

    def _at(self, base, mask):
        self.base, self.mask = base, mask

    def _point_outputs(self):
        for number, output in enumerate(self.nest.outputs, len(self.nest.leaves)):
            self.pointer(number, self.outer_groups(output.axes))

    def _row(self):
        """A row along the vector group (and other reduced groups): all passes."""
        for depth in range(1, self._depth() + 1):
            self._pass_along(depth)
        self._finish(lambda roots: self._walk(roots, [], self._store_elements))

    def _column_block(self, segment):
        """Some vectors of columns, reduced down the other groups: all passes."""
        f = self.function
        start = segment * (LANES * self.columns)
        self.bases = []
        for copy in range(self.columns):
            base = start + LANES * copy
            self.bases.append((base, f.lanes_below(self.size(self.vector) - base, LANES)))
        self.base = start
        if self.turned:
            self.tile_start = f.coerce(0)
            self.keep_squares(SHORT)
            leaves = [n for n in sorted(self.crossed) if n < len(self.leaves)]
            outputs = [n for n in sorted(self.crossed) if n >= len(self.leaves)]
            self._turn(self.ask_ahead, leaves + outputs)
            self._turn(self.read_square, leaves)
        for depth in range(1, self._depth() + 1):
            self._pass_across(depth)
        self._finish(lambda roots: self._walk_across(roots, self._store_elements))
        if self.turned:
            self._turn(self.write_square, outputs)
        self._at(None, None)

    def _turn(self, move, arrays):
        """Read or write 16 short rows of these arrays."""
        with self.function.loop(0, self.size(self.tile), LANES) as start, self.block():
            self.each_square(move, arrays, self.base, start, self.size(self.vector))

    def _depth(self):
        return max(p.depth for p in topological(o.placed for o in self.nest.outputs))

    def _reductions(self, depth):
        found = topological(o.placed for o in self.nest.outputs)
        return [p for p in found if p.op == "reduce" and p.depth == depth]

    def _is_element(self, output):
        return any(self.group_of[a] in self.reduced for a in output.axes if a is not None)

    def _early(self, depth):
        """The numbers of those outputs that the pass can write: a later one would read again."""
        return [n for n, o in enumerate(self.nest.outputs)
                if self._is_element(o) and not o.summed and o.placed.depth == depth - 1]

    def _late(self):
        """The numbers of the outputs with one value per element that wait for the last pass."""
        early = {n for depth in range(1, self._depth() + 1) for n in self._early(depth)}
        return [n for n, o in enumerate(self.nest.outputs)
                if self._is_element(o) and n not in early]

    def _finish(self, walk):
        """Write the outputs: those with one value per row, then the others in a last pass."""
        for number, output in enumerate(self.nest.outputs):
            if self._is_element(output):
                continue
            if self.along:
                self.store(number)
            else:
                for _ in self.each_column():
                    self.store(number)
        late = self._late()
        if late:
            walk([self.nest.outputs[n].placed for n in late])

    def _store_elements(self):
        late = self._late()
        for number in late:
            self.value(self.nest.outputs[number].placed)  # before one overwrites what is kept
        for number in late:
            self.store(number)

    # Passes along the vector group

    def _pass_along(self, depth):
        reductions = self._reductions(depth)
        sums = [accumulator(self, p, COPIES, True) for p in reductions]
        early = self._early(depth)
        roots = [p.args[0] for p in reductions] + [self.nest.outputs[n].placed for n in early]

        def accumulate():
            self._accumulate(sums, reductions)
            self._keep_what(needed)
            for number in early:
                self.store(number)

        needed = set(topological(roots))
        self._walk(roots, sums, accumulate, COPIES)
        for part, placed in zip(sums, reductions):
            self.memo[-1][placed, None] = part.results()[0]
        self.kept_in.update({p: n for p, n in self.keep.items() if p in needed})

    def _accumulate(self, sums, reductions):
        """Take the present elements into the accumulators."""
        placing = any(p.attr.startswith("arg") for p in reductions)
        position = self._position() if placing else None
        for part, placed in zip(sums, reductions):
            part.add(self.copy, self.value(placed.args[0]), self.mask, position)

    def _position(self):
        """The place along the reduced axes, counted in their own order."""
        axes = [a for g in self.reduced for a in self.groups[g]]
        if axes != sorted(axes):
            raise NotTraceable("places along axes that memory has in another order")
        position = self.place_along(self.reduced[0])
        for group in self.reduced[1:]:
            position = self.place_along(group) + position * self.size(group)
        return position

    def _walk(self, roots, sums, body, copies=1):
        """Run `body` over the reduced groups, the vector group innermost, in blocks."""
        f = self.function
        self.hoist(roots)
        self._point_outputs()
        with self._reduced_loops(roots, [g for g in self.reduced if g != self.vector]):
            low, high = self._bounds(self.vector)
            with f.loop(low, high, BLOCK) as start:
                stop = smaller(start + BLOCK, high)
                for part in sums:
                    part.open_block()
                step = LANES * copies
                full = start + (stop - start) // step * step
                with f.loop(start, full, step) as base:
                    for copy in range(copies):
                        self._strip(base + LANES * copy, None, copy, body)
                with f.loop(full, stop, LANES) as base:
                    self._strip(base, f.lanes_below(stop - base, LANES), 0, body)
                for part in sums:
                    part.close_block()

    def _strip(self, base, mask, copy, body):
        with self.block():
            self._at(base, mask)
            self.copy = copy
            body()
            self.copy = 0
            self._at(None, None)

    @contextmanager
    def _reduced_loops(self, roots, groups):
        """The loops over these reduced groups, one in another."""
        if not groups:
            yield
            return
        group, *rest = groups
        low, high = self._bounds(group)
        with self.function.loop(low, high) as index, self.block():
            self._open(group, index, roots)
            with self._reduced_loops(roots, rest):
                yield
            self.opened.remove(group)

    def _open(self, group, index, roots):
        self.index[group] = index
        self.opened.append(group)
        self.hoist(roots)

    def _bounds(self, group):
        """From where to where a reduced group's loop runs."""
        if self.nest.chunk is None or group != self.reduced[0]:
            return 0, self.size(group)
        length = self.argument("chunk length")
        low = self.index[self.group_of[self.nest.chunk]] * length
        return low, smaller(low + length, self.size(group))

    # Passes across the vector group

    def _pass_across(self, depth):
        reductions = self._reductions(depth)
        sums = [accumulator(self, p, self.columns, False) for p in reductions]
        early = self._early(depth)
        roots = [p.args[0] for p in reductions] + [self.nest.outputs[n].placed for n in early]

        def accumulate():
            self._accumulate(sums, reductions)
            self._keep_what(needed)
            for number in early:
                self.store(number)

        needed = set(topological(roots))
        self._walk_across(roots, accumulate, sums)
        self.kept_in.update({p: n for p, n in self.keep.items() if p in needed})
        for part, placed in zip(sums, reductions):
            results = part.results()
            if self.is_vector(placed):
                self.memo[-1].update({(placed, n): r for n, r in enumerate(results)})
            else:
                self.memo[-1][placed, None] = results[0].lane(0)

    def _walk_across(self, roots, body, sums=()):
        """Run `body` over the reduced groups for each of the unit's vectors, in blocks of rows."""
        f = self.function
        self.hoist(roots)
        *outer, last = self.reduced
        with self._reduced_loops(roots, outer):
            low, high = self._bounds(last)
            with f.loop(low, high, ROWS) as start:
                for part in sums:
                    part.open_block()
                with f.loop(start, smaller(start + ROWS, high)) as index, self.block():
                    self._open(last, index, roots)
                    self._ask_for_rows(last, roots)
                    for _ in self.each_column():
                        body()
                    self.opened.remove(last)
                for part in sums:
                    part.close_block()

    def _ask_for_rows(self, group, roots):
        """Have rows to come fetched: hardware does not see far enough, as each is on another page.
        """
        f = self.function
        for placed in topological(roots):
            number, axes = placed.attr, placed.axes
            if placed.op != "leaf" or number in self.strided or number in self.crossed or any(
                    isinstance(a, Placed) for a in axes):
                continue
            own = self.groups_of(a for a in axes if a is not None)
            if group in own and self.vector in own:
                pointer = self.pointer(number, self.outer_groups(axes))
                ahead = AHEAD * self.argument("stride", number, group)
                line = 64 // Type(self.kind(number)).size
                for base, _ in self.bases:
                    for place in range(0, LANES, line):
                        f.prefetch(pointer, ahead + (base + place), self.kind(number))

    # Keeping what is dear

    def _choose_kept(self):
        """Pick what the last pass would compute again although it is dear, and where to keep it.

        An output that the last pass will write anyway holds it in the meantime: softmax's
        exponentials stand in the result before they are divided by their sum.
        """
        self.keep = {}
        if not self.along and not self.turned:
            return
        elements = [(n, self.nest.outputs[n]) for n in self._late()
                    if not self.nest.outputs[n].summed]
        depth = self._depth()
        if not elements or not depth:
            return
        final = set(topological([o.placed for _, o in elements], self._all_reductions()))
        for number, output in elements:
            for placed in topological([p.args[0] for p in self._reductions(depth)],
                                      self._all_reductions()):
                if (placed in final and placed.op == "map" and placed.cost > 1
                        and placed.dtype == output.placed.dtype
                        and placed.varies == output.placed.varies
                        and placed not in self.keep and number not in self.keep.values()):
                    self.keep[placed] = number

    def _all_reductions(self):
        found = topological(o.placed for o in self.nest.outputs)
        return {p for p in found if p.op == "reduce"}

    def _keep_what(self, needed):
        """Keep what is among the expressions of this pass."""
        for placed, number in self.keep.items():
            if placed in needed and len(self.nest.leaves) + number not in self.strided:
                self.write(number, self.value(placed))


def build(nest, layout, name):
    """The kernel's function, and the list of the integer arguments that it expects."""
    kernel = Kernel(nest, layout, name)
    function = kernel.build()
    return function, kernel.arguments

