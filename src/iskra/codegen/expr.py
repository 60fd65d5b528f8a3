"""`Expr`: an array that is not there yet.

An operator's body is NumPy. When `Expr`s flow through it instead of arrays, NumPy's protocols
(`__array_ufunc__`, `__array_function__`) hand every call to us, and what comes out is a graph of
primitives: maps over elements, reductions over axes, changes of axes. The graph says *what* to
compute; `iskra.graph.fuse` decides in which kernels, `iskra.codegen.nest` writes their loops.

>>> import numpy as np
>>> x = Expr.input(0, np.dtype(np.float32), (Extent([0]), 1))
>>> y = np.exp(x) / np.add.reduce(x, axis=0, keepdims=True)
>>> print(y)
divide(exp(input0), insert(add.reduce(input0)))
>>> y.shape, y.dtype
((s0, 1), dtype('float32'))
"""

import math
import threading
from contextlib import contextmanager

import numpy as np
from numpy._core.multiarray import normalize_axis_index

from iskra.codegen.extent import Extent, NotTraceable, broadcast_shapes
from iskra.codegen.primitives import PRIMITIVES

_NARROW_NAMES = ("bfloat16", "float16")
REDUCTIONS = frozenset({"add", "multiply", "maximum", "minimum", "logical_or", "logical_and"})


class _Local(threading.local):
    doubts = None
    answer = None


_local = _Local()


class Expr:
    """One node of the graph.

    ``op`` is one of

    - ``"input"`` (`attr`: its number), ``"scalar"`` (a number given at each call; `attr`: its
      number), ``"const"`` (`attr`: the number), ``"extent"`` (`attr`: the `Extent`)
    - ``"map"`` (`attr`: the primitive's name): elements at the same place, broadcast
    - ``"cast"``: the elements in this node's dtype
    - ``"reduce"`` (`attr`: ``(name, axes)``): axes are removed
    - ``"ordered"``: the operand, to be laid out in memory in the order of its axes, in which also
      the loops go if `attr` is ``"loops"``
    - ``"expand"``: axes of size 1 repeated, new ones before
    - ``"axes"`` (`attr`: for each axis the operand's axis, or None for a new one of size 1)
    - ``"index"`` (`attr`: axis): the position along an axis
    - ``"pick"`` (`attr`: axis): the operand's elements at given positions along an axis

    `weak` marks what stands for a Python number, which takes on other operands' dtypes.
    """

    __slots__ = ("op", "args", "attr", "dtype", "shape", "weak")
    __array_priority__ = 1000

    def __init__(self, op, args, attr, dtype, shape, weak=False):
        self.op = op
        self.args = args
        self.attr = attr
        self.dtype = dtype
        self.shape = shape
        self.weak = weak

    # Leaves

    @classmethod
    def input(cls, number, dtype, shape):
        """An operand."""
        return cls("input", (), number, dtype, shape)

    @classmethod
    def scalar(cls, number, weak_type=float):
        """A Python number that each call gives anew."""
        kind = np.dtype(np.float64 if weak_type is float else np.int64)
        return cls("scalar", (), number, kind, (), weak_type)

    @classmethod
    def extent(cls, extent):
        """A size as a number to compute with."""
        return cls("extent", (), extent, np.dtype(np.int64), (), int)

    @classmethod
    def const(cls, value, dtype=None):
        """A number that is part of the program."""
        if dtype is not None:
            return cls("const", (), value, np.dtype(dtype), ())
        weak = bool if isinstance(value, bool) else int if isinstance(value, int) else float
        kind = {bool: np.bool_, int: np.int64, float: np.float64}[weak]
        return cls("const", (), value, np.dtype(kind), (), weak)

    # What bodies ask of an array

    @property
    def ndim(self):
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self):
        """The number of elements, an int or an `Extent`."""
        return math.prod(self.shape)

    @property
    def itemsize(self):
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def real(self):
        """Itself: kernels know no complex numbers."""
        return self

    def astype(self, dtype, copy=True, **_):
        """The elements in another dtype."""
        return cast(self, np.dtype(dtype))

    def reshape(self, *shape, **_):
        """Only what adds or drops dimensions of size 1."""
        shape = shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape
        return reshape(self, tuple(shape))

    def transpose(self, *axes):
        """The axes in another order."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        axes = axes or range(self.ndim)[::-1]
        return rearranged(self, tuple(normalize_axis_index(a, self.ndim) for a in axes))

    @property
    def T(self):
        """The axes the other way round."""
        return self.transpose()

    def copy(self, *_, **__):
        """Itself: expressions have no memory."""
        return self

    def __getitem__(self, key):
        """Only new axes and whole ones."""
        key = key if isinstance(key, tuple) else (key,)
        if any(k is not None and k is not Ellipsis and k != slice(None) for k in key):
            raise NotTraceable("indexing")
        taken = sum(k is not None and k is not Ellipsis for k in key)
        if Ellipsis not in key:
            key += (Ellipsis,)
        at = key.index(Ellipsis)
        key = key[:at] + (slice(None),) * (self.ndim - taken) + key[at + 1:]
        axes, next_axis = [], iter(range(self.ndim))
        for k in key:
            axes.append(None if k is None else next(next_axis))
        return rearranged(self, tuple(axes))

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        if ufunc is np.matmul and method == "__call__" and not settings:
            return _matmul(*map(lift, inputs))
        if method == "__call__":
            return _call(ufunc, inputs, settings)
        if method == "reduce":
            return _reduce(ufunc, *inputs, **settings)
        raise NotTraceable(f"{ufunc.__name__}.{method}")

    def traced(self, name, operands):
        """One primitive of floats of one dtype, which NumPy has not (`iskra.ops.primitives`)."""
        operands = [cast(lift(x), self.dtype) for x in operands]
        if self.dtype.kind != "f" or name not in PRIMITIVES:
            raise NotTraceable(name)
        return mapped(name, operands, self.dtype)

    def __array_function__(self, function, types, args, kwargs):
        build = _FUNCTIONS.get(function)
        if build is None:
            raise NotTraceable(f"numpy.{function.__name__}")
        return build(*args, **kwargs)

    def __array__(self, *_, **__):
        raise NotTraceable("an expression is needed as an array")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotTraceable(f"an expression has no {name}")

    def _refuse(self, *_):
        raise NotTraceable("the value of an expression is needed")

    def doubt(self):
        """Whether this bool holds, which a body asks in order to raise: taken for no.

        It becomes one of the `doubts`, for the kernels to find out.
        """
        if self.op == "const":
            return bool(self.attr)
        if _local.doubts is None or not _is_reduced(self):
            raise NotTraceable("the value of an expression is needed")
        _local.doubts.append(self)
        return False

    def __bool__(self):
        if _local.answer is None:
            raise NotTraceable("the value of an expression is needed")
        return _local.answer(self)

    __int__ = __float__ = __index__ = __len__ = __iter__ = _refuse
    __setitem__ = _refuse
    # NumPy's scalars and arrays spell these; expressions have them for bodies that use operators.
    __hash__ = object.__hash__

    def __str__(self):
        if self.op in ("input", "scalar"):
            return f"{self.op}{self.attr}"
        if self.op in ("const", "extent"):
            return str(self.attr)
        name = {"map": self.attr, "cast": str(self.dtype), "index": f"index{self.attr}"}.get(
            self.op, self.op)
        if self.op == "reduce":
            name = f"{self.attr[0]}.reduce"
        elif self.op == "axes":
            name = "insert" if None in self.attr else "transpose"
        return f"{name}({', '.join(map(str, self.args))})"


Extent.as_expression = staticmethod(Expr.extent)


def _is_reduced(x):
    """Whether something is reduced in an expression: then a kernel can compute it."""
    return x.op == "reduce" or any(map(_is_reduced, x.args))


@contextmanager
def doubting():
    """The list to which a body's doubts are added in this block; see `Expr.doubt`."""
    before, _local.doubts = _local.doubts, []
    try:
        yield _local.doubts
    finally:
        _local.doubts = before


@contextmanager
def answering(answer):
    """In this block `answer(expr)` says whether an expression is true of which a body asks that."""
    before, _local.answer = _local.answer, answer
    try:
        yield
    finally:
        _local.answer = before


def _operator(ufunc, swapped=False):
    def method(self, *other):
        return ufunc(*other, self) if swapped else ufunc(self, *other)

    return method


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}.items():
    setattr(Expr, f"__{_name}__", _operator(_ufunc))
    setattr(Expr, f"__r{_name}__", _operator(_ufunc, swapped=True))
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "neg": np.negative, "abs": np.absolute,
    "invert": np.invert,
}.items():
    setattr(Expr, f"__{_name}__", _operator(_ufunc))
Expr.__hash__ = object.__hash__


def lift(value):
    """`value` as an expression."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Extent):
        return Expr.extent(value)
    if isinstance(value, (bool, int, float)):
        return Expr.const(value)
    numeric = isinstance(value, (np.generic, np.ndarray)) and value.dtype.kind in "fiub"
    if numeric and value.ndim == 0:
        return Expr.const(value.item(), value.dtype)
    raise NotTraceable(f"an operand of type {type(value).__name__}")


def cast(x, dtype):
    """`x` in another dtype."""
    if x.dtype == dtype:
        return x if not x.weak else Expr(x.op, x.args, x.attr, x.dtype, x.shape)
    if dtype.kind not in "fiub" and dtype.name not in _NARROW_NAMES:
        raise NotTraceable(f"dtype {dtype}")
    if x.op == "const":
        number = x.attr
        if dtype.kind in "iu":
            number = int(np.array(number).astype(dtype))
        elif dtype.kind == "b":
            number = bool(number)
        return Expr("const", (), number, dtype, x.shape)
    return Expr("cast", (x,), None, dtype, x.shape)


def mapped(name, args, dtype):
    """A primitive over elements."""
    return Expr("map", tuple(args), name, dtype, broadcast_shapes(*(a.shape for a in args)))


def rearranged(x, axes):
    """The axes of `x` in the order given; None stands for a new one of size 1."""
    kept = [a for a in axes if a is not None]
    if any(x.shape[a].__class__ is Extent for a in range(x.ndim) if a not in kept):
        raise NotTraceable("an axis is dropped")
    if axes == tuple(range(x.ndim)):
        return x
    if x.op == "ordered":
        raise NotTraceable("a memory format of its own")
    if x.op == "axes":  # axes of axes are axes
        return rearranged(x.args[0], tuple(None if a is None else x.attr[a] for a in axes))
    shape = tuple(1 if a is None else x.shape[a] for a in axes)
    return Expr("axes", (x,), axes, x.dtype, shape)


def reshape(x, shape):
    """A reshape that adds or drops dimensions of size 1."""
    real = [a for a, n in enumerate(x.shape) if n.__class__ is Extent]
    new = [n.__class__ is int and (n == 1 or n == -1 and not real) for n in shape]
    wanted = [n for n, is_new in zip(shape, new) if not is_new]
    if len(wanted) != len(real) or not all(
        n.__class__ is int and n == -1 or n == x.shape[a] for n, a in zip(wanted, real)
    ):
        raise NotTraceable(f"a reshape from {x.shape} to {shape}")
    source = iter(real)
    return rearranged(x, tuple(None if is_new else next(source) for is_new in new))


def _call(ufunc, inputs, settings):
    name = ufunc.__name__
    primitive = PRIMITIVES.get(name)
    given = {k: v for k, v in settings.items() if v is not None and not (k == "casting")}
    dtype = given.pop("dtype", None)
    if primitive is None or given:
        raise NotTraceable(f"{name} {sorted(given)}".rstrip(" []"))
    operands = [lift(x) for x in inputs]
    loop = _loop_dtypes(ufunc, operands, dtype)
    if any(_is_outside(x, kind) for x, kind in zip(operands, loop)):
        raise NotTraceable(f"a number that is outside of {loop[0]}")
    weak = all(x.weak in (int, float) for x in operands)  # numbers give numbers
    operands = [cast(x, kind) for x, kind in zip(operands, loop)]
    if all(x.op == "const" and not x.shape for x in operands):
        value = ufunc(*(x.dtype.type(x.attr) for x in operands))
        result = Expr.const(value.item(), loop[-1])
    else:
        result = mapped(name, operands, loop[-1])
    if weak:
        result.weak = {"f": float, "i": int}.get(result.dtype.kind, False)
    return result


def _matmul(a, b):
    """Products of matrices: products of elements, and their sums."""
    if a.ndim < 2 or b.ndim < 2 or a.dtype.kind != "f" or a.dtype != b.dtype:
        raise NotTraceable("a product of other things than matrices of one kind of floats")
    products = np.multiply(a[..., np.newaxis], b[..., np.newaxis, :, :])
    return np.add.reduce(products, axis=-2)


def _is_outside(x, dtype):
    """Whether a Python number does not fit the integers among which it came."""
    if x.op != "const" or x.weak is not int or dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return not limits.min <= x.attr <= limits.max


def _loop_dtypes(ufunc, operands, dtype):
    """The dtypes in which NumPy would compute: the operands', then the result's."""
    kinds = tuple(x.weak if x.weak in (int, float) else x.dtype for x in operands)
    if all(isinstance(k, type) for k in kinds):  # numbers among themselves
        kinds = tuple(x.dtype for x in operands)
    signature = {} if dtype is None else {
        "signature": (None,) * len(operands) + (np.dtype(dtype),)}
    try:
        loop = ufunc.resolve_dtypes((*kinds, None), **signature)
    except TypeError as error:
        raise NotTraceable(f"{ufunc.__name__} of {kinds}") from error
    if any(k.kind not in "fiub" or k == np.float16 or k.itemsize > 8 for k in loop):
        raise NotTraceable(f"{ufunc.__name__} in {loop}")
    return loop


def _axes_of(axis, rank):
    if axis is None or not rank:
        return tuple(range(rank))
    axis = axis if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(sorted(normalize_axis_index(a, rank) for a in axis))


def _reduce(ufunc, x, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True):
    name = ufunc.__name__
    if name not in REDUCTIONS or out is not None or initial is not None or where is not True:
        raise NotTraceable(f"{name}.reduce")
    x = lift(x)
    if dtype is not None:
        x = cast(x, np.dtype(dtype))
    elif name in ("add", "multiply") and x.dtype.kind in "iub" and x.dtype.itemsize < 8:
        x = cast(x, np.dtype(np.uint64 if x.dtype.kind == "u" else np.int64))
    elif name.startswith("logical"):
        x = cast(x, np.dtype(np.bool_))
    return reduced(name, x, axis, keepdims)


def reduced(name, x, axis, keepdims, dtype=None):
    """A reduction over axes; those of size 1 are only dropped."""
    axes = _axes_of(axis, x.ndim)
    real = tuple(a for a in axes if x.shape[a].__class__ is Extent)
    if name.startswith("arg") and (real != axes or not axes):
        raise NotTraceable("the place of an extremum along one element")
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    result = x
    if real:
        shape = tuple(n for a, n in enumerate(x.shape) if a not in real)
        result = Expr("reduce", (x,), (name, real), dtype or x.dtype, shape)
    left = tuple(a for a in range(x.ndim) if a not in real)  # the result's axes, as the operand's
    wanted = range(x.ndim) if keepdims else kept
    return rearranged(result, tuple(left.index(a) if a in left else None for a in wanted))


# NumPy's functions that are no ufuncs


def _where(condition, x, y):
    condition, x, y = lift(condition), lift(x), lift(y)
    if x.weak and y.weak:
        kind = np.result_type(x.dtype, y.dtype)
    elif x.weak or y.weak:
        kind = np.add.resolve_dtypes((x.weak or x.dtype, y.weak or y.dtype, None))[2]
    else:
        kind = np.result_type(x.dtype, y.dtype)
    condition = cast(condition, np.dtype(np.bool_))
    return mapped("where", (condition, cast(x, kind), cast(y, kind)), kind)


def _by_ufunc(ufunc):
    def build(x, axis=None, dtype=None, out=None, keepdims=False, **settings):
        if settings or out is not None:
            raise NotTraceable(f"a setting of {ufunc.__name__}.reduce")
        return _reduce(ufunc, x, axis, dtype, keepdims=keepdims is True)

    return build


def _argument(name):
    def build(x, axis=None, out=None, keepdims=False):
        return reduced(name, lift(x), axis, keepdims is True, np.dtype(np.int64))

    return build


def _expand_dims(x, axis):
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(axes)
    axes = {normalize_axis_index(a, rank) for a in axes}
    source = iter(range(x.ndim))
    return rearranged(x, tuple(None if a in axes else next(source) for a in range(rank)))


def _squeeze(x, axis=None):
    axes = [a for a, n in enumerate(x.shape) if n.__class__ is int] if axis is None else (
        axis if isinstance(axis, (tuple, list)) else [axis])
    axes = {normalize_axis_index(a, x.ndim) for a in axes}
    if any(x.shape[a].__class__ is Extent for a in axes):
        raise NotTraceable("an axis of more than one element is squeezed")
    return rearranged(x, tuple(a for a in range(x.ndim) if a not in axes))


def _filled(value):
    def build(x, dtype=None, **_):
        kind = np.dtype(dtype or x.dtype)
        if isinstance(value, Expr):
            return _broadcast(cast(value, kind), x.shape)
        return Expr("const", (), value, kind, x.shape)

    return build


def take_along(x, indices, axis):
    """``numpy.take_along_axis``: the elements at places along one axis."""
    axis = normalize_axis_index(axis, x.ndim)
    others = [a for a in range(x.ndim) if a != axis]
    if x.ndim != indices.ndim or any(x.shape[a] != indices.shape[a] for a in others):
        raise NotTraceable("elements are taken from broadcast rows")
    if not _is_place(indices):
        indices = _safe_places(indices, x.shape[axis])
    return Expr("pick", (x, indices), axis, x.dtype, indices.shape)


def _is_place(x):
    """Whether these are places of extrema, which lie within."""
    while x.op in ("axes", "cast"):
        (x,) = x.args
    return x.op == "reduce" and x.attr[0].startswith("arg")


def _safe_places(indices, count):
    """Places counted from the end made such from the start; a doubt whether they lie within."""
    indices = cast(lift(indices), np.dtype(np.int64))
    indices = _where(np.less(indices, 0), np.add(indices, count), indices)
    outside = np.logical_or(np.less(indices, 0), np.greater_equal(indices, count))
    np.any(_squeeze(outside)).doubt()
    return _where(outside, 0, indices)


def _arange(stop):
    """``numpy.arange(stop, like=x)`` of a size: the positions along an axis."""
    if stop.__class__ is not Extent:
        return Expr("const", (), 0, np.dtype(np.int64), (1,))
    return Expr("index", (), 0, np.dtype(np.int64), (stop,))


def _take(x, indices, axis=None, **settings):
    """``numpy.take`` from a vector."""
    if x.ndim != 1 or settings:
        raise NotTraceable("numpy.take from several dimensions")
    indices = _safe_places(indices, x.shape[0])
    if not indices.ndim:
        raise NotTraceable("one element is taken")
    row = rearranged(x, (None,) * (indices.ndim - 1) + (0,))
    return Expr("pick", (row, indices), indices.ndim - 1, x.dtype, indices.shape)


def _clip(x, low=None, high=None, **settings):
    if settings:
        raise NotTraceable("a setting of numpy.clip")
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


_FUNCTIONS = {
    np.where: _where, np.sum: _by_ufunc(np.add), np.prod: _by_ufunc(np.multiply),
    np.max: _by_ufunc(np.maximum), np.min: _by_ufunc(np.minimum), np.amax: _by_ufunc(np.maximum),
    np.amin: _by_ufunc(np.minimum), np.any: _by_ufunc(np.logical_or),
    np.all: _by_ufunc(np.logical_and), np.argmax: _argument("argmax"),
    np.argmin: _argument("argmin"), np.expand_dims: _expand_dims, np.squeeze: _squeeze,
    np.copy: lambda x, order="K", **_: _copied(x, order), np.zeros_like: _filled(0),
    np.ones_like: _filled(1),
    np.full_like: lambda x, value, dtype=None, **_: _filled(value)(x, dtype),
    np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size,
    np.reshape: lambda x, shape, **_: x.reshape(shape), np.clip: _clip,
    np.transpose: lambda x, axes=None: x.transpose(*(axes or ())),
    np.moveaxis: lambda x, a, b: _move_axis(x, a, b), np.swapaxes: lambda x, a, b: _swap(x, a, b),
    np.take_along_axis: take_along, np.take: _take, np.arange: _arange,
    np.broadcast_to: lambda x, shape, **_: _broadcast(x, shape),
}


def in_rows(x):
    """`x`, to be laid out in memory in the order of its axes."""
    return Expr("ordered", (x,), "memory", x.dtype, x.shape)


def _copied(x, order):
    """Expressions have no memory; what matters is in which order a result's axes will lie."""
    if order not in ("K", "C"):
        raise NotTraceable(f"a copy in order {order}")
    return x if order == "K" else Expr("ordered", (x,), "loops", x.dtype, x.shape)


def _swap(x, first, second):
    axes = list(range(x.ndim))
    first, second = (normalize_axis_index(a, x.ndim) for a in (first, second))
    axes[first], axes[second] = axes[second], axes[first]
    return rearranged(x, tuple(axes))


def _move_axis(x, source, target):
    source = normalize_axis_index(source, x.ndim)
    axes = [a for a in range(x.ndim) if a != source]
    axes.insert(normalize_axis_index(target, x.ndim), source)
    return rearranged(x, tuple(axes))


def _broadcast(x, shape):
    shape = tuple(shape)
    if broadcast_shapes(x.shape, shape) != shape:
        raise NotTraceable("broadcast_to")
    return x if shape == x.shape else Expr("expand", (x,), None, x.dtype, shape)
