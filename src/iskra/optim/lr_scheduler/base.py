"""`LRScheduler`: what all schedulers share. Options keep PyTorch's names, as state dicts show them.
"""

import warnings
from types import FunctionType

from iskra.optim.optimizer import Optimizer
from iskra.tensor import Tensor

EPOCH_DEPRECATED = (
    "passing an epoch to scheduler.step() is deprecated; call step() once per epoch, or construct "
    "the scheduler anew with last_epoch"
)


class LRScheduler:
    """Base of the schedulers: sets the learning rate of each parameter group, step by step.

    Subclasses define ``get_lr()``, the new rate of each group at ``last_epoch``; many compute it
    from the present rate, so that schedulers can be chained. `last_epoch` is -1 to begin, or the
    epoch to resume from: then each group must have its ``initial_lr``.

    Raises TypeError if `optimizer` is none, KeyError for a missing ``initial_lr``.
    Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate

    >>> import iskra as torch
    >>> class Harmonic(torch.optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [base / (self.last_epoch + 1) for base in self.base_lrs]
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = Harmonic(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer, last_epoch=-1):
        self.optimizer = checked(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an "
                    "optimizer; load the optimizer's state_dict first"
                )
        self.base_lrs = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._step_count = 0
        self._is_initial = False
        self._get_lr_called_within_step = False
        if not hasattr(optimizer, "_has_scheduler"):
            optimizer._has_scheduler = True
            optimizer._opt_called = False  # from now on it counts whether the optimizer steps
        self._initial_step()

    def _initial_step(self):
        """Set the rates of the first epoch."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self):
        """Return all of the scheduler's variables in a dict, except the optimizer.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5).state_dict()["gamma"]
        0.5
        """
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict):
        """Take over the variables that ``state_dict()`` returned.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        >>> scheduler.load_state_dict(scheduler.state_dict() | {"gamma": 0.25})
        >>> scheduler.gamma
        0.25
        """
        self.__dict__.update(state_dict)

    def get_last_lr(self):
        """Return the rate of each group as this scheduler last set it.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5).get_last_lr()
        [1.0]
        """
        return self._last_lr

    def get_lr(self):
        """Compute the new rate of each group, for ``step``; see `get_last_lr` for the present one.

        >>> import iskra as torch
        >>> torch.optim.lr_scheduler.LRScheduler.get_lr(None)
        Traceback (most recent call last):
        NotImplementedError: a scheduler defines get_lr()
        """
        raise NotImplementedError("a scheduler defines get_lr()")

    def step(self, epoch=None):
        """Go on by one epoch (deprecated: to `epoch`) and set the rates; after optimizer.step().

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> optimizer.param_groups[0]["lr"]
        0.5
        """
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATED, stacklevel=2)
        self._update_lr(epoch)

    def _check_order(self):
        """At the first step that is not the constructor's: has the optimizer stepped before?"""
        if self.optimizer._opt_called:
            return
        step = self.optimizer.step
        if getattr(getattr(step, "__func__", step), "hooked", False):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in "
                "the other order, or the first value of the learning rate schedule is skipped. See "
                "https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",
                stacklevel=3,
            )
        else:
            warnings.warn(
                "optimizer.step() has been overridden, so it cannot be told whether it is called "
                "before lr_scheduler.step(), as it must be; let it call the step it replaces",
                stacklevel=3,
            )

    def _update_lr(self, epoch=None):
        """Set the rates for the next epoch, or for `epoch`, by the closed form if there is one."""
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                rates = getattr(self, "_get_closed_form_lr", self.get_lr)()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, rates):
            set_value(group, "lr", rate)
        self._last_lr = values_of(self.optimizer, "lr")

    def _warn_outside_step(self):
        if not self._get_lr_called_within_step:
            warnings.warn(
                "get_lr() computes the next rate from the present one; to get the last learning "
                "rate computed by the scheduler, please use `get_last_lr()`",
                stacklevel=3,
            )

    def _present(self):
        """The rate that each group has now."""
        return values_of(self.optimizer, "lr")

    def _each(self, closed_form):
        """``closed_form(base)`` for the base rate of each group."""
        return [closed_form(base) for base in self.base_lrs]


def checked(optimizer):
    """`optimizer`; TypeError if it is none."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def copied(value):
    """`value`, a tensor as a copy: a rate that is a tensor is later written in place."""
    return value.clone() if isinstance(value, Tensor) else value


def values_of(optimizer, key):
    """The option `key` of each parameter group, tensors as copies."""
    return [copied(group[key]) for group in optimizer.param_groups]


def set_value(group, key, value):
    """Set an option of a group; one that is a tensor is written in place."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value.item() if isinstance(value, Tensor) else value)
    else:
        group[key] = value


def one_per_group(name, value, optimizer):
    """`value` as a list for the parameter groups; ValueError if it is a list of another length."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"expected {count} values for {name}, one per group, got {len(value)}")
    return [copied(v) for v in value]


def state_of(function):
    """What of a user's function goes into a state dict: the variables of an object, else None."""
    return None if isinstance(function, FunctionType) else function.__dict__.copy()
