"""``iskra.accelerator``: what devices there are beside the CPU. At present: none.

Questions are answered, requests raise RuntimeError.
Source: https://docs.pytorch.org/docs/stable/accelerator.html
"""

__all__ = [
    "AcceleratorError", "Graph", "current_accelerator", "current_device_idx",
    "current_device_index", "current_stream", "device_count", "device_index", "empty_cache",
    "empty_host_cache", "get_device_capability", "get_memory_info", "is_available",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated",
    "memory_reserved", "memory_stats", "reset_accumulated_memory_stats",
    "reset_peak_memory_stats", "set_device_idx", "set_device_index", "set_stream", "synchronize",
]


class AcceleratorError(RuntimeError):
    """What an accelerator's driver reports; there is none, so nothing raises it."""


def is_available():
    """Whether there is an accelerator that tensors can live on.

    >>> import iskra as torch
    >>> torch.accelerator.is_available()
    False
    """
    return False


def device_count():
    """How many accelerators there are."""
    return 0


def current_accelerator(check_available=False):
    """The kind of accelerator as a `device`; None where there is none."""
    return None


class device_index:
    """A `with` block that makes an accelerator the current one; None changes nothing."""

    def __init__(self, device):
        if device is not None:
            _absent("device_index")

    def __enter__(self):
        return None

    def __exit__(self, *exception):
        return None


class Graph:
    """A recorded row of calls; there is no accelerator, so making one raises RuntimeError."""

    def __new__(cls, *arguments, **keywords):
        _absent("Graph")


def _absent(name):
    raise RuntimeError(
        f"accelerator.{name}: there is no accelerator, only the CPU; guard the call with "
        "`if accelerator.is_available()`"
    )


def _absent_function(name):
    def function(*arguments, **keywords):
        _absent(name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises RuntimeError: there is no accelerator."
    return function


current_device_idx = _absent_function("current_device_idx")
current_device_index = _absent_function("current_device_index")
current_stream = _absent_function("current_stream")
empty_cache = _absent_function("empty_cache")
empty_host_cache = _absent_function("empty_host_cache")
get_device_capability = _absent_function("get_device_capability")
get_memory_info = _absent_function("get_memory_info")
max_memory_allocated = _absent_function("max_memory_allocated")
max_memory_reserved = _absent_function("max_memory_reserved")
memory_allocated = _absent_function("memory_allocated")
memory_reserved = _absent_function("memory_reserved")
memory_stats = _absent_function("memory_stats")
reset_accumulated_memory_stats = _absent_function("reset_accumulated_memory_stats")
reset_peak_memory_stats = _absent_function("reset_peak_memory_stats")
set_device_idx = _absent_function("set_device_idx")
set_device_index = _absent_function("set_device_index")
set_stream = _absent_function("set_stream")
synchronize = _absent_function("synchronize")
