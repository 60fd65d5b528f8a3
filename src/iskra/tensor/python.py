"""How tensors meet Python and NumPy: numbers, iteration, printing, pickling's neighbours.

The methods are bound onto `Tensor` when this module is imported.
Source: https://docs.pytorch.org/docs/stable/tensors.html
"""

import numpy as np

from iskra.core import dtypes
from iskra.tensor.bridge import convert, dtype_of_array, to_numpy
from iskra.tensor.meta import MetaArray, NoData
from iskra.tensor.printing import format_tensor
from iskra.tensor.tensor import Tensor, wrap

_COMPLEX64 = np.dtype(np.complex64)


class _Methods:
    """The methods, written as they will read on `Tensor`."""

    def item(self):
        """The value of a tensor with one element, as a Python number.

        Raises RuntimeError for any other number of elements.

        >>> import iskra as torch
        >>> torch.tensor([1.5]).item()
        1.5
        """
        array = self._array
        if array.size != 1:
            raise RuntimeError(
                f"a Tensor with {array.size} elements cannot be converted to Scalar"
            )
        if array.__class__ is MetaArray:
            raise RuntimeError("Tensor.item() cannot be called on meta tensors")
        return _readable(self).item()

    def tolist(self):
        """The values as a number or as nested lists of Python numbers.

        >>> import iskra as torch
        >>> torch.tensor([[1, 2], [3, 4]]).tolist()
        [[1, 2], [3, 4]]
        """
        array = self._array
        if array.__class__ is MetaArray:
            raise NoData("Cannot copy out of meta tensor; no data!")
        return _readable(self).tolist()

    def numpy(self, *, force=False):
        """An ndarray that shares the tensor's memory.

        Raises RuntimeError where the tensor requires a gradient (`force` detaches it), TypeError
        for dtypes that NumPy lacks: bfloat16, float8.
        Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.numpy.html

        >>> import iskra as torch
        >>> torch.tensor([1, 2]).numpy()
        array([1, 2])
        """
        return to_numpy(self, force)

    def __array__(self, dtype=None, copy=None):
        array = to_numpy(self)
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_wrap__(self, array, context=None, return_scalar=False):
        """NumPy's functions of tensors return tensors; bools become uint8, as in PyTorch."""
        if array.dtype == np.bool_:
            array = array.astype(np.uint8)
        return wrap(np.asarray(array), dtype_of_array(array))

    def __bool__(self):
        size = self._array.size
        if size == 1:
            return bool(_number(self))
        if size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError(
            "Boolean value of Tensor with more than one value is ambiguous. Use .any() or .all()."
        )

    def __float__(self):
        value = _number(self)
        if isinstance(value, complex):
            value = _real(value, "double")
        return float(value)

    def __int__(self):
        value = _number(self)
        if isinstance(value, complex):
            value = _real(value, "int64_t")
        return int(value)

    def __complex__(self):
        return complex(_number(self))

    def __index__(self):
        if self._array.size != 1 or self._dtype.category > dtypes.INTEGER:
            raise TypeError(
                "only integer tensors of a single element can be converted to an index"
            )
        return int(_number(self))

    def is_nonzero(self):
        """Whether the only element is not zero; RuntimeError unless there is exactly one.

        >>> import iskra as torch
        >>> torch.tensor([2.0]).is_nonzero()
        True
        """
        return bool(self)

    def __contains__(self, element):
        if isinstance(element, (Tensor, bool, int, float, complex, np.generic)):
            return bool((self == element).any().item())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __iter__(self):
        if not self._array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self):
        return self.flip(0) if self._array.ndim else self

    def __format__(self, specification):
        if not self._array.ndim and type(self) is Tensor and not self.is_meta:
            return format(self.item(), specification)
        return object.__format__(self, specification)

    def __repr__(self, *, tensor_contents=None):
        return text_of(self)

    def dim_order(self, *, ambiguity_check=False):
        """The dimensions from the outermost in memory to the innermost.

        >>> import iskra as torch
        >>> torch.ones(2, 3).t().dim_order()
        (1, 0)
        """
        strides = self._strides()
        return tuple(sorted(range(len(strides)), key=lambda d: (-strides[d], d)))

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A DLPack capsule that shares this tensor's memory.

        Raises BufferError where the tensor requires a gradient.
        """
        if self.requires_grad:
            raise BufferError(
                "Can't export tensors that require gradient, use tensor.detach()"
            )
        array = self._array
        if not isinstance(array, np.ndarray):
            raise BufferError(f"cannot export a tensor on {self.device} through DLPack")
        if stream is not None and stream != -1:
            raise AssertionError("stream should be None on cpu.")
        return array.__dlpack__(max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self):
        """The DLPack device: kind and index. A CPU is ``(1, 0)``."""
        return (1, 0)


def _readable(tensor):
    """The array with elements that NumPy can turn into Python numbers."""
    kind = tensor._dtype
    if kind.is_narrow:
        return tensor._array.astype(np.float32)
    return convert(tensor._array, _COMPLEX64) if kind is dtypes.complex32 else tensor._array


def _number(tensor):
    if tensor._array.size != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return tensor.item()


def _real(value, target):
    if value.imag != 0:
        raise RuntimeError(f"value cannot be converted to type {target} without overflow")
    return value.real


def text_of(tensor, class_name=None):
    """What `repr` gives."""
    array = tensor._array
    grad_fn = tensor.grad_fn
    cls = type(tensor)
    if class_name is None:
        class_name = "tensor" if cls is Tensor or cls.__name__ == "Parameter" else cls.__name__
    return format_tensor(
        None if array.__class__ is MetaArray else array,
        dtype=tensor._dtype,
        device=tensor.device,
        requires_grad=tensor.requires_grad,
        grad_fn=grad_fn,
        default_dtype=dtypes.get_default_dtype(),
        shape=tuple(array.shape),
        class_name=class_name,
    )


def bind(methods):
    """Set the members of a class of methods on `Tensor`."""
    for name, member in vars(methods).items():
        if name not in ("__module__", "__dict__", "__weakref__", "__doc__", "__qualname__"):
            setattr(Tensor, name, member)


bind(_Methods)
