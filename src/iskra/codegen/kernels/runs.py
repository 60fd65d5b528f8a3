"""Runs of equal neighbours in NumPy vectors, found by machine code.

>>> import numpy as np
>>> values, starts, numbers = find(np.array([5, 5, 7, 5]), True)
>>> values, starts, numbers
(array([5, 7, 5]), array([0, 2, 3]), array([0, 0, 1, 2]))
"""

import numpy as np

from iskra.codegen.kernels import run_kernel
from iskra.codegen.kernels.sharing import compiled, is_served
from iskra.codegen.primitives import KINDS, kind_of
from iskra.runtime.memory import empty

_INT64 = np.dtype(np.int64)


def find(vector, numbered=False, places=None):
    """``(values, starts, numbers)`` of the runs of a vector of any real dtype; None: not served.

    values: their first elements; starts: where these stand; numbers: if `numbered`, to which run
    each element belongs, else None. With `places` (int64, a permutation) the number of
    ``vector[i]`` is put at ``places[i]``. NaN is unlike itself.
    """
    if vector.dtype.name not in KINDS or not vector.dtype.isnative or not is_served(vector.size):
        return None
    vector = np.ascontiguousarray(vector)
    length = vector.size
    values, starts = empty((length,), vector.dtype), empty((length,), _INT64)
    numbers, found = empty((length,), _INT64) if numbered else None, np.empty(1, np.int64)
    arguments = kind_of(vector.dtype), numbered, places is not None
    kernel = compiled(run_kernel.runs, arguments, "aaaaaatn")
    kernel(vector, places, values, starts, numbers, found, (length,), 1)
    count = int(found[0])
    return _cut(values, count), _cut(starts, count), numbers


def _cut(array, count):
    """The first elements; a copy, if much memory would be held for nothing."""
    return array[:count] if count * 2 > len(array) else array[:count].copy()
