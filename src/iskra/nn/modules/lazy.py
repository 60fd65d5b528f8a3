"""`LazyModuleMixin` under PyTorch's name for its file."""

from iskra.nn.lazy import LazyModuleMixin

__all__ = ["LazyModuleMixin"]
