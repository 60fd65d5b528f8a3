"""Probability distributions: samples, densities and gradients through both.

Samples come from PyTorch's stream, so that seeded runs can be compared.
Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

from iskra.distributions import constraints, kl, transforms
from iskra.distributions.bernoulli import Bernoulli
from iskra.distributions.beta import Beta
from iskra.distributions.binomial import Binomial
from iskra.distributions.categorical import Categorical
from iskra.distributions.cauchy import Cauchy
from iskra.distributions.chi2 import Chi2
from iskra.distributions.continuous_bernoulli import ContinuousBernoulli
from iskra.distributions.dirichlet import Dirichlet
from iskra.distributions.distribution import Distribution, ExponentialFamily
from iskra.distributions.exponential import Exponential
from iskra.distributions.fishersnedecor import FisherSnedecor
from iskra.distributions.gamma import Gamma
from iskra.distributions.geometric import Geometric
from iskra.distributions.gumbel import Gumbel
from iskra.distributions.half_cauchy import HalfCauchy
from iskra.distributions.half_normal import HalfNormal
from iskra.distributions.independent import Independent
from iskra.distributions.inverse_gamma import InverseGamma
from iskra.distributions.kl import kl_divergence, register_kl
from iskra.distributions.kumaraswamy import Kumaraswamy
from iskra.distributions.laplace import Laplace
from iskra.distributions.log_normal import LogNormal
from iskra.distributions.logistic_normal import LogisticNormal
from iskra.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from iskra.distributions.mixture_same_family import MixtureSameFamily
from iskra.distributions.multinomial import Multinomial
from iskra.distributions.multivariate_normal import MultivariateNormal
from iskra.distributions.negative_binomial import NegativeBinomial
from iskra.distributions.normal import Normal
from iskra.distributions.one_hot_categorical import (
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from iskra.distributions.pareto import Pareto
from iskra.distributions.poisson import Poisson
from iskra.distributions.relaxed_bernoulli import RelaxedBernoulli
from iskra.distributions.relaxed_categorical import RelaxedOneHotCategorical
from iskra.distributions.studentT import StudentT
from iskra.distributions.transformed_distribution import TransformedDistribution
from iskra.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    ComposeTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from iskra.distributions.uniform import Uniform
from iskra.distributions.von_mises import VonMises
from iskra.distributions.weibull import Weibull

__all__ = [
    "AbsTransform", "AffineTransform", "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy",
    "Chi2", "ComposeTransform", "ContinuousBernoulli", "CumulativeDistributionTransform",
    "Dirichlet", "Distribution", "ExpTransform", "Exponential", "ExponentialFamily",
    "FisherSnedecor", "Gamma", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal", "Independent",
    "IndependentTransform", "InverseGamma", "Kumaraswamy", "Laplace", "LogNormal",
    "LogisticNormal", "LowRankMultivariateNormal", "LowerCholeskyTransform", "MixtureSameFamily",
    "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Pareto", "Poisson", "PowerTransform",
    "RelaxedBernoulli", "RelaxedOneHotCategorical", "ReshapeTransform", "SigmoidTransform",
    "SoftmaxTransform", "SoftplusTransform", "StickBreakingTransform", "StudentT",
    "TanhTransform", "Transform", "TransformedDistribution", "Uniform", "VonMises", "Weibull",
    "constraints", "identity_transform", "kl", "kl_divergence", "register_kl", "transforms",
]
