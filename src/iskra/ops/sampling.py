"""Filling a tensor with random numbers in place: `uniform_`, `normal_`, `random_` and the like.

Every sampler checks its arguments and whether the tensor may be written before it draws, so that
an error leaves tensor and generator as they were. Numbers are laid into a tensor in the order of
its memory, as PyTorch does it: transposed tensors are filled along their strides.

Source: https://docs.pytorch.org/docs/stable/torch.html#in-place-random-sampling
"""

import warnings
from functools import cache

import numpy as np

from iskra.core import dtypes as d
from iskra.core.generator import Generator, default_generator
from iskra.core.local import local
from iskra.core.size import format_shape, is_expandable
from iskra.dispatch import composite, operator
from iskra.dispatch.variants import bump, check_writable, write_result
from iskra.ops.creation import zeros_like
from iskra.runtime import random as streams
from iskra.tensor import Tensor

FLOATS = frozenset({d.float32, d.float64, d.float16, d.bfloat16})
INTEGERS = frozenset({d.int64, d.int32, d.int16, d.int8, d.uint8})
NUMBERS = FLOATS | INTEGERS
REALS = NUMBERS | {d.bool_}
_FLOATS_OR_COMPLEX = FLOATS | {d.complex64, d.complex128, d.complex32}
_OF_FULL_RANGE = frozenset({d.int64, d.float64, d.float32, d.bfloat16})
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


# Arguments


def source(generator, name):
    """The generator to draw from: the given one or the default."""
    if generator is None:
        return default_generator
    if isinstance(generator, Generator):
        return generator
    raise TypeError(
        f"{name}(): argument 'generator' must be Generator, not {type(generator).__name__}"
    )


def real(value, name, argument):
    """A float from a Python or NumPy number or a tensor of one element."""
    if isinstance(value, (int, float, np.number)) or isinstance(value, Tensor) and not value.ndim:
        return float(value)
    raise TypeError(f"{name}(): argument '{argument}' must be float, not {type(value).__name__}")


def whole(value, name, argument):
    """A Python int that fits 64 bits, from anything that counts as an integer."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}(): argument '{argument}' must be int, not {type(value).__name__}")
    value = value.__index__()
    if not _INT64_MIN <= value <= _INT64_MAX:
        raise ValueError(
            f"{name}(): argument '{argument}': Overflow when unpacking long long: {value}"
        )
    return value


def supported(dtype, kinds, kernel):
    """Raise NotImplementedError unless `dtype` is one of `kinds`."""
    if dtype not in kinds:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype.scalar_name}'")


def check_probability(p, name):
    """Raise RuntimeError unless ``0 <= p <= 1``."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"{name} expects p to be in [0, 1], but got p={p:g}")


def check_uniform(dtype, low, high):
    """Raise an error where no uniform distribution on ``[low, high)`` fits the dtype."""
    supported(dtype, _FLOATS_OR_COMPLEX, "check_uniform_bounds")
    if 0.0 <= low <= high <= 1.0:
        return
    limit = _extremes(dtype)[1]
    for name, value in (("from", low), ("to", high)):
        if not -limit <= value <= limit:
            raise RuntimeError(f"uniform_: {name} is out of bounds for {dtype}, got {value:g}")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}"
        )
    if high - low > limit:
        raise RuntimeError(
            f"uniform_ expects to-from to be at most the largest {dtype} ({limit:g}), but found "
            f"to={high:g} and from={low:g}"
        )


def check_normal(dtype, std):
    """Raise an error where no normal distribution of this `std` fits the dtype."""
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    supported(dtype, _FLOATS_OR_COMPLEX, "normal_kernel_cpu")


def integer_bounds(dtype, low, high):
    """Check the bounds of random integers; return ``(low, high)``, or None for all of int64.

    `high` may be None: as far as the dtype goes. Bounds of floats are moved to what they hold.
    """
    if dtype.category > d.FLOATING or dtype.is_float8:
        raise RuntimeError(
            f"random_ handles only integral, floating-point and boolean types, got {dtype}"
        )
    if high is None and low == _INT64_MIN:
        supported(dtype, _OF_FULL_RANGE, "random_full_64_bits_range")
        return None
    if high is not None and low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if dtype.is_floating_point:
        low, high = streams.representable_bounds(dtype, low, high)
        high = (1 << streams.DIGITS[dtype]) + 1 if high is None else high
    elif high is None:
        high = _extremes(dtype)[1] + 1
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to' as {dtype} holds them, but got "
            f"from={low} >= to={high}"
        )
    _check_in_range(dtype, low, high - 1)
    return low, high


@cache
def _extremes(dtype):
    """The least and the greatest number that `dtype` holds, as far as int64 goes for integers."""
    if dtype is d.bool_:
        return 0, 1
    if dtype.category > d.INTEGER:
        most = d.finfo(dtype).max
        return -most, most
    limits = d.iinfo(dtype)
    return limits.min, min(limits.max, _INT64_MAX)


def _check_in_range(dtype, first, last):
    least, most = _extremes(dtype)
    for name, value in (("from", first), ("to - 1", last)):
        if not least <= value <= most:
            raise RuntimeError(f"random_: {name} is out of bounds for {dtype}: {value}")
        if dtype.is_floating_point and abs(value) > 1 << streams.DIGITS[dtype]:
            digits = streams.DIGITS[dtype]
            warnings.warn(
                f"random_: {name} is out of bounds [-(2^{digits}), 2^{digits}]: beyond them "
                f"{dtype} does not hold every integer, so that some cannot be drawn",
                stacklevel=4,
            )


# Writing


@operator(
    method=False, function=False, out=False, casts=True, node=lambda node: node,
    grad=lambda g: zeros_like(g),
)
def overwrite(input, values, node):
    """The record of a fill: whatever the tensor held before has a gradient of zero."""
    return values


def has_data(array):
    """Whether there is anything to draw for: not on the meta device."""
    return isinstance(array, np.ndarray)


def fill(tensor, name, node, draw):
    """Write ``draw(shape)`` into `tensor`, which the caller has found writable; return it."""
    array = tensor._array
    if has_data(array):
        values = streams.in_memory_order(array, draw)
        if local.grad_enabled and tensor._requires_grad:
            return write_result(overwrite.operator, name, (tensor, values, node))
        np.copyto(array, values, casting="unsafe")
    bump(tensor)
    return tensor


def _sampler(body):
    """Declare an in-place sampler: a method and no function."""
    return composite(function=False)(body)


@_sampler
def uniform_(input, from_=0.0, to=1.0, *, generator=None):
    """Fill with numbers uniform in ``[from, to)``.

    Raises RuntimeError where from > to or the dtype does not reach so far, NotImplementedError
    for dtypes that are neither floating nor complex.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.uniform_.html

    >>> import iskra as torch
    >>> torch.empty(3).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    tensor([-0.0075,  0.5364, -0.8230])
    """
    low, high = real(from_, "uniform_", "from"), real(to, "uniform_", "to")
    generator = source(generator, "uniform_")
    dtype = input._dtype
    check_uniform(dtype, low, high)
    check_writable(input, "uniform_")
    return fill(
        input, "uniform_", "UniformBackward0",
        lambda shape: streams.uniform(generator, shape, dtype, low, high),
    )


@_sampler
def normal_(input, mean=0.0, std=1.0, *, generator=None):
    """Fill with normal numbers of the given mean and standard deviation.

    Of complex numbers each part has half the variance. Raises RuntimeError for a negative `std`,
    NotImplementedError for dtypes that are neither floating nor complex.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.normal_.html

    >>> import iskra as torch
    >>> torch.empty(3).normal_(generator=torch.Generator().manual_seed(0))
    tensor([ 1.5410, -0.2934, -2.1788])
    """
    mean, std = real(mean, "normal_", "mean"), real(std, "normal_", "std")
    generator = source(generator, "normal_")
    if input.numel() or not std >= 0:  # as in PyTorch, an empty tensor may have any dtype
        check_normal(input._dtype, std)
    check_writable(input, "normal_")
    # Tensors that are not contiguous are filled pair by pair, whatever their size.
    draw = streams.normal if input._array.flags.c_contiguous else streams.normal_by_pairs
    return fill(
        input, "normal_", "NormalBackward0",
        lambda shape: draw(generator, shape, input._dtype, mean, std),
    )


@_sampler
def random_(input, from_=..., to=..., *, generator=None):
    """Fill with integers: ``random_()``, ``random_(to)`` or ``random_(from, to)``, `to` excluded.

    Without bounds (or with ``to=None``) as far as the dtype goes, for floats up to the last
    integer before the first that they cannot hold. Raises RuntimeError for empty ranges and
    bounds outside the dtype, ValueError for bounds of more than 64 bits.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.random_.html

    >>> import iskra as torch
    >>> torch.empty(5).random_(3, 6, generator=torch.Generator().manual_seed(0))
    tensor([5., 3., 5., 3., 4.])
    """
    generator = source(generator, "random_")
    dtype = input._dtype
    if from_ is ... and to is ...:
        supported(dtype, REALS, "random_kernel_cpu")
        check_writable(input, "random_")
        return fill(
            input, "random_", "RandomBackward2",
            lambda shape: streams.integers_default(generator, shape, dtype),
        )
    node = "RandomBackward0"
    if to is ... or from_ is ...:
        node = "RandomBackward1"
        from_, to = 0, from_ if to is ... else to
    low = whole(from_, "random_", "from")
    bounds = integer_bounds(dtype, low, None if to is None else whole(to, "random_", "to"))
    check_writable(input, "random_")
    return fill(
        input, "random_", node, lambda shape: draw_integers(generator, shape, dtype, bounds)
    )


def draw_integers(generator, shape, dtype, bounds):
    """Integers within what `integer_bounds` returned."""
    if bounds is None:
        return streams.integers_full(generator, shape, dtype)
    return streams.integers(generator, shape, dtype, *bounds)


@_sampler
def bernoulli_(input, p=0.5, *, generator=None):
    """Fill with ones of probability `p` and zeros; `p` is a number or a tensor that broadcasts.

    Raises RuntimeError for probabilities outside [0, 1].
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.bernoulli_.html

    >>> import iskra as torch
    >>> torch.empty(5).bernoulli_(0.8, generator=torch.Generator().manual_seed(0))
    tensor([0., 1., 1., 0., 1.])
    """
    generator = source(generator, "bernoulli_")
    dtype = input._dtype
    kinds = REALS
    if isinstance(p, Tensor):
        supported(dtype, kinds, "bernoulli_tensor_cpu_self_")
        return _bernoulli_each(input, p, generator)
    p = real(p, "bernoulli_", "p")
    check_probability(p, "bernoulli_")
    supported(dtype, kinds, "bernoulli_scalar_cpu_")
    check_writable(input, "bernoulli_")
    return fill(
        input, "bernoulli_", "BernoulliBackward2",
        lambda shape: streams.bernoulli(generator, shape, dtype, p),
    )


def _bernoulli_each(input, p, generator):
    shape = input._array.shape
    if not is_expandable(p._array.shape, shape):
        raise RuntimeError(
            f"bernoulli_: a tensor p of shape {format_shape(p._array.shape)} cannot be expanded "
            f"to the shape {format_shape(shape)}"
        )
    check_probabilities(p._array, p._dtype)
    check_writable(input, "bernoulli_")
    each = np.broadcast_to(p._array, shape).transpose(streams.memory_axes(input._array))

    def draw(_):
        return streams.bernoulli_each(generator, each, input._dtype)

    return fill(input, "bernoulli_", "BernoulliBackward1", draw)


def check_probabilities(p, dtype):
    """Raise an error unless the array `p` holds floats between 0 and 1."""
    supported(dtype, FLOATS, "bernoulli_tensor_cpu_p_")
    if has_data(p) and not np.logical_and(p >= 0, p <= 1).all():
        raise RuntimeError("bernoulli expects all probabilities p to be in [0, 1]")


@_sampler
def exponential_(input, lambd=1.0, *, generator=None):
    """Fill with exponential numbers of rate `lambd`.

    Raises RuntimeError unless ``lambd > 0`` and the dtype is a floating one.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.exponential_.html

    >>> import iskra as torch
    >>> torch.empty(2).exponential_(generator=torch.Generator().manual_seed(0))
    tensor([3.5083, 1.2304])
    """
    rate = real(lambd, "exponential_", "lambd")
    generator = source(generator, "exponential_")
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    dtype = input._dtype
    if input.numel():
        _must_be_continuous(dtype, "Exponential", "exponential_cpu")
    check_writable(input, "exponential_")
    return fill(
        input, "exponential_", "ExponentialBackward0",
        lambda shape: streams.exponential(generator, shape, dtype, rate),
    )


def _must_be_continuous(dtype, distribution, kernel):
    if not dtype.is_floating_point:
        raise RuntimeError(
            f"{distribution} distribution is a continuous probability distribution. dtype must be "
            f"a floating point but you specified {dtype}"
        )
    supported(dtype, FLOATS, kernel)


@_sampler
def geometric_(input, p, *, generator=None):
    """Fill with the numbers of trials up to the first success, which has probability `p`.

    Raises RuntimeError unless ``0 < p < 1``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.geometric_.html

    >>> import iskra as torch
    >>> torch.empty(5).geometric_(0.2, generator=torch.Generator().manual_seed(0))
    tensor([1., 2., 4., 1., 2.])
    """
    p = real(p, "geometric_", "p")
    generator = source(generator, "geometric_")
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    dtype = input._dtype
    supported(dtype, NUMBERS, "geometric_cpu")
    check_writable(input, "geometric_")
    return fill(
        input, "geometric_", "GeometricBackward0",
        lambda shape: streams.geometric(generator, shape, dtype, p),
    )


@_sampler
def cauchy_(input, median=0.0, sigma=1.0, *, generator=None):
    """Fill with numbers of the Cauchy distribution around `median`, of half-width `sigma`.

    Raises RuntimeError unless ``sigma > 0`` and the dtype is a floating one.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cauchy_.html

    >>> import iskra as torch
    >>> torch.empty(2).cauchy_(generator=torch.Generator().manual_seed(0))
    tensor([10.5977,  0.7648])
    """
    median, sigma = real(median, "cauchy_", "median"), real(sigma, "cauchy_", "sigma")
    generator = source(generator, "cauchy_")
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    dtype = input._dtype
    _must_be_continuous(dtype, "Cauchy", "cauchy_cpu")
    check_writable(input, "cauchy_")
    return fill(
        input, "cauchy_", "CauchyBackward0",
        lambda shape: streams.cauchy(generator, shape, dtype, median, sigma),
    )


@_sampler
def log_normal_(input, mean=1.0, std=2.0, *, generator=None):
    """Fill with numbers whose logarithms are normal, with the given mean and deviation.

    Raises RuntimeError unless ``std > 0``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.log_normal_.html

    >>> import iskra as torch
    >>> torch.empty(2).log_normal_(generator=torch.Generator().manual_seed(0))
    tensor([59.2634,  1.5116])
    """
    mean, std = real(mean, "log_normal_", "mean"), real(std, "log_normal_", "std")
    generator = source(generator, "log_normal_")
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    dtype = input._dtype
    supported(dtype, FLOATS, "log_normal_cpu")
    check_writable(input, "log_normal_")
    return fill(
        input, "log_normal_", "LogNormalBackward0",
        lambda shape: streams.log_normal(generator, shape, dtype, mean, std),
    )


# `from` is a word of Python's; as a keyword argument it can only come in a dict.
for _function in (uniform_, random_):
    _function.operator.signature.position["from"] = 1
