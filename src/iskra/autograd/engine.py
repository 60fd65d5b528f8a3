"""The backward pass: run nodes from the roots down, adding up gradients where paths meet.

Nodes are taken in descending order of their sequence number, which is a topological order (a
node is younger than those its edges lead to). The loop is iterative: graphs may be deep.
"""

from heapq import heappop, heappush

from iskra.autograd.node import AccumulateGrad
from iskra.core.local import active, local, set_grad_enabled
from iskra.core.size import format_shape, is_expandable

_NOTHING = {}


class Pass:
    """One run of the engine.

    `wanted` maps nodes to lists of ``(output number, position in results)`` to capture;
    `needed` restricts the walk to nodes that lead there (None: walk everything).
    """

    def __init__(self, keep_graph, wanted=_NOTHING, needed=None, results=None):
        self.keep_graph = keep_graph
        self.wanted = wanted
        self.needed = needed
        self.results = results
        self.pending = {}  # node -> gradient, or list of gradients for several outputs
        self.leaves = {}  # the same for the nodes at the graph's ends, which come last
        self.heap = []  # the pending nodes, youngest first
        self.callbacks = []

    def run(self, edges, gradients):
        """Process nodes from the roots at `edges` on, until none is left."""
        self.walk(edges, gradients)
        for node in self.leaves:
            gradient = self.leaves[node]
            if node._extras is not None:
                gradient = _pre_hooks(node, gradient)
            if self.needed is None:
                node.accumulate(gradient)
            elif node in self.wanted:
                self.capture(node, gradient)
        for callback in self.callbacks:
            callback()

    def walk(self, edges, results):
        """Run the nodes between the roots and the leaves.

        What a node returns is fitted to what the forward values were, and waits where its edges
        lead until all has arrived there.
        """
        heap, pending, leaves, needed = self.heap, self.pending, self.leaves, self.needed
        node = None
        while True:
            for edge, result in zip(edges, results):
                if edge is None or result is None:
                    continue
                target, number = edge
                if needed is not None and target not in needed and target not in self.wanted:
                    continue
                if target.__class__ is AccumulateGrad:
                    waiting = leaves
                    leaf = target._leaf()
                    shape = dtype = None
                    if leaf is not None:
                        shape, dtype = leaf._array.shape, leaf._dtype
                elif target.output_count == 1:
                    waiting = pending
                    shape, dtype = target.output_shape, target.output_dtype
                else:
                    self.deliver_among(target, number, result, node)
                    continue
                if result._array.shape != shape or result._dtype is not dtype:
                    result = _fit(result, shape, dtype, node)
                if target in waiting:
                    waiting[target] = waiting[target] + result
                    continue
                waiting[target] = result
                if waiting is pending:
                    heappush(heap, (-target.sequence_nr, target))
            if not heap:
                return
            node = heappop(heap)[1]
            edges, results = node.input_edges, self.step(node, pending.pop(node))

    def step(self, node, gradient):
        """What one node makes of its gradient; nothing where the walk ends at it."""
        extras = node._extras
        if extras is not None:
            gradient = _pre_hooks(node, gradient)
        if self.needed is not None:
            if node in self.wanted:
                self.capture(node, gradient)
            if node not in self.needed:
                return ()
        results = _watched(node, gradient) if active.watching else node.apply(gradient)
        if extras is not None:
            results = _post_hooks(node, results, gradient)
        if not self.keep_graph:
            node.release()
        return results

    def deliver_among(self, node, number, gradient, source):
        """Add `gradient` to what waits for one of a node's several outputs."""
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
        task.run(edges, gradients)
    finally:
        _current.pop()
        set_grad_enabled(before)
    return task.results
