"""Automatic differentiation: graph nodes, the engine that runs them, and what users call."""

import importlib

from iskra.autograd import graph
from iskra.autograd import methods as _methods  # noqa: F401 (binds backward onto Tensor)
from iskra.autograd.api import GradientEdge, backward, get_gradient_edge, grad
from iskra.autograd.function import Function, FunctionCtx, once_differentiable
from iskra.autograd.graph import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
    set_multithreading_enabled,
)
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
    "Function", "FunctionCtx", "GradientEdge", "Node", "backward", "detect_anomaly",
    "enable_grad", "get_gradient_edge", "grad", "gradcheck", "gradgradcheck", "graph",
    "inference_mode", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_grad_enabled",
    "is_inference_mode_enabled", "no_grad", "once_differentiable", "set_detect_anomaly",
    "set_grad_enabled", "set_multithreading_enabled",
]


def __getattr__(name):
    """Tools that few programs use are loaded when they are."""
    if name == "Variable":
        return importlib.import_module("iskra.autograd.variable").Variable
    if name in ("checkpoint", "functional", "variable"):
        return importlib.import_module(f"iskra.autograd.{name}")
    if name in ("gradcheck", "gradgradcheck", "GradcheckError"):
        return getattr(importlib.import_module("iskra.autograd.numerical"), name)
    raise AttributeError(f"module 'iskra.autograd' has no attribute '{name}'")
