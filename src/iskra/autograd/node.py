"""Graph nodes: what backward runs. A node knows its edges to the nodes before it.

An edge is ``(node, output number)`` or None where no gradient is wanted. A node is always made
after the nodes its edges lead to, so descending `sequence_nr` is a topological order.
"""

import itertools
import weakref
from sys import getrefcount

import numpy as np

from iskra.core.local import active, local
from iskra.tensor.tensor import Tensor, wrap

ndarray = np.ndarray
next_sequence = itertools.count().__next__


class Extras:
    """What few nodes have: hooks, the user's notes, where the forward call was."""

    __slots__ = ("pre_hooks", "post_hooks", "metadata", "forward_trace")

    def __init__(self):
        self.pre_hooks = self.post_hooks = None  # dicts once there are hooks
        self.metadata = None
        self.forward_trace = None  # the forward call's stack, under anomaly mode


class Node:
    """One recorded operation.

    Subclasses implement ``apply(gradients) -> sequence of gradients, one per edge``.
    `output_shape` and `output_dtype` describe the output (lists of them for several outputs).
    """

    __slots__ = (
        "input_edges", "sequence_nr", "output_shape", "output_dtype", "_extras", "__weakref__",
    )
    output_count = 1
    op_name = "custom function"

    def __init__(self, edges):
        self.input_edges = edges
        self.sequence_nr = next_sequence()
        self._extras = None  # made when there are any

    @property
    def next_functions(self):
        """The edges, as PyTorch shows them: ``((node or None, output number), ...)``."""
        return tuple((None, 0) if e is None else e for e in self.input_edges)

    def _more(self):
        """The node's `Extras`."""
        if self._extras is None:
            self._extras = Extras()
        return self._extras

    @property
    def metadata(self):
        """A dict for the user's own notes."""
        extras = self._more()
        if extras.metadata is None:
            extras.metadata = {}
        return extras.metadata

    def name(self):
        """The name, for example ``AddBackward0``."""
        return type(self).__name__

    def register_hook(self, hook):
        """Call ``hook(grad_inputs, grad_outputs)`` after this node; it may replace grad_inputs."""
        extras = self._more()
        if extras.post_hooks is None:
            extras.post_hooks = {}
        return RemovableHandle(extras.post_hooks, hook)

    def register_prehook(self, hook):
        """Call ``hook(grad_outputs)`` before this node; it may replace grad_outputs."""
        return self.add_pre_hook(_whole_tuple(hook))

    def add_pre_hook(self, hook):
        """Register ``hook(list of gradients)``, which changes the list in place."""
        extras = self._more()
        if extras.pre_hooks is None:
            extras.pre_hooks = {}
        return RemovableHandle(extras.pre_hooks, hook)

    def release(self):
        """Drop saved values after backward. Nodes that save nothing need not act."""

    def __repr__(self):
        return f"<{type(self).__name__} object at {id(self):#x}>"


def _whole_tuple(hook):
    def pre_hook(gradients):
        replaced = hook(tuple(gradients))
        if replaced is not None:
            gradients[:] = replaced if isinstance(replaced, (tuple, list)) else [replaced]

    return pre_hook


class RemovableHandle:
    """Returned by ``register_*hook``: `remove()` takes the hook out again; also a context."""

    __slots__ = ("id", "_hooks", "__weakref__")
    next_id = 0

    def __init__(self, hooks, hook, prepend=False):
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        self._hooks = hooks
        if prepend:
            rest = dict(hooks)
            hooks.clear()
            hooks[self.id] = hook
            hooks.update(rest)
        else:
            hooks[self.id] = hook

    def remove(self):
        """Take the hook out; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


class AccumulateGrad(Node):
    """The end of the graph: adds what arrives to a leaf's ``.grad``.

    The leaf holds this node and the node holds the leaf weakly, so that neither keeps the other
    alive in a cycle.
    """

    __slots__ = ("_leaf", "after_hooks")

    def __init__(self, leaf):
        super().__init__(())
        self._leaf = weakref.ref(leaf)
        self.after_hooks = None

    @property
    def variable(self):
        """The leaf tensor, or None if it is gone."""
        return self._leaf()

    @property
    def output_shape(self):
        leaf = self._leaf()
        return None if leaf is None else leaf._array.shape

    @property
    def output_dtype(self):
        leaf = self._leaf()
        return None if leaf is None else leaf._dtype

    def accumulate(self, gradient):
        """Add `gradient` to the leaf's; take its memory over where no one else can hold it."""
        leaf = self._leaf()
        if leaf is None:
            return
        held = leaf._grad
        if local.grad_enabled:
            leaf._grad = gradient if held is None else held + gradient
        elif held is not None:
            held.add_(gradient)
        else:
            leaf._grad = _own(gradient)
        if self.after_hooks:
            for hook in tuple(self.after_hooks.values()):
                hook(leaf)


# Who holds a gradient that nobody but the engine knows when `_own` counts: the engine's dict and
# its loop's variable, the parameters of `accumulate` and `_own`, and the counting call. Its array
# is held by the gradient, by `_own` and by the counting call (and by its storage, if it has one).
_HOLDERS = 5
_ARRAY_HOLDERS = 3


def _own(gradient):
    """`gradient` if nobody else holds it and its memory is dense and its own, else a copy."""
    array = gradient._array
    if (
        getrefcount(gradient) <= _HOLDERS
        and getrefcount(array) <= _ARRAY_HOLDERS
        and gradient.__class__ is Tensor
        and array.__class__ is ndarray
        and (array.base is None or _is_all_that_sees_its_base(array))
        and gradient._edge is None
    ):
        return gradient
    if isinstance(array, ndarray) and gradient._plain and not active.intercepting:
        return wrap(np.copy(array, order="K"), gradient._dtype)
    return gradient.detach().clone()


def _is_all_that_sees_its_base(array):
    """Whether an array is the other shape of one that nobody else holds."""
    base = array.base
    return (
        base.__class__ is ndarray
        and base.base is None
        and base.size == array.size
        and array.flags.forc
        and getrefcount(base) <= _ARRAY_HOLDERS  # the array, this function, the counting call
    )


def gradient_edge(tensor):
    """The edge along which `tensor`'s gradient flows, or None if it requires none."""
    if tensor._base is not None:
        return tensor.history_of_view()
    edge = tensor._edge
    if edge is None and tensor._requires_grad is True:
        edge = tensor._edge = (AccumulateGrad(tensor), 0)
    return edge


def leaf_edge(view):
    """The edge of a view that stands at the graph's end, as one made under no_grad does."""
    if view._view_edge is None and (
        view._requires_grad is True
        or view._view_kind == "no_grad" and view._base.requires_grad
    ):
        view._view_edge = (AccumulateGrad(view), 0)
    return view._view_edge
