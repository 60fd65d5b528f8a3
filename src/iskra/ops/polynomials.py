"""Orthogonal polynomials, by SciPy.

Source of every operator here: https://docs.pytorch.org/docs/stable/special.html
"""

import numpy as np

from iskra.dispatch import FLOAT, pointwise
from iskra.ops.special import scipy_function


def evaluate(name, input, n):
    """A polynomial of integer degree; zero for a negative one."""
    degree = np.trunc(n).astype(np.int64)
    values = scipy_function(name)(np.maximum(degree, 0), input.astype(np.float64))
    return np.where(degree < 0, 0, values).astype(input.dtype)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def chebyshev_polynomial_t(input, n):
    """Return the Chebyshev polynomial of the first kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.chebyshev_polynomial_t(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_chebyt", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def chebyshev_polynomial_u(input, n):
    """Return the Chebyshev polynomial of the second kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.chebyshev_polynomial_u(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_chebyu", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def hermite_polynomial_h(input, n):
    """Return the physicists' Hermite polynomial of degree `n`.

    >>> import iskra as torch
    >>> torch.special.hermite_polynomial_h(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_hermite", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def hermite_polynomial_he(input, n):
    """Return the probabilists' Hermite polynomial of degree `n`.

    >>> import iskra as torch
    >>> torch.special.hermite_polynomial_he(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_hermitenorm", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def laguerre_polynomial_l(input, n):
    """Return the Laguerre polynomial of degree `n`.

    >>> import iskra as torch
    >>> torch.special.laguerre_polynomial_l(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_laguerre", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def legendre_polynomial_p(input, n):
    """Return the Legendre polynomial of degree `n`.

    >>> import iskra as torch
    >>> torch.special.legendre_polynomial_p(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_legendre", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def shifted_chebyshev_polynomial_t(input, n):
    """Return the shifted Chebyshev polynomial of the first kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.shifted_chebyshev_polynomial_t(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_sh_chebyt", input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def shifted_chebyshev_polynomial_u(input, n):
    """Return the shifted Chebyshev polynomial of the second kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.shifted_chebyshev_polynomial_u(torch.tensor([0.5]), 0)
    tensor([1.])
    """
    return evaluate("eval_sh_chebyu", input, n)
