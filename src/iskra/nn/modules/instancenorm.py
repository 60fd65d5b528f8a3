"""Instance normalisation.

Page: https://docs.pytorch.org/docs/stable/nn.html#normalization-layers
"""

import warnings

from iskra.nn import functional as F
from iskra.nn.modules.batchnorm import _LazyNormBase, _NormBase

__all__ = [
    "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LazyInstanceNorm1d",
    "LazyInstanceNorm2d", "LazyInstanceNorm3d",
]


class _InstanceNorm(_NormBase):
    """The forward of all instance normalisations; `_dims` is (unbatched, batched)."""

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False,
        device=None, dtype=None, *, bias=True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        if local_metadata.get("version") is None and not self.track_running_stats:
            names = ("running_mean", "running_var")
            surplus = [prefix + name for name in names if prefix + name in state_dict]
            if surplus:
                error_msgs.append(_surplus(surplus, type(self).__name__))
            for key in surplus:
                state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def forward(self, input):
        self._check_input_dim(input)
        batched = input.dim() == self._dims[1]
        channels = input.size(1 if batched else 0)
        if channels != self.num_features:
            self._complain(1 if batched else 0, channels)
        if not batched:
            return self._apply_instance_norm(input.unsqueeze(0)).squeeze(0)
        return self._apply_instance_norm(input)

    def _complain(self, dim, channels):
        if self.affine:
            raise ValueError(
                f"expected input's size at dim={dim} to match num_features "
                f"({self.num_features}), but got: {channels}."
            )
        warnings.warn(
            f"input's size at dim={dim} does not match num_features. num_features is not used "
            "because affine=False",
            stacklevel=4,
        )

    def _apply_instance_norm(self, input):
        by_instance = self.training or not self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.instance_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, by_instance,
            momentum, self.eps,
        )


def _surplus(keys, name):
    quoted = " and ".join(f'"{key}"' for key in keys)
    return (
        f"Unexpected running stats buffer(s) {quoted} for {name} with track_running_stats=False. "
        "If state_dict is a checkpoint saved before 0.4.0, this may be expected because "
        f"{name} does not track running stats by default since 0.4.0. Please remove these keys "
        "from state_dict. If the running stats are actually needed, instead set "
        f"track_running_stats=True in {name} to enable them. See the documentation of {name} for "
        "details."
    )


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample over its length (Ulyanov et al., 2016).

    Shapes: (N, C, L) or (C, L), unchanged. Unlike LayerNorm it has by default no parameters.

    Source: `torch.nn.InstanceNorm1d`.

    >>> import iskra as torch
    >>> torch.nn.InstanceNorm1d(3)(torch.ones(2, 3, 4)).sum()
    tensor(0.)
    """

    _dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, H, W) or (C, H, W).

    Source: `torch.nn.InstanceNorm2d`.

    >>> import iskra as torch
    >>> torch.nn.InstanceNorm2d(3, affine=True)(torch.ones(2, 3, 4, 5)).shape
    iskra.Size([2, 3, 4, 5])
    """

    _dims = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, D, H, W) or (C, D, H, W).

    Source: `torch.nn.InstanceNorm3d`.

    >>> import iskra as torch
    >>> torch.nn.InstanceNorm3d(3)(torch.ones(2, 3, 4, 5, 6)).shape
    iskra.Size([2, 3, 4, 5, 6])
    """

    _dims = (4, 5)


class LazyInstanceNorm1d(_LazyNormBase, _InstanceNorm):
    """An InstanceNorm1d that takes `num_features` from its first input.

    Source: `torch.nn.LazyInstanceNorm1d`.

    >>> import iskra as torch
    >>> torch.nn.LazyInstanceNorm1d()(torch.ones(2, 3, 4)).shape
    iskra.Size([2, 3, 4])
    """

    cls_to_become = InstanceNorm1d
    _dims = InstanceNorm1d._dims


class LazyInstanceNorm2d(_LazyNormBase, _InstanceNorm):
    """An InstanceNorm2d that takes `num_features` from its first input.

    Source: `torch.nn.LazyInstanceNorm2d`.

    >>> import iskra as torch
    >>> torch.nn.LazyInstanceNorm2d()(torch.ones(2, 3, 4, 5)).shape
    iskra.Size([2, 3, 4, 5])
    """

    cls_to_become = InstanceNorm2d
    _dims = InstanceNorm2d._dims


class LazyInstanceNorm3d(_LazyNormBase, _InstanceNorm):
    """An InstanceNorm3d that takes `num_features` from its first input.

    Source: `torch.nn.LazyInstanceNorm3d`.

    >>> import iskra as torch
    >>> torch.nn.LazyInstanceNorm3d()(torch.ones(2, 3, 4, 5, 6)).shape
    iskra.Size([2, 3, 4, 5, 6])
    """

    cls_to_become = InstanceNorm3d
    _dims = InstanceNorm3d._dims
