"""``iskra.serialization``: saving, loading, and what loading may name.

Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from iskra.compat.serialization import (
    LoadEndianness,
    add_safe_globals,
    clear_safe_globals,
    get_default_load_endianness,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    load,
    register_package,
    safe_globals,
    save,
    set_default_load_endianness,
    skip_data,
)

__all__ = [
    "LoadEndianness", "add_safe_globals", "clear_safe_globals", "get_default_load_endianness",
    "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "register_package",
    "safe_globals", "save", "set_default_load_endianness", "skip_data",
]
