"""Recording a call for backward: the node, its edges, and the values that its formulas name.

What must be saved depends only on which parameters want a gradient, so it is worked out once per
operator and such choice (`Plan`); recording a call then only picks the values up.
"""

from operator import attrgetter, itemgetter

import numpy as np

from iskra.autograd.node import Node, gradient_edge, next_sequence
from iskra.core.dtypes import FLOATING, of_numpy
from iskra.core.local import active, local
from iskra.dispatch.execute import quiet_run
from iskra.dispatch.operator import calling
from iskra.graph import LARGE
from iskra.tensor import Parameter, Tensor, storage_of

_new = object.__new__
ndarray = np.ndarray
PLAIN = frozenset((Tensor, Parameter))  # the classes that no ``__torch_function__`` can bend
FREED = object()
RESTORED = object()  # in place of a version: the value itself knows how it is restored


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
        if plan.direct is not None and active.without_grad and not local.grad_enabled:
            results = self.apply_directly(g)
            if results is not None:
                return results
        results = [None] * len(self.input_edges)
        values = (g, *plan.needs, *self.values()) if plan.needy else None
        for function, pick, place, places in plan.steps:
            found = function(g) if pick is None else function(*pick(values))
            if place is not None:
                results[place] = found
            else:
                _lay_out(found, places, results)
        return results

    def apply_directly(self, g):
        """The gradients, if there is one formula, a call of an operator in which all is ordinary:
        small operands of one dtype that the body takes as they are. None where there is more to do.
        """
        plan, kind = self.plan, g._dtype
        op, pick, body = plan.direct
        if not (op.plans if body is None else op.taken).get(kind) or active.intercepting:
            return None
        arrays = []
        for value in pick((g, *self.values())):
            cls = value.__class__
            if cls is Tensor or cls is Parameter:
                if value._dtype is not kind or value._array.size >= LARGE:
                    return None
                value = value._array
            arrays.append(value)
        try:
            found = quiet_run(body or op.plans[kind][0], *arrays)
        except Exception:  # the whole call does it again and says what is wrong
            return None
        results = [None] * len(self.input_edges)
        for place, array in zip(plan.order, found if found.__class__ is tuple else (found,)):
            if array is not None:
                result = results[place] = _new(Tensor)
                result._array = array if array.__class__ is ndarray else np.asarray(array)
                result._dtype = of_numpy(array.dtype)
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
            if version is RESTORED:
                if restored is None:
                    restored = list(saved)
                restored[place] = value.restore(self)
            elif value._storage is not None and value._storage.version != version:
                raise RuntimeError(_overwritten(value, version, self))
        return saved if restored is None else restored

    def save_result(self, tensor):
        """Save the output, if a formula names it, once it has been written."""
        names = self.plan.names
        if "result" in names:
            place = names.index("result")
            self.saved[place] = _save_output(tensor, 0)
            self.checks.append((place, RESTORED))

    def release(self):
        if self.plan.keeps:
            self.saved = FREED

    def __getattr__(self, name):
        """``node._saved_other`` shows a value saved for backward, as in PyTorch."""
        names = self.plan.names if name.startswith("_saved_") else ()
        if name[7:] in names:
            return self.values()[names.index(name[7:])]
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")


class Plan:
    """How to record a call of `op` in which the parameters in `wanted` want a gradient.

    `names` are those of the values to save: arguments, picked by `pick`; `facts` about arguments;
    last the result, if it `saves_result`. `steps` are the formulas as `_step` reads them, whose
    arguments are picked from ``(g, *needs, *what was saved)``. `places` tells where each
    parameter's edges lie; `plain` that each has just one.
    """

    __slots__ = (
        "names", "pick", "facts", "saves_result", "keeps", "needs", "needy", "steps", "node_class",
        "direct", "order",
    )

    def __init__(self, op, wanted, places, plain):
        formulas = _chosen(op.formulas, wanted)
        position = op.signature.position
        names = dict.fromkeys(n for f in formulas for n in f.captures)
        arguments = [n for n in names if n != "result" and n in position]
        facts = [n for n in names if n != "result" and n not in position]
        self.saves_result = "result" in names
        self.names = [*arguments, *facts, *(["result"] if self.saves_result else [])]
        self.pick = _picker([position[n] for n in arguments])
        self.facts = [_fact(op, n) for n in facts]
        self.keeps = self.saves_result or any(position[n] in op.operands for n in arguments)
        self.needs = tuple([tuple([t in wanted for t in f.targets])
                            for f in formulas if "needs" in f.names])
        self.needy = bool(self.needs or self.names)
        self.steps = self._steps(formulas, places, plain)
        self.direct = _direct(formulas[0], self.steps[0]) if plain and len(formulas) == 1 else None
        self.order = [places[t][0] for t in formulas[0].targets]
        fixed = isinstance(op.node, str) and op.outputs is not None
        self.node_class = node_class(op, op.node, op.outputs) if fixed else None

    def _steps(self, formulas, places, plain):
        steps, seen = [], 0
        for formula in formulas:
            position = {"g": 0, "needs": 1 + seen}
            seen += "needs" in formula.names
            for place, name in enumerate(self.names, 1 + len(self.needs)):
                position[name] = place
            steps.append(_step(formula, [position[n] for n in formula.names], places, plain))
        return steps

    def collect(self, bound, outputs):
        """The values to save in the order of `names`, and what to check when they are used.

        The checks are pairs: a value's place, and its version or `RESTORED`.
        """
        saved, checks = list(self.pick(bound)), []
        for place, value in enumerate(saved):
            cls = value.__class__
            if cls in _SIMPLE:
                continue
            if (cls is Tensor or cls is Parameter) and not active.watching:
                storage = value._storage
                checks.append((place, 0 if storage is None else storage.version))
            else:
                saved[place], version = _save_input(value)
                if version is not None:
                    checks.append((place, version))
        for index, describe in self.facts:
            saved.append(describe(bound[index]))
        if self.saves_result:
            if outputs is not None:
                checks.append((len(saved), RESTORED))
            saved.append(_save_outputs(outputs))
        return saved, checks


def _direct(formula, step):
    """``(operator, how to pick its arguments, its body)`` of a formula that calls it, or None.

    A pointwise operator's body is told by its plans.
    """
    if formula.function.__class__ is not calling:
        return None
    op = formula.function.operator
    return op, step[1], None if op.kind == "pointwise" else op.body


def _picker(places):
    """A function that picks these places of a sequence, as a sequence."""
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    return itemgetter(*places) if places else itemgetter(slice(0))


def _chosen(formulas, wanted):
    """The formulas of a call: one for several parameters goes before those for each of them.

    It is taken where all of them want a gradient, or where there is no other.
    """
    chosen, left = [], set(wanted)
    for formula in sorted(formulas, key=lambda f: -len(f.targets)):
        if left.issuperset(formula.targets):
            chosen.append(formula)
            left.difference_update(formula.targets)
    for formula in formulas:
        if not left.isdisjoint(formula.targets):
            chosen.append(formula)
            left.difference_update(formula.targets)
    return chosen


_SIMPLE = frozenset({int, float, bool, type(None), str})


def _step(formula, slots, places, plain):
    """``(function, how to pick its arguments, the result's place or None, all places)``.

    Nothing is picked for a function of the gradient alone.
    """
    pick = None if slots == [0] else _picker(slots)
    places = [places[t] for t in formula.targets]
    return formula.function, pick, places[0][0] if plain and len(places) == 1 else None, places


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


def _fact(op, name):
    """The position of a parameter and the function that tells a fact of it."""
    owner, _, fact = name.rpartition("_")
    return op.signature.position[owner], _FACTS[fact]


def _each(describe):
    def described(value):
        if isinstance(value, Tensor):
            return describe(value)
        if isinstance(value, (list, tuple)):
            return tuple(described(v) for v in value)
        return None

    return described


_FACTS = {
    "shape": _each(attrgetter("_array.shape")),
    "dtype": _each(attrgetter("_dtype")),
    "stride": _each(Tensor.stride),
    "offset": _each(Tensor.storage_offset),
}


class SavedOutput:
    """An output kept for backward, as its bare array: it holds the node, so holding it whole
    would make a cycle."""

    __slots__ = ("array", "dtype", "storage", "version", "number")

    def restore(self, node):
        """The output, once more."""
        tensor = _new(Tensor)
        tensor._array = self.array
        tensor._dtype = self.dtype
        tensor._storage = self.storage
        tensor._requires_grad = True
        tensor._edge = (node, self.number)
        if self.storage.version != self.version:
            raise RuntimeError(_overwritten(tensor, self.version, node))
        return tensor


class SavedInput:
    """A tensor in a list of those kept for backward, with the version that it had."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor):
        self.tensor = tensor
        self.version = tensor._version

    def restore(self, node):
        """The tensor, checked."""
        if self.tensor._version != self.version:
            raise RuntimeError(_overwritten(self.tensor, self.version, node))
        return self.tensor


class Packed:
    """A tensor handed to the user's saved-tensors hooks."""

    __slots__ = ("packed", "unpack")

    def __init__(self, tensor):
        pack, self.unpack = local.saved_tensors_hooks[-1]
        self.packed = pack(tensor)

    def restore(self, node):
        """What the user's hook makes of it."""
        return self.unpack(self.packed)


class SavedSequence:
    """Several saved values, and their versions, that belong to one name."""

    __slots__ = ("pairs",)

    def __init__(self, pairs):
        self.pairs = pairs

    def restore(self, node):
        """A tuple of them."""
        return tuple(v.restore(node) if r is RESTORED else v for v, r in self.pairs)


def _save_input(value):
    """What to keep of an argument, and its version."""
    if isinstance(value, Tensor):
        if active.watching and local.saved_tensors_hooks:
            return Packed(value), RESTORED
        return value, value._version
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return SavedSequence([_save_item(v) for v in value]), RESTORED
    return value, None


def _save_item(value):
    saved, version = _save_input(value)
    if version is None or version is RESTORED:
        return saved, version
    return SavedInput(saved), RESTORED


def _save_output(tensor, number):
    """What to keep of a result."""
    if active.watching and local.saved_tensors_hooks:
        return Packed(tensor.detach())
    saved = _new(SavedOutput)
    saved.array = tensor._array
    saved.dtype = tensor._dtype
    storage = saved.storage = storage_of(tensor)
    saved.version = storage.version
    saved.number = number
    return saved


def _overwritten(tensor, version, node):
    maker = "" if tensor.grad_fn is None else (
        f", which is output {tensor.output_nr} of {tensor.grad_fn.name()},"
    )
    shape = list(tensor.shape)
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{tensor._dtype} {shape}]{maker} is at version {tensor._version}; expected "
        f"version {version} instead. It was saved by the operator '{node.operator.name}'. "
        "Hint: write out of place (x = x + 1 instead of x += 1) or clone it before; with "
        "autograd.set_detect_anomaly(True) the error also shows the forward line."
    )


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
        plan = op.tape_plans.get(wanted) or _plan(op, wanted)
        node = make_node(op, plan, bound, edges, output)
        plain = output.__class__ is Tensor and output._base is None
        if plain and output._dtype.category >= FLOATING:
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
    plan = op.tape_plans[wanted] = Plan(op, targets, places, True)
    return plan


def record_lists(op, bound, outputs):
    """`record` for calls with lists of tensors, or tensors of unusual classes."""
    edges, plan = edges_of(op, bound)
    if plan is not None:
        attach(make_node(op, plan, bound, edges, outputs), outputs)


def edges_of(op, bound):
    """The edges of a call, and its plan (None where nothing requires a gradient)."""
    edges, places, wanted = [], {}, []
    for target in op.targets:
        value = bound[target]
        start = len(edges)
        for item in value if isinstance(value, (list, tuple)) else (value,):
            wants = isinstance(item, Tensor) and item._requires_grad
            edges.append(gradient_edge(item) if wants else None)
        places[target] = (start, len(edges))
        if any(e is not None for e in edges[start:]):
            wanted.append(target)
    return edges, Plan(op, wanted, places, False) if wanted else None


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
    name = op.node
    if op.node_arguments is not None:
        name = name(*[bound[i] for i in op.node_arguments])
    count = 1 if op.outputs == 1 else len(outputs)
    return op.node_classes.get((name, count)) or node_class(op, name, count)


def _save_outputs(outputs):
    if outputs is None:
        return None
    if isinstance(outputs, (tuple, list)):
        return SavedSequence([
            (None, None) if o is None else (_save_output(o, i), RESTORED)
            for i, o in enumerate(outputs)
        ])
    return _save_output(outputs, 0)


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
