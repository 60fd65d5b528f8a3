"""``iskra.overrides``: what libraries that extend tensors through ``__torch_function__`` ask for.

Source: https://docs.pytorch.org/docs/stable/torch.overrides.html
"""

import functools

from iskra import ops
from iskra.core.local import local
from iskra.dispatch import OPERATORS, TorchFunctionMode
from iskra.dispatch.overrides import foreign_arguments
from iskra.tensor import Tensor

__all__ = [
    "BaseTorchFunctionMode", "TorchFunctionMode", "get_ignored_functions",
    "get_overridable_functions", "handle_torch_function", "has_torch_function",
    "is_tensor_like", "is_tensor_method_or_property", "resolve_name", "wrap_torch_function",
]


class BaseTorchFunctionMode(TorchFunctionMode):
    """A `TorchFunctionMode` that runs every call as it is."""


def is_tensor_like(inp):
    """Whether `inp` is a tensor or its class has ``__torch_function__``.

    >>> import iskra as torch
    >>> torch.overrides.is_tensor_like(torch.ones(1)), torch.overrides.is_tensor_like([1.0])
    (True, False)
    """
    return isinstance(inp, Tensor) or hasattr(type(inp), "__torch_function__")


def has_torch_function(relevant_args):
    """Whether a mode is active, or one of the arguments overrides ``__torch_function__``.

    >>> import iskra as torch
    >>> torch.overrides.has_torch_function((torch.ones(1), 2))
    False
    """
    return bool(_modes()) or (
        not local.torch_function_disabled and bool(foreign_arguments(relevant_args))
    )


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """Let the innermost mode, or the classes of `relevant_args`, handle a call of `public_api`.

    Raises TypeError where none of them does.
    """
    foreign = foreign_arguments(relevant_args)
    types = tuple(dict.fromkeys(type(value) for value in foreign))
    modes = _modes()
    if modes:
        stack = local.interceptors
        local.interceptors = stack[: stack.index(modes[-1])]
        try:
            result = modes[-1].__torch_function__(public_api, types, args, kwargs)
        finally:
            local.interceptors = stack
        if result is not NotImplemented:
            return result
    for value in foreign:
        result = type(value).__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    name = f"{getattr(public_api, '__module__', None)}.{public_api.__name__}"
    raise TypeError(
        f"no implementation found for '{name}' on types that implement __torch_function__: "
        f"{[t.__name__ for t in types]}"
    )


def _modes():
    return [i for i in local.interceptors if isinstance(i, TorchFunctionMode)]


def wrap_torch_function(dispatcher):
    """Decorate a function so that ``dispatcher(*args, **kwargs)``'s tensors may take it over.

    Source: https://docs.pytorch.org/docs/stable/torch.overrides.html
    """

    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapper, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapper

    return decorate


def get_ignored_functions():
    """The functions that ``__torch_function__`` never sees: those that make tensors of none."""
    found = {op.public for op in OPERATORS.values() if not op.operands and op.function}
    return found | {is_tensor_like, has_torch_function, handle_torch_function}


def get_overridable_functions():
    """The functions that ``__torch_function__`` may take over, by the place they are found at.

    >>> import iskra as torch
    >>> torch.exp in torch.overrides.get_overridable_functions()["iskra"]
    True
    """
    found = {}
    for op in OPERATORS.values():
        if op.operands:
            for place in _places(op):
                found.setdefault(place, []).append(op.public)
    return found


def _places(op):
    if op.function:
        for namespace in op.namespace.split():
            yield "iskra" if namespace == "torch" else f"iskra.{namespace}"
    if op.method:
        yield "iskra.Tensor"


def is_tensor_method_or_property(func):
    """Whether `func` is a method of `Tensor`, or the getter of one of its properties."""
    name = getattr(func, "__name__", None)
    if name == "__get__":
        return True
    operator = getattr(func, "operator", None)
    if operator is not None and not getattr(operator, "function", True):
        return True
    return name in vars(Tensor) and getattr(ops, name, None) is not func


def resolve_name(f):
    """The name that `f` is called by, such as ``"iskra.exp"``; None for an unknown function.

    >>> import iskra as torch
    >>> torch.overrides.resolve_name(torch.nn.functional.mse_loss)
    'iskra.nn.functional.mse_loss'
    """
    operator = getattr(f, "operator", None)
    if operator is None:
        name = getattr(f, "__name__", None)
        return f"iskra.Tensor.{name}" if vars(Tensor).get(name) is f else None
    base = getattr(operator, "base", operator)
    name = operator.name
    place = next(_places(base), None)
    if place is None:
        return None
    prefix = place.removeprefix("iskra.") + "_"
    return f"{place}.{name.removeprefix(prefix)}"
