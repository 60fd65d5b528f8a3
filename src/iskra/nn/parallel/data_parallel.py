"""`DataParallel`: a module on several devices of one process."""

from iskra.nn.module import Module
from iskra.nn.parallel.pieces import gather, parallel_apply, replicate, scatter

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Splits each batch over `device_ids`, one after another; without them it is `module` itself.

    Source: `torch.nn.DataParallel`.

    >>> import iskra as torch
    >>> model = torch.nn.DataParallel(torch.nn.Linear(2, 1))
    >>> list(model.state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module = module
        self.device_ids = list(device_ids or ())
        self.output_device = output_device
        if output_device is None and self.device_ids:
            self.output_device = self.device_ids[0]
        self.dim = dim

    def forward(self, *inputs, **kwargs):
        if len(self.device_ids) < 2:
            return self.module(*inputs, **kwargs)
        return data_parallel(
            self.module, inputs, self.device_ids, self.output_device, self.dim, kwargs
        )


def data_parallel(
    module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None
):
    """Call a module on parts of its inputs, one per device, and join the outputs.

    Source: `torch.nn.parallel.data_parallel`.

    >>> import iskra as torch
    >>> torch.nn.parallel.data_parallel(torch.nn.ReLU(), torch.ones(4), ["cpu", "cpu"])
    tensor([1., 1., 1., 1.])
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs = module_kwargs or {}
    if not device_ids:
        return module(*inputs, **kwargs)
    args = scatter(inputs, device_ids, dim) or [()]
    options = scatter(kwargs, device_ids, dim) if kwargs else [{}] * len(args)
    used = min(len(args), len(options))
    replicas = replicate(module, device_ids[:used])
    outputs = parallel_apply(replicas, args[:used], options[:used])
    target = device_ids[0] if output_device is None else output_device
    return gather(outputs, target, dim)
