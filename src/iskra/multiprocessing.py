"""``iskra.multiprocessing``: the standard library's, and `spawn`.

Source: https://docs.pytorch.org/docs/stable/multiprocessing.html
"""

import multiprocessing
import multiprocessing.connection
import os
import sys
import traceback
from multiprocessing import *  # noqa: F403

__all__ = multiprocessing.__all__ + [
    "ProcessContext", "ProcessExitedException", "ProcessRaisedException",
    "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn",
    "start_processes",
]


class ProcessException(Exception):
    """A process that `spawn` started has failed; `error_index` says which, `error_pid` its id."""

    def __init__(self, message, error_index, error_pid):
        super().__init__(message)
        self.msg = message
        self.error_index = error_index
        self.error_pid = error_pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.error_pid)


class ProcessRaisedException(ProcessException):
    """A process has raised an exception; the message holds its traceback."""


class ProcessExitedException(ProcessException):
    """A process has ended with a status other than 0, or by a signal."""

    def __init__(self, message, error_index, error_pid, exit_code, signal_name=None):
        super().__init__(message, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self):
        arguments = (self.msg, self.error_index, self.error_pid, self.exit_code, self.signal_name)
        return type(self), arguments


class ProcessContext:
    """The processes that `spawn` has started, for those who do not let it wait for them."""

    def __init__(self, processes, reports):
        self.processes = processes
        self._reports = reports
        self._running = {process.sentinel: i for i, process in enumerate(processes)}

    def pids(self):
        """The ids of the processes."""
        return [process.pid for process in self.processes]

    def join(self, timeout=None):
        """Wait until a process ends. True when all have ended well, False when some still run.

        Ends all processes where one fails, and raises ProcessRaisedException or
        ProcessExitedException.
        """
        ended = multiprocessing.connection.wait(list(self._running), timeout)
        for sentinel in ended:
            index = self._running.pop(sentinel)
            process = self.processes[index]
            process.join()
            if process.exitcode != 0:
                self._fail(index, process)
        return not self._running

    def _fail(self, index, process):
        for other in self.processes:
            if other.is_alive():
                other.terminate()
        for other in self.processes:
            other.join()
        try:
            report = self._reports[index].recv()
        except EOFError:  # it could not even say why
            report = None
        if report is not None:
            message = f"\n\n-- Process {index} terminated with the following error:\n"
            raise ProcessRaisedException(message + report, index, process.pid)
        code = process.exitcode
        name = _signal_name(-code) if code < 0 else None
        how = f"by signal {name}" if name else f"with exit code {code}"
        raise ProcessExitedException(
            f"process {index} terminated {how}", index, process.pid, code, name
        )


def _signal_name(number):
    module = sys.modules["signal"]  # multiprocessing has loaded it
    try:
        return module.Signals(number).name
    except ValueError:
        return str(number)


def _child(function, index, arguments, report):
    try:
        function(index, *arguments)
    except KeyboardInterrupt:
        pass  # the parent got it as well
    except Exception:
        report.send(traceback.format_exc())
        sys.stdout.flush()
        os._exit(1) if os.name == "posix" else sys.exit(1)


def start_processes(
    fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"
):
    """Run ``fn(index, *args)`` in `nprocs` processes; see `spawn`."""
    context = multiprocessing.get_context(start_method)
    processes, reports = [], []
    for index in range(nprocs):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(fn, index, args, send), daemon=daemon)
        process.start()
        send.close()
        processes.append(process)
        reports.append(receive)
    running = ProcessContext(processes, reports)
    if not join:
        return running
    while not running.join():
        pass
    return None


def spawn(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Run ``fn(index, *args)`` in `nprocs` new processes, with `index` from 0.

    With ``join=False``, return a `ProcessContext` at once. Where one process fails, the others
    are ended, and ProcessRaisedException (with the process's traceback) or
    ProcessExitedException is raised.
    Source: https://docs.pytorch.org/docs/stable/multiprocessing.html#spawning-subprocesses
    """
    return start_processes(fn, args, nprocs, join, daemon, start_method)


def get_all_sharing_strategies():
    """How tensors' memory is shared between processes: one way only, by named files."""
    return {"file_system"}


def get_sharing_strategy():
    """The strategy in use."""
    return "file_system"


def set_sharing_strategy(new_strategy):
    """Accepts PyTorch's names, and changes nothing.

    Raises ValueError for others.
    """
    if new_strategy not in ("file_system", "file_descriptor"):
        raise ValueError(f"set_sharing_strategy: no strategy {new_strategy!r}")
