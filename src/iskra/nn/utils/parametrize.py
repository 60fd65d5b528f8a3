"""Parameters computed from other tensors.

`register_parametrization(module, "weight", f)` makes `module.weight` the result of `f(original)`,
computed at each access, the original being trained instead.
Page: https://docs.pytorch.org/tutorials/intermediate/parametrizations.html
"""

from collections.abc import Sequence
from contextlib import contextmanager
from copy import deepcopy

from iskra.autograd import no_grad
from iskra.nn.containers import ModuleDict, ModuleList
from iskra.nn.parameter import Parameter
from iskra.tensor import Tensor

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache = {}
_cache_blocks = [0]  # how many `with cached()` blocks are open


@contextmanager
def cached():
    """Within the block, parametrized tensors are computed once and then remembered.

    Source: `torch.nn.utils.parametrize.cached`.
    """
    _cache_blocks[0] += 1
    try:
        yield
    finally:
        _cache_blocks[0] -= 1
        if not _cache_blocks[0]:
            _cache.clear()


def _check_tensor(what, value):
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(value).__name__}.")


def _check_same(before, after, what):
    """ValueError unless a parametrization keeps dtype and shape."""
    for kind in ("dtype", "shape"):
        if getattr(before, kind) != getattr(after, kind):
            raise ValueError(
                f"{what} may not change the {kind} of the tensor, unless the `unsafe` flag is "
                f"enabled.\nunparametrized {kind}: {getattr(before, kind)}\n"
                f"parametrized {kind}: {getattr(after, kind)}"
            )


def _register(module, name, tensor):
    """As a parameter or as a buffer, whichever it is."""
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in order, and what they are applied to.

    That is `original`, or `original0`, `original1`, ... if the first one's `right_inverse` gives
    several tensors.

    Source: `torch.nn.utils.parametrize.ParametrizationList`.

    >>> import iskra as torch
    >>> from iskra.nn.utils import parametrize
    >>> layer = torch.nn.Linear(2, 2)
    >>> _ = parametrize.register_parametrization(layer, "weight", torch.nn.Identity())
    >>> layer.parametrizations.weight
    ParametrizationList(
      (0): Identity()
    )
    """

    def __init__(self, modules, original, unsafe=False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        before = original.detach()
        inverse = self._through_inverses(original)
        self.is_tensor = isinstance(inverse, Tensor)
        if not self.is_tensor and not isinstance(inverse, Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(inverse).__name__}"
            )
        self.ntensors = 1 if self.is_tensor else len(inverse)
        if self.is_tensor:
            self._take_one(original, inverse)
        else:
            self._take_several(original, inverse)
        if not unsafe:
            after = self()
            _check_tensor("A parametrization", after)
            _check_same(before, after, "Registering a parametrization")

    def _through_inverses(self, value):
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        value = module.right_inverse(value)
                    except NotImplementedError:
                        pass  # then the tensor as it is serves as the original
        return value

    def _take_one(self, original, inverse):
        for kind in ("dtype", "device"):
            if getattr(original, kind) != getattr(inverse, kind):
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it may not change the {kind}.\n"
                    f"original.{kind}: {getattr(original, kind)}\n"
                    f"right_inverse(original).{kind}: {getattr(inverse, kind)}"
                )
        if inverse is not original:
            original.data = inverse
        _register(self, "original", original)

    def _take_several(self, original, inverse):
        for i, tensor in enumerate(inverse):
            if not isinstance(tensor, Tensor):
                raise ValueError(
                    "'right_inverse' must return a Tensor or a Sequence of tensors. Got element "
                    f"{i} of the sequence with type {type(tensor).__name__}."
                )
            if isinstance(original, Parameter):
                tensor = Parameter(tensor, original.requires_grad)
            tensor.requires_grad_(original.requires_grad)
            _register(self, f"original{i}", tensor)

    def _originals(self):
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value):
        """Set the originals so that the parametrized tensor becomes `value`.

        Called when the parametrized attribute is assigned to; every parametrization must have a
        `right_inverse`, else RuntimeError.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            values = [value] if self.is_tensor else value
            self._check_values(values)
            for original, new in zip(self._originals(), values, strict=True):
                original.data = new

    def _check_values(self, values):
        if not isinstance(values, Sequence):
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors. Got {type(values).__name__}."
            )
        if len(values) != self.ntensors:
            raise ValueError(
                "'right_inverse' must return a sequence of tensors of length "
                f"{self.ntensors}. Got a sequence of length {len(values)}."
            )
        for original, new in zip(self._originals(), values, strict=True):
            _check_tensor("`right_inverse`", new)
            if new.dtype != original.dtype:
                raise ValueError(
                    f"The tensor returned by `right_inverse` has dtype {new.dtype} while "
                    f"`original` has dtype {original.dtype}"
                )

    def forward(self):
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


def _refuse_pickling(self):
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict()."
    )


def _deepcopy(self, memo):
    if id(self) not in memo:
        # The copy needs a class of its own too: removing a property there must not reach here.
        cls = type(self)
        members = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        own_class = type(cls.__name__, cls.__bases__, members)
        replica = memo[id(self)] = own_class.__new__(own_class)
        replica.__dict__.update(deepcopy(self.__dict__, memo))
    return memo[id(self)]


def _give_own_class(module):
    """Make the module's class one of its own, so that a property can be put on it."""
    cls = type(module)
    members = {"__getstate__": _refuse_pickling, "__module__": cls.__module__}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _property_of(name):
    """The property that computes the parametrized tensor, and inverts on assignment."""

    def get(self):
        parametrization = self.parametrizations[name]
        if not _cache_blocks[0]:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def put(self, value):
        self.parametrizations[name].right_inverse(value)

    return property(get, put)


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Let `module.<tensor_name>` be what `parametrization` makes of the present tensor.

    A second one is applied after the first. A `right_inverse` of the parametrization gives the
    original from the present value, and makes the tensor assignable. Without `unsafe` dtype and
    shape must not change: ValueError. Returns the module.

    Source: `torch.nn.utils.parametrize.register_parametrization`.

    >>> import iskra as torch
    >>> from iskra.nn.utils import parametrize
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = parametrize.register_parametrization(
    ...     torch.nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_next(module, tensor_name, parametrization)
        chain = module.parametrizations[tensor_name]
        chain.append(parametrization)
        chain.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        chain = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property_of(tensor_name))
        module.parametrizations[tensor_name] = chain
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_next(module, name, parametrization):
    """ValueError unless one more parametrization keeps dtype and shape, both ways."""
    before = getattr(module, name)
    after = parametrization(before)
    _check_tensor("A parametrization", after)
    _check_same(before, after, "Registering a parametrization")
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        _check_tensor("parametrization.right_inverse", back)
        _check_same(before, back, "The right_inverse of a parametrization")


def is_parametrized(module, tensor_name=None):
    """Whether the tensor of that name, or any one, is parametrized.

    Source: `torch.nn.utils.parametrize.is_parametrized`.
    """
    chains = getattr(module, "parametrizations", None)
    if not isinstance(chains, ModuleDict):
        return False
    return len(chains) > 0 if tensor_name is None else tensor_name in chains


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Make the tensor an ordinary one again: with its parametrized value, or as the original.

    The latter needs a single original, else ValueError. Returns the module.

    Source: `torch.nn.utils.parametrize.remove_parametrizations`.

    >>> import iskra as torch
    >>> from iskra.nn.utils import parametrize
    >>> layer = parametrize.register_parametrization(
    ...     torch.nn.Linear(3, 3), "weight", torch.nn.Identity())
    >>> parametrize.remove_parametrizations(layer, "weight")
    Linear(in_features=3, out_features=3, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    chain = module.parametrizations[tensor_name]
    if not chain.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    if chain.is_tensor:
        tensor = chain.original
        if leave_parametrized:
            with no_grad():
                tensor.data = getattr(module, tensor_name)
    else:
        tensor = getattr(module, tensor_name)
        tensor = Parameter(tensor.detach()) if tensor.requires_grad else tensor
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, tensor)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module):
    """The class of a module without what parametrizing made of it.

    Source: `torch.nn.utils.parametrize.type_before_parametrizations`.
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Give `to_module` the parametrizations of `from_module` and their originals; returns it.

    Source: `torch.nn.utils.parametrize.transfer_parametrizations_and_params`.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in from_module.parametrizations if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        chain = from_module.parametrizations[name]
        for parametrization in chain:
            register_parametrization(to_module, name, parametrization)
        names = ["original"] if chain.is_tensor else [f"original{i}" for i in range(chain.ntensors)]
        for own in names:
            setattr(to_module.parametrizations[name], own, getattr(chain, own))
    return to_module
