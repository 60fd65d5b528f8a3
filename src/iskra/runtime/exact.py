"""Arithmetic with the last bit right: fused multiply-add and the C library's functions in NumPy.

PyTorch's samplers are compiled C++: ``a * b + c`` becomes one instruction that rounds once, and
``log`` is the C library's. NumPy rounds twice, and its vectorised ``log`` differs in the last bit
now and then. Streams equal bit for bit need these functions.
"""

import math

import numpy as np

from iskra.runtime.draws import kernels_for

_F4, _F8 = np.float32, np.float64
# Between two neighbouring float32 numbers lie 2**29 float64 numbers: this one is in the middle.
_BETWEEN, _MIDDLE = np.int64((1 << 29) - 1), np.int64(1 << 28)
_SPLIT = _F8((1 << 27) + 1)  # Dekker's constant: halves a float64 into two of 26 bits
_DOUBT = 2.0 ** -49  # more than the relative error of any of NumPy's float64 functions


def exp(x):
    """`math.exp`, but infinity where that raises OverflowError."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


# Of these there are kernels.
_NAMES = {
    math.log: "log", math.log1p: "log1p", exp: "exp", math.cos: "cos", math.sin: "sin",
    math.tan: "tan",
}


def libm(function, x):
    """Apply `function` of module `math`, thus of the C library, to each element of a float64 array.

    >>> import math
    >>> libm(math.sqrt, np.array([4.0, 9.0]))
    array([2., 3.])
    """
    kernels = kernels_for(x.size)
    if kernels and function in _NAMES:
        return kernels.libm(_NAMES[function], x)
    values = np.fromiter(map(function, x.ravel().tolist()), _F8, x.size)
    return values.reshape(x.shape)


def settle(estimate, finish, exact):
    """Return ``finish(exact values)``, computing few of them, as ``finish`` rounds coarsely.

    `estimate`: float64 array, right to a few units in the last place. `finish`: a monotone function
    on arrays that rounds (a cast to float32, a ceiling). `exact(indices)` returns the exact values
    at these places; it is asked only where the error of the estimate might show.
    """
    result = finish(estimate * (1 - _DOUBT))
    in_doubt = np.flatnonzero(result != finish(estimate * (1 + _DOUBT)))
    if in_doubt.size:
        result[in_doubt] = finish(exact(in_doubt))
    return result


def fma32(a, b, c):
    """``a * b + c`` of float32 arrays or numbers, rounded once to float32."""
    wide = np.multiply(a, b, dtype=_F8)  # exact: 24 + 24 bits fit into 53
    total = wide + _F8(c)
    bits = np.atleast_1d(total).view(np.int64)
    if ((bits & _BETWEEN) == _MIDDLE).any():
        # Rounded to the very middle of two float32s: the lost part says to which side it was.
        total = _toward(total, _lost_in_sum(wide, _F8(c), total))
    return total.astype(_F4)


def fma64(a, b, c):
    """``a * b + c`` of float64 arrays or numbers, rounded once (Boldo and Melquiond, 2008)."""
    a, b, c = np.asarray(a, _F8), np.asarray(b, _F8), np.asarray(c, _F8)
    if not c.any():
        return a * b + c
    kernels = kernels_for(a.size)
    if kernels and not b.ndim and not c.ndim:
        return kernels.fma64(a, b, c)
    product = a * b
    product_low = _lost_in_product(a, b, product)
    upper = c + product_low
    upper_low = _lost_in_sum(c, product_low, upper)
    total = product + upper
    total_low = _lost_in_sum(product, upper, total)
    rest = upper_low + total_low
    rest_low = _lost_in_sum(upper_low, total_low, rest)
    # Round the rest to odd: then the last addition cannot be misled by a false tie.
    is_even = (np.atleast_1d(rest).view(np.int64) & 1).reshape(rest.shape) == 0
    rest = np.where(is_even, _toward(rest, rest_low), rest)
    return total + rest


def _lost_in_sum(a, b, total):
    """The rounding error of ``total = a + b``, exactly (Knuth's TwoSum)."""
    b_part = total - a
    return (a - (total - b_part)) + (b - b_part)


def _lost_in_product(a, b, product):
    """The rounding error of ``product = a * b``, exactly (Dekker's TwoProduct)."""
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a):
    scaled = a * _SPLIT
    high = scaled - (scaled - a)
    return high, a - high


def _toward(x, direction):
    """The neighbour of `x` on the side of the sign of `direction`; `x` itself where that is 0."""
    return np.where(direction == 0, x, np.nextafter(x, np.copysign(np.inf, direction)))
