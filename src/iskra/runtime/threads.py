"""How many threads kernels run on, and the pool that runs them.

Results never depend on the number of threads: kernels are split into tasks by shape alone.
"""

import contextlib
import ctypes
import math
import os
from pathlib import Path

from iskra.runtime import jit, pool_ir

# As many as the pool's counters hold.
_MOST = 4096
# Turns of waiting before a worker parks, a millisecond or so: longer than Python takes from one
# large kernel to the next. After the first of them the worker gives way to other threads.
_SPIN = pool_ir.EAGER + 1000


class _Pool:
    """What there is one of in a process: each is None until it is needed."""

    threads = None      # the number of threads
    code = None         # the pool's code
    forks = 0           # how many forks lie between this process and the first one


def get_num_threads():
    """Return the number of threads that kernels may use, the calling one included.

    At first: what OMP_NUM_THREADS says; else the number of cores that this process may run on
    (its CPU affinity, two hyper-threads counting as one core), within its cgroup's CPU quota.
    """
    if _Pool.threads is None:
        _Pool.threads = default_num_threads()
    return _Pool.threads


def set_num_threads(threads):
    """Let kernels use `threads` threads from now on, the calling one included.

    Raises TypeError unless it is an int, RuntimeError unless it is positive.
    """
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(threads).__name__}")
    if threads < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {threads}")
    _Pool.threads = min(threads, _MOST)
    if _Pool.code is not None:
        _tell(_Pool.code)


def pool():
    """Return the loaded pool (`jit.Code`), without any worker yet.

    Its functions, for other JIT code to declare and call (pass their addresses to `jit.load` as
    symbols): ``void pool_run(ptr kernel, ptr slots, i64 tasks)`` and ``pool_run_polled``, which
    `pool_ir` describes.
    """
    if _Pool.code is None:
        with jit.lock:
            if _Pool.code is None:
                code = jit.load(pool_ir.pool_ir())
                _reset(code)
                _tell(code)
                os.register_at_fork(after_in_child=_after_fork)
                _Pool.code = code
    return _Pool.code


def _tell(code):
    state = code.address("pool")
    ctypes.c_int32.from_address(state + pool_ir.SPIN).value = _SPIN
    ctypes.c_int32.from_address(state + pool_ir.THREADS).value = get_num_threads()


def _reset(code):
    ctypes.PYFUNCTYPE(None, ctypes.c_int32)(code.address("pool_reset"))(_Pool.forks)


def _after_fork():
    _Pool.forks += 1
    _reset(_Pool.code)


def default_num_threads(environment=os.environ, system=Path("/")):
    """Return the number of threads for these environment variables and this root folder."""
    with contextlib.suppress(ValueError):
        # The first of a list, one number for each level of nesting.
        asked = int(environment.get("OMP_NUM_THREADS", "").split(",")[0])
        if asked > 0:
            return min(asked, _MOST)
    quota = cpu_quota(system)
    return max(1, math.ceil(min(cores(system), quota, _MOST)))


def cores(system=Path("/")):
    """The number of cores among the CPUs that this process may run on."""
    try:
        cpus = os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return os.cpu_count() or 1
    siblings = set()
    for cpu in cpus:
        path = system / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            siblings.add(cpu)
    return max(1, len(siblings))


def cpu_quota(system=Path("/")):
    """The CPUs' worth of time that this process's control groups (v2, v1) allow; may be inf."""
    quota = math.inf
    for folder in _groups(system):
        for read in (_quota_v2, _quota_v1):
            with contextlib.suppress(OSError, ValueError, IndexError, ZeroDivisionError):
                quota = min(quota, read(folder))
    return quota if quota > 0 else math.inf


def _quota_v2(folder):
    limit, period = (folder / "cpu.max").read_text().split()[:2]
    return math.inf if limit == "max" else int(limit) / int(period)


def _quota_v1(folder):
    limit = int((folder / "cpu.cfs_quota_us").read_text())
    return math.inf if limit < 0 else limit / int((folder / "cpu.cfs_period_us").read_text())


def _groups(system):
    """The folders of this process's control groups and of all groups around them."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    lines.append("0::/")                # inside a container one's own group is often the root
    lines.append("0:cpu:/")
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        tops = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct") if controllers else (
            "sys/fs/cgroup",)
        for top in tops:
            folder = system / top
            yield folder
            for part in Path(name.lstrip("/")).parts:
                folder = folder / part
                yield folder
