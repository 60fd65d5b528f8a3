"""Casting the tensor arguments of one operator call.

An operator declares ``autocast="lower"`` (the block's low dtype serves it well), ``"float32"`` (it
needs the range or precision), or ``"widest"`` (its tensors must agree). A composite that declares
nothing runs as the operators it is written in; with ``"keep"`` these are not cast either. Only
floating-point tensors on the block's device are cast, and float64 never is: who uses it wants it.
"""

from iskra.core import float32, float64
from iskra.core.local import local
from iskra.tensor import Tensor


def cast_arguments(op, args, kwargs, settings):
    """The arguments, with tensors cast by the policy that the operator declares."""
    tensors = []
    _collect((args, tuple(kwargs.values())), tensors, settings.enabled)
    if not tensors:
        return args, kwargs
    target = _target(op.autocast, tensors, settings)

    def cast(value):
        if isinstance(value, Tensor):
            if not _eligible(value, settings.enabled) or value._dtype is target:
                return value
            return cast_cached(value, target, settings)
        if value.__class__ in (list, tuple):
            return value.__class__([cast(item) for item in value])
        return value

    return tuple([cast(value) for value in args]), {k: cast(v) for k, v in kwargs.items()}


def _collect(value, found, devices):
    if isinstance(value, Tensor):
        if _eligible(value, devices):
            found.append(value)
    elif value.__class__ in (list, tuple):
        for item in value:
            _collect(item, found, devices)


def _eligible(tensor, devices):
    kind = tensor._dtype
    return kind.is_floating_point and kind is not float64 and tensor.device.type in devices


def _target(policy, tensors, settings):
    """The dtype that a call's operands are cast to."""
    if policy == "float32" or policy == "widest" and any(t._dtype is float32 for t in tensors):
        return float32
    return settings.dtypes[tensors[0].device.type]


def cast_cached(tensor, target, settings):
    """`tensor` in the dtype `target`; casts of parameters are kept while the block lasts.

    A kept cast serves only as long as the parameter has not been written since, and only casts
    that were recorded for backward are kept, so that one made under `no_grad` cuts no gradient.
    """
    keep = (
        settings.caching and settings.nesting and local.grad_enabled
        and tensor._requires_grad and tensor._base is None and tensor.is_leaf
        and tensor._dtype is float32
    )
    if not keep:
        return tensor.to(target)
    key = (id(tensor), target)
    entry = settings.cache.get(key)
    state = (tensor._array, tensor._version)
    if entry is not None and entry[1] is state[0] and entry[2] == state[1]:
        return entry[3]
    cast = tensor.to(target)
    # The entry holds the tensor, so that its id is not given to another one meanwhile.
    settings.cache[key] = (tensor, *state, cast)
    return cast
