"""What autocast is set to in a thread, and what casts the operands while it is on.

One interceptor does the casting. It lies at the outermost place among a thread's interceptors, so
that modes and profilers see a call as the user made it, and nested `autocast` blocks change the
thread's settings instead of casting twice.
"""

import threading

from iskra.amp.casting import cast_arguments
from iskra.core import bfloat16, float16
from iskra.core.local import active, local
from iskra.dispatch import Interceptor
from iskra.dispatch.operator import bind
from iskra.dispatch.overrides import FOREIGN, by_class, scan

DEVICES = ("cpu", "cuda")


class _Settings(threading.local):
    """One thread's settings."""

    def __init__(self):
        self.enabled = set()  # device types
        self.dtypes = {"cpu": bfloat16, "cuda": float16}
        self.caching = True
        self.nesting = 0  # blocks that the thread is in
        self.cache = {}  # see iskra.amp.casting.cast_cached


settings = _Settings()


class _Casting(Interceptor):
    """Casts the tensor arguments of operators that declare which dtype is good for them."""

    def intercept(self, op, args, kwargs):
        flags = scan(args) | scan(kwargs.values())
        if flags & FOREIGN:
            return self._inside(by_class, op, args, kwargs)
        # As in PyTorch, a call that writes into a given tensor is left as it is.
        if kwargs.get("out") is not None:
            return op.public(*args, **kwargs)
        if op.autocast == "keep":
            return op.public(*args, **kwargs)
        if op.autocast is not None:
            args, kwargs = cast_arguments(op, args, kwargs, settings)
        elif op.kind == "composite":
            return self._inside(_perform, op, args, kwargs)
        return op.public(*args, **kwargs)

    def _inside(self, run, op, args, kwargs):
        """Run with the calls made inside being cast, too."""
        local.interceptors = (self,)
        try:
            return run(op, args, kwargs)
        finally:
            local.interceptors = ()


_casting = _Casting()


def _perform(op, args, kwargs):
    return op.perform(op, bind(op, args, kwargs), 0)


def _check(name, device_type):
    if not isinstance(device_type, str):
        raise TypeError(f"{name}: device_type must be a str, not {type(device_type).__name__}")
    if device_type not in DEVICES:
        raise RuntimeError(
            f"{name}: unsupported autocast device_type '{device_type}'; "
            f"autocast knows {', '.join(repr(d) for d in DEVICES)}."
        )


def is_autocast_enabled(device_type="cuda"):
    """Whether autocast is on in this thread for a device type.

    >>> import iskra as torch
    >>> with torch.autocast("cpu"):
    ...     torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled()
    (True, False)
    """
    _check("is_autocast_enabled", device_type)
    return device_type in settings.enabled


def set_autocast_enabled(device_type, enabled=None):
    """Switch autocast on or off in this thread; with one argument, for "cuda"."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    _check("set_autocast_enabled", device_type)
    (settings.enabled.add if enabled else settings.enabled.discard)(device_type)
    stack = local.interceptors
    if settings.enabled and _casting not in stack:
        local.interceptors = (_casting, *stack)
        active.change("intercepting", 1)
    elif not settings.enabled and _casting in stack:
        local.interceptors = tuple(i for i in stack if i is not _casting)
        active.change("intercepting", -1)


def get_autocast_dtype(device_type):
    """The dtype that autocast lowers operands to on a device type.

    >>> import iskra as torch
    >>> torch.get_autocast_dtype("cpu")
    iskra.bfloat16
    """
    _check("get_autocast_dtype", device_type)
    return settings.dtypes[device_type]


def set_autocast_dtype(device_type, dtype):
    """Set the dtype that autocast lowers operands to on a device type."""
    _check("set_autocast_dtype", device_type)
    settings.dtypes[device_type] = dtype


def is_autocast_cpu_enabled():
    """Whether autocast is on for the CPU."""
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled):
    """Switch autocast on or off for the CPU."""
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype():
    """The dtype that autocast lowers operands to on the CPU."""
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype):
    """Set the dtype that autocast lowers operands to on the CPU."""
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype():
    """The dtype that autocast lowers operands to on a GPU."""
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype):
    """Set the dtype that autocast lowers operands to on a GPU."""
    set_autocast_dtype("cuda", dtype)


def is_autocast_cache_enabled():
    """Whether autocast keeps the casts of parameters until the outermost block ends."""
    return settings.caching


def set_autocast_cache_enabled(enabled):
    """Let autocast keep the casts of parameters, or not."""
    settings.caching = bool(enabled)


def clear_autocast_cache():
    """Forget the casts of parameters that are kept."""
    settings.cache.clear()


def autocast_increment_nesting():
    """Note that a block begins; return how deep it is."""
    settings.nesting += 1
    return settings.nesting


def autocast_decrement_nesting():
    """Note that a block ends; return how many the thread is still in."""
    settings.nesting -= 1
    return settings.nesting
