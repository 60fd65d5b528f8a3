"""``iskra.backends.openmp``: not used."""

__all__ = ["is_available"]


def is_available():
    """Whether OpenMP is used: never."""
    return False
