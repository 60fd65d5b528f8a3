"""softmax and its relatives, glu and normalize: activations along a dimension.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html#non-linear-activation-functions
"""


import numpy as np

from iskra.core import dtypes
from iskra.core.size import wrap_dim
from iskra.dispatch import composite, fused
from iskra.dispatch.execute import on_arrays
from iskra.ops.arithmetic import neg
from iskra.ops.joining import cat
from iskra.ops.mathematics import exp, sigmoid
from iskra.ops.warning import warn

F = "nn.functional"
_internal = dict(method=False, function=False, out=False)


def softmax_axis(name, dim, ndim):
    """The dimension meant: a missing one warns, and is 1 for matrices and batches of images."""
    if dim is None:
        if ndim:
            warn(
                f"Implicit dimension choice for {name} has been deprecated. Change the call to "
                "include dim=X as an argument.",
            )
        return 0 if ndim in (0, 1, 3) else 1
    return dim


def check_floats(name, x):
    """Raise NotImplementedError where `x` has no floats."""
    if x.dtype.kind not in "f":
        kind = dtypes.of_numpy(x.dtype).scalar_name
        raise NotImplementedError(
            f"\"{name}\" not implemented for '{kind}'; convert the input, or pass dtype="
        )


def _exponentials(x, axis):
    """``exp(x - max)`` and its sum, along `axis`, and the shifted elements."""
    if x.ndim == 0:
        axis = None
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    shifted = np.subtract(x, top)
    powers = np.exp(shifted)
    return shifted, powers, np.add.reduce(powers, axis=axis, keepdims=True)


@fused(**_internal, operands="grad output", grad={
    "grad": lambda g, output, dim: softmax_backward(g, output, dim),
    "output": lambda g, grad, output, dim: (
        g * (grad - (grad * output).sum(dim, keepdim=True))
        - grad * (g * output).sum(dim, keepdim=True)
    ),
}, samples=lambda make: [((make((3, 4)), make((3, 4)), dim), {}) for dim in (0, 1)])
def softmax_backward(grad, output, dim):
    """The gradient of `softmax`, told by its result."""
    product = np.multiply(grad, output)
    total = np.add.reduce(product, axis=dim if output.ndim else None, keepdims=True)
    return np.subtract(product, np.multiply(output, total))


def _gradient_axis(dim, result):
    if dim is None:
        return 0 if result.ndim in (0, 1, 3) else 1
    return dim


def _samples(make):
    return [
        ((make((3, 4)),), {"dim": 1}), ((make((2, 3, 4)), -2), {}), ((make(()), 0), {}),
    ]


@fused(
    namespace=f"torch {F}", samples=_samples,
    grad=lambda g, result, dim: softmax_backward(g, result, _gradient_axis(dim, result)),
)
def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """Return exponentials of the elements, scaled so that they sum to 1 along `dim`.

    `dtype` converts the elements first. Without `dim` one is chosen, with a warning.
    Raises IndexError for a dimension that is not there, NotImplementedError for integers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html

    >>> import iskra as torch
    >>> torch.softmax(torch.tensor([[0.0, 0.0], [1.0, 3.0]]), dim=1)
    tensor([[0.5000, 0.5000],
            [0.1192, 0.8808]])
    """
    dim = softmax_axis("softmax", dim, input.ndim)
    check_floats("softmax", input)
    if input.size == 0:
        return np.copy(input)
    powers, total = _exponentials(input, dim)[1:]
    powers /= total
    return powers


@fused(**_internal, operands="grad output", grad={
    "grad": lambda g, output, dim: g - (g * exp(output)).sum(dim, keepdim=True),
    "output": lambda g, grad, output, dim: -g * exp(output) * grad.sum(dim, keepdim=True),
}, samples=lambda make: [((make((3, 4)), make((3, 4)), dim), {}) for dim in (0, 1)])
def log_softmax_backward(grad, output, dim):
    """The gradient of `log_softmax`, told by its result."""
    total = np.add.reduce(grad, axis=dim if output.ndim else None, keepdims=True)
    return np.subtract(grad, np.multiply(np.exp(output), total))


@fused(
    namespace=f"torch {F}", samples=_samples,
    grad=lambda g, result, dim: log_softmax_backward(g, result, _gradient_axis(dim, result)),
)
def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """Return the logarithm of `softmax`, computed without loss where that is near 0.

    Takes `dim` and `dtype` as `softmax` does.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.log_softmax.html

    >>> import iskra as torch
    >>> torch.log_softmax(torch.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.,     0.])
    """
    dim = softmax_axis("log_softmax", dim, input.ndim)
    check_floats("log_softmax", input)
    if input.size == 0:
        return np.copy(input)
    shifted, _, total = _exponentials(input, dim)
    shifted -= np.log(total)
    return shifted


@composite(namespace=F, method=False, samples=_samples)
def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """Return the softmax of the negated elements.

    Takes `dim` and `dtype` as `softmax` does.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmin.html

    >>> import iskra as torch
    >>> torch.nn.functional.softmin(torch.tensor([1.0, 1.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = softmax_axis("softmin", dim, input.ndim)
    return softmax(neg(input), dim, dtype=dtype)


def _glu_halves(name, input, dim):
    """The axis and the halves of an array along it."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    axis = wrap_dim(dim, input.ndim)
    size = input.shape[axis]
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    before = (slice(None),) * axis
    return axis, input[(*before, slice(size // 2))], input[(*before, slice(size // 2, None))]


def _sigmoid(x):
    return np.reciprocal(np.add(np.exp(np.negative(x)), 1))


def _glu_curvature(g, grad, input, dim):
    """The gradient of `glu_backward` with respect to the input."""
    first, second = input.chunk(2, dim)
    g_first, g_second = g.chunk(2, dim)
    gate = sigmoid(second)
    slope = gate * (1 - gate)
    bend = slope * (1 - 2 * gate)
    return cat((grad * g_second * slope, grad * (g_first * slope + g_second * first * bend)), dim)


def _glu_product(g, input, dim):
    """What `g`, shaped as the input, makes of the gradient of `glu`."""
    first, second = input.chunk(2, dim)
    g_first, g_second = g.chunk(2, dim)
    gate = sigmoid(second)
    return g_first * gate + g_second * first * gate * (1 - gate)


@fused(**_internal, operands="first second")
def gated_half(first, second):
    """`glu` of the two halves."""
    return np.multiply(first, _sigmoid(second))


@fused(**_internal, operands="grad first second", outputs=2)
def gated_half_backward(grad, first, second):
    """The gradients of `glu` for the two halves."""
    gate = _sigmoid(second)
    inner = np.multiply(grad, gate)
    return inner, np.multiply(np.multiply(inner, first), np.subtract(1, gate))


@fused(**_internal, operands="grad input", grad={
    "grad": _glu_product, "input": _glu_curvature,
})
def glu_backward(grad, input, dim):
    """The gradient of `glu`."""
    axis, first, second = _glu_halves("glu", input, dim)
    return np.concatenate(on_arrays(gated_half_backward, grad, first, second), axis=axis)


@fused(
    namespace=F, method=False, accepts="float",
    grad=lambda g, input, dim: glu_backward(g, input, dim),
    samples=lambda make: [((make((3, 4)),), {}), ((make((4, 3)), 0), {})],
)
def glu(input, dim=-1):
    """Return the first half along `dim` times the sigmoid of the second half.

    Raises RuntimeError for an odd size or a zero-dimensional input.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.glu.html

    >>> import iskra as torch
    >>> torch.nn.functional.glu(torch.tensor([1.0, 2.0, 0.0, 0.0]))
    tensor([0.5000, 1.0000])
    """
    return on_arrays(gated_half, *_glu_halves("glu", input, dim)[1:])


@composite(namespace=F, method=False, out="aligned", samples=lambda make: [
    ((make((3, 4)),), {}), ((make((3, 4)), 3.0, 0), {}), ((make((0, 4)),), {}),
])
def normalize(input, p=2.0, dim=1, eps=1e-12):
    """Return the input divided by its `p` norm along `dim` (at least `eps`).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.normalize.html

    >>> import iskra as torch
    >>> torch.nn.functional.normalize(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    length = input.norm(p, dim, keepdim=True).clamp_min(eps)
    return input / length.expand(input.shape)
