"""What the operators of linear algebra check, and how they call LAPACK."""

import numpy as np

from iskra.core.dtypes import of_numpy
from iskra.core.errors import LinAlgError
from iskra.core.size import format_shape

_KINDS = {np.dtype(t) for t in (np.float32, np.float64, np.complex64, np.complex128)}


def check_float(name, array):
    """Refuse dtypes that LAPACK has no routines for."""
    if array.dtype not in _KINDS:
        seen = of_numpy(array.dtype).scalar_name
        if seen in ("Half", "BFloat16"):
            raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {seen}")
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {seen}; "
            "convert with .float() first"
        )


def check_matrix(name, array, argument="A"):
    """Refuse what has fewer than two dimensions."""
    if array.ndim < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, got shape "
            f"{format_shape(array.shape)}."
        )


def check_square(name, array, argument="A"):
    """Refuse what is not a batch of square matrices."""
    check_matrix(name, array, argument)
    rows, columns = array.shape[-2:]
    if rows != columns:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {rows} by "
            f"{columns} matrices"
        )


def check_same(name, a, b, names=("A", "B")):
    """Refuse operands of different dtypes."""
    if a.dtype != b.dtype:
        kinds = [of_numpy(x.dtype).scalar_name for x in (a, b)]
        raise RuntimeError(
            f"{name}: Expected {names[0]} and {names[1]} to have the same dtype, but found "
            f"{names[0]} of type {kinds[0]} and {names[1]} of type {kinds[1]} instead"
        )


def adjoint_of(array):
    """Matrices transposed, and conjugated where they are complex."""
    array = np.swapaxes(array, -1, -2)
    return np.conjugate(array) if array.dtype.kind == "c" else array


def each_matrix(function, *arrays):
    """Call `function` on the matrices of batches of one shape; stack each of its results."""
    batch = arrays[0].shape[:-2]
    if not batch:
        return tuple(np.asarray(r) for r in function(*arrays))
    flat = [a.reshape(-1, *a.shape[len(batch):]) for a in arrays]
    columns = list(zip(*[function(*matrices) for matrices in zip(*flat, strict=True)], strict=True))
    return tuple(
        np.stack([np.asarray(r) for r in column]).reshape(*batch, *np.shape(column[0]))
        for column in columns
    )


def _check_data(array):
    """TypeError for what is no ndarray: the routines' own refusal loses a reference to its dtype.

    The meta device goes on with arrays that stand in.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"LAPACK works on arrays with data, not on {type(array).__name__}")


def lapack(name, array):
    """The LAPACK routine `name` (``"getrf"``) for the dtype of `array`."""
    _check_data(array)
    from scipy.linalg import get_lapack_funcs

    return get_lapack_funcs((name,), (array,))[0]


def blas(name, array):
    """The BLAS routine `name` (``"trsm"``) for the dtype of `array`."""
    _check_data(array)
    from scipy.linalg import get_blas_funcs

    return get_blas_funcs((name,), (array,))[0]


def batch_element(info):
    """``"(Batch element 1): "`` for the first failure of a batch, and its code."""
    info = np.asarray(info)
    if not info.ndim:
        return "", int(info)
    place = int(np.flatnonzero(info.reshape(-1))[0])
    return f"(Batch element {place}): ", int(info.reshape(-1)[place])


def refuse_singular(name, info):
    """Raise LinAlgError for matrices that cannot be inverted."""
    if np.any(info):
        where, code = batch_element(info)
        raise LinAlgError(
            f"{name}: {where}The diagonal element {code} is zero, the inversion could not be "
            "completed because the input matrix is singular."
        )


def shifted(make, *shape, by=3.0):
    """Matrices for the test matrix that are far from singular."""
    tensor = make(shape)
    size = min(shape[-2:])
    places = np.arange(size)
    tensor._array[..., places, places] += by
    return tensor


def identity_like(tensor):
    """Identity matrices in the shape of a batch of square ones."""
    return tensor.new_ones(tensor._array.shape[:-1]).diag_embed()
