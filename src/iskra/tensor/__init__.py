"""Tensors: storage, views, the operator-less `Tensor`, its bridges and its printed form."""

# These bind methods onto Tensor.
from iskra.tensor import legacy, pickling, python, typed_storage  # noqa: F401
from iskra.tensor.parameter import Parameter
from iskra.tensor.storage import Storage
from iskra.tensor.tensor import PERHAPS, DisableTorchFunction, Tensor, alias, storage_of, wrap

__all__ = [
    "PERHAPS", "DisableTorchFunction", "Parameter", "Storage", "Tensor", "alias", "storage_of",
    "wrap",
]
