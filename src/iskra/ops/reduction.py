"""Reductions: sum, mean, prod, variance, all, any, logsumexp, counts.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#reduction-ops
"""

import math

import numpy as np

from iskra.core.size import as_count, wrap_dim
from iskra.dispatch import FLOAT, calling, composite, operator, reduction
from iskra.ops.arithmetic import conj_of
from iskra.ops.comparison import where
from iskra.ops.joining import cat
from iskra.ops.shares import extremum_backward, logsumexp_backward, variance_backward

_SMALL = 2048  # elements that are quickly repeated: what comes next then finds them side by side


def dims_of(dim, rank):
    """The dimensions that a reduction takes out, as a tuple of non-negative ints."""
    if dim is None or isinstance(dim, (tuple, list)) and not dim:
        return tuple(range(rank))
    return tuple(wrap_dim(d, rank) for d in (dim if isinstance(dim, (tuple, list)) else (dim,)))


def restore_dims(g, shape, dim, keepdim):
    """Put back the dimensions that a reduction took out of `g`, as sizes of 1."""
    if keepdim or not shape or dim is None:  # without dimensions `g` expands as it is
        return g
    dims = dims_of(dim, len(shape))
    return g.reshape([1 if d in dims else s for d, s in enumerate(shape)])


def reduced_count(shape, dim):
    """How many elements each result is made of."""
    return math.prod(shape[d] for d in dims_of(dim, len(shape))) if shape else 1


def sum_type(own, asked):
    """The dtype NumPy is to sum in: left to itself, it would widen small integers always."""
    if own.kind not in "iub":
        return None
    return np.int64 if asked is None else own


def _spread(array, shape, dim, keepdim):
    """`array`, the result of a reduction, repeated to the shape of what was reduced."""
    if not keepdim and shape and dim is not None:
        dims = dims_of(dim, len(shape))
        array = array.reshape([1 if d in dims else s for d, s in enumerate(shape)])
    if math.prod(shape) > _SMALL:
        return np.broadcast_to(array, shape)
    result = np.empty(shape, array.dtype)
    result[...] = array
    return result


@operator(
    method=False, function=False, out=False, node="ExpandBackward0",
    grad=lambda g, dim, keepdim: g.sum() if dim is None else g.sum(dim, keepdim),
)
def sum_backward(grad, shape, dim, keepdim):
    """The gradient of `sum`."""
    return _spread(grad, shape, dim, keepdim)


@reduction(
    out="dtype", node=lambda dim: "SumBackward0" if dim is None else "SumBackward1",
    grad=calling(sum_backward, "g input_shape dim keepdim"),
)
def sum(input, dim=None, keepdim=False, *, dtype=None):
    """Return the sum of all elements, or along `dim` (an int or a tuple of ints).

    Integers and bools are summed as int64; `dtype` converts the elements first.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.sum.html

    >>> import iskra as torch
    >>> torch.sum(torch.tensor([[1, 2], [3, 4]]), dim=0)
    tensor([4, 6])
    """
    wide = sum_type(input.dtype, dtype)
    return np.add.reduce(input, axis=dim, keepdims=keepdim, dtype=wide)


@operator(
    method=False, function=False, out=False, computes=True, node="DivBackward0",
    grad=lambda g, shape, dim, keepdim: (
        g.sum() if dim is None else g.sum(dim, keepdim)
    ) / reduced_count(shape, dim),
)
def mean_backward(grad, shape, dim, keepdim):
    """The gradient of `mean`."""
    share = np.divide(grad, np.array(reduced_count(shape, dim), grad.dtype))
    return _spread(share, shape, dim, keepdim)


@reduction(
    out="casts", node=lambda dim: "MeanBackward0" if dim is None else "MeanBackward1",
    grad=calling(mean_backward, "g input_shape dim keepdim"),
)
def mean(input, dim=None, keepdim=False, *, dtype=None):
    """Return the mean of all elements, or along `dim`. The mean of nothing is NaN.

    Raises RuntimeError for integers and bools (pass `dtype`).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.mean.html

    >>> import iskra as torch
    >>> torch.mean(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    tensor([1.5000, 3.5000])
    """
    if input.dtype.kind in "iub":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {input.dtype}; convert with .float() or pass dtype="
        )
    count = reduced_count(input.shape, dim)
    sums = np.add.reduce(input, axis=dim, keepdims=keepdim)
    return np.divide(sums, as_count(count, input.dtype))


def _nonzero_product(input, dim):
    """Products of all other elements along `dim`, without dividing (elements may be zero)."""
    size = input.shape[dim]
    ones = input.narrow(dim, 0, 1) * 0 + 1
    before = cat((ones, input.narrow(dim, 0, size - 1)), dim).cumprod(dim)
    after = cat((ones, input.narrow(dim, 1, size - 1).flip(dim)), dim).cumprod(dim).flip(dim)
    return before * after


def _prod_gradient(g, input, result, dim, keepdim):
    if not input.numel():
        return input * 0
    g, result = (restore_dims(x, input.shape, dim, keepdim) for x in (g, result))
    if (input != 0).all():
        return g * conj_of(result / input)
    if dim is None or not input.ndim:
        others = _nonzero_product(input.reshape(-1), 0).reshape(input.shape)
        return g * conj_of(others)
    return g * conj_of(_nonzero_product(input, dim))


@reduction(
    out="dtype", autocast="float32",
    node=lambda dim: "ProdBackward0" if dim is None else "ProdBackward1", grad=_prod_gradient,
)
def prod(input, dim=None, keepdim=False, *, dtype=None):
    """Return the product of all elements, or along one dimension.

    Integers and bools are multiplied as int64; `dtype` converts the elements first.

    >>> import iskra as torch
    >>> torch.prod(torch.tensor([[1, 2], [3, 4]]), dim=1)
    tensor([ 2, 12])
    """
    wide = sum_type(input.dtype, dtype)
    return np.multiply.reduce(input, axis=dim, keepdims=keepdim, dtype=wide)


def _truth(input, result):
    """PyTorch keeps uint8 results for uint8 operands."""
    return result.astype(np.uint8) if input.dtype == np.uint8 else result


@reduction(out="casts")
def all(input, dim=None, keepdim=False):
    """Return whether all elements are non-zero, over everything or along `dim`.

    >>> import iskra as torch
    >>> torch.all(torch.tensor([[True, False], [True, True]]), dim=1)
    tensor([False,  True])
    """
    return _truth(input, np.all(input, axis=dim, keepdims=keepdim))


@reduction(out="casts")
def any(input, dim=None, keepdim=False):
    """Return whether any element is non-zero, over everything or along `dim`.

    >>> import iskra as torch
    >>> torch.any(torch.tensor([[True, False], [False, False]]), dim=1)
    tensor([ True, False])
    """
    return _truth(input, np.any(input, axis=dim, keepdims=keepdim))


@composite(out=True)
def count_nonzero(input, dim=None):
    """Return the number of non-zero elements, in all or along `dim`.

    >>> import iskra as torch
    >>> torch.count_nonzero(torch.tensor([0, 3, 5]))
    tensor(2)
    """
    return input.ne(0).sum(dim)


def check_not_empty(name, input, dim):
    """Raise where an extremum of no elements is asked for."""
    if not input.size and (dim is None or dim == ()):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    for d in dims_of(dim, input.ndim):
        if input.shape[d] == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim {d} to have non-zero size, but the operand's "
                f"shape is {list(input.shape)}"
            )


def extremum_gradient(g, input, result, dim, keepdim):
    """Shared equally among the elements that attain the extremum."""
    g, result = (restore_dims(x, input.shape, dim, keepdim) for x in (g, result))
    return extremum_backward(g, input, result, dims_of(dim, input.ndim) if input.ndim else ())


@reduction(accepts="bool int float", grad=extremum_gradient)
def amax(input, dim=(), keepdim=False):
    """Return the largest element, of all or along `dim` (an int or a tuple).

    The gradient is shared equally among equal largest elements.
    Raises IndexError where a dimension to be reduced has size 0.

    >>> import iskra as torch
    >>> torch.amax(torch.tensor([[1, 5], [7, 2]]), dim=1)
    tensor([5, 7])
    """
    check_not_empty("amax", input, dim)
    return np.maximum.reduce(input, axis=None if dim == () else dim, keepdims=keepdim)


@reduction(accepts="bool int float", grad=extremum_gradient)
def amin(input, dim=(), keepdim=False):
    """Return the smallest element, of all or along `dim` (an int or a tuple).

    The gradient is shared equally among equal smallest elements.
    Raises IndexError where a dimension to be reduced has size 0.

    >>> import iskra as torch
    >>> torch.amin(torch.tensor([[1, 5], [7, 2]]), dim=1)
    tensor([1, 2])
    """
    check_not_empty("amin", input, dim)
    return np.minimum.reduce(input, axis=None if dim == () else dim, keepdims=keepdim)


def _variance(input, dim, correction, keepdim):
    count = reduced_count(input.shape, dim)
    center = np.add.reduce(input, axis=dim, keepdims=True) / as_count(count, input.dtype)
    spread = input - center
    if spread.dtype.kind == "c":
        spread = np.square(spread.real) + np.square(spread.imag)
    else:
        spread = np.square(spread)
    total = np.add.reduce(spread, axis=dim, keepdims=keepdim)
    freedom = as_count(count, total.dtype) - total.dtype.type(correction)
    return np.divide(total, np.maximum(freedom, 0))


def _variance_gradient(g, input, dim, correction, keepdim):
    count = reduced_count(input.shape, dim)
    dims = dims_of(dim, input.ndim)
    scale = 2.0 / (count - correction) if count != correction else math.nan
    g = restore_dims(g, input.shape, dim, keepdim)
    if input.ndim and not input.is_complex():
        return variance_backward(g, input, dims, scale)
    center = input.mean(dims, keepdim=True) if input.ndim else input
    return scale * g * (input - center)


@reduction(
    function=False, method=False, out=False, accepts="float complex", node="VarBackward0",
    grad=_variance_gradient,
    samples=lambda make: [
        ((make((3, 4)), None, 1, False), {}), ((make((3, 4)), 1, 0, True), {}),
        ((make((2, 3, 4)), (0, 2), 1, False), {}),
    ],
)
def variance(input, dim, correction, keepdim):
    """The operator behind `var` and its kin."""
    return _variance(input, dim, correction, keepdim)


def _std_gradient(g, input, result, dim, correction, keepdim):
    g = g / (result * 2)
    g = where(result == 0, g.new_zeros(()), g)
    return _variance_gradient(g, input, dim, correction, keepdim)


@reduction(
    function=False, method=False, out=False, accepts="float complex", node="StdBackward0",
    grad=_std_gradient,
    samples=lambda make: [
        ((make((3, 4)), None, 1, False), {}), ((make((3, 4)), 1, 0, True), {}),
    ],
)
def deviation(input, dim, correction, keepdim):
    """The operator behind `std` and its kin."""
    return np.sqrt(_variance(input, dim, correction, keepdim))


def _spread_arguments(name, input, dim, unbiased, correction):
    """`var` and `std` take ``(unbiased)``, ``(dim, unbiased)`` or ``(dim, correction=...)``."""
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(
            f"{name} and its kin only support floating point and complex dtypes, got {input.dtype}"
        )
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    if isinstance(dim, (tuple, list)) and not dim:
        dim = None
    return dim, correction


@composite(out=True)
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Return the variance of all elements, or along `dim`.

    The sum of squares is divided by the count less `correction` (1; `unbiased` False is 0).
    Source: https://docs.pytorch.org/docs/stable/generated/torch.var.html

    >>> import iskra as torch
    >>> torch.var(torch.tensor([1.0, 2.0, 4.0]))
    tensor(2.3333)
    """
    dim, correction = _spread_arguments("var", input, dim, unbiased, correction)
    return _VARIANCE(input, dim, correction, keepdim)


@composite(out=True)
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Return the standard deviation of all elements, or along `dim` (see `var`).

    >>> import iskra as torch
    >>> torch.std(torch.tensor([1.0, 2.0, 4.0]))
    tensor(1.5275)
    """
    dim, correction = _spread_arguments("std", input, dim, unbiased, correction)
    return _DEVIATION(input, dim, correction, keepdim)


_VARIANCE, _DEVIATION = variance, deviation


def _pair_gradient(spread_gradient):
    """The gradient of a measure of spread and the mean; `g` holds one for each, or None."""

    def gradient(g, input, result, dim, correction, keepdim):
        parts = []
        if g[0] is not None:
            parts.append(spread_gradient(g[0], input, result[0], dim, correction, keepdim))
        if g[1] is not None:
            parts.append(mean_backward(g[1], input.shape, dim, keepdim))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    return gradient


def _both(input, dim, correction, keepdim):
    count = as_count(reduced_count(input.shape, dim), input.dtype)
    mean = np.divide(np.add.reduce(input, axis=dim, keepdims=keepdim), count)
    return _variance(input, dim, correction, keepdim), mean


_PAIR = dict(
    outputs=2, function=False, method=False, out=False, accepts="float complex",
    samples=lambda make: [
        ((make((3, 4)), None, 1, False), {}), ((make((3, 4)), 1, 0, True), {}),
    ],
)


@reduction(**_PAIR, node="VarMeanBackward0", grad=_pair_gradient(
    lambda g, input, result, dim, correction, keepdim: _variance_gradient(
        g, input, dim, correction, keepdim
    )
))
def variance_and_mean(input, dim, correction, keepdim):
    """The operator behind `var_mean`."""
    return _both(input, dim, correction, keepdim)


@reduction(**_PAIR, node="StdMeanBackward0", grad=_pair_gradient(_std_gradient))
def deviation_and_mean(input, dim, correction, keepdim):
    """The operator behind `std_mean`."""
    variance, mean = _both(input, dim, correction, keepdim)
    return np.sqrt(variance), mean


@composite(method=False)
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Return the variance and the mean (see `var`).

    >>> import iskra as torch
    >>> torch.var_mean(torch.tensor([1.0, 3.0]))
    (tensor(2.), tensor(2.))
    """
    dim, correction = _spread_arguments("var_mean", input, dim, unbiased, correction)
    return variance_and_mean(input, dim, correction, keepdim)


@composite(method=False)
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Return the standard deviation and the mean (see `var`).

    >>> import iskra as torch
    >>> torch.std_mean(torch.tensor([1.0, 3.0]))
    (tensor(1.4142), tensor(2.))
    """
    dim, correction = _spread_arguments("std_mean", input, dim, unbiased, correction)
    return deviation_and_mean(input, dim, correction, keepdim)


def _logsumexp_gradient(g, input, result, dim, keepdim):
    g, result = (restore_dims(x, input.shape, dim, keepdim) for x in (g, result))
    if input.is_complex():
        return g * conj_of((input - result).exp())
    return logsumexp_backward(g, input, result)


@reduction(
    FLOAT, out="casts", namespace="torch special", grad=_logsumexp_gradient,
    samples=lambda make: [
        ((make((3, 4)), 1), {}), ((make((3, 4)), (0, 1), True), {}), ((make(()), 0), {}),
    ],
)
def logsumexp(input, dim, keepdim=False):
    """Return ``log(sum(exp(input)))`` along `dim`, without overflow.

    >>> import iskra as torch
    >>> torch.logsumexp(torch.tensor([100.0, 102.0]), 0)
    tensor(102.1269)
    """
    if not input.size:
        return np.log(np.add.reduce(np.exp(input), axis=dim, keepdims=keepdim))
    top = np.maximum.reduce(input.real, axis=dim, keepdims=True)
    top = np.where(np.isfinite(top), top, top.dtype.type(0))
    total = np.log(np.add.reduce(np.exp(input - top), axis=dim, keepdims=keepdim))
    return total + (top if keepdim else top.reshape(np.shape(total)))


@reduction(out="dtype", accepts="bool int float", grad=lambda g, input, dim, keepdim: where(
    input.isnan(), g.new_zeros(()), restore_dims(g, input.shape, dim, keepdim)
))
def nansum(input, dim=None, keepdim=False, *, dtype=None):
    """Return the sum, in which NaN counts as zero.

    >>> import iskra as torch
    >>> torch.nansum(torch.tensor([1.0, float("nan")]))
    tensor(1.)
    """
    if input.dtype.kind == "f":
        input = np.where(np.isnan(input), input.dtype.type(0), input)
    wide = sum_type(input.dtype, dtype)
    return np.add.reduce(input, axis=dim, keepdims=keepdim, dtype=wide)


@composite(out=True)
def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """Return the mean of the elements that are not NaN. Raises RuntimeError for integers.

    >>> import iskra as torch
    >>> torch.nanmean(torch.tensor([1.0, 3.0, float("nan")]))
    tensor(2.)
    """
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{input._dtype.scalar_name}"
        )
    count = input.isnan().logical_not().sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count
