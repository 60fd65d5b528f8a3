"""Loop IR of attention's gradients, again without storing all the scores.

With the weights p = exp(scores - base) * factor, which are computed anew from what the way there
left behind, and d = (gradient · values - sum of gradient * result) * p, the gradients are d · keys
for the queries, d' · queries for the keys and p' · gradient for the values. (Where weights were
dropped, the products gradient · values are too, and p in the last product.) One kernel takes panels
of queries and lets the keys pass by, another takes panels of keys and lets the queries pass by: so
each task has results of its own, at the price of computing the weights twice.
"""

from iskra.codegen.ir import Type, larger, select, smaller
from iskra.codegen.kernels.attention_tiles import Panels, QueryPanels, exp_of_difference
from iskra.codegen.mathematics.floats import INF


class QueryGradient(QueryPanels):
    """The kernel for a few panels of queries.

    result: (matrices, queries, depth). It also writes totals: (matrices, queries), the sum of
    gradient * result.
    """

    pointers = ("query", "key", "value", "mask", "kept", "grad", "out", "state", "totals",
                "result", "offsets")
    numbers = ("queries", "keys", "query_row", "key_row", "value_row", "mask_row", "kept_row",
               "grad_row", "out_row", "blocks", "panels")
    kinds = "aaaaaaaaaaafftn"
    operands = 7

    def write(self):
        f, spec, columns = self.function, self.spec, self.tile.columns
        self.packed = self.scratch(spec.panels * spec.depth)
        self.grads = self.scratch(spec.panels * spec.width)
        self.sums = self.scratch(spec.panels * spec.depth)
        self.results = self.scratch(spec.width)
        self.weights = self.scratch(spec.block + self.tile.rows)
        self.slopes = self.scratch(spec.block + self.tile.rows)
        self.turned_scratch()
        first, last, count = self.begin_task(self.arg.queries)
        with f.loop(0, count) as panel:
            self.begin(panel, first + panel * columns)
        self.blocks(count, first, last, self.block)
        with f.loop(0, count) as panel:
            self.end(panel, first + panel * columns)

    def begin(self, panel, query):
        """Pack a panel of queries and their gradients; sum up gradient * result."""
        f, spec = self.function, self.spec
        self.pack(self.panel_of(self.packed, panel, spec.depth), *self.query_rows(0, query),
                  spec.depth, scale=self.arg.scale.to(self.tile.kind))
        grads = self.panel_of(self.grads, panel, spec.width)
        self.pack(grads, *self.query_rows(5, query), spec.width)
        source, step, there = self.query_rows(6, query)
        self.pack(self.results, source, step, there, spec.width)
        self.fill(self.panel_of(self.sums, panel, spec.depth), spec.depth)
        (totals,) = self.sums_of(1)
        with f.loop(0, spec.width) as row:
            for total, a, b in zip(totals, self.vectors_of(grads, row),
                                   self.vectors_of(self.results, row)):
                total.set(self.tile.machine.add_product(a, b, total.get()))
        self.put_line([t.get() for t in totals], self.arg.totals,
                      self.matrix * self.arg.queries + query, there)

    def block(self, panel, query, key, there):
        """Let a block of keys pass by a panel."""
        f, arg, spec, tile = self.function, self.arg, self.spec, self.tile
        self.turn_masks(query, key, there)
        keys = f.offset(self.starts[1], key * arg.key_row, tile.kind)
        values = f.offset(self.starts[2], key * arg.value_row, tile.kind)
        packed = self.panel_of(self.packed, panel, spec.depth)
        grads = self.panel_of(self.grads, panel, spec.width)
        with f.loop(0, there, tile.rows) as row:
            rows = self.tile_rows(row, there)
            self.put_tile(self.scores(rows, keys, packed, row, query - key),
                          self.weights, row)
            self.put_tile(self.products(rows, values, arg.value_row, grads, spec.width),
                          self.slopes, row)
        self.gradients(query, there)
        self.accumulate(self.panel_of(self.sums, panel, spec.depth), spec.depth, keys,
                        arg.key_row, self.slopes, there)

    def gradients(self, query, there):
        """Make of the block's scores and products the gradients of the scores."""
        arg, matrix = self.arg, self.matrix
        queries = smaller(arg.queries - query, self.tile.columns)
        bases, factors = (
            self.line(arg.state, (matrix * 2 + row) * arg.queries + query, queries)
            for row in range(2))
        totals = self.line(arg.totals, matrix * arg.queries + query, queries)
        with self.function.loop(0, there) as row:
            scores, slopes = (self.vectors_of(x, row) for x in (self.weights, self.slopes))
            if self.spec.drops:
                share = arg.share.to(self.tile.kind)
                slopes = [x * k * share for x, k in zip(slopes, self.vectors_of(self.kept, row))]
            self.put([(slope - total) * (exp_of_difference(score - base) * factor)
                      for score, slope, base, factor, total
                      in zip(scores, slopes, bases, factors, totals)], self.slopes, row)

    def end(self, panel, query):
        """Write the panel's results."""
        f, arg, spec, kind = self.function, self.arg, self.spec, self.tile.kind
        there = smaller(arg.queries - query, self.tile.columns)
        out = f.offset(arg.result, (self.matrix * arg.queries + query) * spec.depth, kind)
        scale = arg.scale.to(kind)
        self.unpack(self.panel_of(self.sums, panel, spec.depth), spec.depth, out, there,
                    lambda first: scale)


class KeyGradient(Panels):
    """The kernel for a few panels of keys and their values, past which the queries stream.

    Needs the totals of all queries. key_result: (matrices, keys, depth); value_result: (matrices,
    keys, width).
    """

    pointers = ("query", "key", "value", "mask", "kept", "grad", "state", "totals",
                "key_result", "value_result", "offsets")
    numbers = ("queries", "keys", "query_row", "key_row", "value_row", "mask_row", "kept_row",
               "grad_row", "blocks", "panels")
    kinds = "aaaaaaaaaaafftn"
    operands = 6

    def write(self):
        f, arg, spec, tile = self.function, self.arg, self.spec, self.tile
        self.packed = self.scratch(spec.panels * spec.depth)
        self.values = self.scratch(spec.panels * spec.width)
        self.key_sums = self.scratch(spec.panels * spec.depth)
        self.value_sums = self.scratch(spec.panels * spec.width)
        self.weights = self.scratch(spec.block + tile.rows)
        self.slopes = self.scratch(spec.block + tile.rows)
        first, last, count = self.begin_task(arg.keys)
        with f.loop(0, count) as panel:
            self.begin(panel, first + panel * tile.columns)
        with f.loop(first if spec.causal else 0, arg.queries, spec.block) as query:
            with f.loop(0, count) as panel:
                key = first + panel * tile.columns
                # Queries before the panel's first key see none of it.
                start = larger(query, key) if spec.causal else query
                there = smaller(arg.queries, query + spec.block) - start
                with f.when(there > 0):
                    self.block(panel, start, key, there)
        with f.loop(0, count) as panel:
            self.end(panel, first + panel * tile.columns)

    def begin(self, panel, key):
        """Pack a panel of keys and values."""
        f, arg, spec, tile = self.function, self.arg, self.spec, self.tile
        there = smaller(arg.keys - key, tile.columns)
        keys = f.offset(self.starts[1], key * arg.key_row, tile.kind)
        values = f.offset(self.starts[2], key * arg.value_row, tile.kind)
        self.pack(self.panel_of(self.packed, panel, spec.depth), keys, arg.key_row, there,
                  spec.depth, scale=arg.scale.to(tile.kind))
        self.pack(self.panel_of(self.values, panel, spec.width), values, arg.value_row, there,
                  spec.width)
        self.fill(self.panel_of(self.key_sums, panel, spec.depth), spec.depth)
        self.fill(self.panel_of(self.value_sums, panel, spec.width), spec.width)

    def block(self, panel, query, key, there):
        """Let `there` queries, from number `query` on, pass by a panel."""
        f, arg, spec, tile = self.function, self.arg, self.spec, self.tile
        queries = f.offset(self.starts[0], query * arg.query_row, tile.kind)
        grads = f.offset(self.starts[5], query * arg.grad_row, tile.kind)
        packed = self.panel_of(self.packed, panel, spec.depth)
        values = self.panel_of(self.values, panel, spec.width)
        with f.loop(0, there, tile.rows) as row:
            rows = self.tile_rows(row, there)
            sums = self.products(rows, queries, arg.query_row, packed, spec.depth)
            self.mask(sums, rows, query, key)
            self.put_tile(sums, self.weights, row)
            self.put_tile(self.products(rows, grads, arg.grad_row, values, spec.width),
                          self.slopes, row)
        self.gradients(query, key, there)
        self.accumulate(self.panel_of(self.value_sums, panel, spec.width), spec.width, grads,
                        arg.grad_row, self.weights, there)
        self.accumulate(self.panel_of(self.key_sums, panel, spec.depth), spec.depth, queries,
                        arg.query_row, self.slopes, there)

    def mask(self, sums, rows, query, key):
        """Mask a tile of scores."""
        f, spec, tile = self.function, self.spec, self.tile
        if spec.mask:
            for number, totals in zip(rows, sums):
                line = self.mask_line(3, spec.mask, query + number, key)
                for total, given in zip(totals, line):
                    total.set(self.masked(total.get(), given))
        if spec.causal:
            with f.when(query + rows[0] < key + (tile.columns - 1)):
                for number, totals in zip(rows, sums):
                    for j, total in enumerate(totals):
                        seen = f.lanes_below(query + number - key + (1 - j * tile.lanes),
                                             tile.lanes)
                        total.set(select(seen, total.get(), -INF))

    def mask_line(self, number, kind, query, key):
        """What a mask has for a query and the panel's keys."""
        f, tile = self.function, self.tile
        step = getattr(self.arg, self.pointers[number] + "_row")
        line = f.offset(self.starts[number], query * step + key, kind)
        there = smaller(self.arg.keys - key, tile.columns)
        return [f.load(line, j, Type(kind, tile.lanes), mask)
                for j, mask in self.line_masks(there)]

    def gradients(self, query, key, there):
        """Make of the block's scores the weights, and of its products the scores' gradients."""
        f, arg, scalar = self.function, self.arg, Type(self.tile.kind)
        lines = [f.offset(pointer, row * arg.queries + query, scalar.kind) for pointer, row in (
            (arg.state, self.matrix * 2), (arg.state, self.matrix * 2 + 1),
            (arg.totals, self.matrix))]
        with f.loop(0, there) as row:
            base, factor, total = (f.load(line, row, scalar) for line in lines)
            scores, slopes = (self.vectors_of(x, row) for x in (self.weights, self.slopes))
            weights = kept = [exp_of_difference(score - base) * factor for score in scores]
            if self.spec.drops:
                share = arg.share.to(scalar.kind)
                shares = [k.to(scalar.kind) * share
                          for k in self.mask_line(4, "i1", query + row, key)]
                kept = [weight * x for weight, x in zip(weights, shares)]
                slopes = [slope * x for slope, x in zip(slopes, shares)]
            self.put(kept, self.weights, row)
            self.put([(slope - total) * weight for slope, weight in zip(slopes, weights)],
                     self.slopes, row)

    def end(self, panel, key):
        """Write the panel's results."""
        f, arg, spec, tile = self.function, self.arg, self.spec, self.tile
        there, place = smaller(arg.keys - key, tile.columns), self.matrix * arg.keys + key
        keys = f.offset(arg.key_result, place * spec.depth, tile.kind)
        values = f.offset(arg.value_result, place * spec.width, tile.kind)
        scale = arg.scale.to(tile.kind)
        self.unpack(self.panel_of(self.key_sums, panel, spec.depth), spec.depth, keys, there,
                    lambda first: scale)
        self.unpack(self.panel_of(self.value_sums, panel, spec.width), spec.width, values, there)
