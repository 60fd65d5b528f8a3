"""What `torch.optim.swa_utils` offers, but for `AveragedModel`, which is a module.

Source: https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
"""

import math
import warnings

from iskra.autograd import no_grad
from iskra.optim.lr_scheduler.base import LRScheduler, one_per_group


def _check_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1].")


def get_ema_avg_fn(decay=0.999):
    """Return ``f(averaged, current, count)``: ``decay * averaged + (1 - decay) * current``.

    Raises ValueError unless `decay` is from 0 to 1.

    >>> import iskra as torch
    >>> average = torch.optim.swa_utils.get_ema_avg_fn(0.75)
    >>> average(torch.tensor(0.0), torch.tensor(4.0), 1)
    tensor(1.)
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(averaged, current, num_averaged):
        return decay * averaged + (1 - decay) * current

    return ema_update


def get_swa_avg_fn():
    """Return ``f(averaged, current, count)``: the mean when `count` values were averaged before.

    >>> import iskra as torch
    >>> average = torch.optim.swa_utils.get_swa_avg_fn()
    >>> average(torch.tensor(0.0), torch.tensor(4.0), 1)
    tensor(2.)
    """

    @no_grad()
    def swa_update(averaged, current, num_averaged):
        return averaged + (current - averaged) / (num_averaged + 1)

    return swa_update


def get_ema_multi_avg_fn(decay=0.999):
    """Return ``f(averaged, current, count)`` for two lists: moves the averages in place.

    Raises ValueError unless `decay` is from 0 to 1.

    >>> import iskra as torch
    >>> average, new = [torch.tensor(0.0)], [torch.tensor(4.0)]
    >>> torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)(average, new, 1)
    >>> average
    [tensor(1.)]
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(averaged, current, num_averaged):
        for a, c in zip(averaged, current):
            if a.is_floating_point() or a.is_complex():
                a.lerp_(c, 1 - decay)
            else:
                a.copy_(a * decay + c * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn():
    """Return ``f(averaged, current, count)`` for two lists: moves the averages in place.

    >>> import iskra as torch
    >>> average, new = [torch.tensor(0.0)], [torch.tensor(4.0)]
    >>> torch.optim.swa_utils.get_swa_multi_avg_fn()(average, new, torch.tensor(1))
    >>> average
    [tensor(2.)]
    """

    @no_grad()
    def swa_update(averaged, current, num_averaged):
        count = float(num_averaged) + 1
        for a, c in zip(averaged, current):
            if a.is_floating_point() or a.is_complex():
                a.lerp_(c, 1 / count)
            else:
                a.copy_(a + (c - a) / count)

    return swa_update


def update_bn(loader, model, device=None):
    """Compute the running statistics of the model's BatchNorm layers anew, from a loader's batches.

    Each batch is a tensor or a list that begins with one; it is moved to `device`, where given, and
    passed to the model. Layers keep their ``momentum`` and the model its mode. Does nothing for a
    model without such layers.

    >>> import iskra as torch
    >>> model = torch.nn.BatchNorm1d(1)
    >>> torch.optim.swa_utils.update_bn([torch.tensor([[1.0], [3.0]])], model)
    >>> model.running_mean
    tensor([2.])
    """
    layers = [m for m in model.modules() if _has_running_statistics(m)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    was_training = model.training
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
    try:
        model.train()
        with no_grad():
            for batch in loader:
                if isinstance(batch, (list, tuple)):
                    batch = batch[0]
                model(batch if device is None else batch.to(device))
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        model.train(was_training)


def _has_running_statistics(module):
    """Whether it is a BatchNorm layer; told by what it has, for `nn` is not ours to see."""
    return hasattr(module, "num_batches_tracked") and hasattr(module, "momentum")


class SWALR(LRScheduler):
    """From the present rate to `swa_lr` in `anneal_epochs` epochs, by ``"cos"`` or ``"linear"``.

    A list has one rate for each group. Raises ValueError for options out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.SWALR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.swa_utils.SWALR(
    ...     optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.75]
    """

    def __init__(
        self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1
    ):
        rates = one_per_group("swa_lr", swa_lr, optimizer)
        for group, rate in zip(optimizer.param_groups, rates):
            group["swa_lr"] = rate
        if anneal_strategy not in _ANNEAL:
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(
                f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}"
            )
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """The rate of each group, computed from the present one.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.5).get_last_lr()
        [1.0]
        """
        if not self._get_lr_called_within_step:
            warnings.warn("to get the last learning rate, please use get_last_lr()", stacklevel=2)
        step = self._step_count - 1
        last = max(1, self.anneal_epochs)
        before, now = (self._done(min(1, max(0, t / last))) for t in (step - 1, step))
        rates = []
        for group, rate in zip(self.optimizer.param_groups, self._present()):
            target = group["swa_lr"]
            start = target if before == 1 else (rate - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates

    def _done(self, share):
        return _ANNEAL[self._anneal_strategy](share)


_ANNEAL = {"cos": lambda t: (1 - math.cos(math.pi * t)) / 2, "linear": lambda t: t}


class Averager:
    """The averaging half of `AveragedModel`, which joins it with ``nn.Module``.

    It expects of itself ``module``, ``n_averaged``, ``avg_fn``, ``multi_avg_fn``, ``use_buffers``.
    """

    def update_parameters(self, model):
        """Take `model`'s present parameters into the average; the first time, copy them."""
        if self.use_buffers:
            mine = [*self.module.parameters(), *self.module.buffers()]
            theirs = [*model.parameters(), *model.buffers()]
        else:
            mine, theirs = [*self.parameters()], [*model.parameters()]
        averaged = [p.detach() for p in mine]
        current = [p.detach().to(a.device) for p, a in zip(theirs, averaged)]
        if self.n_averaged == 0:
            for a, c in zip(averaged, current):
                a.copy_(c)
        else:
            self._average(averaged, current)
        if not self.use_buffers:  # buffers that are not averaged stay in step with the model's
            for a, c in zip(self.module.buffers(), model.buffers()):
                a.detach().copy_(c.detach().to(a.device))
        self.n_averaged += 1

    def _average(self, averaged, current):
        if self.multi_avg_fn is not None:
            self.multi_avg_fn(averaged, current, self.n_averaged)
            return
        average = self.avg_fn or get_swa_avg_fn()
        for a, c in zip(averaged, current):
            a.copy_(average(a, c, self.n_averaged.to(a.device)))


__all__ = [
    "SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]
