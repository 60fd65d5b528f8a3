"""`Parameter`, and the tensors-to-be of lazy modules."""

from iskra.tensor.tensor import Tensor, _disabled_torch_function, _new, storage_of, wrap


class Parameter(Tensor):
    """A tensor that a `Module` counts among its parameters; it requires a gradient by default.

    `data` is shared, not copied. Raises RuntimeError where a dtype that cannot have a gradient
    is to require one.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html

    >>> import iskra as torch
    >>> torch.nn.Parameter(torch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __torch_function__ = _disabled_torch_function

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = Tensor()
        self = _new(cls)
        self._array = data._array
        self._dtype = data._dtype
        self._storage = storage_of(data)
        self.requires_grad = requires_grad
        return self

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        copy = type(self)(wrap(self._array.copy(), self._dtype), self._requires_grad)
        memo[id(self)] = copy
        return copy

    def __repr__(self):
        return "Parameter containing:\n" + Tensor.__repr__(self)
