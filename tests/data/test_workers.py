"""`DataLoader` with worker processes: results, seeds, failures, and that none stay behind."""

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import numpy as np
import pytest
from data import samples
from data.samples import (
    Counted,
    Draws,
    Numbers,
    Raises,
    Rows,
    Sharded,
    Threads,
    as_it_is,
    three_threads,
)

import iskra
from iskra.data import processes
from iskra.utils.data import DataLoader, IterableDataset, get_worker_info


@pytest.fixture(autouse=True)
def no_process_and_no_file_stays_behind():
    before, files = children(), open_files()
    yield
    gc.collect()
    assert multiprocessing.active_children() == []
    # multiprocessing's own helpers live as long as the process that used them.
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()
    assert children() <= before  # zombies count
    assert open_files() <= files + 1


def children():
    """The process ids of our children, running or dead but not waited for."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in lists for pid in path.read_text().split()}


def open_files():
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def loader(dataset, workers=2, **options):
    options = {"batch_size": None, "collate_fn": as_it_is, "timeout": 30, **options}
    return DataLoader(dataset, num_workers=workers, **options)


# Results


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_batches_of_every_start_method(method):
    rows = DataLoader(Rows(6), batch_size=2, num_workers=2, multiprocessing_context=method)
    seen = 0
    for k, (row, pair) in enumerate(rows):
        assert row.shape == (2, 20000) and row.dtype is iskra.float32
        assert (row == iskra.tensor([[2.0 * k], [2 * k + 1]])).all()
        assert pair.tolist() == [[2 * k, -2 * k], [2 * k + 1, -2 * k - 1]]
        row.add_(1)  # it is the program's own
        seen += 1
    assert seen == 3


def test_the_order_is_that_of_the_keys():
    def late(i):
        time.sleep(0.02 * (i % 3 == 0))
        return i

    assert list(loader(Numbers(12, late), 2, prefetch_factor=3)) == list(range(12))
    assert sorted(loader(Numbers(12, late), 2, in_order=False)) == list(range(12))
    iskra.manual_seed(7)
    shuffled = loader(Numbers(10), shuffle=True)
    assert list(shuffled) == [3, 2, 7, 8, 6, 1, 5, 9, 0, 4]  # as in PyTorch, and without workers


def test_out_of_order_a_slow_worker_is_passed_over():
    def slow_first(i):
        time.sleep(0.5 if i == 0 else 0)
        return i

    found = list(loader(Numbers(12, slow_first), 2, in_order=False))
    assert sorted(found) == list(range(12)) and found.index(0) > 6


def test_more_workers_than_batches_and_none_at_all():
    assert list(loader(Numbers(1), 2)) == [0]
    assert list(loader(Numbers(0), 2)) == []


def test_iterable_datasets_are_shared_out():
    assert [b.tolist() for b in DataLoader(Sharded(), 2, num_workers=2)] == [[0, 2], [1, 3], [4],
                                                                             [5]]
    assert list(DataLoader(Sharded(), 4, num_workers=2, drop_last=True)) == []
    assert list(loader(Sharded(7))) == [0, 1, 2, 3, 4, 5, 6]
    assert sorted(loader(Sharded(7), in_order=False)) == list(range(7))


def test_an_iterable_dataset_that_does_not_look_at_its_worker_warns():
    whole = loader(Counted(2, 2))
    whole.dataset.__class__ = Whole
    len(whole)
    with pytest.warns(UserWarning, match="get_worker_info"):
        assert sorted(whole) == [0, 0, 1, 1]


class Whole(Counted):
    def __iter__(self):
        return iter(range(self.size))


def test_worker_info():
    info = list(loader(Numbers(2, lambda i: repr(get_worker_info()))))
    assert info[1].startswith("WorkerInfo(id=1, num_workers=2, seed=")

    def write(i):
        get_worker_info().id = 3

    with pytest.raises(RuntimeError, match="Cannot assign attributes"):
        list(loader(Numbers(1, write), 1))
    assert get_worker_info() is None


def test_seeds_are_pytorchs():
    iskra.manual_seed(0)
    found = list(DataLoader(Draws(), num_workers=2, batch_size=2, collate_fn=as_it_is))
    base = 900450186894289455
    assert found == [  # PyTorch 2.13: the worker's seed, torch.rand, random, numpy.random
        [(0, base, 0.7821398973464966, 0.21315340548154382, 0.8371640508861415),
         (0, base, 0.053598999977111816, 0.2764485855185723, 0.38757835109739946)],
        [(1, base + 1, 0.6938178539276123, 0.7733861492043289, 0.6702704958690073),
         (1, base + 1, 0.29795897006988525, 0.1634220007200502, 0.07589687641367027)],
    ]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_have_a_thread_each(method):
    here = iskra.get_num_threads()
    found = loader(Threads(), multiprocessing_context=method)
    assert list(found) == [1, 1]
    more = loader(Threads(), multiprocessing_context=method, worker_init_fn=three_threads)
    assert list(more) == [3, 3]
    assert iskra.get_num_threads() == here


def test_worker_init_fn():
    def seed(worker):
        np.random.seed(worker)

    found = list(loader(Draws(), worker_init_fn=seed))
    assert found[1][-1] == np.random.RandomState(1).rand()


def test_persistent_workers():
    iskra.manual_seed(7)
    kept = loader(Numbers(10, samples.pid), persistent_workers=True, shuffle=True)
    first, second = set(kept), set(kept)
    assert first == second and len(first) == 2
    for _ in kept:
        break  # with requests under way
    assert set(kept) == first
    kept = loader(Sharded(5), persistent_workers=True)
    assert [list(kept) for _ in range(2)] == [[0, 1, 2, 3, 4]] * 2
    kept = loader(Numbers(40), persistent_workers=True)
    iterator = iter(kept)
    next(iterator)
    assert iter(kept) is iterator and list(kept) == list(range(40))
    fresh = loader(Numbers(10, samples.pid))
    assert not set(fresh) & set(fresh)


def test_prefetching_is_bounded():
    class Counting(IterableDataset):
        def __iter__(self):
            for i in range(100):
                os.utime(self.file, (i, i))
                yield i

    dataset = Counting()
    dataset.file = __file__
    before = os.stat(__file__)
    try:
        iterator = iter(loader(dataset, 1, prefetch_factor=3))
        assert next(iterator) == 0
        time.sleep(0.3)
        # 3 asked for at first, and one more when the first was taken.
        assert os.stat(__file__).st_atime == 3
    finally:
        os.utime(__file__, (before.st_atime, before.st_mtime))


def test_big_requests_and_answers_do_not_block_each_other():
    # Lists of keys and answers that exceed what a line holds, both ways at once.
    keys = [list(range(k, k + 60000)) for k in range(4)]
    big = DataLoader(Numbers(10**6), batch_sampler=keys, num_workers=1, prefetch_factor=4,
                     collate_fn=lambda batch: [str(i) for i in batch], timeout=30)
    assert [len(b) for b in big] == [60000] * 4


# Failures


@pytest.mark.parametrize("exception, cls", [
    (ValueError("boo"), ValueError),
    (KeyError("boo"), KeyError),
    (FileNotFoundError(2, "boo"), FileNotFoundError),
    (samples.TwoArguments(1, "boo"), RuntimeError),
    (UnicodeDecodeError("utf8", b"x", 0, 1, "boo"), RuntimeError),
])
def test_exceptions_keep_class_and_traceback(exception, cls):
    iterator = iter(loader(Numbers(4, Raises(exception))))
    assert next(iterator) == 0
    with pytest.raises(cls) as caught:
        next(iterator)
    assert type(caught.value) is cls
    text = str(caught.value)
    name = type(exception).__name__
    assert text.startswith(
        f"Caught {name} in DataLoader worker process 1.\nOriginal Traceback (most recent call last"
    )
    assert "raise self.exception" in text and "boo" in text
    assert list(iterator) == [2, 3]  # the others are not lost


def test_exceptions_of_a_local_class():
    class Local(Exception):
        pass

    with pytest.raises(RuntimeError, match="Caught Local in DataLoader worker process 0"):
        list(loader(Numbers(2, Raises(Local("boo"), at=0))))


def test_stop_iteration_ends_the_loop():
    assert list(loader(Numbers(4, Raises(StopIteration(), at=2)))) == [0, 1]


def test_exceptions_while_beginning():
    def broken(worker):
        raise RuntimeError(f"no {worker}")

    iterator = iter(loader(Numbers(4), worker_init_fn=broken))
    for worker in (0, 1):
        with pytest.raises(RuntimeError, match=f"process {worker}.*(?s:.*)no {worker}"):
            next(iterator)
    del iterator

    class NoIterator(IterableDataset):
        def __iter__(self):
            raise ValueError("none")

    with pytest.raises(ValueError, match="none"):
        list(loader(NoIterator()))


def test_an_iterator_that_breaks_ends():
    class Breaks(IterableDataset):
        def __iter__(self):
            yield 1
            raise ValueError

    iterator = iter(loader(Breaks(), 1))
    assert next(iterator) == 1
    with pytest.raises(ValueError):
        next(iterator)
    assert list(iterator) == []


@pytest.mark.parametrize("act, error, match", [
    (samples.unpicklable, (AttributeError, pickle.PicklingError), "local"),
    (samples.history, RuntimeError, "detach"),
])
def test_batches_that_cannot_be_sent(act, error, match):
    with pytest.raises(error, match=match):
        list(loader(Numbers(2, act)))


@pytest.mark.parametrize("act, how", [
    (samples.die, "killed by signal SIGKILL"),
    (samples.leave, "exit code 3"),
    (samples.leave_kindly, "exit code 3"),
])
def test_a_worker_that_dies(act, how):
    def second(i):
        return act(i) if i == 1 else i

    iterator = iter(loader(Numbers(6, second)))
    pids = [w.process.pid for w in iterator._workers]
    assert next(iterator) == 0  # what has come is not lost
    pattern = rf"DataLoader worker \(pid\(s\) {pids[1]}\) exited unexpectedly: {how}"
    for _ in range(2):
        with pytest.raises(RuntimeError, match=pattern):
            next(iterator)
    assert multiprocessing.active_children() == []


def test_persistent_workers_are_made_anew_after_a_death(tmp_path):
    mark = tmp_path / "mark"

    def once(i):
        if i == 1 and not mark.exists():
            mark.touch()
            samples.die(i)
        return i

    kept = loader(Numbers(4, once), persistent_workers=True)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(kept)
    assert list(kept) == [0, 1, 2, 3]


def test_timeout(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match="timed out after 0.3 seconds"):
        list(loader(Numbers(2, samples.sleep), timeout=0.3))


def test_a_context_object_and_a_process_that_cannot_start():
    context = multiprocessing.get_context("fork")
    assert list(loader(Numbers(2), multiprocessing_context=context)) == [0, 1]
    with pytest.raises((AttributeError, pickle.PicklingError)):
        list(loader(Numbers(2, lambda i: i), multiprocessing_context="spawn"))


def test_no_requests_ahead_are_refused():
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        iter(loader(Numbers(2), prefetch_factor=0))


# The end


@pytest.mark.parametrize("leave", ["break", "del", "exception", "exhaustion", "loader"])
def test_workers_end_with_their_iterator(leave):
    kept = loader(Numbers(100), persistent_workers=leave == "loader")
    iterator = iter(kept)
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    reference = weakref.ref(iterator)
    if leave == "exhaustion":
        list(iterator)
        assert multiprocessing.active_children() == []  # at once, not when collected
    elif leave == "exception":
        try:
            for _ in iterator:
                raise ValueError
        except ValueError:
            pass
    elif leave == "break":
        for _ in iterator:
            break
    del kept, iterator
    assert reference() is None  # by counting alone: there is no cycle
    assert multiprocessing.active_children() == []


def test_workers_end_although_an_exception_of_theirs_is_kept():
    iterator = iter(loader(Numbers(4, Raises(ValueError("boo"), at=0))))
    with pytest.raises(ValueError) as caught:
        next(iterator)
    reference = weakref.ref(iterator)
    del iterator
    caught.value.__traceback__ = None
    del caught
    assert reference() is None


def test_slow_workers_are_ended_by_force(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.1)

    def stubborn(i):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return samples.sleep(i) if i else i

    iterator = iter(loader(Numbers(4, stubborn)))
    assert next(iterator) == 0
    del iterator
    assert multiprocessing.active_children() == []


def test_loading_in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.extend(loader(Numbers(5))))
    thread.start()
    thread.join(30)
    assert found == [0, 1, 2, 3, 4]


def test_a_forked_process_does_not_stop_our_workers():
    iterator = iter(loader(Numbers(50)))
    next(iterator)
    child = os.fork()
    if not child:
        del iterator
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert list(iterator) == list(range(1, 50))


PROGRAM = """
import sys, time
sys.path[:0] = {path}
from data import samples
from iskra.utils.data import DataLoader

def slow(i):
    time.sleep(0.01 if i < 4 else {seconds})
    return i

if __name__ == "__main__":
    loader = DataLoader(samples.Numbers(10**6, slow), num_workers=2, batch_size=None)
    iterator = iter(loader)
    next(iterator)
    print(*[w.process.pid for w in iterator._workers], flush=True)
    {act}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("act, seconds, number, code, tracebacks", [
    ("list(iterator)", 0.01, signal.SIGINT, -signal.SIGINT, 1),
    ("list(iterator)", 60, signal.SIGINT, -signal.SIGINT, 1),
    ("list(iterator)", 0.01, signal.SIGTERM, -signal.SIGTERM, 0),
    ("list(iterator)", 0.01, signal.SIGKILL, -signal.SIGKILL, 0),
    ("sys.exit(0)", 0.01, None, 0, 0),
    ("raise ValueError", 0.01, None, 1, 1),
    ("import os; os._exit(4)", 0.01, None, 4, 0),
])
def test_workers_end_with_the_program(act, seconds, number, code, tracebacks):
    root = Path(__file__).resolve().parents[2]
    text = PROGRAM.format(
        path=[str(root / "src"), str(root / "tests")], act=act, seconds=seconds)
    program = subprocess.Popen(
        [sys.executable, "-c", text], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pids = program.stdout.readline().split()
    if number == signal.SIGINT:
        time.sleep(0.2)
        os.killpg(program.pid, number)  # as a terminal does: to all of them
    elif number:
        program.send_signal(number)
    _, errors = program.communicate(timeout=30)
    assert program.returncode == code, errors
    assert errors.count("Traceback") == tracebacks, errors
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
