"""`TypedStorage`: the memory of a tensor, seen as a row of elements of one dtype.

Source: https://docs.pytorch.org/docs/stable/storage.html
"""

import numpy as np

from iskra.core import dtypes
from iskra.core.naming import prefix
from iskra.tensor.python import bind
from iskra.tensor.tensor import storage_of, wrap


class TypedStorage:
    """A `Storage` together with the dtype of its elements.

    >>> import iskra as torch
    >>> torch.ones(2).storage().tolist()
    [1.0, 1.0]
    """

    def __init__(self, *, wrap_storage, dtype):
        self._untyped_storage = wrap_storage
        self.dtype = dtype

    def untyped(self):
        """The `Storage` itself."""
        return self._untyped_storage

    def _tensor(self):
        """A tensor over all elements."""
        kind = self.dtype
        memory = self._untyped_storage.bytes()
        count = memory.size // kind.itemsize
        tensor = wrap(memory[: count * kind.itemsize].view(kind.numpy), kind)
        tensor._storage = self._untyped_storage
        return tensor

    @property
    def device(self):
        """Where the memory is."""
        return self._untyped_storage.device

    is_cuda = False

    def size(self):
        """The number of elements."""
        return self._untyped_storage.nbytes() // self.dtype.itemsize

    __len__ = size

    def nbytes(self):
        """The size in bytes."""
        return self._untyped_storage.nbytes()

    def element_size(self):
        """Bytes per element."""
        return self.dtype.itemsize

    def data_ptr(self):
        """The address of the first element."""
        return self._untyped_storage.data_ptr()

    def type(self):
        """The old name of the storage's type."""
        return f"{prefix()}.{self.dtype.scalar_name}Storage"

    def tolist(self):
        """The elements as a list of Python numbers."""
        return self._tensor().tolist()

    def __iter__(self):
        return iter(self.tolist())

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return wrap(np.asarray(self._tensor()._array[index]), self.dtype).item()

    def __setitem__(self, index, value):
        self._tensor()._array[index] = value
        self._untyped_storage.version += 1

    def fill_(self, value):
        """Set every element; return self."""
        self[:] = value
        return self

    def copy_(self, source, non_blocking=False):
        """Overwrite the elements with those of another storage; return self."""
        self[:] = source._tensor()._array
        return self

    def clone(self):
        """A copy."""
        return TypedStorage(wrap_storage=self._untyped_storage.clone(), dtype=self.dtype)

    def cpu(self):
        """The storage in main memory: itself."""
        return self

    def is_shared(self):
        """Whether child processes share the memory."""
        return self._untyped_storage.is_shared()

    def to(self, dtype):
        """A storage with the elements converted to `dtype`."""
        converted = self._tensor().to(dtype)
        return TypedStorage(wrap_storage=storage_of(converted), dtype=dtype)

    def float(self):
        """The elements as float32."""
        return self.to(dtypes.float32)

    def double(self):
        """The elements as float64."""
        return self.to(dtypes.float64)

    def long(self):
        """The elements as int64."""
        return self.to(dtypes.int64)

    def __eq__(self, other):
        if not isinstance(other, TypedStorage):
            return NotImplemented
        return self.dtype is other.dtype and self._untyped_storage == other._untyped_storage

    __hash__ = None

    def __repr__(self):
        lines = "".join(f" {value}\n" for value in self)
        kind = f"{prefix()}.storage.TypedStorage(dtype={self.dtype}, device={self.device})"
        return f"{lines}[{kind} of size {len(self)}]"


class _Methods:
    """The methods, as they will read on `Tensor`."""

    def storage(self):
        """The memory shared by this tensor and its views, as elements of this dtype."""
        return TypedStorage(wrap_storage=storage_of(self), dtype=self._dtype)

    def const_data_ptr(self):
        """The address of the first element, for reading."""
        return self.data_ptr()

    def is_set_to(self, tensor):
        """Whether both look at the same memory in the same way: offset, sizes and strides too.

        >>> import iskra as torch
        >>> x = torch.ones(2)
        >>> x.is_set_to(x.view(2)), x.is_set_to(x[:1])
        (True, False)
        """
        return (
            storage_of(self) is storage_of(tensor)
            and self.storage_offset() == tensor.storage_offset()
            and self.size() == tensor.size()
            and self.stride() == tensor.stride()
        )


bind(_Methods)
