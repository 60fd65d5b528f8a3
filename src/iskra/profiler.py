"""``iskra.profiler``: how often operators run in a block, and how long they take.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

import enum
import functools
import gzip
import json
import os
import socket
import threading
import time
from collections import namedtuple

from iskra.core.local import local
from iskra.dispatch import Interceptor

__all__ = [
    "ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """What is profiled; everything runs on the CPU."""

    CPU = 0
    CUDA = 2


class ProfilerAction(enum.Enum):
    """What a profile does in one step; see `schedule`."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def schedule(*, wait, warmup, active, repeat=0, skip_first=0, skip_first_wait=0):
    """Return a function from step numbers to `ProfilerAction`, for ``profile(schedule=...)``.

    After `skip_first` steps come cycles of `wait` steps without recording, `warmup` steps, and
    `active` steps that are recorded; `repeat` cycles, or cycles without end for 0. With
    `skip_first_wait` the first cycle does not wait. Raises AssertionError for what is no schedule.
    Source: https://docs.pytorch.org/docs/stable/profiler.html#torch.profiler.schedule

    >>> import iskra as torch
    >>> plan = torch.profiler.schedule(wait=1, warmup=0, active=2, repeat=1)
    >>> [plan(step).name for step in range(4)]
    ['NONE', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, active - 1, repeat, skip_first) < 0:
        raise AssertionError(
            "Invalid profiler schedule arguments: active must be positive, the others not negative"
        )
    cycle = wait + warmup + active

    def action(step):
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        number, place = divmod(step - skip_first + (wait if skip_first_wait else 0), cycle)
        if repeat and number >= repeat:
            return ProfilerAction.NONE
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return _RECORDING[place == cycle - 1]

    return action


def tensorboard_trace_handler(
    dir_name, worker_name=None, use_gzip=False, use_python_export=False
):
    """Return an `on_trace_ready` that writes each trace to a file of its own in `dir_name`.

    The files are named as TensorBoard's profiler plugin wants it, after the worker: by default the
    host and the process.
    Source: https://docs.pytorch.org/docs/stable/profiler.html#torch.profiler.tensorboard_trace_handler
    """

    def handle(prof):
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handle


_Event = namedtuple("_Event", "name begin end inside shapes thread")
_Event.__doc__ = "One timed call: seconds on one clock, and those spent in calls inside it."


class profile(Interceptor):
    """Count and time the operators that this thread runs in a block.

    With `record_shapes`, the tensors' shapes are noted, for ``key_averages(group_by_input_shape=
    True)``. Composite operators are one event. `activities` and the other settings of PyTorch's
    are accepted; `on_trace_ready` is called with the profile when the block ends.

    schedule: a function (see `schedule`) that tells for each step, which `step` ends, whether it is
    recorded. Then `on_trace_ready` is called at the end of each cycle, with that cycle's events.

    Source: https://docs.pytorch.org/docs/stable/profiler.html#torch.profiler.profile

    >>> import iskra as torch
    >>> with torch.profiler.profile() as prof:
    ...     y = torch.ones(2).exp().exp()
    >>> [(event.key, event.count) for event in prof.key_averages()]
    [('ones', 1), ('exp', 2)]
    """

    watches = True

    def __init__(
        self, *, activities=None, schedule=None, on_trace_ready=None, record_shapes=False,
        profile_memory=False, with_stack=False, with_flops=False, with_modules=False,
    ):
        self._ready = on_trace_ready
        self._schedule = schedule
        self.step_num = 0
        self._act(ProfilerAction.RECORD if schedule is None else schedule(0))
        self._shapes = record_shapes
        self._events = []
        self._inside = [0.0]  # seconds spent in calls inside the open ones, innermost last

    def __exit__(self, *exception):
        super().__exit__(*exception)
        if self._recording:
            self._save()

    def _act(self, action):
        self._action = action
        self._recording = action in _RECORDING

    def _save(self):
        if self._ready is not None:
            self._ready(self)

    def start(self):
        """Begin, as entering the block does."""
        self.__enter__()

    def stop(self):
        """End, as leaving the block does."""
        self.__exit__(None, None, None)

    def step(self):
        """Note that a step of the program has ended; without a schedule all are recorded."""
        self.step_num += 1
        if self._schedule is None:
            return
        before = self._action
        if before is ProfilerAction.RECORD_AND_SAVE:
            self._save()
        self._act(self._schedule(self.step_num))
        if self._recording and before is not ProfilerAction.RECORD:
            self._events.clear()

    def intercept(self, op, args, kwargs):
        if not self._recording:
            return op.public(*args, **kwargs)
        with self._timed(op.name, args):
            return op.public(*args, **kwargs)

    def _timed(self, name, args=()):
        shapes = [list(getattr(a, "shape", ())) for a in args] if self._shapes else None
        return _Timed(self, name, shapes)

    def events(self):
        """The timed calls, in the order in which they ended."""
        return list(self._events)

    def key_averages(self, group_by_input_shape=False):
        """The timed calls summed by name (and shapes), as an `Averages`."""
        groups = {}
        for event in sorted(self._events, key=lambda e: e.begin):
            shapes = event.shapes if group_by_input_shape else None
            key = (event.name, str(shapes))
            group = groups.setdefault(key, _Average(event.name, shapes))
            group.add(event)
        return Averages(groups.values())

    def export_chrome_trace(self, path):
        """Write the events as JSON for ``chrome://tracing`` or Perfetto; ``.gz`` compresses it."""
        events = [
            {
                "ph": "X", "name": e.name, "pid": os.getpid(), "tid": e.thread,
                "ts": e.begin * 1e6, "dur": (e.end - e.begin) * 1e6,
            }
            for e in self._events
        ]
        write = gzip.open if str(path).endswith(".gz") else open
        with write(path, "wt", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)


class _Timed:
    """Times one block for a profile."""

    def __init__(self, owner, name, shapes):
        self._owner, self._name, self._shapes = owner, name, shapes

    def __enter__(self):
        self._owner._inside.append(0.0)
        self._begin = time.perf_counter()

    def __exit__(self, *exception):
        end = time.perf_counter()
        owner = self._owner
        inside = owner._inside.pop()
        owner._inside[-1] += end - self._begin
        owner._events.append(
            _Event(self._name, self._begin, end, inside, self._shapes, threading.get_ident())
        )


class _Average:
    """What the calls under one name come to; times in microseconds."""

    def __init__(self, key, shapes):
        self.key, self.input_shapes = key, shapes
        self.count = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0

    def add(self, event):
        self.count += 1
        self.cpu_time_total += (event.end - event.begin) * 1e6
        self.self_cpu_time_total += (event.end - event.begin - event.inside) * 1e6

    @property
    def cpu_time(self):
        """The mean time of a call."""
        return self.cpu_time_total / self.count


class Averages(list):
    """Sums by name, in the order of the first calls: `key`, `count`, `cpu_time_total` ..."""

    def total_average(self):
        """The sum of all, without counting the time of inner calls twice."""
        total = _Average("Total", None)
        for row in self:
            total.count += row.count
            total.cpu_time_total += row.self_cpu_time_total
            total.self_cpu_time_total += row.self_cpu_time_total
        return total

    def table(self, sort_by=None, row_limit=100, max_name_column_width=55):
        """A printable table; `sort_by` names a field: "cpu_time_total", "count" ...

        Raises AttributeError for an unknown field.
        """
        rows = list(self)
        if sort_by is not None:
            rows.sort(key=lambda row: getattr(row, sort_by), reverse=True)
        total = sum(row.self_cpu_time_total for row in rows)
        head = ("Name", "Self CPU %", "Self CPU", "CPU total", "CPU time avg", "# of Calls")
        lines = [head] + [
            (
                row.key[:max_name_column_width],
                f"{100 * row.self_cpu_time_total / total if total else 0:.2f}%",
                _duration(row.self_cpu_time_total), _duration(row.cpu_time_total),
                _duration(row.cpu_time), str(row.count),
            )
            for row in (rows if row_limit < 0 else rows[:row_limit])
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        rule = "  ".join("-" * width for width in widths)
        text = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
        return "\n".join(
            [rule, text[0], rule, *text[1:], rule, f"Self CPU time total: {_duration(total)}", ""]
        )


def _duration(microseconds):
    for limit, unit in ((1e6, "s"), (1e3, "ms")):
        if microseconds >= limit:
            return f"{microseconds / limit:.3f}{unit}"
    return f"{microseconds:.3f}us"


class record_function:
    """Name a block, or the decorated function, in the profiles that are active.

    >>> import iskra as torch
    >>> with torch.profiler.profile() as prof:
    ...     with torch.profiler.record_function("mine"):
    ...         y = torch.ones(2)
    >>> sorted(event.key for event in prof.key_averages())
    ['mine', 'ones']
    """

    def __init__(self, name, args=None):
        self.name = name
        self._open = []

    def __enter__(self):
        profiles = [i for i in local.interceptors if isinstance(i, profile)]
        timed = [p._timed(self.name) for p in profiles if p._recording]
        self._open.append(timed)
        for block in timed:
            block.__enter__()
        return self

    def __exit__(self, *exception):
        for block in reversed(self._open.pop()):
            block.__exit__(*exception)

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with record_function(self.name):
                return function(*args, **kwargs)

        return wrapper
