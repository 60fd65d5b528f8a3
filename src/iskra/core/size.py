"""`Size` and shape arithmetic: pure functions on tuples of ints, no tensor in sight."""

import math
import operator

import numpy as np

from iskra.core.naming import prefix


class Size(tuple):
    """The shape of a tensor: a tuple of ints with `numel`.

    Slices and sums are Sizes too. Raises TypeError for elements that are not integers.
    Source: https://docs.pytorch.org/docs/stable/size.html

    >>> import iskra as torch
    >>> torch.Size([5, 10]), torch.Size([5, 10]).numel()
    (iskra.Size([5, 10]), 50)
    """

    __slots__ = ()

    def __new__(cls, sizes=()):
        try:
            return tuple.__new__(cls, map(operator.index, sizes))
        except TypeError:
            bad = [type(s).__name__ for s in sizes if not hasattr(s, "__index__")]
            raise TypeError(f"Size() takes an iterable of 'int', found {', '.join(bad)}") from None

    def numel(self):
        """The number of elements of a tensor of this shape."""
        return math.prod(self)

    def __repr__(self):
        return f"{prefix()}.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __getitem__(self, index):
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, times):
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self):
        return Size, (tuple(self),)


def contiguous_strides(shape):
    """Strides, in elements, of a row-major tensor (a size of 0 counts as 1, as in PyTorch)."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def broadcast(*shapes):
    """The common shape under broadcasting; raise RuntimeError where there is none.

    >>> broadcast((3, 1), (4,))
    (3, 4)
    """
    rank = max(map(len, shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        offset = rank - len(shape)
        for axis, size in enumerate(shape, offset):
            if size == 1 or size == result[axis]:
                continue
            if result[axis] != 1:
                raise RuntimeError(_mismatch(shapes, axis - rank))
            result[axis] = size
    return tuple(result)


def _mismatch(shapes, axis):
    sizes = [s[axis] for s in shapes if len(s) >= -axis and s[axis] != 1]
    first = sizes[0]
    second = next(s for s in sizes if s != first)
    dimension = max(map(len, shapes)) + axis
    return (
        f"The size of tensor a ({first}) must match the size of tensor b ({second}) at "
        f"non-singleton dimension {dimension}; shapes were {', '.join(map(format_shape, shapes))}"
    )


def format_shape(shape):
    """``[2, 3]``: how error messages write shapes."""
    return "[" + ", ".join(map(str, shape)) + "]"


def is_expandable(shape, target):
    """Whether `shape` broadcasts to exactly `target`."""
    if len(shape) > len(target):
        return False
    return all(s in (1, t) for s, t in zip(reversed(shape), reversed(target), strict=False))


def wrap_dim(dim, rank):
    """Resolve a possibly negative dimension; raise IndexError outside ``[-rank, rank - 1]``.

    A zero-dimensional tensor is treated as having one dimension, as in PyTorch.
    """
    span = rank or 1
    if not -span <= dim < span:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], "
            f"but got {dim})"
        )
    return dim + span if dim < 0 else dim


def wrap_dims(dims, rank):
    """`wrap_dim` over a sequence; raise RuntimeError if a dimension appears twice."""
    wrapped = tuple(wrap_dim(operator.index(d), rank) for d in dims)
    if len(set(wrapped)) != len(wrapped):
        repeated = next(d for d in wrapped if wrapped.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return wrapped


def infer_size(shape, numel):
    """Replace the one -1 in `shape` so that it holds `numel` elements, as view and reshape do."""
    product = math.prod(shape)
    least = min(shape, default=0)
    if product == numel and least >= 0:
        return tuple(shape)
    if least == -1 and product < 0 and numel % product == 0 and shape.count(-1) == 1:
        return tuple([-numel // product if s == -1 else s for s in shape])
    known = math.prod(s for s in shape if s != -1)
    unknown = sum(s == -1 for s in shape)
    if any(s < -1 for s in shape):
        bad = next(s for s in shape if s < -1)
        raise RuntimeError(f"invalid shape dimension {bad} in {format_shape(shape)}")
    if unknown > 1:
        raise RuntimeError("only one dimension can be inferred")
    if unknown and known == 0 and numel == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {format_shape(shape)} because the "
            "unspecified dimension size -1 can be any value and is ambiguous"
        )
    if (numel % known if known and unknown else numel != known):
        raise RuntimeError(f"shape '{format_shape(shape)}' is invalid for input of size {numel}")
    return tuple(numel // known if s == -1 else s for s in shape)


def flatten_sizes(sizes, name="size"):
    """Accept ``f(2, 3)``, ``f((2, 3))`` and ``f(Size([2, 3]))`` alike; return a tuple of ints."""
    if len(sizes) == 1 and not hasattr(sizes[0], "__index__"):
        sizes = sizes[0]
    try:
        return tuple(map(operator.index, sizes))
    except TypeError:
        found = sizes if isinstance(sizes, (tuple, list)) else (sizes,)
        raise TypeError(
            f"argument '{name}' must be ints or one tuple of ints, not "
            + ", ".join(type(s).__name__ for s in found)
        ) from None


def as_count(count, dtype):
    """A number of elements as NumPy divides by it fastest; a size that a trace keeps open stays."""
    return np.asarray(count, dtype) if count.__class__ is int else count
