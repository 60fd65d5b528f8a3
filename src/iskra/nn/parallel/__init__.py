"""Several devices in one process. Page: https://docs.pytorch.org/docs/stable/nn.html

The devices work one after another. `iskra.distributed` is the way to use several at once.
"""

from iskra.nn.parallel.data_parallel import DataParallel, data_parallel
from iskra.nn.parallel.pieces import gather, parallel_apply, replicate, scatter

__all__ = ["DataParallel", "data_parallel", "gather", "parallel_apply", "replicate", "scatter"]
