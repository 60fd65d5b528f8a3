"""Settings of the process that PyTorch programs make and ask for.

Iskra's results repeat bit for bit and keep denormal numbers whatever is set, so that most of these
only remember what they were told.
Source: https://docs.pytorch.org/docs/stable/torch.html#utilities
"""

from iskra.core import set_default_dtype
from iskra.tensor.legacy import parse_type

__all__ = [
    "are_deterministic_algorithms_enabled", "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "get_num_interop_threads",
    "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled",
    "set_default_tensor_type", "set_deterministic_debug_mode", "set_float32_matmul_precision",
    "set_flush_denormal", "set_num_interop_threads", "set_warn_always",
    "use_deterministic_algorithms",
]

_MODES = ("default", "warn", "error")
_PRECISIONS = ("highest", "high", "medium")


class _State:
    deterministic = 0  # the position in _MODES
    precision = "highest"
    warn_always = False


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Ask for results that repeat: here they always do, so this is only remembered.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html

    >>> import iskra as torch
    >>> torch.use_deterministic_algorithms(True)
    >>> torch.are_deterministic_algorithms_enabled()
    True
    >>> torch.use_deterministic_algorithms(False)
    """
    if not isinstance(mode, bool):
        raise TypeError(
            "use_deterministic_algorithms(): argument 'mode' must be bool, not "
            f"{type(mode).__name__}"
        )
    _State.deterministic = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled():
    """Whether `use_deterministic_algorithms` was asked for."""
    return _State.deterministic > 0


def is_deterministic_algorithms_warn_only_enabled():
    """Whether it was asked for with ``warn_only=True``."""
    return _State.deterministic == 1


def set_deterministic_debug_mode(debug_mode):
    """The same as a mode: ``"default"`` (0), ``"warn"`` (1) or ``"error"`` (2).

    >>> import iskra as torch
    >>> torch.set_deterministic_debug_mode("warn")
    >>> torch.get_deterministic_debug_mode()
    1
    >>> torch.set_deterministic_debug_mode(0)
    """
    if isinstance(debug_mode, str):
        if debug_mode not in _MODES:
            raise RuntimeError(
                "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got "
                f"{debug_mode}"
            )
        debug_mode = _MODES.index(debug_mode)
    if not isinstance(debug_mode, int):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode).__name__}")
    if not 0 <= debug_mode < len(_MODES):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}"
        )
    _State.deterministic = int(debug_mode)


def get_deterministic_debug_mode():
    """The mode as a number: 0, 1 or 2."""
    return _State.deterministic


def set_float32_matmul_precision(precision):
    """Allow products of float32 matrices fewer bits; they are always computed in float32 here.

    >>> import iskra as torch
    >>> torch.set_float32_matmul_precision("high")
    >>> torch.get_float32_matmul_precision()
    'high'
    >>> torch.set_float32_matmul_precision("highest")
    """
    if precision not in _PRECISIONS:
        raise RuntimeError(
            f"set_float32_matmul_precision: {precision!r} is not one of 'highest', 'high', 'medium'"
        )
    _State.precision = precision


def get_float32_matmul_precision():
    """What `set_float32_matmul_precision` was told: ``"highest"`` at first."""
    return _State.precision


def set_flush_denormal(mode):
    """Ask for denormal numbers to be taken for 0; return False, since that is not supported.

    >>> import iskra as torch
    >>> torch.set_flush_denormal(True)
    False
    """
    return False


def get_num_interop_threads():
    """How many operators may run at the same time within one call: 1.

    >>> import iskra as torch
    >>> torch.get_num_interop_threads()
    1
    """
    return 1


def set_num_interop_threads(threads):
    """Remembered by nobody: operators run one after the other. RuntimeError unless positive."""
    if not isinstance(threads, int):
        raise TypeError(
            f"set_num_interop_threads expects an int, but got {type(threads).__name__}"
        )
    if threads < 1:
        raise RuntimeError("set_num_interop_threads expects a positive integer")


def set_warn_always(b):
    """Whether warnings that are given once are given every time."""
    if not isinstance(b, bool):
        raise TypeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _State.warn_always = b


def is_warn_always_enabled():
    """What `set_warn_always` was told: False at first."""
    return _State.warn_always


def set_default_tensor_type(t):
    """Make the dtype of this tensor type the default: the older form of `set_default_dtype`.

    >>> import iskra as torch
    >>> torch.set_default_tensor_type(torch.DoubleTensor)
    >>> torch.tensor(1.0).dtype
    iskra.float64
    >>> torch.set_default_tensor_type("torch.FloatTensor")
    """
    kind, place = parse_type(t)
    if place == "cuda":
        raise RuntimeError("set_default_tensor_type: there is no CUDA device")
    if not kind.is_floating_point:
        raise TypeError(
            "only floating-point types are supported as the default type, got "
            f"{kind.name}"
        )
    set_default_dtype(kind)
