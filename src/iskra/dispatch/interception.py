"""Interceptors: objects that see every operator call of their thread while they are active.

Recording, autocast, profiling and ``TorchFunctionMode`` are interceptors. When none is active
in the process, calls pay one look at one variable.
"""

from iskra.core.local import active, local


class Interceptor:
    """A block in which this thread's operator calls go through `intercept`, innermost first."""

    def __enter__(self):
        local.interceptors = (*local.interceptors, self)
        active.change("intercepting", 1)
        return self

    def __exit__(self, *exception):
        local.interceptors = local.interceptors[:-1]
        active.change("intercepting", -1)

    def intercept(self, op, args, kwargs):
        """Handle a call; the default passes it on. Inside, outer interceptors are active."""
        return op.public(*args, **kwargs)


class TorchFunctionMode(Interceptor):
    """A block in which calls go through ``__torch_function__(func, types, args, kwargs)``.

    >>> import iskra as torch
    >>> from iskra.dispatch import TorchFunctionMode
    >>> class Names(TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return func(*args, **(kwargs or {}))
    >>> with Names():
    ...     y = torch.ones(2).exp()
    ones
    exp
    """

    def intercept(self, op, args, kwargs):
        types = tuple({type(a) for a in args if hasattr(type(a), "__torch_function__")})
        return self.__torch_function__(op.public, types, args, kwargs)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Handle a call; the default runs it."""
        return func(*args, **(kwargs or {}))
