"""Recording a call for backward: the node, its edges, and the values that its formulas name."""

from iskra.autograd.node import Node, gradient_edge, next_sequence
from iskra.core.local import local
from iskra.tensor import Tensor, storage_of, wrap

FREED = object()


class OperatorNode(Node):
    """A recorded operator call. One subclass per printed name is made on first use."""

    __slots__ = ("saved", "formulas", "places")

    operator = None
    returns_fresh = True

    @property
    def op_name(self):
        return self.operator.name

    def apply(self, g):
        values = {name: _restore(v, self) for name, v in self._held().items()}
        values["g"] = g
        results = [None] * len(self.edges)
        for formula in self.formulas:
            self._evaluate(formula, values, results)
        return results

    def _held(self):
        if self.saved is FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward. The operator was "
                f"'{self.operator.name}'."
            )
        return self.saved

    def _evaluate(self, formula, values, results):
        """Run one formula and lay its results onto the edges."""
        places = self.places
        if "needs" in formula.names:
            values["needs"] = tuple(
                any(self.edges[i] is not None for i in range(*places[t])) for t in formula.targets
            )
        found = formula.function(*[values[n] for n in formula.names])
        if len(formula.targets) == 1:
            found = (found,)
        for target, gradient in zip(formula.targets, found, strict=True):
            if gradient is None:
                continue
            start, stop = places[target]
            if isinstance(gradient, (tuple, list)):
                results[start:stop] = gradient
            else:
                results[start] = gradient

    def save_result(self, tensor):
        """Save the output, if a formula names it, once it has been written."""
        if any("result" in f.captures for f in self.formulas):
            self.saved["result"] = Saved(tensor, "result", True)

    def release(self):
        if self.saved:
            self.saved = FREED

    def __getattr__(self, name):
        """``node._saved_other`` shows a value saved for backward, as in PyTorch."""
        if name.startswith("_saved_") and name[7:] in self._held():
            return _restore(self.saved[name[7:]], self)
        raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")


class Saved:
    """A tensor kept for backward, with the version it had.

    An output is kept as its bare array (it holds the node, so holding it would be a cycle).
    """

    __slots__ = ("tensor", "version", "name", "packed", "unpack", "array", "number")

    def __init__(self, tensor, name, is_output, number=0):
        self.name = name
        self.number = number
        self.unpack = None
        if local.saved_tensors_hooks:
            pack, self.unpack = local.saved_tensors_hooks[-1]
            self.packed = pack(tensor.detach() if is_output else tensor)
            self.tensor = None
            self.version = -1
        elif is_output:
            self.tensor = None
            self.array = (tensor._array, tensor._dtype, storage_of(tensor))
            self.version = tensor._storage.version
        else:
            self.tensor = tensor
            storage = tensor._storage
            self.version = 0 if storage is None else storage.version


def _restore(value, node):
    """The value that was captured, checked against its version where it is a tensor."""
    if value.__class__ is Saved:
        return _unpack(value, node)
    if value.__class__ is SavedSequence:
        return tuple(_restore(v, node) for v in value)
    return value


class SavedSequence(tuple):
    """Several saved values that belong to one name."""

    __slots__ = ()


def _unpack(saved, node):
    if saved.unpack is not None:
        return saved.unpack(saved.packed)
    tensor = saved.tensor
    if tensor is None:
        array, dtype, storage = saved.array
        tensor = wrap(array, dtype)
        tensor._storage = storage
        tensor._requires_grad = True
        tensor._grad_fn = node
        tensor._output_nr = saved.number
    storage = tensor._storage
    version = 0 if storage is None else storage.version
    if version != saved.version:
        raise RuntimeError(_overwritten(saved, tensor, version, node))
    return tensor


def _overwritten(saved, tensor, version, node):
    maker = "" if tensor._grad_fn is None else (
        f", which is output {tensor._output_nr} of {type(tensor._grad_fn).__name__},"
    )
    shape = list(tensor.shape)
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{tensor._dtype} {shape}]{maker} is at version {version}; expected version "
        f"{saved.version} instead. It was saved as '{saved.name}' by the operator "
        f"'{node.operator.name}'. Hint: write out of place (x = x + 1 instead of x += 1) or clone "
        "it before; with autograd.set_detect_anomaly(True) the error also shows the forward line."
    )


def record(op, bound, outputs):
    """Attach the call to the graph if any of its tensors requires a gradient."""
    if not local.grad_enabled:
        return
    edges, places, needed = edges_of(op, bound)
    if not needed:
        return
    results = outputs if op.outputs != 1 else (outputs,)
    node = make_node(op, bound, edges, places, needed, outputs)
    describe(node, results)
    for number, tensor in enumerate(results):
        if tensor is None or tensor._dtype.category < 2:
            continue
        tensor._requires_grad = True
        tensor._grad_fn = node
        if number:
            tensor._output_nr = number


def edges_of(op, bound):
    """The edges of a call, where each parameter's lie among them, and the formulas needed."""
    edges, places, needed = [], {}, []
    for formula in op.formulas:
        wanted = False
        for target in formula.targets:
            value = bound[target]
            start = len(edges)
            if isinstance(value, Tensor):
                edge = gradient_edge(value) if value._requires_grad else None
                edges.append(edge)
                wanted = wanted or edge is not None
            elif isinstance(value, (list, tuple)):
                for item in value:
                    wants = isinstance(item, Tensor) and item._requires_grad
                    edge = gradient_edge(item) if wants else None
                    edges.append(edge)
                    wanted = wanted or edge is not None
            places[target] = (start, len(edges))
        if wanted:
            needed.append(formula)
    return tuple(edges), places, needed


def make_node(op, bound, edges, places, needed, outputs):
    """The node of a call, holding what its formulas name.

    `outputs` is None where the result does not exist yet (see `OperatorNode.save_result`).
    """
    count = 1 if op.outputs == 1 else len(outputs)
    node = object.__new__(node_class(op, bound, count))
    node.edges = edges
    node.pre_hooks = node.post_hooks = node._metadata = None
    node.trace = _trace() if local.anomaly else None
    node.sequence = next_sequence()
    node.formulas = needed
    node.places = places
    saved = node.saved = {}
    for formula in needed:
        for name in formula.captures:
            if name not in saved and (outputs is not None or name != "result"):
                saved[name] = capture(op, name, bound, outputs)
    return node


def _trace():
    import traceback

    return traceback.format_stack()[:-3]


def node_class(op, bound, count):
    """The class of the call's node: named as PyTorch's, made on first use."""
    name = op.node
    if not isinstance(name, str):
        name = op.select(name, bound)
    found = op.node_classes.get((name, count))
    if found is None:
        members = {"__slots__": (), "operator": op, "outputs": count}
        found = op.node_classes[name, count] = type(name, (OperatorNode,), members)
    return found


def capture(op, name, bound, outputs):
    """The value that a formula's parameter `name` stands for."""
    if name == "result":
        if op.outputs == 1:
            return Saved(outputs, name, True)
        return SavedSequence(
            None if o is None else Saved(o, name, True, i) for i, o in enumerate(outputs)
        )
    index = op.signature.position.get(name)
    if index is not None:
        return _keep(bound[index], name)
    owner, _, property_ = name.rpartition("_")
    return _DESCRIBE[property_](bound[op.signature.position[owner]])


def _keep(value, name):
    if isinstance(value, Tensor):
        return Saved(value, name, False)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return SavedSequence(_keep(v, name) for v in value)
    return value


def _each(describe):
    def described(value):
        if isinstance(value, (list, tuple)):
            return tuple(described(v) for v in value)
        return describe(value) if isinstance(value, Tensor) else None

    return described


_DESCRIBE = {
    "shape": _each(lambda t: t._array.shape),
    "dtype": _each(lambda t: t._dtype),
    "stride": _each(lambda t: t.stride()),
    "offset": _each(lambda t: t.storage_offset()),
}


def describe(node, results):
    """Note the outputs' shapes and dtypes, to which gradients will be fitted."""
    if node.outputs == 1:
        node.shape = results[0]._array.shape
        node.dtype = results[0]._dtype
    else:
        node.shape = [None if t is None else t._array.shape for t in results]
        node.dtype = [None if t is None else t._dtype for t in results]
