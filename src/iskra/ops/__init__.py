"""The operators, a file per family. Importing this package binds them onto `Tensor`."""

from iskra.ops import arithmetic, conversion, dunders, reduction, view  # noqa: F401
from iskra.ops.attach import attach

globals().update(attach())
