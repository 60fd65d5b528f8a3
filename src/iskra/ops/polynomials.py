"""Orthogonal polynomials, by SciPy.

Source of every operator here: https://docs.pytorch.org/docs/stable/special.html
"""

import numpy as np

from iskra.dispatch import FLOAT, pointwise
from iskra.ops.primitives import scipy_function


def evaluate(name, input, n):
    """A polynomial of integer degree; zero for a negative one."""
    return _by(scipy_function(name), input, n)


def _by(function, input, n):
    degree = np.trunc(n).astype(np.int64)
    values = function(np.maximum(degree, 0), input.astype(np.float64))
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


def _third_kind(n, x):
    """Chebyshev's polynomials of the third kind, from those of the second."""
    second = scipy_function("eval_chebyu")
    return second(n, x) - np.where(n > 0, second(np.maximum(n - 1, 0), x), 0)


def _fourth_kind(n, x):
    """Chebyshev's polynomials of the fourth kind, from those of the second."""
    second = scipy_function("eval_chebyu")
    return second(n, x) + np.where(n > 0, second(np.maximum(n - 1, 0), x), 0)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def chebyshev_polynomial_v(input, n):
    """Return the Chebyshev polynomial of the third kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.chebyshev_polynomial_v(torch.tensor([0.5]), 1)
    tensor([0.])
    """
    return _by(_third_kind, input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), -0.9, 0.9), 2), {})],
)
def chebyshev_polynomial_w(input, n):
    """Return the Chebyshev polynomial of the fourth kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.chebyshev_polynomial_w(torch.tensor([0.5]), 1)
    tensor([2.])
    """
    return _by(_fourth_kind, input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), 0.1, 0.9), 2), {})],
)
def shifted_chebyshev_polynomial_v(input, n):
    """Return the shifted Chebyshev polynomial of the third kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.shifted_chebyshev_polynomial_v(torch.tensor([0.75]), 1)
    tensor([0.])
    """
    return _by(lambda degree, x: _third_kind(degree, 2 * x - 1), input, n)


@pointwise(
    FLOAT, accepts="bool int float", namespace="special", scalars=True, inplace=False,
    samples=lambda make: [((make((3,), 0.1, 0.9), 2), {})],
)
def shifted_chebyshev_polynomial_w(input, n):
    """Return the shifted Chebyshev polynomial of the fourth kind of degree `n`.

    >>> import iskra as torch
    >>> torch.special.shifted_chebyshev_polynomial_w(torch.tensor([0.75]), 1)
    tensor([2.])
    """
    return _by(lambda degree, x: _fourth_kind(degree, 2 * x - 1), input, n)
