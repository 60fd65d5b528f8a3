"""``TorchFunctionMode``: a block in which calls go through ``__torch_function__``."""

from iskra.core.interception import Interceptor


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
