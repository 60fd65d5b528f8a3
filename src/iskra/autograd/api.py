"""`backward` and `grad`: what users call to start a backward pass."""

from iskra.autograd.engine import execute
from iskra.autograd.function import Stack
from iskra.autograd.node import AccumulateGrad, gradient_edge
from iskra.tensor import Tensor, wrap


def backward(
    tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None
):
    """Add the gradient of `tensors` to the ``.grad`` of the leaves they depend on.

    `grad_tensors` holds one weight per tensor, of its shape; None means 1 for a scalar.
    With `inputs` only those tensors accumulate. Raises RuntimeError for a non-scalar without a
    weight, for a tensor outside any graph, and for a graph that has been freed.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.backward.html

    >>> import iskra as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward([(x * x).sum()])
    >>> x.grad
    tensor([2., 4.])
    """
    tensors = _as_tuple(tensors, "tensors")
    edges, gradients = _roots(tensors, grad_tensors)
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        execute(edges, gradients, retain, create_graph)
        return
    inputs = _as_tuple(inputs, "inputs")
    if not inputs:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    targets = [_input_edge(t) for t in inputs]
    found = execute(edges, gradients, retain, create_graph, targets)
    for tensor, edge, gradient in zip(inputs, targets, found, strict=True):
        if gradient is None:
            continue
        if edge[0].__class__ is AccumulateGrad:
            edge[0].accumulate(gradient)
        else:
            held = tensor._grad
            tensor._grad = gradient if held is None else held + gradient


def grad(
    outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False,
    only_inputs=True, allow_unused=None, is_grads_batched=False, materialize_grads=False,
):
    """Return the gradients of `outputs` with respect to `inputs`, as a tuple.

    Raises RuntimeError where an input does not require a gradient, or, unless `allow_unused`,
    was not used in the graph; `materialize_grads` gives zeros there.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad.html

    >>> import iskra as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = x ** 3
    >>> (first,) = torch.autograd.grad(y, x, create_graph=True)
    >>> first, torch.autograd.grad(first, x)
    (tensor(27., grad_fn=<MulBackward0>), (tensor(18.),))
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, "
            "but got: allow_unused=False."
        )
    outputs = _as_tuple(outputs, "outputs")
    inputs = _as_tuple(inputs, "inputs")
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain, create_graph, allow_unused,
                        materialize_grads)
    edges, gradients = _roots(outputs, grad_outputs)
    targets = [_input_edge(t) for t in inputs]
    found = execute(edges, gradients, retain, create_graph, targets)
    allow_unused = materialize_grads if allow_unused is None else allow_unused
    if not allow_unused:
        for number, gradient in enumerate(found):
            if gradient is None:
                raise RuntimeError(
                    f"The differentiated Tensor at index {number} appears to not have been used in "
                    "the graph. Set allow_unused=True if this is the desired behavior."
                )
    if materialize_grads:
        found = [t.new_zeros(t.shape) if g is None else g
                 for g, t in zip(found, inputs, strict=True)]
    return tuple(found)


def _batched(outputs, inputs, grad_outputs, retain, create_graph, allow_unused, materialize):
    """One pass per entry of the gradients' first dimension, stacked."""
    grad_outputs = _as_tuple(grad_outputs, "grad_outputs")
    rows = [
        grad(outputs, inputs, tuple(g[i] for g in grad_outputs), True, create_graph,
             allow_unused=allow_unused, materialize_grads=materialize)
        for i in range(len(grad_outputs[0]))
    ]
    columns = zip(*rows, strict=True)
    return tuple(None if c[0] is None else Stack.apply(*c) for c in columns)


def _as_tuple(value, name):
    if isinstance(value, Tensor) or value is None:
        return (value,)
    value = tuple(value)
    for item in value:
        if not isinstance(item, (Tensor, GradientEdge)) and item is not None:
            raise TypeError(f"{name} must be tensors, but got {type(item).__name__}")
    return value


def _roots(tensors, grad_tensors):
    """The edges to start from and the gradients to start with."""
    if grad_tensors is None:
        grad_tensors = (None,) * len(tensors)
    else:
        grad_tensors = _as_tuple(grad_tensors, "grad_tensors")
    if len(grad_tensors) != len(tensors):
        raise RuntimeError(
            f"got {len(tensors)} tensors and {len(grad_tensors)} gradients"
        )
    edges, gradients = [], []
    for tensor, gradient in zip(tensors, grad_tensors):
        edge = tensor if tensor.__class__ is GradientEdge else gradient_edge(tensor)
        if edge is None:
            raise RuntimeError(
                f"element {len(edges)} of tensors does not require grad and does not have a grad_fn"
            )
        edges.append(edge)
        gradients.append(_initial(tensor, gradient))
    return edges, gradients


def _initial(tensor, gradient):
    if tensor.__class__ is GradientEdge:
        return gradient
    if gradient is None:
        if tensor._array.size != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        if not tensor._dtype.is_floating_point:
            raise RuntimeError(
                f"grad can be implicitly created only for real scalar outputs but got "
                f"{tensor.dtype}"
            )
        ones = tensor._array.copy()
        ones.fill(1)
        return wrap(ones, tensor._dtype)
    if gradient.shape != tensor.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[0] has a shape of {gradient.shape} and output[0] "
            f"has a shape of {tensor.shape}."
        )
    if gradient.is_complex() != tensor.is_complex():
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same "
            f"dtype. Mismatch in dtype: grad_output[0] has a dtype of {gradient.dtype} and "
            f"output[0] has a dtype of {tensor.dtype}."
        )
    return gradient


def _input_edge(tensor):
    edge = tuple(tensor) if isinstance(tensor, GradientEdge) else gradient_edge(tensor)
    if edge is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return edge


class GradientEdge(tuple):
    """A place in the graph, ``(node, output_nr)``, usable where `grad` takes a tensor."""

    __slots__ = ()

    def __new__(cls, node, output_nr=0):
        return tuple.__new__(cls, (node, output_nr))

    @property
    def node(self):
        """The graph node."""
        return self[0]

    @property
    def output_nr(self):
        """Which of the node's outputs."""
        return self[1]


def get_gradient_edge(tensor):
    """The `GradientEdge` of a tensor that requires a gradient."""
    edge = gradient_edge(tensor)
    if edge is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    return GradientEdge(*edge)
