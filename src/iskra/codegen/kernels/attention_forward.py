"""Loop IR of attention: softmax(queries · keys) · values, without ever storing all the scores.

A task takes a few panels of queries of one matrix and lets the keys pass by in blocks. For each it
keeps the largest score so far, the sum of the weights exp(score - largest) and the sum of the
values times the weights; when a larger score turns up, both sums are scaled down to it (M. Milakov
and N. Gimelshein, Online normalizer calculation for softmax, 2018; T. Dao et al., FlashAttention,
2022). What it leaves behind for the way back are two numbers a query.
"""

from iskra.codegen.ir import select, smaller
from iskra.codegen.kernels.attention_tiles import QueryPanels, exp_of_difference, finite_or_zero
from iskra.codegen.mathematics.floats import INF


class Forward(QueryPanels):
    """The kernel that computes the results of a few panels of queries.

    Strides count elements. out: (matrices, queries, width); state: (matrices, 2, queries), what is
    subtracted from a query's scores, and what their exponentials are multiplied by. kept: which
    weights are; those are multiplied by `share`.
    """

    pointers = ("query", "key", "value", "mask", "kept", "out", "state", "offsets")
    numbers = ("queries", "keys", "query_row", "key_row", "value_row", "mask_row", "kept_row",
               "blocks", "panels")
    kinds = "aaaaaaaafftn"
    operands = 5

    def write(self):
        f, spec, columns = self.function, self.spec, self.tile.columns
        self.packed = self.scratch(spec.panels * spec.depth)
        self.sums = self.scratch(spec.panels * spec.width)
        self.tops, self.totals = self.scratch(spec.panels), self.scratch(spec.panels)
        self.weights = self.scratch(spec.block + self.tile.rows)
        self.turned_scratch()
        first, last, count = self.begin_task(self.arg.queries)
        with f.loop(0, count) as panel:
            self.begin(panel, first + panel * columns)
        self.blocks(count, first, last, self.block)
        with f.loop(0, count) as panel:
            self.end(panel, first + panel * columns)

    def begin(self, panel, query):
        """Pack a panel of queries; nothing has been seen yet."""
        spec = self.spec
        self.pack(self.panel_of(self.packed, panel, spec.depth), *self.query_rows(0, query),
                  spec.depth, scale=self.arg.scale.to(self.tile.kind))
        self.fill(self.panel_of(self.sums, panel, spec.width), spec.width)
        self.fill(self.panel_of(self.tops, panel, 1), 1, -INF)
        self.fill(self.panel_of(self.totals, panel, 1), 1)

    def block(self, panel, query, key, there):
        """Let a block of keys pass by a panel."""
        f, arg, spec, kind = self.function, self.arg, self.spec, self.tile.kind
        self.turn_masks(query, key, there)
        before = self.vectors_of(self.tops, panel)
        after = self.all_scores(panel, query, key, there, before)
        bases = [finite_or_zero(top) for top in after]
        factors = [exp_of_difference(a - b) for a, b in zip(before, bases)]
        self.put(after, self.tops, panel)
        totals = [a * b for a, b in zip(self.vectors_of(self.totals, panel), factors)]
        self.put(self.exponentials(there, bases, totals), self.totals, panel)
        values = f.offset(self.starts[2], key * arg.value_row, kind)
        self.accumulate(self.panel_of(self.sums, panel, spec.width), spec.width, values,
                        arg.value_row, self.weights, there, factors)

    def all_scores(self, panel, query, key, there, tops):
        """Store the block's scores; return the largest, or `tops` where those are larger."""
        f, arg, tile = self.function, self.arg, self.tile
        tops = [f.variable(top, self.vector) for top in tops]
        packed = self.panel_of(self.packed, panel, self.spec.depth)
        keys = f.offset(self.starts[1], key * arg.key_row, tile.kind)
        with f.loop(0, there, tile.rows) as row:
            rows = self.tile_rows(row, there)
            sums = self.scores(rows, keys, packed, row, query - key)
            self.put_tile(sums, self.weights, row)
            for totals in sums:
                for top, total in zip(tops, totals):
                    # A score that is NaN makes NaN of the weights, not of the largest score.
                    top.set(select(top.get() < total.get(), total.get(), top.get()))
        return [top.get() for top in tops]

    def exponentials(self, there, bases, totals):
        """Turn the block's scores into weights; return the totals with them added."""
        f = self.function
        totals = [f.variable(total, self.vector) for total in totals]
        with f.loop(0, there) as row:
            scores = self.vectors_of(self.weights, row)
            weights = [exp_of_difference(s - b) for s, b in zip(scores, bases)]
            for total, weight in zip(totals, weights):
                total.set(total.get() + weight)
            if self.spec.drops:
                weights = [w * k for w, k in zip(weights, self.vectors_of(self.kept, row))]
            self.put(weights, self.weights, row)
        return [total.get() for total in totals]

    def end(self, panel, query):
        """Write the panel's results; a query that sees nothing gets zeros."""
        f, arg, spec, tile = self.function, self.arg, self.spec, self.tile
        there = smaller(arg.queries - query, tile.columns)
        totals = self.vectors_of(self.totals, panel)
        inverses = [1.0 / select(total.eq(0.0), 1.0, total) for total in totals]
        share = arg.share.to(tile.kind) if spec.drops else 1.0
        self.put([x * share for x in inverses], self.totals, panel)
        factors = self.panel_of(self.totals, panel, 1)
        out = f.offset(arg.out, (self.matrix * arg.queries + query) * spec.width, tile.kind)
        self.unpack(self.panel_of(self.sums, panel, spec.width), spec.width, out, there,
                    lambda first: f.load(factors, first, self.vector))
        bases = [finite_or_zero(top) for top in self.vectors_of(self.tops, panel)]
        for number, vectors in enumerate((bases, inverses)):
            self.put_line(vectors, arg.state, (self.matrix * 2 + number) * arg.queries + query,
                          there)
