"""What runs in a worker process of a `DataLoader`."""

import multiprocessing
import os
import pickle
import random
import signal
import struct
import sys

import numpy as np

from iskra import runtime
from iskra.core import default_generator
from iskra.data.channel import Channel
from iskra.data.failure import ExceptionWrapper
from iskra.data.fetch import make_fetcher
from iskra.data.handover import Sender, dumps

LOOK_AROUND = 5.0  # seconds between looks whether the parent is still there

# Kinds of results.
BATCH, FAILURE, END = "batch", "failure", "end"

_META = struct.Struct("<I")
_info = None


class WorkerInfo:
    """What a worker knows of itself; see `get_worker_info`. Its attributes cannot be set.

    >>> from iskra.data.worker import WorkerInfo
    >>> WorkerInfo(id=0, num_workers=2, seed=5, dataset=None).num_workers
    2
    """

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def __setattr__(self, name, value):
        raise RuntimeError("Cannot assign attributes to WorkerInfo objects")

    def __repr__(self):
        return f"WorkerInfo({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"


def get_worker_info():
    """In a worker process: its `WorkerInfo`; in the main process None.

    The info has ``id`` (from 0), ``num_workers``, ``seed`` and ``dataset``, the worker's own copy.
    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info

    >>> import iskra as torch
    >>> torch.utils.data.get_worker_info() is None
    True
    """
    return _info


class Job:
    """All that a worker has to know, as it is sent to its process."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def join_meta(meta, data):
    """A message that begins with a small pickled tuple."""
    head = pickle.dumps(meta)
    return _META.pack(len(head)) + head + data


def split_meta(message):
    """``(meta, data)`` of a message made by `join_meta`."""
    (length,) = _META.unpack_from(message)
    start = _META.size + length
    return pickle.loads(message[_META.size : start]), message[start:]


def run(job, sock):
    """The main function of a worker process."""
    # Ctrl-C goes to all processes of a terminal: the loader's process alone answers to it.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler of the program forked from
    sock.settimeout(LOOK_AROUND)
    channel = Channel(sock)
    try:
        _serve(job, channel)
    except EOFError:
        pass  # the loader is gone, or wants no more
    except KeyboardInterrupt:
        sys.exit(1)  # from the dataset's own code; the loader will tell of it
    finally:
        channel.close()


def _serve(job, channel):
    """Answer requests until the line ends."""
    failure = _attempt(job, _prepare)[1]
    sender = Sender()
    epoch = fetch = broken = None
    while True:
        request_epoch, task, keys, (free, lost) = _next_request(channel)
        sender.take_back(free, lost)
        if request_epoch != epoch:
            epoch = request_epoch
            fetch, broken = (None, failure) if failure else _attempt(job, _make_fetcher)
        if broken is not None:
            _answer(job, channel, sender, (epoch, task, FAILURE), broken)
        elif fetch is not None:
            kind, batch = _fetch(job, fetch, keys)
            _answer(job, channel, sender, (epoch, task, kind), batch)
            if kind is END:
                fetch = None


def _attempt(job, function):
    """``(what function(job) returns, None)`` or ``(None, its failure)``."""
    try:
        return function(job), None
    except Exception:
        return None, _wrap(job)


def _prepare(job):
    """One thread, random generators seeded as PyTorch does; then let the user's function run."""
    global _info
    runtime.threads.set_num_threads(1)  # the other cores are for the other workers
    seed = job.base_seed + job.id
    random.seed(seed)
    default_generator.manual_seed(seed)
    if "numpy.random" in sys.modules:
        low, high = job.base_seed & 0xFFFFFFFF, job.base_seed >> 32
        np.random.seed(np.random.SeedSequence([job.id, low, high, 0]).generate_state(4))
    _info = WorkerInfo(
        id=job.id, num_workers=job.num_workers, seed=seed, dataset=job.dataset, rng=None,
        worker_method="multiprocessing",
    )
    if job.init_fn is not None:
        job.init_fn(job.id)


def _make_fetcher(job):
    return make_fetcher(job.dataset, job.batched, job.collate_fn, job.drop_last)


def _wrap(job):
    return ExceptionWrapper(f"in DataLoader worker process {job.id}")


def _fetch(job, fetch, keys):
    """``(kind of result, batch or failure)``."""
    try:
        return BATCH, fetch(keys)
    except StopIteration:
        if job.iterable:
            return END, None
        return FAILURE, _wrap(job)
    except Exception:
        return FAILURE, _wrap(job)


def _answer(job, channel, sender, meta, result):
    try:
        parts = dumps(result)
    except Exception:  # a batch that cannot be pickled, or an exception of a class that cannot
        failure = _wrap(job)
        if meta[-1] is FAILURE:
            failure = result
            failure.exception_class = RuntimeError
        meta = (*meta[:-1], FAILURE)
        parts = dumps(failure)
    how, data, file = sender.pack(parts)
    channel.send(join_meta((*meta, how), data), file)
    while channel.is_sending:
        _check_parent()
        channel.flush()
    if file is not None:
        os.close(file)


def _next_request(channel):
    while True:
        message = channel.receive()
        if message is not None:
            return pickle.loads(message[0])
        _check_parent()


def _check_parent():
    """EOFError where the loader's process was killed, and perhaps its end of the line was not."""
    if not multiprocessing.parent_process().is_alive():
        raise EOFError
