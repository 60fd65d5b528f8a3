"""Pruning: masks that hold chosen elements of a parameter at zero.

A pruned parameter `weight` becomes the parameter `weight_orig`, the buffer `weight_mask`, and an
attribute `weight`, their product, computed before each forward.
Page: https://docs.pytorch.org/docs/stable/nn.html#utilities
"""

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable

from iskra import ops
from iskra.nn.utils.convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured",
    "PruningContainer", "RandomStructured", "RandomUnstructured", "custom_from_mask",
    "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]


class BasePruningMethod(ABC):
    """A way to choose a mask, and the hook that applies it; subclasses define `compute_mask`.

    `PRUNING_TYPE` is "unstructured", "structured" (along `dim`) or "global".

    Source: `torch.nn.utils.prune.BasePruningMethod`.

    >>> import iskra as torch
    >>> class KeepFirst(BasePruningMethod):
    ...     PRUNING_TYPE = "unstructured"
    ...     def compute_mask(self, t, default_mask):
    ...         mask = default_mask.clone()
    ...         mask.view(-1)[1:] = 0
    ...         return mask
    >>> layer = torch.nn.Linear(2, 2)
    >>> _ = KeepFirst.apply(layer, "weight")
    >>> layer.weight_mask
    tensor([[1., 0.],
            [0., 0.]])
    """

    _tensor_name = None

    def __call__(self, module, inputs):
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t, default_mask):
        """The mask for the scores `t`, within `default_mask`."""

    def apply_mask(self, module):
        """The pruned tensor of the module."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(original.dtype) * original

    @classmethod
    def apply(cls, module, name, *args, importance_scores=None, **kwargs):
        """Prune the parameter `name` of a module, in addition to what pruned it before."""
        method = cls(*args, **kwargs)
        method._tensor_name = name
        original = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, "
                f"got {importance_scores.shape} vs {original.shape}"
            )
        earlier = _hooks_on(module, name)
        whole = _combined([hook for _, hook in earlier], method)
        before = getattr(module, name + "_mask") if earlier else ops.ones_like(original)
        scores = original if importance_scores is None else importance_scores
        mask = whole.compute_mask(scores, default_mask=before.detach().clone())
        for key, _ in earlier:
            del module._forward_pre_hooks[key]
        if not earlier:
            del module._parameters[name]
            module.register_parameter(name + "_orig", original)
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, whole.apply_mask(module))
        module.register_forward_pre_hook(whole)
        return whole

    def prune(self, t, default_mask=None, importance_scores=None):
        """The tensor `t` pruned, without any module."""
        if importance_scores is None:
            importance_scores = t
        elif importance_scores.shape != t.shape:
            raise AssertionError(
                "importance_scores should have the same shape as tensor t, "
                f"got {importance_scores.shape} vs {t.shape}"
            )
        default_mask = ops.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(importance_scores, default_mask=default_mask)

    def remove(self, module):
        """Make the pruned tensor the parameter; what was pruned stays zero."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(
                f"Module {module} has to be pruned before pruning can be removed"
            )
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = weight.detach()
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _hooks_on(module, name):
    """Key and hook of what prunes the parameter already: at most one."""
    found = [
        (key, hook) for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
    ]
    if len(found) > 1:
        raise AssertionError(
            f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. "
            "Use a PruningContainer."
        )
    return found


def _combined(earlier, method):
    """The new method, in a container if there is an earlier one."""
    if not earlier:
        return method
    (hook,) = earlier
    container = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
    return PruningContainer(*container, method)


class PruningContainer(BasePruningMethod):
    """Several methods one after another; each sees only what the earlier ones have left.

    Source: `torch.nn.utils.prune.PruningContainer`.

    >>> len(PruningContainer(Identity()))
    1
    """

    def __init__(self, *args):
        self._pruning_methods = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method):
        """Put one more method at the end; it must act on the same parameter."""
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. "
                f"Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self):
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, index):
        return self._pruning_methods[index]

    def compute_mask(self, t, default_mask):
        """The mask of the last method, applied to what `default_mask` has left."""
        method = self._pruning_methods[-1]
        part = _still_there(method, t, default_mask)
        mask = default_mask.to(t.dtype).clone()
        mask[part] = method.compute_mask(t[part], default_mask=default_mask[part]).to(mask.dtype)
        return mask


def _still_there(method, t, mask):
    """An index of the part of `t` that a further method may prune."""
    if method.PRUNING_TYPE == "unstructured":
        return mask == 1
    part = [slice(None)] * t.dim()
    if method.PRUNING_TYPE == "structured":
        if not hasattr(method, "dim"):
            raise AttributeError(
                'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` '
                "defined."
            )
        if not -t.dim() <= method.dim < t.dim():
            raise IndexError(f"Index is out of bounds for tensor with dimensions {t.dim()}")
        dim = method.dim % t.dim()
        others = [d for d in range(t.dim()) if d != dim]
        part[dim] = mask.sum(dim=others) != 0
    elif method.PRUNING_TYPE != "global":
        raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
    return tuple(part)


class Identity(BasePruningMethod):
    """Prunes nothing, but makes mask and original. Source: `torch.nn.utils.prune.Identity`.

    >>> Identity().PRUNING_TYPE
    'unstructured'
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        """The mask as it was."""
        return default_mask


class _Amount(BasePruningMethod):
    """A method that prunes a number of elements or channels, or a fraction of them."""

    def __init__(self, amount):
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        integer = isinstance(amount, numbers.Integral)
        if amount < 0 or not integer and amount > 1.0:
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
                "integer"
            )
        self.amount = amount

    def _count(self, size):
        if not isinstance(self.amount, numbers.Integral):
            return round(self.amount * size)
        if self.amount > size:
            raise ValueError(
                f"amount={self.amount} should be smaller than the number of parameters to "
                f"prune={size}"
            )
        return self.amount

    def _without(self, scores, default_mask, largest):
        """The mask without the elements of the largest (or smallest) scores."""
        count = self._count(scores.numel())
        mask = default_mask.clone()
        if count:
            mask.view(-1)[ops.topk(scores.reshape(-1), count, largest=largest).indices] = 0
        return mask


class RandomUnstructured(_Amount):
    """Prunes random elements. Source: `torch.nn.utils.prune.RandomUnstructured`.

    >>> import iskra as torch
    >>> int(RandomUnstructured(3).prune(torch.ones(10)).sum())
    7
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        """The mask without random elements."""
        scores = ops.rand_like(t) if self._count(t.numel()) else t
        return self._without(scores, default_mask, largest=True)


class L1Unstructured(_Amount):
    """Prunes the elements next to zero. Source: `torch.nn.utils.prune.L1Unstructured`.

    >>> import iskra as torch
    >>> L1Unstructured(1).prune(torch.tensor([3.0, -1.0, 2.0]))
    tensor([3., -0., 2.])
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        """The mask without the smallest elements."""
        return self._without(t.abs(), default_mask, largest=False)


class _Structured(_Amount):
    """A method that prunes whole channels along `dim`."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount, dim=-1):
        super().__init__(amount)
        self.dim = dim

    def _check(self, t):
        if t.dim() <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {t.shape} with {t.dim()} dims"
            )
        if self.dim >= t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")

    def _keep(self, t, channels, default_mask):
        """The mask that keeps only these channels of `default_mask`."""
        mask, place = ops.zeros_like(t), [slice(None)] * t.dim()
        place[self.dim] = channels
        mask[tuple(place)] = 1
        return mask * default_mask.to(mask.dtype)


class RandomStructured(_Structured):
    """Prunes random channels. Source: `torch.nn.utils.prune.RandomStructured`.

    >>> import iskra as torch
    >>> int(RandomStructured(1, dim=0).prune(torch.ones(3, 2)).sum())
    4
    """

    def compute_mask(self, t, default_mask):
        """The mask without random channels."""
        self._check(t)
        channels = t.shape[self.dim]
        count = self._count(channels)
        if not count:
            return default_mask
        scores = ops.rand(channels)
        return self._keep(t, scores > ops.kthvalue(scores, count).values, default_mask)


class LnStructured(_Structured):
    """Prunes the channels of the smallest n-norm. Source: `torch.nn.utils.prune.LnStructured`.

    >>> import iskra as torch
    >>> LnStructured(1, n=2, dim=0).prune(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[0., 0.],
            [3., 4.]])
    """

    def __init__(self, amount, n, dim=-1):
        super().__init__(amount, dim)
        self.n = n

    def compute_mask(self, t, default_mask):
        """The mask without the smallest channels."""
        self._check(t)
        channels = t.shape[self.dim]
        count = self._count(channels)
        if not count:
            return default_mask
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        norms = ops.norm(t, p=self.n, dim=others)
        return self._keep(t, ops.topk(norms, channels - count).indices, default_mask)


class CustomFromMask(BasePruningMethod):
    """Prunes by a given mask. Source: `torch.nn.utils.prune.CustomFromMask`.

    >>> import iskra as torch
    >>> CustomFromMask(torch.tensor([1, 0])).prune(torch.ones(2))
    tensor([1., 0.])
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask):
        self.mask = mask

    def compute_mask(self, t, default_mask):
        """The given mask within `default_mask`."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape "
                f"{self.mask.shape}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module, name):
    """Mask the parameter `name` without pruning anything. Source: `torch.nn.utils.prune.identity`.

    >>> import iskra as torch
    >>> identity(torch.nn.Linear(2, 1), "weight").weight_mask
    tensor([[1., 1.]])
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module, name, amount):
    """Prune `amount` random elements (or that fraction) of a parameter. Returns the module.

    Source: `torch.nn.utils.prune.random_unstructured`.

    >>> import iskra as torch
    >>> int(random_unstructured(torch.nn.Linear(2, 3), "weight", 2).weight_mask.sum())
    4
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module, name, amount, importance_scores=None):
    """Prune the `amount` elements (or that fraction) next to zero. Returns the module.

    Source: `torch.nn.utils.prune.l1_unstructured`.

    >>> import iskra as torch
    >>> int(l1_unstructured(torch.nn.Linear(2, 3), "weight", 0.5).weight_mask.sum())
    3
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module, name, amount, dim):
    """Prune `amount` random channels (or that fraction) along `dim`. Returns the module.

    Source: `torch.nn.utils.prune.random_structured`.

    >>> import iskra as torch
    >>> random_structured(torch.nn.Linear(2, 3), "weight", 1, dim=0).weight_mask.sum()
    tensor(4.)
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module, name, amount, n, dim, importance_scores=None):
    """Prune the `amount` channels (or that fraction) of the smallest n-norm. Returns the module.

    Source: `torch.nn.utils.prune.ln_structured`.

    >>> import iskra as torch
    >>> ln_structured(torch.nn.Linear(2, 3), "weight", 1, n=2, dim=1).weight_mask.sum()
    tensor(3.)
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module, name, mask):
    """Prune a parameter by a given mask. Returns the module.

    Source: `torch.nn.utils.prune.custom_from_mask`.

    >>> import iskra as torch
    >>> custom_from_mask(torch.nn.Linear(2, 1), "bias", torch.tensor([0])).bias_mask
    tensor([0.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters, pruning_method, importance_scores=None, **kwargs):
    """Prune several parameters together, each a pair (module, name), by an unstructured method.

    Source: `torch.nn.utils.prune.global_unstructured`.

    >>> import iskra as torch
    >>> layer = torch.nn.Linear(2, 3)
    >>> global_unstructured([(layer, "weight"), (layer, "bias")], L1Unstructured, amount=4)
    >>> int(layer.weight_mask.sum() + layer.bias_mask.sum())
    5
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    parameters = list(parameters)
    tensors = [getattr(module, name) for module, name in parameters]
    masks = [
        getattr(module, name + "_mask", ops.ones_like(tensor))
        for (module, name), tensor in zip(parameters, tensors, strict=True)
    ]
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    method._tensor_name = "temp"
    given = [scores.get(key, t) for key, t in zip(parameters, tensors, strict=True)]
    mask = PruningContainer(method).compute_mask(
        parameters_to_vector(given), parameters_to_vector(masks)
    )
    parts = mask.split([tensor.numel() for tensor in tensors])
    for (module, name), tensor, part in zip(parameters, tensors, parts, strict=True):
        custom_from_mask(module, name, mask=part.view_as(tensor))


def remove(module, name):
    """Make a pruned parameter an ordinary one with zeros; ValueError if it is not pruned.

    Source: `torch.nn.utils.prune.remove`.

    >>> import iskra as torch
    >>> layer = remove(l1_unstructured(torch.nn.Linear(2, 3), "weight", 2), "weight")
    >>> list(layer.state_dict())
    ['bias', 'weight']
    """
    for key, hook in _hooks_on(module, name):
        hook.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module):
    """Whether any parameter of the module or below it is pruned.

    Source: `torch.nn.utils.prune.is_pruned`.

    >>> import iskra as torch
    >>> is_pruned(torch.nn.Linear(2, 2))
    False
    """
    return any(
        isinstance(hook, BasePruningMethod)
        for part in module.modules()
        for hook in part._forward_pre_hooks.values()
    )
