"""``iskra.utils.data.dataloader``: the loader, by the place where PyTorch keeps it."""

from iskra.data import DataLoader, default_collate, default_convert, get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]
