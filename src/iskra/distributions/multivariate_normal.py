"""The normal distribution over vectors."""

from iskra.core.size import broadcast
from iskra.distributions import constraints
from iskra.distributions.distribution import Distribution
from iskra.distributions.utils import HALF_LOG_2PI, lazy_property, standard_normal
from iskra.ops import cholesky_inverse, eye, linalg_cholesky, linalg_solve_triangular, matmul

__all__ = ["MultivariateNormal"]


def from_precision(precision):
    """The lower Cholesky factor of the inverse of `precision`."""
    # With J turning the order round: P = J L L' J gives the factor J inv(L)' J of inv(P).
    turned = linalg_cholesky(precision.flip((-2, -1)))
    upper = turned.flip((-2, -1)).mT
    identity = eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg_solve_triangular(upper, identity, upper=False)


def squared_distances(scale_tril, away):
    """``|inv(L) x|²`` for vectors `away`, over broadcast batches."""
    shape = broadcast(scale_tril.shape[:-2], away.shape[:-1])
    n = away.shape[-1]
    away = away.expand((*shape, n)).unsqueeze(-1)
    factor = scale_tril.expand((*shape, n, n))
    return linalg_solve_triangular(factor, away, upper=False).squeeze(-1).square().sum(-1)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors of mean `loc`.

    Its spread is one of `covariance_matrix`, `precision_matrix` (the inverse) and `scale_tril` (the
    lower Cholesky factor, with which it computes).

    >>> import iskra as torch
    >>> d = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    >>> d.log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True
    _fields = {
        "loc": 1, "_unbroadcasted_scale_tril": 2, "covariance_matrix": 2, "precision_matrix": 2,
        "scale_tril": 2,
    }

    def __init__(
        self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None,
        validate_args=None,
    ):
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        spreads = {"covariance_matrix": covariance_matrix, "scale_tril": scale_tril,
                   "precision_matrix": precision_matrix}
        given = {name: value for name, value in spreads.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                "specified."
            )
        ((name, matrix),) = given.items()
        if matrix.ndim < 2:
            raise ValueError(
                f"{name} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch, n = broadcast(matrix.shape[:-2], loc.shape[:-1]), loc.shape[-1]
        setattr(self, name, matrix.expand((*batch, n, n)))
        self.loc = loc.expand((*batch, n))
        super().__init__(batch, (n,), validate_args)
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = linalg_cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = from_precision(matrix)

    def expand(self, batch_shape, _instance=None):
        new = super().expand(batch_shape, _instance)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        return new

    @property
    def _matrix_shape(self):
        return self._batch_shape + self._event_shape + self._event_shape

    @lazy_property
    def scale_tril(self):
        return self._unbroadcasted_scale_tril.expand(self._matrix_shape)

    @lazy_property
    def covariance_matrix(self):
        factor = self._unbroadcasted_scale_tril
        return matmul(factor, factor.mT).expand(self._matrix_shape)

    @lazy_property
    def precision_matrix(self):
        return cholesky_inverse(self._unbroadcasted_scale_tril).expand(self._matrix_shape)

    mean = mode = property(lambda self: self.loc)

    @property
    def variance(self):
        squares = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return squares.expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape=()):
        eps = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + matmul(self._unbroadcasted_scale_tril, eps.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self):
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        squares = squared_distances(self._unbroadcasted_scale_tril, value - self.loc)
        return -self._event_shape[0] * HALF_LOG_2PI - 0.5 * squares - self._half_log_det()

    def entropy(self):
        whole = self._event_shape[0] * (0.5 + HALF_LOG_2PI) + self._half_log_det()
        return whole.expand(self._batch_shape)
