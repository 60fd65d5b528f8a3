"""Schedulers that multiply the rate by a factor given, constant or changing evenly."""

from bisect import bisect_right
from collections import Counter

from iskra.optim.lr_scheduler.base import LRScheduler, state_of


class LambdaLR(LRScheduler):
    """The initial rate times ``lr_lambda(epoch)``; a list has one function for each group.

    Raises ValueError if a list has another length than there are groups.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LambdaLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (epoch + 1))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer, lr_lambda, last_epoch=-1):
        self.lr_lambdas = _function_per_group(lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def state_dict(self):
        """Return the variables; of the functions only those that are objects, by their variables.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1.0).state_dict()["lr_lambdas"]
        [None]
        """
        state = super().state_dict()
        state.pop("lr_lambdas")
        state["lr_lambdas"] = [state_of(function) for function in self.lr_lambdas]
        return state

    def load_state_dict(self, state_dict):
        """Take over the variables, those of functions that are objects too.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
        >>> scheduler.load_state_dict(scheduler.state_dict())
        """
        state = dict(state_dict)
        for function, variables in zip(self.lr_lambdas, state.pop("lr_lambdas")):
            if variables is not None:
                function.__dict__.update(variables)
        self.__dict__.update(state)

    def get_lr(self):
        """The initial rates times the functions' values.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5).get_last_lr()
        [0.5]
        """
        self._warn_outside_step()
        return [
            base * function(self.last_epoch)
            for base, function in zip(self.base_lrs, self.lr_lambdas)
        ]


class MultiplicativeLR(LambdaLR):
    """From the second epoch on, the present rate times ``lr_lambda(epoch)``.

    Raises ValueError if a list of functions has another length than there are groups.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiplicativeLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def get_lr(self):
        """The present rates times the functions' values; in the first epoch the present rates.

        >>> import iskra as torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> torch.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5).get_last_lr()
        [1.0]
        """
        self._warn_outside_step()
        if self._is_initial:
            return self._present()
        return [
            rate * function(self.last_epoch)
            for rate, function in zip(self._present(), self.lr_lambdas)
        ]


def _function_per_group(functions, optimizer):
    count = len(optimizer.param_groups)
    if not isinstance(functions, (list, tuple)):
        return [functions] * count
    if len(functions) != count:
        raise ValueError(f"Expected {count} lr_lambdas, but got {len(functions)}")
    return list(functions)


class _Decay(LRScheduler):
    """The present rate times ``_factor()``; ``_closed(base)`` says the same at one stroke."""

    def get_lr(self):
        """The present rate of each group times this epoch's factor."""
        self._warn_outside_step()
        factor = self._factor()
        rates = self._present()
        return rates if factor is None else [rate * factor for rate in rates]

    def _get_closed_form_lr(self):
        return self._each(self._closed)


class StepLR(_Decay):
    """Multiply the rate by `gamma` every `step_size` epochs.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer, step_size, gamma=0.1, last_epoch=-1):
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self):
        at_step = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return self.gamma if at_step else None

    def _closed(self, base):
        return base * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(_Decay):
    """Multiply the rate by `gamma` at each of the epochs in `milestones`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.MultiStepLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3], gamma=0.5)
    >>> for _ in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer, milestones, gamma=0.1, last_epoch=-1):
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self):
        times = self.milestones.get(self.last_epoch)
        return self.gamma**times if times else None

    def _closed(self, base):
        return base * self.gamma ** bisect_right(
            sorted(self.milestones.elements()), self.last_epoch
        )


class ConstantLR(_Decay):
    """The rate times `factor` for the first `total_iters` epochs, then the rate itself.

    Raises ValueError unless `factor` is from 0 to 1.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ConstantLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5).get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer, factor=1.0 / 3, total_iters=5, last_epoch=-1):
        if not 0 <= factor <= 1:
            raise ValueError(
                f"Constant multiplicative factor expected to be between 0 and 1, but got {factor}"
            )
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self):
        if self.last_epoch == 0:
            return self.factor
        return 1.0 / self.factor if self.last_epoch == self.total_iters else None

    def _closed(self, base):
        return base * (self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor))


class LinearLR(_Decay):
    """The rate times a factor that goes evenly from `start_factor` to `end_factor`.

    It arrives after `total_iters` epochs and stays. Raises ValueError for a factor out of range.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LinearLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.75]
    """

    def __init__(
        self, optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1
    ):
        if not 0 < start_factor <= 1:
            raise ValueError(
                f"Starting multiplicative factor expected to be greater than 0 and less or equal "
                f"to 1, but got {start_factor}"
            )
        if not 0 <= end_factor <= 1:
            raise ValueError(
                f"Ending multiplicative factor expected to be between 0 and 1, but got {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self):
        start, total = self.start_factor, self.total_iters
        if self.last_epoch == 0:
            return start
        if self._is_initial or self.last_epoch > total:
            return None
        rise = self.end_factor - start
        return 1.0 + rise / (total * start + (self.last_epoch - 1) * rise)

    def _closed(self, base):
        start = self.start_factor
        rise = self.end_factor - start
        return base * (start + rise * min(self.total_iters, self.last_epoch) / self.total_iters)


class ExponentialLR(_Decay):
    """Multiply the rate by `gamma` every epoch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer, gamma, last_epoch=-1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self):
        return None if self._is_initial else self.gamma

    def _closed(self, base):
        return base * self.gamma**self.last_epoch


class PolynomialLR(_Decay):
    """The rate times ``(1 - epoch / total_iters) ** power``, which stays at 0 once it is there.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.PolynomialLR.html

    >>> import iskra as torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    >>> scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.75]
    """

    def __init__(self, optimizer, total_iters=5, power=1.0, last_epoch=-1):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _factor(self):
        epoch, total = self.last_epoch, self.total_iters
        if self._is_initial or epoch > total:
            return None
        return ((1.0 - epoch / total) / (1.0 - (epoch - 1) / total)) ** self.power

    def _closed(self, base):
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        return base * (1.0 - done) ** self.power
