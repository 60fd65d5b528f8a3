"""Questions that operators' bodies ask of values, whatever kind of array these stand in.

A body may run on arrays, on the meta device's arrays without data, or on a trace's expressions,
whose values nobody knows yet. What a body asks in order to raise, or to take a shorter way, it
asks here.
"""

import numpy as np


def anywhere(condition):
    """Whether a condition holds at any element: for checks, which raise if it does.

    Without values the answer is no. A trace takes that for granted and has its kernels find out:
    where it is not so, the body runs on the arrays and raises.

    >>> anywhere(np.array([1, 0]) == 0), anywhere(np.array([1, 2]) == 0)
    (True, False)
    """
    found = condition if condition.__class__ is np.bool_ else np.any(condition)
    return found.doubt() if hasattr(found, "doubt") else bool(found)


def perhaps(condition):
    """Whether a condition of one element holds; yes where that is not known.

    For what need not be done if it does not hold, and changes nothing then.

    >>> perhaps(np.int64(3) > 2), perhaps(np.int64(1) > 2)
    (True, False)
    """
    return True if hasattr(condition, "doubt") else bool(condition)
