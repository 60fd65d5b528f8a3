"""The one door: every operator call passes here.

A call promotes its operands, runs the operator's body on their arrays, wraps what comes out and
records the call for backward. `unary` and `binary` make the functions of pointwise operators
with a short path for plain tensors of one dtype; every other call, and every call that this
path cannot finish, goes through `call`, which is complete.
"""

import numpy as np

from iskra.core.local import active, local
from iskra.dispatch.execute import constant, quiet_run
from iskra.dispatch.operator import bind
from iskra.dispatch.overrides import FOREIGN, intercept, scan
from iskra.dispatch.tape import record
from iskra.tensor import Parameter, Tensor
from iskra.tensor.tensor import _new

ndarray = np.ndarray

def call(op, args, kwargs):
    """Run one operator call, whatever its arguments."""
    flags = scan(args)
    if kwargs:
        flags |= scan(kwargs.values())
    if active.intercepting or flags & FOREIGN:
        handled, result = intercept(op, args, kwargs)
        if handled:
            return result
    if kwargs and op.out and "out" in kwargs:
        kwargs = dict(kwargs)
        out = kwargs.pop("out")
        if out is not None:
            return op.out_variant(bind(op, args, kwargs), out)
    bound = bind(op, args, kwargs)
    if op.inplace_flag is not None and bound[op.inplace_flag]:
        return op.write(bound)
    return op.perform(op, bound, flags)


def perform(op, bound, flags):
    """Execute a call that nothing intercepts, and record it if its tensors ask for it."""
    result = op.run(op, bound)
    if active.intercepting and local.inference:
        mark_inference(result)
    elif flags and op.formulas:
        record(op, bound, result)
    return result


def mark_inference(result):
    """Results made in inference mode can never join a graph."""
    for tensor in result if isinstance(result, (tuple, list)) else (result,):
        if tensor is not None:
            tensor._is_inference = True


def unary(op):
    """The public function of a pointwise operator with one operand."""
    plans = op.plans
    defaults = op.settings

    def function(input, **settings):
        if (input.__class__ is Tensor or input.__class__ is Parameter) and not active.intercepting:
            plan = plans.get(input._dtype)
            if plan is not None and not settings:
                try:
                    array = quiet_run(plan[0], input._array)
                except Exception:
                    return call(op, (input,), settings)
                if array.__class__ is not ndarray:
                    return call(op, (input,), settings)
                result = _new(Tensor)
                result._array = array
                result._dtype = plan[1]
                if input._requires_grad:
                    record(op, (input,) + defaults, result)
                return result
        return call(op, (input,), settings)

    return function


_not_inplace = {"inplace": False}


def unary_with_settings(op):
    """The same where positional settings follow, as in `relu(input, inplace=False)`."""
    plans = op.plans
    defaults = op.signature.defaults[1:]

    def function(input, *rest, **settings):
        if (input.__class__ is Tensor or input.__class__ is Parameter) and not active.intercepting:
            plan = plans.get(input._dtype)
            if plan is not None and not rest and (not settings or settings == _not_inplace):
                try:
                    array = quiet_run(plan[0], input._array)
                except Exception:
                    return call(op, (input,), settings)
                if array.__class__ is not ndarray:
                    return call(op, (input,), settings)
                result = _new(Tensor)
                result._array = array
                result._dtype = plan[1]
                if input._requires_grad:
                    record(op, (input,) + defaults, result)
                return result
        return call(op, (input, *rest), settings)

    return function


def binary(op):
    """The public function of a pointwise operator with two operands."""
    plans = op.plans
    defaults = op.settings

    def function(input, other, **settings):
        if (input.__class__ is Tensor or input.__class__ is Parameter) and not settings:
            kind = input._dtype
            if kind in plans and not active.intercepting:
                compute, result_dtype = plans[kind]
                cls = other.__class__
                if cls is Tensor or cls is Parameter:
                    if other._dtype is not kind:
                        return call(op, (input, other), settings)
                    operand = other._array
                    taped = input._requires_grad or other._requires_grad
                elif (cls is float or cls is int) and kind.is_floating_point:
                    operand = constant(other, kind)
                    taped = input._requires_grad
                else:
                    return call(op, (input, other), settings)
                try:
                    array = quiet_run(compute, input._array, operand)
                except Exception:
                    return call(op, (input, other), settings)
                if array.__class__ is not ndarray:
                    return call(op, (input, other), settings)
                result = _new(Tensor)
                result._array = array
                result._dtype = result_dtype
                if taped:
                    record(op, (input, other) + defaults, result)
                return result
        return call(op, (input, other), settings)

    return function


def general(op):
    """The public function of any other operator."""

    def function(*args, **kwargs):
        return call(op, args, kwargs)

    return function

