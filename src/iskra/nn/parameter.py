"""Parameters, buffers, and the lazy kind of both whose shape is not known yet.

`Parameter` itself lives in `iskra.tensor`.
"""

from iskra.autograd import no_grad
from iskra.ops import empty
from iskra.tensor import DisableTorchFunction, Parameter, Tensor

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "is_lazy",
]


class _BufferMeta(type(Tensor)):
    """Makes isinstance(t, Buffer) true of the plain tensors that `Buffer(...)` returns."""

    def __instancecheck__(cls, instance):
        if cls is Buffer and isinstance(instance, Tensor):
            return getattr(instance, "_is_buffer", False)
        return super().__instancecheck__(instance)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that becomes a buffer of the module it is assigned to.

    `persistent=False` keeps it out of the state dict. The result is a plain tensor that shares the
    memory of `data`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html

    >>> import iskra as torch
    >>> layer = torch.nn.Identity()
    >>> layer.scale = torch.nn.Buffer(torch.ones(2))
    >>> list(layer.state_dict())
    ['scale']
    """

    def __new__(cls, data=None, *, persistent=True):
        data = empty(0) if data is None else data
        buffer = data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


_NEEDS_FORWARD = "Call `forward` with a first batch to give it its shape."
# What converting or moving a module does to its parameters.
_ALLOWED = frozenset(
    "bfloat16 char copy_ cpu cuda double empty_like float half int long new_empty short to".split()
)


class UninitializedTensorMixin:
    """What the lazy parameters and buffers share: no shape until `materialize`."""

    def materialize(self, shape, device=None, dtype=None):
        """Become an ordinary tensor of `shape` with undefined values.

        Source: `torch.nn.parameter.UninitializedParameter.materialize`.
        """
        device = self.device if device is None else device
        dtype = self.dtype if dtype is None else dtype
        with no_grad():
            self.data = empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ not in _ALLOWED:
            raise ValueError(
                f"Attempted to use an uninitialized parameter in {func.__name__}(). "
                + _NEEDS_FORWARD
            )
        with DisableTorchFunction():
            return func(*args, **(kwargs or {}))

    @property
    def shape(self):
        raise RuntimeError(
            "an uninitialized parameter or buffer has no shape yet; this is often seen when "
            f"load_state_dict loads one into an initialized one. {_NEEDS_FORWARD}"
        )

    def share_memory_(self):
        raise RuntimeError(
            f"an uninitialized parameter or buffer has no memory to share yet. {_NEEDS_FORWARD}"
        )

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad, self.device, self.dtype)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


def is_lazy(param):
    """Whether `param` is an uninitialized parameter or buffer.

    >>> import iskra as torch
    >>> torch.nn.parameter.is_lazy(torch.nn.LazyLinear(3).weight)
    True
    """
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is inferred later, by the first batch of a lazy module.

    Source: https://docs.pytorch.org/docs/stable/generated/
    torch.nn.parameter.UninitializedParameter.html

    >>> import iskra as torch
    >>> weight = torch.nn.UninitializedParameter()
    >>> weight.materialize((2, 3))
    >>> type(weight).__name__, weight.shape
    ('Parameter', iskra.Size([2, 3]))
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return Parameter.__new__(cls, empty(0, device=device, dtype=dtype), requires_grad)


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is inferred later, by the first batch of a lazy module.

    Source: https://docs.pytorch.org/docs/stable/generated/
    torch.nn.parameter.UninitializedBuffer.html
    """

    cls_to_become = Tensor

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        buffer = Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer
