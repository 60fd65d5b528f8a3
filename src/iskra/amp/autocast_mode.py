"""`autocast`: a block in which operators get their operands in the dtype that suits them.

Source: https://docs.pytorch.org/docs/stable/amp.html#autocasting
"""

import functools
import warnings

import numpy as np

from iskra.amp import state
from iskra.core import bfloat16, float16, float64
from iskra.tensor import Tensor


class autocast:
    """Run a block, or the decorated function, in mixed precision.

    Products and convolutions run in `dtype` (default bfloat16 on the CPU); operators that need
    the range or precision of float32, such as losses, get it; all others take what they are given.
    `device_type` is "cpu" or "cuda", `enabled=False` switches an outer block off, and
    `cache_enabled=False` casts parameters anew at every use.
    Raises RuntimeError for another device type, ValueError where it is not a str; warns, and does
    nothing, where there is no such device or `dtype` is not bfloat16 or float16.

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.autocast

    >>> import iskra as torch
    >>> x, w = torch.ones(2, 3), torch.ones(3, 2)
    >>> with torch.autocast("cpu"):
    ...     y = x @ w
    ...     z = torch.nn.functional.mse_loss(y, y)
    >>> y.dtype, z.dtype
    (iskra.bfloat16, iskra.float32)
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(
                f"autocast: expected device_type of type `str`, got: `{type(device_type)}`"
            )
        state._check("autocast", device_type)
        self.device = device_type
        self.fast_dtype = state.get_autocast_dtype(device_type) if dtype is None else dtype
        caching = state.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        self._cache_enabled = caching
        self._enabled = bool(enabled) and self._possible()
        self._outer = []  # what was set when the block began; a list, as blocks may be nested

    def _possible(self):
        if not is_autocast_available(self.device):
            warnings.warn(
                f"autocast: no {self.device.upper()} device is available; autocast stays off.",
                stacklevel=3,
            )
            return False
        if self.fast_dtype not in (bfloat16, float16):
            warnings.warn(
                f"autocast: {self.fast_dtype} is not supported on '{self.device}', only bfloat16 "
                "and float16 are; autocast stays off.",
                stacklevel=3,
            )
            return False
        return True

    def __enter__(self):
        device = self.device
        self._outer.append((
            state.is_autocast_enabled(device), state.get_autocast_dtype(device),
            state.is_autocast_cache_enabled(),
        ))
        self._set(self._enabled, self.fast_dtype, self._cache_enabled)
        state.autocast_increment_nesting()
        return self

    def __exit__(self, *exception):
        if state.autocast_decrement_nesting() == 0:
            state.clear_autocast_cache()
        self._set(*self._outer.pop())
        return False

    def _set(self, enabled, dtype, caching):
        state.set_autocast_enabled(self.device, enabled)
        state.set_autocast_dtype(self.device, dtype)
        state.set_autocast_cache_enabled(caching)

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapper


def is_autocast_available(device_type):
    """Whether there is a device of this type that autocast can be used on.

    >>> import iskra as torch
    >>> torch.amp.is_autocast_available("cpu")
    True
    """
    return device_type == "cpu"


def custom_fwd(fwd=None, *, device_type, cast_inputs=None):
    """Decorate the `forward` of an `autograd.Function` that is used under `autocast`.

    With `cast_inputs`, the floating-point tensor arguments are cast to that dtype and autocast
    is off inside; otherwise `forward` runs as it stands and `custom_bwd` repeats its setting.

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.custom_fwd
    """
    _check_decorated("custom_fwd", device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx, *args, **kwargs):
        ctx._dtype = state.get_autocast_dtype(device_type)
        on = state.is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if not on or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            args = _cast(args, device_type, cast_inputs)
            return fwd(ctx, *args, **_cast(kwargs, device_type, cast_inputs))

    return forward


def custom_bwd(bwd=None, *, device_type):
    """Decorate the `backward` of an `autograd.Function`: it runs under its forward's autocast.

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.custom_bwd
    """
    _check_decorated("custom_bwd", device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx, *args, **kwargs):
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return backward


def _check_decorated(name, device_type):
    if not isinstance(device_type, str):
        raise ValueError(f"{name}: expected device_type of type `str`, got: `{type(device_type)}`")


def _cast(value, device_type, dtype):
    """`value`, with the floating-point tensors (but float64) inside it cast to `dtype`."""
    if isinstance(value, Tensor):
        castable = value.is_floating_point() and value.dtype is not float64
        return value.to(dtype) if castable and value.device.type == device_type else value
    if isinstance(value, (str, np.ndarray)):
        return value
    if isinstance(value, dict):
        return {k: _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_cast(v, device_type, dtype) for v in value])
    return value
