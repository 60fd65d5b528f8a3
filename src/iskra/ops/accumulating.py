"""Adding values up at places that may repeat: what gradients of indexing come down to.

`np.add.at` would do, but is slow. Sorting the places and summing runs is quicker, and its result
does not depend on anything but the data. Many values are added one after another by a kernel.
"""

import numpy as np

from iskra.ops.moving import write_at, write_rows


def add_at(array, entries, values):
    """Add `values` to C-contiguous `array` at an index of arrays and full slices; return it.

    `values` has the shape of ``array[entries]``; the indices have been checked.
    """
    first = entries[0]
    rows_only = first.__class__ is not slice and first.dtype != np.bool_ and all(
        e.__class__ is slice for e in entries[1:]
    )
    if rows_only:
        rows = first.reshape(-1)
        width = int(np.prod(array.shape[1:], dtype=np.int64))
        if width:
            add_rows(
                array.reshape(array.shape[0], width), rows, values.reshape(rows.size, width)
            )
        return array
    if write_at("add", array, entries, values):
        return array
    places = np.arange(array.size).reshape(array.shape)[tuple(entries)].reshape(-1)
    add_rows(array.reshape(-1, 1), places, values.reshape(-1, 1))
    return array


def add_rows(out, rows, values):
    """``out[rows[i]] += values[i]`` for every i; `out` is ``(n, m)``, `values` ``(k, m)``."""
    count = len(out)
    if not rows.size or write_rows("add", out, rows, values, 0, from_end=True):
        return
    few = 8 * rows.size < count  # then it does not pay to go through all of `out`
    if out.shape[1] == 1 and not few and out.dtype in (np.float32, np.float64):
        sums = np.bincount(np.where(rows < 0, rows + count, rows), values[:, 0], count)
        out[:, 0] += sums.astype(out.dtype, copy=False)
        return
    rows = np.where(rows < 0, rows + count, rows)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if starts.size == rows.size:
        out[rows] += values
    else:
        out[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0, dtype=out.dtype)
