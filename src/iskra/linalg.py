"""``iskra.linalg``: the operators of linear algebra, read from the operator table.

Source: https://docs.pytorch.org/docs/stable/linalg.html
"""

from iskra.core.errors import LinAlgError
from iskra.dispatch.namespaces import functions

_functions = functions("linalg")
globals().update(_functions)

__all__ = list(_functions) + ["LinAlgError"]
