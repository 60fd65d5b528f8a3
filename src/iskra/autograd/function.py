"""`Function`: operations with a forward and a backward written by the user.

Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.Function
"""

import functools
import traceback

import numpy as np

from iskra.autograd.modes import no_grad
from iskra.autograd.node import Node, gradient_edge
from iskra.autograd.view import rebase
from iskra.core.dtypes import FLOATING
from iskra.core.local import local
from iskra.core.naming import prefix
from iskra.tensor import PERHAPS, Tensor, storage_of, wrap


class FunctionCtx:
    """What `forward` and `backward` share: saved tensors, flags, and any attribute they set."""

    needs_input_grad = ()
    _to_save = ()
    _saved_for_forward = ()
    _dirty = ()
    _non_differentiable = ()
    _materialize = True

    def save_for_backward(self, *tensors):
        """Keep tensors (or None) for `backward`, which finds them in `saved_tensors`.

        Inputs and outputs kept this way are checked for writes in between.
        """
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    "save_for_backward can only save variables, but argument is of type "
                    f"{type(tensor).__name__}; set anything else as an attribute of ctx"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for `jvp`."""
        self._saved_for_forward = tensors

    def mark_dirty(self, *tensors):
        """Declare inputs that `forward` has written in place; they must be among its results."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors):
        """Declare results that have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value):
        """Whether `backward` gets zeros (the default) or None for results without a gradient."""
        self._materialize = value


class FunctionNode(Node, FunctionCtx):
    """The node of a custom function is its ctx too, so `ctx` and ``grad_fn`` are one object."""

    function_class = None

    def __init__(self):
        super().__init__(())
        self._frozen = None  # saved tensors with their versions

    def __repr__(self):
        name = f"{prefix()}.autograd.function.{type(self).__name__}"
        return f"<{name} object at {id(self):#x}>"

    @property
    def saved_tensors(self):
        """The tensors given to `save_for_backward`."""
        if self._frozen is None:
            return tuple(self._to_save)
        if self._frozen is _FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward."
            )
        return tuple(None if s is None else s.restore(self) for s in self._frozen)

    def apply(self, gradients):
        """Call the user's backward and check how many gradients it returns."""
        function = self.function_class
        outgoing = list(gradients) if self.output_count > 1 else [gradients]
        if self._materialize:
            outgoing = [self._zeros(i) if g is None else g for i, g in enumerate(outgoing)]
        results = _backward_of(function)(self, *outgoing)
        if not isinstance(results, tuple):
            results = (results,)
        results = list(results)
        count = len(self.input_edges)
        while len(results) > count and results[-1] is None:
            results.pop()
        if len(results) != count:
            raise RuntimeError(
                f"function {type(self).__name__} returned an incorrect number of gradients "
                f"(expected {count}, got {len(results)})"
            )
        for number, (edge, result) in enumerate(zip(self.input_edges, results, strict=True)):
            if result is not None and not isinstance(result, Tensor):
                raise TypeError(
                    f"{type(self).__name__} returned a {type(result).__name__} for input "
                    f"{number}; gradients must be tensors or None"
                )
            if edge is None:
                results[number] = None
        return results

    def _zeros(self, number):
        shape = self.output_shape if self.output_count == 1 else self.output_shape[number]
        dtype = self.output_dtype if self.output_count == 1 else self.output_dtype[number]
        return None if shape is None else _zeros(shape, dtype)

    def release(self):
        if self._frozen:
            self._frozen = _FREED

    def name(self):
        return type(self).__name__


_FREED = object()


def _zeros(shape, dtype):
    return wrap(np.zeros(shape, dtype.numpy), dtype)


def _backward_of(function):
    if function.vjp is not Function.vjp:
        return function.vjp
    return function.backward


class _Saved:
    """One saved tensor: inputs as they are, outputs as bare memory (they hold this node)."""

    __slots__ = ("tensor", "memory", "version", "packed", "unpack", "edge_number")

    def __init__(self, tensor, output_number):
        self.unpack = self.memory = self.tensor = None
        self.edge_number = output_number
        if local.saved_tensors_hooks:
            pack, self.unpack = local.saved_tensors_hooks[-1]
            self.packed = pack(tensor)
        elif output_number is not None:
            self.memory = (tensor._array, tensor._dtype, storage_of(tensor))
            self.version = tensor._version
        else:
            self.tensor = tensor
            self.version = tensor._version

    def restore(self, node):
        if self.unpack is not None:
            return self.unpack(self.packed)
        tensor = self.tensor
        if tensor is None:
            array, dtype, storage = self.memory
            tensor = wrap(array, dtype)
            tensor._storage = storage
            tensor._requires_grad = True
            tensor._edge = (node, self.edge_number)
        if tensor._version != self.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                f"inplace operation: [{tensor.dtype} {list(tensor.shape)}] is at version "
                f"{tensor._version}; expected version {self.version} instead. It was saved by "
                f"{type(node).__name__}. Hint: clone it before writing to it."
            )
        return tensor


class _FunctionMeta(type):
    """Gives each Function its node class, named as PyTorch's: ``<Name>Backward``."""

    def __init__(cls, name, bases, members):
        super().__init__(name, bases, members)
        cls._node_class = type(f"{name}Backward", (FunctionNode,), {"function_class": cls})


class Function(FunctionCtx, metaclass=_FunctionMeta):
    """Base class of operations with their own gradient.

    Subclasses define static methods ``forward(ctx, *args)`` (or ``forward(*args)`` and
    ``setup_context(ctx, inputs, output)``) and ``backward(ctx, *gradients)``, which returns one
    gradient or None per argument of forward. Call it through `apply`.

    >>> import iskra as torch
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = torch.ones(2, requires_grad=True)
    >>> Double.apply(x)
    tensor([2., 2.], grad_fn=<DoubleBackward>)
    """

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated. Methods on autograd functions are "
            "all static, so you should invoke them on the class itself: use .apply()"
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the results. Runs outside the graph."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Save what backward needs, where `forward` takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Return the gradient of each argument of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Return the directional derivatives of the results."""
        raise NotImplementedError("You must implement the jvp function for forward mode AD.")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run `forward` on `args` and record the call with this class's backward."""
        ctx = cls._node_class()
        tensors = [a if isinstance(a, Tensor) else None for a in args]
        edges = _edges_of(tensors)
        ctx.needs_input_grad = tuple(e is not None for e in edges)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, outputs)
            else:
                outputs = cls.forward(ctx, *args, **kwargs)
        return _finish(ctx, tensors, edges, outputs)


def _edges_of(tensors):
    if not local.grad_enabled:
        return [None] * len(tensors)
    return [
        gradient_edge(t) if t is not None and t._requires_grad else None for t in tensors
    ]


def _finish(ctx, tensors, edges, outputs):
    """Hang the node onto the results."""
    single = not isinstance(outputs, tuple)
    results = (outputs,) if single else outputs
    for tensor in ctx._dirty:
        if not any(tensor is r for r in results):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as "
                "output. The inputs that are modified inplace must all be outputs of the Function."
            )
        storage_of(tensor).version += 1
    taped = any(e is not None for e in edges)
    if taped:
        _check_dirty(ctx)
    results = tuple(_output_of(r, tensors, ctx) for r in results)
    if taped:
        _record(ctx, edges, results)
    return results[0] if single else results


def _check_dirty(ctx):
    for tensor in ctx._dirty:
        if tensor._requires_grad is True and tensor.is_leaf and tensor._base is None:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )


def _output_of(result, tensors, ctx):
    """An input returned unchanged becomes a view of itself; one that was written stays."""
    if not isinstance(result, Tensor):
        return result
    is_input = any(result is t for t in tensors)
    if is_input and not any(result is d for d in ctx._dirty):
        return result.detach()
    return result


def _record(ctx, edges, results):
    ctx.input_edges = edges
    ctx.output_count = len(results)
    if local.anomaly:
        ctx._more().forward_trace = traceback.format_stack()[:-4]
    shapes = [r._array.shape if isinstance(r, Tensor) else None for r in results]
    dtypes = [r._dtype if isinstance(r, Tensor) else None for r in results]
    single = len(results) == 1
    ctx.output_shape = shapes[0] if single else shapes
    ctx.output_dtype = dtypes[0] if single else dtypes
    for number, result in enumerate(results):
        if not isinstance(result, Tensor) or result._dtype.category < FLOATING:
            continue
        if any(result is n for n in ctx._non_differentiable):
            continue
        _give_history(result, ctx, number)
    ctx._frozen = [
        None if t is None else _Saved(t, next((i for i, r in enumerate(results) if r is t), None))
        for t in ctx._to_save
    ]
    ctx._to_save = ()
    ctx._dirty = ()
    ctx._non_differentiable = ()


def _give_history(result, ctx, number):
    if result._base is not None and any(result is d for d in ctx._dirty):
        place = next((i for i, e in enumerate(ctx.input_edges) if e is not None), None)
        rebase(result, ctx, place)
        return
    if result._requires_grad is PERHAPS or result._base is not None:
        result._base = None  # a view made inside forward starts anew
    result._requires_grad = True
    result._edge = (ctx, number)


def once_differentiable(backward):
    """Mark a `backward` whose own operations cannot be differentiated again.

    Differentiating its results raises RuntimeError.
    """

    @functools.wraps(backward)
    def wrapper(ctx, *gradients):
        with no_grad():
            results = backward(ctx, *gradients)
        wanted = any(isinstance(g, Tensor) and g.requires_grad for g in gradients)
        if not (local.grad_enabled and wanted):
            return results
        parts = results if isinstance(results, tuple) else (results,)
        parts = tuple(_refusing(p) if isinstance(p, Tensor) else p for p in parts)
        return parts if isinstance(results, tuple) else parts[0]

    return wrapper


class _Refuse(Node):
    """Raises when a second derivative is asked of a once-differentiable function."""

    def apply(self, gradients):
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def _refusing(tensor):
    result = tensor.detach()
    node = _Refuse(())
    node.output_shape, node.output_dtype = result._array.shape, result._dtype
    result._requires_grad = True
    result._edge = (node, 0)
    return result


class Stack(Function):
    """Rows put on top of each other (the operators are not yet known in this room)."""

    @staticmethod
    def forward(ctx, *rows):
        return wrap(np.stack([r._array for r in rows]), rows[0]._dtype)

    @staticmethod
    def backward(ctx, g):
        return tuple(g.unbind(0))
