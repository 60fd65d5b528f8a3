"""Counting the numbers of NumPy vectors, in machine code.

>>> import numpy as np
>>> count(np.array([0, 2, 2]), 4)
array([1, 0, 2, 0])
"""

import numpy as np

from iskra.codegen.kernels import count_kernel
from iskra.codegen.kernels.sharing import compiled, is_served
from iskra.codegen.primitives import KINDS, kind_of

_WAYS = 4  # tables, where they are small


def count(x, size, weights=None):
    """Return how often each number below `size` occurs (int64), or None: not served.

    x: integers from 0 to ``size - 1``, which the caller has seen to. With `weights`, real numbers
    of the same length, the sums of those, as float64, added up in order.
    """
    if not is_served(x.size) or x.dtype.kind not in "iu" or not x.dtype.isnative:
        return None
    x = np.ascontiguousarray(x).reshape(-1)
    if weights is None:
        ways = _WAYS if size * 2 * _WAYS <= x.size else 1
        tables = np.zeros((ways, size), np.int64)
        kernel = compiled(count_kernel.counts, (kind_of(x.dtype), ways), "aatn")
        kernel(x, tables, (x.size, size), 1)
        return tables[0].copy() if ways > 1 else tables[0]
    if weights.dtype.name not in KINDS or not weights.dtype.isnative:
        return None
    weights, found = np.ascontiguousarray(weights), np.zeros(size)
    kernel = compiled(count_kernel.weights, (kind_of(x.dtype), kind_of(weights.dtype)), "aaatn")
    kernel(x, weights, found, (x.size,), 1)
    return found
