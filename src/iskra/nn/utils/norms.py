"""The arithmetic behind weight and spectral normalisation."""

from iskra import ops
from iskra.autograd import no_grad
from iskra.nn import functional as F


def norm_except_dim(weight, dim):
    """The 2-norm over all dimensions but `dim`, which are kept as 1; over all for -1."""
    if dim == -1:
        return ops.linalg_vector_norm(weight, 2)
    dim = dim % weight.dim()
    others = [d for d in range(weight.dim()) if d != dim]
    return ops.linalg_vector_norm(weight, 2, others, keepdim=True) if others else weight.abs()


def weight_from(direction, magnitude, dim):
    """direction / |direction| * magnitude."""
    return direction * (magnitude / norm_except_dim(direction, dim))


def as_matrix(weight, dim):
    """The weight with `dim` first and all other dimensions joined."""
    if dim != 0:
        weight = weight.permute(dim, *[d for d in range(weight.dim()) if d != dim])
    return weight.flatten(1)


def unit_normal(like, size, eps):
    """A random vector of length 1 with the dtype and device of `like`."""
    return F.normalize(like.new_empty(size).normal_(0, 1), dim=0, eps=eps)


def sharpen(matrix, u, v, eps, order):
    """One power iteration towards the largest singular value, in place, outside autograd.

    `order` says which vector is computed first, from the other one: "uv" or "vu".
    """
    with no_grad():
        for side in order:
            if side == "u":
                u.copy_(F.normalize(ops.mv(matrix, v), dim=0, eps=eps))
            else:
                v.copy_(F.normalize(ops.mv(matrix.t(), u), dim=0, eps=eps))


def sigma(matrix, u, v):
    """The largest singular value, u and v being its vectors; they may be sharpened later."""
    return ops.dot(u.clone(), ops.mv(matrix, v.clone()))
