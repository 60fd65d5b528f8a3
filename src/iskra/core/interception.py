"""Interceptors: objects that see every operator call of their thread while they are active.

Recording, autocast, profiling and ``TorchFunctionMode`` are interceptors. When none is active
in the process, calls pay one look at one variable.
"""

from iskra.core.local import active, local


class Interceptor:
    """A block in which this thread's operator calls go through `intercept`, innermost first.

    `watches`: it only looks on, so that optimizers step as they do without it. Otherwise they step
    by operator calls, each of which it sees.
    """

    watches = False

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


def wants_operators():
    """Whether what is computed in this thread should be computed by operator calls alone."""
    return bool(active.intercepting) and not all(i.watches for i in local.interceptors)
