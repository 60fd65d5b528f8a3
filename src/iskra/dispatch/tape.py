"""Recording a call for backward: the node, its edges, and the values that its formulas name.

What must be saved depends only on which parameters want a gradient, so it is worked out once per
operator and such choice (`Plan`); recording a call then only picks the values up.
"""

import numpy as np

from iskra.autograd.node import Node, gradient_edge, next_sequence
from iskra.core.dtypes import FLOATING
from iskra.core.local import active, local
from iskra.dispatch.plan import Plan
from iskra.dispatch.saving import RESTORED, SavedOutput, overwritten, save_outputs
from iskra.tensor import Parameter, Tensor

_new = object.__new__
ndarray = np.ndarray
PLAIN = frozenset((Tensor, Parameter))  # the classes that no ``__torch_function__`` can bend
FREED = object()
_MOST_PLANS = 256   # for lists of different lengths


class OperatorNode(Node):
    """A recorded operator call. One subclass per printed name is made on first use."""

    __slots__ = ("plan", "saved", "checks")
    operator = None

    @property
    def op_name(self):
        return self.operator.name

    def apply(self, g):
        """The gradient along each edge, as the operator's formulas have it."""
        plan = self.plan
        if plan.run is not None:
            results = plan.run(self, g)
            if results is not None:
                return results
        elif plan.direct is not None and plan.direct.quick.table is not None:
            plan.run = plan.direct.quick.table.applier(
                len(self.input_edges), plan.slots, plan.order)
        results = [None] * len(self.input_edges)
        values = (g, *self.values()) if plan.names else None
        for function, pick, place, places in plan.steps:
            found = function(g) if pick is None else function(*pick(values))
            if place is not None:
                results[place] = found
            else:
                _lay_out(found, places, results)
        return results

    def values(self):
        """What was saved, checked against the versions it had."""
        saved = self.saved
        if saved is FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward. The operator was "
                f"'{self.operator.name}'."
            )
        restored = None
        for place, version in self.checks:
            value = saved[place]
            if version is RESTORED or value.__class__ is SavedOutput:
                if restored is None:
                    restored = list(saved)
                restored[place] = value.restore(self)
            if version is not RESTORED:
                storage = value._storage
                if storage is not None and storage.version != version:
                    value = value if restored is None else restored[place]
                    raise RuntimeError(overwritten(value, version, self))
        return saved if restored is None else restored

    def save_result(self, tensor):
        """Save the output, if a formula names it, once it has been written."""
        names = self.plan.names
        if "result" in names:
            place = names.index("result")
            self.saved[place], version = save_outputs(tensor)
            self.checks.append((place, version))

    def release(self):
        if self.plan.keeps:
            self.saved = FREED

    def __getattr__(self, name):
        """``node._saved_other`` shows a value saved for backward, as in PyTorch."""
        names = self.plan.names if name.startswith("_saved_") else ()
        if name[7:] in names:
            return self.values()[names.index(name[7:])]
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")


def _lay_out(found, places, results):
    """Put gradients of several targets, or of lists, where their edges are."""
    if len(places) == 1:
        found = (found,)
    for (start, stop), gradient in zip(places, found, strict=True):
        if gradient.__class__ is list or gradient.__class__ is tuple:
            results[start:stop] = gradient
        else:
            results[start] = gradient


def node_class(op, name, count):
    """The class of a call's node: named as PyTorch's, made on first use."""
    found = op.node_classes.get((name, count))
    if found is None:
        members = {"__slots__": (), "operator": op, "output_count": count}
        found = op.node_classes[name, count] = type(name, (OperatorNode,), members)
    return found


def record(op, bound, output):
    """Attach a call to the graph if any of its tensors requires a gradient."""
    if active.without_grad and not local.grad_enabled:
        return
    edges = []
    wanted = 0
    bit = 1
    for target in op.targets:
        value = bound[target]
        cls = value.__class__
        edge = None
        if cls is Tensor or cls is Parameter:
            if value._requires_grad:
                edge = value._edge or gradient_edge(value)
                if edge is not None:
                    wanted |= bit
        elif isinstance(value, (list, tuple, Tensor)):
            record_lists(op, bound, output)
            return
        edges.append(edge)
        bit <<= 1
    if wanted:
        hang(op, wanted, edges, bound, output)


def record_one(op, input, bound, output):
    """`record` for a pointwise call of one plain tensor that (perhaps) requires a gradient."""
    if active.without_grad and not local.grad_enabled:
        return
    if op.targets != (0,):
        record(op, bound, output)
        return
    edge = input._edge or gradient_edge(input)
    if edge is not None:
        hang(op, 1, (edge,), bound, output)


def hang(op, wanted, edges, bound, output):
    """Make the node of a call in which the targets in `wanted` (a bit each) want a gradient."""
    plan = op.tape_plans.get(wanted) or _plan(op, wanted)
    node = _new(plan.node_class or _class_of(op, bound, output))
    node.input_edges = edges
    node.plan = plan
    node._extras = None
    node.sequence_nr = next_sequence()
    node.saved, node.checks = plan.collect(bound, output) if plan.names else _NOTHING
    if active.watching and local.anomaly:
        node._more().forward_trace = _trace()
    if output.__class__ is Tensor and output._base is None and output._dtype.category >= FLOATING:
        node.output_shape = output._array.shape
        node.output_dtype = output._dtype
        output._requires_grad = True
        output._edge = (node, 0)
    else:
        attach(node, output)


def pair_recorder(op):
    """Give `op` its `record_pair`, and return it: ``record_pair(first, second, output)``.

    That is `record` for pointwise calls of two operands, plain tensors or numbers, and no settings.
    """
    if op.targets != (0, 1):
        op.record_pair = lambda first, second, output: record(
            op, (first, second, *op.settings), output
        )
        return op.record_pair
    settings, plans = op.settings, op.tape_plans

    def record_pair(first, second, output):
        if active.without_grad and not local.grad_enabled:
            return
        edge = other = None
        cls = first.__class__
        if (cls is Tensor or cls is Parameter) and first._requires_grad:
            edge = first._edge or gradient_edge(first)
        cls = second.__class__
        if (cls is Tensor or cls is Parameter) and second._requires_grad:
            other = second._edge or gradient_edge(second)
        wanted = (edge is not None) + 2 * (other is not None)
        if not wanted:
            return
        plan = plans.get(wanted) or _plan(op, wanted)
        if plan.names or plan.node_class is None or active.watching:
            node = make_node(op, plan, (first, second, *settings), (edge, other), output)
        else:
            node = _new(plan.node_class)
            node.input_edges = (edge, other)
            node.plan = plan
            node._extras = None
            node.sequence_nr = next_sequence()
            node.saved = node.checks = ()
        node.output_shape = output._array.shape
        node.output_dtype = output._dtype
        output._requires_grad = True
        output._edge = (node, 0)

    op.record_pair = record_pair
    return record_pair


def _plan(op, wanted):
    """The plan for calls in which these targets (a bit each) want a gradient."""
    places = {target: (i, i + 1) for i, target in enumerate(op.targets)}
    targets = [t for i, t in enumerate(op.targets) if wanted >> i & 1]
    plan = op.tape_plans[wanted] = _make_plan(op, targets, places, True)
    return plan


def _make_plan(op, wanted, places, plain):
    plan = Plan(op, wanted, places, plain)
    fixed = isinstance(op.node, str) and op.outputs is not None
    count = 1 if op.hidden else op.outputs
    plan.node_class = node_class(op, op.node, count) if fixed else None
    return plan


def record_lists(op, bound, outputs):
    """`record` for calls with lists of tensors, or tensors of unusual classes."""
    edges, plan = edges_of(op, bound)
    if plan is not None:
        attach(make_node(op, plan, bound, edges, outputs), outputs)


def edges_of(op, bound):
    """The edges of a call, and its plan (None where nothing requires a gradient)."""
    edges, places, wanted, bits, plain = [], {}, [], 0, True
    for number, target in enumerate(op.targets):
        value = bound[target]
        start = len(edges)
        listed = isinstance(value, (list, tuple))
        plain = plain and not listed
        for item in value if listed else (value,):
            wants = isinstance(item, Tensor) and item._requires_grad
            edges.append(gradient_edge(item) if wants else None)
        places[target] = (start, len(edges))
        if any(e is not None for e in edges[start:]):
            wanted.append(target)
            bits |= 1 << number
    if not wanted:
        return edges, None
    if plain:
        return edges, op.tape_plans.get(bits) or _plan(op, bits)
    key = bits, *places.values()
    plan = op.list_plans.get(key)
    if plan is None:
        if len(op.list_plans) > _MOST_PLANS:
            op.list_plans.clear()
        plan = op.list_plans[key] = _make_plan(op, wanted, places, False)
    return edges, plan


def make_node(op, plan, bound, edges, outputs):
    """The node of a call, holding what its formulas name.

    `outputs` is None where the result does not exist yet (see `OperatorNode.save_result`).
    """
    node = _new(plan.node_class or _class_of(op, bound, outputs))
    node.input_edges = edges
    node.plan = plan
    node._extras = None
    node.sequence_nr = next_sequence()
    node.saved, node.checks = plan.collect(bound, outputs) if plan.names else _NOTHING
    if active.watching and local.anomaly:
        node._more().forward_trace = _trace()
    return node


_NOTHING = (), ()


def _class_of(op, bound, outputs):
    """The node's class where it depends on the arguments."""
    name = op.node if op.node.__class__ is str else op.node(*op.pick_named(bound))
    count = 1 if op.outputs == 1 or op.hidden else len(outputs)
    return op.node_classes.get((name, count)) or node_class(op, name, count)


def _trace():
    import traceback

    return traceback.format_stack()[:-3]


def attach(node, outputs):
    """Make `node` the history of the outputs, to whose shapes gradients will be fitted."""
    if node.output_count == 1:
        output = outputs if isinstance(outputs, Tensor) else outputs[0]
        node.output_shape = output._array.shape
        node.output_dtype = output._dtype
        _give_edge(output, (node, 0))
        return
    node.output_shape = [None if t is None else t._array.shape for t in outputs]
    node.output_dtype = [None if t is None else t._dtype for t in outputs]
    for number, tensor in enumerate(outputs):
        if tensor is not None:
            _give_edge(tensor, (node, number))


def _give_edge(tensor, edge):
    if tensor._dtype.category >= FLOATING:
        tensor._requires_grad = True
        if tensor._base is None:
            tensor._edge = edge
        else:
            tensor._view_edge = edge
