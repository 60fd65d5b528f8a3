"""Scans along a dimension: running sums, products and extrema; differences and integrals.

Source: https://docs.pytorch.org/docs/stable/torch.html#other-operations
"""

import numpy as np

from iskra.codegen import kernels
from iskra.core.dtypes import finfo
from iskra.core.size import wrap_dim, wrap_dims
from iskra.dispatch import composite, reduction
from iskra.ops.arithmetic import complex_logaddexp, conj_of
from iskra.ops.comparison import where
from iskra.ops.joining import cat
from iskra.ops.large import is_large
from iskra.ops.moving import is_served
from iskra.ops.slicing import as_int, narrow
from iskra.tensor import Tensor

_SAMPLES = lambda make: [
    ((make((3, 4)), 1), {}), ((make((2, 3, 4)), 0), {}), ((make(()), 0), {}),
]


def reversed_sum(g, dim):
    """The running sum from the end along `dim`."""
    return g.flip(dim).cumsum(dim).flip(dim) if g.dim() else g


def _wide(input, dtype):
    """The dtype of running sums: NumPy would widen small integers even where `dtype` names one."""
    return np.int64 if dtype is None and input.dtype.kind in "iub" else input.dtype


def _accumulated(ufunc, input, dim, dtype):
    if input.ndim == 0:
        return np.array(input, _wide(input, dtype))
    wide = np.dtype(_wide(input, dtype))
    found = _by_kernels(ufunc, input, dim, wide)
    return ufunc.accumulate(input, axis=dim, dtype=wide) if found is None else found[0]


def _by_kernels(ufunc, input, dim, dtype):
    """A list of running results, from machine code; None where NumPy must find them."""
    return kernels.scans.scan(ufunc.__name__, input, dim, dtype) if is_large(input) else None


@reduction(
    out="dtype aligned", inplace=True, grad=lambda g, dim: reversed_sum(g, dim), samples=_SAMPLES,
)
def cumsum(input, dim, *, dtype=None):
    """Return running sums along `dim`; integers and bools are summed as int64.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cumsum.html

    >>> import iskra as torch
    >>> torch.cumsum(torch.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _accumulated(np.add, input, dim, dtype)


def _cumprod_gradient(g, input, result, dim):
    """d(result[k])/d(input[i]) is the product of all others up to k, taken without dividing."""
    if not input.dim():
        return g
    size = input.shape[dim]
    if not size:
        return g
    if (input != 0).all():
        return reversed_sum(g * conj_of(result), dim) / conj_of(input)
    ones = narrow(input, dim, 0, 1) * 0 + 1
    total = []
    for i in range(size):
        before = narrow(result, dim, i - 1, 1) if i else ones
        rest = narrow(input, dim, i + 1, size - i - 1)
        runs = cat((ones, rest), dim).cumprod(dim) * before
        part = narrow(g, dim, i, size - i) * conj_of(runs)
        total.append(part.sum(dim, keepdim=True))
    return cat(total, dim)


@reduction(out="dtype aligned", inplace=True, grad=_cumprod_gradient, samples=_SAMPLES)
def cumprod(input, dim, *, dtype=None):
    """Return running products along `dim`; integers and bools are multiplied as int64.

    >>> import iskra as torch
    >>> torch.cumprod(torch.tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    return _accumulated(np.multiply, input, dim, dtype)


def _running(ufunc, input, dim):
    """Running extrema and where the latest of equal ones stands; NaN wins."""
    if input.ndim == 0:
        return np.copy(input), np.zeros((), np.int64)
    if is_served(input):
        found = kernels.scans.scan(ufunc.__name__, input, dim, input.dtype)
        if found is not None:
            return tuple(found)
    values = ufunc.accumulate(input, axis=dim)
    places = np.arange(input.shape[dim]).reshape([-1] + [1] * (input.ndim - 1 - dim))
    new = np.equal(input, values) | (input != input)
    indices = np.maximum.accumulate(np.where(new, places, 0), axis=dim)
    return values, indices.astype(np.int64)


def _running_gradient(g, input_shape, indices, dim):
    if not input_shape:
        return g[0]
    return g[0].new_zeros(input_shape).scatter_add(dim, indices, g[0])


@reduction(
    outputs=2, result=("values", "indices"), accepts="bool int float", grad=_running_gradient,
    repeats=True, samples=_SAMPLES,
)
def cummax(input, dim):
    """Return running maxima along `dim` and where they stand (the latest of equal ones).

    >>> import iskra as torch
    >>> torch.cummax(torch.tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    return _running(np.maximum, input, dim)


@reduction(
    outputs=2, result=("values", "indices"), accepts="bool int float", grad=_running_gradient,
    repeats=True, samples=_SAMPLES,
)
def cummin(input, dim):
    """Return running minima along `dim` and where they stand (the latest of equal ones).

    >>> import iskra as torch
    >>> torch.cummin(torch.tensor([3, 1, 2]), 0).values
    tensor([3, 1, 1])
    """
    return _running(np.minimum, input, dim)


@reduction(
    out="aligned", accepts="float complex", samples=_SAMPLES,
    grad=lambda g, input, result, dim: _logcumsumexp_gradient(g, input, result, dim),
)
def logcumsumexp(input, dim):
    """Return the logarithm of running sums of exponentials along `dim`, without overflow.

    >>> import iskra as torch
    >>> torch.logcumsumexp(torch.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    if input.ndim == 0:
        return np.copy(input)
    if input.dtype.kind == "c":
        result = np.copy(input)
        rows = np.moveaxis(result, dim, 0)
        for place in range(1, len(rows)):
            rows[place] = complex_logaddexp(rows[place - 1], rows[place])
        return result
    found = _by_kernels(np.logaddexp, input, dim, input.dtype)
    return np.logaddexp.accumulate(input, axis=dim) if found is None else found[0]


def _logcumsumexp_gradient(g, input, result, dim):
    """exp(input - result) weighted with g and summed from the end, in range all the way.

    The gradient's two signs are taken apart, since only magnitudes have logarithms.
    """
    if not input.dim():
        return g
    if g.is_complex():
        return _log_part(g.log(), input.conj(), result.conj(), dim)
    magnitude = g.abs().log()
    nothing = g.new_full((), finfo(g.dtype).min)
    positive = where(g > 0, magnitude, nothing)
    negative = where(g < 0, magnitude, nothing)
    return _log_part(positive, input, result, dim) - _log_part(negative, input, result, dim)


def _log_part(magnitude, input, result, dim):
    return (logcumsumexp((magnitude - result).flip(dim), dim).flip(dim) + input).exp()


@composite(out="exact aligned")
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """Return the `n`-th differences of neighbours along `dim`.

    >>> import iskra as torch
    >>> torch.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if not input.dim():
        raise RuntimeError("diff expects input to be at least one-dimensional")
    n = as_int(n, "diff", "n")
    if n < 0:
        raise RuntimeError(f"diff expects n to be non-negative, got {n}")
    parts = [p for p in (prepend, input, append) if p is not None]
    result = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, result.shape[dim])):
        size = result.shape[dim]
        if not size:
            break
        ahead, behind = narrow(result, dim, 1, size - 1), narrow(result, dim, 0, size - 1)
        result = ahead ^ behind if result.dtype.category == 0 else ahead - behind
    return result.clone() if n == 0 else result


def _slabs(y, x, dx, dim):
    """The areas under each segment."""
    size = y.shape[dim]
    if y.dtype.category == 0 or x is not None and x.dtype.category == 0:
        raise RuntimeError("trapezoid: received a bool input for `x` or `y`")
    if not size:
        return narrow(y, dim, 0, 0)
    middle = narrow(y, dim, 1, size - 1) + narrow(y, dim, 0, size - 1)
    if x is None:
        return middle * (dx / 2.0)
    if x.dim() == 1:
        if x.shape[0] != size:
            raise RuntimeError(
                f"trapezoid: there are {x.shape[0]} places `x` for {size} elements along "
                f"dimension {dim}"
            )
        x = x.reshape([size if d == dim else 1 for d in range(y.dim())])
    elif x.dim() < y.dim():
        x = x.reshape((1,) * (y.dim() - x.dim()) + tuple(x.shape))
    return middle * diff(x, dim=dim) / 2.0


@composite(method=False)
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """Integrate along `dim` by the trapezoidal rule, at places `x` or at distances `dx`.

    >>> import iskra as torch
    >>> torch.trapezoid(torch.tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    dim = wrap_dim(dim, y.dim())
    if x is None and y.dtype.category and y.shape[dim]:
        ends = y.select(dim, 0) + y.select(dim, -1)  # which only half counts
        return (y.sum(dim) - ends * 0.5) * dx
    return _slabs(y, x, dx, dim).sum(dim)


@composite(method=False)
def trapz(y, x=None, *, dx=1, dim=-1):
    """`trapezoid` under its older name.

    >>> import iskra as torch
    >>> torch.trapz(torch.tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    return trapezoid(y, x, dx=dx, dim=dim)


@composite(method=False)
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """Integrate along `dim` by the trapezoidal rule, keeping the running sums.

    >>> import iskra as torch
    >>> torch.cumulative_trapezoid(torch.tensor([1.0, 5.0, 10.0]))
    tensor([ 3.0000, 10.5000])
    """
    dim = wrap_dim(dim, y.dim())
    return _slabs(y, x, dx, dim).cumsum(dim)


def _gradient_spacings(name, input, spacing, dims, default_dims):
    """One spacing for each dimension: a number, or a tensor of coordinates."""
    if spacing is None:
        spacing = 1
    if isinstance(spacing, (int, float, complex)):
        return [spacing] * len(dims)
    spacing = list(spacing)
    if len(spacing) != len(dims):
        wanted = f"'self.dim() = {len(dims)}', since dim argument was not given" if (
            default_dims
        ) else f"the length of dim, {len(dims)}"
        raise RuntimeError(
            f"{name} expected spacing to be unspecified, a scalar, or a list of length equal to "
            f"{wanted}, but got a list of length {len(spacing)}"
        )
    for dim, item in zip(dims, spacing, strict=True):
        if isinstance(item, Tensor):
            _check_coordinates(name, item, input.shape[dim])
    return spacing


def _check_coordinates(name, item, size):
    if item.dim() != 1:
        raise RuntimeError(
            f"{name} expected each element of spacing to have one dimension, but got an element "
            f"with {item.dim()} dimensions!"
        )
    if item.shape[0] != size:
        raise RuntimeError(
            f"{name} expected each element of spacing to have as many elements as the dimension, "
            f"{size}, but got {item.shape[0]}"
        )


def _gradient_along(input, spacing, dim, edge_order):
    """Central differences inside, one-sided ones of the given order at both ends."""
    size = input.shape[dim]

    def part(start, length):
        return narrow(input, dim, start, length)

    if isinstance(spacing, Tensor):
        shape = [1] * input.dim()
        shape[dim] = -1
        steps = (spacing[1:] - spacing[:-1]).reshape(shape)
        one, two = narrow(steps, dim, 0, size - 2), narrow(steps, dim, 1, size - 2)
        inside = (
            -two / (one * (one + two)) * part(0, size - 2)
            + (two - one) / (one * two) * part(1, size - 2)
            + one / (two * (one + two)) * part(2, size - 2)
        )
        h = [narrow(steps, dim, i, 1) for i in (0, min(1, size - 2), max(size - 3, 0), size - 2)]
    else:
        inside = (part(2, size - 2) - part(0, size - 2)) / (2 * spacing)
        h = [spacing] * 4
    if edge_order == 1:
        first = (part(1, 1) - part(0, 1)) / h[0]
        last = (part(size - 1, 1) - part(size - 2, 1)) / h[3]
    else:
        first = _second_order([part(i, 1) for i in range(3)], h[0], h[1])
        last = -_second_order([part(size - 1 - i, 1) for i in range(3)], h[3], h[2])
    return cat((first, inside, last), dim)


def _second_order(values, near, far):
    """The slope at the first of three values, the next ones `near` and then `far` away."""
    both = near + far
    return (
        -(2 * near + far) / (near * both) * values[0]
        + both / (near * far) * values[1]
        - near / (far * both) * values[2]
    )


@composite(method=False)
def gradient(input, *, spacing=None, dim=None, edge_order=1):
    """Estimate the derivative along each dimension (or `dim`) by differences; return a tuple.

    `spacing` is the distance of neighbours, or for each dimension a distance or a tensor of
    coordinates. `edge_order` (1 or 2) is the order of accuracy at the ends.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.gradient.html

    >>> import iskra as torch
    >>> torch.gradient(torch.tensor([1.0, 4.0, 9.0]))
    (tensor([3., 4., 5.]),)
    """
    dims = tuple(range(input.dim())) if dim is None else wrap_dims(
        dim if isinstance(dim, (tuple, list)) else (dim,), input.dim()
    )
    spacings = _gradient_spacings("gradient", input, spacing, dims, dim is None)
    if edge_order not in (1, 2):
        raise RuntimeError("gradient only supports edge_order=1 and edge_order=2.")
    for d in dims:
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(
                "gradient expected each dimension size to be at least edge_order+1, got size "
                f"{input.shape[d]} in dimension {d}"
            )
    return tuple(
        _gradient_along(input, s, d, edge_order) for s, d in zip(spacings, dims, strict=True)
    )
