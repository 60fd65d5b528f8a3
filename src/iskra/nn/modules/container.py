"""The containers under PyTorch's name for their file."""

from iskra.nn.containers import Container, ModuleDict, ModuleList, Sequential
from iskra.nn.parameter_containers import ParameterDict, ParameterList

__all__ = [
    "Container", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential",
]
