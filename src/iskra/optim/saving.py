"""Between an optimizer's state and its `state_dict`: parameters are named by their position."""

import copy
from collections import defaultdict

from iskra.tensor import Tensor


def pack(param_groups, state):
    """The state dict: positions for parameters in groups and state; PyTorch's exact form."""
    number, packed_groups = {}, []
    for group in param_groups:
        for p in group["params"]:
            number.setdefault(id(p), len(number))
        packed = {key: value for key, value in group.items() if key != "params"}
        packed["params"] = [number[id(p)] for p in group["params"]]
        packed_groups.append(packed)
    packed_state = {
        number[id(key)] if isinstance(key, Tensor) else key: value for key, value in state.items()
    }
    return {"state": packed_state, "param_groups": packed_groups}


def unpack(state_dict, param_groups):
    """``(state, groups)`` for the parameters of `param_groups`, out of a state dict."""
    saved_groups = copy.deepcopy(state_dict["param_groups"])
    _check_sizes(saved_groups, param_groups)
    param_of = {}
    for saved, group in zip(saved_groups, param_groups):
        param_of.update(zip(saved["params"], group["params"]))
        saved["params"] = group["params"]
        if "param_names" in group:
            saved.setdefault("param_names", group["param_names"])
    state = defaultdict(dict)
    for key, value in state_dict["state"].items():
        if key in param_of:
            state[param_of[key]] = _fitted(value, param_of[key])
        else:
            state[key] = value
    return state, saved_groups


def _check_sizes(saved_groups, param_groups):
    if len(saved_groups) != len(param_groups):
        raise ValueError(
            f"loaded state dict has a different number of parameter groups: {len(saved_groups)}, "
            f"but the optimizer has {len(param_groups)}"
        )
    for i, (saved, group) in enumerate(zip(saved_groups, param_groups)):
        if len(saved["params"]) != len(group["params"]):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                f"optimizer's group: group {i} has {len(saved['params'])} parameters in the dict "
                f"and {len(group['params'])} in the optimizer"
            )


def _fitted(value, param, key=None):
    """A copy of `value`, its tensors with the dtype and device of `param` (a step count its own).

    A copy, so that two optimizers loaded from one dict do not write into the same memory.
    """
    if isinstance(value, Tensor):
        if key == "step":
            return value.clone()
        dtype = param.dtype if param.is_floating_point() else value.dtype
        return value.to(device=param.device, dtype=dtype, copy=True)
    if isinstance(value, dict):
        return {k: _fitted(v, param, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fitted(v, param) for v in value)
    return value
