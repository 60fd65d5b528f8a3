"""``iskra.signal``: windows for the analysis of signals."""

from iskra.signal import windows

__all__ = ["windows"]
