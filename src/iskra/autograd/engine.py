"""The backward pass: run nodes from the roots down, adding up gradients where paths meet.

Nodes are taken in descending order of their sequence number, which is a topological order (a
node is younger than those its edges lead to). The loop is iterative: graphs may be deep.
"""

from heapq import heappop, heappush

from iskra.autograd.node import AccumulateGrad
from iskra.core.local import active, local, set_grad_enabled
from iskra.core.size import format_shape, is_expandable


class Pass:
    """One run of the engine.

    `wanted` maps nodes to lists of ``(output number, position in results)`` to capture;
    `needed` restricts the walk to nodes that lead there (None: walk everything).
    """

    def __init__(self, keep_graph, wanted=None, needed=None, results=None):
        self.keep_graph = keep_graph
        self.wanted = wanted or {}
        self.needed = needed
        self.results = results
        self.heap = []
        self.pending = {}  # node -> gradient, or list of gradients for several outputs
        self.leaves = {}  # the same for the nodes at the graph's ends, which come last
        self.callbacks = []

    def run(self):
        """Process nodes until none is left."""
        self.walk()
        for node, gradient in self.leaves.items():
            if node._extras is not None:
                gradient = _pre_hooks(node, gradient)
            if self.needed is None:
                node.accumulate(gradient)
            elif node in self.wanted:
                self.capture(node, gradient)
        for callback in self.callbacks:
            callback()

    def walk(self):
        """Run the nodes between the roots and the leaves."""
        heap, pending, wanted, needed = self.heap, self.pending, self.wanted, self.needed
        release = not self.keep_graph
        while heap:
            node = heappop(heap)[1]
            gradient = pending.pop(node)
            extras = node._extras
            if extras is not None:
                gradient = _pre_hooks(node, gradient)
            if needed is not None:
                if node in wanted:
                    self.capture(node, gradient)
                if node not in needed:
                    continue
            results = _watched(node, gradient) if active.watching else node.apply(gradient)
            if extras is not None:
                results = _post_hooks(node, results, gradient)
            if release:
                node.release()
            for edge, result in zip(node.input_edges, results):
                if edge is not None and result is not None:
                    target = edge[0]
                    if needed is None or target in needed or target in wanted:
                        self.deliver(target, edge[1], result, node)

    def deliver(self, node, number, gradient, source):
        """Add `gradient`, fitted to what the forward value was, to what waits at the node."""
        if node.__class__ is AccumulateGrad:
            waiting = self.leaves
            leaf = node._leaf()
            shape, dtype = (None, None) if leaf is None else (leaf._array.shape, leaf._dtype)
        elif node.output_count == 1:
            waiting = self.pending
            shape, dtype = node.output_shape, node.output_dtype
        else:
            self.deliver_among(node, number, gradient, source)
            return
        if gradient._array.shape != shape or gradient._dtype is not dtype:
            gradient = _fit(gradient, shape, dtype, source)
        if node in waiting:
            waiting[node] = waiting[node] + gradient
            return
        waiting[node] = gradient
        if waiting is self.pending:
            heappush(self.heap, (-node.sequence_nr, node))

    def deliver_among(self, node, number, gradient, source):
        """`deliver` to one of a node's several outputs."""
        gradient = _fit(gradient, node.output_shape[number], node.output_dtype[number], source)
        slots = self.pending.get(node)
        if slots is None:
            slots = self.pending[node] = [None] * node.output_count
            heappush(self.heap, (-node.sequence_nr, node))
        held = slots[number]
        slots[number] = gradient if held is None else held + gradient

    def capture(self, node, gradients):
        """Put what arrived at a wanted node into the results."""
        for number, position in self.wanted[node]:
            self.results[position] = gradients[number] if node.output_count > 1 else gradients


def _pre_hooks(node, gradients):
    if not node._extras.pre_hooks:
        return gradients
    slots = gradients if node.output_count > 1 else [gradients]
    for hook in tuple(node._extras.pre_hooks.values()):
        hook(slots)
    return slots if node.output_count > 1 else slots[0]


def _watched(node, gradients):
    """Run a node under anomaly mode: errors and NaNs tell where the forward call was."""
    if not local.anomaly:
        return node.apply(gradients)
    trace = node._extras and node._extras.forward_trace
    from_forward = "".join(trace) if trace else "(not recorded)\n"
    try:
        results = node.apply(gradients)
    except Exception as error:
        error.add_note(f"Error detected in {node.name()}. Traceback of the forward call:\n"
                       + from_forward)
        raise
    if local.check_nan:
        for number, result in enumerate(results):
            if result is not None and result.is_floating_point() and result.isnan().any().item():
                error = RuntimeError(
                    f"Function '{node.name()}' returned nan values in its {number}th output."
                )
                error.add_note("Traceback of the forward call:\n" + from_forward)
                raise error
    return results


def _post_hooks(node, results, gradients):
    if not node._extras.post_hooks:
        return results
    outgoing = tuple(gradients) if node.output_count > 1 else (gradients,)
    results = tuple(results)
    for hook in tuple(node._extras.post_hooks.values()):
        replaced = hook(results, outgoing)
        if replaced is not None:
            results = tuple(replaced) if isinstance(replaced, (tuple, list)) else (replaced,)
    return results


def _fit(gradient, shape, dtype, node):
    """Sum out broadcast dimensions and convert to what the forward value was."""
    if shape is None:  # the leaf is gone
        return gradient
    found = gradient._array.shape
    if found != shape:
        if not is_expandable(shape, found):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient - got "
                f"{format_shape(found)} but expected shape compatible with {format_shape(shape)}"
            )
        gradient = gradient.sum_to_size(shape)
    if gradient._dtype is not dtype and dtype is not None:
        if gradient._dtype.is_complex and not dtype.is_complex:
            gradient = gradient.real
        gradient = gradient.to(dtype)
    return gradient


def nodes_leading_to(roots, targets):
    """All nodes from which a node in `targets` can be reached."""
    needed, stack, order, seen = set(targets), list(roots), [], set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        stack.extend(e[0] for e in node.input_edges if e is not None)
    order.sort(key=lambda n: n.sequence_nr)  # oldest first: edges are settled before their owners
    for node in order:
        if any(e is not None and e[0] in needed for e in node.input_edges):
            needed.add(node)
    return needed


_current = []  # the running passes, innermost last


def queue_callback(callback):
    """Call `callback()` when the running backward pass has finished."""
    if not _current:
        raise RuntimeError("queue_callback: no backward pass is running")
    _current[-1].callbacks.append(callback)


def gradients_are_returned():
    """Whether the running pass was started by `grad`, which returns instead of accumulating."""
    return bool(_current) and _current[-1].needed is not None


def execute(edges, gradients, keep_graph, create_graph, targets=None):
    """Run a backward pass from `edges` with `gradients`.

    Without `targets` gradients accumulate in the leaves; with them (a list of edges) the
    gradients arriving there are returned and nothing accumulates.
    """
    if targets is None:
        task = Pass(keep_graph)
    else:
        wanted = {}
        for position, edge in enumerate(targets):
            if edge is not None:
                wanted.setdefault(edge[0], []).append((edge[1], position))
        needed = nodes_leading_to([e[0] for e in edges], wanted)
        # A captured node itself runs only if another target lies behind it.
        beyond = {n for n in needed if any(e and e[0] in needed for e in n.input_edges)}
        task = Pass(keep_graph, wanted, beyond, [None] * len(targets))
    before = set_grad_enabled(create_graph)
    _current.append(task)
    try:
        for (node, number), gradient in zip(edges, gradients):
            task.deliver(node, number, gradient, None)
        task.run()
    finally:
        _current.pop()
        set_grad_enabled(before)
    return task.results
