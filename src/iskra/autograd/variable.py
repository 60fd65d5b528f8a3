"""`Variable`: the old name of a tensor that takes part in a graph, which many programs still use.

Source: https://docs.pytorch.org/docs/stable/autograd.html#variable-deprecated
"""

import warnings

from iskra.tensor import Tensor

__all__ = ["Variable"]


class _VariableMeta(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """``Variable(data, requires_grad=False)``: a tensor on the memory of `data`, outside its graph.

    Every tensor is an instance of it. `volatile` no longer has an effect and warns.
    Raises TypeError where `data` is not a tensor.

    >>> import iskra as torch
    >>> x = torch.ones(2)
    >>> y = torch.autograd.Variable(x, requires_grad=True)
    >>> y, x.requires_grad, isinstance(x, torch.autograd.Variable)
    (tensor([1., 1.], requires_grad=True), False, True)
    """

    def __new__(cls, data=None, requires_grad=False, volatile=False):
        if volatile:
            warnings.warn(
                "volatile was removed and now has no effect. Use `with no_grad():` instead.",
                stacklevel=2,
            )
            if requires_grad:
                raise ValueError("Variable can't be volatile and require_grad at the same time!")
        data = Tensor() if data is None else data
        if not isinstance(data, Tensor):
            raise TypeError(
                f"Variable data has to be a tensor, but got {type(data).__name__}"
            )
        return data.detach().requires_grad_(requires_grad)
