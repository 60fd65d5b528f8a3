"""``iskra.utils``: data loading, checkpointing, and the like.

Source: https://docs.pytorch.org/docs/stable/
"""

import importlib

__all__ = ["checkpoint", "data", "dlpack"]


def __getattr__(name):
    """Submodules are loaded when first used: the loader is slow to import."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
