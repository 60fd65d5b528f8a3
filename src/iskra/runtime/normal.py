"""Normal samples: PyTorch's two ways from uniform bits to a bell curve (Box and Muller, 1958).

Fewer than 16 samples are made one pair at a time in float64, and the second of a pair is kept for
the next call. From 16 on, samples are made in blocks of 16: the first 8 uniform numbers give the
radii, the last 8 the angles. If the number of samples is no multiple of 16, the last 16 are made
anew from 16 fresh numbers, overlapping what was made before.

In blocks, float32 uses the polynomials of Cephes (S. Moshier) for log, sin and cos, with fused
multiply-adds; the order of operations below is that of PyTorch's AVX2 code, so each bit agrees.
A fused multiply-add of float32s is a float64 product and sum, rounded; that this never rounds
differently in these polynomials was checked for all 2**24 arguments that can occur.
"""

import math

import numpy as np

from iskra import runtime
from iskra.core import dtypes as d
from iskra.runtime.draws import draw32, kernels_for, units53
from iskra.runtime.exact import fma32, fma64, libm

_F4, _F8, _U4 = np.float32, np.float64, np.uint32
_UNIT24, _MASK24 = _F4(2.0 ** -24), _U4((1 << 24) - 1)
TWO_PI = 2 * math.pi
_BLOCKS = 512  # blocks of 16 handled at a time, so that temporaries stay in the cache


def _floats(*values):
    """Constants as float32 rounds them, held in float64."""
    return tuple(_F8(_F4(v)) for v in values)


ROOT_HALF_BITS = np.int32(0x3F3504F3)
LOG = _floats(
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)
LN2_LOW, LN2_HIGH = _F4(-2.12194440e-4), _F4(0.693359375)
FOUR_OVER_PI = _F4(1.27323954473516)
# pi / 4 in three parts: multiples of the first two by 0, 2, 4, 6, 8 are exact.
QUARTER = _F4(0.78515625), _F4(2.4187564849853515625e-4), _floats(3.77489497744594108e-8)[0]
# One column for the cosine's polynomial and one for the sine's.
TRIG = np.array([
    _floats(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2),
    _floats(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),
]).T[:, :, None]


def normal(generator, shape, dtype, mean=0.0, std=1.0):
    """Sample ``mean + std * N(0, 1)``: an ndarray of `shape` and floating or complex `dtype`.

    Of a complex number, each part has half the variance.
    """
    if dtype.is_complex:
        parts = normal(generator, (*shape, 2), dtype.to_real(), mean, std / math.sqrt(2.0))
        return parts.view(dtype.numpy)[..., 0]
    size = math.prod(shape)
    with generator.lock:
        if size < 16:
            values = _one_by_one(generator, size, mean, std)
        elif dtype is d.float64:
            values = _in_blocks64(generator, size, mean, std)
        else:
            values = _in_blocks32(generator, size, mean, std, fill_first=dtype is d.float32)
    return narrow(values, dtype).reshape(shape)


def normal_by_pairs(generator, shape, dtype, mean=0.0, std=1.0):
    """As `normal`, but pair by pair at any size: for tensors that are not contiguous."""
    with generator.lock:
        values = _one_by_one(generator, math.prod(shape), mean, std)
    return narrow(values, dtype).reshape(shape)


def narrow(values, dtype):
    """Round to `dtype`; 16-bit types by way of float32, as C++ converts them."""
    if values.dtype == dtype.numpy:
        return values
    with np.errstate(over="ignore"):  # too large means infinity, as in C++
        if dtype.is_narrow and values.dtype == _F8:
            values = values.astype(_F4)
        return values.astype(dtype.numpy)


# Pair by pair


def _one_by_one(generator, size, mean, std):
    values = standard_pairs(generator, size)
    if std == 1.0:
        return values + mean
    return values * std + mean if mean == 0.0 else fma64(values, std, mean)


def standard_pairs(generator, size):
    """`size` standard normal numbers in float64; an odd one out waits in the generator."""
    out = np.empty(size)
    start = 0
    if size and generator.next_normal is not None:
        out[0] = generator.next_normal
        generator.next_normal = None
        start = 1
    missing = size - start
    if missing:
        units = units53(generator, missing + missing % 2)
        pairs = _few_pairs if missing < 16 else _many_pairs
        generator.next_normal = pairs(units, out, start, missing % 2)
    return out


def _few_pairs(units, out, start, is_odd):
    """Fill `out` pair by pair; return the second of the last pair if there is no place for it."""
    units = iter(units.tolist())
    values = []
    for turn, share in zip(units, units, strict=True):
        radius, angle = math.sqrt(-2.0 * math.log1p(-share)), TWO_PI * turn
        values += radius * math.cos(angle), radius * math.sin(angle)
    waiting = values.pop() if is_odd else None
    out[start:] = values
    return waiting


def _many_pairs(units, out, start, is_odd):
    """`_few_pairs` by whole arrays."""
    kernels = kernels_for(units.size)
    if kernels:
        kernels.normal_pairs(units)
        out[start:] = units[:-1] if is_odd else units
        return float(units[-1]) if is_odd else None
    radius = np.sqrt(-2.0 * libm(math.log1p, -units[1::2]))
    angle = TWO_PI * units[0::2]
    out[start::2] = radius * libm(math.cos, angle)
    second = radius * libm(math.sin, angle)
    out[start + 1::2] = second[:-1] if is_odd else second
    return float(second[-1]) if is_odd else None


# In blocks of 16


def _in_blocks64(generator, size, mean, std):
    tail = 16 if size % 16 else 0
    units = units53(generator, size + tail)
    units = _whole_blocks(units, size, tail)
    kernels = kernels_for(size)
    if kernels:
        kernels.normal_blocks(units)
        return _lay_out(fma64(units, std, mean), size, tail)
    units = units.reshape(-1, 2, 8)
    radius = np.sqrt(-2.0 * libm(math.log, 1.0 - units[:, 0]))
    angle = TWO_PI * units[:, 1]
    units[:, 0] = radius * libm(math.cos, angle)
    units[:, 1] = radius * libm(math.sin, angle)
    return _lay_out(fma64(units, std, mean).ravel(), size, tail)


def _whole_blocks(draws, size, tail):
    """The draws that matter: those of whole blocks, then the 16 of the last, overlapping one."""
    if not tail:
        return draws
    return np.concatenate((draws[:size - size % 16], draws[size:]))


def _lay_out(values, size, tail):
    """Put the last 16 values at the end of `size` values, over the beginning of the last block."""
    if not tail:
        return values
    out = np.empty(size, values.dtype)
    whole = values.size - tail
    out[:whole] = values[:whole]
    out[size - tail:] = values[whole:]
    return out


def _in_blocks32(generator, size, mean, std, fill_first):
    """float32 samples. `fill_first`: draw for every element before the last block is made anew.

    PyTorch does so for float32; for 16-bit types it draws whole blocks only.
    """
    tail = 16 if size % 16 else 0
    whole = size - size % 16
    mean, std = _F4(mean), _F4(std)
    kernels = kernels_for(size)
    if kernels:
        out = runtime.memory.empty((size,), np.dtype(_F4))
        kernels.normal32(generator, out[:whole], std, mean)
        if tail:
            if fill_first:
                draw32(generator, size - whole)
            kernels.normal32(generator, out[size - tail:], std, mean)
        return out
    draws = generator.draw32((size if fill_first else whole) + tail)
    draws &= _MASK24
    if fill_first:
        draws = _whole_blocks(draws, size, tail)
    draws = draws.view(np.int32).reshape(-1, 2, 8)
    out = np.empty(draws.shape, _F4)
    for start in range(0, len(draws), _BLOCKS):
        chunk = draws[start:start + _BLOCKS]
        radii = _radii(chunk[:, 0].ravel())
        waves = _cos_sin(chunk[:, 1].ravel())
        waves *= radii
        # Adding a mean of 0 is no idle gesture: it makes -0 a 0.
        waves = fma32(waves, std, mean) if mean else waves * std + mean
        out[start:start + _BLOCKS] = waves.reshape(2, -1, 8).transpose(1, 0, 2)
    return _lay_out(out.ravel(), size, tail)


def _rounded(x):
    """Round float64 numbers to float32's precision."""
    return x.astype(_F4).astype(_F8)


def _radii(draws):
    """``sqrt(-2 log(1 - draw / 2**24))`` in float32."""
    bits = (_F4(1) - draws.astype(_F4) * _UNIT24).view(np.int32)
    exponent = (bits - ROOT_HALF_BITS) >> 23
    x = (bits - (exponent << 23)).view(_F4)  # in [sqrt(1/2), sqrt(2))
    x -= _F4(1)
    exponent = exponent.astype(_F4)
    wide = x.astype(_F8)
    square = x * x
    y = wide * LOG[0] + LOG[1]
    for coefficient in LOG[2:]:
        y = _rounded(y)
        y *= wide
        y += coefficient
    y = y.astype(_F4) * x
    y = (y * square.astype(_F8) + exponent * LN2_LOW).astype(_F4)
    y -= square * _F4(0.5)
    x += y
    x += exponent * LN2_HIGH
    x *= _F4(-2)
    return np.sqrt(x, out=x)


def _cos_sin(draws):
    """Cosine and sine of ``2 pi draw / 2**24``: float32 of shape ``(2, draws.size)``."""
    angle = draws.astype(_F4) * _UNIT24
    angle *= _F4(TWO_PI)
    octant = (angle * FOUR_OVER_PI).astype(np.int32)
    octant += 1
    octant &= ~1
    steps = octant.astype(_F4)
    angle -= steps * QUARTER[0]
    angle -= steps * QUARTER[1]
    both = np.empty((2, angle.size))  # the square and the angle, rounded to float32
    x = np.subtract(angle, steps * QUARTER[2], dtype=_F8).astype(_F4)
    both[0], both[1] = x * x, x
    square = both[0]
    y = _rounded(square * TRIG[0] + TRIG[1])
    y *= square
    y += TRIG[2]
    y = _rounded(y)
    y *= square
    y = _rounded(y)
    y *= both
    y += both * [[-0.5], [1.0]]
    y = y.astype(_F4)
    y[0] += _F4(1)
    return _turned(y, octant >> 1)


def _turned(waves, quarter):
    """Cosine and sine after so many quarter turns, from those of the angle that remains."""
    is_odd = (quarter & 1).astype(np.bool_)
    out = np.where(is_odd, waves[::-1], waves)
    sign = out.view(_U4)
    quarter = quarter.view(_U4)
    sign[0] ^= ((quarter + _U4(1)) & _U4(2)) << _U4(30)
    sign[1] ^= (quarter & _U4(2)) << _U4(30)
    return out
