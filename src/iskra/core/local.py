"""Modes: what belongs to one thread, and how often a mode is on in the whole process.

Reading a thread's own state costs as much as a tenth of a small operation. The hot paths therefore
look at the process-wide counts first: while they are zero, no thread has the mode on.
"""

import threading


class _Local(threading.local):
    """Class attributes are each thread's defaults."""

    grad_enabled = True
    inference = False
    anomaly = False
    check_nan = True
    torch_function_disabled = False
    interceptors = ()  # innermost last; see iskra.dispatch.interception
    saved_tensors_hooks = ()  # innermost last: (pack, unpack)
    multithreading = True
    tracing = False  # a body is being run on expressions


class _Counts:
    """How many blocks are active in the process."""

    __slots__ = ("intercepting", "without_grad", "watching", "_lock")

    def __init__(self):
        self.intercepting = 0  # interceptors of operator calls, and inference mode
        self.without_grad = 0  # threads that do not record for backward
        self.watching = 0  # anomaly mode and saved-tensors hooks
        self._lock = threading.Lock()

    def change(self, name, by):
        """Add `by` to a count."""
        with self._lock:
            setattr(self, name, getattr(self, name) + by)


local = _Local()
active = _Counts()


def set_grad_enabled(enabled):
    """Set this thread's gradient mode and keep count; return what it was."""
    before = local.grad_enabled
    if before is not enabled:
        local.grad_enabled = enabled
        with active._lock:
            active.without_grad += -1 if enabled else 1
    return before
