"""Searching in sorted rows of NumPy arrays, in machine code.

>>> import numpy as np
>>> search(np.array([1, 3, 5]), np.array([3, 4]), False)
array([1, 2])
"""

import math

import numpy as np

from iskra.codegen.kernels import search_kernel
from iskra.codegen.kernels.sharing import compiled, is_served, tasks_for
from iskra.codegen.primitives import KINDS, kind_of
from iskra.runtime.memory import empty

PIECE = 4096  # elements of a unit of work
_INT64 = np.dtype(np.int64)


def search(rows, x, right):
    """Return where to put `x` into sorted rows so that these stay sorted (int64); None: not served.

    rows: a vector for all of `x`, or rows for those of `x`, with its leading dimensions; of one
    dtype, any real one. With `right` behind equal elements, else in front of them. NaN is last.
    """
    if rows.dtype != x.dtype or rows.dtype.name not in KINDS or not rows.dtype.isnative:
        return None
    if not is_served(x.size) or not is_served(rows.size):
        return None
    found = empty(x.shape, _INT64)
    rows, x = np.ascontiguousarray(rows), np.ascontiguousarray(x)
    is_shared, size = rows.ndim == 1, rows.shape[-1]
    count = x.size if is_shared else x.shape[-1]
    pieces = math.ceil(count / PIECE)
    units = x.size // count * pieces
    tasks = tasks_for(units, x.size)
    kind = "u8" if rows.dtype.kind == "b" else kind_of(rows.dtype)
    compiled(search_kernel.searches, (kind, right), "aaatn")(
        rows, x, found,
        (size, count, size.bit_length(), PIECE, pieces, is_shared, units, tasks), tasks)
    return found
