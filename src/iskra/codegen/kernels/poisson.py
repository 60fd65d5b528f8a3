"""Poisson samples by machine code, from PyTorch's stream.

>>> import numpy as np
>>> from iskra.core.generator import Generator
>>> sample(Generator().manual_seed(0), np.array([0.0, 2.0, 50.0]))
array([ 0.,  6., 47.])
"""

import ctypes
import math

import numpy as np

from iskra.codegen.accumulate import LANES
from iskra.codegen.kernels import poisson_kernel
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.runtime import draws
from iskra.runtime.memory import empty

_REAL = np.dtype(np.float64)
_BLOCK = 1 << 16    # numbers of the stream that are drawn ahead
_STATE = 625 * 4    # bytes of a generator's state


def sample(generator, rates):
    """Numbers of events at the given rates (any floats, not negative) as float64; None: not served.

    How many numbers of the stream a sample takes depends on them. So the stream is read ahead by
    the block, and in the end the generator set back to after the last number that was used.
    """
    if not is_served(rates.size):
        return None
    flat = rates.reshape(-1).astype(_REAL)
    is_zero = flat == 0
    if is_zero.any():  # takes no number
        found = np.zeros(flat.shape)
        found[~is_zero] = _positive(generator, flat[~is_zero])
    else:
        found = _positive(generator, flat)
    return found.reshape(rates.shape)


def _positive(generator, rates):
    """Samples for a vector of rates above 0."""
    length = rates.size
    found, bounds = empty((length,), _REAL), empty((length,), _REAL)
    if not length:
        return found
    units = math.ceil(length / LANES)
    tasks = tasks_for(units, length)
    compiled(poisson_kernel.bounds, (), "aatn")(rates, bounds, (units, length, tasks), tasks)
    kernel = compiled(poisson_kernel.samples, (), "aaaaaatn")
    state, product = np.zeros(3, np.int64), np.ones(1)
    expected = length + np.minimum(rates, poisson_kernel.SMALL).sum()
    count = max(16, min(_BLOCK, int(expected * 1.25)))
    with generator.lock:
        address = generator.address()
        rest = np.empty(0)
        while state[0] < length:
            before = ctypes.string_at(address, _STATE)
            numbers = draws.units53(generator, count)
            numbers = np.concatenate((rest, numbers)) if rest.size else numbers
            state[1] = 0
            kernel(rates, bounds, numbers, found, state, product, (length, len(numbers)), 1)
            fresh = int(state[1]) - rest.size   # numbers of this block that were used
            rest = numbers[state[1]:]
        if rest.size:
            ctypes.memmove(address, before, _STATE)
            draws.draw32(generator, 2 * fresh)
    return found
