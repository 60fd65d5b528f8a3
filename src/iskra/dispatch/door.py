"""The one door: every operator call passes here.

A call lets interceptors have it, binds its arguments, promotes its operands, runs the operator's
body on their arrays, wraps what comes out and records the call for backward. Ordinary calls take a
short path past some of these steps (`iskra.dispatch.shortcuts`); what a short path cannot finish
comes here.
"""

from iskra.core.local import active, local
from iskra.dispatch.execute import refuse_non_tensor
from iskra.dispatch.operator import bind
from iskra.dispatch.overrides import FOREIGN, intercept, scan
from iskra.dispatch.tape import record


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
    try:
        result = op.run(op, bound)
    except AttributeError as error:
        if op.function:  # otherwise the composite that calls it says it better
            refuse_non_tensor(op, bound, error)
        raise
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


def complete(op):
    """The function of an operator without a short path."""

    def function(*args, **kwargs):
        return call(op, args, kwargs)

    return function
