"""Methods that name a dtype or a place: ``.float()``, ``.type(...)``, ``.cpu()``, and memory's.

Source: https://docs.pytorch.org/docs/stable/tensors.html
"""

import mmap

import numpy as np

from iskra.core import dtypes
from iskra.core.device import device as device_type
from iskra.core.size import format_shape
from iskra.dispatch import composite
from iskra.dispatch.variants import resize
from iskra.ops.conversion import to_copy
from iskra.tensor import Storage, Tensor, storage_of
from iskra.tensor.factory import no_gpu
from iskra.tensor.legacy import parse_type, type_name
from iskra.tensor.meta import MetaArray
from iskra.tensor.storage import strided_view


def _casts():
    """Define `float`, `long` and their kin, which differ in nothing but the dtype."""
    names = {
        "double": dtypes.float64, "float": dtypes.float32, "half": dtypes.float16,
        "bfloat16": dtypes.bfloat16, "int": dtypes.int32, "long": dtypes.int64,
        "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8, "bool": dtypes.bool_,
        "cfloat": dtypes.complex64, "cdouble": dtypes.complex128, "chalf": dtypes.complex32,
    }
    for name, kind in names.items():
        _cast(name, kind)


def _cast(name, kind):
    def body(input, memory_format=None):
        if memory_format is None:
            return input if input._dtype is kind else to_copy(input, kind)
        return input.to(kind, memory_format=memory_format)

    body.__name__ = body.__qualname__ = name
    body.__code__ = body.__code__.replace(co_name=name, co_qualname=name)
    body.__doc__ = f"""Return the tensor in dtype {kind.name}; itself if it has that dtype.

    >>> import iskra as torch
    >>> torch.ones(1).{name}().dtype
    iskra.{kind.name}
    """
    composite(function=False, method=True)(body)


_casts()


@composite(function=False)
def type(input, dtype=None, non_blocking=False):
    """Return the name of the tensor's type; with `dtype` the tensor converted to that.

    `dtype` may also be an old type (``iskra.LongTensor``) or its name. Raises ValueError for an
    unknown name.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.type.html

    >>> import iskra as torch
    >>> torch.ones(1).type(), torch.ones(1).type(torch.int64)
    ('iskra.FloatTensor', tensor([1]))
    """
    if dtype is None:
        return type_name(input._dtype, input.device)
    kind, place = parse_type(dtype)
    if place == "cuda":
        raise no_gpu(place)
    return input.to(kind)


@composite(function=False)
def type_as(input, other):
    """Return the tensor in the dtype and on the device of `other`.

    >>> import iskra as torch
    >>> torch.ones(1).type_as(torch.tensor([2]))
    tensor([1])
    """
    return input.to(other.device, other._dtype)


@composite(function=False)
def cpu(input, memory_format=None):
    """Return the tensor in main memory; itself if it is there.

    >>> import iskra as torch
    >>> torch.ones(1).cpu().device
    device(type='cpu')
    """
    return input.to("cpu", memory_format=memory_format)


@composite(function=False)
def cuda(input, device=None, non_blocking=False, memory_format=None):
    """Return the tensor on a GPU; RuntimeError where there is none.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cuda.html
    """
    where = device_type("cuda" if device is None else device)
    if where.type != "cuda":
        raise ValueError(f"cuda(): invalid device, must be cuda device, got {where}")
    return input.to(where, memory_format=memory_format)


@composite(function=False)
def is_shared(input):
    """Whether the memory is shared between processes.

    >>> import iskra as torch
    >>> torch.ones(1).is_shared()
    False
    """
    return storage_of(input).is_shared()


@composite(function=False)
def share_memory_(input):
    """Move the memory into a block that child processes share (after ``fork``); return self.

    Views made before keep the old memory.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.share_memory_.html

    >>> import iskra as torch
    >>> torch.ones(1).share_memory_().is_shared()
    True
    """
    if is_shared(input):
        return input
    array = input._array
    storage = storage_of(input)
    offset, strides = input.storage_offset(), input._strides()
    block = np.frombuffer(memoryview(mmap.mmap(-1, max(storage.nbytes(), 1))), np.uint8)
    block = block[: storage.nbytes()].view(storage.array.dtype)
    block[...] = storage.array
    storage.array = block
    input._array = strided_view(block, array.dtype, array.shape, strides, offset)
    return input


@composite(function=False)
def to_dense(input, dtype=None, *, masked_grad=True):
    """The tensor itself, in `dtype` if one is given: there are no sparse tensors to be filled.

    >>> import iskra as torch
    >>> torch.ones(1).to_dense()
    tensor([1.])
    """
    return input if dtype is None else input.to(dtype)


@composite(function=False)
def is_pinned(input, device=None):
    """Whether the memory is page-locked: never, without a GPU.

    >>> import iskra as torch
    >>> torch.ones(1).is_pinned()
    False
    """
    return False


@composite(function=False)
def pin_memory(input, device=None):
    """Return the tensor: without a GPU there is no page-locked memory to move it to.

    >>> import iskra as torch
    >>> torch.ones(1).pin_memory()
    tensor([1.])
    """
    return input


@composite(function=False)
def set_(input, source=None, storage_offset=0, size=None, stride=None):
    """Make this tensor use the memory, shape and strides of `source` (a tensor or a storage).

    Without a source it becomes empty.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.set_.html

    >>> import iskra as torch
    >>> torch.ones(3).set_(torch.zeros(2))
    tensor([0., 0.])
    """
    if input.requires_grad and input.is_leaf is False:
        raise RuntimeError("set_: cannot change the memory of a tensor inside a graph")
    kind = input._dtype
    if source is None:
        input._array = np.empty(0, kind.numpy)
        input._storage = None
        return input
    if isinstance(source, Tensor) and source._dtype is not kind:
        raise RuntimeError(
            f"set_: could not set tensor of type {source._dtype.scalar_name} to a tensor of type "
            f"{kind.scalar_name}"
        )
    storage = storage_of(source) if isinstance(source, Tensor) else _untyped(source)
    if isinstance(source, Tensor) and size is None:
        array = source._array
    else:
        memory = storage.array.view(np.uint8)
        size = (memory.nbytes // kind.itemsize,) if size is None else tuple(size)
        if stride is None:
            stride = np.empty(size, np.int8).strides
        array = strided_view(memory, kind.numpy, size, tuple(stride), storage_offset)
    input._array = array
    input._storage = storage
    return input


def _untyped(source):
    """The `Storage` behind a storage of any kind."""
    if isinstance(source, Storage):
        return source
    inner = getattr(source, "untyped", None)
    if inner is None:
        raise TypeError(f"set_: expected a tensor or a storage, got {source.__class__.__name__}")
    return inner()


@composite(variadic="size", function=False)
def resize_(input, size, *, memory_format=None):
    """Give the tensor another shape on its own memory, which grows where it must; return it.

    New elements have undefined values. Raises RuntimeError where a gradient is required.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.resize_.html

    >>> import iskra as torch
    >>> torch.arange(4).resize_(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    size = tuple(int(s) for s in size)
    if any(s < 0 for s in size):
        raise RuntimeError(
            f"resize_: Dimension size must be non-negative, got {format_shape(size)}"
        )
    if input._array.__class__ is MetaArray:
        input._array = MetaArray(size, input._dtype.numpy)
        input._storage = None
    elif size != input._array.shape:
        resize(input, size)
    return input


@composite()
def resize_as_(input, tensor, *, memory_format=None):
    """`resize_` to the shape of `tensor`.

    >>> import iskra as torch
    >>> torch.arange(4).resize_as_(torch.ones(2)).shape
    iskra.Size([2])
    """
    return resize_(input, tensor.shape)


@composite(method=True)
def is_same_size(input, other):
    """Whether two tensors have the same shape.

    >>> import iskra as torch
    >>> torch.is_same_size(torch.ones(2), torch.ones(2))
    True
    """
    return input._array.shape == other._array.shape
