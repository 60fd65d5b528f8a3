"""Batch normalisation. Page: https://docs.pytorch.org/docs/stable/nn.html#normalization-layers"""

from iskra.autograd import no_grad
from iskra.core import int64
from iskra.nn import functional as F
from iskra.nn import init
from iskra.nn.lazy import LazyModuleMixin
from iskra.nn.module import Module
from iskra.nn.modules.utils import shown, weight_and_bias
from iskra.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter
from iskra.ops import empty, ones, tensor, zeros

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d",
    "LazyBatchNorm3d", "SyncBatchNorm",
]


class _NormBase(Module):
    """Parameters and running statistics of batch and instance normalisation."""

    _version = 2  # 2 added num_batches_tracked
    _dims = ()  # the numbers of dimensions that inputs may have; () for any

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True,
        device=None, dtype=None, *, bias=True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        where = {"device": device, "dtype": dtype}
        learned_weight = Parameter(empty(num_features, **where)) if affine else None
        self.register_parameter("weight", learned_weight)
        learned_bias = Parameter(empty(num_features, **where)) if affine and bias else None
        self.register_parameter("bias", learned_bias)
        track = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **where) if track else None)
        self.register_buffer("running_var", ones(num_features, **where) if track else None)
        count = tensor(0, dtype=int64, device=device) if track else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self):
        """Forget the running statistics: mean 0, variance 1, no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Weight 1, bias 0, no statistics."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input):
        if self._dims and input.dim() not in self._dims:
            allowed = " or ".join(f"{dims}D" for dims in self._dims)
            raise ValueError(f"expected {allowed} input (got {input.dim()}D input)")

    def extra_repr(self):
        return (
            f"{self.num_features}, {shown(self, 'eps', 'momentum', 'affine')}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            count = self.num_batches_tracked
            unknown = count is None or count.device.type == "meta"
            state_dict[key] = tensor(0, dtype=int64) if unknown else count
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


class _BatchNorm(_NormBase):
    """The forward of all batch normalisations."""

    def forward(self, input):
        self._check_input_dim(input)
        return self._normalize(input, self._next_momentum())

    def _next_momentum(self):
        """Count the batch; its share in the running statistics (an equal one without momentum)."""
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
        return momentum

    def _statistics(self):
        """Running mean and variance as far as this call uses or updates them."""
        if self.training and not self.track_running_stats:
            return None, None
        return self.running_mean, self.running_var

    def _by_batch(self):
        """Whether to normalise by the statistics of the batch."""
        return self.training or (self.running_mean is None and self.running_var is None)

    def _normalize(self, input, momentum):
        mean, var = self._statistics()
        weight, bias = weight_and_bias(self)
        return F.batch_norm(input, mean, var, weight, bias, self._by_batch(), momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Normalises each of C channels over the batch (Ioffe & Szegedy, 2015).

    Shapes: (N, C) or (N, C, L), unchanged. In training by the batch's mean and biased variance,
    updating the running ones with `momentum` (None: a plain average); in evaluation by these.

    Source: `torch.nn.BatchNorm1d`.

    >>> import iskra as torch
    >>> layer = torch.nn.BatchNorm1d(3)
    >>> layer(torch.ones(4, 3)).shape, layer.num_batches_tracked
    (iskra.Size([4, 3]), tensor(1))
    """

    _dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalises each channel of (N, C, H, W) over batch and plane; see BatchNorm1d.

    Source: `torch.nn.BatchNorm2d`.

    >>> import iskra as torch
    >>> torch.nn.BatchNorm2d(100)(torch.ones(2, 100, 3, 4)).shape
    iskra.Size([2, 100, 3, 4])
    """

    _dims = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalises each channel of (N, C, D, H, W) over batch and volume; see BatchNorm1d.

    Source: `torch.nn.BatchNorm3d`.

    >>> import iskra as torch
    >>> torch.nn.BatchNorm3d(10)(torch.ones(2, 10, 2, 3, 4)).shape
    iskra.Size([2, 10, 2, 3, 4])
    """

    _dims = (5,)


class SyncBatchNorm(_BatchNorm):
    """BatchNorm over (N, C, *) whose statistics are those of all processes of a group.

    The distributed room installs the exchange with `set_synchronizer`; in a single process it is
    plain BatchNorm.

    Source: `torch.nn.SyncBatchNorm`.

    >>> import iskra as torch
    >>> torch.nn.SyncBatchNorm(3)(torch.ones(4, 3)).shape
    iskra.Size([4, 3])
    """

    _synchronizer = None  # (module, input, momentum) -> output, or None where not distributed

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True,
        process_group=None, device=None, dtype=None, *, bias=True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    @classmethod
    def set_synchronizer(cls, synchronizer):
        """Tell what normalises in training: `synchronizer(module, input, momentum)` or None.

        It returns the output, having updated the running statistics, or None if there is only one
        process.
        """
        cls._synchronizer = None if synchronizer is None else staticmethod(synchronizer)

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    def _normalize(self, input, momentum):
        if self._synchronizer is not None and self.training:
            output = self._synchronizer(self, input, momentum)
            if output is not None:
                return output
        return super()._normalize(input, momentum)

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """`module` with every BatchNorm in it replaced by a SyncBatchNorm of the same state.

        >>> import iskra as torch
        >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(3))
        >>> type(torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)[0]).__name__
        'SyncBatchNorm'
        """
        converted = module
        if isinstance(module, _BatchNorm):
            converted = SyncBatchNorm(
                module.num_features, module.eps, module.momentum, module.affine,
                module.track_running_stats, process_group, bias=module.bias is not None,
            )
            if module.affine:
                with no_grad():
                    converted.weight = module.weight
                    converted.bias = module.bias
            converted.running_mean = module.running_mean
            converted.running_var = module.running_var
            converted.num_batches_tracked = module.num_batches_tracked
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


class _LazyNormBase(LazyModuleMixin, _NormBase):
    """Takes `num_features` from dimension 1 of the first input."""

    def __init__(
        self, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None,
        dtype=None, *, bias=True,
    ):
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        where = {"device": device, "dtype": dtype}
        if affine:
            self.weight = UninitializedParameter(**where)
            if bias:
                self.bias = UninitializedParameter(**where)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**where)
            self.running_var = UninitializedBuffer(**where)
            self.num_batches_tracked = tensor(0, dtype=int64, device=device)

    def reset_parameters(self):
        """Reset once the shapes are known."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input):
        """Take the shapes from the first input."""
        if not self.has_uninitialized_params():
            return
        self.num_features = input.shape[1]
        lazy = [self.weight, self.bias] if self.affine else []
        lazy += [self.running_mean, self.running_var] if self.track_running_stats else []
        for param in lazy:
            if param is not None:
                param.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """A BatchNorm1d that takes `num_features` from its first input.

    Source: `torch.nn.LazyBatchNorm1d`.

    >>> import iskra as torch
    >>> layer = torch.nn.LazyBatchNorm1d()
    >>> _ = layer(torch.ones(4, 3))
    >>> layer.num_features
    3
    """

    cls_to_become = BatchNorm1d
    _dims = BatchNorm1d._dims


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """A BatchNorm2d that takes `num_features` from its first input.

    Source: `torch.nn.LazyBatchNorm2d`.

    >>> import iskra as torch
    >>> torch.nn.LazyBatchNorm2d()(torch.ones(2, 3, 4, 5)).shape
    iskra.Size([2, 3, 4, 5])
    """

    cls_to_become = BatchNorm2d
    _dims = BatchNorm2d._dims


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """A BatchNorm3d that takes `num_features` from its first input.

    Source: `torch.nn.LazyBatchNorm3d`.

    >>> import iskra as torch
    >>> torch.nn.LazyBatchNorm3d()(torch.ones(2, 3, 4, 5, 6)).shape
    iskra.Size([2, 3, 4, 5, 6])
    """

    cls_to_become = BatchNorm3d
    _dims = BatchNorm3d._dims
