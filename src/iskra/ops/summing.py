"""Sums of small arrays as products with ones: BLAS begins sooner than NumPy's reductions."""

import numpy as np

# Up to this many elements BLAS does not use threads, whose number must not show in the bits.
SMALL = 2048
_ones = {}  # (length, dtype) -> vector


def _is_small(array):
    return array.__class__ is np.ndarray and 0 < array.size <= SMALL and array.dtype.kind == "f"


def _vector(length, dtype):
    ones = _ones.get((length, dtype))
    if ones is None:
        ones = _ones[length, dtype] = np.ones(length, dtype)
    return ones


def total(array):
    """The sum of all elements of a float array, without dimensions."""
    if _is_small(array) and array.itemsize > 2:
        return np.vdot(array, _vector(array.size, array.dtype))
    return np.add.reduce(array, axis=None)


def sum_rows(matrix):
    """The sum of a matrix's rows."""
    if _is_small(matrix) and matrix.itemsize > 2:
        return np.dot(_vector(matrix.shape[0], matrix.dtype), matrix)
    return np.add.reduce(matrix, axis=0)
