"""`Optimizer`: what all share: parameter groups, state, hooks, `state_dict`, pickling."""

import functools
import warnings
from collections import OrderedDict, defaultdict

from iskra.autograd import enable_grad
from iskra.autograd.node import RemovableHandle
from iskra.optim.saving import pack, unpack
from iskra.tensor import Tensor

_global_pre_hooks = OrderedDict()
_global_post_hooks = OrderedDict()


class _Required:
    """The default of an option that every group must give."""

    def __repr__(self):
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook):
    """Call ``hook(optimizer, args, kwargs)`` before the step of every optimizer.

    Returns a handle whose ``remove()`` takes the hook away again.

    >>> import iskra as torch
    >>> from iskra.optim.optimizer import register_optimizer_step_pre_hook
    >>> handle = register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: None)
    >>> handle.remove()
    """
    return RemovableHandle(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Call ``hook(optimizer, args, kwargs)`` after the step of every optimizer.

    Returns a handle whose ``remove()`` takes the hook away again.

    >>> import iskra as torch
    >>> from iskra.optim.optimizer import register_optimizer_step_post_hook
    >>> handle = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: None)
    >>> handle.remove()
    """
    return RemovableHandle(_global_post_hooks, hook)


def _hooked(step):
    """`step` with the hooks run around it; each class's own ``step`` is wrapped once."""

    @functools.wraps(step)
    def hooked_step(self, *args, **kwargs):
        pre, post = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
        if not (pre or post or _global_pre_hooks or _global_post_hooks):
            result = step(self, *args, **kwargs)
            self._opt_called = True
            return result
        args = (self, *args)  # hooks see the call as PyTorch shows it, the optimizer included
        for hook in [*_global_pre_hooks.values(), *pre.values()]:
            changed = hook(self, args, kwargs)
            if changed is None:
                continue
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"{type(self).__name__}.step: a pre-hook must return None or a tuple of "
                    f"(new_args, new_kwargs), but got {changed!r}"
                )
            args, kwargs = changed
        result = step(*args, **kwargs)
        self._opt_called = True
        for hook in [*post.values(), *_global_post_hooks.values()]:
            hook(self, args, kwargs)
        return result

    hooked_step.hooked = True
    return hooked_step


_HOOK_TABLES = (
    "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks", "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks", "_optimizer_load_state_dict_post_hooks",
)


class Optimizer:
    """Base class of all optimizers.

    ``params`` is an iterable of tensors, of ``(name, tensor)`` pairs, or of dicts with a key
    ``params`` and the options of that group; ``defaults`` holds the options of groups that do
    not give their own. Subclasses define ``step``. Read the parameters from ``param_groups``
    (a list of dicts) and what is remembered about each from ``state`` (a dict by parameter).

    Raises TypeError if `params` is a tensor or holds anything but tensors, ValueError if it is
    empty, holds non-leaf tensors, or holds a tensor in two groups.
    Source: https://docs.pytorch.org/docs/stable/optim.html#torch.optim.Optimizer

    >>> import iskra as torch
    >>> class Halve(torch.optim.Optimizer):
    ...     def step(self, closure=None):
    ...         for p in self.param_groups[0]["params"]:
    ...             p.data.mul_(0.5)
    >>> p = torch.nn.Parameter(torch.ones(2))
    >>> Halve([p], {}).step()
    >>> p.data
    tensor([0.5000, 0.5000])
    """

    _opt_called = False  # whether it has stepped, for schedulers
    OptimizerPreHook = OptimizerPostHook = object  # what type annotations call the hooks

    def __init__(self, params, defaults):
        self.defaults = defaults
        for table in _HOOK_TABLES:
            setattr(self, table, OrderedDict())
        self._patch_step_function()
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__}: params should be an iterable of tensors or dicts, but got "
                f"one tensor of shape {tuple(params.shape)}; write [tensor]"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __getstate__(self):
        return {
            "defaults": self.defaults, "state": self.state, "param_groups": self.param_groups
        }

    def __setstate__(self, state):
        self.__dict__.update(state)
        for table in _HOOK_TABLES:
            self.__dict__.setdefault(table, OrderedDict())
        self._patch_step_function()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += ["", f"Parameter Group {i}"] if i else [f"Parameter Group {i}"]
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    def _patch_step_function(self):
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = _hooked(cls.step)

    @staticmethod
    def profile_hook_step(func):
        """Return the method `func`, a ``step``, wrapped so that step hooks run around it.

        >>> import iskra as torch
        >>> torch.optim.Optimizer.profile_hook_step(lambda self: None).hooked
        True
        """
        return _hooked(func)

    def step(self, closure=None):
        """Do one optimisation step; subclasses define it.

        ``closure``, where given, computes the loss anew, with gradients, and returns it.

        >>> import iskra as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([p], lr=0.5)
        >>> p.sum().backward()
        >>> optimizer.step()
        >>> p.data
        tensor([0.5000])
        """
        raise NotImplementedError(f"{type(self).__name__} does not define step()")

    def zero_grad(self, set_to_none=True):
        """Forget the gradients of all parameters: set them to None, or to zero.

        >>> import iskra as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([p], lr=0.5)
        >>> p.sum().backward()
        >>> optimizer.zero_grad()
        >>> p.grad is None
        True
        """
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                elif p.grad.grad_fn is not None:
                    p.grad = p.grad.detach().zero_()
                else:
                    p.grad.requires_grad_(False).zero_()

    def add_param_group(self, param_group):
        """Add a dict of ``params`` and options, say of layers that are to be trained from now on.

        Options that the dict lacks are taken from the optimizer's defaults. Raises TypeError and
        ValueError as the constructor does, and ValueError for an option that has no default.

        >>> import iskra as torch
        >>> p, q = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
        >>> optimizer = torch.optim.SGD([p], lr=0.5)
        >>> optimizer.add_param_group({"params": [q], "lr": 0.1})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.5, 0.1]
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params, names = _names_apart(param_group["params"])
        self._check_params(params)
        for key, default in self.defaults.items():
            if default is required and key not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization "
                    f"parameter {key}"
                )
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in taken for p in params):
            raise ValueError(
                "some parameters appear in more than one parameter group; give each to one only"
            )
        if self.param_groups and ("param_names" in self.param_groups[0]) != (names is not None):
            raise ValueError(
                "either all parameter groups have names or none, but this one comes "
                f"{'without' if names is None else 'with'} names; give all as (name, tensor) pairs"
            )
        param_group["params"] = params
        if names is not None:
            param_group["param_names"] = names
        for key, default in self.defaults.items():
            param_group.setdefault(key, default)
        self.param_groups.append(param_group)

    def _check_params(self, params):
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not (self.defaults.get("differentiable") or p.is_leaf or p.retains_grad):
                raise ValueError(
                    "can't optimize a non-leaf Tensor (it is the result of an operator: "
                    f"{p.grad_fn}); pass the tensor it was computed from, or its detach()"
                )
        if len({id(p) for p in params}) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; "
                "each is updated once for every time it appears",
                stacklevel=4,
            )

    def state_dict(self):
        """Return ``{"state": {...}, "param_groups": [...]}``, the parameters named by numbers.

        The tensors are the optimizer's own, not copies. The form is PyTorch's, so that
        checkpoints can be read on either side.

        >>> import iskra as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> torch.optim.SGD([p], lr=0.5).state_dict()["param_groups"][0]["params"]
        [0]
        """
        for hook in list(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        result = pack(self.param_groups, self.state)
        for hook in list(self._optimizer_state_dict_post_hooks.values()):
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict):
        """Take over options and state from what ``state_dict()`` returned, here or in PyTorch.

        Parameters are matched by position. State takes its parameter's dtype and device, except
        the step counts. Raises ValueError if the groups differ in number or size.

        >>> import iskra as torch
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> saved = torch.optim.SGD([p], lr=0.5).state_dict()
        >>> optimizer = torch.optim.SGD([p], lr=0.1)
        >>> optimizer.load_state_dict(saved)
        >>> optimizer.param_groups[0]["lr"]
        0.5
        """
        state_dict = state_dict.copy()
        for hook in list(self._optimizer_load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        state, groups = unpack(state_dict, self.param_groups)
        self.__setstate__({"state": state, "param_groups": groups})
        for hook in list(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def register_step_pre_hook(self, hook):
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ones.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> handle = optimizer.register_step_pre_hook(lambda *args: print("before"))
        >>> optimizer.step()
        before
        """
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Call ``hook(optimizer, args, kwargs)`` after each step.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> handle = optimizer.register_step_post_hook(lambda *args: print("after"))
        >>> optimizer.step()
        after
        """
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Call ``hook(optimizer)`` before ``state_dict()`` gathers its result.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> handle = optimizer.register_state_dict_pre_hook(lambda optimizer: print("saving"))
        >>> saved = optimizer.state_dict()
        saving
        """
        return RemovableHandle(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Call ``hook(optimizer, state_dict)`` on what was gathered; it may return another dict.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> handle = optimizer.register_state_dict_post_hook(lambda optimizer, saved: {"x": 1})
        >>> optimizer.state_dict()
        {'x': 1}
        """
        return RemovableHandle(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Call ``hook(optimizer, state_dict)`` before loading; it may return another dict to load.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> handle = optimizer.register_load_state_dict_pre_hook(lambda o, saved: print("loading"))
        >>> optimizer.load_state_dict(optimizer.state_dict())
        loading
        """
        return RemovableHandle(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Call ``hook(optimizer)`` after a state dict was loaded.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> handle = optimizer.register_load_state_dict_post_hook(lambda optimizer: print("loaded"))
        >>> optimizer.load_state_dict(optimizer.state_dict())
        loaded
        """
        return RemovableHandle(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    @staticmethod
    def _closure_loss(closure):
        """The loss that `closure` computes, gradients recorded; None where there is no closure."""
        if closure is None:
            return None
        with enable_grad():
            return closure()


def _names_apart(params):
    """Split `params` into a list of tensors and a list of their names, None if they have none."""
    if isinstance(params, Tensor):
        return [params], None
    if isinstance(params, (set, frozenset)):
        raise TypeError(
            "optimizer parameters need an order, which a set does not have: state would be loaded "
            "for the wrong parameter in another run; use a list"
        )
    params = list(params)
    named = [isinstance(p, tuple) for p in params]
    if not any(named):
        return params, None
    if not all(named):
        raise ValueError(
            f"{named.count(False)} of {len(params)} parameters come without a name; give all as "
            "(name, tensor) pairs or none"
        )
    return [p for _, p in params], [name for name, _ in params]
