"""`GradScaler`: multiply the loss so that small float16 gradients do not vanish.

Source: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling
"""

import enum
import math
import warnings
from collections import abc, defaultdict

from iskra.autograd import no_grad
from iskra.core import device as Device
from iskra.core import float16, float32, int32
from iskra.ops import full, isfinite
from iskra.tensor import Tensor


class OptState(enum.Enum):
    """How far an optimizer is in the current iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh_state():
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Scales losses, unscales gradients, and skips steps whose gradients are not finite.

    The scale starts at `init_scale`; a step with infinite or NaN gradients is left out and the
    scale multiplied by `backoff_factor`; after `growth_interval` good steps in a row it is
    multiplied by `growth_factor`. With ``enabled=False`` every method passes its argument on.
    Raises RuntimeError where the methods are called in the wrong order.

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler

    >>> import iskra as torch
    >>> w = torch.ones(1, requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.5)
    >>> scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(w.sum()).backward()
    >>> w.grad
    tensor([8.])
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.detach()
    tensor([0.5000])
    """

    def __init__(
        self, device="cuda", init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5,
        growth_interval=2000, enabled=True,
    ):
        self._device = Device(device).type
        self._enabled = enabled
        if enabled and self._device != "cpu":
            warnings.warn(
                f"GradScaler: no {self._device.upper()} device is available; it stays off.",
                stacklevel=2,
            )
            self._enabled = False
        if self._enabled:
            if growth_factor <= 1.0:
                raise ValueError(f"GradScaler: growth_factor must be > 1.0, got {growth_factor}")
            if backoff_factor >= 1.0:
                raise ValueError(f"GradScaler: backoff_factor must be < 1.0, got {backoff_factor}")
        self._init_scale = init_scale
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        # Made by the first use, since nothing is needed of them before.
        self._scale = None
        self._growth_tracker = None
        self._per_optimizer_states = defaultdict(_fresh_state)

    def scale(self, outputs):
        """The tensor, or the tensors of a nested iterable, times the scale."""
        if not self._enabled:
            return outputs
        if self._scale is None:
            self._start()
        if isinstance(outputs, Tensor):
            return outputs * self._scale.to(outputs.device)
        if isinstance(outputs, abc.Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError(
            "GradScaler: outputs must be a Tensor or an iterable of Tensors, "
            f"not {type(outputs).__name__}"
        )

    def unscale_(self, optimizer):
        """Divide the gradients of an optimizer's parameters by the scale, noting infinities.

        `step` does it by itself; call it before to look at or clip the gradients.
        """
        if not self._enabled:
            return
        self._check_started("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step(); call it before.")
        inverse = self._scale.double().reciprocal().float()
        state["found_inf_per_device"] = self._unscale_grads_(optimizer, inverse, False)
        state["stage"] = OptState.UNSCALED

    @no_grad()
    def _unscale_grads_(self, optimizer, inverse, allow_fp16):
        """Multiply the gradients by `inverse`; return 1.0 by device where one is not finite."""
        found = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is None:
                    continue
                if grad.dtype is float16 and not allow_fp16:
                    raise ValueError(
                        "Attempting to unscale FP16 gradients: keep the parameters in float32 "
                        "and let autocast lower them."
                    )
                values = grad._values() if grad.is_sparse else grad
                finite = isfinite(values).all().item()
                values.mul_(inverse.to(values.device))
                worst = max(0.0 if finite else 1.0, found.get(grad.device, 0.0))
                found[grad.device] = worst
        return {d: full((), v, dtype=float32, device=d) for d, v in found.items()}

    def step(self, optimizer, *args, **kwargs):
        """``optimizer.step(*args, **kwargs)``, unless a gradient is infinite or NaN.

        Unscales the gradients first where `unscale_` has not. Returns what the optimizer does,
        or None for a step left out. A closure cannot be given.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_started("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        found = state["found_inf_per_device"]
        if not found:
            raise RuntimeError(
                "No inf checks were recorded for this optimizer: none of its parameters has a "
                "gradient."
            )
        result = None
        if not any(value.item() for value in found.values()):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale=None):
        """End the iteration: let the scale shrink, grow, or become `new_scale`."""
        if not self._enabled:
            return
        self._check_started("update")
        if new_scale is not None:
            self._set_scale(new_scale)
        else:
            self._adapt()
        self._per_optimizer_states = defaultdict(_fresh_state)

    def _set_scale(self, new_scale):
        if isinstance(new_scale, Tensor):
            if new_scale.numel() != 1 or new_scale.requires_grad or new_scale.dtype is not float32:
                raise RuntimeError(
                    "update: new_scale should be a float or a 1-element float32 tensor with "
                    f"requires_grad=False, got {new_scale}"
                )
            new_scale = new_scale.item()
        self._scale.fill_(new_scale)

    def _adapt(self):
        found = [
            value.item() for state in self._per_optimizer_states.values()
            for value in state["found_inf_per_device"].values()
        ]
        if not found:
            raise RuntimeError("No inf checks were recorded prior to update.")
        if any(found):
            self._scale.mul_(self._backoff_factor)
            self._growth_tracker.fill_(0)
            return
        good = self._growth_tracker.item() + 1
        if good == self._growth_interval:
            grown = self._scale * self._growth_factor
            if math.isfinite(grown.item()):
                self._scale.copy_(grown)
            good = 0
        self._growth_tracker.fill_(good)

    def _start(self):
        self._scale = full((), self._init_scale, dtype=float32, device=self._device)
        self._growth_tracker = full(
            (), self._init_growth_tracker, dtype=int32, device=self._device
        )

    def _check_started(self, name):
        if self._scale is None:
            raise RuntimeError(
                f"GradScaler.{name} was called before anything was scaled: "
                "call scaler.scale(loss).backward() earlier in the iteration."
            )

    def is_enabled(self):
        """Whether this scaler does anything."""
        return self._enabled

    def get_scale(self):
        """The scale as a float; 1.0 if disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self):
        """By what the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor):
        """Set by what the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self):
        """By what the scale is multiplied after a step left out."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor):
        """Set by what the scale is multiplied after a step left out."""
        self._backoff_factor = new_factor

    def get_growth_interval(self):
        """How many good steps in a row let the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval):
        """Set how many good steps in a row let the scale grow."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self):
        if not self._enabled:
            return 0
        if self._growth_tracker is None:
            return self._init_growth_tracker
        return self._growth_tracker.item()

    def state_dict(self):
        """The state for a checkpoint; an empty dict if disabled. Take it after `update`."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict):
        """Take the state over from a checkpoint.

        Raises RuntimeError for an empty dict, which a disabled scaler has saved.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "GradScaler.load_state_dict: the source state dict is empty, possibly because it "
                "was saved from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self):
        """What is pickled: the tensors as numbers; only between iterations."""
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler can only be pickled between iterations, right after update()."
                )
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state
