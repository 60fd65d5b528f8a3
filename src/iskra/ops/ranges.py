"""Evenly spaced values, unit matrices, windows.

Source of every operator here: https://docs.pytorch.org/docs/stable/torch.html#creation-ops
"""

import builtins
import math
import operator

import numpy as np

from iskra import graph
from iskra.codegen import kernels
from iskra.core import dtypes
from iskra.dispatch import creation
from iskra.tensor import Tensor
from iskra.tensor.bridge import convert
from iskra.tensor.factory import dtype_of, finish

_EXACT = 1 << 53     # beyond, what is too large is told by a closer look


def _number(name, argument, value):
    """The Python number behind an argument that may be a zero-dimensional tensor."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {argument} "
                f"with {value.ndim} dimension(s)."
            )
        return value.item()
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, (builtins.bool, builtins.int, builtins.float, builtins.complex)):
        raise TypeError(
            f"{name}(): argument '{argument}' must be Number, not {type(value).__name__}"
        )
    return value


def _as_int(name, argument, value):
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}(): argument '{argument}' must be int, not {type(value).__name__}"
        ) from None


def _check_range(name, start, end, step):
    """A range must be finite and its step must lead from start to end."""
    if isinstance(start, complex) or isinstance(end, complex) or isinstance(step, complex):
        raise RuntimeError(f"{name}: value cannot be converted to type double without overflow")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * (1 if step > 0 else -1) < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")


def _steps(start, step, count, kind):
    """``start + i * step`` for i below `count`, computed in double precision or exactly."""
    whole = kind.category == dtypes.INTEGER
    if whole:
        start, step = int(start), int(step)
    if count >= graph.LARGE:
        found = kernels.ranges.evenly_spaced(start, step, count, kind.numpy)
        if found is not None:
            return found
    if whole:
        values = start + np.arange(count, dtype=np.int64) * step
    else:
        values = start + np.arange(count, dtype=np.float64) * step
    return convert(values, kind.numpy)


@creation()
def arange(
    start=0, end=None, step=1, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return the values from `start` (0) up to but not including `end`, `step` apart.

    Integers give int64, floats the default dtype. Raises RuntimeError for a step of 0 or one
    that leads away from `end`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.arange.html

    >>> import iskra as torch
    >>> torch.arange(3), torch.arange(1, 2.5, 0.5)
    (tensor([0, 1, 2]), tensor([1.0000, 1.5000, 2.0000]))
    """
    if end is None:
        start, end = 0, start
    if dtype is None and start.__class__ is end.__class__ is step.__class__ is int and (
            step == 1 and -_EXACT < start <= end < start + graph.LARGE and end < _EXACT):
        # By far the most frequent.
        return finish(np.arange(start, end, dtype=np.int64), dtypes.int64, device, requires_grad)
    start = _number("arange", "start", start)
    end = _number("arange", "end", end)
    step = _number("arange", "step", step)
    if dtype is None:
        whole = all(isinstance(v, int) for v in (start, end, step))
        kind = dtypes.int64 if whole else dtypes.get_default_dtype()
    else:
        kind = dtype_of(dtype, "arange")
        if kind.category not in (dtypes.INTEGER, dtypes.FLOATING):
            raise NotImplementedError(f'"arange_cpu" not implemented for \'{kind.scalar_name}\'')
    _check_range("arange", start, end, step)
    if kind is dtypes.int64:
        start, end, step = int(start), int(end), int(step)
        _check_range("arange", start, end, step)
        count = -((start - end) // step)
    else:  # fractions count towards the length even where the values are whole
        count = math.ceil((end - start) / step)
    return finish(_steps(start, step, count, kind), kind, device, requires_grad)


@creation()
def range(
    start=0, end=None, step=1, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return the values from `start` to `end`, both included. Use `arange` in new code.

    >>> import iskra as torch
    >>> torch.range(1, 2, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    if end is None:
        start, end = 0, start
    start = _number("range", "start", start)
    end = _number("range", "end", end)
    step = _number("range", "step", step)
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "range")
    _check_range("range", start, end, step)
    count = math.floor((end - start) / step) + 1
    return finish(_steps(start, step, count, kind), kind, device, requires_grad)


def _between(name, start, end, steps, dtype, exact=False):
    """The values that divide a span evenly, exact at both ends, and the dtype asked for.

    They may be in that dtype already; with `exact` they are not yet rounded to it.
    """
    start, end = _number(name, "start", start), _number(name, "end", end)
    steps = _as_int(name, "steps", steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    is_complex = isinstance(start, complex) or isinstance(end, complex)
    default = dtypes.get_default_dtype()
    if dtype is not None:
        kind = dtype_of(dtype, name)
        if is_complex and not kind.is_complex:
            raise RuntimeError(f"{name}(): inferred dtype {default.to_complex()} can't be safely "
                               f"cast to passed dtype {kind}")
    else:
        kind = default.to_complex() if is_complex else default
    if kind.category == dtypes.BOOL:
        raise NotImplementedError(f'"{name}_cpu" not implemented for \'Bool\'')
    if kind.category == dtypes.INTEGER:
        start, end = int(start), int(end)
    step = (end - start) / max(steps - 1, 1)
    if steps >= graph.LARGE and not is_complex:
        single = kind is dtypes.float32 and not exact
        found = kernels.ranges.evenly_spaced(
            start, step, steps, np.dtype(np.float32 if single else np.float64), end)
        if found is not None:
            return found, kind
    places = np.arange(steps)
    # Counted from the nearer end, the last value is exactly `end`.
    values = np.where(places < steps // 2, start + step * places,
                      end - step * (steps - 1 - places))
    if steps == 1:
        values = values * 0 + start
    return values, kind


@creation()
def linspace(
    start, end, steps, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return `steps` evenly spaced values from `start` to `end`, both included.

    Raises RuntimeError for negative `steps`.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linspace.html

    >>> import iskra as torch
    >>> torch.linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """
    values, kind = _between("linspace", start, end, steps, dtype)
    return finish(convert(values, kind.numpy), kind, device, requires_grad)


@creation()
def logspace(
    start, end, steps, base=10.0, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return `base` to the power of `steps` evenly spaced values from `start` to `end`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logspace.html

    >>> import iskra as torch
    >>> torch.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    powers, kind = _between("logspace", start, end, steps, dtype, exact=True)
    with np.errstate(all="ignore"):
        values = np.power(np.asarray(base, powers.dtype), powers)
    return finish(convert(values, kind.numpy), kind, device, requires_grad)


@creation()
def eye(
    n, m=None, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Return a matrix with ones on the diagonal and zeros elsewhere, of n rows and m columns.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.eye.html

    >>> import iskra as torch
    >>> torch.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    rows = _as_int("eye", "n", n)
    columns = rows if m is None else _as_int("eye", "m", m)
    for name, count in (("n", rows), ("m", columns)):
        if count < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {count}")
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, "eye")
    return finish(np.eye(rows, columns, dtype=kind.numpy), kind, device, requires_grad)


def _window(name, window_length, periodic, dtype, make, device, requires_grad):
    """A window by ``make(places, last place)``, both as doubles."""
    length = _as_int(name, "window_length", window_length)
    if length < 0:
        raise RuntimeError(
            f"{name} requires non-negative window_length, got window_length={length}"
        )
    kind = dtypes.get_default_dtype() if dtype is None else dtype_of(dtype, name)
    if not (kind.is_floating_point or kind.is_complex):
        raise RuntimeError(f"{name} expects floating point dtypes, got: {kind}")
    if length < 2:
        values = np.ones(length)
    else:
        values = make(np.arange(length, dtype=np.float64), length if periodic else length - 1)
    return finish(convert(values, kind.numpy), kind, device, requires_grad)


def _cosines(*weights):
    """The window that sums cosines with these weights, of alternating signs."""

    def make(places, last):
        angle = 2 * math.pi * places / last
        terms = [w * np.cos(k * angle) * (-1) ** k for k, w in enumerate(weights)]
        return sum(terms[1:], start=terms[0])

    return make


@creation(out=False)
def hann_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a Hann window, ``sin(pi n / N) ** 2``.

    With `periodic` it is one period of a periodic function, else it is symmetric.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.hann_window.html

    >>> import iskra as torch
    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    make = _cosines(0.5, 0.5)
    return _window("hann_window", window_length, periodic, dtype, make, device, requires_grad)


@creation(out=False)
def hamming_window(
    window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, layout=None, device=None,
    requires_grad=False, pin_memory=False,
):
    """Return a Hamming window, ``alpha - beta * cos(2 pi n / N)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hamming_window.html

    >>> import iskra as torch
    >>> torch.hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    make = _cosines(alpha, beta)
    return _window("hamming_window", window_length, periodic, dtype, make, device, requires_grad)


@creation(out=False)
def blackman_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a Blackman window, ``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.blackman_window.html

    >>> import iskra as torch
    >>> torch.blackman_window(4).round(decimals=2).abs()
    tensor([0.0000, 0.3400, 1.0000, 0.3400])
    """
    make = _cosines(0.42, 0.5, 0.08)
    return _window("blackman_window", window_length, periodic, dtype, make, device, requires_grad)


@creation(out=False)
def bartlett_window(
    window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Return a Bartlett window: a triangle from 0 up to 1 and back.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bartlett_window.html

    >>> import iskra as torch
    >>> torch.bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """

    def make(places, last):
        return 1 - np.abs(2 * places / last - 1)

    return _window("bartlett_window", window_length, periodic, dtype, make, device, requires_grad)


@creation(out=False)
def kaiser_window(
    window_length, periodic=True, beta=12.0, *, dtype=None, layout=None, device=None,
    requires_grad=False, pin_memory=False,
):
    """Return a Kaiser window of shape `beta`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.kaiser_window.html

    >>> import iskra as torch
    >>> torch.kaiser_window(4, beta=2.0)
    tensor([0.4387, 0.8348, 1.0000, 0.8348])
    """

    def make(places, last):
        return np.i0(beta * np.sqrt(1 - (2 * places / last - 1) ** 2)) / np.i0(beta)

    return _window("kaiser_window", window_length, periodic, dtype, make, device, requires_grad)
