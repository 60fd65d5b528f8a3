"""`MetaArray`: an array with shape, strides and dtype but no data, for the ``meta`` device.

It speaks NumPy's protocols, so that operators run on it unchanged and tell the shape and dtype
of their results. Inside is a *shadow*: an ndarray of the right shape and strides whose memory
does not exist. NumPy's views of the shadow are right, and nobody ever reads its elements.
Where no rule below knows a function, it runs on arrays of zeros that stand in.
"""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.lib.stride_tricks import as_strided

from iskra.core.errors import LinAlgError
from iskra.core.size import contiguous_strides, infer_size

_MEMORY = np.zeros(2, np.complex128)  # what shadows pretend to be views of


class NoData(NotImplementedError):
    """An operation needs the values of a tensor that has none."""


class MetaArray(NDArrayOperatorsMixin):
    """Stands where a tensor's ndarray would; operators run on it to learn shapes.

    ``MetaArray(shape, dtype)`` is contiguous; `strides` count bytes.
    """

    __slots__ = ("shadow", "__weakref__")
    __array_priority__ = 100

    def __init__(self, shape, dtype, strides=None):
        dtype = np.dtype(dtype)
        if strides is None:
            strides = tuple(s * dtype.itemsize for s in contiguous_strides(shape))
        memory = _MEMORY.view(np.uint8)[: dtype.itemsize].view(dtype)
        self.shadow = as_strided(memory, shape, strides)

    @property
    def shape(self):
        return self.shadow.shape

    dtype = property(lambda self: self.shadow.dtype)
    ndim = property(lambda self: self.shadow.ndim)
    size = property(lambda self: self.shadow.size)
    nbytes = property(lambda self: self.shadow.nbytes)
    itemsize = property(lambda self: self.shadow.itemsize)
    strides = property(lambda self: self.shadow.strides)
    flags = property(lambda self: self.shadow.flags)
    base = None

    @property
    def address(self):
        """Where the first element would be; only differences between addresses mean anything."""
        return self.shadow.__array_interface__["data"][0]

    @property
    def T(self):
        return around(self.shadow.T)

    mT = property(lambda self: around(self.shadow.mT))

    @property
    def real(self):
        return around(self.shadow.real)

    @property
    def imag(self):
        if self.dtype.kind == "c":
            return around(self.shadow.imag)
        return MetaArray(self.shape, self.dtype)

    def __len__(self):
        return len(self.shadow)

    def __bool__(self):
        # Operators ask this when they check values for errors: there are none to complain about.
        return False

    def _no_data(self, *args, **kwargs):
        raise NoData(
            "Cannot read the values of a meta tensor: it has no data. Make it on a device, for "
            "example with empty_like(t, device='cpu')."
        )

    item = tolist = tobytes = __float__ = __int__ = __complex__ = __index__ = _no_data

    def __array__(self, *args, **kwargs):
        raise TypeError("a meta array has no data")

    def __getitem__(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        if any(_is_mask(p) for p in parts):
            raise NoData("the shape of a tensor indexed by a mask on the meta device is unknown")
        if any(isinstance(p, (MetaArray, np.ndarray, list)) for p in parts):
            chosen = tuple(stand_in(p) for p in parts)
            return MetaArray(np.broadcast_to(np.int8(0), self.shape)[chosen].shape, self.dtype)
        if not any(p is Ellipsis for p in parts):
            parts = (*parts, Ellipsis)  # an element must stay an array: it cannot be read
        return around(self.shadow[parts])

    def __setitem__(self, index, value):
        pass  # there is nothing to write to

    def astype(self, dtype, order="K", casting="unsafe", subok=True, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return like(self, dtype)

    def copy(self, order="C"):
        return MetaArray(self.shape, self.dtype) if order == "C" else like(self)

    def view(self, dtype=None):
        return around(self.shadow.view() if dtype is None else self.shadow.view(dtype))

    def reshape(self, *shape, order="C", copy=None):
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return _reshape(self, sizes)

    def ravel(self, order="C"):
        return _reshape(self, (-1,))

    flatten = ravel

    def transpose(self, *axes):
        return around(self.shadow.transpose(*axes))

    def swapaxes(self, first, second):
        return around(self.shadow.swapaxes(first, second))

    def squeeze(self, axis=None):
        return around(self.shadow.squeeze(axis))

    def fill(self, value):
        pass

    def conj(self):
        return self

    def __getattr__(self, name):
        """Methods that NumPy also offers as functions: sum, any, max, take and others."""
        function = getattr(np, name, None) if not name.startswith("_") else None
        if function is None:
            raise AttributeError(f"meta arrays have no attribute '{name}'")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **settings):
        if out is not None:
            return out[0] if len(out) == 1 else out
        if method == "reduce":
            return _reduced(ufunc.reduce, inputs, settings, 0)
        if method == "accumulate":
            return like(inputs[0], _result_type(ufunc.accumulate, inputs, settings))
        if ufunc is np.matmul and method == "__call__":
            return _matmul(*inputs)
        if method != "__call__" or ufunc.signature is not None:
            return on_stand_ins(getattr(ufunc, method), inputs, settings)
        settings.pop("where", None)
        shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
        samples = [np.empty(0, x.dtype) if _has_shape(x) else x for x in inputs]
        result = ufunc(*samples, **settings)
        if isinstance(result, tuple):
            return tuple(MetaArray(shape, r.dtype) for r in result)
        return MetaArray(shape, result.dtype)

    def __array_function__(self, function, types, args, kwargs):
        if function in _RULES:
            return _RULES[function](*args, **kwargs)
        if function in _VIEWS:
            return around(function(*shadows(args), **{k: shadows(v) for k, v in kwargs.items()}))
        if function in _REDUCTIONS:
            return _reduced(function, args, kwargs, None)
        if function in _UNKNOWN_SHAPES:
            raise NoData(f"the shape of what {function.__name__} returns depends on the data")
        return on_stand_ins(function, args, kwargs)

    def __repr__(self):
        return f"MetaArray({self.shape}, {self.dtype})"


def around(value):
    """MetaArrays around shadows, also inside sequences."""
    if isinstance(value, (list, tuple)):
        return [around(v) for v in value]
    meta = object.__new__(MetaArray)
    meta.shadow = value
    return meta


def shadows(value):
    """The shadows of MetaArrays, also inside sequences; other values as they are."""
    if isinstance(value, (list, tuple)):
        return type(value)(shadows(v) for v in value)
    return value.shadow if isinstance(value, MetaArray) else value


def like(array, dtype=None):
    """A MetaArray with the shape and, as far as it has no gaps, the order of an array."""
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    shape, strides = array.shape, array.strides
    if array.flags.c_contiguous or 0 in strides:
        return MetaArray(shape, dtype)
    order = sorted(range(len(shape)), key=lambda d: (-strides[d], d))
    steps = contiguous_strides([shape[d] for d in order])
    found = dict(zip(order, steps, strict=True))
    return MetaArray(shape, dtype, tuple(found[d] * dtype.itemsize for d in range(len(shape))))


def without_data(array):
    """A MetaArray of an array's shape, strides and dtype."""
    if isinstance(array, MetaArray):
        return array
    return MetaArray(array.shape, array.dtype, array.strides)


def strided_memory(array):
    """The flat memory that a MetaArray spans."""
    if array.size == 0:
        return MetaArray((0,), array.dtype)
    last = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    count = last // array.itemsize + 1
    return around(as_strided(array.shadow, (count,), (array.itemsize,)))


def strided_meta(memory, dtype, shape, strides, offset):
    """A view on the flat MetaArray `memory`; strides and offset in elements of `dtype`."""
    start = memory.view(np.uint8)[offset * dtype.itemsize:]
    typed = as_strided(start.shadow, (dtype.itemsize,), (1,)).view(dtype)
    return around(as_strided(typed, shape, tuple(s * dtype.itemsize for s in strides)))


def stand_in(value):
    """Zeros (unit matrices) in place of MetaArrays, also inside sequences and dicts."""
    if isinstance(value, MetaArray):
        array = np.zeros(value.shape, value.dtype)
        if array.ndim > 1 and array.dtype.kind in "fc":  # matrices should have an inverse
            diagonal = np.arange(min(array.shape[-2:]))
            array[..., diagonal, diagonal] = 1
        return array
    if isinstance(value, (list, tuple)):
        return type(value)(stand_in(v) for v in value) if value else value
    if isinstance(value, dict):
        return {k: stand_in(v) for k, v in value.items()}
    return value


def emptied(value):
    """MetaArrays in place of arrays, also inside sequences."""
    if isinstance(value, (list, tuple)):
        parts = [emptied(v) for v in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, (np.ndarray, np.generic)):
        return MetaArray(value.shape, value.dtype)
    return value


def on_stand_ins(function, args, kwargs):
    """Run a function on zeros and keep the shapes and dtypes of what it returns."""
    with np.errstate(all="ignore"):
        return emptied(function(*stand_in(args), **stand_in(kwargs)))


def has_meta(values):
    """Whether a MetaArray is among `values`, or in a list among them."""
    for value in values:
        if value.__class__ is MetaArray:
            return True
        if value.__class__ is list and value and value[0].__class__ is MetaArray:
            return True
    return False


def compute(body, values):
    """Run ``body(values)`` where some are MetaArrays; its results have no data either."""
    try:
        return emptied(body(values))
    except NoData:
        raise
    except (TypeError, AttributeError, LinAlgError, np.linalg.LinAlgError):
        # Something does not speak NumPy's protocols, or missed what it expects of values.
        with np.errstate(all="ignore"):
            return emptied(body(stand_in(list(values))))


def _is_mask(index):
    return getattr(index, "dtype", None) == np.bool_ and np.ndim(index) > 0


def _has_shape(value):
    return isinstance(value, (MetaArray, np.ndarray, np.generic))


def _reshape(array, shape, *, order="C", copy=None):
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    shape = infer_size(shape, array.size)
    try:
        return around(np.reshape(array.shadow, shape, copy=False))
    except ValueError:  # it would have to copy
        if copy is False:
            raise
        return MetaArray(shape, array.dtype)


def _result_type(function, args, settings):
    """The dtype of a reduction's result, found on one element per dimension."""
    source = args[0]
    sample = np.zeros((1,) * source.ndim, source.dtype)
    with np.errstate(all="ignore"):
        return np.asarray(function(sample, *args[1:], **settings)).dtype


def _reduced(function, args, settings, default_axis):
    source = args[0]
    settings = {k: v for k, v in settings.items() if k not in ("where", "out", "initial")}
    dtype = _result_type(function, args, settings)
    axis = args[1] if len(args) > 1 else settings.get("axis", default_axis)
    axes = range(source.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = {a % max(source.ndim, 1) for a in axes}
    if settings.get("keepdims", False):
        shape = tuple(1 if d in axes else n for d, n in enumerate(source.shape))
    else:
        shape = tuple(n for d, n in enumerate(source.shape) if d not in axes)
    return MetaArray(shape, dtype)


def _matmul(a, b):
    one, other = a.ndim == 1, b.ndim == 1
    left = (1, *a.shape) if one else a.shape
    right = (*b.shape, 1) if other else b.shape
    if left[-1] != right[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
    shape = list(np.broadcast_shapes(left[:-2], right[:-2]))
    shape += [] if one else [left[-2]]
    shape += [] if other else [right[-1]]
    return MetaArray(tuple(shape), np.result_type(a.dtype, b.dtype))


def _where(condition, *chosen):
    if not chosen:
        raise NoData("the shape of what nonzero returns depends on the data")
    shape = np.broadcast_shapes(np.shape(condition), *(np.shape(c) for c in chosen))
    kinds = [c.dtype if _has_shape(c) else c for c in chosen]
    return MetaArray(shape, np.result_type(*kinds))


def _concatenate(arrays, axis=0, **settings):
    shape = list(arrays[0].shape)
    if len({(*a.shape[:axis], *a.shape[axis:][1:]) for a in arrays}) > 1:
        raise ValueError("all the input array dimensions except the joined one must match")
    shape[axis] = sum(a.shape[axis] for a in arrays)
    return MetaArray(tuple(shape), np.result_type(*(a.dtype for a in arrays)))


def _stack(arrays, axis=0, **settings):
    shape = list(arrays[0].shape)
    shape.insert(axis + len(shape) + 1 if axis < 0 else axis, len(arrays))
    return MetaArray(tuple(shape), np.result_type(*(a.dtype for a in arrays)))


def _empty_like(prototype, dtype=None, order="K", subok=True, shape=None, **settings):
    if shape is not None:
        return MetaArray(shape, prototype.dtype if dtype is None else dtype)
    return like(prototype, dtype)


def _full_like(prototype, value, dtype=None, **settings):
    return _empty_like(prototype, dtype, **settings)


def _copyto(target, source, casting="same_kind", where=True):
    if isinstance(source, MetaArray) and not isinstance(target, MetaArray):
        raise NoData("Cannot copy out of meta tensor; no data!")
    np.broadcast_shapes(np.shape(source), target.shape)


_RULES = {
    np.reshape: _reshape,
    np.ravel: lambda a, order="C": _reshape(a, (-1,)),
    np.where: _where,
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.copyto: _copyto,
    np.copy: lambda a, order="K", subok=False: a.copy(order),
    np.empty_like: _empty_like,
    np.zeros_like: _empty_like,
    np.ones_like: _empty_like,
    np.full_like: _full_like,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.may_share_memory: lambda a, b, max_work=None: a is b,
    np.shares_memory: lambda a, b, max_work=None: a is b,
    np.result_type: lambda *values: np.result_type(
        *(v.dtype if isinstance(v, MetaArray) else v for v in values)
    ),
    np.imag: lambda val: val.imag,
    np.sort: lambda a, axis=-1, **settings: like(a) if axis is not None else a.ravel(),
    np.argsort: lambda a, axis=-1, **settings: MetaArray(a.shape, np.int64),
    np.matvec: _matmul,
    np.array_equal: lambda a, b, **settings: False,
}
_VIEWS = {
    np.broadcast_to, np.transpose, np.moveaxis, np.swapaxes, np.expand_dims, np.squeeze,
    np.diagonal, np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit, np.rollaxis, np.real,
    np.flip, np.fliplr, np.flipud, np.rot90, np.atleast_1d, np.atleast_2d, np.atleast_3d,
    np.matrix_transpose, np.lib.stride_tricks.sliding_window_view, np.broadcast_arrays,
}
_REDUCTIONS = {
    np.sum, np.prod, np.mean, np.max, np.min, np.amax, np.amin, np.any, np.all, np.argmax,
    np.argmin, np.var, np.std, np.count_nonzero, np.nansum, np.nanprod, np.nanmean, np.median,
    np.nanmedian, np.nanmax, np.nanmin, np.linalg.norm,
}
_UNKNOWN_SHAPES = {
    np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.bincount, np.compress, np.extract,
    np.trim_zeros, np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d,
}
