"""``iskra.special``: the special functions, read from the operator table.

Source: https://docs.pytorch.org/docs/stable/special.html
"""

from iskra import ops
from iskra.dispatch.namespaces import functions

_functions = functions("special")
globals().update(_functions)

# These have other names in `iskra`, or are offered here too.
gammaln, psi, multigammaln = ops.lgamma, ops.digamma, ops.mvlgamma
round, softmax, log_softmax = ops.round, ops.softmax, ops.log_softmax

__all__ = list(_functions)
__all__ += ["gammaln", "log_softmax", "multigammaln", "psi", "round", "softmax"]
