"""Scans along a dimension: running sums, products and extrema; differences and integrals.

Source: https://docs.pytorch.org/docs/stable/torch.html#other-operations
"""

import numpy as np

from iskra.core.dtypes import finfo
from iskra.core.size import wrap_dim
from iskra.dispatch import composite, reduction
from iskra.ops.arithmetic import conj_of
from iskra.ops.comparison import where
from iskra.ops.joining import cat
from iskra.ops.slicing import narrow

_SAMPLES = lambda make: [
    ((make((3, 4)), 1), {}), ((make((2, 3, 4)), 0), {}), ((make(()), 0), {}),
]


def reversed_sum(g, dim):
    """The running sum from the end along `dim`."""
    return g.flip(dim).cumsum(dim).flip(dim) if g.dim() else g


def _wide(input, dtype):
    return np.int64 if dtype is None and input.dtype.kind in "iub" else None


def _accumulated(ufunc, input, dim, dtype):
    if input.ndim == 0:
        return np.array(input, _wide(input, dtype) or input.dtype)
    return ufunc.accumulate(input, axis=dim, dtype=_wide(input, dtype))


@reduction(inplace=True, grad=lambda g, dim: reversed_sum(g, dim), samples=_SAMPLES)
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
    ones = narrow(input, dim, 0, 1) * 0 + 1
    total = []
    for i in range(size):
        before = narrow(result, dim, i - 1, 1) if i else ones
        rest = narrow(input, dim, i + 1, size - i - 1)
        runs = cat((ones, rest), dim).cumprod(dim) * before
        part = narrow(g, dim, i, size - i) * conj_of(runs)
        total.append(part.sum(dim, keepdim=True))
    return cat(total, dim)


@reduction(inplace=True, grad=_cumprod_gradient, samples=_SAMPLES)
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
    values = ufunc.accumulate(input, axis=dim)
    places = np.arange(input.shape[dim]).reshape([-1] + [1] * (input.ndim - 1 - dim))
    new = np.equal(input, values) | (input != input)
    indices = np.maximum.accumulate(np.where(new, places, 0), axis=dim)
    return values, indices.astype(np.int64)


def _running_gradient(g, input_shape, result, dim):
    if not input_shape:
        return g[0]
    return g[0].new_zeros(input_shape).scatter_add(dim, result[1], g[0])


@reduction(
    outputs=2, result=("values", "indices"), accepts="bool int float", grad=_running_gradient,
    samples=_SAMPLES,
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
    samples=_SAMPLES,
)
def cummin(input, dim):
    """Return running minima along `dim` and where they stand (the latest of equal ones).

    >>> import iskra as torch
    >>> torch.cummin(torch.tensor([3, 1, 2]), 0).values
    tensor([3, 1, 1])
    """
    return _running(np.minimum, input, dim)


@reduction(
    accepts="float complex", samples=_SAMPLES,
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
        return np.log(np.add.accumulate(np.exp(input), axis=dim))
    return np.logaddexp.accumulate(input, axis=dim)


def _logcumsumexp_gradient(g, input, result, dim):
    """exp(input - result) weighted with g and summed from the end, in range all the way.

    The gradient's two signs are taken apart, since only magnitudes have logarithms.
    """
    if not input.dim():
        return g
    if g.is_complex():
        return (reversed_sum(g * (-result).exp().conj(), dim)) * input.exp().conj()
    magnitude = g.abs().log()
    nothing = g.new_full((), finfo(g.dtype).min)
    positive = where(g > 0, magnitude, nothing)
    negative = where(g < 0, magnitude, nothing)
    return _log_part(positive, input, result, dim) - _log_part(negative, input, result, dim)


def _log_part(magnitude, input, result, dim):
    return (logcumsumexp((magnitude - result).flip(dim), dim).flip(dim) + input).exp()


@composite(out=True)
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """Return the `n`-th differences of neighbours along `dim`.

    >>> import iskra as torch
    >>> torch.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if not input.dim():
        raise RuntimeError("diff expects input to be at least one-dimensional")
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
    if not size:
        return narrow(y, dim, 0, 0)
    middle = narrow(y, dim, 1, size - 1) + narrow(y, dim, 0, size - 1)
    if x is None:
        return middle * (dx / 2.0)
    if x.dim() == 1 and y.dim() > 1:
        shape = [1] * y.dim()
        shape[dim] = -1
        x = x.reshape(shape)
        return middle * diff(x, dim=dim) / 2.0
    return middle * diff(x, dim=dim if x.dim() == y.dim() else -1) / 2.0


@composite(method=False)
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """Integrate along `dim` by the trapezoidal rule, at places `x` or at distances `dx`.

    >>> import iskra as torch
    >>> torch.trapezoid(torch.tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    dim = wrap_dim(dim, y.dim())
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
