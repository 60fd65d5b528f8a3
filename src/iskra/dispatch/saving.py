"""Values kept for backward: tensors with the versions they had, results without their node."""

from iskra.core.dtypes import FLOATING
from iskra.core.local import active, local
from iskra.tensor import Tensor, storage_of

_new = object.__new__
RESTORED = object()  # in place of a version: the value itself knows how it is restored


class SavedOutput:
    """An output kept for backward, as its bare array: it holds the node, so holding it whole
    would make a cycle. Its fields are named as a tensor's."""

    __slots__ = ("_array", "_dtype", "_storage", "number")

    def restore(self, node):
        """The output, once more."""
        tensor = _new(Tensor)
        tensor._array = self._array
        tensor._dtype = self._dtype
        tensor._storage = self._storage
        tensor._requires_grad = True
        tensor._edge = (node, self.number)
        return tensor


class SavedItem:
    """A tensor or output in a list of those kept for backward, with the version that it had."""

    __slots__ = ("value", "version")

    def __init__(self, value, version):
        self.value = value
        self.version = version

    def restore(self, node):
        """The tensor, checked."""
        tensor = self.value.restore(node) if self.value.__class__ is SavedOutput else self.value
        if tensor._version != self.version:
            raise RuntimeError(overwritten(tensor, self.version, node))
        return tensor


class Packed:
    """A tensor handed to the user's saved-tensors hooks."""

    __slots__ = ("packed", "unpack")

    def __init__(self, tensor):
        pack, self.unpack = local.saved_tensors_hooks[-1]
        self.packed = pack(tensor)

    def restore(self, node):
        """What the user's hook makes of it."""
        return self.unpack(self.packed)


class SavedSequence:
    """Several values that belong to one name, each with its version, `RESTORED` or None."""

    __slots__ = ("items",)

    def __init__(self, pairs):
        self.items = [
            (value, version) if version is None or version is RESTORED
            else (SavedItem(value, version), RESTORED)
            for value, version in pairs
        ]

    def restore(self, node):
        """A tuple of them."""
        return tuple(v.restore(node) if kind is RESTORED else v for v, kind in self.items)


def save_input(value):
    """What to keep of an argument, and its version, `RESTORED`, or None for what has none."""
    if isinstance(value, Tensor):
        if active.watching and local.saved_tensors_hooks:
            return Packed(value), RESTORED
        return value, value._version
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return SavedSequence([save_input(v) for v in value]), RESTORED
    return value, None


def save_outputs(outputs):
    """What to keep of the result or results, and its version or `RESTORED`."""
    if isinstance(outputs, Tensor):
        return _save_output(outputs, 0)
    if outputs is None:
        return None, None
    return SavedSequence([
        (None, None) if o is None else _save_output(o, i) for i, o in enumerate(outputs)
    ]), RESTORED


def save_item(tensor, number):
    """What to keep of one of several results, and its version: those outside the graph whole."""
    if tensor._edge is None and tensor._dtype.category < FLOATING:
        return save_input(tensor)
    return _save_output(tensor, number)


def _save_output(tensor, number):
    if active.watching and local.saved_tensors_hooks:
        return Packed(tensor.detach()), RESTORED
    saved = _new(SavedOutput)
    saved._array = tensor._array
    saved._dtype = tensor._dtype
    saved.number = number
    storage = saved._storage = storage_of(tensor)
    return saved, storage.version


def overwritten(tensor, version, node):
    """The message for a value that has been written to since it was saved."""
    maker = "" if tensor.grad_fn is None else (
        f", which is output {tensor.output_nr} of {tensor.grad_fn.name()},"
    )
    shape = list(tensor.shape)
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{tensor._dtype} {shape}]{maker} is at version {tensor._version}; expected "
        f"version {version} instead. It was saved by the operator '{node.operator.name}'. "
        "Hint: write out of place (x = x + 1 instead of x += 1) or clone it before; with "
        "autograd.set_detect_anomaly(True) the error also shows the forward line."
    )
