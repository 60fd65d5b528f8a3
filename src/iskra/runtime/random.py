"""From random bits to distributions, as arrays: PyTorch's CPU streams, bit for bit.

Every function takes a `Generator` first, then the shape and the dtype of the ndarray it returns,
and draws in C order of the result. Arguments are taken to be right: operators check them.

What must not be changed, for the streams depend on it: which distribution uses 32-bit and which
64-bit draws (a float32 uniform number takes one 32-bit draw, but an exponential or a Bernoulli
one takes a 64-bit draw whatever its dtype), which of the bits count (the low 24 or 53), and in
which precision the formula is evaluated (float64, where the draw has 64 bits).

Sources: https://docs.pytorch.org/docs/stable/random.html, and the behaviour of PyTorch 2.13.
"""

import math

import numpy as np

from iskra.core import dtypes as d
from iskra.runtime.draws import draw64, kernels_for, units24, units53
from iskra.runtime.exact import exp, fma32, fma64, libm, settle
from iskra.runtime.normal import narrow, normal, normal_by_pairs, standard_pairs

__all__ = [
    "bernoulli", "bernoulli_each", "bernoulli_times", "cauchy", "exponential", "geometric",
    "in_memory_order", "integers", "integers_default", "integers_full", "log_normal",
    "memory_axes", "multinomial", "normal", "normal_by_pairs", "permutation",
    "representable_bounds", "uniform", "units24", "units53",
]

_F4, _F8, _U4, _U8 = np.float32, np.float64, np.uint32, np.uint64
_HIGH21 = _U4((1 << 21) - 1)
_CHUNK = 1 << 15  # samples at a time where temporaries are larger than the result
_WIDE_RANGE = 1 << 28  # from here on, integers take 64-bit draws: else % would skew too much
_WIDE_PERMUTATION = 0xFFFFFFFF // 20
# Up to here a plain loop shuffles faster than whole-array operations.
_SMALL_SHUFFLE = 2000

# How many bits of precision floats have: random_() without bounds fills the integers they hold.
DIGITS = {d.float16: 11, d.bfloat16: 8, d.float32: 24, d.float64: 53}


# The order in memory


def memory_axes(array):
    """The dimensions of `array` from the widest step in memory to the narrowest."""
    axes = range(array.ndim)
    if array.flags.c_contiguous:
        return list(axes)
    return sorted(axes, key=lambda axis: -array.strides[axis])


def in_memory_order(array, draw):
    """The values of ``draw(shape)`` for each element of `array`, drawn along its memory."""
    if array.flags.c_contiguous:
        return draw(array.shape)
    axes = memory_axes(array)
    values = draw(tuple(array.shape[axis] for axis in axes))
    return values.transpose(np.argsort(axes))


def _drawn(generator, shape, dtype, draw):
    """An array of `shape` from ``draw(count)``, in pieces that stay in the cache."""
    size = math.prod(shape)
    with generator.lock:
        if size <= _CHUNK:
            return draw(size).reshape(shape)
        values = np.empty(size, dtype.numpy)
        for start in range(0, size, _CHUNK):
            values[start:start + _CHUNK] = draw(min(_CHUNK, size - start))
    return values.reshape(shape)


# Uniform


def uniform(generator, shape, dtype, low=0.0, high=1.0):
    """Uniform samples from ``[low, high)`` of a floating or complex `dtype`."""
    if dtype.is_complex:
        parts = uniform(generator, (*shape, 2), dtype.to_real(), low, high)
        return parts.view(dtype.numpy)[..., 0]
    size = math.prod(shape)
    kernels = kernels_for(size)
    if kernels and not dtype.is_narrow:
        with generator.lock:
            return kernels.uniform(generator, size, dtype.numpy, low, high).reshape(shape)
    is_unit = low == 0.0 and high == 1.0
    if dtype is d.float64:
        units, fma, kind = units53, fma64, _F8
    else:
        units, fma, kind = units24, fma32, _F4
    if is_unit and not dtype.is_narrow:  # nothing is rounded up to 1
        return _drawn(generator, shape, dtype, lambda count: units(generator, count))
    low, high = kind(low), kind(high)
    first, end = narrow(np.array([low, high]), dtype)

    def draw(count):
        values = units(generator, count)
        if not is_unit:
            values = fma(values, high - low, low)
        return _below(narrow(values, dtype), first, end)

    return _drawn(generator, shape, dtype, draw)


def _below(samples, low, high):
    """Move to `low` what was rounded up to `high`, as the interval is open above."""
    at_end = samples == high
    if at_end.any():
        samples[at_end] = low
    return samples


# Bernoulli


def bernoulli(generator, shape, dtype, p):
    """1 with probability `p`, a Python float, else 0. With dtype ``bool_``: a mask."""
    if dtype is d.float32:
        return bernoulli_times(generator, shape, dtype, p, 1.0)
    return _bernoulli_mask(generator, shape, p).astype(dtype.numpy, copy=False)


def bernoulli_times(generator, shape, dtype, p, value):
    """`value`, which `dtype` holds, with probability `p`, a Python float, else 0."""
    size = math.prod(shape)
    kernels = kernels_for(size)
    if kernels and dtype is d.float32:
        with generator.lock:
            values = kernels.bernoulli_times(generator, size, _threshold(p), value)
        return values.reshape(shape)
    return np.multiply(_bernoulli_mask(generator, shape, p), value, dtype=dtype.numpy)


def _threshold(p):
    """The sample is (draw mod 2**53) / 2**53 < p: which integers are that?"""
    return math.ceil(p * 2.0 ** 53)


def _bernoulli_mask(generator, shape, p):
    size, threshold = math.prod(shape), _threshold(p)
    kernels = kernels_for(size)
    if kernels:
        with generator.lock:
            return kernels.bernoulli(generator, size, threshold).reshape(shape)
    out = np.empty(size, np.bool_)
    # Compare integers, first their high 21 bits.
    high, low = _U4(threshold >> 32), _U4(threshold & 0xFFFFFFFF)
    with generator.lock:
        for start in range(0, size, _CHUNK):
            part = out[start:start + _CHUNK]
            halves = generator.draw32(2 * part.size)
            upper = halves[0::2] & _HIGH21
            np.less(upper, high, out=part)
            if low:
                ties = np.flatnonzero(upper == high)
                part[ties] = halves[1::2][ties] < low
    return out.reshape(shape)


def bernoulli_each(generator, p, dtype):
    """1 with the probabilities in the ndarray `p`, else 0; float64 ones take 64-bit draws."""
    with generator.lock:
        units = (units53 if p.dtype == _F8 else units24)(generator, p.size).reshape(p.shape)
    return (units < p.astype(units.dtype, copy=False)).astype(dtype.numpy)


# Integers


def integers(generator, shape, dtype, low, high):
    """Integers from ``low`` to ``high - 1`` (Python ints that fit 64 bits), in any real dtype."""
    span = high - low
    if span < _WIDE_RANGE:
        return _remainders(generator, shape, dtype, span, low)
    divisor, low = _U8(span), np.int64(low)

    def draw(count):
        values = draw64(generator, count)
        values %= divisor
        values = values.view(np.int64)
        if low:
            values += low
        return _integers_to(values, dtype)

    return _drawn(generator, shape, dtype, draw)


def _remainders(generator, shape, dtype, divisor, low):
    """32-bit draws modulo `divisor`, at most ``2**31``, and `low` more."""
    low = np.int64(low)

    def draw(count):
        kernels = kernels_for(count)
        if kernels:
            return _integers_to(kernels.integers(generator, count, divisor, low), dtype)
        values = (generator.draw32(count) % _U4(divisor)).astype(np.int64)
        if low:
            values += low
        return _integers_to(values, dtype)

    if dtype is not d.int64:
        return _drawn(generator, shape, dtype, draw)
    with generator.lock:
        return draw(math.prod(shape)).reshape(shape)


def integers_full(generator, shape, dtype):
    """All 64-bit integers, equally likely, rounded to `dtype`."""

    def draw(count):
        return _integers_to(draw64(generator, count).view(np.int64), dtype)

    return _drawn(generator, shape, dtype, draw)


def integers_default(generator, shape, dtype):
    """``0 ... max`` of an integer dtype; of a float one, the integers it holds without gaps."""
    last = 1 if dtype is d.bool_ else (
        1 << DIGITS[dtype] if dtype in DIGITS else d.iinfo(dtype).max
    )
    if dtype is not d.int64 and dtype is not d.float64:
        return _remainders(generator, shape, dtype, last + 1, 0)

    def draw(count):
        values = draw64(generator, count) % _U8(last + 1)
        return _integers_to(values.view(np.int64), dtype)

    return _drawn(generator, shape, dtype, draw)


def _integers_to(values, dtype):
    if dtype.is_narrow:
        values = values.astype(_F4)
    return values.astype(dtype.numpy, copy=False)


def representable_bounds(dtype, low, high):
    """Tighten ``[low, high)`` so that rounding to a float `dtype` cannot leave it.

    `high` may be None: no upper bound.
    """
    digits = DIGITS[dtype]
    after = _through(dtype, low + 1)
    if after < low:
        low = after + (1 << max(abs(low + 1).bit_length() - digits, 0))
    if high is not None:
        before = _through(dtype, high - 1)
        if before >= high:
            high = before - (1 << max(abs(high - 1).bit_length() - digits, 0))
    return low, high


def _through(dtype, number):
    """The int that `number` becomes in `dtype`; the least int64 for infinity, as in C."""
    with np.errstate(over="ignore"):
        value = float(_integers_to(np.array([number], np.int64), dtype)[0])
    return int(value) if abs(value) < 2.0 ** 63 else -(1 << 63)


# Permutations


def permutation(generator, size, dtype):
    """A random order of ``0 ... size - 1``: every element is exchanged with a later one."""
    if size < 2:
        return np.arange(size).astype(dtype.numpy)
    with generator.lock:
        if size >= _WIDE_PERMUTATION:
            return _integers_to(_inside_out(generator, size), dtype)
        kernels = kernels_for(size)
        if kernels:
            return _integers_to(kernels.permutation(generator, size), dtype)
        ahead = generator.draw32(size - 1)
    ahead %= np.arange(size, 1, -1, dtype=_U4)
    shuffle = _shuffle_by_loop if size <= _SMALL_SHUFFLE else _shuffle_at_once
    return _integers_to(shuffle(ahead.astype(np.int64), size), dtype)


def _inside_out(generator, size):
    """For huge sizes PyTorch goes another way: each new element takes the place of an earlier."""
    order = np.empty(size, np.int64)
    view = memoryview(order)
    for start in range(0, size, _CHUNK):
        counts = np.arange(start + 1, min(start + _CHUNK, size) + 1, dtype=_U8)
        others = draw64(generator, counts.size) % counts
        for place, other in enumerate(others.tolist(), start):
            view[place] = view[other]
            view[other] = place
    return order


def _shuffle_by_loop(ahead, size):
    order = list(range(size))
    for place, step in enumerate(ahead.tolist()):
        other = place + step
        order[place], order[other] = order[other], order[place]
    return np.array(order)


def _shuffle_at_once(ahead, size):
    """The same exchanges, not one by one.

    Step i exchanges the places i and target[i] >= i. What lies at place j when its turn comes is
    what step k moved there, k being the last earlier step with target j: thus what lay at place k
    when *its* turn came. Following these links to their ends gives `found`. Step i then leaves at
    place i what the last earlier step with the same target had found, or the target itself.
    """
    steps = np.arange(size)
    target = steps.copy()
    target[:-1] += ahead
    found = _follow(steps, target)
    order = target.copy()
    # Peel off the last step of each target, then the last but one, and so on.
    last = np.empty(size, np.int64)
    last[target] = steps
    is_last = last[target] == steps
    while not is_last.all():
        peeled, their_target = steps[is_last], target[is_last]
        steps, target = steps[~is_last], target[~is_last]
        last[their_target] = -1
        last[target] = steps  # of equal targets, the last assignment stays
        previous = last[their_target]
        has_previous = previous >= 0
        order[peeled[has_previous]] = found[previous[has_previous]]
        is_last = last[target] == steps
    return order


def _follow(steps, target):
    found = steps.copy()
    moved = np.flatnonzero(target != steps)
    found[target[moved]] = moved
    while True:
        further = found[found]
        if np.array_equal(further, found):
            return found
        found = further


# Continuous distributions; all of them evaluate their formula in float64.


def exponential(generator, shape, dtype, rate=1.0):
    """Exponential samples: ``-log(1 - u) / rate``."""
    factor = -1.0 / rate

    def finish(logarithms):
        return narrow(logarithms * factor, dtype)

    def draw(count):
        return _settled(math.log1p, np.log1p, -units53(generator, count), finish, dtype)

    return _drawn(generator, shape, dtype, draw)


def geometric(generator, shape, dtype, p):
    """The number of trials up to the first success, of probability `p` each."""
    scale = math.log1p(-p)
    is_whole = dtype.category < d.FLOATING

    def finish(logarithms):
        trials = np.ceil(logarithms / scale)
        return _integers_to(trials.astype(np.int64), dtype) if is_whole else narrow(trials, dtype)

    def draw(count):
        units = units53(generator, count)
        units[units == 0] = 2.0 ** -1074  # 0 has no logarithm; this is as unlikely, and finite
        return settle(np.log(units), finish, lambda places: libm(math.log, units[places]))

    return _drawn(generator, shape, dtype, draw)


def cauchy(generator, shape, dtype, median=0.0, sigma=1.0):
    """Cauchy samples: ``median + sigma * tan(pi * (u - 1/2))``."""

    def finish(tangents):
        return narrow(fma64(tangents, sigma, median), dtype)

    def draw(count):
        angles = (units53(generator, count) - 0.5) * math.pi
        return _settled(math.tan, np.tan, angles, finish, dtype)

    return _drawn(generator, shape, dtype, draw)


def log_normal(generator, shape, dtype, mean=1.0, std=2.0):
    """``exp`` of normal samples, which are made pair by pair at any size."""
    with generator.lock:
        values = standard_pairs(generator, math.prod(shape))
    return narrow(libm(exp, fma64(values, std, mean)), dtype).reshape(shape)


def _settled(function, estimate, arguments, finish, dtype):
    """``finish(function(arguments))`` with the bits of the C library's `function`."""
    if dtype is d.float64:  # every bit shows: no estimate will do
        return finish(libm(function, arguments))
    return settle(
        estimate(arguments), finish, lambda places: libm(function, arguments[places])
    )


# Multinomial


def _first(speed, count):
    """Where the `count` largest elements along the last axis are, in order."""
    return np.ascontiguousarray(np.argsort(-speed, axis=-1, kind="stable")[..., :count])


def _search(rows, values):
    """Where in sorted rows to put the elements of the same rows of `values`."""
    return np.stack([np.searchsorted(*pair) for pair in zip(rows, values, strict=True)])


def multinomial(generator, weights, dtype, count, replacement, first=_first, search=_search):
    """Draw `count` indices from each row of `weights`, an ndarray of one or two dimensions.

    The rows need not sum to 1. Returns int64 of shape ``(..., count)``. first, search: functions
    that do what those here do.
    """
    if not replacement or count == 1:
        return _race(generator, weights, dtype, count, first)
    rows = weights.reshape(-1, weights.shape[-1])
    rows = rows.astype(_F4) if dtype.is_narrow else rows
    with generator.lock:
        units = units53(generator, len(rows) * count).reshape(len(rows), count)
    steps = np.add.accumulate(rows, axis=1)
    steps /= steps[:, -1:]
    steps[:, -1] = 1
    picked = search(steps.astype(_F8), units)
    return picked.reshape(*weights.shape[:-1], count)


def _race(generator, weights, dtype, count, first):
    """Without replacement: exponential clocks of these rates; the first `count` that ring."""
    times = in_memory_order(weights, lambda shape: exponential(generator, shape, dtype))
    with np.errstate(all="ignore"):  # infinity and NaN are as fast as they should be
        speed = weights / times
    if count == 1:
        return speed.argmax(-1)[..., None]
    return first(speed, count)
