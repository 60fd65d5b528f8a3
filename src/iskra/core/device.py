"""`device`, `layout` and `memory_format`: where tensors live and how their memory is arranged."""

import threading

from iskra.core.naming import prefix

_KINDS = ("cpu", "cuda", "meta")


class device:
    """Where a tensor's data lives: ``cpu``, ``cuda[:index]`` or ``meta`` (shape without data).

    Also a context manager under which new tensors are made there.
    Raises RuntimeError for an unknown kind or a malformed string.
    Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch-device

    >>> import iskra as torch
    >>> torch.device("cuda:1").index
    1
    """

    __slots__ = ("type", "index")

    def __new__(cls, type=None, index=None):
        if isinstance(type, device):
            return type
        if type is None:
            type = "cpu" if index is None else "cuda"
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = "cuda", type
        kind, index = _parse(type, index)
        self = object.__new__(cls)
        object.__setattr__(self, "type", kind)
        object.__setattr__(self, "index", index)
        return self

    def __setattr__(self, name, value):
        raise AttributeError(f"attribute '{name}' of 'device' objects is not writable")

    def __eq__(self, other):
        if not isinstance(other, device):
            return NotImplemented
        return (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self):
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __reduce__(self):
        return device, (self.type, self.index)

    def __enter__(self):
        _context.stack.append(self)
        return self

    def __exit__(self, *exception):
        _context.stack.pop()


def _parse(text, index):
    if not isinstance(text, str):
        raise TypeError(f"device(): argument 'type' must be str, not {type(text).__name__}")
    kind, colon, number = text.partition(":")
    if kind not in _KINDS:
        raise RuntimeError(
            f"Expected one of {', '.join(_KINDS)} device type at start of device string: {text}"
        )
    if colon:
        if index is not None:
            raise RuntimeError(
                "type (string) must not include an index because index was passed explicitly: "
                f"{text}"
            )
        if not number.isdigit() or (len(number) > 1 and number[0] == "0"):
            raise RuntimeError(f"Invalid device string: '{text}'")
        index = int(number)
    return kind, index


class _Context(threading.local):
    """Per thread: the stack of ``with device(...)`` blocks; below it, the default device."""

    def __init__(self):
        self.stack = []


_context = _Context()
CPU = device("cpu")
META = device("meta")
_default = CPU


def get_default_device():
    """Return the device on which new tensors are made.

    >>> get_default_device()
    device(type='cpu')
    """
    return _context.stack[-1] if _context.stack else _default


def set_default_device(where):
    """Make new tensors on `where` (a device, a string or None for the CPU)."""
    global _default
    _default = CPU if where is None else device(where)


class layout:
    """How elements are laid out; all tensors here are ``strided``."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"{prefix()}.{self.name}"

    def __reduce__(self):
        return _layout_named, (self.name,)


class memory_format(layout):
    """The order of dimensions in memory: contiguous, channels last, or as it was."""

    __slots__ = ()


strided = layout("strided")
# Other layouts have names, so that programs can ask; no tensor has them.
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")
jagged = layout("jagged")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def _layout_named(name):
    return globals()[name]
