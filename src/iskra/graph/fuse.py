"""The fuser: from a graph of expressions to as few kernels as its data flow allows.

Maps cost no kernel: they are computed inside the kernels that need their values. A reduction
shares a kernel with the reductions over the same axes of the same space, also where one needs
another's result (a row program: softmax, layer_norm); one over other axes is a kernel of its
own, but for sums over all other axes (the gradients of layer_norm's weight and bias): a row program
takes those along, panel by panel of its rows, and a second kernel adds the panels up. An output
joins a kernel whose space has its shape. Everything else follows.
"""

import numpy as np

from iskra.codegen.expr import Expr, cast, rearranged
from iskra.codegen.extent import Extent, NotTraceable, same_shape
from iskra.codegen.placement import Nest
from iskra.codegen.primitives import kind_of

CHUNKS = Extent((-1,))  # into how many chunks a long reduction is cut
_PANELS = -2  # from here on down, symbols of the numbers of panels of rows


def expressions(roots, stop=()):
    """All that the roots need, operands first; what is in `stop` is not looked into."""
    order, seen, stack = [], set(), [(r, False) for r in reversed(list(roots))]
    while stack:
        expr, done = stack.pop()
        if done:
            order.append(expr)
        elif expr not in seen:
            seen.add(expr)
            stack.append((expr, True))
            if expr in stop:
                continue
            stack.extend((a, False) for a in reversed(expr.args) if a not in seen)
    return order


def reductions(roots):
    """The reductions among them, operands first."""
    return [e for e in expressions(roots) if e.op == "reduce"]


def column_sums(roots):
    """Those reductions that sum floats down the columns where others go along the rows."""
    found = reductions(roots)
    return [e for e in found if e.attr[0] == "add" and e.dtype.kind == "f"
            and e.dtype == e.args[0].dtype and any(_crosses(e, other) for other in found)]


def _crosses(columns, rows):
    """Whether one reduces just the axes that the other, which reduces the last, leaves."""
    shape, other = columns.args[0].shape, rows.args[0].shape
    return (same_shape(shape, other) and len(shape) - 1 in rows.attr[1]
            and _other_axes(rows) == columns.attr[1] != ())


def _other_axes(reduction):
    """The axes that a reduction leaves."""
    return tuple(a for a in range(reduction.args[0].ndim) if a not in reduction.attr[1])


class _Draft:
    """A kernel in the making."""

    def __init__(self, shape, taken, split=False):
        self.shape = shape
        self.taken = taken  # the reduced axes
        self.split = split
        self.panels = None  # how many panels of rows there are, where columns are summed
        self.members = []  # reductions
        self.outputs = []  # (expression, its axes in the space)
        self.deps = set()  # drafts that must run before

    def places(self, expr):
        """The axes of the space that an output's axes are, or None if its shape does not fit."""
        if self.split:
            return None
        space = range(len(self.shape))
        kept = tuple(a for a in space if a not in self.taken)
        if same_shape(expr.shape, self.shape):
            return tuple(space)
        if same_shape(expr.shape, [self.shape[a] for a in kept]):
            return kept
        ones = [1 if a in self.taken else n for a, n in enumerate(self.shape)]
        if same_shape(expr.shape, ones):
            return tuple(None if a in self.taken else a for a in space)
        return None


def partition(outputs, split, columns=()):
    """The kernels for these expressions: a list of `Nest`, in the order in which they run.

    `split` are those reductions that are cut into chunks, since their rows are too few to share out
    among threads; `columns` those that row programs take along (see `column_sums`).
    """
    outputs, partial, panelled = _cut(outputs, split, columns)
    drafts, home = [], {}
    for expr in reductions(outputs):
        operand = expr.args[0]
        taken = _other_axes(expr) if expr in panelled else expr.attr[1]
        before = {home[r] for r in reductions([operand])}
        draft = _fitting(drafts, operand.shape, taken, before, expr in partial)
        if draft is None:
            draft = _Draft(operand.shape, taken, expr in partial)
            drafts.append(draft)
        if expr in panelled:
            draft.panels = expr.shape[0]
            draft.outputs.append((expr, (operand.ndim, *taken)))
        draft.members.append(expr)
        home[expr] = draft
    for expr in dict.fromkeys(outputs):
        _assign(drafts, expr, home)
    return _build(drafts, outputs, home)


def _fitting(drafts, shape, taken, before, split):
    """The last draft with this space, if nothing that it must wait for comes after it."""
    latest = max((drafts.index(d) for d in before), default=0)
    for draft in reversed(drafts[latest:]):
        fits = draft.split == split and draft.taken == taken
        if fits and same_shape(draft.shape, shape):
            return draft
    return None


def _assign(drafts, expr, home):
    """Find the kernel that writes an output."""
    if expr in home:
        draft = home[expr]
        draft.outputs.append((expr, _own_axes(draft)))
        return
    needed = [home[r] for r in reductions([expr])]
    latest = max((drafts.index(d) for d in needed), default=0)
    for draft in drafts[latest:]:  # the first may have at hand what the output needs
        axes = draft.places(expr)
        if axes is not None and _fits(draft, expr, axes, home):
            draft.outputs.append((expr, axes))
            return
    for draft in drafts[latest:]:
        if not draft.taken and same_shape(draft.shape, expr.shape):
            draft.outputs.append((expr, tuple(range(expr.ndim))))
            return
    draft = _Draft(expr.shape, ())
    draft.outputs.append((expr, tuple(range(expr.ndim))))
    drafts.append(draft)


def _own_axes(draft):
    """The axes of a reduction's result in its kernel's space."""
    kept = tuple(a for a in range(len(draft.shape)) if a not in draft.taken)
    return (len(draft.shape), *kept) if draft.split else kept


def _fits(draft, expr, axes, home):
    """Whether the draft's reductions lie in the output as they lie in the draft's space."""
    nest = Nest(draft.shape, draft.taken)
    for r in reductions([expr]):
        if home[r] is not draft:
            nest.given.add(r)
    try:
        nest.place(expr, axes)
    except NotTraceable:
        return False
    return True


def _build(drafts, outputs, home):
    """Nests from drafts; results that other kernels need become outputs too."""
    wanted = {}  # draft -> reductions of other drafts that it reads
    for draft in drafts:
        roots = [e for e, _ in draft.outputs] + [m.args[0] for m in draft.members]
        foreign = {r for r in home if home[r] is not draft}
        wanted[draft] = [e for e in expressions(roots, foreign) if e in foreign]
    for draft in drafts:
        for r in wanted[draft]:
            maker = home[r]
            if all(e is not r for e, _ in maker.outputs):
                maker.outputs.append((r, _own_axes(maker)))
    nests = []
    for draft in drafts:
        if not draft.outputs:
            continue
        nest = Nest(draft.shape, draft.taken, draft.split, draft.panels)
        nest.given.update(wanted[draft])
        for expr, axes in draft.outputs:
            kind_of(expr.dtype)
            nest.output(expr, axes)
        nests.append(nest)
    return nests, outputs


def _cut(outputs, split, columns):
    """Replace reductions by ones over chunks or panels and ones over their results.

    Returns the outputs, the reductions over chunks and those over panels.
    """
    new, partial, panelled = {}, set(), set()
    if not split and not columns:
        return outputs, partial, panelled
    spaces = []  # which panels are alike
    for expr in expressions(outputs):
        args = tuple(new[a] for a in expr.args)
        same = all(a is b for a, b in zip(args, expr.args))
        fresh = expr if same else Expr(
            expr.op, args, expr.attr, expr.dtype, expr.shape, expr.weak)
        if expr in split:
            part = _partial(fresh)
            partial.add(part)
            fresh = _combined(part, fresh)
        elif expr in columns:
            part = _panelled(fresh, spaces)
            panelled.add(part)
            fresh = _combined(part, fresh)
        new[expr] = fresh
    return [new[e] for e in outputs], partial, panelled


def _panelled(expr, spaces):
    """The sums of each panel of rows."""
    space = expr.args[0].shape, expr.attr[1]
    found = [n for n, (shape, axes) in enumerate(spaces)
             if axes == space[1] and same_shape(shape, space[0])]
    if not found:
        found = [len(spaces)]
        spaces.append(space)
    panels = Extent((_PANELS - found[0],))
    return Expr("reduce", expr.args, expr.attr, expr.dtype, (panels, *expr.shape))


def _partial(expr):
    """The reduction of each chunk; sums are kept in double precision."""
    wide = expr.dtype.kind == "f" and expr.attr[0] == "add"
    dtype = np.dtype(np.float64) if wide else expr.dtype
    return Expr("reduce", expr.args, expr.attr, dtype, (CHUNKS, *expr.shape))


def _combined(part, expr):
    """The reduction of the chunks' results."""
    name = expr.attr[0]
    if not name.startswith("arg"):
        return cast(Expr("reduce", (part,), (name, (0,)), part.dtype, expr.shape), expr.dtype)
    # Each chunk gives a place: the elements there are compared, the first of the best wins.
    (operand,), (axis,) = expr.args, expr.attr[1]
    moved = rearranged(operand, (axis, *(a for a in range(operand.ndim) if a != axis)))
    found = Expr("pick", (moved, part), 0, operand.dtype, part.shape)
    best = Expr("reduce", (found,), (name, (0,)), expr.dtype, expr.shape)
    where = rearranged(best, (None, *range(best.ndim)))
    place = Expr("pick", (part, where), 0, part.dtype, (1, *best.shape))
    return rearranged(place, tuple(range(1, place.ndim)))

