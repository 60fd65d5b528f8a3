"""Spectral normalisation by a forward pre-hook, the form before parametrizations."""

from iskra import ops
from iskra.autograd import no_grad
from iskra.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from iskra.nn.parameter import Parameter, is_lazy
from iskra.nn.utils.norms import as_matrix, sharpen, sigma, unit_normal

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


class SpectralNorm:
    """The hook: computes the weight from `<name>_orig` before each forward.

    >>> import iskra as torch
    >>> SpectralNorm("weight").n_power_iterations
    1
    """

    _version = 1  # 1 keeps v and the normalised weight out of the state dict

    def __init__(self, name="weight", n_power_iterations=1, dim=0, eps=1e-12):
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def compute_weight(self, module, do_power_iteration):
        """The weight as it is now, after power iterations if asked for."""
        weight, u, v = (getattr(module, self.name + end) for end in ("_orig", "_u", "_v"))
        matrix = as_matrix(weight, self.dim)
        for _ in range(self.n_power_iterations if do_power_iteration else 0):
            sharpen(matrix, u, v, self.eps, "vu")
        return weight / sigma(matrix, u, v)

    def remove(self, module):
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for end in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + end)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs):
        weight = self.compute_weight(module, do_power_iteration=module.training)
        setattr(module, self.name, weight)

    @staticmethod
    def apply(module, name, n_power_iterations, dim, eps):
        """Put the hook onto a module."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two spectral_norm hooks on the same parameter {name}"
                )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make "
                "sure to run the dummy forward before applying spectral normalization"
            )
        rows, columns = as_matrix(weight.detach(), dim).shape
        u, v = unit_normal(weight.detach(), rows, eps), unit_normal(weight.detach(), columns, eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook))
        return hook


class SpectralNormLoadStateDictPreHook:
    """Makes v from the weight and u of state dicts that are older than version 1."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        key = prefix + self.fn.name
        version = local_metadata.get("spectral_norm", {}).get(self.fn.name + ".version")
        if version is not None and version >= 1:
            return
        complete = all(key + end in state_dict for end in ("_orig", "_u", "_v"))
        if version is None and complete and key not in state_dict:
            return
        missing = [key + end for end in ("_orig", "", "_u") if key + end not in state_dict]
        if missing:
            missing_keys.extend(missing if strict else ())
            return
        with no_grad():
            original, weight = state_dict[key + "_orig"], state_dict.pop(key)
            matrix, u = as_matrix(original, self.fn.dim), state_dict[key + "_u"]
            found = ops.linalg_pinv(matrix.t().mm(matrix)).mm(matrix.t()).mv(u)
            scale = (original / weight).mean() / sigma(matrix, u, found)
            state_dict[key + "_v"] = found * scale


class SpectralNormStateDictHook:
    """Notes the version in the metadata of the state dict."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, module, state_dict, prefix, local_metadata):
        versions = local_metadata.setdefault("spectral_norm", {})
        key = self.fn.name + ".version"
        if key in versions:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        versions[key] = self.fn._version


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide a weight by its largest singular value, before each forward. Returns the module.

    `nn.utils.parametrizations.spectral_norm` is the newer form.

    Source: `torch.nn.utils.spectral_norm`.

    >>> import iskra as torch
    >>> torch.nn.utils.spectral_norm(torch.nn.Linear(20, 40)).weight_u.shape
    iskra.Size([40])
    """
    if dim is None:
        transposed = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
        dim = 1 if isinstance(module, transposed) else 0
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module, name="weight"):
    """Take the hooks off and make the weight a parameter again; ValueError if there are none.

    Source: `torch.nn.utils.remove_spectral_norm`.
    """
    hooks = module._forward_pre_hooks
    found = [k for k, h in hooks.items() if isinstance(h, SpectralNorm) and h.name == name]
    if not found:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    hooks.pop(found[0]).remove(module)
    for table, kind in (
        (module._state_dict_hooks, SpectralNormStateDictHook),
        (module._load_state_dict_pre_hooks, SpectralNormLoadStateDictPreHook),
    ):
        for key in [k for k, h in table.items() if isinstance(h, kind) and h.fn.name == name]:
            del table[key]
    return module
