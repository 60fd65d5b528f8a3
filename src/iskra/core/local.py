"""State that belongs to one thread: gradient modes and what intercepts operator calls."""

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


local = _Local()
