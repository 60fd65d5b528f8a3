"""The identities around a call that show a module's gradients to its full backward hooks."""

import warnings

from iskra.autograd import Function, is_grad_enabled
from iskra.tensor import Tensor


class BackwardHookFunction(Function):
    """Identity on tensors that hands their gradients to a function on the way back."""

    @staticmethod
    def forward(ctx, on_backward, zeros_for_none, *tensors):
        ctx.on_backward = on_backward
        ctx.set_materialize_grads(zeros_for_none)
        ctx.mark_non_differentiable(*[t for t in tensors if not t.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        return (None, None, *ctx.on_backward(grads))


class BackwardHook:
    """Encloses one call of a module between two identities, whose gradients its hooks see.

    Source: `torch.utils.hooks.BackwardHook`.
    """

    def __init__(self, module, user_hooks, user_pre_hooks):
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs = None
        self.input_places = self.output_places = None
        self.n_inputs = self.n_outputs = 0

    def setup_input_hook(self, args):
        """The arguments, those that are tensors led through an identity node."""
        self.n_inputs = len(args)
        args, self.input_places = _through(self._at_inputs, True, args)
        return args

    def setup_output_hook(self, result):
        """The module's output, led through an identity node."""
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(result)}",
                stacklevel=6,
            )
        outputs = result if isinstance(result, tuple) else (result,)
        self.n_outputs = len(outputs)
        outputs, self.output_places = _through(self._at_outputs, False, outputs)
        return outputs if isinstance(result, tuple) else outputs[0]

    def _at_outputs(self, grads):
        given = _spread(self.output_places, grads, self.n_outputs)
        for hook in self.user_pre_hooks:
            answer = hook(self.module, given)
            if answer is None:
                continue
            answer = answer if isinstance(answer, tuple) else (answer,)
            if len(answer) != len(given):
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, "
                    f"got {len(answer)}, but expected {len(given)}"
                )
            given = answer
        self.grad_outputs = given
        if self.input_places is None:
            self._without_inputs()
        return tuple(given[i] for i in self.output_places)

    def _without_inputs(self):
        """No input requires a gradient, so there is no later moment to call the hooks."""
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module "
            "outputs since no inputs require gradients.",
            stacklevel=5,
        )
        for hook in self.user_hooks:
            answer = hook(self.module, (None,) * self.n_inputs, self.grad_outputs)
            if answer is not None and any(grad is not None for grad in answer):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None

    def _at_inputs(self, grads):
        if self.grad_outputs is None:  # the outputs' node did not run: an input was used elsewhere
            return grads
        found = _spread(self.input_places, grads, self.n_inputs)
        for hook in self.user_hooks:
            answer = hook(self.module, found, self.grad_outputs)
            if answer is None:
                continue
            answer = answer if isinstance(answer, tuple) else (answer,)
            if len(answer) != len(found):
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, "
                    f"got {len(answer)}, but expected {len(found)}"
                )
            found = answer
        self.grad_outputs = None
        return tuple(found[i] for i in self.input_places)


def _spread(places, values, size):
    """A tuple of `size` entries with `values` at `places` and None elsewhere."""
    spread = [None] * size
    for place, value in zip(places, values, strict=True):
        spread[place] = value
    return tuple(spread)


def _through(on_backward, zeros_for_none, values):
    """Lead the tensors among `values` through an identity node: (values, their places or None)."""
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[i].requires_grad for i in places)):
        return values, None
    led = list(values)
    tensors = [values[i] for i in places]
    passed = BackwardHookFunction.apply(on_backward, zeros_for_none, *tensors)
    for place, tensor in zip(places, passed, strict=True):
        led[place] = tensor
    return (tuple(led) if type(values) is tuple else type(values)(*led)), places
