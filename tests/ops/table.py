"""Calls of every operator, read from the operator table: what the test matrix runs."""

import numpy as np

import iskra
from iskra.dispatch import OPERATORS
from iskra.tensor import Tensor, wrap


class Make:
    """Makes test tensors of one dtype; the same shapes give the same values every time."""

    def __init__(self, dtype=iskra.float64, requires_grad=False, layout="contiguous"):
        self.dtype = dtype
        self.requires_grad = requires_grad
        self.layout = layout
        self.random = np.random.default_rng(7)

    def __call__(self, shape, low=-2.0, high=2.0, dtype=None, requires_grad=None):
        dtype = dtype or self.dtype
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        values = self.random.uniform(low, high, shape)
        if dtype.is_complex:
            values = values + 1j * self.random.uniform(low, high, shape)
        if dtype is iskra.bool:
            values = values > (low + high) / 2
        elif not (dtype.is_floating_point or dtype.is_complex):
            values = np.floor(values)
            values = np.clip(values, 0 if not dtype.is_signed else None, None)
        array = np.asarray(values).astype(dtype.numpy)
        tensor = wrap(self._lay_out(array), dtype)
        wants = self.requires_grad if requires_grad is None else requires_grad
        if wants and (dtype.is_floating_point or dtype.is_complex):
            tensor.requires_grad_()
        return tensor

    def _lay_out(self, array):
        """The same values with other strides: transposed memory, or every second element."""
        if self.layout == "contiguous" or array.ndim == 0:
            return array
        if self.layout == "transposed":
            return np.ascontiguousarray(array.T).T
        gaps = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        gaps[..., ::2] = array
        return gaps[..., ::2]


def has_samples(op):
    """Whether calls are declared, or follow from the kind and the signature."""
    if op.samples is not None or op.kind == "reduction":
        return True
    return op.kind == "pointwise" and op.signature.required <= len(op.operands)


def samples_of(op, make):
    """The calls of one operator, as ``(args, kwargs)``."""
    if op.samples is not None:
        return op.samples(make)
    if op.kind == "pointwise":
        return pointwise_samples(op, make)
    return reduction_samples(op, make)


def pointwise_samples(op, make):
    low, high = op.domain or (-2.0, 2.0)
    if op.domain is None and len(op.operands) == 2:
        low = 0.5  # divisors and bases away from zero; signs are the families' own tests
    if op.promote == "same" and op.accepts == {1}:
        low, high = 1, 9
    count = len(op.operands)
    patterns = [[(3, 4)] * count, [()] * count, [(5,)] * count]
    if count > 1:
        patterns += [[(3, 1), (1, 4)] + [(4,)] * (count - 2), [(2, 3, 4)] + [(4,)] * (count - 1)]
    return [(tuple(make(s, low, high) for s in shapes), {}) for shapes in patterns]


def reduction_samples(op, make):
    parameters = op.signature.names
    calls = [((make((3, 4)),), {}), ((make(()),), {})]
    if "dim" in parameters:
        calls += [((make((3, 4)),), {"dim": 0}), ((make((2, 3, 4)),), {"dim": -1})]
        if "keepdim" in parameters:
            calls += [((make((2, 3, 4)),), {"dim": 1, "keepdim": True})]
    return calls


def tensors_in(value):
    """All tensors among arguments or results, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors_in(item)]
    return []


def replaced(value, tensors):
    """`value` with its tensors taken, in order, from the iterator `tensors`."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {k: replaced(v, tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [replaced(v, tensors) for v in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def sampled_operators():
    """Names of the operators that the matrix runs."""
    return [name for name, op in OPERATORS.items() if has_samples(op) and op.public]
