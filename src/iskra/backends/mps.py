"""``iskra.backends.mps``: Apple's GPUs, not used."""

__all__ = ["is_available", "is_built", "is_macos13_or_newer"]


def is_available():
    """Whether tensors can live on an Apple GPU: never."""
    return False


def is_built():
    """Whether there is code for Apple GPUs."""
    return False


def is_macos13_or_newer(minor=0):
    """Whether this is macOS 13 or newer, as far as MPS is concerned: never."""
    return False
