"""What an ``out=`` tensor must be: its dtype, and memory apart from the operands'.

Iskra computes whole before it writes, so that overlapping memory would do no harm; it is refused
where PyTorch refuses it, for there the same program would be wrong.

An operator says in its declaration what it demands beyond what follows from its kind, in words of
``out="..."``:

=========== =====================================================================================
`exact`     `out` has the dtype of the result
`casts`     the result's dtype can be cast to that of `out`
`dtype`     `out` tells the dtype to compute in, unless `dtype=` does; then they are the same
`apart`     `out` overlaps no operand; the first one it may be, if the operator can work in place
`aligned`   `out` may be an operand, but not overlap one in part
=========== =====================================================================================

Without words, pointwise operators cast (those of one operand that keep its dtype: exact) and are
aligned. A single result of a composite casts. All others are exact. None of these is apart.
"""

import numpy as np

from iskra.core.dtypes import dtype
from iskra.core.promotion import can_cast
from iskra.dispatch.operator import SAME, body_operands
from iskra.tensor import Parameter, Tensor, storage_of


def in_dtype_of(op, bound, out):
    """The arguments, with the dtype of `out` for that of the computation where it tells it."""
    if not _says(op, "dtype"):
        return bound
    index = op.dtype_index
    return bound if bound[index] is not None else (*bound[:index], out._dtype, *bound[index + 1:])


def may_alias(op):
    """Whether `out` may be an operand."""
    return not _says(op, "apart")


def are_simple(op, values, out):
    """Whether a call with these arguments surely allows `out`, if its dtype and shape are right.

    And computes the same with it as without. Otherwise `in_dtype_of` and `check` look closer.
    """
    array = out._array
    if array.__class__ is not np.ndarray:
        return False
    owner = _owner(array)
    apart, dtype_told = _says(op, "apart"), _says(op, "dtype")
    for value in values:
        cls = value.__class__
        for operand in value if cls is list or cls is tuple else (value,):
            cls = operand.__class__
            if cls is Tensor or cls is Parameter:
                operand = operand._array
                if apart if operand is array else owner is None or _owner(operand) is owner:
                    return False
            elif cls is dtype and dtype_told:
                return False
    return not dtype_told or (
        values and values[0].__class__ is Tensor and values[0]._dtype is out._dtype
        and out._dtype.is_floating_point
    )


def _owner(array):
    """The array that owns the memory; None where that is no array, or of another class."""
    base = array.base
    if base is None:
        return array
    return base if base.__class__ is np.ndarray and base.base is None else None


def check(op, bound, out, value, alone):
    """Raise RuntimeError where `value`, a result of `op`, must not be written into `out`.

    alone: whether it is the only result.
    """
    found, expected = out._dtype, value._dtype
    if found is not expected:
        if not can_cast(expected, found):
            raise RuntimeError(
                f"{op.name}: result type {expected.scalar_name} can't be cast to the desired "
                f"output type {found.scalar_name}"
            )
        if _is_exact(op, alone):
            raise RuntimeError(
                f"{op.name}: Expected out tensor to have dtype {expected.name}, but got "
                f"{found.name} instead. Give a tensor of that dtype, or convert the result."
            )
    if not isinstance(out._array, np.ndarray):
        return
    written = _written(out, value._array)
    apart = _says(op, "apart")
    if apart or op.kind == "pointwise" or _says(op, "aligned"):
        _check_operands(op, bound, out, written, apart)


def refuse_growth(storage):
    """Raise RuntimeError where a storage cannot grow."""
    if not storage.resizable():
        raise RuntimeError(
            "Trying to resize storage that is not resizable: its memory is that of a NumPy array "
            "or a buffer. Give a tensor that is large enough, or a clone() of this one."
        )


def _says(op, word):
    return op.out.__class__ is str and word in op.out.split()


def _is_exact(op, alone):
    if op.out.__class__ is str:
        words = op.out.split()
        if "exact" in words or "dtype" in words:
            return True
        if "casts" in words:
            return False
    if op.kind == "pointwise":
        return op.promote is SAME and body_operands(op) == 1
    return op.kind != "composite" or not alone


def _written(out, result):
    """The memory that writing `result` into `out` will touch, as far as there is such yet."""
    array = out._array
    if array.shape == result.shape:
        return array
    storage, start = storage_of(out), out.storage_offset() * array.itemsize
    memory = storage.array.view(np.uint8)[start : start + result.size * array.itemsize]
    if memory.nbytes < result.size * array.itemsize:
        refuse_growth(storage)
    return memory


def _check_operands(op, bound, out, written, apart):
    for index, value in enumerate(bound):
        for operand in value if isinstance(value, (tuple, list)) else (value,):
            if not isinstance(operand, Tensor):
                continue
            strict = apart and not (op.inplace and index == op.operands[0])
            if strict and operand is out or _overlap(operand._array, written, strict):
                raise RuntimeError(
                    f"{op.name}: unsupported operation: some elements of the input tensor "
                    f"'{op.signature.names[index]}' and the written-to tensor refer to a single "
                    "memory location. Please clone() the tensor before performing the operation."
                )


def _overlap(array, written, strict):
    """Whether two arrays have memory in common; unless `strict`, they may be the same.

    As in PyTorch, the question is left alone where one of them has gaps.
    """
    if not isinstance(array, np.ndarray) or not np.may_share_memory(array, written):
        return False
    if not (_is_dense(array) and _is_dense(written)):
        return False
    return strict or not (
        array.shape == written.shape and array.strides == written.strides
        and array.__array_interface__["data"] == written.__array_interface__["data"]
    )


def _is_dense(array):
    """Whether the elements fill the memory from the first to the last."""
    if array.flags.forc:
        return True
    reach = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    return reach + array.itemsize == array.nbytes
