"""``iskra.special``: the special functions, read from the operator table.

Source: https://docs.pytorch.org/docs/stable/special.html
"""

from iskra.dispatch.namespaces import functions

_functions = functions("special")
globals().update(_functions)

__all__ = list(_functions)
