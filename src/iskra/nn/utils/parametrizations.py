"""Ready parametrizations: orthogonal, weight and spectral normalisation.

Page: https://docs.pytorch.org/docs/stable/nn.html#parametrizations
"""

from iskra import ops
from iskra.autograd import no_grad
from iskra.core import finfo
from iskra.nn import functional as F
from iskra.nn.module import Module
from iskra.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from iskra.nn.utils import parametrize
from iskra.nn.utils.norms import as_matrix, norm_except_dim, sharpen, sigma, weight_from
from iskra.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


def _weight_of(module, name):
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def _default_dim(module, dim):
    """The dimension of the outputs in a layer's weight."""
    if dim is not None:
        return dim
    transposed = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
    return 1 if isinstance(module, transposed) else 0


def _is_orthogonal(q):
    rows, columns = q.size(-2), q.size(-1)
    identity = ops.eye(columns, dtype=q.dtype, device=q.device)
    return ops.allclose(q.mH @ q, identity, atol=10.0 * rows * finfo(q.dtype).eps)


def _make_orthogonal(matrix):
    """The orthogonal factor of QR, its columns signed as the matrix's."""
    q, r = ops.linalg_qr(matrix)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """Maps matrices to orthogonal ones; with `base` around a point of one's choice."""

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError(
                "The householder parametrization does not support complex tensors."
            )
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        rows, columns = x.size(-2), x.size(-1)
        wide = rows < columns
        if wide:
            x, rows, columns = x.mT, columns, rows
        if self.orthogonal_map == "householder":
            q = self._by_householder(x)
        else:
            q = self._by_skew(x, rows, columns)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _by_skew(self, x, rows, columns):
        """The exponential or Cayley transform of the skew-symmetric part."""
        x = x.tril()
        if rows != columns:
            fill = x.new_zeros(rows, rows - columns).expand(*x.shape[:-2], -1, -1)
            x = ops.cat([x, fill], dim=-1)
        skew = x - x.mH
        if self.orthogonal_map == "matrix_exp":
            q = ops.linalg_matrix_exp(skew)
        else:
            identity = ops.eye(rows, dtype=skew.dtype, device=skew.device)
            q = ops.linalg_solve(identity - skew * 0.5, identity + skew * 0.5)
        return q[..., :columns] if rows != columns else q

    def _by_householder(self, x):
        below = x.tril(diagonal=-1)
        tau = 2.0 / (1.0 + (below * below).sum(dim=-2))
        q = ops.linalg_householder_product(below, tau)
        return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    def right_inverse(self, q):
        """The matrix that is mapped to `q`; it moves `base` there if there is one."""
        with no_grad():
            if q.shape != self.shape:
                raise ValueError(
                    f"Expected a matrix or batch of matrices of shape {self.shape}. "
                    f"Got a tensor of shape {q.shape}."
                )
            wide = q.size(-2) < q.size(-1)
            tall = q.mT if wide else q
            if not hasattr(self, "base"):
                reflectors = self._reflectors(tall)
                return reflectors.mT if wide else reflectors
            self.base = self._completed(tall)
            start = ops.zeros_like(q)
            start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
            return start

    def _reflectors(self, q):
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        reflectors, tau = ops.geqrf(q)
        signs = reflectors.diagonal(dim1=-2, dim2=-1)
        signs.sign_()
        signs[tau == 0.0] *= -1
        return reflectors

    def _completed(self, q):
        """A square orthogonal matrix that begins with the columns of `q`."""
        rows, columns = q.size(-2), q.size(-1)
        if rows == columns:
            return q.clone() if _is_orthogonal(q) else _make_orthogonal(q)
        more = ops.randn(*q.shape[:-2], rows, rows - columns, dtype=q.dtype, device=q.device)
        return _make_orthogonal(ops.cat([q, more], dim=-1))


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keep a matrix (or batch of matrices) orthogonal; a wide one has orthogonal rows.

    `orthogonal_map` is "matrix_exp", "cayley" or "householder". Returns the module.
    Raises ValueError for a tensor of fewer than two dimensions or an unknown map.

    Source: `torch.nn.utils.parametrizations.orthogonal`.

    >>> import iskra as torch
    >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 5))
    >>> torch.allclose(layer.weight.T @ layer.weight, torch.eye(3), atol=1e-5)
    True
    """
    weight = _weight_of(module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    mapping = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, mapping, unsafe=True)


class _WeightNorm(Module):
    """Magnitude and direction, the originals 0 and 1."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return weight_from(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Separate the magnitude (original0) and direction (original1) of a weight, along `dim`.

    State dicts of the older `nn.utils.weight_norm` load too. Returns the module.

    Source: `torch.nn.utils.parametrizations.weight_norm`.

    >>> import iskra as torch
    >>> layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(20, 40))
    >>> layer.parametrizations.weight.original0.shape
    iskra.Size([40, 1])
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def from_older_names(state_dict, prefix, *_):
        old = (f"{prefix}{name}_g", f"{prefix}{name}_v")
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                new = f"{prefix}parametrizations.{name}.original{i}"
                state_dict[new] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(from_older_names)
    return module


class _SpectralNorm(Module):
    """Divides by the largest singular value, followed by power iterations in training."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.ndim}, "
                f"{weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            u = matrix.new_empty(matrix.size(0)).normal_(0, 1)
            v = matrix.new_empty(matrix.size(1)).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _iterate(self, matrix, times):
        for _ in range(times):
            sharpen(matrix, self._u, self._v, self.eps, "uv")

    def forward(self, weight):
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        return weight / sigma(matrix, self._u, self._v)

    def right_inverse(self, value):
        return value  # dividing again changes nothing: one of many inverses


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide a weight by its largest singular value (Miyato et al., 2018). Returns the module.

    Source: `torch.nn.utils.parametrizations.spectral_norm`.

    >>> import iskra as torch
    >>> layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(20, 40))
    >>> bool(torch.linalg.matrix_norm(layer.weight, 2) < 1.1)
    True
    """
    weight = _weight_of(module, name)
    norm = _SpectralNorm(weight, n_power_iterations, _default_dim(module, dim), eps)
    return parametrize.register_parametrization(module, name, norm)
