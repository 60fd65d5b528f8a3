"""Derivatives of functions: vjp, jvp, jacobian, hessian, and their products with vectors.

Source: https://docs.pytorch.org/docs/stable/autograd.html#functional-higher-level-api
"""

from iskra.autograd.api import grad
from iskra.autograd.function import Stack
from iskra.autograd.modes import enable_grad
from iskra.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple_of(value, name, function):
    single = isinstance(value, Tensor)
    values = (value,) if single else value
    if not isinstance(values, tuple):
        raise TypeError(
            f"The {name} given to {function} must be either a Tensor or a tuple of Tensors but the "
            f"given {name} has type {type(value)}."
        )
    for number, item in enumerate(values):
        if not isinstance(item, Tensor):
            raise TypeError(
                f"The {name} given to {function} must be either a Tensor or a tuple of Tensors but "
                f"the value at index {number} has type {type(item)}."
            )
    return values, single


def _leaves(inputs, create_graph):
    """Fresh leaves on the inputs (or nodes that lead back to them, to build a graph further)."""
    if create_graph:
        return tuple(
            t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in inputs
        )
    return tuple(t.detach().requires_grad_() for t in inputs)


def _call(func, inputs, function):
    outputs = func(*inputs)
    return _tuple_of(outputs, "outputs of the user-provided function", function)


def _gradients(outputs, inputs, weights, strict, retain=True, create_graph=False):
    """Gradients with zeros where an input was not used; under `strict` that is an error."""
    live = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    if not live:
        if strict:
            raise RuntimeError(
                "The output of the user-provided function is independent of the input. This is "
                "not allowed in strict mode."
            )
        return tuple(t.new_zeros(t.shape) for t in inputs)
    found = grad(
        [o for o, _ in live], inputs, [w for _, w in live], retain_graph=retain,
        create_graph=create_graph, allow_unused=True,
    )
    for number, gradient in enumerate(found):
        if gradient is None and strict:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {number}. This "
                "is not allowed in strict mode."
            )
    return tuple(
        t.new_zeros(t.shape) if g is None else g for g, t in zip(found, inputs, strict=True)
    )


def _finish(values, single, create_graph):
    values = tuple(v if create_graph else v.detach() for v in values)
    return values[0] if single else values


def _vectors(v, like, name, function):
    """The vectors to multiply with: given, or 1 for a single-element tensor."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"The vector v can only be None if the {name} is a single Tensor with a single "
                "element."
            )
        return (like[0].new_ones(like[0].shape),)
    vectors, _ = _tuple_of(v, "v", function)
    if len(vectors) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
        )
    for number, (vector, tensor) in enumerate(zip(vectors, like, strict=True)):
        if vector.shape != tensor.shape:
            raise RuntimeError(
                f"Entry {number} in v has invalid size: should be {tensor.shape} but got "
                f"{vector.shape}."
            )
    return vectors


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """Return ``func(*inputs)`` and the product of `v` with its Jacobian.

    >>> import iskra as torch
    >>> x = torch.tensor([1.0, 2.0])
    >>> torch.autograd.functional.vjp(lambda x: x * x, x, torch.ones(2))[1]
    tensor([2., 4.])
    """
    inputs, single_input = _tuple_of(inputs, "inputs", "vjp")
    with enable_grad():
        inputs = _leaves(inputs, create_graph)
        outputs, single_output = _call(func, inputs, "vjp")
        vectors = _vectors(v, outputs, "user-provided function's output", "vjp")
        products = _gradients(outputs, inputs, vectors, strict, create_graph=create_graph)
    return (
        _finish(outputs, single_output, create_graph),
        _finish(products, single_input, create_graph),
    )


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """Return ``func(*inputs)`` and the product of its Jacobian with `v`.

    Computed as the derivative of a vector-Jacobian product with respect to its vector.

    >>> import iskra as torch
    >>> x = torch.tensor([1.0, 2.0])
    >>> torch.autograd.functional.jvp(lambda x: x.sum() * x, x, torch.ones(2))[1]
    tensor([5., 7.])
    """
    inputs, _ = _tuple_of(inputs, "inputs", "jvp")
    vectors = _vectors(v, inputs, "input to the user-provided function", "jvp")
    with enable_grad():
        inputs = _leaves(inputs, create_graph)
        outputs, single = _call(func, inputs, "jvp")
        weights = tuple(o.new_zeros(o.shape).requires_grad_() for o in outputs)
        inner = _gradients(outputs, inputs, weights, strict, create_graph=True)
        products = _gradients(inner, weights, vectors, False, create_graph=create_graph)
    return _finish(outputs, single, create_graph), _finish(products, single, create_graph)


def jacobian(
    func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"
):
    """Return the Jacobian: of shape ``output.shape + input.shape``, nested for tuples.

    >>> import iskra as torch
    >>> torch.autograd.functional.jacobian(lambda x: x * x, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    inputs, single_input = _tuple_of(inputs, "inputs", "jacobian")
    with enable_grad():
        inputs = _leaves(inputs, create_graph)
        outputs, single_output = _call(func, inputs, "jacobian")
        rows = tuple(
            _output_jacobian(output, inputs, create_graph, strict) for output in outputs
        )
    rows = tuple(row[0] if single_input else row for row in rows)
    return rows[0] if single_output else rows


def _output_jacobian(output, inputs, create_graph, strict):
    """The Jacobian of one output: a tuple with one tensor per input."""
    columns = [[] for _ in inputs]
    flat = output.reshape(-1)
    for element in range(flat.numel()):
        found = _gradients(
            (flat[element],), inputs, (flat.new_ones(()),), strict, create_graph=create_graph
        )
        for column, gradient in zip(columns, found, strict=True):
            column.append(gradient if create_graph else gradient.detach())
    return tuple(
        Stack.apply(*column).reshape(output.shape + tensor.shape)
        if column else output.new_zeros(output.shape + tensor.shape)
        for column, tensor in zip(columns, inputs, strict=True)
    )


def hessian(
    func, inputs, create_graph=False, strict=False, vectorize=False,
    outer_jacobian_strategy="reverse-mode",
):
    """Return the Hessian of a function with a single-element result.

    >>> import iskra as torch
    >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    inputs, single = _tuple_of(inputs, "inputs", "hessian")

    def gradient(*tensors):
        output = func(*tensors)
        _check_scalar(output, "hessian")
        found = _gradients((output,), tensors, (output.new_ones(output.shape),), strict,
                           create_graph=True)
        return found[0] if single else found

    return jacobian(gradient, inputs[0] if single else inputs, create_graph, strict)


def _check_scalar(output, function):
    if not isinstance(output, Tensor):
        raise RuntimeError(
            f"The function given to {function} should return a single Tensor"
        )
    if output.numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {function} should contain a single "
            "element"
        )


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """Return ``func(*inputs)`` and the product of `v` with its Hessian."""
    return _hessian_product(func, inputs, v, create_graph, strict, "vhp")


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """Return ``func(*inputs)`` and the product of its Hessian with `v`.

    >>> import iskra as torch
    >>> x = torch.tensor([1.0, 2.0])
    >>> torch.autograd.functional.hvp(lambda x: (x ** 3).sum(), x, torch.ones(2))[1]
    tensor([ 6., 12.])
    """
    return _hessian_product(func, inputs, v, create_graph, strict, "hvp")


def _hessian_product(func, inputs, v, create_graph, strict, function):
    """A Hessian is symmetric, so its product with a vector is the same from either side."""
    inputs, single = _tuple_of(inputs, "inputs", function)
    vectors = _vectors(v, inputs, "input to the user-provided function", function)
    with enable_grad():
        inputs = _leaves(inputs, create_graph)
        output = func(*inputs)
        _check_scalar(output, function)
        first = _gradients((output,), inputs, (output.new_ones(output.shape),), strict,
                           create_graph=True)
        products = _gradients(first, inputs, vectors, strict, create_graph=create_graph)
    return _finish((output,), True, create_graph), _finish(products, single, create_graph)
