"""The normal distribution over vectors whose covariance is low-rank but for its diagonal."""

from iskra.core.size import broadcast
from iskra.distributions import constraints
from iskra.distributions.distribution import Distribution
from iskra.distributions.multivariate_normal import squared_distances
from iskra.distributions.utils import HALF_LOG_2PI, lazy_property, standard_normal
from iskra.ops import eye, linalg_cholesky, matmul

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of covariance ``cov_factor cov_factor' + diag(cov_diag)``.

    >>> import iskra as torch
    >>> D = torch.distributions
    >>> d = D.LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2))
    >>> d.covariance_matrix
    tensor([[2., 1.],
            [1., 2.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True
    _fields = {"loc": 1, "cov_factor": 2, "cov_diag": 1, "_capacitance_tril": 2}

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.ndim < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if cov_factor.shape[-2] != n:
            raise ValueError(
                f"cov_factor must be a batch of matrices with shape {n} x m"
            )
        if cov_diag.shape[-1] != n:
            raise ValueError(f"cov_diag must be a batch of vectors with shape ({n},)")
        batch = broadcast(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc, self.cov_diag = loc.expand((*batch, n)), cov_diag.expand((*batch, n))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        scaled = cov_factor.mT / cov_diag.unsqueeze(-2)  # W' inv(D)
        inner = matmul(scaled, cov_factor)
        identity = eye(inner.shape[-1], dtype=inner.dtype, device=inner.device)
        factor = linalg_cholesky(inner + identity)
        self._capacitance_tril = factor.expand((*batch, *factor.shape[-2:]))
        super().__init__(batch, (n,), validate_args)

    mean = mode = property(lambda self: self.loc)

    @lazy_property
    def variance(self):
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self):
        return matmul(self.cov_factor, self.cov_factor.mT) + self.cov_diag.diag_embed()

    @lazy_property
    def scale_tril(self):
        return linalg_cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self):
        return self.covariance_matrix.inverse()

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        along = standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc)
        apart = standard_normal(shape, self.loc)
        moved = matmul(self.cov_factor, along.unsqueeze(-1)).squeeze(-1)
        return self.loc + moved + self.cov_diag.sqrt() * apart

    def _log_det(self):
        inner = self._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * inner + self.cov_diag.log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        away = value - self.loc
        # Woodbury: x' inv(WW' + D) x = x' inv(D) x - |inv(L) W' inv(D) x|²
        scaled = matmul(self.cov_factor.mT, (away / self.cov_diag).unsqueeze(-1)).squeeze(-1)
        squares = (away.pow(2) / self.cov_diag).sum(-1)
        squares = squares - squared_distances(self._capacitance_tril, scaled)
        return -0.5 * (self._event_shape[0] * 2 * HALF_LOG_2PI + self._log_det() + squares)

    def entropy(self):
        return 0.5 * (self._event_shape[0] * (1.0 + 2 * HALF_LOG_2PI) + self._log_det())
