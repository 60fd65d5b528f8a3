"""Products of vectors, matrices and batches of matrices.

Floats are multiplied by kernels of our own: tiny matrices by what the bodies are traced to, all
others by `iskra.codegen.kernels.products`. Short vectors, integers and complex numbers are left to
``ndarray.dot``, the quickest way to BLAS, or in batches to `np.matmul`, after a look whether BLAS
can take the operands as they lie.
Source of every operator here:
https://docs.pytorch.org/docs/stable/torch.html#blas-and-lapack-operations
"""

import math

import numpy as np

from iskra import runtime
from iskra.codegen import kernels
from iskra.core.size import broadcast
from iskra.dispatch import composite, operator
from iskra.ops.arithmetic import conj_of
from iskra.tensor import Tensor

ACCEPTS = "int float complex"
_C_NAMES = {
    "Byte": "unsigned char", "Char": "signed char", "Short": "short", "Int": "int",
    "Long": "long int", "Half": "c10::Half", "BFloat16": "c10::BFloat16", "Float": "float",
    "Double": "double", "ComplexFloat": "c10::complex<float>",
    "ComplexDouble": "c10::complex<double>", "Bool": "bool",
}


# -- on arrays ------------------------------------------------------------------------------------


def multiplications(a, b, *_):
    """How many multiplications a product of these arrays takes."""
    return a.size * b.shape[-1]


def product(a, b, bias=None):
    """The matrix product of arrays of two or more dimensions each; batches broadcast.

    `bias` is added to each row. The result of narrow floats is as narrow, or still float32. The
    smallest products never come here as arrays: they are traced, being sums of products like any
    other (`dispatch.Operator.work`).
    """
    if a.__class__ is not np.ndarray:  # among them an expression
        found = np.matmul(a, b)
        return found if bias is None else np.add(found, bias)
    if has_kernels(a, b):
        return kernels.products.matmul(a, b, bias=bias)
    found = _by_blas(a, b)
    return found if bias is None else np.add(found, bias, found if found.size else None)


def has_kernels(a, b):
    """Whether the kernels of matrix products take these arrays."""
    return a.dtype is b.dtype and a.dtype.char in "fdeE" and (
        a.__class__ is b.__class__ is np.ndarray) and runtime.native.available()


def widened(array):
    """float16 ("e") and bfloat16 ("E") as float32; other arrays as they are."""
    return array.astype(np.float32) if array.dtype.char in "eE" else array


def times_vector(matrix, vector):
    """The product of a matrix, or several, and a vector."""
    if matrix.ndim > 1 and has_kernels(matrix, vector):
        return kernels.products.matmul(matrix, vector)
    return np.dot(widened(matrix), widened(vector))


def _by_blas(a, b):
    if a.dtype.kind in "iu":
        return _integer_product(a, b)
    a, b = widened(a), widened(b)
    if b.ndim == 2:
        if a.ndim == 2:  # the method spares the look for other kinds of arrays
            return a.dot(b) if a.__class__ is b.__class__ is np.ndarray else np.dot(a, b)
        folded = np.dot(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b)
        return folded.reshape(*a.shape[:-1], b.shape[-1])
    return np.matmul(_ready(a), _ready(b))


def _ready(array):
    """The array itself if BLAS can take its matrices as they lie, else a copy."""
    row, column = array.strides[-2:]
    size = array.itemsize
    if column == size and row % size == 0 and row >= size:
        return array
    if row == size and column % size == 0 and column >= size:
        return array
    return np.ascontiguousarray(array)


def _integer_product(a, b):
    """NumPy multiplies integer matrices slowly; floats are exact below 2**53."""
    if a.shape[-1] * a.size and b.size and a.size * b.shape[-1] > 20_000:
        largest = [max(abs(int(x.max())), abs(int(x.min()))) for x in (a, b)]
        if math.prod(largest) * a.shape[-1] < 2**53:
            return product(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    return np.matmul(a, b)


def adjoint(array):
    """Matrices transposed, and conjugated where they are complex."""
    array = array.swapaxes(-1, -2)
    return np.conjugate(array) if array.dtype.kind == "c" else array


def check_multiply(first, second):
    """Raise RuntimeError where matrices of these shapes cannot be multiplied."""
    if first[-1] != second[-2]:
        raise RuntimeError(
            "mat1 and mat2 shapes cannot be multiplied "
            f"({_times(_folded(first))} and {_times(_folded(second))})"
        )


def _folded(shape):
    return (math.prod(shape[:-1]), shape[-1])


def _times(shape):
    return "x".join(map(str, shape))


def same_dtype(*arrays):
    """Make the door look closer (and raise `uniform`'s error) where dtypes differ."""
    if any(a.dtype != arrays[0].dtype for a in arrays[1:]):
        raise TypeError("operands of several dtypes")


def refuse_m1_m2(first, *others):
    """Raise the error for matrices of different dtypes."""
    other = next(o for o in others if o is not first)
    names = [_C_NAMES.get(k.scalar_name, k.scalar_name) for k in (first, other)]
    raise RuntimeError(
        f"expected m1 and m2 to have the same dtype, but got: {names[0]} != {names[1]}"
    )


def _refuse_batch(first, *others):
    other = next(o for o in others if o is not first)
    raise RuntimeError(
        f"expected scalar type {first.scalar_name} but found {other.scalar_name}"
    )


def _refuse_vectors(first, other):
    raise RuntimeError(
        "dot : expected both vectors to have same dtype, but found "
        f"{first.scalar_name} and {other.scalar_name}"
    )


# -- matrix times matrix --------------------------------------------------------------------------


_MATRIX = dict(operands="input mat2", computes="narrow", accepts=ACCEPTS, uniform=refuse_m1_m2,
               autocast="lower", work=multiplications)


def _check_matrices(a, b):
    if a.ndim != 2:
        raise RuntimeError("self must be a matrix")
    if b.ndim != 2:
        raise RuntimeError("mat2 must be a matrix")
    same_dtype(a, b)
    check_multiply(a.shape, b.shape)


@operator(
    grad={
        "input": lambda g, mat2: times_adjoint(g, mat2),
        "mat2": lambda g, input: adjoint_times(input, g),
    },
    samples=lambda make: [((make((2, 3)), make((3, 4))), {}), ((make((2, 0)), make((0, 2))), {})],
    **_MATRIX,
)
def mm(input, mat2):
    """Return the product of two matrices, ``(n, k)`` and ``(k, m)``.

    Raises RuntimeError for other shapes and for different dtypes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.mm.html

    >>> import iskra as torch
    >>> torch.mm(torch.tensor([[1, 2]]), torch.tensor([[3], [4]]))
    tensor([[11]])
    """
    _check_matrices(input, mat2)
    return product(input, mat2)


# `times_adjoint`, `adjoint_times` and the plain product are each other's gradients, so that
# backward passes need no transposing operators in between.


@operator(
    method=False, function=False, out=False, operands="a b", computes="narrow", node="MmBackward0",
    work=lambda a, b: a.size * b.shape[-2],
    grad={"a": lambda g, b: matmul(g, b), "b": lambda g, a: adjoint_times(g, a)},
)
def times_adjoint(a, b):
    """``a @ b.mH`` for two or more dimensions each."""
    return product(a, adjoint(b))


@operator(
    method=False, function=False, out=False, operands="a b", computes="narrow", node="MmBackward0",
    work=multiplications,
    grad={"a": lambda g, b: times_adjoint(b, g), "b": lambda g, a: matmul(a, g)},
)
def adjoint_times(a, b):
    """``a.mH @ b`` for two or more dimensions each."""
    return product(adjoint(a), b)


def check_batches(a, b, first="batch1", second="batch2"):
    """Raise RuntimeError unless `a` and `b` are batches that `bmm` can multiply."""
    if a.ndim != 3:
        raise RuntimeError(f"{first} must be a 3D tensor")
    if b.ndim != 3:
        raise RuntimeError(f"{second} must be a 3D tensor")
    same_dtype(a, b)
    wanted = [a.shape[0], a.shape[2]]
    if list(b.shape[:2]) != wanted:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: {wanted} but got: "
            f"{list(b.shape[:2])}."
        )


@operator(
    operands="input mat2", computes="narrow", accepts=ACCEPTS, uniform=_refuse_batch,
    autocast="lower", work=multiplications,
    grad={
        "input": lambda g, mat2: times_adjoint(g, mat2),
        "mat2": lambda g, input: adjoint_times(input, g),
    },
    samples=lambda make: [((make((2, 2, 3)), make((2, 3, 2))), {})],
)
def bmm(input, mat2):
    """Return the products of the matrices of two batches, ``(b, n, k)`` and ``(b, k, m)``.

    Raises RuntimeError for other shapes (nothing is broadcast) and for different dtypes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.bmm.html

    >>> import iskra as torch
    >>> torch.bmm(torch.ones(2, 1, 3), torch.ones(2, 3, 1)).flatten()
    tensor([3., 3.])
    """
    check_batches(input, mat2)
    return product(input, mat2)


# -- vectors --------------------------------------------------------------------------------------


def _check_vectors(a, b):
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors")
    same_dtype(a, b)
    if a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.size}] and src [{b.size}] to have "
            f"the same number of elements, but got {a.size} and {b.size} elements respectively"
        )


def _sum_of_products(product, input, other):
    """`product` of two arrays; in a trace, of few numbers, their products are summed."""
    if isinstance(input, np.ndarray):
        return product(input, other)
    return np.sum(input * other, dtype=input.dtype)


def _products_of_vectors(input, other):
    return max(input.size, other.size)


_VECTORS = dict(
    computes=True, accepts=ACCEPTS, uniform=_refuse_vectors, work=_products_of_vectors)


@operator(
    operands="input tensor",
    grad={
        "input": lambda g, tensor: g * conj_of(tensor),
        "tensor": lambda g, input: g * conj_of(input),
    },
    samples=lambda make: [((make((3,)), make((3,))), {})],
    **_VECTORS,
)
def dot(input, tensor):
    """Return the sum of the products of two vectors of one size.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dot.html

    >>> import iskra as torch
    >>> torch.dot(torch.tensor([2, 3]), torch.tensor([2, 1]))
    tensor(7)
    """
    _check_vectors(input, tensor)
    return _sum_of_products(np.dot, input, tensor)


@operator(
    operands="input other",
    grad={
        "input": lambda g, other: conj_of(g) * other,
        "other": lambda g, input: g * input,
    },
    samples=lambda make: [((make((3,)), make((3,))), {})],
    **_VECTORS,
)
def vdot(input, other):
    """Return the dot product of the conjugate of `input` with `other`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vdot.html

    >>> import iskra as torch
    >>> torch.vdot(torch.tensor([1j]), torch.tensor([1j]))
    tensor(1.+0.j)
    """
    _check_vectors(input, other)
    return _sum_of_products(np.vdot, input, other)


def _refuse_mv(matrix, vector):
    names = [vector.scalar_name, matrix.scalar_name, vector.scalar_name]
    raise RuntimeError(
        "addmv input tensors must have the same dtype, but got {}, {}, and {}".format(*names)
    )


def check_matrix_vector(matrix, vector, size=None):
    """Raise RuntimeError unless `mv` can multiply them and `addmv` add `size` elements."""
    if matrix.ndim != 2 or vector.ndim != 1:
        raise RuntimeError(
            "vector + matrix @ vector expected, got 1, "
            f"{matrix.ndim}, {vector.ndim}"
        )
    if matrix.shape[1] != vector.size or size not in (None, 1, matrix.shape[0]):
        raise RuntimeError(
            f"size mismatch, got input ({matrix.shape[0] if size is None else size}), mat "
            f"({_times(matrix.shape)}), vec ({vector.size})"
        )


@operator(
    operands="input vec", computes="narrow", accepts=ACCEPTS, uniform=_refuse_mv, repeats=True,
    grad={
        "input": lambda g, vec: g.unsqueeze(-1) * conj_of(vec),
        "vec": lambda g, input: adjoint_times(input, g.unsqueeze(-1)).squeeze(-1),
    },
    samples=lambda make: [((make((2, 3)), make((3,))), {})],
)
def mv(input, vec):
    """Return the product of a matrix, ``(n, k)``, and a vector, ``(k,)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mv.html

    >>> import iskra as torch
    >>> torch.mv(torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 1]))
    tensor([3, 7])
    """
    same_dtype(input, vec)
    check_matrix_vector(input, vec)
    return times_vector(input, vec)


@composite(aliases=("ger",), out=True, samples=lambda make: [((make((3,)), make((2,))), {})])
def outer(input, vec2):
    """Return the matrix of the products of all pairs of elements of two vectors.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.outer.html

    >>> import iskra as torch
    >>> torch.outer(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    for name, tensor in (("self", input), ("vec2", vec2)):
        if tensor.dim() != 1:
            raise RuntimeError(
                f"outer: Expected 1-D argument {name}, but got {tensor.dim()}-D"
            )
    return input.unsqueeze(1) * vec2


# -- matmul ---------------------------------------------------------------------------------------


def _node_of_matmul(input, other):
    ranks = (input.dim(), other.dim())
    names = {(1, 1): "DotBackward0", (2, 1): "MvBackward0", (1, 2): "SqueezeBackward4",
             (2, 2): "MmBackward0"}
    return names.get(ranks, "UnsafeViewBackward0")


def _gradient_left(g, other, input_shape):
    """The gradient of ``input @ other`` for `input`; the engine sums broadcast batches."""
    vector = len(input_shape) == 1
    if other.dim() == 1:
        return g * conj_of(other) if vector else g.unsqueeze(-1) * conj_of(other)
    if vector:
        return times_adjoint(g.unsqueeze(-2), other).squeeze(-2)
    return times_adjoint(g, other)


def _gradient_right(g, input, other_shape):
    """The gradient of ``input @ other`` for `other`."""
    vector = len(other_shape) == 1
    if input.dim() == 1:
        return g * conj_of(input) if vector else conj_of(input).unsqueeze(-1) * g.unsqueeze(-2)
    if vector:
        return adjoint_times(_rows(input), g.reshape(-1, 1)).squeeze(-1)
    if len(other_shape) == 2 and input.dim() > 2:
        return adjoint_times(_rows(input), _rows(g))
    return adjoint_times(input, g)


def _rows(tensor):
    """All leading dimensions made into one."""
    return tensor if tensor.dim() == 2 else tensor.reshape(-1, tensor.size(-1))


def _check_matmul(a, b):
    """`matmul`'s errors for operands of any rank."""
    if not a.ndim or not b.ndim:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{a.ndim}D and {b.ndim}D"
        )
    if a.ndim == 1 == b.ndim:
        _check_vectors(a, b)
    elif b.ndim == 1:
        if a.ndim == 2:
            check_matrix_vector(a, b)
        elif a.shape[-1] != b.size:
            raise RuntimeError(
                f"size mismatch, got input ({math.prod(a.shape[:-1])}), mat "
                f"({_times(_folded(a.shape))}), vec ({b.size})"
            )
    elif b.ndim == 2:
        check_multiply(a.shape if a.ndim > 1 else (1, *a.shape), b.shape)
    else:
        first = a.shape if a.ndim > 1 else (1, *a.shape)
        batch = broadcast(first[:-2], b.shape[:-2])
        if first[-1] != b.shape[-2]:
            count = math.prod(batch)
            raise RuntimeError(
                "Expected size for first two dimensions of batch2 tensor to be: "
                f"[{count}, {first[-1]}] but got: [{count}, {b.shape[-2]}]."
            )


@operator(
    operands="input other", computes="narrow", accepts=ACCEPTS, uniform=refuse_m1_m2,
    autocast="lower", node=_node_of_matmul, work=multiplications,
    grad={"input": _gradient_left, "other": _gradient_right},
    namespace="torch linalg",
    samples=lambda make: [
        ((make((3,)), make((3,))), {}), ((make((2, 3)), make((3,))), {}),
        ((make((3,)), make((3, 2))), {}), ((make((2, 3)), make((3, 2))), {}),
        ((make((2, 2, 3)), make((3, 2))), {}), ((make((2, 3)), make((2, 3, 2))), {}),
        ((make((2, 1, 2, 3)), make((3, 3, 2))), {}), ((make((2, 2, 3)), make((3,))), {}),
        ((make((3,)), make((2, 3, 2))), {}),
    ],
)
def matmul(input, other):
    """Return the matrix product of tensors of any rank; also ``input @ other``.

    Vectors count as one row on the left and one column on the right, and that dimension is taken
    out of the result. Leading dimensions are batches and broadcast.
    Raises RuntimeError for shapes that do not fit and for different dtypes.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.matmul.html

    >>> import iskra as torch
    >>> torch.matmul(torch.tensor([[1, 2], [3, 4]]), torch.tensor([1, 1]))
    tensor([3, 7])
    """
    same_dtype(input, other)
    if input.ndim == 2 == other.ndim:
        if input.shape[1] != other.shape[0]:
            check_multiply(input.shape, other.shape)
        return product(input, other)
    _check_matmul(input, other)
    if other.ndim == 1:
        return times_vector(input, other)
    if input.ndim == 1:
        return product(input[None], other)[..., 0, :]
    return product(input, other)


class _Operators:
    """The special methods, as they will read on `Tensor`."""

    def __matmul__(self, other):
        return matmul(self, other) if isinstance(other, Tensor) else NotImplemented

    def __rmatmul__(self, other):
        return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


Tensor.__matmul__ = _Operators.__matmul__
Tensor.__rmatmul__ = _Operators.__rmatmul__
