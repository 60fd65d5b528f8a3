"""``iskra.utils.data.distributed``: the sampler that divides a dataset between processes."""

from iskra.data import DistributedSampler

__all__ = ["DistributedSampler"]
