"""The largest and the smallest: max and min in their three forms, argmax, argmin, aminmax.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#reduction-ops
"""

import numpy as np

from iskra.dispatch import composite, operator, reduction
from iskra.ops.arithmetic import maximum, minimum
from iskra.ops.moving import write_along
from iskra.ops.reduction import extremum_gradient
from iskra.tensor import Tensor


def first_extreme(argument, input, dim, keepdim):
    """Indices of the first extremum along `dim`; NaN counts as the extremum."""
    indices = argument(input, axis=dim)
    return np.expand_dims(indices, dim) if keepdim else indices


def _taken(input, indices, dim, keepdim):
    """The elements at `indices` along `dim`."""
    where_to = indices if keepdim else np.expand_dims(indices, dim)
    values = np.take_along_axis(input, where_to, dim)
    return values if keepdim else np.squeeze(values, dim)


def _along(name, argument, input, dim, keepdim):
    if input.dtype.kind == "c":
        raise RuntimeError(f"{name} of complex numbers is not defined")
    if input.ndim == 0:
        if dim not in (0, -1):
            raise IndexError(
                f"{name}: Dimension out of range (expected to be in range of [-1, 0], but got "
                f"{dim})"
            )
        return np.copy(input), np.zeros((), np.int64)
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-input.ndim}, "
            f"{input.ndim - 1}], but got {dim})"
        )
    if input.shape[dim] == 0:
        raise IndexError(
            f"{name}(): Expected reduction dim {dim % input.ndim} to have non-zero size."
        )
    indices = first_extreme(argument, input, dim, keepdim)
    return _taken(input, indices, dim, keepdim), indices.astype(np.int64, copy=False)


def _selected(g, indices, dim, keepdim):
    if keepdim:
        return g.gather(dim, indices)
    return g.gather(dim, indices.unsqueeze(dim)).squeeze(dim)


@operator(
    method=False, function=False, out=False, operands="grad indices", node="ScatterBackward0",
    grad={"grad": _selected}, samples=lambda make: [
        ((make((3, 2)), make((3, 2)).argsort(1), (3, 4), 1, True), {}),
        ((make((3,)), make((3, 4)).argmax(-1), (3, 4), -1, False), {}),
    ],
)
def selected_backward(grad, indices, shape, dim, keepdim):
    """Zeros with the gradients of elements, each selected once, at their places along `dim`."""
    dim %= len(shape)
    if not keepdim:
        grad, indices = np.expand_dims(grad, dim), np.expand_dims(indices, dim)
    result = np.zeros(shape, grad.dtype)
    if not write_along("set", result, indices, grad, dim):
        np.put_along_axis(result, indices, grad, dim)
    return result


def index_gradient(g, input_shape, indices, dim, keepdim):
    """Put the gradient of selected values back to where `indices` took them from."""
    return selected_backward(g[0], indices, input_shape, dim, keepdim) if input_shape else g[0]


_ALONG_SAMPLES = lambda make: [
    ((make((3, 4)), 1), {}), ((make((2, 3, 4)), 0, True), {}), ((make(()), 0), {}),
]


@operator(
    outputs=2, result=("values", "indices"), method=False, function=False, node="MaxBackward0",
    grad=index_gradient, samples=_ALONG_SAMPLES, computes=True,
)
def max_along(input, dim, keepdim=False):
    """The operator behind ``max(dim)``."""
    return _along("max", np.argmax, input, dim, keepdim)


@operator(
    outputs=2, result=("values", "indices"), method=False, function=False, node="MinBackward0",
    grad=index_gradient, samples=_ALONG_SAMPLES, computes=True,
)
def min_along(input, dim, keepdim=False):
    """The operator behind ``min(dim)``."""
    return _along("min", np.argmin, input, dim, keepdim)


def _whole_gradient(g, input, result):
    return extremum_gradient(g, input, result, None, False)


@reduction(
    method=False, function=False, node="MaxBackward1", grad=_whole_gradient, computes=True,
    accepts="bool int float", samples=lambda make: [((make((3, 4)),), {}), ((make(()),), {})],
)
def max_of_all(input):
    """The operator behind ``max()``."""
    _refuse_nothing("max", input)
    return np.maximum.reduce(input, axis=None)


@reduction(
    method=False, function=False, node="MinBackward1", grad=_whole_gradient, computes=True,
    accepts="bool int float", samples=lambda make: [((make((3, 4)),), {}), ((make(()),), {})],
)
def min_of_all(input):
    """The operator behind ``min()``."""
    _refuse_nothing("min", input)
    return np.minimum.reduce(input, axis=None)


def _refuse_nothing(name, input):
    if not input.size:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )


_FORMS = {"max": (max_of_all, max_along, maximum), "min": (min_of_all, min_along, minimum)}


def _extremum(name, input, dim, keepdim, other):
    of_all, along, of_two = _FORMS[name]
    if isinstance(dim, Tensor):
        dim, other = None, dim
    if other is not None:
        return of_two(input, other)
    return of_all(input) if dim is None else along(input, dim, keepdim)


@composite(out="aligned")
def max(input, dim=None, keepdim=False, *, other=None):
    """Return the largest element; with `dim` values and indices; with a tensor, `maximum`.

    NaN counts as larger than any number. Of equal elements the first one's index is given.
    Raises RuntimeError for an empty tensor without `dim`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.max.html

    >>> import iskra as torch
    >>> torch.max(torch.tensor([[1, 5], [7, 2]]), dim=1).indices
    tensor([1, 0])
    """
    return _extremum("max", input, dim, keepdim, other)


@composite(out="aligned")
def min(input, dim=None, keepdim=False, *, other=None):
    """Return the smallest element; with `dim` values and indices; with a tensor, `minimum`.

    NaN counts as smaller than any number. Of equal elements the first one's index is given.
    Raises RuntimeError for an empty tensor without `dim`.

    >>> import iskra as torch
    >>> torch.min(torch.tensor([[1, 5], [7, 2]]), dim=1).values
    tensor([1, 2])
    """
    return _extremum("min", input, dim, keepdim, other)


def _argument(name, function, input, dim, keepdim):
    if input.dtype.kind == "b":
        raise RuntimeError(f"{name}(): does not support bool input; convert with .int() first")
    if dim is None:
        if not input.size:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        index = function(input)
        return np.reshape(index, (1,) * input.ndim) if keepdim else index
    if input.ndim == 0:
        return np.zeros((), np.int64)
    if input.shape[dim] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return first_extreme(function, input, dim, keepdim)


@reduction(accepts="bool int float")
def argmax(input, dim=None, keepdim=False):
    """Return the index of the largest element, in the flattened tensor or along `dim`.

    Of equal elements the first one's index is given; NaN counts as the largest.

    >>> import iskra as torch
    >>> torch.argmax(torch.tensor([[1, 5], [7, 2]]))
    tensor(2)
    """
    return _argument("argmax", np.argmax, input, dim, keepdim)


@reduction(accepts="bool int float")
def argmin(input, dim=None, keepdim=False):
    """Return the index of the smallest element, in the flattened tensor or along `dim`.

    Of equal elements the first one's index is given; NaN counts as the smallest.

    >>> import iskra as torch
    >>> torch.argmin(torch.tensor([[1, 5], [7, 2]]), dim=0)
    tensor([0, 1])
    """
    return _argument("argmin", np.argmin, input, dim, keepdim)


def _both_gradient(g, input, result, dim, keepdim):
    parts = [
        extremum_gradient(part, input, extreme, dim, keepdim)
        for part, extreme in zip(g, result, strict=True) if part is not None
    ]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@reduction(
    out="apart", outputs=2, result=("min", "max"), accepts="bool int float", grad=_both_gradient,
)
def aminmax(input, *, dim=None, keepdim=False):
    """Return the smallest and the largest element, in all or along `dim`, as a named pair.

    >>> import iskra as torch
    >>> low, high = torch.aminmax(torch.tensor([1, 5, 3]))
    >>> low, high
    (tensor(1), tensor(5))
    """
    if not input.size and (dim is None or input.shape[dim] == 0):
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity."
        )
    return (
        np.minimum.reduce(input, axis=dim, keepdims=keepdim),
        np.maximum.reduce(input, axis=dim, keepdims=keepdim),
    )
