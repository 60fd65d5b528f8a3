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
from iskra.codegen.kernels.conv_plan import ForwardPlan, InputGradientPlan, weight_gradient_plan
from iskra.codegen.kernels.gemm_call import After

_KINDS = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16"}

# What a call's shapes, settings and dtypes are -> its kernels.
_plans = {}
_MOST_PLANS = 1024


def convolve(x, w, stride, padding, dilation, groups, bias=None, epilogue=None):
    """Return the convolution of x (N, C, *S) with w (O, C / groups, *K), an array (N, O, *L).

    x, w: ndarrays of one dtype (float32, float64, float16, bfloat16), of one to three spatial
    dimensions; stride, padding, dilation: tuples with an entry for each. bias: O values of that
    dtype; epilogue: a function of one value of the loop IR, applied to what is stored.

    Raises TypeError for other dtypes and ValueError for shapes that do not fit.
    """
    if bias is not None and (bias.shape != w.shape[:1] or bias.dtype != x.dtype):
        raise ValueError(f"bias should be {x.dtype}{[w.shape[0]]}, not "
                         f"{bias.dtype}{list(bias.shape)}")
    key = ("forward", x.shape, w.shape, x.dtype, w.dtype, stride, padding, dilation, groups,
           bias is None, epilogue)
    plan = _plans.get(key)
    if plan is None:
        geometry = _geometry(x.shape, w.shape, stride, padding, dilation, groups)
        after = After(bias=bias is not None, function=epilogue)
        plan = _remember(key, ForwardPlan(geometry, _kind(x, w), after))
    return plan.run(*map(_contiguous, (x, w, bias)))


def worthwhile(x, w):
    """Whether `convolve` and its gradients take these arrays and are expected to be quicker than
    NumPy: by dtypes and shapes alone. It is the first call, which compiles, that may not pay."""
    fits = x.dtype == w.dtype and x.dtype.name in _KINDS and x.dtype.isnative
    return fits and x.size * math.prod(w.shape[2:]) > 1000


def convolve_input(grad, w, size, stride, padding, dilation, groups):
    """Return the gradient of `convolve` for its input, of spatial shape `size`, given that for its
    result."""
    key = "input", grad.shape, w.shape, size, grad.dtype, w.dtype, stride, padding, dilation, groups
    plan = _plans.get(key)
    if plan is None:
        shape = (grad.shape[0], w.shape[1] * groups, *size)
        geometry = _geometry(shape, w.shape, stride, padding, dilation, groups, grad.shape)
        plan = _remember(key, InputGradientPlan(geometry, _kind(grad, w)))
    return plan.run(_contiguous(grad), _contiguous(w))


def convolve_weight(grad, x, kernel, stride, padding, dilation, groups):
    """Return the gradient of `convolve` for its weight, of spatial shape `kernel`, given that for
    its result."""
    key = ("weight", grad.shape, x.shape, kernel, grad.dtype, x.dtype, stride, padding, dilation,
           groups)
    plan = _plans.get(key)
    if plan is None:
        shape = (grad.shape[1], x.shape[1] // groups, *kernel)
        geometry = _geometry(x.shape, shape, stride, padding, dilation, groups, grad.shape)
        plan = _remember(key, weight_gradient_plan(geometry, _kind(grad, x)))
    return plan.run(_contiguous(grad), _contiguous(x))


def _remember(key, plan):
    if len(_plans) >= _MOST_PLANS:
        _plans.clear()
    _plans[key] = plan
    return plan


def _contiguous(array):
    return array if array is None or array.flags.c_contiguous else np.ascontiguousarray(array)


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
