"""The package name that printed names carry: ``iskra.float32`` or, for a PyTorch script, ``torch.``."""

_prefix = "iskra"


def prefix():
    """Return the name printed before dtypes, sizes and layouts.

    >>> prefix()
    'iskra'
    """
    return _prefix


def set_prefix(name):
    """Print names as ``name.float32`` from now on (``python -m iskra`` sets ``"torch"``)."""
    global _prefix
    _prefix = name
