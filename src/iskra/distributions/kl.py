"""`kl_divergence` and the pairs of distributions for which it has a formula.

Source: https://docs.pytorch.org/docs/stable/distributions.html#module-torch.distributions.kl
"""

import math

from iskra.distributions.bernoulli import Bernoulli
from iskra.distributions.beta import Beta
from iskra.distributions.binomial import Binomial
from iskra.distributions.categorical import Categorical
from iskra.distributions.cauchy import Cauchy
from iskra.distributions.dirichlet import Dirichlet
from iskra.distributions.distribution import Distribution
from iskra.distributions.exponential import Exponential
from iskra.distributions.gamma import Gamma
from iskra.distributions.geometric import Geometric
from iskra.distributions.gumbel import Gumbel
from iskra.distributions.half_normal import HalfNormal
from iskra.distributions.independent import Independent
from iskra.distributions.laplace import Laplace
from iskra.distributions.multivariate_normal import MultivariateNormal
from iskra.distributions.normal import Normal
from iskra.distributions.one_hot_categorical import OneHotCategorical
from iskra.distributions.pareto import Pareto
from iskra.distributions.poisson import Poisson
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.uniform import Uniform
from iskra.distributions.utils import EULER, HALF_LOG_2PI, log1p_exp, sum_rightmost
from iskra.ops import linalg_solve_triangular, where

__all__ = ["kl_divergence", "register_kl"]

_formulas = {}


def register_kl(type_p, type_q):
    """Decorate ``formula(p, q)``, which serves these classes and those derived from them.

    Raises TypeError where one is not a class of distributions.
    """
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected a subclass of Distribution but got {kind}")

    def decorate(formula):
        _formulas[type_p, type_q] = formula
        return formula

    return decorate


def _formula_for(type_p, type_q):
    """The formula of the nearest ancestors: those of p first."""
    for p in type_p.__mro__:
        for q in type_q.__mro__:
            if (p, q) in _formulas:
                return _formulas[p, q]
    return None


def kl_divergence(p, q):
    """The Kullback-Leibler divergence ``E_p[log p - log q]``, of the batch's shape.

    Raises NotImplementedError where there is no formula; `register_kl` adds one.

    >>> import iskra as torch
    >>> D = torch.distributions
    >>> D.kl_divergence(D.Normal(0.0, 1.0), D.Normal(1.0, 1.0))
    tensor(0.5000)
    """
    formula = _formula_for(type(p), type(q))
    if formula is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type "
            f"{type(q).__name__}"
        )
    return formula(p, q)


@register_kl(Normal, Normal)
def _normal(p, q):
    ratio = (p.scale / q.scale).pow(2)
    away = ((p.loc - q.loc) / q.scale).pow(2)
    return 0.5 * (ratio + away - 1 - ratio.log())


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p, q):
    yes = p.probs * (log1p_exp(-q.logits) - log1p_exp(-p.logits))
    yes = where(q.probs == 0, math.inf, yes)
    yes = where(p.probs == 0, 0.0, yes)
    no = (1 - p.probs) * (log1p_exp(q.logits) - log1p_exp(p.logits))
    no = where(q.probs == 1, math.inf, no)
    return yes + where(p.probs == 1, 0.0, no)


@register_kl(Binomial, Binomial)
def _binomial(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    found = p.total_count * (
        p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return where(p.total_count > q.total_count, math.inf, found)


@register_kl(Categorical, Categorical)
def _categorical(p, q):
    terms = p.probs * (p.logits - q.logits)
    terms = where(q.probs == 0, math.inf, terms)
    return where(p.probs == 0, 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p, q):
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p, q):
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Exponential, Exponential)
def _exponential(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _gamma(p, q):
    return (
        q.concentration * (p.rate / q.rate).log()
        + q.concentration.lgamma() - p.concentration.lgamma()
        + (p.concentration - q.concentration) * p.concentration.digamma()
        + (q.rate - p.rate) * (p.concentration / p.rate)
    )


@register_kl(Exponential, Gamma)
def _exponential_gamma(p, q):
    ratio = q.rate / p.rate
    return (-q.concentration * ratio.log() + ratio + q.concentration.lgamma()
            + q.concentration * EULER - (1 + EULER))


@register_kl(Gamma, Exponential)
def _gamma_exponential(p, q):
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Beta, Beta)
def _beta(p, q):
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p, q):
    total_p, total_q = p.concentration.sum(-1), q.concentration.sum(-1)
    scales = total_p.lgamma() - total_q.lgamma()
    scales = scales - (p.concentration.lgamma() - q.concentration.lgamma()).sum(-1)
    apart = p.concentration.digamma() - total_p.digamma().unsqueeze(-1)
    return scales + ((p.concentration - q.concentration) * apart).sum(-1)


@register_kl(Laplace, Laplace)
def _laplace(p, q):
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p, q):
    whole = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return whole.log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p, q):
    ratio, moved, place = p.scale / q.scale, q.loc / q.scale, p.loc / q.scale
    spread = (moved + (1 + ratio).lgamma() - place).exp()
    return -ratio.log() - moved + place + ratio * EULER + spread - (1 + EULER)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p, q):
    return _normal(p.base_dist, q.base_dist)


@register_kl(Pareto, Pareto)
def _pareto(p, q):
    scales, ratio = p.scale / q.scale, q.alpha / p.alpha
    found = q.alpha * scales.log() - ratio.log() + ratio - 1
    return where(p.support.lower_bound < q.support.lower_bound, math.inf, found)


@register_kl(Uniform, Uniform)
def _uniform(p, q):
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Uniform, Normal)
def _uniform_normal(p, q):
    width = p.high - p.low
    spread = ((math.sqrt(2 * math.pi) * q.scale) / width).log()
    squares = width.pow(2) / 12 + ((p.high + p.low - 2 * q.loc) / 2).pow(2)
    return spread + 0.5 * squares / q.scale.pow(2)


@register_kl(Normal, Laplace)
def _normal_laplace(p, q):
    away, ratio = p.loc - q.loc, p.scale / q.scale
    steps = away / p.scale
    near = math.sqrt(2 / math.pi) * p.scale * (-0.5 * steps.pow(2)).exp()
    far = away * (math.sqrt(0.5) * steps).erf()
    return -ratio.log() + (near + far) / q.scale - (0.5 + 0.5 * math.log(0.5 * math.pi))


@register_kl(Laplace, Normal)
def _laplace_normal(p, q):
    squares = 2 * p.scale.pow(2) + (p.loc - q.loc).pow(2)
    return -p.entropy() + q.scale.log() + HALF_LOG_2PI + 0.5 * squares / q.scale.pow(2)


@register_kl(Exponential, Normal)
def _exponential_normal(p, q):
    squares = 2 / p.rate.pow(2) - 2 * q.loc / p.rate + q.loc.pow(2)
    return -p.entropy() + q.scale.log() + HALF_LOG_2PI + 0.5 * squares / q.scale.pow(2)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_normal(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    factor_p, factor_q = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    logs = q._half_log_det() - p._half_log_det()
    spread = linalg_solve_triangular(factor_q, factor_p, upper=False).pow(2).sum((-2, -1))
    away = (q.loc - p.loc).unsqueeze(-1)
    squares = linalg_solve_triangular(factor_q, away, upper=False).pow(2).sum((-2, -1))
    return logs + 0.5 * (spread + squares - p.event_shape[0])


@register_kl(Independent, Independent)
def _independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)
