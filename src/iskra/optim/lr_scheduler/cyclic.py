"""Schedulers that move the rate up and down, and the momentum the other way."""

import math

from iskra.optim.lr_scheduler.base import (
    LRScheduler,
    checked,
    one_per_group,
    set_value,
    state_of,
)


class _WithMomentum(LRScheduler):
    """A scheduler that, with ``cycle_momentum``, moves momentum or the first beta too."""

    def _check_momentum(self, optimizer):
        """Find out which of the two the optimizer has; ValueError where it has neither."""
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                f"{type(optimizer).__name__} must support momentum or beta1 with "
                "`cycle_momentum` option enabled; pass cycle_momentum=False"
            )
        self.use_beta1 = "betas" in optimizer.defaults

    def _set_momentum(self, group, value):
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """From `base_lr` up to `max_lr` in `step_size_up` steps, down in `step_size_down`, and again.

    `mode` shrinks the height: ``"triangular"`` never, ``"triangular2"`` by half each cycle,
    ``"exp_range"`` by `gamma` each step; or `scale_fn` gives it by the number of the cycle or of
    the step (`scale_mode` ``"cycle"``, ``"iterations"``). `cycle_momentum` moves momentum between
    `max_momentum` and `base_momentum` the other way. To be stepped after every batch.

    Raises ValueError for an unknown `mode`, and where the optimizer has no momentum to cycle.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CyclicLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
    >>> scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer, base_lr, max_lr, step_size_up=2000, step_size_down=None,
        mode="triangular", gamma=1.0, scale_fn=None, scale_mode="cycle", cycle_momentum=True,
        base_momentum=0.8, max_momentum=0.9, last_epoch=-1,
    ):
        base_lrs = one_per_group("base_lr", base_lr, checked(optimizer))
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, base_lrs):
                set_value(group, "lr", rate)
        self.max_lrs = one_per_group("max_lr", max_lr, optimizer)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in _SCALES and scale_fn is None:
            raise ValueError(
                f"mode {mode!r} is invalid and scale_fn is None; mode is one of {list(_SCALES)}"
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else _SCALES[mode][1]
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._check_momentum(optimizer)
            self.base_momentums = one_per_group("base_momentum", base_momentum, optimizer)
            self.max_momentums = one_per_group("max_momentum", max_momentum, optimizer)
            if last_epoch == -1:
                self._begin_momentum(optimizer)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _begin_momentum(self, optimizer):
        bounds = zip(optimizer.param_groups, self.max_momentums, self.base_momentums)
        for group, highest, lowest in bounds:
            self._set_momentum(group, highest)
            group["max_momentum"] = highest
            group["base_momentum"] = lowest

    def scale_fn(self, x):
        """The share of the height that is left at cycle or step `x`.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
        >>> torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, mode="triangular2").scale_fn(2)
        0.5
        """
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        return _SCALES[self.mode][0](x, self.gamma)

    def get_lr(self):
        """The rate of each group at this step; momentum is set on the way.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
        >>> torch.optim.lr_scheduler.CyclicLR(optimizer, 0.25, 1.0).get_last_lr()
        [0.25]
        """
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            groups = self.optimizer.param_groups
            for group, low, high in zip(groups, self.base_momentums, self.max_momentums):
                self._set_momentum(group, high - (high - low) * height * scale)
        return [
            low + (high - low) * height * scale for low, high in zip(self.base_lrs, self.max_lrs)
        ]

    def state_dict(self):
        """Return the variables; of `scale_fn` only an object's, by its variables.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
        >>> torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0).state_dict()["max_lrs"]
        [1.0]
        """
        state = super().state_dict()
        custom = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = None if custom is None else state_of(custom)
        return state

    def load_state_dict(self, state_dict):
        """Take over the variables, those of a `scale_fn` that is an object too.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
        >>> scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0)
        >>> scheduler.load_state_dict(scheduler.state_dict())
        """
        state = dict(state_dict)
        variables = state.pop("_scale_fn_custom")
        if variables is not None:
            self._scale_fn_custom.__dict__.update(variables)
        self.__dict__.update(state)


# mode -> (the share of the height left, what it is counted by)
_SCALES = {
    "triangular": (lambda x, gamma: 1.0, "cycle"),
    "triangular2": (lambda x, gamma: 1 / 2.0 ** (x - 1), "cycle"),
    "exp_range": (lambda x, gamma: gamma**x, "iterations"),
}


class OneCycleLR(_WithMomentum):
    """One cycle: from ``max_lr / div_factor`` up to `max_lr`, then down to nearly nothing.

    It takes `total_steps`, or `epochs` times `steps_per_epoch`, of which the rise takes the share
    `pct_start`; it ends at the initial rate divided by `final_div_factor`. With `three_phase` it
    first comes down as slowly as it rose. `anneal_strategy` is ``"cos"`` or ``"linear"``.
    `cycle_momentum` moves momentum the other way. To be stepped after every batch.

    Raises ValueError for options out of range, no length, or a step beyond the last.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
    >>> scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [1.0]
    """

    def __init__(
        self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None,
        pct_start=0.3, anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85,
        max_momentum=0.95, div_factor=25.0, final_div_factor=1e4, three_phase=False,
        last_epoch=-1,
    ):
        checked(optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not 0 <= pct_start <= 1 or not isinstance(pct_start, float):
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        self._schedule_phases = _phases(pct_start * self.total_steps, self.total_steps, three_phase)
        if anneal_strategy not in _ANNEAL:
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy
        max_lrs = one_per_group("max_lr", max_lr, optimizer)
        if last_epoch == -1:
            for group, highest in zip(optimizer.param_groups, max_lrs):
                group["initial_lr"] = highest / div_factor
                group["max_lr"] = highest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._check_momentum(optimizer)
            if last_epoch == -1:
                lowest = one_per_group("base_momentum", base_momentum, optimizer)
                highest = one_per_group("max_momentum", max_momentum, optimizer)
                for group, low, high in zip(optimizer.param_groups, lowest, highest):
                    self._set_momentum(group, high)
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """The rate of each group at this step; momentum is set on the way.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0, momentum=0.9)
        >>> scheduler = torch.optim.lr_scheduler.OneCycleLR(
        ...     optimizer, max_lr=1.0, total_steps=10, div_factor=4.0)
        >>> scheduler.get_last_lr()
        [0.25]
        """
        self._warn_outside_step()
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        phase, done = self._phase()
        anneal = _ANNEAL[self._anneal_func_type]
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(anneal(group[phase["start_lr"]], group[phase["end_lr"]], done))
            if self.cycle_momentum:
                start, end = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, anneal(start, end, done))
        return rates

    def _phase(self):
        """The present phase and the share of it that is done."""
        start = 0.0
        for phase in self._schedule_phases:
            if self.last_epoch <= phase["end_step"] or phase is self._schedule_phases[-1]:
                return phase, (self.last_epoch - start) / (phase["end_step"] - start)
            start = phase["end_step"]


def _total_steps(total_steps, epochs, steps_per_epoch):
    if total_steps is not None:
        return _positive("total_steps", total_steps)
    if epochs is None or steps_per_epoch is None:
        raise ValueError("give either total_steps, or both epochs and steps_per_epoch")
    return _positive("epochs", epochs) * _positive("steps_per_epoch", steps_per_epoch)


def _positive(name, value):
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"Expected positive integer {name}, but got {value}")
    return value


def _phases(rise, total, three_phase):
    def phase(end_step, start, end):
        start_momentum, end_momentum = (
            ("base_momentum" if name == "max_lr" else "max_momentum") for name in (start, end)
        )
        return {
            "end_step": end_step, "start_lr": start, "end_lr": end,
            "start_momentum": start_momentum, "end_momentum": end_momentum,
        }

    up = phase(float(rise) - 1, "initial_lr", "max_lr")
    if not three_phase:
        return [up, phase(total - 1, "max_lr", "min_lr")]
    down = phase(float(2 * rise) - 2, "max_lr", "initial_lr")
    return [up, down, phase(total - 1, "initial_lr", "min_lr")]


def anneal_cos(start, end, done):
    """From `start` to `end` along half a cosine, `done` from 0 to 1."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)


def anneal_linear(start, end, done):
    """From `start` to `end` along a line, `done` from 0 to 1."""
    return (end - start) * done + start


_ANNEAL = {"cos": anneal_cos, "linear": anneal_linear}
