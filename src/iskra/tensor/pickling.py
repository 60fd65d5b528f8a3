"""Pickling and deep copies of tensors: views of one storage stay views of one storage."""

import copy

import numpy as np

from iskra.tensor.meta import MetaArray
from iskra.tensor.python import bind
from iskra.tensor.storage import Storage, strided_view
from iskra.tensor.tensor import Tensor, _new, storage_of


def attributes_of(tensor):
    """The attributes that the user has set on a tensor."""
    kept = vars(Tensor)
    return {k: v for k, v in tensor.__dict__.items() if k not in kept}


def rebuild_tensor(storage, dtype, offset, shape, strides, requires_grad, cls=Tensor, state=None):
    """Make a tensor on `storage`; strides and offset count elements."""
    array = strided_view(storage.array, dtype.numpy, shape, strides, offset)
    tensor = _new(cls)
    tensor._array = array
    tensor._dtype = dtype
    tensor._storage = storage
    tensor._requires_grad = requires_grad
    if state:
        tensor.__dict__.update(state)
    return tensor


def rebuild_storage(memory):
    """Make a storage from its bytes."""
    return Storage(memory if memory.flags.writeable else memory.copy())


def rebuild_meta_storage(nbytes):
    """Make a storage without data."""
    return Storage(MetaArray((nbytes,), np.uint8))


def _reduce_storage(storage, protocol):
    memory = storage.array.view(np.uint8)
    if memory.__class__ is MetaArray:
        return rebuild_meta_storage, (memory.size,)
    return rebuild_storage, (memory,)


def _copy_storage(storage, memo):
    found = memo.get(id(storage))
    if found is None:
        found = memo[id(storage)] = Storage(storage.array.copy())
    return found


class _Methods:
    """The methods, as they will read on `Tensor`."""

    def __reduce_ex__(self, protocol):
        arguments = (
            storage_of(self), self._dtype, self.storage_offset(), tuple(self._array.shape),
            self._strides(), self.requires_grad,
        )
        state = attributes_of(self)
        if type(self) is Tensor and not state:
            return rebuild_tensor, arguments
        return rebuild_tensor, (*arguments, type(self), state)

    def __setstate__(self, state):
        self.__dict__.update(state)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment. Copy a computed tensor with .detach().clone(), or with "
                ".clone() to stay in the graph."
            )
        result = rebuild_tensor(
            _copy_storage(storage_of(self), memo), self._dtype, self.storage_offset(),
            tuple(self._array.shape), self._strides(), self.requires_grad, type(self),
        )
        memo[id(self)] = result
        if self._grad is not None:
            result._grad = copy.deepcopy(self._grad, memo)
        for name, value in attributes_of(self).items():
            result.__dict__[name] = copy.deepcopy(value, memo)
        return result


bind(_Methods)
Storage.__reduce_ex__ = _reduce_storage
Storage.__deepcopy__ = _copy_storage
