"""Random bits and uniform numbers from a generator, by machine code where they are many.

Both ways give the same numbers, so that it does not matter which one is taken. What draws holds
the generator's lock.
"""

import sys

import numpy as np

from iskra import runtime

FIRST, AFTERWARDS = 4096, 16
# Elements that are worth the kernels' while. At first many, at once or little by little: the
# compiler must be loaded. This makes the choice depend on what went before, as no other does, and
# it may: each bit is the same.
kernels_from = FIRST
_patience = FIRST   # elements that are drawn without kernels, in draws that they would be worth

_F4, _F8, _U4 = np.float32, np.float64, np.uint32
_UNIT24, _MASK24 = _F4(2.0 ** -24), _U4((1 << 24) - 1)
_UNIT53, _MASK53 = 2.0 ** -53, np.uint64((1 << 53) - 1)


def kernels_for(size):
    """The module of the kernels, if `size` elements are worth it and there is a compiler."""
    global kernels_from, _patience
    if size < kernels_from:
        if size < AFTERWARDS or kernels_from != FIRST:
            return None
        _patience -= size
        if _patience > 0:
            return None
    kernels = runtime.random_kernels
    if not kernels.usable():
        kernels_from = sys.maxsize
        return None
    kernels_from = min(kernels_from, AFTERWARDS)
    return kernels


def draw32(generator, size):
    """`size` words of the stream: uint32."""
    kernels = kernels_for(size)
    return kernels.draw32(generator, size) if kernels else generator.draw32(size)


def draw64(generator, size):
    """`size` numbers of 64 bits, each from two words: uint64."""
    kernels = kernels_for(size)
    return kernels.draw64(generator, size) if kernels else generator.draw64(size)


def units24(generator, size):
    """`size` float32 numbers, uniform in [0, 1)."""
    kernels = kernels_for(size)
    if kernels:
        return kernels.uniform(generator, size, np.dtype(_F4))
    bits = generator.draw32(size)
    bits &= _MASK24
    units = bits.view(np.int32).astype(_F4)
    units *= _UNIT24
    return units


def units53(generator, size):
    """`size` float64 numbers, uniform in [0, 1)."""
    kernels = kernels_for(size)
    if kernels:
        return kernels.uniform(generator, size, np.dtype(_F8))
    bits = generator.draw64(size)
    bits &= _MASK53
    return bits.view(np.int64) * _UNIT53
