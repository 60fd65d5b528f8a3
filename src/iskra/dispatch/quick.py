"""Teaching machine code to make an operator's calls (`iskra.runtime.quick`).

The short paths ask an operator's `QuickCalls` first. Where it does not know a call, they go on as
ever, and afterwards tell it by `miss`; after a few calls it begins to learn. It learns calls that
kernels serve, and calls on small operands that NumPy serves if kernels give the same bits: so it
makes no difference to anything but time when it begins.
"""

import os
import struct

import numpy as np

from iskra import graph, runtime
from iskra.autograd.node import AccumulateGrad, gradient_edge, next_sequence
from iskra.core.dtypes import FLOATING, of_numpy
from iskra.core.local import active, local
from iskra.dispatch.demands import may_alias
from iskra.dispatch.execute import kernel_arguments, least_size, quietly, resolve_dims
from iskra.dispatch.named import return_type
from iskra.dispatch.operator import NONE, bind
from iskra.dispatch.quick_bodies import agrees, watched
from iskra.dispatch.quick_moves import moves_alike, rearranged, seen
from iskra.dispatch.saving import SavedOutput
from iskra.dispatch.tape import PLAIN, OperatorNode, record
from iskra.tensor import PERHAPS, Parameter, Tensor, storage_of
from iskra.tensor.storage import Storage

_WANTED = os.environ.get("ISKRA_QUICK") != "0"
_PATIENCE = 8       # calls of an operator before the compiler is loaded for it
_MOST_SEEN = 256
_REFUSED = 2
_NONE = {}
_plain = np.empty(())  # has the shape of what is no tensor
_FAILURES = 32      # calls that could not be learnt before an operator gives up


def unknown(*args, **settings):
    """What an operator without a table knows of any call."""
    return None


class QuickCalls:
    """What machine code knows of an operator's calls.

    `call(*args)` is the result, or None, or a list with a result to be given to `record`.
    `view(*args)` is the same for operators whose results are views.
    `write(*args)` writes it into the first argument, `write_apart(out, *args)` into `out`; it
    returns that tensor, or None.
    `learning` tells whether `miss` is worth calling.
    """

    __slots__ = (
        "op", "call", "view", "write", "write_apart", "learning", "table", "misses", "failures",
        "seen",
    )

    def __init__(self, op):
        self.op = op
        self.call = self.view = self.write = self.write_apart = unknown
        self.learning = _WANTED
        self.table = None
        self.misses = self.failures = 0
        # Shapes, names of settings and floats among those -> 1, or that a call of them could not
        # be learnt.
        self.seen = {}

    def miss(self, args, settings=_NONE):
        """Take note of an ordinary call that was made otherwise.

        It is learnt when it comes a second time: calls of ever new sizes would cost more.
        """
        self.misses += 1
        if self.misses < _PATIENCE or graph.observers:
            return
        flat = runtime.quick.flattened(args)
        key = (*[getattr(a, "_array", _plain).shape for a in flat], *settings,
               *self._floats(args, settings))
        times = self.seen.get(key, 0)
        if times != 1:
            if not times:
                if len(self.seen) > _MOST_SEEN:
                    self.seen.clear()
                self.seen[key] = 1
            return
        if self.table is None and not self._open():
            return
        if not self._learn(args, settings):
            self.failures += 1
            self.seen[key] = _REFUSED
        if self.failures > _FAILURES or self.table.full:
            self.learning = False

    def _floats(self, args, settings):
        """The floats that are part of keys, and may be new in each call."""
        numbers = self.op.operands if self.table is None else self.table.numbers
        return [value for place, value in enumerate((*args, *settings.values()))
                if value.__class__ is float and place not in numbers]

    def _open(self):
        op, quick = self.op, runtime.quick
        able = quick.prepare(Tensor, Parameter, SavedOutput, Storage, OperatorNode,
                             AccumulateGrad, gradient_edge, next_sequence.__self__, storage_of,
                             PERHAPS, graph.observers)
        if not able or any(t >= quick.MOST_RECORDED for t in op.targets):
            self.learning = False
            return False
        # Numbers that programs hold for one value of, or bodies look at, are settings.
        numbers = () if op.fixes_numbers or _looks_at_numbers(op) else op.operands
        self.table = quick.Table(frozenset(numbers), op.targets, may_alias(op),
                                 tuple if op.result is None else return_type(op), _mode(op))
        self.call, self.view = self.table.call, self.table.view
        self.write, self.write_apart = self.table.write, self.table.write_apart
        return True

    def record(self, result, args, settings=_NONE):
        """Record a call of which machine code has made the result; return that.

        And teach it how to record such calls, where a node keeps only what follows from the
        arguments.
        """
        op = self.op
        bound = bind(op, args, settings)
        record(op, bound, result)
        tensors = result if isinstance(result, tuple) else (result,)
        edges = [None if t is None else t._edge or t._view_edge for t in tensors]
        hung = [i for i, edge in enumerate(edges) if edge]
        if hung:
            self._learn_recording(edges[hung[0]][0], args, settings, bound, hung)
        return result

    def note_write(self, args, settings):
        """Take note of a write in place that was made otherwise, and perhaps recorded.

        The first argument is the target.
        """
        op, target = self.op, args[0]
        if target.__class__ not in PLAIN or op.hidden or op.operands[0]:
            return
        if active.intercepting or target._base is not None:
            return
        if self.table is None or not self.table.knows(args, settings):
            self.miss(args, settings)
        elif local.grad_enabled and target._requires_grad and target._edge is not None:
            node = target._edge[0]
            if isinstance(node, OperatorNode) and node.operator is op:
                self._learn_recording(node, args, settings, bind(op, args, settings), [0], True)

    def _learn_recording(self, node, args, settings, bound, hung, written=False):
        op = self.op
        if active.watching or node.plan not in (
                *op.tape_plans.values(), *op.list_plans.values()):
            return
        places = _places_of(args)
        saved = _saved(op, node, args, bound, places, written)
        if saved is not None:
            targets = [p for t in op.targets for p in (places[t] if t < len(args) else (-1,))]
            edges = [t if e is not None else -1
                     for t, e in zip(targets, node.input_edges, strict=True)]
            self.table.learn_recording(args, settings, node, edges, saved, hung, written)

    def _learn(self, args, settings):
        """Learn a call; False where that cannot be done."""
        op = self.op
        if op.rearranges and (self._learn_moves(args, settings) or not op.repeats):
            return self.table.knows(args, settings)
        if op.kind == "view":
            return not settings and self._learn_views(args)
        try:
            args = [a.restore(None) if a.__class__ is SavedOutput else a for a in args]
            bound = bind(op, (*args,), settings)
            if op.inplace_flag is not None and bound[op.inplace_flag]:
                return False
            arguments, computes_in, stores_as = kernel_arguments(op, bound)
            found = graph.known(
                op, arguments, computes_in, stores_as) if op.has_kernels else None
        except Exception:  # what is wrong is said where the call is made
            return False
        if found is None:
            return op.repeats and self._learn_body(args, settings, bound)
        given = 0 if _looks_at_numbers(op) else sum(
            a.__class__ in (int, float) for i, a in enumerate(args) if i in op.operands)
        scalars = sum(isinstance(a, np.generic) for a in arguments)
        if scalars != given or scalars and op.fixes_numbers and self.table.numbers:
            return False
        program, launch, form = found
        answer = _answer(launch, form, graph.given_numbers(op, arguments, not self.table.numbers))
        if not is_kernels_own(op, args, least_size(op, bound)) and not (
                program.is_exact and (_lie_in_rows(args) or _gives_rows(op, arguments))):
            return False
        if answer is None or not op.moves and _is_by_default(args, answer[0]):
            return False
        return self.table.learn(args, settings, *answer, over=_is_map(launch))

    def _learn_moves(self, args, settings):
        """Learn a call whose body puts elements elsewhere."""
        try:
            answer = rearranged(self.op, args, settings)
        except Exception:  # what is wrong is said where the call is made
            return False
        if answer is None or not self.table.learn(args, settings, *answer):
            return False
        if moves_alike(self.op, self.table, args, settings):
            return True
        self.table.forget(args, settings)
        return False

    def _learn_views(self, args):
        """Learn a call of a view operator."""
        try:
            answer = None if self.op.storage else seen(self.op, args)
        except Exception:  # what is wrong is said where the call is made
            return False
        return answer is not None and self.table.learn(args, _NONE, *answer)

    def _learn_body(self, args, settings, bound):
        """Learn a call whose body runs kernels."""
        try:
            bound = resolve_dims(self.op, bound)
            answer = watched(self.op, bound)
        except Exception:
            return False
        if answer is None or not self.table.learn(args, settings, *answer):
            return False
        if agrees(self.op, self.table, args, bound, settings):
            return True
        self.table.forget(args, settings)
        return False


def _is_map(launch):
    """Whether each element of the one result follows from those of operands at its place.

    And is written so that it stays in the caches.
    """
    steps, outputs = launch
    if not len(steps) == len(outputs) == len(steps[0].writes) == 1:
        return False
    kernel = steps[0].kernel
    return not kernel.nest.reduced and not kernel.layout.streamed


def _mode(op):
    """What `runtime.quick_views_ir` makes of a view operator's calls."""
    if op.outputs != 1:
        return 2
    return 0 if op.formulas else 1


def _places_of(args):
    """Where each argument stands, or a list's items, if tensors in lists count as arguments."""
    places, start = [], 0
    for value in args:
        stop = start + len(runtime.quick.flattened((value,)))
        places.append(range(start, stop))
        start = stop
    return places


def _saved(op, node, args, bound, places, written):
    """What a node saves, as `Table.learn_recording` wants it; None where it may change.

    places: what `_places_of` says of the arguments; written: whether the first argument is
    overwritten, so that formulas get a copy of it.
    """
    plan, position, saved = node.plan, op.signature.position, []
    for name, value in zip(plan.names, node.saved, strict=True):
        place = position.get(name)
        if name in op.hidden:
            saved.append(("hidden", 1 + op.hidden.index(name)))
        elif name == "result":
            if op.outputs != 1 and not op.hidden:
                return None
            saved.append(("result", 0))
        elif name in plan.items:
            if value._dtype.category >= FLOATING:   # saved without its node
                return None
            saved.append(("item", plan.items[name]))
        elif place is None:
            if name.endswith("_offset"):  # nothing in the key tells it
                return None
            saved.append(("constant", value))
        elif place >= len(args) or place == op.signature.variadic:
            saved.append(("constant", bound[place]))
        elif written and place == 0:
            if 0 not in op.targets:
                return None
            saved.append(("original", 0))
        elif runtime.quick.is_list(args[place]):    # saved as more than it is
            return None
        else:
            kind = "tensor" if isinstance(args[place], Tensor) else "argument"
            saved.append((kind, places[place][0]))
    return saved


def _looks_at_numbers(op):
    """Whether the body is given Python's numbers as they are."""
    return op.scalars and op.promote is NONE


def is_kernels_own(op, args, large):
    """Whether the kernel tier serves a call, which it does from `large` elements on."""
    if op.kind != "pointwise":
        return args[op.operands[0]]._array.size >= large
    return any(a._array.size >= large for a in args if isinstance(a, Tensor))


def _lie_in_rows(args):
    """Whether all tensors do; then NumPy's results do, as do those of kernels that are learnt."""
    return all(a._array.flags.c_contiguous for a in args if hasattr(a, "_array"))


def _gives_rows(op, arguments):
    """Whether NumPy's result does, of operands that do not."""
    found = quietly(op.compute, list(arguments))
    return found.__class__ is np.ndarray and found.flags.c_contiguous


def _is_by_default(args, results):
    """Whether results are floats though no operand is: the default dtype, which may change."""
    given = any(isinstance(a, Tensor) and a._dtype.category >= FLOATING for a in args)
    return not given and any(dtype.category >= FLOATING for _, _, dtype in results)


def _answer(launch, form, numbers):
    """A launch as `Table.learn` wants it; None where results have their axes in another order.

    numbers: what its scalars are, None for an operand, else a setting's value.
    """
    steps, outputs = launch
    written = [expr for step in steps for expr in step.writes]
    if any(order is not None for step in steps for order in step.orders):
        return None
    written.sort(key=lambda expr: expr is not outputs[0])  # the first answer comes first
    number = {expr: n for n, expr in enumerate(written)}
    results = [None] * len(written)
    for step in steps:
        for expr, shape, dtype in zip(step.writes, step.shapes, step.dtypes):
            results[number[expr]] = shape, dtype, of_numpy(dtype)
    left = iter(outputs)
    answers = [next(left)] if form.places is None else [
        next(left) if there else None for there in form.places]
    returned = None if form.places is None else [
        None if expr is None else number[expr] for expr in answers]
    steps = [_step(step, number, numbers) for step in steps]
    return results, returned, steps, [number[e] for e in left]


def _step(step, number, numbers):
    slots = [("operand", r) if r.__class__ is int else ("result", number[r]) for r in step.reads]
    slots += [("result", number[e]) for e in step.writes]
    kinds = ["double" if e.dtype.kind == "f" else "integer" for e in step.kernel.nest.scalars]
    slots += [
        (kind, numbers[:place].count(None)) if numbers[place] is None
        else ("constant", _bits(kind, numbers[place]))
        for kind, place in zip(kinds, step.scalars)]
    slots += [("constant", value) for value in step.integers]
    return step.kernel.address, step.tasks, slots


def _bits(kind, number):
    """A number as a kernel is given it, a double or an integer, in a word."""
    return number if kind == "integer" else struct.unpack("<q", struct.pack("<d", number))[0]
