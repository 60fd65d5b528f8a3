"""What automatic differentiation adds to `Tensor`; bound onto the class when it is imported."""

import weakref

from iskra.autograd.api import backward as _backward
from iskra.autograd.node import AccumulateGrad, RemovableHandle, gradient_edge
from iskra.autograd.view import history_of_view
from iskra.core.size import format_shape
from iskra.tensor import PERHAPS, Tensor, storage_of, wrap


class _Methods:
    """The methods and properties, written as they will read on `Tensor`."""

    @property
    def grad_fn(self):
        """The graph node that made this tensor; None for leaves."""
        edge = self._edge if self._base is None else history_of_view(self)
        if edge is None or edge[0].__class__ is AccumulateGrad:
            return None
        return edge[0]

    history_of_view = history_of_view

    @property
    def is_leaf(self):
        """Whether no recorded operation made this tensor."""
        return self.grad_fn is None

    @property
    def output_nr(self):
        """Which output of its node this tensor is."""
        edge = gradient_edge(self)
        return 0 if edge is None else edge[1]

    @property
    def requires_grad(self):
        """Whether gradients are computed for this tensor."""
        flag = self._requires_grad
        if flag is PERHAPS:
            return self._view_edge is not None or self._base.requires_grad
        return flag

    @requires_grad.setter
    def requires_grad(self, value):
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad=True):
        """Switch whether gradients are computed for this leaf; return it.

        Raises RuntimeError for dtypes without a gradient, and for non-leaves switched off.
        """
        if requires_grad:
            if not (self._dtype.is_floating_point or self._dtype.is_complex):
                raise RuntimeError(
                    "only Tensors of floating point and complex dtype can require gradients, "
                    f"not {self._dtype}; convert with .float() first"
                )
            if self._is_inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                    "allowed; clone() it first."
                )
        elif self.grad_fn is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        else:
            self._edge = None
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad(self):
        """The accumulated gradient of a leaf (or of a tensor after `retain_grad`), or None."""
        return self._grad

    @grad.setter
    def grad(self, value):
        if value is not None:
            _check_grad(self, value)
        self._grad = value

    @grad.deleter
    def grad(self):
        self._grad = None

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Add the gradient of this tensor to the ``.grad`` of the leaves it depends on.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html
        """
        _backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook):
        """Call ``hook(grad)`` when this tensor's gradient is known; it may return another.

        Returns a handle whose ``remove()`` takes the hook out.
        """
        edge = gradient_edge(self)
        if edge is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node, number = edge

        def on_gradient(slots):
            if slots[number] is not None:
                replaced = hook(slots[number])
                if replaced is not None:
                    _check_replacement(replaced, slots[number])
                    slots[number] = replaced

        return node.add_pre_hook(on_gradient)

    def register_post_accumulate_grad_hook(self, hook):
        """Call ``hook(tensor)`` after this leaf's gradient has been accumulated."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.grad_fn is not None:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        node = gradient_edge(self)[0]
        if node.after_hooks is None:
            node.after_hooks = {}
        return RemovableHandle(node.after_hooks, hook)

    def retain_grad(self):
        """Keep this non-leaf's gradient in ``.grad`` too."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.grad_fn is None or self._retains_grad:
            return
        self._retains_grad = True
        reference = weakref.ref(self)
        node, number = gradient_edge(self)

        def keep(slots):
            tensor = reference()
            if tensor is not None and slots[number] is not None:
                tensor._grad = slots[number]

        node.add_pre_hook(keep)

    @property
    def retains_grad(self):
        """Whether `retain_grad` was called on this non-leaf."""
        return self._retains_grad

    def detach_(self):
        """Take this tensor out of the graph; return it."""
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead."
            )
        self._edge = None
        self._requires_grad = False
        return self

    @property
    def data(self):
        """The same memory, outside the graph and with a version count of its own."""
        result = wrap(self._array, self._dtype)
        result._storage = storage_of(self).unversioned()
        return result

    @data.setter
    def data(self, value):
        if not isinstance(value, Tensor):
            raise TypeError(f"data must be a Tensor, got {type(value).__name__}")
        self._array = value._array
        self._dtype = value._dtype
        self._storage = value._storage


def _check_grad(tensor, value):
    if not isinstance(value, Tensor):
        raise TypeError(
            f"assigned grad expected to be a Tensor or None but got {type(value).__name__}"
        )
    if value is tensor:
        raise RuntimeError("can't assign Variable as its own grad")
    if value.dtype != tensor.dtype:
        raise RuntimeError(
            f"attempting to assign a gradient with dtype '{value.dtype}' to a tensor with dtype "
            f"'{tensor.dtype}'. Please ensure that the gradient and the tensor have the same dtype"
        )
    if value.device.type != tensor.device.type:
        raise RuntimeError(
            f"attempting to assign a gradient of device type '{value.device.type}' to a tensor of "
            f"device type '{tensor.device.type}'"
        )
    if value.shape != tensor.shape:
        raise RuntimeError(
            f"attempting to assign a gradient of size '{format_shape(value.shape)}' to a tensor "
            f"of size '{format_shape(tensor.shape)}'. Please ensure that the gradient and the "
            "tensor are the same size"
        )


def _check_replacement(replaced, gradient):
    if not isinstance(replaced, Tensor):
        raise TypeError(
            f"hook must return a Tensor or None, not {type(replaced).__name__}"
        )
    if replaced.shape != gradient.shape:
        raise RuntimeError(
            f"hook has changed the size of value: {format_shape(gradient.shape)} became "
            f"{format_shape(replaced.shape)}"
        )


for _name, _member in vars(_Methods).items():
    if not _name.startswith("__"):
        setattr(Tensor, _name, _member)
