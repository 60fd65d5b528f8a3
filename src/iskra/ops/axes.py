"""Views that reorder dimensions (transpose, permute), and those of complex numbers.

Source of every operator here: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

import numpy as np

from iskra.core import dtypes
from iskra.core.size import wrap_dim
from iskra.dispatch import SAME, composite, pointwise, view
from iskra.tensor import Tensor


@view(
    inplace=True, grad=lambda g, dim0, dim1: g.transpose(dim0, dim1),
    samples=lambda make: [((make((2, 3, 4)), 0, -1), {}), ((make(()), 0, 0), {})],
)
def transpose(input, dim0, dim1):
    """Return a view with dimensions `dim0` and `dim1` exchanged.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.transpose.html

    >>> import iskra as torch
    >>> torch.transpose(torch.tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    rank = input.ndim
    if not (-rank <= dim0 < rank and -rank <= dim1 < rank):
        dim0, dim1 = wrap_dim(dim0, rank), wrap_dim(dim1, rank)
    return input.swapaxes(dim0, dim1) if rank else input


@composite(aliases=("swapdims",))
def swapaxes(input, axis0, axis1):
    """Return a view with dimensions `axis0` and `axis1` exchanged: NumPy's name for `transpose`.

    >>> import iskra as torch
    >>> torch.swapaxes(torch.ones(2, 3), 0, 1).shape
    iskra.Size([3, 2])
    """
    return transpose(input, axis0, axis1)


@composite(function=False, aliases=("swapdims_",))
def swapaxes_(input, axis0, axis1):
    """In-place form of `swapaxes`: the tensor itself gets the exchanged dimensions.

    >>> import iskra as torch
    >>> torch.ones(2, 3).swapaxes_(0, 1).shape
    iskra.Size([3, 2])
    """
    return input.transpose_(axis0, axis1)


@view(inplace=True, grad=lambda g: g.t(), samples=lambda make: [((make((2, 3)),), {})])
def t(input):
    """Return a matrix transposed; vectors and 0-d tensors as they are.

    Raises RuntimeError for more than two dimensions.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.t.html

    >>> import iskra as torch
    >>> torch.tensor([[1, 2], [3, 4]]).t()
    tensor([[1, 3],
            [2, 4]])
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D; "
            "use .mT or .transpose(dim0, dim1)"
        )
    return np.transpose(input)


def _inverse(dims, rank):
    places = [0] * rank
    for place, dim in enumerate(dims):
        places[dim % rank] = place
    return tuple(places)


@view(
    variadic="dims", grad=lambda g, dims: g.permute(_inverse(dims, len(dims))),
    samples=lambda make: [((make((2, 3, 4)), (2, 0, -2)), {}), ((make(()), ()), {})],
)
def permute(input, dims):
    """Return a view with the dimensions in the order `dims`.

    Raises RuntimeError unless `dims` names every dimension once.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.permute.html

    >>> import iskra as torch
    >>> torch.permute(torch.ones(2, 3, 4), (2, 0, 1)).shape
    iskra.Size([4, 2, 3])
    """
    rank = input.ndim
    if len(dims) != rank:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            "length of the desired ordering of dimensions i.e. "
            f"input.dim() = {rank} is not equal to len(dims) = {len(dims)}"
        )
    order = tuple([wrap_dim(d, rank) for d in dims])
    if len(set(order)) != rank:
        raise RuntimeError(f"permute(): duplicate dims are not allowed, got {tuple(dims)}")
    return input.transpose(order)


@composite(
    aliases=("moveaxis",),
    samples=lambda make: [((make((2, 3, 4)), 0, 2), {}), ((make((2, 3)), (0, 1), (1, 0)), {})],
)
def movedim(input, source, destination):
    """Return a view with the dimensions `source` at the places `destination`.

    Both are ints or tuples of ints of one length. The other dimensions keep their order.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.movedim.html

    >>> import iskra as torch
    >>> torch.movedim(torch.ones(2, 3, 4), 0, 2).shape
    iskra.Size([3, 4, 2])
    """
    rank = input.dim()
    source = source if isinstance(source, (tuple, list)) else (source,)
    destination = destination if isinstance(destination, (tuple, list)) else (destination,)
    if len(source) != len(destination):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source "
            f"({tuple(source)} dims) should contain the same number of dims as destination "
            f"({tuple(destination)} dims)"
        )
    source = _distinct(source, rank, "source")
    destination = _distinct(destination, rank, "destination")
    if not rank:
        return input.view(())
    order = [d for d in range(rank) if d not in source]
    for place, dim in sorted(zip(destination, source, strict=True)):
        order.insert(place, dim)
    return permute(input, tuple(order))


def _distinct(dims, rank, name):
    wrapped = tuple(wrap_dim(d, rank) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"movedim: repeated dim in `{name}` ({tuple(dims)})")
    return wrapped


@composite()
def adjoint(input):
    """Return the last two dimensions exchanged and, for complex numbers, conjugated.

    Raises RuntimeError for a vector.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.adjoint.html

    >>> import iskra as torch
    >>> torch.adjoint(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 3.],
            [2., 4.]])
    """
    if input.dim() == 1:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. "
            "Got 1-D tensor."
        )
    return conj(transpose(input, -2, -1) if input.dim() else input)


# -- complex numbers ------------------------------------------------------------------------------


@view(function=False, method=False, node="SelectBackward0", grad=lambda g: g)
def real_view(input):
    """The operator behind `real`."""
    return input.real


@composite(method=False)
def real(input):
    """Return the real part: a view of a complex tensor, a real tensor itself.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.real.html

    >>> import iskra as torch
    >>> torch.real(torch.tensor([1 + 2j]))
    tensor([1.])
    """
    return real_view(input) if input._dtype.is_complex else input


@view(
    function=False, method=False, node="SelectBackward0", grad=lambda g: g * 1j,
)
def imag_view(input):
    """The operator behind `imag`."""
    return input.imag


@composite(method=False)
def imag(input):
    """Return the imaginary part, a view. Raises RuntimeError for real tensors.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.imag.html

    >>> import iskra as torch
    >>> torch.imag(torch.tensor([1 + 2j]))
    tensor([2.])
    """
    if not input._dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return imag_view(input)


@view(method=False, grad=lambda g: view_as_complex(g.contiguous()))
def view_as_real(input):
    """Return a view with a last dimension that holds real and imaginary part.

    Raises RuntimeError for real tensors.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.view_as_real.html

    >>> import iskra as torch
    >>> torch.view_as_real(torch.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    if input.dtype == dtypes.complex32.numpy:
        return input[..., None].view(np.float16)
    if input.dtype.kind != "c":
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return input[..., None].view(input.real.dtype)


@view(autocast="float32", method=False, grad=lambda g: view_as_real(g))
def view_as_complex(input):
    """Return a view of pairs, in a last dimension of size 2, as complex numbers.

    Raises RuntimeError where the pairs do not lie side by side.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.view_as_complex.html

    >>> import iskra as torch
    >>> torch.view_as_complex(torch.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    if input.dtype not in (np.float16, np.float32, np.float64):
        raise RuntimeError(
            "view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of scalar type: {input.dtype}"
        )
    if input.ndim == 0:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if input.strides[-1] != input.itemsize:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % (2 * input.itemsize) for s in input.strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if input.dtype == np.float16:
        return input.view(dtypes.complex32.numpy)[..., 0]
    return input.view(np.result_type(input.dtype, np.complex64))[..., 0]


@pointwise(
    SAME, node="ConjBackward0", grad=lambda g: g.conj(),
)
def conj_physical(input):
    """Return the complex conjugate of each element.

    >>> import iskra as torch
    >>> torch.conj_physical(torch.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return np.conjugate(input) if input.dtype.kind == "c" else np.copy(input)


@composite()
def conj(input):
    """Return the complex conjugate of each element; a real tensor itself.

    The conjugate is computed at once (PyTorch may put it off), so the result is never a view and
    `Tensor.is_conj` is always False.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.conj.html

    >>> import iskra as torch
    >>> torch.conj(torch.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return conj_physical(input) if input._dtype.is_complex else input


@composite()
def resolve_conj(input):
    """Return the tensor itself: conjugation is never put off.

    >>> import iskra as torch
    >>> torch.resolve_conj(torch.tensor([1.0]))
    tensor([1.])
    """
    return input


@composite()
def resolve_neg(input):
    """Return the tensor itself: negation is never put off.

    >>> import iskra as torch
    >>> torch.resolve_neg(torch.tensor([1.0]))
    tensor([1.])
    """
    return input


@composite()
def is_conj(input):
    """Return False: conjugation is never put off.

    >>> import iskra as torch
    >>> torch.is_conj(torch.tensor([1 + 2j]).conj())
    False
    """
    return False


@composite()
def is_neg(input):
    """Return False: negation is never put off.

    >>> import iskra as torch
    >>> torch.is_neg(torch.tensor([1.0]))
    False
    """
    return False


# -- properties -----------------------------------------------------------------------------------


class _Properties:
    """The attributes, as they will read on `Tensor`."""

    @property
    def T(self):
        """The tensor with its dimensions reversed; for matrices the transpose."""
        return permute(self, tuple(range(self.dim() - 1, -1, -1)))

    @property
    def mT(self):
        """The last two dimensions exchanged: each matrix of a batch transposed."""
        if self.dim() < 2:
            raise RuntimeError(
                "tensor.mT is only supported on matrices or batches of matrices. "
                f"Got {self.dim()}-D tensor."
            )
        return transpose(self, -2, -1)

    @property
    def H(self):
        """A matrix transposed and conjugated."""
        if self.dim() not in (0, 2):
            raise RuntimeError(
                "tensor.H is only supported on matrices (2-D tensors). "
                f"Got {self.dim()}-D tensor. For batches of matrices, consider using tensor.mH"
            )
        return adjoint(self)

    @property
    def mH(self):
        """The last two dimensions exchanged and conjugated."""
        if self.dim() < 2:
            raise RuntimeError(
                "tensor.mH is only supported on matrices or batches of matrices. "
                f"Got {self.dim()}-D tensor."
            )
        return adjoint(self)

    @property
    def real(self):
        """The real part; writing to it writes the tensor."""
        return real(self)

    @real.setter
    def real(self, value):
        real(self).copy_(value)

    @property
    def imag(self):
        """The imaginary part; writing to it writes the tensor."""
        return imag(self)

    @imag.setter
    def imag(self, value):
        imag(self).copy_(value)


for _name, _member in vars(_Properties).items():
    if not _name.startswith("__"):
        setattr(Tensor, _name, _member)
