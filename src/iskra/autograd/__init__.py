"""Automatic differentiation: graph nodes, the engine that runs them, and what users call."""

from iskra.autograd import methods as _methods  # binds backward and friends onto Tensor
from iskra.autograd.api import GradientEdge, backward, get_gradient_edge, grad
from iskra.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from iskra.autograd.node import Node

__all__ = [
    "GradientEdge", "Node", "backward", "enable_grad", "get_gradient_edge", "grad",
    "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "set_grad_enabled",
]
