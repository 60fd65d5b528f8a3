"""Operators that make tensors out of no tensors: zeros, arange, tensor, rand.

They have no operands, so nothing is promoted, recorded or taken over by an argument's class.
Only interceptors (modes) see them, so that their functions can be a short path past the door.
"""

from iskra.core.local import active
from iskra.dispatch import door
from iskra.dispatch.operator import Operator, register
from iskra.dispatch.variants import write_out


def creation(*, variadic=None, out=True, **fields):
    """Declare a function that makes tensors; its body gets the arguments and returns a Tensor.

    ``variadic="size"`` lets ``f(2, 3)`` mean ``f((2, 3))``. With ``out=True`` the function also
    takes ``out=``, a tensor to write into.
    """

    def declare(body):
        op = Operator(
            body, "composite", operands="", variadic=variadic, out=out, method=False, **fields
        )
        register(op)
        op.perform = _perform
        op.out_variant = lambda bound, out: _write_out(op, bound, out)
        op.public = _public(op, body)
        return op.public

    return declare


def _perform(op, bound, flags):
    return op.compute(bound)


def _write_out(op, bound, out):
    """Write into `out`; without a `dtype` the values are made in the dtype of `out`."""
    index = op.signature.position.get("dtype")
    kind = getattr(out, "_dtype", None)
    if index is not None and kind is not None:
        given = bound[index]
        if given is not None and given is not kind:
            raise RuntimeError(
                f"{op.name}: dtype {given} does not match dtype of out parameter ({kind})"
            )
        bound = (*bound[:index], kind, *bound[index + 1:])
    return write_out(op, bound, out)


def _public(op, body):
    """The function that users call, with the body's name, signature and docs."""
    code = body.__code__  # where sizes may also be given one by one: where they begin
    variadic = None if op.variadic is None else code.co_varnames.index(op.variadic)
    takes_out = op.out

    def function(*args, **kwargs):
        if active.intercepting or takes_out and "out" in kwargs:
            return door.call(op, args, kwargs)
        if variadic is not None and len(args) > variadic:
            rest = args[variadic:]
            if len(rest) > 1 or hasattr(rest[0], "__index__"):
                args = (*args[:variadic], rest)
        return body(*args, **kwargs)

    name = op.name
    function.__name__ = function.__qualname__ = name
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=name)
    function.__doc__ = body.__doc__
    function.__module__ = body.__module__
    function.__wrapped__ = body  # inspect.signature shows the body's parameters
    function.operator = op
    return function
