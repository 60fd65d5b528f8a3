"""Distributions that are sampled by trial: Poisson, binomial, gamma. PyTorch's streams again.

How many numbers a sample takes depends on the numbers, so this is a loop over the elements. It
reads the stream ahead by the block and winds the generator back to the last number it used.

Methods: Hörmann 1993, "The transformed rejection method for generating Poisson random variables"
and "The generation of binomial random variates"; Marsaglia and Tsang 2000, "A simple method for
generating gamma variables".
"""

import math
import struct

import numpy as np

from iskra.core import dtypes as d
from iskra.runtime.draws import units53
from iskra.runtime.normal import narrow

_AHEAD = 4096
_FEW = 32  # so few samples are not worth the price of winding back


class Stream:
    """Uniform and normal float64 numbers one by one, in a ``with`` block around the samples."""

    def __init__(self, generator, size):
        self.generator = generator
        self.ahead = _AHEAD if size > _FEW else 0
        self.block, self.used, self.mark = [], 0, None

    def __enter__(self):
        self.generator.lock.acquire()
        return self

    def __exit__(self, *exception):
        if self.used < len(self.block):
            self.generator.rewind(self.mark)
            self.generator.draw32(2 * self.used)
        self.generator.lock.release()

    def uniform(self):
        """The next number in [0, 1)."""
        if self.used == len(self.block):
            if not self.ahead:
                return (self.generator.random64() & (1 << 53) - 1) * 2.0 ** -53
            self.mark = self.generator.mark()
            self.block, self.used = units53(self.generator, self.ahead).tolist(), 0
        self.used += 1
        return self.block[self.used - 1]

    def normal(self):
        """The next standard normal number; the second of each pair waits in the generator."""
        waiting = self.generator.next_normal
        if waiting is not None:
            self.generator.next_normal = None
            return waiting
        turn, radius = self.uniform(), self.uniform()
        radius = math.sqrt(-2.0 * math.log1p(-radius))
        angle = 2 * math.pi * turn
        self.generator.next_normal = radius * math.sin(angle)
        return radius * math.cos(angle)


def _sampled(sample, generator, dtype, *parameters):
    """One sample for each element of the (broadcast) float64 arrays `parameters`."""
    with Stream(generator, parameters[0].size) as stream:
        columns = (p.ravel().tolist() for p in parameters)
        values = [sample(stream, *row) for row in zip(*columns, strict=True)]
    return narrow(np.array(values, np.float64), dtype).reshape(parameters[0].shape)


def poisson(generator, rate, dtype):
    """Counts of events at the given rates, an ndarray of floats, in `dtype`."""
    return _sampled(_poisson, generator, dtype, rate.astype(np.float64))


def _poisson(stream, rate):
    if rate >= 10:
        return _poisson_many(stream, rate)
    if rate == 0:
        return 0
    bound, product, count = math.exp(-rate), 1.0, 0
    while True:
        product *= stream.uniform()
        if product <= bound:
            return count
        count += 1


def _poisson_many(stream, rate):
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = stream.uniform() - 0.5
        v = stream.uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43) if us else -1
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or us < 0.013 and v > us:
            continue
        left = _log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if left <= -rate + k * log_rate - math.lgamma(k + 1):
            return k


def _log(x):
    return math.log(x) if x > 0 else -math.inf


def _rounding(dtype):
    """PyTorch computes on the parameters in their own dtype: a function that rounds to it."""
    if dtype is d.float64:
        return float
    pack, unpack = struct.Struct("f").pack, struct.Struct("f").unpack
    return lambda x: unpack(pack(x))[0]


def gamma(generator, shape_parameter, dtype):
    """Standard gamma samples (scale 1); never less than the smallest normal number."""
    to = _rounding(dtype)
    # These constants are float32s there, whatever the dtype.
    third, squeeze = map(_rounding(d.float32), (1.0 / 3.0, 0.0331))

    def sample(stream, alpha):
        scale = 1.0
        if alpha < 1:
            if alpha == 0:
                return 0.0
            scale = (1 - stream.uniform()) ** to(1.0 / alpha)
            alpha = to(alpha + 1)
        return _gamma(stream, to(alpha - third), scale, squeeze)

    values = _sampled(sample, generator, dtype, shape_parameter.astype(np.float64))
    return np.maximum(values, values.dtype.type(d.finfo(dtype).tiny))


def _gamma(stream, scaled, scale, squeeze):
    c = 1.0 / math.sqrt(9.0 * scaled)
    while True:
        x = stream.normal()
        y = 1.0 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u = 1 - stream.uniform()
        xx = x * x
        if u < 1.0 - squeeze * xx * xx:
            return scale * scaled * v
        if math.log(u) < 0.5 * xx + scaled * (1.0 - v + math.log(v)):
            return scale * scaled * v


def dirichlet(generator, concentration, dtype):
    """Samples whose last dimension sums to 1: normalised gamma samples."""
    parts = gamma(generator, concentration.astype(np.float64), d.float64)
    shares = narrow(parts / parts.sum(-1, keepdims=True), dtype)
    one = shares.dtype.type(1)
    return np.clip(shares, d.finfo(dtype).tiny, np.nextafter(one, one - one))


def binomial(generator, count, probability, dtype):
    """How many of `count` trials succeed, each with `probability`: float arrays of one shape."""
    to = _rounding(dtype)

    def sample(stream, n, p):
        if math.isnan(p):
            return math.nan
        if n <= 0 or p <= 0:
            return 0.0
        if p >= 1:
            return n
        if p > 0.5:
            return n - _binomial(stream, n, to(1.0 - p), to)
        return _binomial(stream, n, p, to)

    return _sampled(
        sample, generator, dtype, count.astype(np.float64), probability.astype(np.float64)
    )


def _binomial(stream, n, p, to):
    if to(n * p) >= 10:
        return _binomial_many(stream, n, p, to)
    # Add up the waiting times from success to success.
    log_failure, waited, successes = to(math.log1p(-p)), 0.0, 0
    while True:
        waited += math.ceil(_log(stream.uniform()) / log_failure)
        if waited > n:
            return successes
        successes += 1


def _binomial_many(stream, n, p, to):
    failure = to(1 - p)
    mean = to(n * p)
    spread = to(math.sqrt(to(mean * failure)))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    v_r = 0.92 - 4.2 / b
    odds = to(p / failure)
    alpha = (2.83 + 5.1 / b) * spread
    mode = float(math.floor(to(to(n + 1) * p)))
    while True:
        u = stream.uniform() - 0.5
        v = stream.uniform()
        us = 0.5 - abs(u)
        k = float(math.floor((2 * a / us + b) * u + (mean + 0.5))) if us else -1.0
        if k < 0 or k > n:
            continue
        if us >= 0.07 and v <= v_r:
            return k
        bound = (
            (mode + 0.5) * math.log((mode + 1) / (odds * (n - mode + 1)))
            + (n + 1) * math.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
            + _stirling(mode) + _stirling(n - mode) - _stirling(k) - _stirling(n - k)
        )
        if _log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


_STIRLING = (
    0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509,
    0.0166446911898211, 0.0138761288230707, 0.0118967099458917, 0.0104112652619720,
    0.00925546218271273, 0.00833056343336287,
)


def _stirling(k):
    """What Stirling's formula for the logarithm of k! leaves out."""
    if k < 10:
        return _STIRLING[int(k)]
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)
