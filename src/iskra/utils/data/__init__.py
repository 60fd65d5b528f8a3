"""``iskra.utils.data``: datasets, samplers and the loader; see `iskra.data`.

Source: https://docs.pytorch.org/docs/stable/data.html
"""

from iskra import data as _source
from iskra.data import *  # noqa: F403
from iskra.utils.data import dataloader, dataset, distributed, sampler

__all__ = _source.__all__ + ["dataloader", "dataset", "distributed", "sampler"]
