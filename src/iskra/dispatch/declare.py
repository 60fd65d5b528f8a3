"""How an operator is declared: a decorator over its body, written in the language of NumPy.

The body runs on arrays. NumPy arrays give the reference answer; anything else that speaks
NumPy's protocols (CuPy's arrays, the meta device's, a recorder's symbols) gives another.
The docstring of the body is the public documentation, its signature the public signature.
"""

import inspect

from iskra.dispatch.door import complete, perform
from iskra.dispatch.execute import RUNNERS, refuse_non_tensor, run_general
from iskra.dispatch.operator import NONE, SAME, Operator, body_operands, register
from iskra.dispatch.quick import QuickCalls
from iskra.dispatch.shortcuts import (
    binary,
    composed,
    general,
    mapping,
    several_views,
    unary,
    viewing,
)
from iskra.dispatch.variants import make_inplace, write_out, write_result


def pointwise(promote=SAME, **fields):
    """Each element of the result depends on the operands' elements at its place.

    Operands (parameters without a default, or those named by `operands`) are promoted
    (`SAME`, or `FLOAT` where integers become the default dtype) and broadcast. Keyword-only
    parameters are settings. `ufunc` names the NumPy function that the body amounts to when all
    settings have their defaults; with it the body may be only its docstring.
    `grad`: see `iskra.dispatch.operator.Formula`; gradients are summed over broadcast
    dimensions and converted to each operand's dtype by the engine.
    """
    fields.setdefault("inplace", True)
    return _decorator("pointwise", promote=promote, computes=True, **fields)


def reduction(promote=NONE, **fields):
    """A result with fewer dimensions: parameters `dim` and `keepdim` as NumPy's axis, keepdims.

    `dim` arrives resolved: None or a tuple of non-negative ints (an int for one). A `dtype`
    parameter converts the operand before the body runs.
    """
    fields.setdefault("computes", True)
    return _decorator("reduction", promote=promote, **fields)


def view(**fields):
    """The result shares the operand's memory: the body returns a NumPy view of its array."""
    fields.setdefault("out", False)
    return _decorator("view", **fields)


def fused(promote=NONE, **fields):
    """Several maps and reductions that a compiler may run as few kernels: softmax, layer_norm."""
    fields.setdefault("computes", True)
    return _decorator("fused", promote=promote, **fields)


def operator(promote=NONE, **fields):
    """Anything else: the body may do what it likes with the arrays.

    Set ``computes=True`` where it does arithmetic, so that float16 and bfloat16 are computed in
    float32 and NumPy's floating-point warnings stay quiet; ``computes="narrow"`` if the body takes
    them as they are. float32 results are then stored in their dtype.
    """
    return _decorator("general", promote=promote, **fields)


def composite(**fields):
    """Written in other operators: the body takes and returns tensors, and needs no gradient."""
    fields.setdefault("out", False)
    return _decorator("composite", **fields)


def _decorator(kind, **fields):
    def declare(body):
        op = Operator(body, kind, **fields)
        register(op)
        op.run = RUNNERS.get(kind, run_general)
        op.quick = QuickCalls(op)
        op.perform = _perform_composite if kind == "composite" else perform
        op.out_variant = lambda bound, out, result=None: write_out(op, bound, out, result)
        op.write = lambda bound: write_result(op, op.name + "_", bound)
        op.public = _public(op, body)
        if op.short is None:
            op.short = op.public
        if op.inplace:
            op.inplace_variant = make_inplace(op)
        return op.public

    return declare


def _perform_composite(op, bound, flags):
    try:
        return op.compute(bound)
    except AttributeError as error:
        refuse_non_tensor(op, bound, error)
        raise


def _public(op, body):
    """The function that users call: the door's, with the body's name, signature and docs."""
    function = _template(op)(op)
    name = op.name
    function.__name__ = function.__qualname__ = name
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
    function.__doc__ = body.__doc__
    function.__module__ = body.__module__
    function.__wrapped__ = body  # inspect.signature shows the body's parameters
    function.operator = op
    return function


def _template(op):
    """Which short path fits the operator's kind and signature (told without working it out)."""
    code = op.body.__code__
    starred = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if op.kind == "pointwise":
        return _pointwise_template(op, code)
    if op.kind == "composite" and op.variadic is None:
        return composed
    if starred or op.storage:
        return complete
    if op.kind == "view":
        return viewing if op.outputs == 1 else several_views
    if op.variadic is not None:
        return mapping if op.repeats else complete
    if "inplace" in code.co_varnames:
        return complete
    return general


def _pointwise_template(op, code):
    positional = code.co_argcount
    required = positional - len(op.body.__defaults__ or ())
    if body_operands(op) != required:
        return mapping
    if required == 1:
        return unary
    return binary if required == positional == 2 else mapping
