"""Choosing how attention is computed.

Page: https://docs.pytorch.org/docs/stable/nn.attention.html
"""

import contextlib
from enum import IntEnum

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(IntEnum):
    """PyTorch's ways to compute scaled_dot_product_attention.

    Iskra goes by dtypes and shapes, whatever is chosen.

    Source: `torch.nn.attention.SDPBackend`.

    >>> SDPBackend.FLASH_ATTENTION.name
    'FLASH_ATTENTION'
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Accepted for PyTorch's sake: attention is computed in the same way within the block.

    Raises AssertionError unless `backends` is an SDPBackend or a list of them.
    Source: `torch.nn.attention.sdpa_kernel`.

    >>> import iskra as torch
    >>> q = torch.ones(1, 1, 2, 4)
    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     torch.nn.functional.scaled_dot_product_attention(q, q, q).shape
    iskra.Size([1, 1, 2, 4])
    """
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, list) or not all(isinstance(b, SDPBackend) for b in chosen):
        raise AssertionError(
            f"Backend must be an instance of SDPBackend or a list of SDPBackend instances, "
            f"not {backends!r}"
        )
    yield {}
