"""Which operands are worth the hand-written kernels' attention: a rule of shapes alone."""

import numpy as np

from iskra import graph


def is_large(*arrays):
    """Whether all are NumPy's own arrays and the largest has as many elements as a kernel needs."""
    large = False
    for array in arrays:
        if array.__class__ is not np.ndarray:
            return False
        large = large or array.size >= graph.LARGE
    return large


def has_elements(array):
    """Whether it is one of NumPy's own arrays, and not empty: for kernels that always pay."""
    return array.__class__ is np.ndarray and array.size > 0
