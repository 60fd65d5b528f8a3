"""The one door: declaring operators, and every call's way to its body and onto the tape."""

from iskra.core.interception import Interceptor
from iskra.dispatch.creation import creation
from iskra.dispatch.declare import composite, fused, operator, pointwise, reduction, view
from iskra.dispatch.interception import TorchFunctionMode
from iskra.dispatch.operator import FLOAT, NONE, OPERATORS, SAME, Operator, calling

__all__ = [
    "FLOAT", "NONE", "OPERATORS", "SAME", "Interceptor", "Operator", "TorchFunctionMode",
    "calling", "composite", "creation", "fused", "operator", "pointwise", "reduction", "view",
]
