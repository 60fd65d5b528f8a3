"""``iskra.cpu``: the processor as a device, and the memory its tensors use.

The first functions let code speak of the CPU as it speaks of a GPU. PyTorch has no statistics of
CPU memory; here `memory_stats`, `memory_allocated`, `max_memory_allocated`, `memory_reserved`,
`reset_peak_memory_stats` and `empty_cache` mean what they mean in ``torch.cuda``.

Source: https://docs.pytorch.org/docs/stable/cpu.html
"""

from iskra.runtime.memory import empty_cache, memory_stats, reset_peak_memory_stats

__all__ = [
    "current_device", "device_count", "empty_cache", "is_available", "is_initialized",
    "max_memory_allocated", "memory_allocated", "memory_reserved", "memory_stats",
    "reset_peak_memory_stats", "set_device", "synchronize",
]


def is_available():
    """True: there is always a CPU."""
    return True


def is_initialized():
    """True: nothing has to be set up."""
    return True


def device_count():
    """1, however many cores there are.

    >>> import iskra as torch
    >>> torch.cpu.device_count()
    1
    """
    return 1


def current_device():
    """``"cpu"``."""
    return "cpu"


def set_device(device):
    """Do nothing: there is one CPU."""


def synchronize(device=None):
    """Do nothing: an operator returns when its result is there."""


def memory_allocated():
    """Bytes of the allocator's blocks that hold arrays.

    >>> import iskra as torch
    >>> torch.cpu.memory_allocated() <= torch.cpu.memory_reserved()
    True
    """
    return memory_stats()["allocated"]


def max_memory_allocated():
    """The most that `memory_allocated` has been, since `reset_peak_memory_stats`."""
    return memory_stats()["peak"]


def memory_reserved():
    """Bytes of the allocator's blocks, those included that are kept for new arrays."""
    stats = memory_stats()
    return stats["allocated"] + stats["cached"]
