"""``iskra.testing``: comparing results in tests, and making tensors for them.

Source: https://docs.pytorch.org/docs/stable/testing.html
"""

import math
from collections import abc

import numpy as np

from iskra import core, ops
from iskra.autograd import no_grad
from iskra.tensor import Tensor

__all__ = ["assert_close", "make_tensor"]

# dtype -> (relative, absolute) tolerance; dtypes that are not here must agree exactly.
_TOLERANCES = {
    core.float16: (1e-3, 1e-5), core.bfloat16: (1.6e-2, 1e-5), core.float32: (1.3e-6, 1e-5),
    core.float64: (1e-7, 1e-7), core.complex32: (1e-3, 1e-5), core.complex64: (1.3e-6, 1e-5),
    core.complex128: (1e-7, 1e-7),
}
_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


@no_grad()
def assert_close(
    actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False,
    check_device=True, check_dtype=True, check_layout=True, check_stride=False, msg=None,
):
    """Raise AssertionError unless `actual` and `expected` are equal within tolerances.

    They may be tensors, what becomes one (numbers, arrays), or sequences and mappings of those.
    Elements are close where ``|actual - expected| <= atol + rtol * |expected|``; the tolerances
    follow from the wider dtype unless both are given. `msg` replaces the message, or is a function
    that is given it. Raises ValueError where only one tolerance is given, TypeError for other
    classes.

    Source: https://docs.pytorch.org/docs/stable/testing.html#torch.testing.assert_close

    >>> import iskra as torch
    >>> torch.testing.assert_close(torch.ones(2), torch.tensor([1.0, 1.0 + 1e-7]))
    >>> torch.testing.assert_close(torch.ones(2), torch.tensor([1.0, 2.0]))
    Traceback (most recent call last):
    ...
    AssertionError: Tensor-likes are not close!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 1.0 at index (1,) (up to 1e-05 allowed)
    Greatest relative difference: 0.5 at index (1,) (up to 1.3e-06 allowed)
    """
    __tracebackhide__ = True
    if (rtol is None) != (atol is None):
        raise ValueError(
            "assert_close: rtol and atol must both be specified or both be unspecified, "
            f"got rtol={rtol} and atol={atol}."
        )
    settings = dict(
        allow_subclasses=allow_subclasses, tolerances=None if rtol is None else (rtol, atol),
        equal_nan=equal_nan, check_device=check_device, check_dtype=check_dtype,
        check_layout=check_layout, check_stride=check_stride,
    )
    found = _difference(actual, expected, settings, ())
    if found is not None:
        raise AssertionError(found if msg is None else msg(found) if callable(msg) else msg)


def _difference(actual, expected, settings, path):
    """What is wrong, in words; None where everything is close."""
    if isinstance(actual, abc.Mapping) and isinstance(expected, abc.Mapping):
        if set(actual) != set(expected):
            return _placed(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(set(expected) - set(actual))}\n"
                f"Additional keys in the actual mapping: {sorted(set(actual) - set(expected))}",
                path,
            )
        items = [(key, actual[key], expected[key]) for key in expected]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return _placed(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", path
            )
        items = list(zip(range(len(actual)), actual, expected, strict=True))
    else:
        found = _leaf_difference(actual, expected, settings)
        return found and _placed(found, path)
    for key, a, e in items:
        found = _difference(a, e, settings, (*path, key))
        if found is not None:
            return found
    return None


def _is_sequence(value):
    return isinstance(value, abc.Sequence) and not isinstance(value, str)


def _placed(message, path):
    return message + "\n\nThe failure occurred for item " + (
        "".join(f"[{key!r}]" for key in path)
    ) if path else message


def _leaf_difference(actual, expected, settings):
    if actual is None or expected is None:
        if actual is expected:
            return None
        return f"None mismatch: {actual} is not {expected}"
    if isinstance(actual, _NUMBERS) and isinstance(expected, _NUMBERS):
        return _number_difference(actual, expected, settings)
    first, second = _as_tensor(actual), _as_tensor(expected)
    if first is None or second is None or (
        not settings["allow_subclasses"] and type(actual) is not type(expected)
    ):
        raise TypeError(
            "assert_close: no comparison was able to handle inputs of type "
            f"{type(actual)} and {type(expected)}."
        )
    return _tensor_difference(first, second, settings)


def _as_tensor(value):
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, (np.ndarray, *_NUMBERS)):
        return ops.as_tensor(value)
    return None


def _number_difference(actual, expected, settings):
    """Python numbers: compared by their class, as float64, complex128, int64 or bool."""
    if settings["check_dtype"] and type(actual) is not type(expected):
        return f"The (d)types do not match: {type(actual)} != {type(expected)}."
    kind = _dtype_of(actual, expected)
    rtol, atol = settings["tolerances"] or _TOLERANCES.get(kind, (0, 0))
    if actual == expected or settings["equal_nan"] and actual != actual and expected != expected:
        return None
    difference = abs(complex(actual) - complex(expected))
    size = abs(complex(expected))
    if math.isfinite(difference) and difference <= atol + rtol * size:
        return None
    if not rtol and not atol:
        names = "Booleans" if isinstance(expected, (bool, np.bool_)) else "Scalars"
        head = f"{names} are not equal!\n\nExpected {expected} but got {actual}.\n"
        return head + (
            f"Absolute difference: {_number(actual, expected)}\n"
            f"Relative difference: {_ratio(difference, size)}"
        )
    return (
        f"Scalars are not close!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference} (up to {atol} allowed)\n"
        f"Relative difference: {_ratio(difference, size)} (up to {rtol} allowed)"
    )


def _dtype_of(*numbers):
    if any(isinstance(n, (complex, np.complexfloating)) for n in numbers):
        return core.complex128
    if any(isinstance(n, (float, np.floating)) for n in numbers):
        return core.float64
    return core.int64


def _number(actual, expected):
    return abs(actual - expected) if not isinstance(actual, np.bool_) else 1


def _ratio(difference, size):
    return difference / size if size else math.inf


def _tensor_difference(actual, expected, settings):
    found = _attribute_difference(actual, expected, settings)
    if found is not None:
        return found
    pair = {actual.dtype, expected.dtype}
    known = [_TOLERANCES.get(kind, (0.0, 0.0)) for kind in pair]
    rtol, atol = settings["tolerances"] or (max(k[0] for k in known), max(k[1] for k in known))
    if actual.device.type == "meta":
        return None
    a, e = _wide(actual), _wide(expected)
    with np.errstate(all="ignore"):
        # Differences are told in the precision that the values have.
        kind = core.promote_types(actual.dtype, expected.dtype)
        return _array_difference(a, e, (rtol, atol), settings["equal_nan"], kind)


def _attribute_difference(actual, expected, settings):
    if actual.shape != expected.shape:
        return (
            "The values for attribute 'shape' do not match: "
            f"{tuple.__repr__(actual.shape)} != {tuple.__repr__(expected.shape)}."
        ).replace("torch.Size", "")
    for name, check in (("layout", "layout"), ("device", "device"), ("dtype", "dtype")):
        values = getattr(actual, name), getattr(expected, name)
        if settings[f"check_{check}"] and values[0] != values[1]:
            return (
                f"The values for attribute '{name}' do not match: {values[0]} != {values[1]}."
            )
    if settings["check_stride"] and actual.stride() != expected.stride():
        return (
            "The values for attribute 'stride()' do not match: "
            f"{actual.stride()} != {expected.stride()}."
        )
    return None


def _wide(tensor):
    """The array, low precision and booleans made wide enough to subtract."""
    if tensor.is_complex():
        return tensor.resolve_conj().to(core.complex128).numpy()
    if tensor.is_floating_point():
        return tensor.to(core.float64).numpy()
    return tensor.to(core.int64).numpy() if tensor.dtype is not core.uint64 else tensor.numpy()


def _array_difference(actual, expected, tolerances, equal_nan, kind):
    rtol, atol = tolerances
    close = actual == expected
    distance = np.where(actual > expected, actual - expected, expected - actual) if (
        actual.dtype.kind in "iu"
    ) else np.abs(actual - expected)
    size = np.abs(expected)
    if rtol or atol:
        finite = np.isfinite(actual) & np.isfinite(expected)
        close = close | finite & (distance <= atol + rtol * size)
    if equal_nan:
        close = close | np.isnan(actual) & np.isnan(expected)
    if close.all():
        return None
    distance = np.where(close, 0, distance)
    shown = kind.to_real().numpy if kind.is_floating_point or kind.is_complex else None
    ratio = np.where(close, 0.0, distance / size).astype(shown or np.float32)
    distance = distance if shown is None else distance.astype(shown)
    title = "not close" if rtol or atol else "not equal"
    kind = "Tensor-likes" if actual.ndim else "Scalars"
    if not actual.ndim:
        return _scalar_message(title, actual, expected, (distance, ratio), (atol, rtol))
    bad = int(close.size - np.count_nonzero(close))
    exact = not (rtol or atol)
    return (
        f"{kind} are {title}!\n\n"
        f"Mismatched elements: {bad} / {close.size} ({bad / close.size:.1%})\n"
        f"Greatest absolute difference: {_greatest(distance)}{_allowed(atol, exact)}\n"
        f"Greatest relative difference: {_greatest(ratio)}{_allowed(rtol, exact)}"
    )


def _scalar_message(title, actual, expected, differences, allowed):
    exact = title == "not equal"
    return (
        f"Scalars are {title}!\n\nExpected {expected.item()} but got {actual.item()}.\n"
        f"Absolute difference: {differences[0].item()}{_allowed(allowed[0], exact)}\n"
        f"Relative difference: {differences[1].item()}{_allowed(allowed[1], exact)}"
    )


def _greatest(values):
    place = np.unravel_index(int(np.argmax(values)), values.shape)
    return f"{values[place].item()} at index {tuple(int(i) for i in place)}"


def _allowed(tolerance, exact):
    return "" if exact else f" (up to {tolerance} allowed)"


_RANGES = {"u": (0, 10), "i": (-9, 10), "f": (-9, 9), "c": (-9, 9)}


def make_tensor(
    *shape, dtype, device="cpu", low=None, high=None, requires_grad=False, noncontiguous=False,
    exclude_zero=False, memory_format=None,
):
    """Return a tensor of random values, uniform from ``[low, high)``.

    Without bounds: 0 or 1 for bool, ``[0, 10)`` for unsigned and ``[-9, 10)`` for signed integers,
    ``[-9, 9)`` for floating-point and complex dtypes. `exclude_zero` replaces zeros by the
    smallest positive number. Raises ValueError for an empty range, or `requires_grad` with a dtype
    that has no gradient.

    Source: https://docs.pytorch.org/docs/stable/testing.html#torch.testing.make_tensor

    >>> import iskra as torch
    >>> x = torch.testing.make_tensor((2, 3), dtype=torch.int64, low=0, high=5)
    >>> x.shape, bool((x < 5).all())
    (iskra.Size([2, 3]), True)
    """
    if len(shape) == 1 and isinstance(shape[0], abc.Sequence):
        shape = tuple(shape[0])
    if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(
            "make_tensor: requires_grad must be False for integral dtypes, "
            f"but got dtype={dtype}"
        )
    if noncontiguous and memory_format is not None:
        raise ValueError("make_tensor: noncontiguous and memory_format exclude each other")
    wide = (*shape[:-1], 2 * shape[-1]) if noncontiguous and shape else shape
    result = _random(wide, dtype, *_bounds(dtype, low, high))
    if noncontiguous and shape:
        result = result[..., ::2]
    if memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        tiny = core.finfo(dtype).tiny if dtype.is_floating_point or dtype.is_complex else 1
        result[result == 0] = tiny
    return result.to(device).requires_grad_(requires_grad)


def _bounds(dtype, low, high):
    kind = "c" if dtype.is_complex else "f" if dtype.is_floating_point else (
        "i" if dtype.is_signed else "u"
    )
    least, most = (0, 2) if dtype is core.bool_ else _RANGES[kind]
    low, high = least if low is None else low, most if high is None else high
    if not low < high:
        raise ValueError(f"make_tensor: low must be less than high, but got {low} >= {high}")
    return low, high


def _random(shape, dtype, low, high):
    if dtype.is_complex:
        real = dtype.to_real()
        return ops.complex(_random(shape, real, low, high), _random(shape, real, low, high))
    if dtype.is_floating_point:
        values = ops.rand(shape, dtype=core.float64) * (high - low) + low
        return values.to(dtype)
    return ops.randint(math.ceil(low), math.ceil(high), shape).to(dtype)
