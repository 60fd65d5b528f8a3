"""``iskra.storage``: the memory behind tensors.

Source: https://docs.pytorch.org/docs/stable/storage.html
"""

from iskra.tensor import Storage as UntypedStorage
from iskra.tensor.typed_storage import TypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
