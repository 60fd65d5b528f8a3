"""The brackets: ``x[...]`` and ``x[...] = value``.

Ints, slices, None and ``...`` make views; masks and index tensors then pick elements from that
view (the operator `index`) or write to it (`index_put_`).
Source: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

import numpy as np

from iskra.core import dtypes
from iskra.core.local import active, local
from iskra.dispatch import composite
from iskra.dispatch import view as view_operator
from iskra.dispatch.execute import as_view
from iskra.dispatch.operator import calling
from iskra.dispatch.tape import record
from iskra.dispatch.variants import check_writable
from iskra.ops.index_parsing import Parsed, as_items
from iskra.ops.indexing import index as pick
from iskra.ops.indexing import index_put, put_values
from iskra.ops.slicing import put_place
from iskra.tensor import Parameter, Tensor, storage_of, wrap

_ALL = slice(None)


def _node_of_place(place):
    """PyTorch applies the items one by one, and the last one names the node."""
    for item in reversed(place):
        if item is None:
            return "UnsqueezeBackward0"
        if item.__class__ is int:
            return "SelectBackward0"
        if item is not ... and (item != _ALL or len(place) == 2):
            return "SliceBackward0"
    return "AliasBackward0"


@view_operator(
    function=False, method=False, node=_node_of_place,
    grad=calling(put_place, "g input_shape place"),
)
def index_view(input, place):
    """The view at ints, slices, None and one ``...`` (which keeps a single element an array)."""
    return input[place]


_VIEW = index_view.operator
_QUICK = _VIEW.quick


def _tensors(arrays):
    """Entries of an index as the operators take them."""
    return [None if a.__class__ is slice else wrap(a) for a in arrays]


@composite(function=False, method=False)
def getitem(input, index):
    """Return ``input[index]``: a view for ints, slices, None and ``...``, else a copy.

    Masks (bool, uint8) and index tensors, lists and arrays pick elements as in NumPy. Raises
    IndexError for indices out of range, for too many of them and for other types, ValueError
    for steps below one.

    >>> import iskra as torch
    >>> x = torch.tensor([[1, 2, 3], [4, 5, 6]])
    >>> x[1, 1:], x[x > 4], x[:, [0, 2]]
    (tensor([5, 6]), tensor([5, 6]), tensor([[1, 3],
            [4, 6]]))
    """
    parsed = Parsed(as_items(index), input._array.shape)
    if parsed.is_basic():
        return index_view(input, tuple(parsed.place))
    if not parsed.is_whole():
        input = index_view(input, tuple(parsed.place))
    return pick(input, _tensors(parsed.index()))


index_put_ = index_put.operator.inplace_variant


def fill_value(value, dtype):
    """A Python number as a NumPy scalar of `dtype`; RuntimeError where it does not fit."""
    if isinstance(value, complex) and not dtype.is_complex:
        if value.imag:
            _refuse_value(value, dtype)
        value = value.real
    kind = dtype.numpy
    if dtype.category == dtypes.INTEGER:
        limits = np.iinfo(kind)
        if value != value or not -limits.max - 1 <= value <= limits.max:
            _refuse_value(value, dtype)
        return np.array(int(value) & (2 ** (8 * dtype.itemsize) - 1), np.uint64).astype(kind)[()]
    with np.errstate(all="ignore"):
        result = kind.type(value)
    if dtype.is_floating_point and np.isinf(result) and value not in (np.inf, -np.inf):
        _refuse_value(value, dtype)
    return result


def _refuse_value(value, dtype):
    raise RuntimeError(
        f"value cannot be converted to type {dtype.name} without overflow: {value!r}"
    )


def _without_leading_ones(value, rank):
    """`value` without the first dimensions of size 1 that the place it goes to lacks."""
    shape = value._array.shape
    extra = 0
    while len(shape) - extra > rank and shape[extra] == 1:
        extra += 1
    return value.reshape(shape[extra:]) if extra else value


def _assign(target, value):
    """Write into a view of the whole place."""
    if isinstance(value, Tensor):
        target.copy_(_without_leading_ones(value, target.dim()))
    else:
        target.fill_(value)


def _assign_picked(target, entries, value):
    """Write where index arrays point."""
    if not isinstance(value, Tensor):
        value = wrap(np.asarray(fill_value(value, target._dtype)), target._dtype)
    indices = _tensors(entries)
    taped = local.grad_enabled and (target.requires_grad or value.requires_grad)
    if taped or local.interceptors:
        rank = pick(target.detach(), indices).dim()
        index_put_(target, indices, _without_leading_ones(value, rank))
        return
    check_writable(target, "index_put_")
    if value._dtype is not target._dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{target._dtype.scalar_name} for the destination and {value._dtype.scalar_name} "
            "for the source."
        )
    put_values(target._array, entries, value._array, False)
    storage_of(target).version += 1


@composite(function=False, method=False)
def setitem(input, index, value):
    """``input[index] = value``: write a number or a tensor, broadcast, into a part of the tensor.

    Raises RuntimeError for shapes that do not broadcast, IndexError as `getitem` does.

    >>> import iskra as torch
    >>> x = torch.zeros(3)
    >>> x[torch.tensor([True, False, True])] = 5
    >>> x
    tensor([5., 0., 5.])
    """
    if not isinstance(value, (Tensor, int, float, complex, np.number, np.bool_)):
        raise TypeError(f"can't assign a {type(value).__name__} to a {input._dtype} tensor")
    if isinstance(value, (np.number, np.bool_)):
        value = value.item()
    parsed = Parsed(as_items(index), input._array.shape)
    if parsed.is_basic():
        _assign(index_view(input, tuple(parsed.place)), value)
        return
    if not parsed.is_whole():
        input = index_view(input, tuple(parsed.place))
    _assign_picked(input, parsed.index(), value)


# -- the short paths ------------------------------------------------------------------------------


def _picks_rows(tensor, index):
    """Whether an index tensor needs no parsing."""
    array = index._array
    if index._dtype is dtypes.int64:
        return array.ndim and tensor._array.ndim
    return index._dtype is dtypes.bool_ and array.ndim and array.shape == tensor._array.shape


def _plain_entries(tensor, index):
    """The entries of an index of int64 tensors and full slices; None where it holds others."""
    if len(index) > tensor._array.ndim:
        return None
    entries = []
    for item in index:
        cls = item.__class__
        if cls is Tensor and item._dtype is dtypes.int64 and item._array.ndim:
            entries.append(item)
        elif cls is slice and item == _ALL:
            entries.append(None)
        else:
            return None
    return entries


def _steps_forward(item):
    return item.step.__class__ is int and item.step > 0


def _place_of(index):
    """The place that a plain basic index names; None where parsing is needed."""
    cls = index.__class__
    if cls is int:
        return index, ...
    if cls is slice:
        return (index, ...) if index.step is None or _steps_forward(index) else None
    if cls is not tuple:
        return (index, ...) if index is None else (index,) if index is ... else None
    whole = False
    for item in index:
        cls = item.__class__
        if cls is int or item is None:
            continue
        if cls is slice and (item.step is None or _steps_forward(item)):
            continue
        if item is not ... or whole:
            return None
        whole = True
    return index if whole else (*index, ...)


class _Brackets:
    """The special methods, as they will read on `Tensor`."""

    def __getitem__(self, index):
        cls = self.__class__
        if (cls is Tensor or cls is Parameter) and not active.intercepting:
            place = _place_of(index)
            if place is not None:
                taped = self._requires_grad
                if taped:
                    view = _QUICK.view(self, place)
                    if view is not None:
                        if view.__class__ is list:
                            return _QUICK.record(view[0], (self, place))
                        return view
                try:
                    array = self._array[place]
                except IndexError:  # the whole path says what is wrong
                    return getitem(self, index)
                view = as_view(self, array)
                if taped:
                    if _QUICK.learning:
                        _QUICK.miss((self, place))
                    record(_VIEW, (self, place), view)
                return view
            cls = index.__class__
            if cls is Tensor:
                if _picks_rows(self, index):
                    return pick(self, [index])
            elif cls is tuple:
                entries = _plain_entries(self, index)
                if entries is not None:
                    return pick(self, entries)
        return getitem(self, index)

    def __setitem__(self, index, value):
        if not (_is_plain(self) and _is_plain_value(value, self) and _wrote(self, index, value)):
            setitem(self, index, value)

    def __delitem__(self, index):
        raise TypeError("Tensor does not support deleting items")

    def __iter__(self):
        if not self._array.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self):
        return self.flip(0) if self._array.ndim else self


def _is_plain(tensor):
    """Whether nothing but memory is concerned by a write."""
    cls = tensor.__class__
    if not (cls is Tensor or cls is Parameter) or active.intercepting or tensor._is_inference:
        return False
    if tensor._requires_grad and local.grad_enabled and tensor.requires_grad:
        return False
    return 0 not in tensor._array.strides


def _is_plain_value(value, target):
    cls = value.__class__
    if cls is Tensor or cls is Parameter:
        if value._dtype is not target._dtype:
            return False
        return not (value._requires_grad and local.grad_enabled and value.requires_grad)
    return cls is float or cls is int or cls is bool


def _wrote(target, index, value):
    """Write by one NumPy assignment; False where the whole path must do it (or refuse)."""
    if index.__class__ is Tensor and _picks_rows(target, index):
        place = index._array
    else:
        place = _place_of(index)
    if place is None:
        return False
    try:
        target._array[place] = value._array if isinstance(value, Tensor) else value
    except (IndexError, ValueError, OverflowError, TypeError):
        return False
    storage_of(target).version += 1
    return True


for _name, _member in vars(_Brackets).items():
    if _name.startswith("__") and callable(_member):
        setattr(Tensor, _name, _member)
