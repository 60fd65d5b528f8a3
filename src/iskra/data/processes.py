"""Iterating over a loader whose workers are processes."""

import itertools
import multiprocessing
import os
import pickle
import selectors
import signal
import time
import weakref

from iskra.data.channel import Channel
from iskra.data.failure import ExceptionWrapper
from iskra.data.handover import MOST_HELD, Receiver
from iskra.data.iteration import LoaderIterator
from iskra.data.worker import END, FAILURE, Job, run, split_meta

LOOK_AROUND = 5.0  # seconds between looks whether all workers are still there
PATIENCE = 5.0  # seconds that workers have to finish what they do when they are no longer needed
HURRY = 0.2  # the same when Ctrl-C was pressed while they were waited for


class Worker:
    """The loader's view of one worker: its process, its line and what it owes."""

    def __init__(self, context, job, most_held):
        self.id = job.id
        self.receiver = Receiver(most_held)
        self.channel, sock = Channel.pair()
        self.process = context.Process(target=run, args=(job, sock), daemon=True)
        try:
            with _interrupts_held_back():  # until the worker has said what Ctrl-C is to do to it
                self.process.start()
        except BaseException:
            self.channel.close()
            raise
        finally:
            sock.close()
        self.has_ended = False  # an iterable dataset's samples are used up
        self.owes = 0
        self.patience = PATIENCE
        self.is_lost = False  # it has died

    def request(self, epoch, task, keys):
        self.owes += 1
        if not self.is_lost:
            self.channel.send(pickle.dumps((epoch, task, keys, self.receiver.returned())))


class _interrupts_held_back:
    """SIGINT waits until the end of this block, also in processes that are started in it."""

    def __enter__(self):
        if hasattr(signal, "pthread_sigmask"):
            self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *exception):
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def stop(workers, owner):
    """End all workers and wait for them: kindly, then by force. Only their parent may."""
    for worker in workers:
        worker.channel.close()
    if os.getpid() != owner:
        workers.clear()
        return
    _join(workers, min((worker.patience for worker in workers), default=0))
    for force in ("terminate", "kill"):
        running = [worker for worker in workers if worker.process.is_alive()]
        for worker in running:
            getattr(worker.process, force)()
        _join(running, 1)
    for worker in workers:
        if not worker.process.is_alive():
            worker.process.close()
    workers.clear()


def _join(workers, seconds):
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.process.join(max(0, deadline - time.monotonic()))


class MultiProcessIterator(LoaderIterator):
    """Asks workers for batches ahead of time and gives them out in order.

    Requests go round to the workers in turn. Whether it ends by exhaustion, by an error, by being
    dropped or with the interpreter: the workers end with it.
    """

    _has_workers = True

    def __init__(self, loader):
        if loader.prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for workers to load ahead")
        super().__init__(loader)
        self._timeout = loader.timeout
        self._in_order = loader.in_order
        self._persistent = loader.persistent_workers
        self._most_requests = loader.prefetch_factor * loader.num_workers
        self._workers = []
        # Holds the list, not the iterator; also called at the interpreter's exit.
        self._stop = weakref.finalize(self, stop, self._workers, os.getpid())
        context = loader.multiprocessing_context or multiprocessing.get_context()
        for i in range(loader.num_workers):
            job = Job(
                id=i, num_workers=loader.num_workers, base_seed=self._base_seed,
                dataset=loader.dataset, iterable=self._is_iterable,
                batched=loader._auto_collation, collate_fn=loader.collate_fn,
                drop_last=loader.drop_last, init_fn=loader.worker_init_fn,
            )
            self._workers.append(Worker(context, job, max(2, MOST_HELD // loader.num_workers)))
        self._epoch = 0
        self._broken = None  # why there will be no more batches
        self._begin()

    @property
    def is_stopped(self):
        """Whether the workers are gone."""
        return not self._stop.alive

    def restart(self, loader):
        """Begin anew with the same workers."""
        self._reset(loader)
        self._epoch += 1  # what workers still owe of the last pass will be thrown away
        self._begin()

    def _begin(self):
        self._next_task = 0  # the number of the next request
        self._wanted = 0  # the number of the batch to give out next
        self._who = {}  # number of a request not yet answered -> its worker
        self._arrived = {}  # number -> (kind, batch or failure), answers not yet given out
        self._turn = itertools.cycle(self._workers)
        for worker in self._workers:
            worker.has_ended = False
            worker.owes = 0
        for _ in range(self._most_requests):
            self._request()

    def _request(self):
        """Ask the worker whose turn it is for one more batch."""
        try:
            keys = next(self._keys)
        except StopIteration:
            return
        worker = self._choose_worker()
        if worker is None:
            return
        task = self._next_task
        self._next_task += 1
        self._who[task] = worker
        worker.request(self._epoch, task, keys)

    def _choose_worker(self):
        active = sum(not worker.has_ended for worker in self._workers)
        for worker in itertools.islice(self._turn, len(self._workers)):
            if worker.has_ended:
                continue
            # In any order, a slow worker is passed over when it has its share of requests.
            if self._in_order or worker.owes < self._most_requests // active:
                return worker
        return None

    def _next_batch(self):
        if self._broken is not None:
            raise RuntimeError(self._broken)
        while True:
            task = self._next_arrived()
            if task is not None:
                kind, result = self._arrived.pop(task)
                self._request()
                if kind == FAILURE:
                    result.reraise()
                return result
            if not self._who:
                self._finish()
                raise StopIteration
            self._wait()

    def _next_arrived(self):
        """The number of the answer to give out now, or None."""
        if not self._in_order:
            return next(iter(self._arrived), None)
        while self._wanted < self._next_task:
            if self._wanted in self._arrived:
                self._wanted += 1
                return self._wanted - 1
            if self._wanted in self._who:
                return None
            self._wanted += 1  # a worker whose samples are used up does not answer
        return None

    def _finish(self):
        if not self._persistent:
            self._stop()

    def _wait(self):
        """Wait until something has come; RuntimeError if it cannot, or the time is over."""
        self._check_lost()
        deadline = time.monotonic() + self._timeout if self._timeout > 0 else None
        try:
            while not self._look(LOOK_AROUND if deadline is None else deadline - time.monotonic()):
                if deadline is not None and time.monotonic() >= deadline:
                    self._stop_and_raise(
                        f"DataLoader timed out after {self._timeout} seconds waiting for its "
                        "workers"
                    )
        except KeyboardInterrupt:
            for worker in self._workers:
                worker.patience = HURRY
            raise

    def _check_lost(self):
        """Raise RuntimeError where what is waited for was asked of a worker that has died.

        Not before: so which batches come before the error does not depend on who was quicker.
        """
        if self._in_order:
            owing = [self._who[self._wanted]]
        else:
            owing = self._who.values()
        if all(worker.is_lost for worker in owing):
            self._raise_lost()

    def _look(self, seconds):
        """Take in what has come within that time; whether anything has, be it a worker's end."""
        with _Selector() as selector:
            for worker in self._workers:
                if not worker.is_lost:
                    selector.register(worker.channel, selectors.EVENT_READ, worker)
                    worker.channel.flush()
            ready = [key.data for key, _ in selector.select(max(0, min(seconds, LOOK_AROUND)))]
        if ready:
            found = [self._take_in(worker) for worker in ready]
            return any(found)
        # A line may be held open by a process that a dead worker started: look at the workers too.
        gone = [w for w in self._workers if not (w.is_lost or w.process.is_alive())]
        for worker in gone:
            self._take_in(worker)
            worker.is_lost = True
        return bool(gone)

    def _take_in(self, worker):
        """Take in all that this worker has sent; whether there was anything, or its end."""
        found = False
        try:
            while (message := worker.channel.receive()) is not None:
                self._note(worker, *message)
                found = True
        except EOFError:
            worker.is_lost = found = True
        return found

    def _note(self, worker, message, file):
        (epoch, task, kind, how), data = split_meta(message)
        try:
            result = worker.receiver.unpack(how, data, file)
        except Exception:
            kind, result = FAILURE, ExceptionWrapper("while taking over a batch from a worker")
        if epoch != self._epoch:
            return
        worker.owes -= 1
        del self._who[task]
        if kind != END:
            self._arrived[task] = kind, result
            return
        # What was asked of it beyond its end is not going to be answered.
        worker.has_ended = True
        for other in [n for n, who in self._who.items() if who is worker]:
            del self._who[other]
        self._request()

    def _raise_lost(self):
        lost = [worker for worker in self._workers if worker.is_lost]
        for worker in lost:
            worker.process.join(PATIENCE)
        pids = ", ".join(str(worker.process.pid) for worker in lost)
        how = "; ".join(sorted({_manner(worker.process.exitcode) for worker in lost}))
        self._stop_and_raise(
            f"DataLoader worker (pid(s) {pids}) exited unexpectedly: {how}. With num_workers=0 the "
            "error may show where it happens"
        )

    def _stop_and_raise(self, message):
        self._broken = message
        self._stop()
        raise RuntimeError(message)


_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def _manner(code):
    """How a process ended, in words."""
    if code is None:
        return "it closed its line"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"killed by signal {name}{hint}"


