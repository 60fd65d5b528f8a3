"""Looking at and steering the graph: saved-tensor hooks, node access, anomaly mode.

Source: https://docs.pytorch.org/docs/stable/autograd.html#autograd-graph
"""

import warnings

from iskra.autograd.api import GradientEdge, get_gradient_edge
from iskra.autograd.engine import queue_callback
from iskra.autograd.node import Node
from iskra.core.local import active, local
from iskra.tensor import Tensor, storage_of


class saved_tensors_hooks:
    """Inside this block tensors saved for backward go through `pack`, and `unpack` when needed.

    `pack` takes a tensor and returns anything; `unpack` takes that and returns a tensor with the
    same content.
    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.saved_tensors_hooks

    >>> import iskra as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.tolist(), torch.tensor):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 2.])
    """

    def __init__(self, pack_hook, unpack_hook):
        self._hooks = (pack_hook, unpack_hook)

    def __enter__(self):
        local.saved_tensors_hooks = (*local.saved_tensors_hooks, self._hooks)
        active.change("watching", 1)

    def __exit__(self, *exception):
        active.change("watching", -1)
        local.saved_tensors_hooks = local.saved_tensors_hooks[:-1]


class save_on_cpu(saved_tensors_hooks):
    """Inside this block tensors saved for backward are kept in main memory."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda t: (t.device, t.cpu()), lambda packed: packed[1].to(packed[0]))


class disable_saved_tensors_hooks:
    """Inside this block using `saved_tensors_hooks` raises RuntimeError with `error_message`."""

    def __init__(self, error_message):
        self._message = error_message

    def __enter__(self):
        self._before = local.saved_tensors_hooks
        if self._before:
            raise RuntimeError(self._message)

    def __exit__(self, *exception):
        local.saved_tensors_hooks = self._before


class set_multithreading_enabled:
    """Accepted for compatibility: backward runs in the calling thread in any case."""

    def __init__(self, mode):
        self._before, local.multithreading = local.multithreading, bool(mode)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        local.multithreading = self._before


class set_detect_anomaly:
    """Switch anomaly mode: errors in backward also show the forward call that they belong to.

    With `check_nan` a gradient of NaN is an error. A function at once, or a block.
    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.set_detect_anomaly
    """

    def __init__(self, mode, check_nan=True):
        self._before = (local.anomaly, local.check_nan)
        _set_anomaly(bool(mode), check_nan)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        _set_anomaly(*self._before)


def _set_anomaly(mode, check_nan):
    active.change("watching", int(mode) - int(local.anomaly))
    local.anomaly, local.check_nan = mode, check_nan


class detect_anomaly(set_detect_anomaly):
    """A block in anomaly mode (see `set_detect_anomaly`); slow, for debugging only."""

    def __init__(self, check_nan=True):
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )
        self._check_nan = check_nan

    def __enter__(self):
        set_detect_anomaly.__init__(self, True, self._check_nan)
        return self


def is_anomaly_enabled():
    """Whether anomaly mode is on in this thread."""
    return local.anomaly


def is_anomaly_check_nan_enabled():
    """Whether anomaly mode looks for NaNs."""
    return local.check_nan


class allow_mutation_on_saved_tensors:
    """Inside this block saved tensors are copies, so that writing to the originals is allowed."""

    def __enter__(self):
        self._hooks = saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t)
        self._hooks.__enter__()

    def __exit__(self, *exception):
        self._hooks.__exit__(*exception)


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Call `fn` once the gradients of all `tensors` are known (mode "any": of the first).

    With mode "all", `fn` takes the list of gradients, None where there was none; with "any" it
    takes the first gradient. Returns a handle with ``remove()``.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    return _MultiHook(tensors, fn, mode)


class _MultiHook:
    """Counts the gradients of one backward pass."""

    def __init__(self, tensors, fn, mode):
        self._fn, self._mode = fn, mode
        self._count = len(tensors)
        self._found = {}
        self._fired = False
        self._handles = [
            t.register_hook(lambda g, i=i: self._arrived(i, g)) for i, t in enumerate(tensors)
        ]

    def _arrived(self, index, gradient):
        if not self._found and not self._fired:
            queue_callback(self._finish)
        self._found[index] = gradient
        if self._mode == "any" and not self._fired:
            self._fired = True
            self._fn(gradient)
        elif self._mode == "all" and len(self._found) == self._count:
            self._fire()

    def _fire(self):
        self._fired = True
        self._fn([self._found.get(i) for i in range(self._count)])

    def _finish(self):
        """At the end of the pass: tensors that got no gradient count as None."""
        if self._mode == "all" and self._found and not self._fired:
            self._fire()
        self._found, self._fired = {}, False

    def remove(self):
        """Take the hooks out."""
        for handle in self._handles:
            handle.remove()


def increment_version(tensor):
    """Note a write to `tensor` (or to several) that happened behind autograd's back.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.increment_version

    >>> import iskra as torch
    >>> x = torch.ones(2)
    >>> x.numpy()[0] = 5
    >>> torch.autograd.graph.increment_version(x)
    >>> x._version
    1
    """
    for item in (tensor,) if isinstance(tensor, Tensor) else tensor:
        storage_of(item).version += 1


__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "detect_anomaly",
    "disable_saved_tensors_hooks", "get_gradient_edge", "increment_version",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
    "set_detect_anomaly", "set_multithreading_enabled",
]
