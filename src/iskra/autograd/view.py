"""Writing in place to views: the history of a view follows that of its base.

A write to a view becomes a `CopySlices` node on the base; the other views of that base take
their history from it when they are next asked.
"""

from iskra.autograd.modes import enable_grad
from iskra.autograd.node import Node, gradient_edge, leaf_edge
from iskra.tensor.storage import address

_WRITTEN = "and its base or another view of its base has been modified inplace"


def refuse_kind(view, name, what):
    """Raise RuntimeError for views whose history no write may change."""
    if view._view_kind == "no_grad":
        raise RuntimeError(
            f"{name}A view was created in no_grad mode {what.replace('is ', 'and is ', 1)} with "
            "grad mode enabled. Move both the view and the in-place operation either inside the "
            "no_grad block or outside it."
        )
    if view._view_kind == "multiple":
        edge = view._view_edge
        maker = "A view" if edge is None else f"Output {edge[1]} of {edge[0].name()} is a view"
        raise RuntimeError(
            f"{name}{maker} {what}. This view is the output of a "
            "function that returns multiple views. Such functions do not allow the output views "
            "to be modified inplace. You should replace the inplace operation by an out-of-place "
            "one."
        )


def history_of_view(view):
    """The edge of a view, brought up to date after writes to its base or to other views."""
    version = view._storage.version
    if view._view_version != version:
        if view._base.requires_grad:
            refuse_kind(view, "", _WRITTEN)
        view._view_version = version
        if gradient_edge(view._base) is not None:
            offset = view.storage_offset()
            with enable_grad():
                fresh = view._base.as_strided(view.shape, view.stride(), offset)
            view._view_edge = fresh._view_edge
            view._requires_grad = True
    return leaf_edge(view)


class CopySlices(Node):
    """The base's node after a write to one of its views.

    The gradient of the base is that of the old base outside the view, and what the written
    operator makes of it inside.
    """

    op_name = "write to a view"

    def __init__(self, base, view, inner, place):
        edges = list(inner.input_edges)
        if place is not None:
            edges[place] = None  # the gradient there goes on through the base
        super().__init__((gradient_edge(base), *edges))
        self.inner = inner
        self.place = place
        self.output_shape = base._array.shape
        self.output_dtype = base._dtype
        self.layout = (base._array.shape, base.stride())
        self.geometry = (view._array.shape, view.stride(), _offset_within(base, view))

    def apply(self, gradient):
        shape, strides = self.layout
        whole = gradient.new_empty_strided(shape, strides).copy_(gradient)
        part = whole.as_strided(*self.geometry)
        results = list(self.inner.apply(part.clone()))
        inside = None
        if self.place is not None:
            inside, results[self.place] = results[self.place], None
        if inside is None:
            part.zero_()
        else:
            part.copy_(inside)
        return (whole, *results)

    def release(self):
        self.inner.release()


def _offset_within(base, view):
    """How many elements a view begins behind its base's first one."""
    array, whole = view._array, base._array
    if array.size and whole.size and array.itemsize == whole.itemsize:
        return (address(array) - address(whole)) // array.itemsize
    return view.storage_offset() - base.storage_offset()


def rebase(view, inner, place):
    """After a recorded write to `view` by the node `inner`: give the base its new history.

    `place` is where among the inner node's edges the view's own gradient arrives, if it does.
    """
    base = view._base
    node = CopySlices(base, view, inner, place)
    base._edge = (node, 0)
    base._requires_grad = True
    view._view_version = -1  # ask the base
    view._requires_grad = True
