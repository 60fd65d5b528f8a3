"""Recording a call for backward: the node, its edges, and the values that its formulas name.

What must be saved depends only on which parameters want a gradient, so it is worked out once per
operator and such choice (`Plan`); recording a call then only picks the values up.
"""

from operator import attrgetter

from iskra.autograd.node import Node, gradient_edge, next_sequence
from iskra.core.dtypes import FLOATING
from iskra.core.local import active, local
from iskra.tensor import Parameter, Tensor, storage_of, wrap

_new = object.__new__
FREED = object()


class OperatorNode(Node):
    """A recorded operator call. One subclass per printed name is made on first use."""

    operator = None
    returns_fresh = True

    @property
    def op_name(self):
        return self.operator.name

    def apply(self, g):
        values = self.saved
        if values:
            values = self._values()
        results = [None] * len(self.input_edges)
        for step in self.plan.steps:
            if step.only_g:
                found = step.function(g)
            else:
                found = step.function(*[
                    values[s] if s >= 0 else g if s == -1 else step.needs(self) for s in step.slots
                ])
            if step.place is not None:
                results[step.place] = found
            else:
                step.lay_out(found, results)
        return results

    def _values(self):
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
        return [v.restore(self) if v.__class__ in _SAVED else v for v in saved]

    def save_result(self, tensor):
        """Save the output, if a formula names it, once it has been written."""
        names = self.plan.names
        if "result" in names:
            saved = list(self.saved)
            saved[names.index("result")] = _save_output(tensor, 0)
            self.saved = tuple(saved)

    def release(self):
        if self.plan.keeps:
            self.saved = FREED

    def __getattr__(self, name):
        """``node._saved_other`` shows a value saved for backward, as in PyTorch."""
        names = self.plan.names if name.startswith("_saved_") else ()
        if name[7:] in names:
            return self._values()[names.index(name[7:])]
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")


class Plan:
    """How to record a call of `op` in which the parameters in `wanted` want a gradient.

    `places` tells where each parameter's edges lie; `plain` that each has just one.
    """

    __slots__ = ("names", "captures", "keeps", "steps", "node_class")

    def __init__(self, op, wanted, places, plain):
        formulas = [f for f in op.formulas if any(t in wanted for t in f.targets)]
        self.names = list(dict.fromkeys(n for f in formulas for n in f.captures))
        self.captures = [_capture(op, name) for name in self.names]
        self.keeps = any(c is None or c in op.operands for c in self.captures)
        self.steps = [_Step(f, self.names, places, plain) for f in formulas]
        fixed = isinstance(op.node, str) and op.outputs is not None
        self.node_class = node_class(op, op.node, op.outputs) if fixed else None

    def collect(self, bound, outputs):
        """The values to save, in the order of `names`."""
        saved = []
        for capture in self.captures:
            if capture.__class__ is int:
                value = bound[capture]
                saved.append(value if value.__class__ in _SIMPLE else _save_input(value))
            elif capture is None:
                saved.append(_save_outputs(outputs))
            else:
                index, describe = capture
                saved.append(describe(bound[index]))
        return saved


_SIMPLE = frozenset({int, float, bool, type(None), str})


class _Step:
    """One formula: where its arguments come from and where its results go."""

    __slots__ = ("function", "slots", "only_g", "places", "place")

    def __init__(self, formula, names, places, plain):
        special = {"g": -1, "needs": -2}
        self.function = formula.function
        self.slots = [special[n] if n in special else names.index(n) for n in formula.names]
        self.only_g = self.slots == [-1]
        self.places = [places[t] for t in formula.targets]
        self.place = self.places[0][0] if plain and len(self.places) == 1 else None

    def needs(self, node):
        """Which of the formula's targets want a gradient."""
        edges = node.input_edges
        return tuple(any(edges[i] is not None for i in range(*p)) for p in self.places)

    def lay_out(self, found, results):
        """Put gradients of several targets, or of lists, where their edges are."""
        if len(self.places) == 1:
            found = (found,)
        for (start, stop), gradient in zip(self.places, found, strict=True):
            if gradient.__class__ is list or gradient.__class__ is tuple:
                results[start:stop] = gradient
            else:
                results[start] = gradient


def node_class(op, name, count):
    """The class of a call's node: named as PyTorch's, made on first use."""
    found = op.node_classes.get((name, count))
    if found is None:
        members = {"operator": op, "output_count": count}
        found = op.node_classes[name, count] = type(name, (OperatorNode,), members)
    return found


# What a formula's parameter stands for: a parameter, the result, or a fact about a parameter.
def _capture(op, name):
    if name == "result":
        return None
    index = op.signature.position.get(name)
    if index is not None:
        return index
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


class SavedTensor:
    """A tensor kept for backward, with the version that it had."""

    __slots__ = ("tensor", "version")

    def restore(self, node):
        tensor = self.tensor
        storage = tensor._storage
        if storage is not None and storage.version != self.version:
            raise RuntimeError(_overwritten(self, tensor, node))
        return tensor


class SavedOutput:
    """An output kept for backward, as its bare array: it holds the node, so holding it whole
    would make a cycle."""

    __slots__ = ("array", "dtype", "storage", "version", "number")

    def restore(self, node):
        tensor = wrap(self.array, self.dtype)
        tensor._storage = self.storage
        tensor._requires_grad = True
        tensor._edge = (node, self.number)
        if self.storage.version != self.version:
            raise RuntimeError(_overwritten(self, tensor, node))
        return tensor


class Packed:
    """A tensor handed to the user's saved-tensors hooks."""

    __slots__ = ("packed", "unpack")

    def __init__(self, tensor):
        pack, self.unpack = local.saved_tensors_hooks[-1]
        self.packed = pack(tensor)

    def restore(self, node):
        return self.unpack(self.packed)


class SavedSequence:
    """Several saved values that belong to one name."""

    __slots__ = ("items",)

    def __init__(self, items):
        self.items = items

    def restore(self, node):
        return tuple(
            v.restore(node) if v.__class__ in _SAVED else v for v in self.items
        )


_SAVED = frozenset({SavedTensor, SavedOutput, Packed, SavedSequence})


def _save_input(value):
    if isinstance(value, Tensor):
        if active.watching and local.saved_tensors_hooks:
            return Packed(value)
        saved = _new(SavedTensor)
        saved.tensor = value
        storage = value._storage
        saved.version = 0 if storage is None else storage.version
        return saved
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return SavedSequence([_save_input(v) for v in value])
    return value


def _save_output(tensor, number):
    if active.watching and local.saved_tensors_hooks:
        return Packed(tensor.detach())
    saved = _new(SavedOutput)
    saved.array = tensor._array
    saved.dtype = tensor._dtype
    storage = saved.storage = storage_of(tensor)
    saved.version = storage.version
    saved.number = number
    return saved


def _overwritten(saved, tensor, node):
    maker = "" if tensor.grad_fn is None else (
        f", which is output {tensor.output_nr} of {tensor.grad_fn.name()},"
    )
    shape = list(tensor.shape)
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{tensor._dtype} {shape}]{maker} is at version {tensor._version}; expected "
        f"version {saved.version} instead. It was saved by the operator '{node.operator.name}'. "
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
        if cls is Tensor or cls is Parameter:
            if value._requires_grad:
                edge = value._edge or gradient_edge(value)
                edges.append(edge)
                if edge is not None:
                    wanted |= bit
            else:
                edges.append(None)
        elif cls is list or cls is tuple or isinstance(value, Tensor):
            record_lists(op, bound, output)
            return
        else:
            edges.append(None)
        bit <<= 1
    if not wanted:
        return
    plan = op.tape_plans.get(wanted) or _plan(op, wanted)
    node = _new(plan.node_class or _class_of(op, bound, output))
    node.input_edges = edges
    node.plan = plan
    node.saved = plan.collect(bound, output) if plan.captures else ()
    node.sequence_nr = next_sequence()
    if active.watching and local.anomaly:
        node.forward_trace = _trace()
    if op.kind == "pointwise":
        node.output_shape = output._array.shape
        node.output_dtype = output._dtype
        output._requires_grad = True
        output._edge = (node, 0)
    else:
        attach(node, output)


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
    node.saved = plan.collect(bound, outputs)
    node.sequence_nr = next_sequence()
    if active.watching and local.anomaly:
        node.forward_trace = _trace()
    return node


def _class_of(op, bound, outputs):
    """The node's class where it depends on the arguments."""
    name = op.node
    if op.node_arguments is not None:
        name = name(*[bound[i] for i in op.node_arguments])
    return node_class(op, name, op.outputs if op.outputs == 1 else len(outputs))


def _save_outputs(outputs):
    if outputs is None:
        return None
    if isinstance(outputs, (tuple, list)):
        return SavedSequence(
            [None if o is None else _save_output(o, i) for i, o in enumerate(outputs)]
        )
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
