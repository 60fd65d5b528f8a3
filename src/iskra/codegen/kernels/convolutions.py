"""Convolutions of NumPy arrays in machine code.

>>> import numpy as np
>>> x, w = np.ones((1, 2, 3, 3), np.float32), np.ones((1, 2, 2, 2), np.float32)
>>> convolve(x, w, (1, 1), (0, 0), (1, 1), 1)
array([[[[8., 8.],
         [8., 8.]]]], dtype=float32)
"""

import math

import numpy as np

from iskra.codegen.kernels.conv_geometry import Geometry
from iskra.codegen.kernels.conv_plan import (
    Formats,
    ForwardPlan,
    InputGradientPlan,
    WeightGradientPlan,
    first_channels,
    last_channels,
)
from iskra.codegen.kernels.gemm_call import After

_KINDS = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16"}

# What a call's shapes, settings and dtypes are -> its kernels.
_plans = {}
_MOST_PLANS = 1024


def convolve(x, w, stride, padding, dilation, groups, bias=None, epilogue=None):
    """Return the convolution of x (N, C, *S) with w (O, C / groups, *K), an array (N, O, *L).

    x, w: ndarrays of one dtype (float32, float64, float16, bfloat16), of one to three spatial
    dimensions; if either has its channels last in memory, so has the result. stride, padding,
    dilation: tuples with an entry for each dimension. bias: O values of that dtype; epilogue: a
    function of one value of the loop IR, applied to what is stored.

    Raises TypeError for other dtypes and ValueError for shapes that do not fit.
    """
    if bias is not None and (bias.shape != w.shape[:1] or bias.dtype != x.dtype):
        raise ValueError(f"bias should be {x.dtype}{[w.shape[0]]}, not "
                         f"{bias.dtype}{list(bias.shape)}")
    x, w, formats = _dense(x, w)
    key = ("forward", x.shape, w.shape, x.dtype, w.dtype, stride, padding, dilation, groups,
           bias is None, epilogue, formats)
    plan = _plans.get(key)
    if plan is None:
        geometry = _geometry(x.shape, w.shape, stride, padding, dilation, groups)
        after = After(bias=bias is not None, function=epilogue)
        formats = Formats(*formats, min(formats))
        plan = _remember(key, ForwardPlan(geometry, _kind(x, w), after, formats))
    return plan.run(x, w, bias if bias is None else np.ascontiguousarray(bias))


def worthwhile(x, w):
    """Whether `convolve` and its gradients take these arrays and are expected to be quicker than
    NumPy: by dtypes and shapes alone. It is the first call, which compiles, that may not pay."""
    fits = x.dtype == w.dtype and x.dtype.name in _KINDS and x.dtype.isnative
    return fits and x.size * math.prod(w.shape[2:]) > 1000


def convolve_input(grad, w, size, stride, padding, dilation, groups):
    """Return the gradient of `convolve` for its input, of spatial shape `size`, given that for its
    result."""
    grad, w, formats = _dense(grad, w)
    key = ("input", grad.shape, w.shape, size, grad.dtype, w.dtype, stride, padding, dilation,
           groups, formats)
    plan = _plans.get(key)
    if plan is None:
        shape = (grad.shape[0], w.shape[1] * groups, *size)
        geometry = _geometry(shape, w.shape, stride, padding, dilation, groups, grad.shape)
        formats = Formats(min(formats), formats[1], formats[0])
        plan = _remember(key, InputGradientPlan(geometry, _kind(grad, w), formats))
    return plan.run(grad, w)


def convolve_weight(grad, x, kernel, stride, padding, dilation, groups):
    """Return the gradient of `convolve` for its weight, of spatial shape `kernel`, given that for
    its result."""
    grad, x, formats = _dense(grad, x)
    key = ("weight", grad.shape, x.shape, kernel, grad.dtype, x.dtype, stride, padding, dilation,
           groups, formats)
    plan = _plans.get(key)
    if plan is None:
        shape = (grad.shape[1], x.shape[1] // groups, *kernel)
        geometry = _geometry(x.shape, shape, stride, padding, dilation, groups, grad.shape)
        formats = Formats(formats[1], min(formats), formats[0])
        plan = _remember(key, WeightGradientPlan(geometry, _kind(grad, x), formats))
    return plan.run(grad, x)


def _remember(key, plan):
    if len(_plans) >= _MOST_PLANS:
        _plans.clear()
    _plans[key] = plan
    return plan


def _dense(*arrays):
    """The arrays, copied unless their elements lie densely with their channels first or last; and
    for each whether they come first."""
    first = tuple(not _channels_last(array) for array in arrays)
    return (*(first_channels(a) if f else last_channels(a) for a, f in zip(arrays, first)), first)


def _channels_last(array):
    """Whether an array's strides say that its channels lie side by side, by PyTorch's rule; where
    sizes of 1 leave both possible, they come first."""
    if array.flags.c_contiguous and 1 not in array.shape or array.ndim != 4:
        return False
    least = 0
    strides, shape = array.strides, array.shape
    if not strides[1]:
        return False
    for axis in (1, 3, 2, 0):
        if strides[axis] < least or axis == 0 and least == strides[1]:
            return False
        least = strides[axis] * max(shape[axis], 1)
    return True


def _kind(first, second):
    dtype = first.dtype
    if dtype != second.dtype or dtype.name not in _KINDS or not dtype.isnative:
        raise TypeError(f"convolutions take two arrays of one of {', '.join(_KINDS)}, not "
                        f"{dtype} and {second.dtype}")
    return _KINDS[dtype.name]


def _geometry(x, w, stride, padding, dilation, groups, result=None):
    """The sizes of a convolution of these shapes, or ValueError."""
    settings = (stride, padding, dilation)
    fits = len(x) == len(w) > 2 and all(len(s) == len(x) - 2 for s in settings)
    if not fits or x[1] != w[1] * groups or w[0] % groups or 0 in (*x, *w):
        raise ValueError(f"an input {list(x)} cannot be convolved with a weight {list(w)} in "
                         f"{groups} groups")
    geometry = Geometry(x[0], groups, (w[1], w[0] // groups), x[2:], w[2:], *settings)
    expected = (x[0], w[0], *geometry.output)
    if min(expected) < 1 or result not in (None, expected):
        raise ValueError(f"an input {list(x)} convolved with a weight {list(w)} has the shape "
                         f"{list(expected)}" + (f", not {list(result)}" if result else ""))
    return geometry
