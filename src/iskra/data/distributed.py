"""`DistributedSampler`: each process of a group takes its share of a dataset."""

import math
import sys

from iskra import ops
from iskra.core import Generator
from iskra.data.sampler import Sampler


class DistributedSampler(Sampler):
    """Every `num_replicas`-th index, beginning with the `rank`-th, of one order for all processes.

    The order is shuffled by `seed` and the epoch given to `set_epoch`; call that before each epoch.
    So that all shares are equal, some indices come twice, or with `drop_last` the last are left
    out. `num_replicas` and `rank` are those of the process group if not given.

    Raises ValueError for a rank out of range, or without a process group to ask.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.distributed.DistributedSampler

    >>> import iskra as torch
    >>> list(torch.utils.data.DistributedSampler(range(10), 3, 1, shuffle=False))
    [1, 4, 7, 0]
    """

    def __init__(
        self, dataset, num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False
    ):
        if num_replicas is None:
            num_replicas = _process_group().get_world_size()
        if rank is None:
            rank = _process_group().get_rank()
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        uneven = len(dataset) % num_replicas
        left_out = num_replicas if drop_last and uneven else 0
        self.num_samples = math.ceil((len(dataset) - left_out) / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self):
        size = len(self.dataset)
        if self.shuffle:
            generator = Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = ops.randperm(size, generator=generator).tolist()
        else:
            order = list(range(size))
        if not self.drop_last:
            order *= math.ceil(self.total_size / max(size, 1))
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self):
        return self.num_samples

    def set_epoch(self, epoch):
        """Take another order from now on; all processes give the same `epoch`.

        >>> import iskra as torch
        >>> sampler = torch.utils.data.DistributedSampler(range(4), 2, 0)
        >>> sampler.set_epoch(1)
        """
        self.epoch = epoch


def _process_group():
    """The module of process groups, if the program uses it: it lies above this one."""
    distributed = sys.modules.get("iskra.distributed")
    if distributed is None or not distributed.is_initialized():
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group; or give num_replicas and rank"
        )
    return distributed
