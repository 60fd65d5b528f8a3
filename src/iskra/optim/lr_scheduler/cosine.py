"""Schedulers that follow half a cosine down."""

import math

from iskra.optim.lr_scheduler.base import LRScheduler


class CosineAnnealingLR(LRScheduler):
    """From the initial rate down to `eta_min` in `T_max` epochs, along half a cosine; then back up.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer, T_max, eta_min=0.0, last_epoch=-1):
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """The present rate of each group, moved on along the cosine.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2).get_last_lr()
        [1.0]
        """
        self._warn_outside_step()
        epoch, turn, low = self.last_epoch, self.T_max, self.eta_min
        rates = self._present()
        if self._is_initial:
            return rates
        if self._step_count == 1 and epoch > 0:
            return self._get_closed_form_lr()
        if (epoch - 1 - turn) % (2 * turn) == 0:  # at the bottom, where the quotient would be 0/0
            rise = (1 - math.cos(math.pi / turn)) / 2
            return [rate + (base - low) * rise for rate, base in zip(rates, self.base_lrs)]
        now = 1 + math.cos(math.pi * epoch / turn)
        before = 1 + math.cos(math.pi * (epoch - 1) / turn)
        return [now / before * (rate - low) + low for rate in rates]

    def _get_closed_form_lr(self):
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return self._each(lambda base: self.eta_min + (base - self.eta_min) * height / 2)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine down from the initial rate to `eta_min`, again and again.

    The first takes `T_0` epochs, each further one `T_mult` times as many. ``step`` also takes a
    fraction of an epoch, to be called within it.

    Raises ValueError unless `T_0` and `T_mult` are positive ints and `eta_min` is a number.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for _ in range(3):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 1.0]
    """

    def __init__(self, optimizer, T_0, T_mult=1, eta_min=0.0, last_epoch=-1):
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(
                f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}"
            )
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """The rate of each group ``T_cur`` epochs into a cycle of ``T_i``.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
        >>> scheduler.get_last_lr()
        [1.0]
        """
        self._warn_outside_step()
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return self._each(lambda base: self.eta_min + (base - self.eta_min) * height / 2)

    def step(self, epoch=None):
        """Go on by one epoch, or to `epoch`, which may be a fraction; ValueError below 0.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
        >>> scheduler.step(0.5)
        >>> scheduler.get_last_lr()
        [0.8535533905932737]
        """
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        else:
            self._seek(epoch)
        self._update_lr(math.floor(epoch))

    def _seek(self, epoch):
        """Find the cycle that `epoch` lies in."""
        if epoch < self.T_0:
            cycles, start = 0, 0
        elif self.T_mult == 1:
            cycles, start = 0, epoch - epoch % self.T_0
        else:
            cycles = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            start = self.T_0 * (self.T_mult**cycles - 1) / (self.T_mult - 1)
        self.T_cur = epoch % self.T_0 if start and self.T_mult == 1 else epoch - start
        self.T_i = self.T_0 * self.T_mult**cycles
