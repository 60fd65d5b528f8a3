"""Hooks of modules: their tables, their registration, and the call that runs them.

A module without hooks pays one check per call (`Module._hooked`). The tables are made when they are
first read, which also marks the module as hooked; the first call that finds all of them empty takes
the mark away again.
"""

import warnings

from iskra.autograd.node import RemovableHandle
from iskra.nn.backward_hook import BackwardHook
from iskra.tensor import Tensor


class HookHandle(RemovableHandle):
    """Takes a module's hook away again, together with the flags it was registered with."""

    __slots__ = ("_flags",)

    def __init__(self, hooks, hook, prepend=False, flags=()):
        super().__init__(hooks, hook, prepend)
        self._flags = flags
        for flag in flags:
            flag[self.id] = True

    def remove(self):
        """Take the hook out; a second call does nothing."""
        super().remove()
        for flag in self._flags:
            flag.pop(self.id, None)


class HookTable:
    """Descriptor of a table of hooks on a module, made when it is first read.

    With `marks`, reading or setting the table sends the module's calls through the slow path.
    """

    def __init__(self, marks=False):
        self.marks = marks

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, module, owner=None):
        if module is None:
            return self
        state = module.__dict__
        if self.marks:
            state["_hooked"] = True
        table = state.get(self.name)
        if table is None:
            table = state[self.name] = {}
        return table

    def __set__(self, module, table):
        module.__dict__[self.name] = table
        if self.marks:
            module.__dict__["_hooked"] = True


CALL_TABLES = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

global_forward_pre_hooks = {}
global_forward_hooks = {}
global_forward_hooks_with_kwargs = {}
global_forward_hooks_always_called = {}
global_backward_pre_hooks = {}
global_backward_hooks = {}
global_parameter_hooks = {}
global_buffer_hooks = {}
global_module_hooks = {}
_global_backward = {"full": None}  # whether the global backward hooks are full ones

_MIXED = (
    "Cannot use both regular backward hooks and full backward hooks {where}. "
    "Please use only one of them."
)


def add_hook(table, hook, prepend=False, flags=()):
    """Put `hook` into `table`; each of `flags` is a (table, wanted) pair that marks it."""
    return HookHandle(table, hook, prepend, tuple(flag for flag, wanted in flags if wanted))


def register_module_forward_pre_hook(hook):
    """Call `hook(module, args)` before the forward of every module; it may return new args.

    Source: `torch.nn.modules.module.register_module_forward_pre_hook`.
    """
    HookMixin._hooked = True
    return add_hook(global_forward_pre_hooks, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Call `hook(module, args, output)` after the forward of every module.

    Source: `torch.nn.modules.module.register_module_forward_hook`.
    """
    HookMixin._hooked = True
    flags = (
        (global_forward_hooks_with_kwargs, with_kwargs),
        (global_forward_hooks_always_called, always_call),
    )
    return add_hook(global_forward_hooks, hook, flags=flags)


def register_module_full_backward_pre_hook(hook):
    """Call `hook(module, grad_output)` before the backward of every module.

    Source: `torch.nn.modules.module.register_module_full_backward_pre_hook`.
    """
    HookMixin._hooked = True
    return add_hook(global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook):
    """Call `hook(module, grad_input, grad_output)` after the backward of every module.

    Source: `torch.nn.modules.module.register_module_full_backward_hook`.
    """
    return _add_global_backward(hook, full=True)


def register_module_backward_hook(hook):
    """Deprecated: `register_module_full_backward_hook` sees the gradients of the whole module.

    Source: `torch.nn.modules.module.register_module_backward_hook`.
    """
    return _add_global_backward(hook, full=False)


def _add_global_backward(hook, full):
    if _global_backward["full"] is (not full):
        raise RuntimeError(_MIXED.format(where="as a global Module hook"))
    _global_backward["full"] = full
    HookMixin._hooked = True
    return add_hook(global_backward_hooks, hook)


def register_module_parameter_registration_hook(hook):
    """Call `hook(module, name, parameter)` whenever a parameter is registered anywhere.

    What it returns, if not None, is registered instead.
    Source: `torch.nn.modules.module.register_module_parameter_registration_hook`.
    """
    return add_hook(global_parameter_hooks, hook)


def register_module_buffer_registration_hook(hook):
    """Call `hook(module, name, buffer)` whenever a buffer is registered anywhere.

    Source: `torch.nn.modules.module.register_module_buffer_registration_hook`.
    """
    return add_hook(global_buffer_hooks, hook)


def register_module_module_registration_hook(hook):
    """Call `hook(module, name, submodule)` whenever a submodule is registered anywhere.

    Source: `torch.nn.modules.module.register_module_module_registration_hook`.
    """
    return add_hook(global_module_hooks, hook)


def through_registration_hooks(table, module, name, value):
    """What the global registration hooks in `table` make of `value`."""
    for hook in table.values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


class HookMixin:
    """The part of `Module` that registers hooks and calls `forward` through them."""

    _hooked = False  # set on an instance by its own hooks, on this class by global ones
    _compiled_call_impl = None
    _is_full_backward_hook = None
    _forward_pre_hooks = HookTable(marks=True)
    _forward_pre_hooks_with_kwargs = HookTable()
    _forward_hooks = HookTable(marks=True)
    _forward_hooks_with_kwargs = HookTable()
    _forward_hooks_always_called = HookTable()
    _backward_pre_hooks = HookTable(marks=True)
    _backward_hooks = HookTable(marks=True)

    def __call__(self, *args, **kwargs):
        if self._hooked:
            return self._call_hooked(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_hooked(self, args, kwargs):
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        return self._call_impl(*args, **kwargs)

    def _call_impl(self, *args, **kwargs):
        if _unmark(self):
            return self.forward(*args, **kwargs)
        call = HookedCall(self, args, kwargs)
        try:
            return call.run()
        except Exception:
            call.run_always_called()
            raise

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call `hook(module, args)` before each forward.

        The hook may return None, the new positional arguments as a tuple, or one new argument. With
        `with_kwargs=True` it is called as `hook(module, args, kwargs)` and returns None or a pair.

        Source: `torch.nn.Module.register_forward_pre_hook`.

        >>> import iskra as torch
        >>> layer = torch.nn.ReLU()
        >>> handle = layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
        >>> layer(torch.zeros(2))
        tensor([1., 1.])
        >>> handle.remove()
        """
        flags = ((self._forward_pre_hooks_with_kwargs, with_kwargs),)
        return add_hook(self._forward_pre_hooks, hook, prepend, flags)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Call `hook(module, args, output)` after each forward; its result replaces the output.

        `with_kwargs=True` calls `hook(module, args, kwargs, output)`; `always_call=True` runs the
        hook even if forward or another hook raised.

        Source: `torch.nn.Module.register_forward_hook`.

        >>> import iskra as torch
        >>> layer = torch.nn.Identity()
        >>> handle = layer.register_forward_hook(lambda module, args, output: output * 2)
        >>> layer(torch.ones(2))
        tensor([2., 2.])
        """
        flags = (
            (self._forward_hooks_with_kwargs, with_kwargs),
            (self._forward_hooks_always_called, always_call),
        )
        return add_hook(self._forward_hooks, hook, prepend, flags)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Call `hook(module, grad_output)` before the module's gradients are computed.

        It may return a tuple that replaces `grad_output`.
        Source: `torch.nn.Module.register_full_backward_pre_hook`.
        """
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Call `hook(module, grad_input, grad_output)` once the module's gradients are known.

        `grad_input` holds one entry per positional argument (None where it is no tensor); a tuple
        that the hook returns replaces it.

        Source: `torch.nn.Module.register_full_backward_hook`.

        >>> import iskra as torch
        >>> layer = torch.nn.ReLU()
        >>> seen = []
        >>> handle = layer.register_full_backward_hook(lambda m, gi, go: seen.append(go))
        >>> layer(torch.ones(2, requires_grad=True)).sum().backward()
        >>> seen
        [(tensor([1., 1.]),)]
        """
        return self._add_backward(hook, prepend, full=True)

    def register_backward_hook(self, hook):
        """Deprecated: it sees the last node of the module only; use register_full_backward_hook.

        Source: `torch.nn.Module.register_backward_hook`.
        """
        return self._add_backward(hook, False, full=False)

    def _add_backward(self, hook, prepend, full):
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(_MIXED.format(where="on a single Module"))
        self._is_full_backward_hook = full
        return add_hook(self._backward_hooks, hook, prepend)

    def _get_backward_hooks(self):
        """The backward hooks that apply, global ones first: (full, not full)."""
        found = {True: [], False: [], None: []}
        found[_global_backward["full"]] += global_backward_hooks.values()
        found[self._is_full_backward_hook] += self._backward_hooks.values()
        return found[True], found[False]

    def _get_backward_pre_hooks(self):
        return [*global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]


def _unmark(module):
    """Whether no hook is left; if so, calls take the fast path again."""
    state = module.__dict__
    own = any(state.get(name) for name in CALL_TABLES)
    shared = (global_forward_pre_hooks or global_forward_hooks
              or global_backward_pre_hooks or global_backward_hooks)
    if not shared:
        HookMixin._hooked = False
    if not own and module._compiled_call_impl is None:
        state.pop("_hooked", None)
    return not (own or shared)


class HookedCall:
    """One call of a module through all of its hooks and the global ones."""

    def __init__(self, module, args, kwargs):
        self.module, self.args, self.kwargs = module, args, kwargs
        self.result = None
        self.called = set()

    def run(self):
        module = self.module
        full, partial = module._get_backward_hooks()
        pre = module._get_backward_pre_hooks()
        self.run_pre_hooks()
        boundary = BackwardHook(module, full, pre) if full or pre else None
        if boundary:
            self.args = boundary.setup_input_hook(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        self.run_forward_hooks()
        if boundary:
            self.result = boundary.setup_output_hook(self.result)
        if partial:
            _attach_partial_hooks(module, partial, self.result)
        return self.result

    def run_pre_hooks(self):
        module = self.module
        hooks = (*global_forward_pre_hooks.items(), *module._forward_pre_hooks.items())
        for hook_id, hook in hooks:
            if hook_id in module._forward_pre_hooks_with_kwargs:
                answer = hook(module, self.args, self.kwargs)
                if answer is None:
                    continue
                if not (isinstance(answer, tuple) and len(answer) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {answer}."
                    )
                self.args, self.kwargs = answer
            else:
                answer = hook(module, self.args)
                if answer is not None:
                    self.args = answer if isinstance(answer, tuple) else (answer,)

    def run_forward_hooks(self):
        for hook_id, hook in (*global_forward_hooks.items(), *self.module._forward_hooks.items()):
            self.run_one(hook_id, hook)

    def run_one(self, hook_id, hook):
        module = self.module
        self.called.add(hook_id)
        if (hook_id in global_forward_hooks_with_kwargs
                or hook_id in module._forward_hooks_with_kwargs):
            answer = hook(module, self.args, self.kwargs, self.result)
        else:
            answer = hook(module, self.args, self.result)
        if answer is not None:
            self.result = answer

    def run_always_called(self):
        """After an error: the hooks that asked to be called in any case and were not yet."""
        module = self.module
        groups = (
            ("global module", global_forward_hooks, global_forward_hooks_always_called),
            ("module", module._forward_hooks, module._forward_hooks_always_called),
        )
        for kind, hooks, always in groups:
            for hook_id, hook in hooks.items():
                if hook_id not in always or hook_id in self.called:
                    continue
                try:
                    self.run_one(hook_id, hook)
                except Exception as error:
                    warnings.warn(
                        f"{kind} forward hook with ``always_call=True`` raised an exception that "
                        f"was silenced as another error was raised in forward: {error}",
                        stacklevel=4,
                    )


def _attach_partial_hooks(module, hooks, result):
    """Old-style backward hooks: on the node that made the (first) output."""
    output = result
    while not isinstance(output, Tensor):
        if isinstance(output, dict):
            output = next(v for v in output.values() if isinstance(v, Tensor))
        else:
            output = output[0]
    node = output.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(lambda *grads, hook=hook: hook(module, *grads))
