"""``iskra.backends.mkl``: not used."""

__all__ = ["is_available"]


def is_available():
    """Whether Intel's math library is used: never."""
    return False
