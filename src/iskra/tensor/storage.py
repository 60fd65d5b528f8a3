"""`Storage`: the memory that views share, and the count of writes to it."""

import numpy as np

from iskra.core import CPU, META
from iskra.core.naming import prefix
from iskra.tensor.meta import MetaArray, strided_memory, strided_meta


class Storage:
    """A flat block of memory and its version, shared by a tensor and all its views.

    `array` is one-dimensional and contiguous; its element type does not bind the views.
    `version` grows with every in-place write, so that autograd can tell that a value which it
    saved has been overwritten.
    """

    __slots__ = ("version", "_source", "_array", "__weakref__")

    def __init__(self, array=0):
        """The memory of `array`; a new block for a number of bytes, or for a list of them."""
        self.version = 0
        self._source = array
        self._array = None  # made when it is asked for

    @property
    def array(self):
        """The memory, as a one-dimensional array."""
        if self._array is None:
            self._array = flat(self._source)
        return self._array

    @array.setter
    def array(self, array):
        self._array = self._source = array

    def unversioned(self):
        """The same memory with a version count of its own, as ``tensor.data`` has it."""
        return self.__class__(self.array)

    def resizable(self):
        """Whether the block may grow: not if its memory is somebody else's."""
        return True

    def data_ptr(self):
        """The address of the first byte."""
        return address(self.array)

    def nbytes(self):
        """The size of the block in bytes."""
        return self.array.nbytes

    def size(self):
        """The size of the block in bytes (an untyped storage counts bytes)."""
        return self.array.nbytes

    __len__ = size

    def element_size(self):
        """1: an untyped storage consists of bytes."""
        return 1

    @property
    def device(self):
        """Where the memory is."""
        return META if self.array.__class__ is MetaArray else CPU

    is_cuda = False

    def untyped(self):
        """The storage itself, which has no element type."""
        return self

    def bytes(self):
        """The memory as a one-dimensional array of bytes."""
        return self.array.view(np.uint8)

    def tolist(self):
        """The bytes as a list of ints."""
        return self.bytes().tolist()

    def __getitem__(self, index):
        found = self.bytes()[index]
        return Storage(found) if isinstance(index, slice) else int(found)

    def __setitem__(self, index, value):
        self.bytes()[index] = value
        self.version += 1

    def __iter__(self):
        return iter(self.tolist())

    def clone(self):
        """A copy."""
        return Storage(self.array.copy())

    def copy_(self, source, non_blocking=False):
        """Overwrite the bytes with those of a storage of the same size; return self."""
        if source.nbytes() != self.nbytes():
            raise RuntimeError(
                f"copy_: size mismatch: {self.nbytes()} bytes here, {source.nbytes()} in the source"
            )
        self[:] = source.bytes()
        return self

    def fill_(self, value):
        """Set every byte; return self."""
        self[:] = value
        return self

    def cpu(self):
        """The storage in main memory: itself."""
        return self

    def is_shared(self):
        """Whether child processes share the memory."""
        owner = self.array
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        return isinstance(owner, memoryview)

    def __repr__(self):
        lines = "".join(f" {byte}\n" for byte in self)
        kind = f"{prefix()}.storage.UntypedStorage(device={self.device})"
        return f"{lines}[{kind} of size {len(self)}]"

    def __eq__(self, other):
        if not isinstance(other, Storage):
            return NotImplemented
        return self.data_ptr() == other.data_ptr() and self.nbytes() == other.nbytes()

    def __hash__(self):
        return hash((self.data_ptr(), self.nbytes()))


class LentStorage(Storage):
    """Memory that belongs to an ndarray or a buffer of the user's."""

    __slots__ = ()

    def resizable(self):
        """False: the owner would not follow."""
        return False


def flat(array):
    """The memory that `array` spans, as a one-dimensional array without a copy."""
    if array.__class__ is int:
        return np.zeros(array, np.uint8)
    if array.__class__ is list:
        return np.array(array, np.uint8)
    if array.flags.c_contiguous:
        return array.reshape(-1)
    if array.size == 0:
        return np.empty(0, array.dtype)
    if array.__class__ is MetaArray:
        return strided_memory(array)
    last = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    count = last // array.itemsize + 1
    return np.lib.stride_tricks.as_strided(array, (count,), (array.itemsize,))


def address(array):
    """The address of an array's first element."""
    if array.__class__ is MetaArray:
        return array.address
    return array.__array_interface__["data"][0]


def strided_view(memory, dtype, shape, strides, offset):
    """A view on flat `memory`; `strides` and `offset` count elements of `dtype`.

    Raises RuntimeError where the view would reach outside the memory.
    """
    size = dtype.itemsize
    if 0 not in shape:
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if last * size + size > memory.nbytes or offset < 0:
            raise RuntimeError(
                f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset "
                f"{offset}, and itemsize {size} requiring a storage size of "
                f"{last * size + size} are out of bounds for storage of size {memory.nbytes}"
            )
    elif memory.__class__ is not MetaArray:
        return np.ndarray(shape, dtype)
    if memory.__class__ is MetaArray:
        return strided_meta(memory, dtype, shape, strides, offset)
    return np.ndarray(shape, dtype, memory, offset * size, tuple(s * size for s in strides))
