"""`Tensor` without its operators: an array, its dtype, its storage and its place in the graph.

The operators are bound onto the class by `iskra.ops`, the methods of automatic differentiation
by `iskra.autograd`. A tensor's array decides its device: a NumPy array lives on the CPU.
"""

import numpy as np

from iskra.core import CPU, META, Size, device, dtypes, strided
from iskra.core.local import local
from iskra.core.size import contiguous_strides
from iskra.tensor.meta import MetaArray
from iskra.tensor.storage import Storage, address

_new = object.__new__
_new_tuple = tuple.__new__  # for shapes, which are known to be sizes
ndarray = np.ndarray

# The value of `_requires_grad` for views whose base may join a graph by a later write. It counts
# as true where speed matters, and is resolved where the answer does.
PERHAPS = "perhaps"


class Tensor:
    """A multi-dimensional array whose operations can be differentiated.

    ``Tensor(2, 3)`` makes an uninitialised tensor of that shape, ``Tensor([1, 2])`` one of the
    default dtype with that data; prefer `iskra.empty` and `iskra.tensor`.
    Source: https://docs.pytorch.org/docs/stable/tensors.html

    >>> import iskra as torch
    >>> torch.Tensor([1, 2])
    tensor([1., 2.])
    """

    # What every tensor has lies at fixed places, where machine code finds it too.
    __slots__ = ("_array", "_dtype", "__dict__", "__weakref__")

    # Defaults for what most tensors never set: making a tensor stays two assignments.
    _storage = None  # made when a view, a write or a question needs it
    _base = None  # the tensor of which this one is a view
    _requires_grad = False
    _edge = None  # (node, output number) of the graph, once there is one; None for views
    _view_edge = None  # the same for views, valid at `_view_version`
    _grad = None
    _view_version = 0  # of the storage, when a view's grad_fn was last known to be right
    _view_kind = None  # "no_grad" or "multiple": views that must not be written in place
    _is_inference = False
    _retains_grad = False
    _conj = False
    __array_priority__ = 1000  # ndarray + Tensor asks Tensor first

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A subclass takes part in operators through __torch_function__, unless it opts out.
        cls._plain = cls.__torch_function__ is _disabled_torch_function

    _plain = True

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Run `func` on plain tensors and give the results this subclass.

        Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch
        """
        with DisableTorchFunction():
            result = func(*args, **(kwargs or {}))
        return result if cls is Tensor else _convert(result, cls)

    @property
    def shape(self):
        """The size of each dimension, as a `Size`."""
        return _new_tuple(Size, self._array.shape)

    @property
    def dtype(self):
        """The type of the elements."""
        return self._dtype

    @property
    def device(self):
        """Where the data lives."""
        return CPU if self._array.__class__ is ndarray else device_of(self._array)

    @property
    def layout(self):
        """Always ``strided``."""
        return strided

    @property
    def ndim(self):
        """The number of dimensions."""
        return self._array.ndim

    @property
    def itemsize(self):
        """Bytes per element."""
        return self._dtype.itemsize

    @property
    def nbytes(self):
        """Bytes of all elements (not of the storage)."""
        return self._array.size * self._dtype.itemsize

    @property
    def is_cuda(self):
        """Whether the data lives on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_cpu(self):
        """Whether the data lives in main memory."""
        return self.device.type == "cpu"

    @property
    def is_meta(self):
        """Whether the tensor has a shape but no data."""
        return self._array.__class__ is MetaArray

    is_sparse = is_sparse_csr = is_quantized = is_mkldnn = is_nested = False
    is_xpu = is_mps = is_vulkan = is_xla = is_ipu = is_mtia = is_maia = False
    name = names = None

    def size(self, dim=None):
        """The `Size`, or the size of dimension `dim`."""
        if dim is None:
            return _new_tuple(Size, self._array.shape)
        return _pick(self._array.shape, dim)

    def dim(self):
        """The number of dimensions."""
        return self._array.ndim

    ndimension = dim

    def numel(self):
        """The number of elements."""
        return self._array.size

    nelement = numel

    def element_size(self):
        """Bytes per element."""
        return self._dtype.itemsize

    def stride(self, dim=None):
        """The steps, in elements, between neighbours along each dimension (or along `dim`)."""
        strides = self._strides()
        return strides if dim is None else _pick(strides, dim)

    def _strides(self):
        array = self._array
        if array.size == 0:
            return contiguous_strides(array.shape)
        if 0 in array.strides:
            return _unsqueezed_strides(array)
        return tuple(s // array.itemsize for s in array.strides)

    def storage_offset(self):
        """The position of the first element in the storage, in elements."""
        if self._storage is None or self._array.size == 0:
            return 0
        return (address(self._array) - self._storage.data_ptr()) // self._array.itemsize

    def untyped_storage(self):
        """The memory shared by this tensor and its views."""
        return storage_of(self)

    def data_ptr(self):
        """The address of the first element; 0 where there is none."""
        return address(self._array) if self._array.size and not self.is_meta else 0

    def is_contiguous(self, memory_format=None):
        """Whether elements lie in row-major order without gaps (or in `memory_format`)."""
        name = "contiguous_format" if memory_format is None else memory_format.name
        array = self._array
        if name == "channels_last":
            return array.ndim == 4 and array.transpose(0, 2, 3, 1).flags.c_contiguous
        if name == "channels_last_3d":
            return array.ndim == 5 and array.transpose(0, 2, 3, 4, 1).flags.c_contiguous
        return array.flags.c_contiguous

    def is_floating_point(self):
        """Whether the dtype is a floating-point one."""
        return self._dtype.is_floating_point

    def is_complex(self):
        """Whether the dtype is complex."""
        return self._dtype.is_complex

    def is_signed(self):
        """Whether the dtype holds negative numbers."""
        return self._dtype.is_signed

    def is_inference(self):
        """Whether the tensor was made in inference mode."""
        return self._is_inference

    def get_device(self):
        """The index of the GPU, or -1 on the CPU."""
        index = self.device.index
        return -1 if index is None else index

    @property
    def _version(self):
        """How many times the memory has been written in place."""
        return 0 if self._storage is None else self._storage.version

    def _is_view(self):
        """Whether this tensor is a view of another."""
        return self._base is not None

    def __len__(self):
        if not self._array.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self._array.shape[0]

    def __hash__(self):
        return id(self)

    def __dir__(self):
        return sorted(set(object.__dir__(self)))

    def as_subclass(self, cls):
        """The same tensor, seen as an instance of the subclass `cls`."""
        return _share(self, cls)

    @staticmethod
    def _make_subclass(cls, data, require_grad=False):
        result = _share(data.detach(), cls)
        result._requires_grad = require_grad
        return result


def _unsqueezed_strides(array):
    """Strides where NumPy gave new dimensions of size 1 a stride of 0: ours span what follows."""
    strides = [s // array.itemsize for s in array.strides]
    after = 1
    for dim in range(array.ndim - 1, -1, -1):
        if array.shape[dim] == 1 and not strides[dim]:
            strides[dim] = after
        after = strides[dim] * array.shape[dim]
    return tuple(strides)


def _pick(values, dim):
    try:
        return values[dim]
    except IndexError:
        span = max(len(values), 1)
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], "
            f"but got {dim})"
        ) from None


def device_of(array):
    """The device on which an array lives, told by its class."""
    if isinstance(array, ndarray):
        return CPU
    if array.__class__ is MetaArray:
        return META
    return device("cuda", array.device.id)  # a CuPy array


def wrap(array, dtype=None):
    """A tensor around `array`, sharing its memory."""
    tensor = _new(Tensor)
    tensor._array = array
    tensor._dtype = dtypes.of_numpy(array.dtype) if dtype is None else dtype
    return tensor


def storage_of(tensor):
    """The tensor's `Storage`, made now if nothing has needed it so far."""
    storage = tensor._storage
    if storage is None:
        storage = tensor._storage = _new(Storage)  # spelt out: most views and saved results do this
        storage.version = 0
        storage._source = tensor._array
        storage._array = None
    return storage


def alias(tensor, array):
    """A tensor on `array`, a view of `tensor`'s memory, outside any graph."""
    result = wrap(array, tensor._dtype)
    result._storage = storage_of(tensor)
    return result


def _share(tensor, cls):
    """An instance of `cls` with everything that `tensor` has."""
    result = _new(cls)
    become(result, tensor)
    result._storage = storage_of(tensor)
    return result


def become(tensor, other):
    """Give a new `tensor` everything that `other` has."""
    tensor._array = other._array
    tensor._dtype = other._dtype
    tensor.__dict__.update(other.__dict__)


def _convert(value, cls):
    """Give plain tensors in `value` the class `cls`."""
    if isinstance(value, (tuple, list)):
        parts = [_convert(v, cls) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, Tensor) and not isinstance(value, cls):
        return _share(value, cls)
    return value


def _disabled_torch_function(cls, func, types, args=(), kwargs=None):
    """Assigned as a class's ``__torch_function__``, it makes the class behave as a plain Tensor."""
    return NotImplemented


class DisableTorchFunction:
    """Inside this block, subclasses of Tensor behave as plain tensors."""

    def __enter__(self):
        self._before = local.torch_function_disabled
        local.torch_function_disabled = True
        return self

    def __exit__(self, *exception):
        local.torch_function_disabled = self._before
