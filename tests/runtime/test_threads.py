"""The thread pool: every task once, whoever calls, whatever else happens."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import iskra
from iskra.runtime import jit, native, pool_ir, threads

KERNELS = """
declare i32 @usleep(i32)
declare i32 @sched_yield()
declare ptr @pthread_self()
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare void @pool_run(ptr, ptr, i64)

define void @mark(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %at = getelementptr i64, ptr %out, i64 %task
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  ret void
}

define void @mark_slowly(ptr %slots, i64 %task) {
  call i32 @usleep(i32 1000)
  call void @mark(ptr %slots, i64 %task)
  ret void
}

; Every task says who runs it.
define void @sign(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %at = getelementptr ptr, ptr %out, i64 %task
  call i32 @usleep(i32 2000)
  %self = call ptr @pthread_self()
  store ptr %self, ptr %at
  ret void
}

; Waits, for at most some seconds, until as many tasks are under way as the second slot says;
; counts those that saw it.
define void @meet(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %count.at = getelementptr i64, ptr %slots, i64 1
  %count = load i64, ptr %count.at
  %met.at = getelementptr i64, ptr %out, i64 1
  atomicrmw add ptr %out, i64 1 seq_cst
  br label %look
look:
  %turn = phi i64 [ 0, %0 ], [ %turn.next, %wait ]
  %here = load atomic i64, ptr %out acquire, align 8
  %all = icmp sge i64 %here, %count
  br i1 %all, label %met, label %more
more:
  %patient = icmp slt i64 %turn, 50000
  br i1 %patient, label %wait, label %done
wait:
  call i32 @usleep(i32 100)
  %turn.next = add i64 %turn, 1
  br label %look
met:
  atomicrmw add ptr %met.at, i64 1 seq_cst
  ret void
done:
  ret void
}

; The tasks in the order in which they begin; every one waits as in @meet.
define void @queue(ptr %slots, i64 %task) {
  %order.at = getelementptr i64, ptr %slots, i64 2
  %order = load ptr, ptr %order.at
  %out = load ptr, ptr %slots
  %begun.at = getelementptr i64, ptr %out, i64 2
  %begun = atomicrmw add ptr %begun.at, i64 1 seq_cst
  %at = getelementptr i64, ptr %order, i64 %begun
  store i64 %task, ptr %at
  call void @meet(ptr %slots, i64 %task)
  ret void
}

; Each task is a launch of its own: eight tasks at an eighth of the array.
define void @nest(ptr %slots, i64 %task) {
  %own = alloca ptr
  %out = load ptr, ptr %slots
  %first = mul i64 %task, 8
  %part = getelementptr i64, ptr %out, i64 %first
  store ptr %part, ptr %own
  call void @pool_run(ptr @mark, ptr %own, i64 8)
  ret void
}

; The signals that the running thread blocks, 16 words for each task.
define void @blocked(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %first = mul i64 %task, 16
  %at = getelementptr i64, ptr %out, i64 %first
  call i32 @usleep(i32 2000)
  call i32 @pthread_sigmask(i32 0, ptr null, ptr %at)
  ret void
}

; 1e-30 * 1e-10 as a float: a denormal number, or 0 where these are flushed.
define void @denormal(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %at = getelementptr float, ptr %out, i64 %task
  call i32 @usleep(i32 2000)
  %x = load volatile float, ptr @tiny
  %y = load volatile float, ptr @small
  %product = fmul float %x, %y
  store float %product, ptr %at
  ret void
}
@tiny = internal global float 0x39B4484C00000000
@small = internal global float 0x3DDB7CE000000000
"""


def make(kernel, kinds="an"):
    symbols = {"pool_run": threads.pool().address("pool_run")}
    return native.builtin(kernel, jit.load(KERNELS, symbols).address(kernel), kinds)


@pytest.fixture(autouse=True)
def as_before():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def workers():
    state = threads.pool().address("pool")
    return ctypes.c_int32.from_address(state + pool_ir.STARTED).value


def asleep():
    state = threads.pool().address("pool")
    return ctypes.c_int32.from_address(state + pool_ir.SLEEPERS).value


def wait_until_parked():
    for _ in range(1000):
        if asleep() == workers():
            return
        time.sleep(0.005)
    raise AssertionError(f"{asleep()} of {workers()} workers are parked")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_task_runs_once(count):
    threads.set_num_threads(count)
    mark = make("mark")
    for tasks in (0, 1, 2, 3, 4, 7, 8, 100, 10_000):
        out = np.zeros(tasks + 1, np.int64)
        for _ in range(20):
            mark(out, tasks)
        assert out.tolist() == [20] * tasks + [0]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_tasks_run_at_once(count):
    threads.set_num_threads(count)
    out = np.zeros(2, np.int64)
    for parked in (False, True):
        if parked:
            wait_until_parked()
        out[:] = 0
        make("meet", "ain")(out, count, count)
        assert out.tolist() == [count, count]


def test_no_more_threads_than_asked_for():
    sign = make("sign")
    for count in (1, 4, 2, 3, 1):
        threads.set_num_threads(count)
        wait_until_parked()
        out = np.zeros(100, np.uint64)
        sign(out, 100)
        assert 1 <= len(set(out.tolist())) <= count
        assert threading.get_ident() in out


def test_workers_that_are_awake_heed_the_number():
    mark, sign = make("mark"), make("sign")
    counts, out = np.zeros(100, np.int64), np.zeros(12, np.uint64)
    for _ in range(20):
        threads.set_num_threads(5)
        mark(counts, 100)
        threads.set_num_threads(2)
        sign(out, 12)
        assert len(set(out.tolist())) <= 2


def test_workers_are_made_when_needed():
    program = """
from iskra.runtime import jit, native, pool_ir, threads
import ctypes, numpy as np, os
kernel = native.builtin("f", jit.load("define void @f(ptr %s, i64 %t) { ret void }").address("f"),
                        "n")
threads.set_num_threads(5)
count = lambda: ctypes.c_int32.from_address(threads.pool().address("pool") + pool_ir.STARTED).value
for tasks in (1, 2, 3, 100, 2):
    kernel(tasks)
    print(count(), end=" ")
threads.set_num_threads(2)
kernel(100)
print(count())
"""
    assert run(program) == "0 1 2 4 4 4\n"


def test_a_nested_launch_runs_all_its_tasks():
    for count in (1, 2, 5):
        threads.set_num_threads(count)
        out = np.zeros(8 * 50, np.int64)
        make("nest")(out, 50)
        assert (out == 1).all()


def test_launches_of_several_python_threads():
    threads.set_num_threads(3)
    mark, slowly = make("mark"), make("mark_slowly")
    outs = [np.zeros(50, np.int64) for _ in range(6)]

    def work(out):
        for _ in range(50):
            mark(out, 50)
        slowly(out, 50)

    callers = [threading.Thread(target=work, args=(out,)) for out in outs]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((out == 51).all() for out in outs)


def test_signals_are_for_other_threads():
    threads.set_num_threads(3)
    out = np.zeros((30, 16), np.uint64)
    make("blocked")(out, 30)
    masks = {int(mask) for mask in out[:, 0]}
    interrupt, fault = 1 << signal.SIGINT - 1, 1 << signal.SIGSEGV - 1
    assert any(mask & interrupt for mask in masks)          # the workers'
    assert any(not mask & interrupt for mask in masks)      # the caller's
    assert not any(mask & fault for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


MODE = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define i32 @get() {
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %mode = load i32, ptr %place
  ret i32 %mode
}
define void @set(i32 %mode) {
  %place = alloca i32
  store i32 %mode, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
"""


@pytest.mark.skipif("x86_64" not in os.uname().machine, reason="sets the x86 control register")
def test_workers_treat_denormals_as_the_caller_does():
    threads.set_num_threads(3)
    denormal, code = make("denormal"), jit.load(MODE)
    get = ctypes.CFUNCTYPE(ctypes.c_int32)(code.address("get"))
    put = ctypes.CFUNCTYPE(None, ctypes.c_int32)(code.address("set"))
    out, mode = np.zeros(30, np.uint32), get()
    denormal(out, 30)
    assert len(set(out.tolist())) == 1
    assert out[0]
    put(mode | 0x8040)
    try:
        denormal(out, 30)
    finally:
        put(mode)
    assert not out.any()
    denormal(out, 30)
    assert out.all()


def test_the_child_of_a_fork_has_its_own_pool():
    threads.set_num_threads(3)
    mark = make("mark")
    out = np.zeros(1000, np.int64)
    mark(out, 1000)
    for _ in range(3):
        child = os.fork()
        if not child:
            fresh = workers() == 0 and threads.get_num_threads() == 3
            mark(out, 1000)
            met = np.zeros(2, np.int64)
            make("meet", "ain")(met, 3, 3)
            os._exit(0 if fresh and (out == 2).all() and met[1] == 3 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        mark(out, 1000)
        out -= 1
    assert (out == 1).all()


def test_a_fork_while_kernels_run():
    threads.set_num_threads(3)
    mark, slowly = make("mark"), make("mark_slowly")
    busy, stop, out = np.zeros(100, np.int64), threading.Event(), np.zeros(1000, np.int64)

    def work():
        while not stop.is_set():
            slowly(busy, 100)
            mark(busy, 100)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            time.sleep(0.003)
            child = os.fork()
            if not child:
                mark(out, 1000)
                met = np.zeros(2, np.int64)
                make("meet", "ain")(met, 3, 3)
                os._exit(0 if (out == 1).all() and met[1] == 3 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        worker.join()
    assert len(set(busy.tolist())) == 1


def test_threads_share_parts_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(pool_ir, "MOST_RANGES", 3)
    code, launch = own_pool(pool_ir.pool_ir(), spin=100)
    kernels = jit.load(KERNELS, {"pool_run": code.address("pool_run")})
    for tasks in (1, 2, 3, 4, 100):
        out = np.zeros(tasks, np.int64)
        for _ in range(20):
            launch(kernels.address("mark"), (ctypes.c_int64 * 1)(out.ctypes.data), tasks)
        assert (out == 20).all()


def test_threads_begin_with_parts_of_their_own():
    code, launch = own_pool(pool_ir.pool_ir(), spin=10)
    kernel = jit.load(KERNELS, {"pool_run": code.address("pool_run")}).address("queue")
    for turn in range(4):
        out, order = np.zeros(3, np.int64), np.zeros(100, np.int64)
        launch(kernel, (ctypes.c_int64 * 3)(out.ctypes.data, 4, order.ctypes.data), 100)
        assert set(order[:4].tolist()) == ({24, 49, 74, 99} if turn % 2 else {0, 25, 50, 75})
        assert sorted(order.tolist()) == list(range(100))


def test_launches_go_through_their_tasks_to_and_fro():
    threads.set_num_threads(1)
    queue, ways = make("queue", "aian"), []
    for _ in range(4):
        out, order = np.zeros(3, np.int64), np.zeros(90, np.int64)
        queue(out, 1, order, 90)
        ways.append(order.tolist())
        make("mark")(np.zeros(1, np.int64), 1)      # a single task turns nothing
    there, back = list(range(90)), list(range(90))[::-1]
    assert ways in ([there, back] * 2, [back, there] * 2)


def own_pool(text, spin):
    """A pool of its own with 4 threads: its code, and the function that launches."""
    code = jit.load(text + f"; of its own, {spin}\n")
    ctypes.CFUNCTYPE(None, ctypes.c_int32)(code.address("pool_reset"))(0)
    state = code.address("pool")
    ctypes.c_int32.from_address(state + pool_ir.SPIN).value = spin
    ctypes.c_int32.from_address(state + pool_ir.THREADS).value = 4
    return code, ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(
        code.address("pool_run"))


@pytest.mark.parametrize("futex", [False, True])
@pytest.mark.parametrize("spin", [0, 100])
def test_other_ways_of_parking(futex, spin):
    if futex and sys.platform != "linux":
        pytest.skip("futexes are Linux's")
    code, launch = own_pool(pool_ir.pool_ir(futex=futex), spin)
    kernels = jit.load(KERNELS, {"pool_run": code.address("pool_run")})
    out = np.zeros(100, np.int64)
    slots = (ctypes.c_int64 * 2)(out.ctypes.data, 4)
    for i in range(300):
        launch(kernels.address("mark"), slots, 100)
        assert (out == i + 1).all()
        if i % 100 == 0:
            time.sleep(0.01)
            met = np.zeros(2, np.int64)
            launch(kernels.address("meet"), (ctypes.c_int64 * 2)(met.ctypes.data, 4), 4)
            assert met.tolist() == [4, 4]


@pytest.mark.parametrize("ending", ["", "os._exit(0)", "sys.exit(0)", "daemon.start()"])
def test_a_process_ends_cleanly(ending):
    program = f"""
import os, sys, threading
from iskra.runtime import jit, native, threads
threads.set_num_threads(3)
code = jit.load('''
declare i32 @usleep(i32)
define void @f(ptr %s, i64 %t) {{
  call i32 @usleep(i32 300)
  ret void
}}''')
kernel = native.builtin("f", code.address("f"), "n")
kernel(100)
def forever():
    while True:
        kernel(1000)
daemon = threading.Thread(target=forever, daemon=True)
{ending}
"""
    assert run(program) == ""


def test_a_refused_thread_is_no_error():
    program = """
import ctypes, resource
from iskra.runtime import jit, native, pool_ir, threads
code = jit.load("define void @f(ptr %s, i64 %t) { ret void }")
kernel = native.builtin("f", code.address("f"), "n")
kernel(1)
threads.set_num_threads(4)
# No address space is left for stacks.
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20),) * 2)
for _ in range(3):
    kernel(100)
print(ctypes.c_int32.from_address(threads.pool().address("pool") + pool_ir.STARTED).value)
"""
    assert run(program) == "0\n"


def run(program):
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout


# How many threads.

def test_set_and_get():
    threads.set_num_threads(5)
    assert threads.get_num_threads() == iskra.get_num_threads() == 5
    iskra.set_num_threads(1)
    assert threads.get_num_threads() == 1
    threads.set_num_threads(10**9)
    assert threads.get_num_threads() == 4096


@pytest.mark.parametrize(("wrong", "error"), [
    (0, RuntimeError), (-1, RuntimeError), (1.0, TypeError), ("2", TypeError), (None, TypeError),
    (True, TypeError),
])
def test_wrong_numbers(wrong, error):
    before = threads.get_num_threads()
    with pytest.raises(error, match="set_num_threads"):
        threads.set_num_threads(wrong)
    assert threads.get_num_threads() == before


@pytest.mark.parametrize(("text", "expected"), [
    ("3", 3), ("4,2,1", 4), (" 2 ", 2), ("100000", 4096), ("0", None), ("-2", None), ("", None),
    ("many", None),
])
def test_omp_num_threads(tmp_path, text, expected):
    found = threads.default_num_threads({"OMP_NUM_THREADS": text}, tmp_path)
    assert found == (expected or threads.default_num_threads({}, tmp_path))


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A root folder of eight CPUs on four cores, to which groups can be added."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for cpu in range(8):
        write(tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list",
              f"{cpu % 4},{cpu % 4 + 4}")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_cores_not_hyper_threads(system, monkeypatch):
    assert threads.default_num_threads({}, system) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 1})
    assert threads.default_num_threads({}, system) == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {10, 11, 12})
    assert threads.default_num_threads({}, system) == 3


@pytest.mark.parametrize(("quota", "expected"), [
    ("max 100000", 4), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1),
    ("800000 100000", 4), ("nonsense", 4), ("", 4), ("0 100000", 4), ("1 0", 4),
])
def test_quota_of_version_two(system, quota, expected):
    write(system / "proc/self/cgroup", "0::/user/me")
    write(system / "sys/fs/cgroup/user/cpu.max", quota)
    write(system / "sys/fs/cgroup/user/me/cpu.max", "max 100000")
    assert threads.default_num_threads({}, system) == expected


def test_quota_of_the_root_group(system):
    write(system / "proc/self/cgroup", "0::/")
    write(system / "sys/fs/cgroup/cpu.max", "300000 100000")
    assert threads.default_num_threads({}, system) == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 4), ("250000", 3), ("50000", 1)])
@pytest.mark.parametrize("inside", [False, True])
def test_quota_of_version_one(system, quota, expected, inside):
    write(system / "proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc")
    # In a container the group's own folder is mounted as the root.
    folder = system / "sys/fs/cgroup/cpu,cpuacct" / ("" if inside else "docker/abc")
    write(folder / "cpu.cfs_quota_us", quota)
    write(folder / "cpu.cfs_period_us", "100000")
    assert threads.default_num_threads({}, system) == expected


def test_nothing_to_read(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.default_num_threads({}, tmp_path) == 1
