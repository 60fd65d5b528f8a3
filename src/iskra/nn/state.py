"""State dicts of modules: saving, loading, and the hooks around both."""

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Mapping

from iskra.autograd import no_grad
from iskra.nn.hooks import HookTable, add_hook
from iskra.nn.parameter import Parameter, is_lazy
from iskra.tensor import Tensor

EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns: two lists of keys, shown in words when both are empty."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class StateMixin:
    """The part of `Module` that saves and loads its parameters and buffers."""

    _version = 1
    _state_dict_pre_hooks = HookTable()
    _state_dict_hooks = HookTable()
    _load_state_dict_pre_hooks = HookTable()
    _load_state_dict_pre_hooks_with_module = HookTable()
    _load_state_dict_post_hooks = HookTable()

    def get_extra_state(self):
        """Override to put something besides tensors into the state dict; any picklable object.

        Source: `torch.nn.Module.get_extra_state`.
        """
        raise RuntimeError(f"{type(self).__name__} does not override get_extra_state()")

    def set_extra_state(self, state):
        """Override to take back what `get_extra_state` gave.

        Source: `torch.nn.Module.set_extra_state`.
        """
        raise RuntimeError(f"{type(self).__name__} does not override set_extra_state()")

    # ---------------------------------------------------------------- saving

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """All parameters and persistent buffers by their dotted names, in an OrderedDict.

        The tensors share memory with the module's and are detached unless `keep_vars`. The dict's
        `_metadata` attribute holds every module's `_version`.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html

        >>> import iskra as torch
        >>> list(torch.nn.Linear(2, 3).state_dict())
        ['weight', 'bias']
        """
        if args:
            destination, prefix, keep_vars = _positional(args, destination, prefix, keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        return self._run_state_dict_hooks(destination, prefix, local_metadata)

    def _run_state_dict_hooks(self, destination, prefix, local_metadata):
        for hook in self._state_dict_hooks.values():
            replaced = hook(self, destination, prefix, local_metadata)
            if replaced is None:
                continue
            if getattr(hook, "_from_public_api", False):
                raise RuntimeError("state_dict post-hook must return None")
            destination = replaced
        return destination

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        """Put this module's own tensors into `destination`; an override point for subclasses."""
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not StateMixin.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _own_state(self):
        """Name and tensor of every parameter and persistent buffer of this very module."""
        temporary = self._non_persistent_buffers_set
        for name, param in self._parameters.items():
            if param is not None:
                yield name, param
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in temporary:
                yield name, buffer

    def register_state_dict_pre_hook(self, hook):
        """Call `hook(module, prefix, keep_vars)` before the state dict is filled.

        Source: `torch.nn.Module.register_state_dict_pre_hook`.
        """
        return add_hook(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook):
        """Call `hook(module, state_dict, prefix, local_metadata)` once it is filled; returns None.

        Source: `torch.nn.Module.register_state_dict_post_hook`.
        """
        hook._from_public_api = True
        return add_hook(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook):
        """The same, but what the hook returns replaces the state dict."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return add_hook(self._state_dict_hooks, hook)

    # ---------------------------------------------------------------- loading

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copy the tensors of `state_dict` into this module and its children.

        Returns the missing and the unexpected keys. With `strict`, both are errors. With `assign`
        the tensors themselves become the module's (parameters keep their `requires_grad`), so that
        their dtypes and devices are kept.

        Raises RuntimeError that lists every key that is missing, unexpected or of another shape.
        What fits is loaded even then, as PyTorch does.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html

        >>> import iskra as torch
        >>> first, second = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
        >>> second.load_state_dict(first.state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        loading = _Loading(getattr(state_dict, "_metadata", None), assign)
        state_dict = OrderedDict(state_dict)
        if loading.metadata is not None:
            state_dict._metadata = loading.metadata
        loading.load(self, state_dict, "")
        errors = loading.messages(strict)
        if errors:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(errors)
            )
        return _IncompatibleKeys(loading.missing, loading.unexpected)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        """Load this very module's tensors; an override point for subclasses.

        It appends to the three lists and never raises for a tensor that does not fit.
        """
        report = (missing_keys, unexpected_keys, error_msgs)
        for hook_id, hook in self._load_state_dict_pre_hooks.items():
            first = (self,) if hook_id in self._load_state_dict_pre_hooks_with_module else ()
            hook(*first, state_dict, prefix, local_metadata, strict, *report)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = dict(self._own_state())
        for name, tensor in own.items():
            key = prefix + name
            if key in state_dict:
                _load_tensor(self, name, key, tensor, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)
        self._load_extra_state(state_dict, prefix, strict, missing_keys, unexpected_keys)
        if strict:
            unexpected_keys.extend(_unknown_keys(state_dict, prefix, own, self._modules))

    def _load_extra_state(self, state_dict, prefix, strict, missing_keys, unexpected_keys):
        key = prefix + EXTRA_STATE
        if type(self).set_extra_state is not StateMixin.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif strict and key in state_dict:
            unexpected_keys.append(key)

    def register_load_state_dict_pre_hook(self, hook):
        """Call `hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)` before this module's tensors are loaded.

        Source: `torch.nn.Module.register_load_state_dict_pre_hook`.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        flags = ((self._load_state_dict_pre_hooks_with_module, with_module),)
        return add_hook(self._load_state_dict_pre_hooks, hook, flags=flags)

    def register_load_state_dict_post_hook(self, hook):
        """Call `hook(module, incompatible_keys)` after loading; it may edit the two lists in place.

        Source: `torch.nn.Module.register_load_state_dict_post_hook`.
        """
        return add_hook(self._load_state_dict_post_hooks, hook)


def _positional(args, destination, prefix, keep_vars):
    """The old positional form state_dict(destination, prefix, keep_vars)."""
    warnings.warn(
        "Positional args of state_dict() are being deprecated; pass destination=, prefix= and "
        "keep_vars= by name",
        FutureWarning,
        stacklevel=3,
    )
    given = dict(zip(("destination", "prefix", "keep_vars"), args, strict=False))
    destination = given.get("destination") if destination is None else destination
    prefix = given.get("prefix", "") if prefix == "" else prefix
    keep_vars = given.get("keep_vars", False) if keep_vars is False else keep_vars
    return destination, prefix, keep_vars


class _Loading:
    """One call of load_state_dict: what is found wrong on the way through the tree."""

    def __init__(self, metadata, assign):
        self.metadata, self.assign = metadata, assign
        self.missing, self.unexpected, self.errors = [], [], []

    def load(self, module, state_dict, prefix):
        local_metadata = {} if self.metadata is None else self.metadata.get(prefix[:-1], {})
        if self.assign:
            local_metadata["assign_to_params_buffers"] = self.assign
        module._load_from_state_dict(
            state_dict, prefix, local_metadata, True, self.missing, self.unexpected, self.errors
        )
        for name, child in module._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                part = {k: v for k, v in state_dict.items() if k.startswith(below)}
                self.load(child, part, below)
        keys = _IncompatibleKeys(self.missing, self.unexpected)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected "
                    "to return new values, if incompatible_keys need to be modified, it should be "
                    "done inplace."
                )

    def messages(self, strict):
        """The lines of the error; the texts are PyTorch's, which programs match against."""
        lines = []
        if strict and self.missing:
            lines.append(f"Missing key(s) in state_dict: {_quoted(self.missing)}. ")
        if strict and self.unexpected:
            lines.append(f"Unexpected key(s) in state_dict: {_quoted(self.unexpected)}. ")
        return lines + self.errors


def _quoted(keys):
    return ", ".join(f'"{key}"' for key in keys)


def _unknown_keys(state_dict, prefix, own, children):
    """Keys below `prefix` that belong to nothing in the module."""
    for key in state_dict:
        if not key.startswith(prefix) or key == prefix + EXTRA_STATE:
            continue
        first, dot, _ = key[len(prefix):].partition(".")
        if first not in (children if dot else own):
            yield key


def _load_tensor(module, name, key, own, given, assign, errors):
    """Load one tensor or append why it does not fit."""
    if not (isinstance(given, Tensor) or hasattr(type(given), "__torch_function__")):
        errors.append(
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
            f"object from checkpoint but received {type(given)}"
        )
        return
    if not is_lazy(own):
        if own.dim() == 0 and tuple(given.shape) == (1,):
            given = given[0]  # checkpoints from before there were 0-d tensors
        if given.shape != own.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {given.shape} from "
                f"checkpoint, the shape in current model is {own.shape}."
            )
            return
    if getattr(own, "is_meta", False) and not getattr(given, "is_meta", False) and not assign:
        warnings.warn(
            f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter "
            "in the current model, which is a no-op. (Did you mean to pass `assign=True`?)",
            stacklevel=5,
        )
    try:
        with no_grad():
            if assign:
                setattr(module, name, _as_kind_of(own, given))
            else:
                own.copy_(given)
    except Exception as error:
        errors.append(
            f'While copying the parameter named "{key}", whose dimensions in the model are '
            f"{own.size()} and whose dimensions in the checkpoint are {given.size()}, an exception "
            f"occurred : {error.args}."
        )


def _as_kind_of(own, given):
    """`given` as a Parameter with `own`'s requires_grad if `own` is a Parameter."""
    if not isinstance(own, Parameter):
        return given
    if not isinstance(given, Parameter):
        return Parameter(given, requires_grad=own.requires_grad)
    given.requires_grad_(own.requires_grad)
    return given
