"""Sums of small arrays as products with ones: BLAS begins sooner than NumPy's reductions."""

import numpy as np

# Up to this many elements BLAS does not use threads, whose number must not show in the bits.
SMALL = 2048
_ones = {}  # (length, dtype) -> vector


def total(array):
    """The sum of all elements of a float array, without dimensions."""
    if array.__class__ is np.ndarray and array.size <= SMALL:
        ones = _ones.get((array.size, array.dtype))
        if ones is None:
            ones = _new_ones(array.size, array.dtype)
        if ones is not None:
            return array.ravel().dot(ones)
    return np.add.reduce(array, axis=None)


def sum_rows(matrix):
    """The sum of a matrix's rows."""
    if matrix.__class__ is np.ndarray and matrix.size <= SMALL:
        ones = _ones.get((matrix.shape[0], matrix.dtype))
        if ones is None:
            ones = _new_ones(matrix.shape[0], matrix.dtype)
        if ones is not None:
            return ones.dot(matrix)
    return np.add.reduce(matrix, axis=0)


def _new_ones(length, dtype):
    """A vector of ones to multiply with; None where NumPy's reductions do better."""
    if not length or dtype.char not in "fd":
        return None
    if len(_ones) > 100:
        _ones.clear()
    ones = _ones[length, dtype] = np.ones(length, dtype)
    return ones
