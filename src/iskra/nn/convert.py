"""Changing the dtype, the device or the memory format of all tensors of a module."""

from iskra.autograd import no_grad
from iskra.core import device as Device
from iskra.core import dtype as DType
from iskra.tensor import Tensor


class ConvertMixin:
    """The part of `Module` that rewrites its parameters and buffers in place."""

    def _apply(self, fn, recurse=True):
        """Replace every parameter's, gradient's and buffer's data by `fn` of it; returns self.

        Parameters keep their identity, so an optimizer that holds them goes on working.
        """
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            grad = param.grad
            with no_grad():
                changed = fn(param)
                changed_grad = None if grad is None else fn(grad)
            if changed is not param:
                param.data = changed
            if changed_grad is not grad:
                grad.data = changed_grad
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Move or cast all parameters and buffers in place; returns self.

        `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)` and
        `to(memory_format=...)`. Integer and bool tensors keep their dtype; memory formats apply to
        4-d and 5-d tensors.

        Raises TypeError if the dtype is neither floating point nor complex.
        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html

        >>> import iskra as torch
        >>> torch.nn.Linear(2, 2).to(torch.float64).weight.dtype
        iskra.float64
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, "
                f"but got desired dtype={dtype}"
            )

        def convert(tensor):
            options = {"non_blocking": non_blocking}
            if device is not None:
                options["device"] = device
            if dtype is not None and (tensor.is_floating_point() or tensor.is_complex()):
                options["dtype"] = dtype
            if memory_format is not None and tensor.dim() in (4, 5):
                options["memory_format"] = memory_format
            return tensor.to(**options) if len(options) > 1 else tensor

        return self._apply(convert)

    def to_empty(self, *, device, recurse=True):
        """Move to `device` without copying: what the tensors hold there is undefined.

        Source: `torch.nn.Module.to_empty`.
        """
        return self._apply(lambda t: t.new_empty(t.shape, device=device), recurse=recurse)

    def cpu(self):
        """Move all parameters and buffers to the CPU; returns self."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """Move all parameters and buffers to a GPU; returns self."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type):
        """Cast all parameters and buffers, integer ones too, to `dst_type`; returns self."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Cast all floating-point parameters and buffers to float32; returns self.

        >>> import iskra as torch
        >>> torch.nn.Linear(2, 2).double().float().weight.dtype
        iskra.float32
        """
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self):
        """Cast all floating-point parameters and buffers to float64; returns self."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self):
        """Cast all floating-point parameters and buffers to float16; returns self."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self):
        """Cast all floating-point parameters and buffers to bfloat16; returns self."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self):
        """Move all parameters and buffers to memory that other processes can map; returns self."""
        return self._apply(lambda t: t.share_memory_())


def _parse_to(*args, device=None, dtype=None, non_blocking=False, copy=False, memory_format=None,
              tensor=None):
    """(device, dtype, non_blocking, memory_format) of the overloads of `to`."""
    rest = list(args)
    if tensor is None and rest and isinstance(rest[0], Tensor):
        tensor = rest.pop(0)
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    else:
        if rest and isinstance(rest[0], (str, int, Device)) and not isinstance(rest[0], bool):
            device = rest.pop(0)
        elif len(rest) > 1 and rest[0] is None:
            rest.pop(0)
        if rest and (isinstance(rest[0], DType) or rest[0] is None):
            dtype = rest.pop(0)
    if rest and isinstance(rest[0], bool):
        non_blocking = rest.pop(0)
    if len(rest) > 1 or (rest and not isinstance(rest[0], bool)):
        seen = ", ".join(type(value).__name__ for value in args)
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({seen}); expected a device, "
            "a dtype, both in this order, or a tensor"
        )
    return None if device is None else Device(device), dtype, non_blocking, memory_format
