"""Matrix products of NumPy arrays in machine code.

>>> import numpy as np
>>> a, b = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
>>> matmul(a, b)
array([[3., 3., 3., 3.],
       [3., 3., 3., 3.]], dtype=float32)
"""

import math

import numpy as np

from iskra.codegen.kernels.gemm_call import After
from iskra.codegen.kernels.gemm_plan import Matrices, plan, wanted_orders
from iskra.runtime.memory import empty

_KINDS = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16"}

# What a call's shapes, strides and dtypes are -> what is to be done.
_calls = {}
_MOST_CALLS = 4096
_SMALL = 4096           # bytes of a result that is not worth recycling


class _Call:
    """What is to be done for operands of certain shapes and strides.

    shape: the result's; empty: what makes it; orders: how A and B are to be copied first, or None;
    plan: the kernels, or None where the result is empty; in_place: whether they can write to the
    `out` that was given.
    """

    __slots__ = ("shape", "empty", "orders", "plan", "in_place")


def matmul(a, b, out=None, bias=None, epilogue=None, residual=None, scale=None):
    """Return ``a @ b``, or ``epilogue(scale * (a @ b) + bias + residual)``.

    a, b: ndarrays of one dtype (float32, float64, float16, bfloat16), (..., M, K) and (..., K, N)
    with any strides; leading dimensions broadcast. A vector counts as a row on the left and as a
    column on the right, as in `numpy.matmul`. Narrow floats are summed up in float32.
    out: where the result goes; bias: an array that is added to each row; residual: an array of the
    result's shape; all of the operands' dtype. scale: a number. epilogue: a function of one value
    of the loop IR, applied before the result is rounded to a narrow dtype; one function object, one
    kernel.

    Raises ValueError for shapes that do not fit and TypeError for other dtypes.
    """
    if out is bias is epilogue is residual is scale is None:
        # Small products are to cost little more than the kernel.
        call = _calls.get((a.shape, a.strides, b.shape, b.strides, a.dtype, b.dtype))
        if call is not None and call.orders is None:
            result = call.empty(call.shape, a.dtype)
            if call.plan is not None:
                call.plan.run(a, b, result, None, None, 1.0)
            return result
    return _matmul(a, b, out, bias, epilogue, residual, scale)


def _matmul(a, b, out, bias, epilogue, residual, scale):
    """`matmul` in full."""
    place = None if out is None or out.flags.c_contiguous else out.strides
    after = After(scale is not None, bias is not None, residual is not None, epilogue)
    key = a.shape, a.strides, b.shape, b.strides, a.dtype, b.dtype
    if place is not None or any(after):
        key = *key, place, after
    call = _calls.get(key)
    if call is None:
        if a.shape[-1:] == b.shape[-2:][:1] == (0,):
            # Sums of nothing are 0: the product with one k of zeros.
            return _matmul(*_zeros_instead(a, b), out, bias, epilogue, residual, scale)
        call = _remember(key, _prepare(a, b, place, after))
    if bias is not None:
        bias = _operand(bias, call.shape[-1:], a.dtype, "bias")
    if residual is not None:
        residual = _operand(residual, call.shape, a.dtype, "residual")
    if out is None:
        result = call.empty(call.shape, a.dtype)
    else:
        result = _target(call, out, (a, b, bias, residual))
    if call.orders is not None:
        a, b = map(_arranged, (a, b), call.orders)
    if call.plan is not None:
        call.plan.run(a, b, result, bias, residual, 1.0 if scale is None else scale)
    if out is None or result is out:
        return result
    out[...] = result
    return out


def _remember(key, call):
    if len(_calls) >= _MOST_CALLS:
        _calls.clear()
    _calls[key] = call
    return call


def _zeros_instead(a, b):
    rows = a.shape[:-1] + (1,)
    columns = (1,) if b.ndim == 1 else b.shape[:-2] + (1,) + b.shape[-1:]
    return np.zeros(rows, a.dtype), np.zeros(columns, b.dtype)


def _operand(array, shape, dtype, name):
    """The array as the kernels take it: of just that shape, and contiguous."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} should be {_named(dtype, shape)}, not "
                         f"{_named(array.dtype, array.shape)}")
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _named(dtype, shape):
    return f"{dtype}{list(shape)}"


def _target(call, out, operands):
    """`out`, if the kernels can write there while they read the operands; else fresh memory."""
    dtype = operands[0].dtype
    if out.shape != call.shape or out.dtype != dtype:
        raise ValueError(f"out should be {_named(dtype, call.shape)}, not "
                         f"{_named(out.dtype, out.shape)}")
    if not call.in_place or any(o is not None and np.may_share_memory(out, o) for o in operands):
        return empty(call.shape, dtype)
    return out


def _arranged(array, order):
    """The array copied so that its rows, or its columns, lie side by side; None: as it lies."""
    if order is None:
        return array
    if order == "rows" or array.ndim == 1:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)


def _prepare(a, b, place, after):
    """Work out what to do for such operands."""
    kind = _kind(a.dtype, b.dtype)
    call = _Call()
    call.shape, call.orders, call.plan = _result_shape(a.shape, b.shape), None, None
    small = math.prod(call.shape) * a.itemsize < _SMALL
    call.empty = np.empty if small else empty
    call.in_place = place is None or _is_grid(place, call.shape, a.itemsize)
    if 0 in call.shape:
        return call
    c_row = place[0] // a.itemsize if place and call.in_place else None
    orders = ["rows" if any(s % x.itemsize for s in x.strides) else None for x in (a, b)]
    matrices = _matrices(kind, _arranged(a, orders[0]), _arranged(b, orders[1]), c_row)
    orders = [first or then for first, then in zip(orders, wanted_orders(matrices))]
    if any(orders):
        call.orders = tuple(orders)
        matrices = _matrices(kind, *map(_arranged, (a, b), orders), c_row)
    call.plan = plan(matrices, after)
    return call


def _kind(first, second):
    if first != second or first.name not in _KINDS or not first.isnative:
        raise TypeError(f"matmul takes two arrays of one of {', '.join(_KINDS)}, not {first} and "
                        f"{second}")
    return _KINDS[first.name]


def _result_shape(a, b):
    """The shape of a product, or ValueError."""
    if not a or not b or a[-1] != b[-2:][0]:
        raise ValueError(f"shapes {list(a)} and {list(b)} cannot be multiplied")
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return (*np.broadcast_shapes(a[:-2], b[:-2]), *rows, *columns)


def _is_grid(strides, shape, itemsize):
    """Whether the kernels can write to memory of such strides: a matrix of whole rows."""
    return len(shape) == 2 and strides[1] == itemsize and strides[0] % itemsize == 0


def _matrices(kind, a, b, c_row):
    """The operands as the kernels see them; c_row: the result's stride, None: it is contiguous."""
    a = a[None] if a.ndim == 1 else a
    b = b[:, None] if b.ndim == 1 else b
    a_strides, b_strides = ([s // x.itemsize for s in x.strides] for x in (a, b))
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    offsets = None
    if math.prod(b.shape[:-2]) == 1 and (folded := _folded(a.shape[:-1], a_strides[:-1])):
        # One matrix on the right: all rows on the left make one product.
        rows, a_strides[-2] = folded
    elif math.prod(batch) > 1:
        results = _starts(batch, batch, [rows * columns * s for s in _contiguous(batch)])
        offsets = np.stack([_starts(a.shape[:-2], batch, a_strides[:-2]),
                            _starts(b.shape[:-2], batch, b_strides[:-2]), results], axis=1)
    if offsets is not None:
        offsets.flags.writeable = False  # as tables of kernels are
    return Matrices(kind, rows, columns, inner, tuple(a_strides[-2:]), tuple(b_strides[-2:]),
                    columns if c_row is None else c_row, offsets, columns)


def _folded(shape, strides):
    """Leading dimensions made into one: (size, stride), or None if they do not lie regularly."""
    dimensions = [(n, s) for n, s in zip(shape, strides) if n != 1]
    if not dimensions:
        return 1, strides[-1]
    for (_, outer), (size, stride) in zip(dimensions, dimensions[1:]):
        if outer != size * stride:
            return None
    return math.prod(shape), dimensions[-1][1]


def _contiguous(shape):
    return [math.prod(shape[i + 1:]) for i in range(len(shape))]


def _starts(shape, batch, strides):
    """Where the matrices of an operand start, for each of the broadcast batch."""
    starts = np.zeros((1,) * len(shape), np.int64)
    for axis, (size, stride) in enumerate(zip(shape, strides)):
        steps = np.arange(size, dtype=np.int64) * stride
        starts = starts + steps.reshape(-1, *(1,) * (len(shape) - axis - 1))
    return np.broadcast_to(starts, batch).reshape(-1)
