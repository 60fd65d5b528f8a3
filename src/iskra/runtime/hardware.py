"""What the machine is like, as the operating system tells it."""

import contextlib
import functools
from pathlib import Path

DEFAULT = 32 << 20  # bytes of a last-level cache whose size nobody tells

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@functools.cache
def last_level_cache(system=Path("/")):
    """Return the size in bytes of the last cache before memory, as one core sees it.

    Where a machine has several, another core's is as far away as memory. system: the root folder.
    """
    sizes = {}
    for folder in (system / "sys/devices/system/cpu/cpu0/cache").glob("index[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            size = (folder / "size").read_text().strip()
            sizes[int((folder / "level").read_text())] = _bytes(size)
    return (sizes[max(sizes)] if sizes else 0) or DEFAULT


def past_caches():
    """From how many bytes on, read and written, what is written had better not go into the caches.

    Somewhat more than the last of them holds: as long as most of it is still there when it is asked
    for, caches serve better.
    """
    return last_level_cache() // 4 * 5


def _bytes(size):
    """A number of bytes from text like ``32768K``."""
    unit = _UNITS.get(size[-1:])
    return int(size) if unit is None else int(size[:-1]) * unit
