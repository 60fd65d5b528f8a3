"""Gamma and Dirichlet samples that can be differentiated by their parameters.

A sample x of the gamma distribution moves with its parameter a so that the share P(a, x) of
smaller samples stays: dx/da = -(dP/da) / (dP/dx) (implicit reparameterisation; Figurnov and
others, 2018).
"""

import numpy as np

from iskra.core import dtypes as d
from iskra.dispatch import operator
from iskra.ops.primitives import scipy_function
from iskra.ops.sampling import has_data, source, supported
from iskra.runtime import rejection

_LARGE = 1000.0  # from here on, the expansion around the normal distribution is exact enough


@operator(
    method=False, out=False,
    grad=lambda g, input, result: g * _standard_gamma_grad(input, result),
)
def _standard_gamma(input, generator=None):
    """Samples of gamma distributions of scale 1 whose shape parameters are in `input`.

    Differentiable. Raises NotImplementedError unless `input` is float32 or float64.

    >>> import iskra as torch
    >>> torch._standard_gamma(torch.tensor([0.5, 4.0]), torch.Generator().manual_seed(0))
    tensor([7.8936e-04, 1.9752e+00])
    """
    generator, dtype = source(generator, "_standard_gamma"), d.of_numpy(input.dtype)
    supported(dtype, (d.float32, d.float64), "gamma_cpu")
    if not has_data(input):
        return np.empty_like(input)
    return rejection.gamma(generator, input, dtype)


@operator(method=False, out=False, operands="input output")
def _standard_gamma_grad(input, output):
    """The derivative of gamma samples `output` with respect to their shape parameters `input`.

    >>> import iskra as torch
    >>> torch._standard_gamma_grad(torch.tensor([1.0]), torch.tensor([1.0]))
    tensor([1.1736])
    """
    if not has_data(input):
        return np.empty_like(input)
    alpha, x = np.broadcast_arrays(input.astype(np.float64), output.astype(np.float64))
    result = np.zeros(alpha.shape)
    valid = np.logical_and(alpha > 0, x > 0)
    for select, derivative in (
        (np.logical_and(valid, alpha < _LARGE), _by_series),
        (np.logical_and(valid, alpha >= _LARGE), _by_expansion),
    ):
        if select.any():
            result[select] = derivative(alpha[select], x[select])
    return result.astype(output.dtype)


def _by_series(a, x):
    """With P(a, x) = x^a e^-x / Gamma(a + 1) (1 + x/(a+1) + x^2/((a+1)(a+2)) + ...)."""
    from scipy.special import digamma

    term, total = np.ones_like(a), np.ones_like(a)
    harmonic, change = np.zeros_like(a), np.zeros_like(a)
    count = 0
    while True:
        count += 1
        step = 1 / (a + count)
        term *= x * step
        harmonic += step
        total += term
        change -= term * harmonic
        if (term * harmonic <= 1e-17 * np.abs(change)).all():
            break
    return -x / a * ((np.log(x) - digamma(a + 1)) * total + change)


def _by_expansion(a, x):
    """From Cornish and Fisher's expansion of x in the normal quantile z, which stays fixed."""
    root = np.sqrt(a)
    z = (x - a) / root
    for _ in range(4):  # Newton's method for the z that belongs to x
        excess = a + root * z + (z * z - 1) / 3 + (z**3 - 7 * z) / (36 * root) - x
        z -= excess / (root + 2 * z / 3 + (3 * z * z - 7) / (36 * root))
    return 1 + z / (2 * root) - (z**3 - 7 * z) / (72 * a * root)


@operator(method=False, out=False, operands="x alpha total")
def _dirichlet_grad(x, alpha, total):
    """How Dirichlet shares `x` move with their concentrations `alpha`, divided by ``1 - x``.

    `total` is the sum of the concentrations. A share alone is of the beta distribution, and moves
    so that the probability of smaller ones stays.

    >>> import iskra as torch
    >>> half = torch.tensor([0.5])
    >>> torch._dirichlet_grad(half, torch.tensor([1.0]), torch.tensor([2.0]))
    tensor([0.6931])
    """
    if not has_data(x):
        return np.empty_like(x)
    operands = (operand.astype(np.float64) for operand in (x, alpha, total))
    with np.errstate(all="ignore"):
        return _beta_gradient(*np.broadcast_arrays(*operands)).astype(x.dtype)


def _beta_gradient(share, a, whole):
    b = whole - a
    log_beta = scipy_function("betaln")(a, b)
    density = np.exp((a - 1) * np.log(share) + (b - 1) * np.log1p(-share) - log_beta)
    moved = -_beta_slope(share, a, b) / density
    # Near 0, where both may underflow, the probability is x**a / (a B(a, b)), by a share of x b.
    digamma = scipy_function("digamma")
    near = -share / a * (np.log(share) - 1 / a - digamma(a) + digamma(whole))
    return np.where(share * (1 + b) < 1e-9, near, moved) / (1 - share)


def _beta_slope(x, a, b):
    """The derivative by `a` of the probability that a beta value is below `x`."""
    below, above = scipy_function("betainc"), scipy_function("betaincc")
    low = below(a, b, x) < 0.5  # the smaller of both probabilities has more digits

    def probability(a):
        return np.where(low, below(a, b, x), -above(a, b, x))

    step = 1e-3 * np.minimum(a, np.sqrt(a))
    near = probability(a + step) - probability(a - step)
    far = probability(a + 2 * step) - probability(a - 2 * step)
    return (8 * near - far) / (12 * step)


def _shares_gradient(g, input, result):
    moved = _dirichlet_grad(result, input, input.sum(-1, keepdim=True).expand_as(input))
    return moved * (g - (result * g).sum(-1, keepdim=True))


@operator(method=False, out=False, grad=_shares_gradient)
def _sample_dirichlet(input, generator=None):
    """Samples of Dirichlet distributions, whose concentrations are along the last dimension.

    Differentiable. Raises NotImplementedError unless `input` is float32 or float64.

    >>> import iskra as torch
    >>> shares = torch._sample_dirichlet(torch.tensor([1.0, 2.0, 3.0]))
    >>> round(shares.sum().item(), 5)
    1.0
    """
    generator, dtype = source(generator, "_sample_dirichlet"), d.of_numpy(input.dtype)
    supported(dtype, (d.float32, d.float64), "dirichlet")
    if not has_data(input):
        return np.empty_like(input)
    parts = rejection.gamma(generator, input.astype(np.float64), d.float64)
    shares = (parts / parts.sum(-1, keepdims=True)).astype(input.dtype)
    # Neither 0 nor 1: logarithms of shares, and of what they leave, are to be finite.
    info = d.finfo(dtype)
    return np.clip(shares, info.tiny, 1 - info.eps / 2)
