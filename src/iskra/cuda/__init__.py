"""``iskra.cuda``: asked by every PyTorch script, and answered as by a PyTorch without CUDA.

`is_available` says False, `device_count` 0; seeds and caches may be set and emptied to no effect,
memory in use is 0. What needs a device raises AssertionError, as PyTorch does, and says so.

Source: https://docs.pytorch.org/docs/stable/cuda.html
"""

import importlib
from collections import OrderedDict

from iskra.core import device as _device

__all__ = [
    "Event", "OutOfMemoryError", "Stream", "can_device_access_peer", "current_blas_handle",
    "current_device", "current_stream", "default_stream", "device", "device_count", "device_of",
    "empty_cache", "get_arch_list", "get_device_capability", "get_device_name",
    "get_device_properties", "get_rng_state", "get_rng_state_all", "init", "initial_seed",
    "ipc_collect", "is_available", "is_bf16_supported", "is_current_stream_capturing",
    "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved",
    "memory_stats", "memory_summary", "reset_accumulated_memory_stats",
    "reset_max_memory_allocated", "reset_peak_memory_stats", "seed", "seed_all", "set_device",
    "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream",
    "stream", "synchronize",
]

has_half = has_magma = False
default_generators = ()


class OutOfMemoryError(RuntimeError):
    """A device's memory is used up."""


def is_available():
    """Whether tensors can live on a CUDA device.

    >>> import iskra as torch
    >>> torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device(type='cpu')
    """
    return False


def device_count():
    """How many CUDA devices tensors can live on.

    >>> import iskra as torch
    >>> torch.cuda.device_count()
    0
    """
    return 0


def is_initialized():
    """Whether a device has been used."""
    return False


def is_bf16_supported(including_emulation=True):
    """Whether the device computes with bfloat16."""
    return False


def is_current_stream_capturing():
    """Whether a CUDA graph is being recorded."""
    return False


def get_arch_list():
    """The architectures that kernels are built for."""
    return []


# Settings and questions that have an answer without a device.


def manual_seed(seed):
    """Seed the current device's generator: there is none, so nothing happens."""
    int(seed)


def manual_seed_all(seed):
    """Seed all devices' generators: there are none, so nothing happens."""
    int(seed)


def seed():
    """Seed the current device's generator from the system's randomness: nothing happens."""


def seed_all():
    """Seed all devices' generators from the system's randomness: nothing happens."""


def get_rng_state_all():
    """The states of all devices' generators: an empty list."""
    return []


def set_rng_state(new_state, device="cuda"):
    """Set the state of a device's generator: there is none, so nothing happens."""


def set_rng_state_all(new_states):
    """Set the states of all devices' generators, given as a list."""
    if len(new_states):
        _absent("set_rng_state_all")


def empty_cache():
    """Give cached device memory back: there is none, so nothing happens."""


def memory_allocated(device=None):
    """Bytes that tensors take on the device: 0."""
    return 0


def max_memory_allocated(device=None):
    """The most bytes that tensors have taken on the device: 0."""
    return 0


def memory_reserved(device=None):
    """Bytes that are held for tensors on the device: 0."""
    return 0


def max_memory_reserved(device=None):
    """The most bytes that have been held for tensors on the device: 0."""
    return 0


def memory_stats(device=None):
    """Statistics of the device's memory: an empty dict."""
    return OrderedDict()


def memory_summary(device=None, abbreviated=False):
    """The statistics as text."""
    return "no CUDA device"


def reset_peak_memory_stats(device=None):
    """Start `max_memory_allocated` anew: nothing happens."""


def reset_max_memory_allocated(device=None):
    """Start `max_memory_allocated` anew: nothing happens."""


def reset_accumulated_memory_stats(device=None):
    """Start the statistics anew: nothing happens."""


# Blocks that choose a device or a stream.


class device:
    """A `with` block that makes a device the current one; None and -1 change nothing.

    Raises ValueError for a device that is no CUDA device, AssertionError for one that is.
    """

    def __init__(self, device):
        if isinstance(device, str):
            device = _device(device)
        kind = getattr(device, "type", "cuda")
        if kind != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {device}")
        if device is not None and device != -1:
            _absent("device")

    def __enter__(self):
        return None

    def __exit__(self, *exception):
        return None


class device_of(device):
    """A `with` block that makes a tensor's device the current one; the CPU changes nothing."""

    def __init__(self, obj):
        super().__init__(obj.device if getattr(obj, "is_cuda", False) else None)


class stream:
    """A `with` block whose work goes to a stream; None changes nothing."""

    def __init__(self, stream):
        if stream is not None:
            _absent("stream")

    def __enter__(self):
        return None

    def __exit__(self, *exception):
        return None


class Stream:
    """A queue of work on a device; there is no device, so making one raises AssertionError."""

    def __new__(cls, *arguments, **keywords):
        _absent("Stream")


class Event:
    """A mark in a stream; there is no device, so making one raises AssertionError."""

    def __new__(cls, *arguments, **keywords):
        _absent("Event")


def set_device(device):
    """Make a device the current one; -1 changes nothing, all others raise AssertionError."""
    if device != -1:
        _absent("set_device")


# What needs a device.


def _absent(name):
    raise AssertionError(
        f"cuda.{name}: there is no CUDA device; Iskra runs on the CPU here. Guard the "
        "call with `if cuda.is_available()`"
    )


def _absent_function(name):
    def function(*arguments, **keywords):
        _absent(name)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises AssertionError: there is no CUDA device."
    return function


can_device_access_peer = _absent_function("can_device_access_peer")
current_blas_handle = _absent_function("current_blas_handle")
current_device = _absent_function("current_device")
current_stream = _absent_function("current_stream")
default_stream = _absent_function("default_stream")
get_device_capability = _absent_function("get_device_capability")
get_device_name = _absent_function("get_device_name")
get_device_properties = _absent_function("get_device_properties")
get_rng_state = _absent_function("get_rng_state")
init = _absent_function("init")
initial_seed = _absent_function("initial_seed")
ipc_collect = _absent_function("ipc_collect")
mem_get_info = _absent_function("mem_get_info")
set_per_process_memory_fraction = _absent_function("set_per_process_memory_fraction")
set_stream = _absent_function("set_stream")
synchronize = _absent_function("synchronize")


def __getattr__(name):
    """`amp` is loaded when first used."""
    if name == "amp":
        return importlib.import_module("iskra.cuda.amp")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
