"""Whether operations are recorded for differentiation: `no_grad`, `enable_grad` and friends.

Source: https://docs.pytorch.org/docs/stable/torch.html#locally-disabling-gradient-computation
"""

import functools
import inspect

from iskra.core.local import active, local
from iskra.core.local import set_grad_enabled as switch_grad


class _Mode:
    """A block, or a decorated function, within which the thread's state is another."""

    def __enter__(self):
        self._before = (local.grad_enabled, local.inference)
        self._set()

    def __exit__(self, *exception):
        grad_enabled, local.inference = self._before
        switch_grad(grad_enabled)

    def __call__(self, function):
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with self._clone():
                return function(*args, **kwargs)

        return wrapper

    def _wrap_generator(self, function):
        """The mode holds while the generator runs, not while its consumer does."""

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            generator = function(*args, **kwargs)
            value = None
            while True:
                try:
                    with self._clone():
                        item = generator.send(value)
                except StopIteration as stop:
                    return stop.value
                value = yield item

        return wrapper

    def _clone(self):
        return type(self)()


class _BareDecorator(_Mode):
    """Modes without arguments also decorate without parentheses: ``@no_grad``."""

    def __new__(cls, function=None):
        self = object.__new__(cls)
        return self if function is None else self(function)


class no_grad(_BareDecorator):
    """Operations in this block are not recorded; their results require no gradient.

    >>> import iskra as torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def _set(self):
        switch_grad(False)


class enable_grad(_BareDecorator):
    """Operations in this block are recorded, even inside `no_grad`."""

    def _set(self):
        switch_grad(True)


class set_grad_enabled(_Mode):
    """Switch recording on or off, as a function at once or as a block.

    >>> import iskra as torch
    >>> with torch.set_grad_enabled(False):
    ...     torch.is_grad_enabled()
    False
    """

    def __init__(self, mode):
        self._before = (local.grad_enabled, local.inference)
        self.mode = bool(mode)
        self._set()

    def __enter__(self):
        self._set()

    def __call__(self, function):
        # As a decorator it must not change the mode at the place of the decoration.
        grad_enabled, local.inference = self._before
        switch_grad(grad_enabled)
        return _Mode.__call__(self, function)

    def _set(self):
        switch_grad(self.mode)

    def _clone(self):
        return set_grad_enabled(self.mode)


class inference_mode(_Mode):
    """`no_grad` and more: tensors made here can never take part in recorded operations.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad_mode.inference_mode.html
    """

    def __new__(cls, mode=True):
        self = object.__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        return self

    def __init__(self, mode=True):
        self.mode = mode

    def __enter__(self):
        super().__enter__()
        active.change("intercepting", 1)

    def __exit__(self, *exception):
        active.change("intercepting", -1)
        super().__exit__(*exception)

    def _set(self):
        local.inference = bool(self.mode)
        switch_grad(not self.mode)

    def _clone(self):
        return inference_mode(self.mode)


def is_grad_enabled():
    """Whether operations are being recorded in this thread."""
    return local.grad_enabled


def is_inference_mode_enabled():
    """Whether this thread is in inference mode."""
    return local.inference
