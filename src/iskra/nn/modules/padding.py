"""Padding layers. Page: https://docs.pytorch.org/docs/stable/nn.html#padding-layers

`padding` is one number for all sides or a tuple (left, right, top, bottom, front, back), the last
dimension first; negative numbers crop.
"""

from iskra.nn import functional as F
from iskra.nn.module import Module
from iskra.nn.modules.utils import _ntuple, _pair, _quadruple

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]

_sextuple = _ntuple(6, "_sextuple")


class _PadNd(Module):
    """Padding by a mode without further settings."""

    _mode = "constant"

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"
    _dims = ()

    def forward(self, input):
        if input.dim() not in self._dims:
            allowed = " or ".join(f"{dims}D" for dims in self._dims)
            raise ValueError(f"expected {allowed} input (got {input.dim()}D input)")
        return F.pad(input, self.padding, self._mode)


class _ConstantPadNd(Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class CircularPad1d(_CircularPadNd):
    """Pads (N, C, L) or (C, L) with the other end's values.

    Source: `torch.nn.CircularPad1d`.

    >>> import iskra as torch
    >>> torch.nn.CircularPad1d((2, 1))(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[2., 3., 1., 2., 3., 1.]])
    """

    _dims = (2, 3)

    def __init__(self, padding):
        super().__init__()
        self.padding = _pair(padding)


class CircularPad2d(_CircularPadNd):
    """Pads (N, C, H, W) or (C, H, W) with the other end's values.

    Source: `torch.nn.CircularPad2d`.

    >>> import iskra as torch
    >>> torch.nn.CircularPad2d(1)(torch.ones(1, 3, 3)).shape
    iskra.Size([1, 5, 5])
    """

    _dims = (3, 4)

    def __init__(self, padding):
        super().__init__()
        self.padding = _quadruple(padding)


class CircularPad3d(_CircularPadNd):
    """Pads (N, C, D, H, W) or (C, D, H, W) with the other end's values.

    Source: `torch.nn.CircularPad3d`.

    >>> import iskra as torch
    >>> torch.nn.CircularPad3d(1)(torch.ones(1, 3, 3, 3)).shape
    iskra.Size([1, 5, 5, 5])
    """

    _dims = (4, 5)

    def __init__(self, padding):
        super().__init__()
        self.padding = _sextuple(padding)


class ConstantPad1d(_ConstantPadNd):
    """Pads the last dimension with `value`. Source: `torch.nn.ConstantPad1d`.

    >>> import iskra as torch
    >>> torch.nn.ConstantPad1d(1, 3.5)(torch.ones(2)).sum()
    tensor(9.)
    """

    def __init__(self, padding, value):
        super().__init__(value)
        self.padding = _pair(padding)


class ConstantPad2d(_ConstantPadNd):
    """Pads the last 2 dimensions with `value`. Source: `torch.nn.ConstantPad2d`.

    >>> import iskra as torch
    >>> torch.nn.ConstantPad2d(1, 3.5)(torch.ones(2, 2)).sum()
    tensor(46.)
    """

    def __init__(self, padding, value):
        super().__init__(value)
        self.padding = _quadruple(padding)


class ConstantPad3d(_ConstantPadNd):
    """Pads the last 3 dimensions with `value`. Source: `torch.nn.ConstantPad3d`.

    >>> import iskra as torch
    >>> torch.nn.ConstantPad3d(1, 3.5)(torch.ones(2, 2, 2)).sum()
    tensor(204.)
    """

    def __init__(self, padding, value):
        super().__init__(value)
        self.padding = _sextuple(padding)


class ReflectionPad1d(_ReflectionPadNd):
    """Pads (N, C, L) or (C, L) with the values mirrored at the border, itself left out.

    Source: `torch.nn.ReflectionPad1d`.

    >>> import iskra as torch
    >>> torch.nn.ReflectionPad1d((2, 1))(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2.]])
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = _pair(padding)


class ReflectionPad2d(_ReflectionPadNd):
    """Pads (N, C, H, W) or (C, H, W) with the values mirrored at the border, itself left out.

    Source: `torch.nn.ReflectionPad2d`.

    >>> import iskra as torch
    >>> torch.nn.ReflectionPad2d(1)(torch.ones(1, 3, 3)).shape
    iskra.Size([1, 5, 5])
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = _quadruple(padding)


class ReflectionPad3d(_ReflectionPadNd):
    """Pads (N, C, D, H, W) or (C, D, H, W) with the values mirrored at the border, itself left out.

    Source: `torch.nn.ReflectionPad3d`.

    >>> import iskra as torch
    >>> torch.nn.ReflectionPad3d(1)(torch.ones(1, 3, 3, 3)).shape
    iskra.Size([1, 5, 5, 5])
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = _sextuple(padding)


class ReplicationPad1d(_ReplicationPadNd):
    """Pads (N, C, L) or (C, L) with the value at the border.

    Source: `torch.nn.ReplicationPad1d`.

    >>> import iskra as torch
    >>> torch.nn.ReplicationPad1d((2, 1))(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 1., 2., 3., 3.]])
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = _pair(padding)


class ReplicationPad2d(_ReplicationPadNd):
    """Pads (N, C, H, W) or (C, H, W) with the value at the border.

    Source: `torch.nn.ReplicationPad2d`.

    >>> import iskra as torch
    >>> torch.nn.ReplicationPad2d(1)(torch.ones(1, 3, 3)).shape
    iskra.Size([1, 5, 5])
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = _quadruple(padding)


class ReplicationPad3d(_ReplicationPadNd):
    """Pads (N, C, D, H, W) or (C, D, H, W) with the value at the border.

    Source: `torch.nn.ReplicationPad3d`.

    >>> import iskra as torch
    >>> torch.nn.ReplicationPad3d(1)(torch.ones(1, 3, 3, 3)).shape
    iskra.Size([1, 5, 5, 5])
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = _sextuple(padding)


class ZeroPad1d(ConstantPad1d):
    """Pads the last dimension with zeros. Source: `torch.nn.ZeroPad1d`.

    >>> import iskra as torch
    >>> torch.nn.ZeroPad1d(1)(torch.ones(2)).shape
    iskra.Size([4])
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Pads the last 2 dimensions with zeros. Source: `torch.nn.ZeroPad2d`.

    >>> import iskra as torch
    >>> torch.nn.ZeroPad2d(1)(torch.ones(2, 2)).shape
    iskra.Size([4, 4])
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Pads the last 3 dimensions with zeros. Source: `torch.nn.ZeroPad3d`.

    >>> import iskra as torch
    >>> torch.nn.ZeroPad3d(1)(torch.ones(2, 2, 2)).shape
    iskra.Size([4, 4, 4])
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"
