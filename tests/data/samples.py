"""Datasets that tests of loaders share; in a module of their own, for spawned workers to import."""

import os
import random
import signal
import sys
import time

import numpy as np

import iskra
from iskra.utils.data import Dataset, IterableDataset, get_worker_info


class Numbers(Dataset):
    """0, 1, 2 ... by default; `act(i)` makes the sample."""

    def __init__(self, size=10, act=lambda i: i):
        self.size = size
        self.act = act

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return self.act(i)


class Rows(Dataset):
    """Float rows full of their index, large enough to travel in shared memory."""

    def __init__(self, size, width=20000):
        self.size = size
        self.width = width

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return iskra.full((self.width,), float(i)), np.array([i, -i])


class Draws(Dataset):
    """What a worker's random generators give."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        info = get_worker_info()
        drawn = iskra.rand(()).item(), random.random(), np.random.rand()
        return info.id, info.seed, *drawn


class Sharded(IterableDataset):
    """The numbers below `size`, shared out between the workers."""

    def __init__(self, size=6):
        self.size = size

    def __iter__(self):
        info = get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        yield from range(start, self.size, step)


class Counted(Sharded):
    """Says that it is as long as it is told."""

    def __init__(self, size, length):
        super().__init__(size)
        self.length = length

    def __len__(self):
        return self.length


class TwoArguments(Exception):
    """Cannot be made from a message."""

    def __init__(self, a, b):
        super().__init__(a, b)


def as_it_is(samples):
    return samples


def die(i):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(i):
    os._exit(3)


def leave_kindly(i):
    sys.exit(3)


def sleep(i):
    time.sleep(60)


def unpicklable(i):
    return lambda: i


def history(i):
    return iskra.ones(2, requires_grad=True) * 2


def pid(i):
    return os.getpid()


class Raises:
    """Raises an exception for one index."""

    def __init__(self, exception, at=1):
        self.exception = exception
        self.at = at

    def __call__(self, i):
        if i == self.at:
            raise self.exception
        return i


class Threads(Dataset):
    """The number of threads of whoever looks."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return iskra.get_num_threads()


def three_threads(number):
    iskra.set_num_threads(3)
