"""New tensors of random numbers: `rand` and its relatives, distributions given by tensors.

With one seed the numbers are PyTorch's, bit for bit. Samples have no gradient with respect to the
parameters of their distribution: it is zero.

Source: https://docs.pytorch.org/docs/stable/torch.html#random-sampling
"""

import math
from itertools import repeat

import numpy as np

from iskra.codegen import kernels
from iskra.core import dtypes as d
from iskra.core.size import broadcast, format_shape
from iskra.dispatch import composite, creation, operator
from iskra.dispatch.variants import resize
from iskra.ops.creation import empty_like, zeros_like
from iskra.ops.sampling import (
    FLOATS,
    NUMBERS,
    REALS,
    check_normal,
    check_probabilities,
    check_probability,
    check_uniform,
    draw_integers,
    has_data,
    integer_bounds,
    normal_,
    random_,
    real,
    source,
    supported,
    uniform_,
    whole,
)
from iskra.ops.searching import places_among
from iskra.ops.sorting import in_order
from iskra.runtime import random as streams
from iskra.runtime import rejection
from iskra.runtime.normal import narrow
from iskra.tensor import Tensor
from iskra.tensor.factory import allocate, dtype_of

_MOST_CATEGORIES = 1 << 24
_FEW_RATES = 16  # so few are sampled one by one


# How a new tensor comes about


def _shape(size, name):
    """The shape of a new tensor; errors as PyTorch raises them, and before anything is drawn."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, not {type(size).__name__}"
        )
    shape = tuple(map(_size, size, repeat(name)))
    if shape and min(shape) < 0:
        raise RuntimeError(
            f"{name}: Trying to create tensor with negative dimension {min(shape)}: "
            f"{format_shape(shape)}"
        )
    return shape


def _size(number, name):
    if number.__class__ is int:
        return number
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, not {type(number).__name__}"
        )
    return number.__index__()


def _dtype(dtype, name):
    return d.get_default_dtype() if dtype is None else dtype_of(dtype, name)


def _can_require_grad(requires_grad, dtype, name):
    """Raise RuntimeError before anything is drawn for a tensor that cannot require gradients."""
    if requires_grad and dtype.category < d.FLOATING:
        raise RuntimeError(
            f"{name}: Only Tensors of floating point and complex dtype can require gradients, "
            f"got {dtype}"
        )


def _made(draw, shape, dtype, device, requires_grad, name):
    """A new tensor around ``draw(shape)``."""
    _can_require_grad(requires_grad, dtype, name)
    return allocate(name, shape, dtype, device, requires_grad, lambda shape, _: draw(shape))


def _resized(out, shape, dtype, name):
    """`out` in the shape that is wanted, to be filled in place."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if dtype is not None and dtype is not out._dtype:
        raise RuntimeError(
            f"{name}: dtype {dtype.scalar_name} does not match dtype of out parameter "
            f"({out._dtype.scalar_name})"
        )
    if out._array.shape != shape:
        resize(out, shape)
    return out


def _like(input, sample, settings, requires_grad, name):
    """A tensor like `input`, filled by ``sample(tensor)``."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    dtype = settings["dtype"]
    _can_require_grad(requires_grad, input._dtype if dtype is None else dtype_of(dtype, name), name)
    result = sample(empty_like(input, **settings))
    return result.requires_grad_() if requires_grad else result


# Uniform, normal, integers, permutations


@creation(variadic="size")
def rand(
    size, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a tensor of numbers uniform in [0, 1).

    `size`: ints or one tuple. `dtype`: floating or complex; the default dtype if not given.
    Raises RuntimeError for negative sizes, NotImplementedError for other dtypes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.rand.html

    >>> import iskra as torch
    >>> torch.rand(2, 2, generator=torch.Generator().manual_seed(0))
    tensor([[0.4963, 0.7682],
            [0.0885, 0.1320]])
    """
    generator, shape = source(generator, "rand"), _shape(size, "rand")
    dtype = _dtype(dtype, "rand")
    check_uniform(dtype, 0.0, 1.0)
    return _made(
        lambda shape: streams.uniform(generator, shape, dtype), shape, dtype, device,
        requires_grad, "rand",
    )


@creation(variadic="size")
def randn(
    size, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a tensor of standard normal numbers.

    `size`: ints or one tuple. `dtype`: floating or complex (of variance 1 in all); the default
    dtype if not given. Raises RuntimeError for negative sizes, NotImplementedError for other
    dtypes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.randn.html

    >>> import iskra as torch
    >>> torch.randn(4, generator=torch.Generator().manual_seed(0))
    tensor([ 1.5410, -0.2934, -2.1788,  0.5684])
    """
    generator, shape = source(generator, "randn"), _shape(size, "randn")
    return _normal_numbers(0.0, 1.0, shape, generator, dtype, device, requires_grad, "randn")


def _normal_numbers(mean, std, shape, generator, dtype, device, requires_grad, name):
    dtype = _dtype(dtype, name)
    check_normal(dtype, std)
    return _made(
        lambda shape: streams.normal(generator, shape, dtype, mean, std), shape, dtype, device,
        requires_grad, name,
    )


@creation()
def randint(
    low=0, high=None, size=None, *, generator=None, dtype=None, layout=None, device=None,
    requires_grad=False, pin_memory=False,
):
    """Return a tensor of integers from `low` to ``high - 1``.

    Called as ``randint(high, size)`` or ``randint(low, high, size)``. `dtype`: int64 if not given;
    a floating dtype holds integers too. Raises RuntimeError for an empty range or bounds outside
    the dtype.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.randint.html

    >>> import iskra as torch
    >>> torch.randint(3, 10, (2, 2), generator=torch.Generator().manual_seed(0))
    tensor([[7, 6],
            [3, 5]])
    """
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if size is None:
        raise TypeError("randint(): missing argument 'size' (a tuple of ints)")
    generator, shape = source(generator, "randint"), _shape(size, "randint")
    low, high = whole(low, "randint", "low"), whole(high, "randint", "high")
    dtype = d.int64 if dtype is None else dtype_of(dtype, "randint")
    bounds = integer_bounds(dtype, low, high)
    return _made(
        lambda shape: draw_integers(generator, shape, dtype, bounds), shape, dtype, device,
        requires_grad, "randint",
    )


@creation()
def randperm(
    n, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return the integers ``0 ... n - 1`` in random order; `dtype` is int64 if not given.

    Raises RuntimeError for a negative `n`, or one too large for the dtype.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.randperm.html

    >>> import iskra as torch
    >>> torch.randperm(6, generator=torch.Generator().manual_seed(0))
    tensor([2, 5, 3, 0, 1, 4])
    """
    generator, n = source(generator, "randperm"), whole(n, "randperm", "n")
    dtype = d.int64 if dtype is None else dtype_of(dtype, "randperm")
    _check_permutation(n, dtype)
    return _made(
        lambda shape: streams.permutation(generator, n, dtype), (n,), dtype, device,
        requires_grad, "randperm",
    )


def _check_permutation(n, dtype):
    if n < 0:
        raise RuntimeError(f"randperm: Trying to create tensor with negative dimension {n}: [{n}]")
    supported(dtype, NUMBERS, "randperm")
    if dtype is d.bfloat16:  # PyTorch lets it round
        return
    last = 1 << streams.DIGITS[dtype] if dtype.is_floating_point else d.iinfo(dtype).max
    if n > last + 1:
        raise RuntimeError(f"randperm: n cannot be greater than {last + 1} for {dtype}, got {n}")


@composite(method=False)
def rand_like(
    input, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    memory_format=None, pin_memory=False,
):
    """Return numbers uniform in [0, 1) in the shape, dtype and memory order of `input`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rand_like.html

    >>> import iskra as torch
    >>> torch.rand_like(torch.zeros(2), generator=torch.Generator().manual_seed(0))
    tensor([0.4963, 0.7682])
    """
    settings = dict(dtype=dtype, device=device, memory_format=memory_format)
    return _like(
        input, lambda t: uniform_(t, generator=generator), settings, requires_grad, "rand_like"
    )


@composite(method=False)
def randn_like(
    input, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    memory_format=None, pin_memory=False,
):
    """Return standard normal numbers in the shape, dtype and memory order of `input`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.randn_like.html

    >>> import iskra as torch
    >>> torch.randn_like(torch.zeros(2), generator=torch.Generator().manual_seed(0))
    tensor([ 1.5410, -0.2934])
    """
    settings = dict(dtype=dtype, device=device, memory_format=memory_format)
    return _like(
        input, lambda t: normal_(t, generator=generator), settings, requires_grad, "randn_like"
    )


@composite(method=False)
def randint_like(
    input, low=0, high=None, *, generator=None, dtype=None, layout=None, device=None,
    requires_grad=False, memory_format=None, pin_memory=False,
):
    """Return integers from `low` to ``high - 1`` in the shape, dtype and memory order of `input`.

    Called as ``randint_like(input, high)`` or ``randint_like(input, low, high)``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.randint_like.html

    >>> import iskra as torch
    >>> torch.randint_like(torch.zeros(4), 5, generator=torch.Generator().manual_seed(0))
    tensor([4., 4., 3., 0.])
    """
    if high is None:
        low, high = 0, low
    settings = dict(dtype=dtype, device=device, memory_format=memory_format)

    def sample(tensor):
        return random_(tensor, low, high, generator=generator)

    return _like(input, sample, settings, requires_grad, "randint_like")


# Distributions given by tensors


@composite(method=False)
def normal(
    mean=0.0, std=1.0, size=None, *, generator=None, out=None, dtype=None, layout=None,
    device=None, requires_grad=False, pin_memory=False,
):
    """Return normal numbers; `mean` and `std` are numbers (then with `size`) or tensors.

    Tensors broadcast; the result has the dtype of `mean` where that is a tensor, else of `std`.
    Raises RuntimeError for a negative `std`, NotImplementedError for integers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.normal.html

    >>> import iskra as torch
    >>> torch.normal(10.0, 2.0, (3,), generator=torch.Generator().manual_seed(0))
    tensor([13.0820,  9.4131,  5.6424])
    """
    generator = source(generator, "normal")
    if isinstance(mean, Tensor) and mean.ndim or isinstance(std, Tensor) and std.ndim:
        size = None
    if size is not None:
        mean, std = real(mean, "normal", "mean"), real(std, "normal", "std")
        shape = _shape(size, "normal")
        if out is not None:
            return normal_(_resized(out, shape, dtype, "normal"), mean, std, generator=generator)
        return _normal_numbers(mean, std, shape, generator, dtype, device, requires_grad, "normal")
    if isinstance(mean, Tensor):
        if isinstance(std, Tensor):
            return normal_around(mean, std, None, generator, out=out)
        return normal_around(mean, None, real(std, "normal", "std"), generator, out=out)
    if isinstance(std, Tensor):
        return normal_around(None, std, real(mean, "normal", "mean"), generator, out=out)
    raise TypeError("normal(): with numbers for mean and std, the argument 'size' is needed")


def _normal_node(mean, std):
    return f"NormalBackward{1 if std is None else 2 if mean is None else 3}"


@operator(
    out="casts aligned", function=False, method=False, operands="mean std", node=_normal_node,
    grad={"mean": lambda g: zeros_like(g), "std": lambda g: zeros_like(g)},
)
def normal_around(mean=None, std=None, number=None, generator=None):
    """`normal` with a tensor for `mean`, for `std` or for both; `number` is the other."""
    first = std if mean is None else mean
    dtype = d.of_numpy(first.dtype)
    if std is None:
        check_normal(dtype, number)
    else:
        check_normal(dtype, 1.0)
        if std.dtype.kind == "c":
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if has_data(std) and std.size and not std.min() >= 0:
            raise RuntimeError("normal expects all elements of std >= 0.0")
    shape = broadcast(*(x.shape for x in (mean, std) if x is not None))
    if not has_data(first):
        return np.empty_like(first, shape=shape)
    values = streams.normal(generator, shape, dtype, 0.0, number if std is None else 1.0)
    # Each step is rounded to the dtype, as PyTorch's in-place steps are.
    if std is not None:
        values = _stepwise(np.multiply, values, std, dtype)
    centre = np.array(number).astype(dtype.numpy) if mean is None else mean
    return _stepwise(np.add, values, centre, dtype)


def _stepwise(function, values, operand, dtype):
    """``function(values, operand)`` rounded to `dtype`, in which `values` are."""
    kind = np.float32 if dtype.is_narrow else dtype.numpy
    result = function(values.astype(kind, copy=False), operand.astype(kind, copy=False))
    return result.astype(dtype.numpy, copy=False)


@operator(out="casts aligned", grad=lambda g: zeros_like(g))
def bernoulli(input, p=None, *, generator=None):
    """Return ones and zeros: ones with the probabilities in `input`, or all with probability `p`.

    The result has the shape and dtype of `input`. Raises RuntimeError for probabilities outside
    [0, 1], NotImplementedError where `input` does not hold floats and no `p` is given.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.bernoulli.html

    >>> import iskra as torch
    >>> torch.bernoulli(torch.tensor([0.0, 0.5, 1.0]), generator=torch.Generator().manual_seed(0))
    tensor([0., 0., 1.])
    """
    generator, dtype = source(generator, "bernoulli"), d.of_numpy(input.dtype)
    if p is None:
        check_probabilities(input, dtype)
        if not has_data(input):
            return np.empty_like(input)
        return streams.bernoulli_each(generator, input, dtype)
    p = real(p, "bernoulli", "p")
    check_probability(p, "bernoulli_")
    supported(dtype, REALS, "bernoulli_scalar_cpu_")
    if not has_data(input):
        return np.empty_like(input)
    return streams.bernoulli(generator, input.shape, dtype, p)


@operator()
def multinomial(input, num_samples, replacement=False, *, generator=None):
    """Draw `num_samples` indices from each row of `input`, in proportion to its elements.

    `input`: floats of shape ``(..., categories)`` with one or two dimensions, not negative; a row
    need not sum to 1. Returns int64. Raises RuntimeError for other input, or for more samples than
    categories without replacement.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.multinomial.html

    >>> import iskra as torch
    >>> weights = torch.tensor([0.0, 10.0, 3.0, 0.0])
    >>> torch.multinomial(weights, 4, True, generator=torch.Generator().manual_seed(0))
    tensor([2, 1, 1, 2])
    """
    generator, dtype = source(generator, "multinomial"), d.of_numpy(input.dtype)
    count = whole(num_samples, "multinomial", "num_samples")
    _check_multinomial(input, dtype, count, replacement)
    shape = (*input.shape[:-1], count)
    if not has_data(input) or not math.prod(shape):
        return np.empty_like(input, np.int64, shape=shape)
    _check_weights(input, replacement and count > 1)
    return streams.multinomial(generator, input, dtype, count, replacement, _first, _search)


def _first(speed, count):
    return in_order(speed, speed.ndim - 1, True, count)[1]


def _search(rows, values):
    return places_among(rows, values, "left")


_write_multinomial = multinomial.operator.out_variant


def _write_indices(bound, out, result=None):
    """Indices fit only into int64."""
    if isinstance(out, Tensor) and out._dtype is not d.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out._dtype.scalar_name}")
    return _write_multinomial(bound, out, result)


multinomial.operator.out_variant = _write_indices


def _check_multinomial(weights, dtype, count, replacement):
    if weights.ndim not in (1, 2):
        raise RuntimeError(
            f"multinomial: prob_dist must be 1 or 2 dim, got shape {format_shape(weights.shape)}"
        )
    if not dtype.is_floating_point:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {dtype.scalar_name}"
        )
    supported(dtype, FLOATS, "multinomial")
    if count <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {count}")
    categories = weights.shape[-1]
    if not replacement and count > categories:
        raise RuntimeError(
            "multinomial: cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{count} samples of {categories} categories; pass replacement=True to draw again"
        )
    if categories > _MOST_CATEGORIES:
        raise RuntimeError(f"multinomial: number of categories cannot exceed 2^24: {categories}")
    if not categories:
        raise RuntimeError("multinomial: there are no categories to draw from")


def _check_weights(weights, in_detail):
    if not np.logical_and(weights >= 0, weights < np.inf).all():
        if in_detail:
            found = "< 0" if not (weights >= 0).all() else "= infinity or NaN"
            raise RuntimeError(
                f"invalid multinomial distribution (encountering probability entry {found})"
            )
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not weights.any(-1).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


@operator(method=False, out=False, grad=lambda g: zeros_like(g))
def poisson(input, generator=None):
    """Return numbers of events of Poisson processes with the rates in `input`, in its dtype.

    Raises RuntimeError for negative rates, NotImplementedError for integers.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.poisson.html

    >>> import iskra as torch
    >>> torch.poisson(torch.tensor([0.0, 2.0, 50.0]), torch.Generator().manual_seed(0))
    tensor([ 0.,  6., 47.])
    """
    generator, dtype = source(generator, "poisson"), d.of_numpy(input.dtype)
    supported(dtype, FLOATS, "poisson_cpu")
    if not has_data(input):
        return np.empty_like(input)
    if not (input >= 0).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    found = kernels.poisson.sample(generator, input) if input.size >= _FEW_RATES else None
    if found is None:
        return rejection.poisson(generator, input, dtype)
    return narrow(found, dtype)


def _no_gradient(g):
    raise RuntimeError("the derivative for 'binomial' is not implemented")


@operator(method=False, out=False, operands="count prob", grad={"prob": _no_gradient})
def binomial(count, prob, generator=None):
    """Return numbers of successes in `count` trials of probability `prob` each.

    Both are floats of one dtype, and broadcast. Raises ValueError or RuntimeError otherwise.

    >>> import iskra as torch
    >>> count, prob = torch.tensor([100.0, 10.0]), torch.tensor(0.5)
    >>> torch.binomial(count, prob, torch.Generator().manual_seed(0))
    tensor([49.,  6.])
    """
    generator, dtype = source(generator, "binomial"), d.of_numpy(count.dtype)
    if not dtype.is_floating_point:
        raise ValueError(
            f"binomial only supports floating-point dtypes for count, got: {dtype.scalar_name}"
        )
    if prob.dtype != count.dtype:
        raise RuntimeError(
            f"binomial: Found dtype {d.of_numpy(prob.dtype).scalar_name} for prob but expected "
            f"{dtype.scalar_name}, that of count"
        )
    supported(dtype, (d.float32, d.float64), "binomial_cpu")
    shape = broadcast(count.shape, prob.shape)
    if not has_data(count):
        return np.empty_like(count, shape=shape)
    return rejection.binomial(
        generator, np.broadcast_to(count, shape), np.broadcast_to(prob, shape), dtype
    )
