"""The chi-squared distribution."""

from iskra.distributions import constraints
from iskra.distributions.gamma import Gamma
from iskra.distributions.utils import broadcast_all

__all__ = ["Chi2"]


class Chi2(Gamma):
    """The distribution of a sum of `df` squares of standard normal values.

    >>> import iskra as torch
    >>> torch.distributions.Chi2(3.0).variance
    tensor(6.)
    """

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df, validate_args=None):
        (df,) = broadcast_all(df)
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    df = property(lambda self: self.concentration * 2)
