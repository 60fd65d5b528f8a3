"""Checkpointing: recompute a part of the forward pass in backward instead of keeping it.

Source: https://docs.pytorch.org/docs/stable/checkpoint.html
"""

import contextlib
import warnings

from iskra.autograd.api import backward
from iskra.autograd.engine import gradients_are_returned
from iskra.autograd.function import Function
from iskra.autograd.graph import saved_tensors_hooks
from iskra.autograd.modes import enable_grad
from iskra.core.generator import default_generator
from iskra.tensor import Tensor

__all__ = ["checkpoint", "checkpoint_sequential", "set_checkpoint_debug_enabled"]

_debug = None


def set_checkpoint_debug_enabled(enabled):
    """Accepted for compatibility: errors always name what differed."""
    global _debug
    _debug = enabled


def checkpoint(
    function, *args, use_reentrant=None, context_fn=None, determinism_check="default",
    debug=False, early_stop=True, preserve_rng_state=True, **kwargs,
):
    """Return ``function(*args, **kwargs)`` without keeping what its backward needs.

    Backward runs the function again, with the same random numbers if `preserve_rng_state`.
    Pass `use_reentrant` explicitly; False is recommended and allows keyword arguments, nested
    inputs and ``autograd.grad``.
    Raises ValueError for unknown keyword arguments with ``use_reentrant=True``, RuntimeError where
    the recomputation saves other tensors than the first run did.

    >>> import iskra as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> y = torch.utils.checkpoint.checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False)
    >>> y.sum().backward()
    """
    if use_reentrant is None:
        warnings.warn(
            "checkpoint: the use_reentrant parameter should be passed explicitly; "
            "use_reentrant=False is recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    contexts = context_fn() if context_fn is not None else None
    run = _Recomputation(function, args, kwargs, preserve_rng_state, contexts)
    with contexts[0] if contexts else contextlib.nullcontext():
        with saved_tensors_hooks(run.pack, run.unpack):
            return function(*args, **kwargs)


class _Recomputation:
    """Hands out numbers instead of tensors, and runs the function again when one is asked for."""

    def __init__(self, function, args, kwargs, preserve, contexts):
        self._call = (function, args, kwargs)
        self._state = default_generator.state_bytes() if preserve else None
        self._contexts = contexts
        self._facts = []  # shape and dtype of each tensor that the first run saved
        self._found = None  # what the second run saved

    def pack(self, tensor):
        self._facts.append((tensor.shape, tensor.dtype))
        return len(self._facts) - 1

    def unpack(self, number):
        if self._found is None or number not in self._found:
            self._recompute()
        tensor = self._found.pop(number)
        if (tensor.shape, tensor.dtype) != self._facts[number]:
            raise CheckpointError(
                "checkpoint: Recomputed values for the following tensors have different metadata "
                f"than during the forward pass. tensor at position {number}: saved "
                f"{self._facts[number]}, recomputed {(tensor.shape, tensor.dtype)}"
            )
        return tensor

    def _recompute(self):
        function, args, kwargs = self._call
        found = []

        def keep(tensor):
            found.append(tensor.detach())
            return found[-1]

        second = self._contexts[1] if self._contexts else contextlib.nullcontext()
        with _random_state(self._state), enable_grad(), second:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                function(*[_detached(a) for a in args], **kwargs)
        if len(found) < len(self._facts):
            raise CheckpointError(
                "checkpoint: A different number of tensors was saved during the original forward "
                f"and recomputation. Number of tensors saved during forward: {len(self._facts)}; "
                f"during recomputation: {len(found)}"
            )
        self._found = dict(enumerate(found))


class CheckpointError(RuntimeError):
    """The recomputation differed from the first run."""


def _detached(value):
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    return value


@contextlib.contextmanager
def _random_state(state):
    """Inside this block the random generator continues from `state`."""
    if state is None:
        yield
        return
    before = default_generator.state_bytes()
    default_generator.load_state_bytes(state)
    try:
        yield
    finally:
        default_generator.load_state_bytes(before)


class CheckpointFunction(Function):
    """The older form: one node whose backward runs the function and a backward pass inside."""

    @staticmethod
    def forward(ctx, function, preserve, *args):
        if not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            warnings.warn(
                "None of the inputs have requires_grad=True. Gradients will be None", stacklevel=4
            )
        ctx.run_function = function
        ctx.random_state = default_generator.state_bytes() if preserve else None
        ctx.inputs = [None if isinstance(a, Tensor) else a for a in args]
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.save_for_backward(*[a for a in args if isinstance(a, Tensor)])
        return function(*args)

    @staticmethod
    def backward(ctx, *gradients):
        if gradients_are_returned():
            raise RuntimeError(
                "checkpoint with use_reentrant=True works with backward() only, not with grad(); "
                "pass use_reentrant=False."
            )
        inputs = list(ctx.inputs)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = _detached(tensor)
        with _random_state(ctx.random_state), enable_grad():
            outputs = ctx.run_function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        live = [(o, g) for o, g in zip(outputs, gradients, strict=True)
                if isinstance(o, Tensor) and o.requires_grad]
        if not live:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward([o for o, _ in live], [g for _, g in live])
        return None, None, *[i.grad if isinstance(i, Tensor) else None for i in inputs]


def checkpoint_sequential(functions, segments, input, use_reentrant=None, preserve_rng_state=True):
    """Run a sequence of functions (or a Sequential) in checkpointed segments.

    The last segment is kept as usual, since its backward comes first.
    """

    def run(part):
        def forward(value):
            for function in part:
                value = function(value)
            return value

        return forward

    functions = list(functions.children() if hasattr(functions, "children") else functions)
    size = max(len(functions) // segments, 1)
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(
            run(functions[start:start + size]), input, use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )
    return run(functions[size * (segments - 1):])(input)
