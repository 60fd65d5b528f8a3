"""``iskra.utils.checkpoint``: recompute instead of storing; see `iskra.autograd.checkpoint`.

Source: https://docs.pytorch.org/docs/stable/checkpoint.html
"""

from iskra.autograd.checkpoint import (
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_debug_enabled,
)

__all__ = ["checkpoint", "checkpoint_sequential", "set_checkpoint_debug_enabled"]
