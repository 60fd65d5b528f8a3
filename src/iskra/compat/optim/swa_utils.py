"""`iskra.optim.swa_utils`: averaging the weights of a model.

It lies here because `AveragedModel` is an `nn.Module` made for optimizers, and the rooms of both
are equals that do not know each other. `iskra.optim` looks for its submodules here too.
Source: https://docs.pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
"""

import copy

from iskra import ops
from iskra.core import int64
from iskra.nn import Module
from iskra.optim.averaging import (
    SWALR,
    Averager,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)

__all__ = [
    "AveragedModel", "SWALR", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]


class AveragedModel(Averager, Module):
    """A copy of `model` whose parameters are the average of those given to `update_parameters`.

    It computes as the model does. The mean is taken, or what `avg_fn` returns of an average, a new
    value and the count of averaged models, or what `multi_avg_fn` writes for lists of them; with
    `use_buffers` buffers are averaged too, else copied. Raises AssertionError where both are given.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html

    >>> import iskra as torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> averaged = torch.optim.swa_utils.AveragedModel(model)
    >>> for value in [1.0, 3.0]:
    ...     _ = torch.nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item()
    2.0
    """

    def __init__(
        self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False
    ):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", ops.tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        """What the averaged model computes."""
        return self.module(*args, **kwargs)
