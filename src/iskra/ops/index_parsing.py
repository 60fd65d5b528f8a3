"""Reading an index: what stands between the brackets of ``x[...]``.

PyTorch takes ints out before it looks where the index tensors stand, NumPy counts them among the
index arrays. `Parsed` reads an index as PyTorch does, so that NumPy only ever sees a view's
ints and slices first, and then slices and arrays.
"""

import operator as python

import numpy as np

from iskra.core.naming import prefix
from iskra.core.size import format_shape
from iskra.ops.warning import warn
from iskra.tensor import Tensor

_ALL = slice(None)

_FORMS = (
    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
    "indices (got {})"
)


def _is_nested(index):
    """Whether a list stands for a tuple, as old NumPy had it: it holds more than numbers."""
    return len(index) < 32 and any(
        item is None or item is ... or isinstance(item, (slice, Tensor, list, tuple, np.ndarray))
        for item in index
    )


def as_items(index):
    """The index as a list of items, one per comma."""
    if index.__class__ is tuple:
        return list(index)
    if isinstance(index, (list, tuple, range, str)) and _is_nested(index):
        warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated and will be "
            "changed; use x[tuple(index)] instead of x[index]."
        )
        return list(index)
    return [index]


def _as_array(item):
    """The index array in an item that is neither int, slice, None nor ``...``."""
    if isinstance(item, Tensor):
        return item._array
    if isinstance(item, np.ndarray):
        return item
    if isinstance(item, (list, tuple, range)):
        items = [x.item() if isinstance(x, Tensor) else x for x in item]
        array = np.asarray(items) if items else np.empty(0, np.int64)
        # PyTorch makes a tensor of floats from such a list, and then indexes with their integers.
        return array.astype(np.int64) if array.dtype.kind == "f" else array
    if isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    raise IndexError(_FORMS.format(type(item).__name__))


def _plain_slice(item):
    """The slice with ints in place of tensors; ValueError for steps below one."""
    if item.step is not None:
        if item.step == 0:
            raise ValueError("slice step cannot be zero")
        if item.step < 0:
            raise ValueError(
                "step must be greater than zero: negative steps are not supported, use flip()"
            )
    return item


class Parsed:
    """An index taken apart: `place` makes a view, in which `arrays` (or None) then index.

    `arrays` has an entry per dimension of the view up to the last that is indexed.
    """

    __slots__ = ("place", "arrays", "_shape", "_dim", "_out")

    def __init__(self, items, shape):
        self._shape = shape
        self._dim = 0  # of the tensor
        self._out = 0  # of the view
        self.place = []
        self.arrays = {}
        used = sum(map(_dimensions, items))
        if used > len(shape):
            if not shape:
                raise IndexError(
                    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
                    "`tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
                )
            raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
        seen = False
        for item in items:
            if item is ...:
                if seen:
                    continue
                seen = True
                missing = len(shape) - used
                self.place += [_ALL] * missing
                self._dim += missing
                self._out += missing
            else:
                self._add(item)
        self.place.append(...)

    def _add(self, item):
        cls = item.__class__
        if cls is int:
            self._select(item)
        elif cls is slice:
            self.place.append(_plain_slice(item))
            self._dim += 1
            self._out += 1
        elif item is None:
            self.place.append(None)
            self._out += 1
        elif cls is bool or cls is np.bool_:
            self._zero_dim_mask(bool(item))
        else:
            self._array_or_int(item)

    def _array_or_int(self, item):
        if not isinstance(item, (Tensor, np.ndarray)):
            try:
                self._select(python.index(item))
                return
            except TypeError:
                pass
        array = _as_array(item)
        if array.dtype == np.uint8:
            warn(
                f"indexing with dtype {prefix()}.uint8 is now deprecated, please use a dtype "
                f"{prefix()}.bool instead."
            )
            array = array != 0
        if array.dtype == np.bool_:
            if array.ndim == 0:
                self._zero_dim_mask(bool(array))
            else:
                self._array(array, array.ndim)
        elif array.ndim == 0 and array.dtype.kind in "iu":
            self._select(int(array))
        elif isinstance(item, (Tensor, np.ndarray)) and array.dtype not in (np.int32, np.int64):
            raise IndexError(
                "tensors used as indices must be long, int, byte or bool tensors, not "
                f"{array.dtype}"
            )
        else:
            self._array(array, 1)

    def _select(self, index):
        size = self._shape[self._dim]
        if not -size <= index < size:
            raise IndexError(
                f"index {index} is out of bounds for dimension {self._dim} with size {size}"
            )
        self.place.append(index)
        self._dim += 1

    def _zero_dim_mask(self, value):
        """True and False add a dimension of size 1 or 0."""
        self.place.append(None)
        self.arrays[self._out] = np.arange(int(value))
        self._out += 1

    def _array(self, array, dims):
        if array.dtype == np.bool_:
            held = self._shape[self._dim:self._dim + dims]
            if array.shape != held:
                raise IndexError(
                    f"The shape of the mask {format_shape(array.shape)} at index "
                    f"{_first_difference(array.shape, held)} does not match the shape of the "
                    f"indexed tensor {format_shape(self._shape)} at index {self._dim}"
                )
        self.place += [_ALL] * dims
        self.arrays[self._out] = array
        self._dim += dims
        self._out += dims

    def is_basic(self):
        """Whether the index is a view."""
        return not self.arrays

    def is_whole(self):
        """Whether the view is of the whole tensor, unchanged."""
        return all(p is ... or p.__class__ is slice and p == _ALL for p in self.place)

    def index(self):
        """The arrays as NumPy wants them: one entry per dimension, masks standing for several."""
        entries, out = [], 0
        for start, array in self.arrays.items():
            entries += [_ALL] * (start - out)
            entries.append(array)
            out = start + (array.ndim if array.dtype == np.bool_ else 1)
        return entries


def _first_difference(shape, held):
    return next(
        (i for i, (a, b) in enumerate(zip(shape, held, strict=False)) if a != b), len(held)
    )


def _dimensions(item):
    """How many dimensions of the tensor an item of an index uses up."""
    if item is None or item is ... or item.__class__ is bool or item.__class__ is np.bool_:
        return 0
    if isinstance(item, (Tensor, np.ndarray)):
        array = _as_array(item)
        return array.ndim if array.dtype in (np.bool_, np.uint8) else 1
    if isinstance(item, (list, tuple)) and item and not isinstance(item[0], Tensor):
        first, depth = item, 0
        while isinstance(first, (list, tuple)) and first:
            first, depth = first[0], depth + 1
        return depth if isinstance(first, bool) else 1
    return 1
