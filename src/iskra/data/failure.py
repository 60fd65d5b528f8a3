"""An exception on its way from a worker process to the process that waits for its batch."""

import sys
import traceback


class _Verbatim(str):
    """A message that a KeyError shows as it is: it would print the repr of a plain string."""

    def __repr__(self):
        return str(self)


class ExceptionWrapper:
    """The class of the exception being handled, and its traceback as text.

    `where` tells the reader in which process it was caught.
    """

    def __init__(self, where, exception_class=None):
        self.where = where
        self.exception_class = exception_class or sys.exc_info()[0]
        self.name = sys.exc_info()[0].__name__
        self.text = "".join(traceback.format_exception(*sys.exc_info()))

    def reraise(self):
        """Raise an exception of the original class whose message holds the original traceback.

        RuntimeError where the class cannot be made from a message alone.
        """
        message = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
        cls = self.exception_class
        if cls is KeyError:
            message = _Verbatim(message)
        try:
            exception = cls(message)
        except Exception:
            exception = RuntimeError(message)
        try:
            raise exception from None
        finally:
            del exception  # or it would keep itself alive, through its traceback and this frame
