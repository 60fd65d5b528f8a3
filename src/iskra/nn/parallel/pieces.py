"""The steps of data parallelism: scatter, replicate, apply, gather."""

from iskra.core import device as Device
from iskra.ops import cat
from iskra.tensor import Tensor

__all__ = ["gather", "parallel_apply", "replicate", "scatter"]


def _as_device(place):
    return Device("cuda", place) if isinstance(place, int) else Device(place)


def scatter(inputs, target_gpus, dim=0):
    """Split all tensors in `inputs` along `dim`, one part per device; the rest is repeated.

    Source: `torch.nn.parallel.scatter`.

    >>> import iskra as torch
    >>> torch.nn.parallel.scatter(torch.arange(4), ["cpu", "cpu"])
    [tensor([0, 1]), tensor([2, 3])]
    """
    count = len(target_gpus)
    if isinstance(inputs, Tensor):
        parts = inputs.chunk(count, dim)
        return [part.to(_as_device(d)) for part, d in zip(parts, target_gpus, strict=False)]
    if isinstance(inputs, (tuple, list)) and inputs:
        columns = zip(*(scatter(value, target_gpus, dim) for value in inputs), strict=False)
        make = type(inputs)._make if hasattr(inputs, "_fields") else type(inputs)
        return [make(column) for column in columns]
    if isinstance(inputs, dict) and inputs:
        columns = zip(*(scatter(v, target_gpus, dim) for v in inputs.values()), strict=False)
        return [type(inputs)(zip(inputs, column, strict=True)) for column in columns]
    return [inputs] * count


def replicate(network, devices, detach=False):
    """Copies of a module, one per device, through which gradients reach the first one.

    Source: `torch.nn.parallel.replicate`.

    >>> import iskra as torch
    >>> len(torch.nn.parallel.replicate(torch.nn.Linear(2, 2), ["cpu", "cpu"]))
    2
    """
    return [_replica(network, _as_device(place), detach, {}) for place in devices]


def _replica(module, device, detach, done):
    if id(module) in done:
        return done[id(module)]
    replica = done[id(module)] = module._replicate_for_data_parallel()
    for name, param in module._parameters.items():
        if param is None:
            replica._parameters[name] = None
        else:
            copied = (param.detach() if detach else param).to(device)
            # A copy is no parameter: it is computed from the original.
            replica.__dict__[name] = copied
    for name, buffer in module._buffers.items():
        replica._buffers[name] = None if buffer is None else buffer.to(device)
    for name, child in module._modules.items():
        made = None if child is None else _replica(child, device, detach, done)
        replica._modules[name] = made
    return replica


def parallel_apply(modules, inputs, kwargs_tup=None, devices=None):
    """Call each module with its own inputs; the outputs as a list.

    Source: `torch.nn.parallel.parallel_apply`.

    >>> import iskra as torch
    >>> layer = torch.nn.Identity()
    >>> torch.nn.parallel.parallel_apply([layer, layer], [(torch.ones(1),), (torch.zeros(1),)])
    [tensor([1.]), tensor([0.])]
    """
    if len(modules) != len(inputs):
        raise AssertionError(
            f"The number of modules {len(modules)} is not equal to the number of inputs "
            f"{len(inputs)}"
        )
    kwargs_tup = kwargs_tup or ({},) * len(modules)
    outputs = []
    for module, args, kwargs in zip(modules, inputs, kwargs_tup, strict=True):
        args = args if isinstance(args, (list, tuple)) else (args,)
        outputs.append(module(*args, **kwargs))
    return outputs


def gather(outputs, target_device, dim=0):
    """Join tensors, or structures of them, from several devices on one.

    Source: `torch.nn.parallel.gather`.

    >>> import iskra as torch
    >>> torch.nn.parallel.gather([torch.zeros(1), torch.ones(1)], "cpu")
    tensor([0., 1.])
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        device = _as_device(target_device)
        # Numbers become vectors, one entry per device.
        parts = [(t.unsqueeze(0) if t.dim() == 0 else t).to(device) for t in outputs]
        return cat(parts, dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(len(out) != len(first) for out in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)(
            (key, gather([out[key] for out in outputs], target_device, dim)) for key in first
        )
    make = type(first)._make if hasattr(first, "_fields") else type(first)
    columns = zip(*outputs, strict=True)
    return make([gather(column, target_device, dim) for column in columns])
