"""`Module`: the base of every layer and model.

Its parts stand in four files: what a module holds (here), its hooks and its call (hooks.py), its
state dict (state.py), and changing the dtype or device of what it holds (convert.py).
"""

import inspect
import warnings
from types import MappingProxyType

from iskra.core import naming
from iskra.nn import hooks as _hooks
from iskra.nn.convert import ConvertMixin
from iskra.nn.hooks import HookMixin, through_registration_hooks
from iskra.nn.parameter import Parameter
from iskra.nn.state import StateMixin
from iskra.tensor import Tensor

_NOTHING = MappingProxyType({})
_MEMBERS = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
_set = object.__setattr__


def typename(value):
    """The name for messages: a tensor's type, a class's own dotted name, else the value's class."""
    if isinstance(value, Tensor):
        return value.type()
    kind = value if isinstance(value, type) else type(value)
    module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
    return module + kind.__qualname__


def _missing_forward(self, *args):
    """Define the computation of every call; every subclass overrides it."""
    raise NotImplementedError(
        f'Module [{type(self).__name__}] is missing the required "forward" function'
    )


class Module(HookMixin, StateMixin, ConvertMixin):
    """Base class of all layers and models.

    Parameters, buffers and modules assigned as attributes are registered: they appear in
    `parameters()`, `state_dict()` and the printed tree, and follow `to()`. Call
    `super().__init__()` before assigning any.

    Attributes: `training`, a bool that `train()` and `eval()` set for the whole tree.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html

    >>> import iskra as torch
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.layer(x).relu()
    >>> Net()
    Net(
      (layer): Linear(in_features=3, out_features=2, bias=True)
    )
    >>> Net()(torch.ones(4, 3)).shape
    iskra.Size([4, 2])
    """

    dump_patches = False
    call_super_init = False
    # Before __init__ has run there is nothing to be found in a module.
    _parameters = _buffers = _modules = _NOTHING
    _non_persistent_buffers_set = frozenset()

    def __init__(self, *args, **kwargs):
        if not self.call_super_init and (args or kwargs):
            raise TypeError(_surplus(type(self).__name__, args, kwargs))
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_non_persistent_buffers_set"] = set()
        state["_modules"] = {}
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward = _missing_forward

    # ---------------------------------------------------------------- registration

    def register_parameter(self, name, param):
        """Register `param`, a Parameter or None, under `name`.

        Raises KeyError for an unusable or taken name, TypeError for another kind of value and
        ValueError for a tensor that is the result of a computation.

        Source: `torch.nn.Module.register_parameter`.
        """
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    f"({naming.prefix()}.nn.Parameter or None required)"
                )
            if param.grad_fn:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = through_registration_hooks(_hooks.global_parameter_hooks, self, name, param)
        self._parameters[name] = param

    def register_buffer(self, name, tensor, persistent=True):
        """Register `tensor`, a Tensor or None, as state that is no parameter.

        A buffer that is not `persistent` is left out of the state dict.

        Source: `torch.nn.Module.register_buffer`.

        >>> import iskra as torch
        >>> layer = torch.nn.Identity()
        >>> layer.register_buffer("steps", torch.zeros(2))
        >>> layer.steps
        tensor([0., 0.])
        """
        self._check_name("buffer", name, self._buffers)
        if not (tensor is None or _is_tensor_like(tensor)):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                f"({naming.prefix()} Tensor or None required)"
            )
        tensor = through_registration_hooks(_hooks.global_buffer_hooks, self, name, tensor)
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name, module):
        """Register `module`, a Module or None, as the child called `name`.

        Source: `torch.nn.Module.add_module`.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(
                f"{typename(module)} is not a Module subclass" + _instance_wanted(module)
            )
        self._check_name("module", name, self._modules)
        self._put_module(name, module)

    def register_module(self, name, module):
        """The same as `add_module`."""
        self.add_module(name, module)

    def _put_module(self, name, module):
        module = through_registration_hooks(_hooks.global_module_hooks, self, name, module)
        self._modules[name] = module

    def _check_name(self, kind, name, table):
        if "_parameters" not in self.__dict__:
            self._raise_before_init(kind)
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in table and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def _raise_before_init(self, kind):
        raise AttributeError(
            f"cannot assign {kind} before Module.__init__() call: put super().__init__() first in "
            f"{type(self).__name__}.__init__"
        )

    # ---------------------------------------------------------------- attributes

    def __getattr__(self, name):
        table = self._parameters  # written out: every use of a parameter comes through here
        if name in table:
            return table[name]
        table = self._modules
        if name in table:
            return table[name]
        table = self._buffers
        if name in table:
            return table[name]
        mend = ""
        if "_parameters" not in self.__dict__:
            mend = "; Module.__init__() was not called: put super().__init__() first in __init__"
        raise AttributeError(
            f"'{type(self).__name__}' object has no attribute '{name}'{mend}", name=name, obj=self
        )

    def __setattr__(self, name, value):
        if isinstance(value, Parameter):
            if "_parameters" not in self.__dict__:
                self._raise_before_init("parameters")
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif name in self._parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    f"({naming.prefix()}.nn.Parameter or None expected)"
                    + _parameter_mend(name, value)
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if "_modules" not in self.__dict__:
                self._raise_before_init("module")
            self._forget(name, "_modules")
            self._put_module(name, value)
        elif name in self._modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    f"({naming.prefix()}.nn.Module or None expected)"
                )
            self._put_module(name, None)
        elif name in self._buffers or _is_buffer(value):
            self._set_buffer(name, value)
        else:
            _set(self, name, value)

    def _forget(self, name, new_home):
        """Drop what `name` meant before it becomes an entry of another table."""
        self.__dict__.pop(name, None)
        for home in _MEMBERS[:3]:
            if home != new_home:
                self.__dict__[home].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _set_buffer(self, name, value):
        if not (value is None or _is_tensor_like(value)):
            raise TypeError(
                f"cannot assign '{typename(value)}' as buffer '{name}' "
                f"({naming.prefix()}.nn.Buffer, {naming.prefix()}.Tensor or None expected)"
            )
        if _is_buffer(value):
            persistent = value.persistent
            if name not in self._buffers:
                self.__dict__.pop(name, None)
        else:
            persistent = name not in self._non_persistent_buffers_set
        if type(self).register_buffer is Module.register_buffer:
            self.register_buffer(name, value, persistent)
        elif "persistent" in inspect.signature(self.register_buffer).parameters:
            self.register_buffer(name, value, persistent)
        elif persistent:
            self.register_buffer(name, value)
        else:
            raise RuntimeError(
                f"buffer '{name}' is not persistent, but {type(self).__name__}.register_buffer() "
                "takes no `persistent` argument; add it"
            )

    def __delattr__(self, name):
        for home in _MEMBERS[:3]:
            table = self.__dict__.get(home, _NOTHING)
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__}
        names.update(self._parameters, self._modules, self._buffers)
        return sorted(name for name in names if not name[:1].isdigit())

    # ---------------------------------------------------------------- looking up by path

    def get_submodule(self, target):
        """The module at the dotted path `target`; the module itself for "".

        Raises AttributeError that names the step which leads nowhere.
        Source: `torch.nn.Module.get_submodule`.

        >>> import iskra as torch
        >>> torch.nn.Sequential(torch.nn.ReLU()).get_submodule("0")
        ReLU()
        """
        module = self
        for step in target.split(".") if target else ():
            module = _step(module, step)
            if not isinstance(module, Module):
                raise AttributeError(f"`{step}` is not an nn.Module")
        return module

    def set_submodule(self, target, module, strict=False):
        """Put `module` at the dotted path `target`; with `strict` something must be there already.

        Source: `torch.nn.Module.set_submodule`.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            if not isinstance(_step(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target):
        """The parameter at the dotted path `target`. Source: `torch.nn.Module.get_parameter`."""
        path, _, name = target.rpartition(".")
        param = _step(self.get_submodule(path), name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target):
        """The buffer at the dotted path `target`. Source: `torch.nn.Module.get_buffer`."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = _step(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # ---------------------------------------------------------------- walking the tree

    def parameters(self, recurse=True):
        """All parameters, of this module alone unless `recurse`.

        >>> import iskra as torch
        >>> [p.shape for p in torch.nn.Linear(2, 3).parameters()]
        [iskra.Size([3, 2]), iskra.Size([3])]
        """
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Dotted name and parameter of each. Source: `torch.nn.Module.named_parameters`.

        A parameter that is used in several places comes once unless `remove_duplicate` is false.
        """
        return self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse=True):
        """All buffers, of this module alone unless `recurse`."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """Dotted name and buffer of each. Source: `torch.nn.Module.named_buffers`."""
        return self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        else:
            modules = ((prefix, self),)
        seen = set()
        for path, module in modules:
            path = f"{path}." if path else ""
            for name, member in get_members_fn(module):
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield path + name, member

    def children(self):
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self):
        """Name and module of each direct submodule, each module once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate=True):
        """This module and all below it."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """Dotted path and module of this module and all below it.

        Source: `torch.nn.Module.named_modules`.

        >>> import iskra as torch
        >>> [name for name, _ in torch.nn.Sequential(torch.nn.ReLU()).named_modules()]
        ['', '0']
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        path = f"{prefix}." if prefix else ""
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, path + name, remove_duplicate)

    def apply(self, fn):
        """Call `fn(module)` for every module below this one and then for it; returns self.

        Source: `torch.nn.Module.apply`.
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ---------------------------------------------------------------- modes and gradients

    def train(self, mode=True):
        """Set training mode for the whole tree; returns self.

        >>> import iskra as torch
        >>> torch.nn.Dropout().train(False).training
        False
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """Set evaluation mode for the whole tree, the same as `train(False)`; returns self."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Set `requires_grad` of all parameters; returns self."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Drop the gradients of all parameters, or set them to zero.

        Source: `torch.nn.Module.zero_grad`.
        """
        if getattr(self, "_is_replica", False):
            warnings.warn(
                "zero_grad() on a replica made by nn.DataParallel() has no effect: its parameters "
                "are copies of the original module's and hold no gradients",
                stacklevel=2,
            )
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
                continue
            if grad.grad_fn is not None:
                grad.detach_()
            else:
                grad.requires_grad_(False)
            grad.zero_()

    def compile(self, *args, **kwargs):
        """Compile this module's calls in place, as `compile(module)` does for a new one.

        Source: `torch.nn.Module.compile`.
        """
        if _compiler is not None:
            self._hooked = True
            self._compiled_call_impl = _compiler(self._call_impl, *args, **kwargs)

    # ---------------------------------------------------------------- printing, pickling

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """Override to print the module's own settings: one line, or several.

        Source: `torch.nn.Module.extra_repr`.
        """
        return ""

    def __repr__(self):
        own = self.extra_repr()
        own = own.split("\n") if own else []
        children = [
            f"({name}): " + _indent(repr(module), 2) for name, module in self._modules.items()
        ]
        if len(own) == 1 and not children:
            return f"{self._get_name()}({own[0]})"
        lines = own + children
        body = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
        return f"{self._get_name()}({body})"

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.__dict__["_hooked"] = True  # the first call looks whether there are any

    def _replicate_for_data_parallel(self):
        replica = type(self).__new__(type(self))
        replica.__dict__.update(self.__dict__)
        replica.__dict__.update(
            _parameters={},
            _buffers=self._buffers.copy(),
            _modules=self._modules.copy(),
            _is_replica=True,
        )
        return replica


_compiler = None


def set_compiler(compiler):
    """Tell `Module.compile` what compiles a call; without one it leaves the call as it is."""
    global _compiler
    _compiler = compiler


def _surplus(name, args, kwargs):
    if kwargs:
        return f"{name}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
    return f"{name}.__init__() takes 1 positional argument but {len(args) + 1} were given"


def _instance_wanted(value):
    """The mend for a class given where an instance of it was meant."""
    if isinstance(value, type) and issubclass(value, Module):
        return f"; write {value.__name__}() for an instance"
    return ""


def _parameter_mend(name, value):
    if isinstance(value, Tensor):
        return (f"; wrap it in nn.Parameter(...), or write into the old one with "
                f"`with no_grad(): module.{name}.copy_(value)`")
    return ""


def _is_tensor_like(value):
    return isinstance(value, Tensor) or hasattr(value, "__torch_function__")


def _is_buffer(value):
    return isinstance(value, Tensor) and getattr(value, "_is_buffer", False)


def _step(module, name):
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


def _indent(text, width):
    """`text` with all lines but the first moved to the right; empty ones stay empty."""
    first, *rest = text.split("\n")
    pad = " " * width
    return "\n".join([first, *(pad + line if line.strip() else "" for line in rest)])
