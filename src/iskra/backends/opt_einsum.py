"""``iskra.backends.opt_einsum``: not used; `einsum` contracts its operands from left to right."""

__all__ = ["enabled", "is_available", "strategy"]

enabled = False
strategy = None


def is_available():
    """Whether opt_einsum is used: never."""
    return False
