"""``iskra.fft``: the discrete Fourier transforms, read from the operator table.

Source: https://docs.pytorch.org/docs/stable/fft.html
"""

from iskra.dispatch.namespaces import functions

_functions = functions("fft")
globals().update(_functions)

__all__ = list(_functions)
