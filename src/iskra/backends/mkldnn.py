"""``iskra.backends.mkldnn``: oneDNN, not used; its switches may be set, to no effect."""

import contextlib

__all__ = ["deterministic", "enabled", "flags", "is_available"]

enabled = True
deterministic = False


def is_available():
    """Whether oneDNN is used: never."""
    return False


@contextlib.contextmanager
def flags(enabled=False, deterministic=False, allow_tf32=True, fp32_precision="none"):
    """Set the switches inside a `with` block."""
    before = {name: globals()[name] for name in ("enabled", "deterministic")}
    globals().update(enabled=enabled, deterministic=deterministic)
    try:
        yield
    finally:
        globals().update(before)
