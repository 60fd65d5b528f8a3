"""Run a function of the vector mathematics over arrays, for tests and reports."""

import ctypes
import functools

import numpy as np

from iskra.codegen import lower
from iskra.codegen.ir import Function, Type
from iskra.codegen.mathematics import FUNCTIONS
from iskra.runtime import jit

_KINDS = {"float32": "f32", "float64": "f64"}


def kernel(name, kind, arity, lanes=16, *constants):
    """The kernel ``out[i] = FUNCTIONS[name](a[i], b[i], *constants)``.

    Slots: the number of elements, the result, the operands; all of them contiguous.
    """
    f = Function(f"evaluate_{name}")
    count, result, type = f.slot(0, "i64"), f.slot(1, "ptr"), Type(kind, lanes)
    with f.loop(0, count, lanes) as i:
        mask = f.lanes_below(count - i, lanes)
        operands = [f.load(f.slot(2 + n, "ptr"), i, type, mask) for n in range(arity)]
        f.store(FUNCTIONS[name](*operands, *constants), result, i, mask)
    return f


@functools.cache
def _machine_code(name, kind, arity, lanes, *constants):
    text = lower.text(kernel(name, kind, arity, lanes, *constants))
    address = jit.load(text).address(f"evaluate_{name}")
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)


def evaluate(name, *operands, lanes=16, constants=()):
    """The function of that name of each element, as machine code computes it.

    operands: arrays of float32 or of float64, of one shape. Returns a new array. Raises KeyError
    for an unknown name or dtype.

    >>> import numpy as np
    >>> evaluate("exp2", np.array([0, 1, 5], np.float32))
    array([ 1.,  2., 32.], dtype=float32)
    """
    arrays = [np.ascontiguousarray(a) for a in np.broadcast_arrays(*operands)]
    kind = _KINDS[arrays[0].dtype.name]
    out = np.empty_like(arrays[0])
    slots = np.array([out.size, out.ctypes.data, *(a.ctypes.data for a in arrays)], np.int64)
    _machine_code(name, kind, len(arrays), lanes, *constants)(slots.ctypes.data, 0)
    return out
