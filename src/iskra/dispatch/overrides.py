"""What may take an operator call over: interceptors and ``__torch_function__``.

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch
"""

from iskra.core.local import local
from iskra.tensor import Parameter, Tensor

_PLAIN = frozenset({Tensor, Parameter, int, float, bool, str, type(None), complex})


TAPED, FOREIGN = 1, 2


def scan(values):
    """What is among the arguments: tensors that (perhaps) require a gradient, foreign classes.

    Returns the sum of `TAPED` and `FOREIGN`, whichever applies.
    """
    flags = 0
    for value in values:
        cls = value.__class__
        if cls is Tensor or cls is Parameter:
            if value._requires_grad:
                flags |= TAPED
        elif cls in _PLAIN:
            continue
        elif cls is tuple or cls is list:
            flags |= scan(value)
        elif _overrides(cls):
            flags |= TAPED if local.torch_function_disabled else TAPED | FOREIGN
    return flags


def _overrides(cls):
    if issubclass(cls, Tensor):
        return not cls._plain
    return hasattr(cls, "__torch_function__")


def intercept(op, args, kwargs):
    """Let the innermost interceptor, or else an argument's class, handle the call.

    Returns ``(True, result)``, or ``(False, None)`` where nothing takes the call.
    """
    stack = local.interceptors
    if stack:
        local.interceptors = stack[:-1]
        try:
            return True, stack[-1].intercept(op, args, kwargs)
        finally:
            local.interceptors = stack
    if local.torch_function_disabled or not foreign_arguments([*args, *kwargs.values()]):
        return False, None
    return True, by_class(op, args, kwargs)


def by_class(op, args, kwargs):
    """Let the arguments' classes handle a call: the first that does not decline.

    Raises TypeError where all of them return NotImplemented.
    """
    foreign = foreign_arguments([*args, *kwargs.values()])
    types = tuple(dict.fromkeys(type(value) for value in foreign))
    for value in foreign:
        result = type(value).__torch_function__(op.public, types, args, kwargs)
        if result is not NotImplemented:
            return result
    names = ", ".join(t.__name__ for t in types)
    raise TypeError(
        f"no implementation found for 'iskra.{op.name}' on types that implement "
        f"__torch_function__: [{names}]"
    )


def foreign_arguments(values):
    """Arguments with ``__torch_function__``, subclasses before their bases."""
    found = []
    for value in values:
        if isinstance(value, (list, tuple)):
            found += [v for v in foreign_arguments(value) if v not in found]
        elif value.__class__ not in _PLAIN and _overrides(value.__class__):
            if not any(type(value) is type(f) for f in found):
                place = next(
                    (i for i, f in enumerate(found) if isinstance(value, type(f))), len(found)
                )
                found.insert(place, value)
    return found
