"""Small helpers of the layers."""

from collections.abc import Iterable


def _ntuple(n, name="parse"):
    """A function that makes an n-tuple of a number and a tuple of anything iterable."""

    def parse(value):
        return tuple(value) if isinstance(value, Iterable) else (value,) * n

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(values, n):
    """Each value n times, the last one first: the order in which `pad` wants paddings."""
    return tuple(value for value in reversed(values) for _ in range(n))


def shown(module, *names):
    """`name=value` of each attribute, as printed by `extra_repr`."""
    return ", ".join(f"{name}={getattr(module, name)}" for name in names)


def weight_and_bias(module):
    """`module.weight, module.bias`, without the 0.3 microseconds each costs in `__getattr__`.

    A weight that is computed (by parametrize or weight_norm) is no entry of `_parameters`.
    """
    params = module._parameters
    try:
        return params["weight"], params["bias"]
    except KeyError:
        return module.weight, module.bias


def legacy_reduction(size_average, reduce):
    """The `reduction` that the deprecated arguments `size_average` and `reduce` stand for."""
    if reduce is not None and not reduce:
        return "none"
    return "mean" if size_average is None or size_average else "sum"


def consume_prefix_in_state_dict_if_present(state_dict, prefix):
    """Strip `prefix` from the keys of a state dict in place; "module." is what DDP adds.

    Source: `torch.nn.modules.utils.consume_prefix_in_state_dict_if_present`.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[key[len(prefix):]] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", None)
    for key in list(metadata or ()):
        if key and (key == prefix.replace(".", "") or key.startswith(prefix)):
            metadata[key[len(prefix):]] = metadata.pop(key)
