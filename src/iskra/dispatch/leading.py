"""The short path of operators whose operands come first: linear, mm, mse_loss."""

import numpy as np

from iskra.autograd.node import gradient_edge
from iskra.core.dtypes import of_numpy
from iskra.core.local import active, local
from iskra.dispatch.execute import quiet_run
from iskra.dispatch.operator import bind
from iskra.dispatch.shortcuts import _are_settings, general, wrapped
from iskra.dispatch.tape import hang, record
from iskra.tensor import Parameter, Tensor

new = object.__new__
ndarray = np.ndarray
_SETTINGS = frozenset({int, float, bool, str, type(None)})


def leading(op):
    """The function of `op`: one walk over its arguments where they are small plain tensors of one
    dtype, followed by settings. All other calls go on in what `general` makes.
    """
    body, taken, computes = op.body, op.taken, op.computes
    otherwise = general(op)

    quick = op.quick

    def function(*args, **kwargs):
        result = quick.call(*args, **kwargs)
        if result is not None:
            return quick.record(result[0], args, kwargs) if result.__class__ is list else result
        if active.intercepting or kwargs and not _are_settings(op, kwargs):
            return otherwise(*args, **kwargs)
        arrays, edges = [], []
        kind, taped, wanted, bit = None, False, 0, 1
        for value in args:
            cls = value.__class__
            edge = None
            if cls is Tensor or cls is Parameter:
                if value._dtype is not kind:
                    if kind is not None:
                        return otherwise(*args, **kwargs)
                    kind = value._dtype
                if value._requires_grad:
                    taped = True
                    edge = value._edge or gradient_edge(value)
                    if edge is not None:
                        wanted |= bit
                value = value._array
                if value.__class__ is not ndarray or value.size >= op.large:
                    return otherwise(*args, **kwargs)
            elif cls not in _SETTINGS or value is not None and bit <= op.last_operand:
                return otherwise(*args, **kwargs)
            arrays.append(value)
            edges.append(edge)
            bit <<= 1
        if not taken.get(kind):
            return otherwise(*args, **kwargs)
        try:
            result = quiet_run(body, *arrays, **kwargs) if computes else body(*arrays, **kwargs)
        except Exception:  # the whole path says what is wrong
            return otherwise(*args, **kwargs)
        if result.__class__ is ndarray:
            array, result = result, new(Tensor)
            result._array = array
            result._dtype = of_numpy(array.dtype)
        else:
            result = wrapped(op, result)
            if result is None:
                return otherwise(*args, **kwargs)
        if quick.learning and computes:
            quick.miss(args, kwargs)
        if taped and op.formulas and (not active.without_grad or local.grad_enabled):
            bound = bind(op, args, kwargs) if kwargs else args + op.signature.defaults[len(args):]
            count = op.leading_targets
            if wanted >> count or not count:
                record(op, bound, result)
            elif wanted:
                edges = edges[:count]
                edges += [None] * (len(op.targets) - len(edges))
                hang(op, wanted, edges, bound, result)
        return result

    return function
