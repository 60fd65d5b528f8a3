"""The package name in printed names: ``iskra.float32``, or ``torch.`` under the script runner."""

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
