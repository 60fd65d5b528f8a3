"""Builtins: arguments to slots, errors, references, the GIL."""

import gc
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from iskra.core.size import Size
from iskra.runtime import jit, native, pool_ir, threads
from iskra.runtime.wrapper_ir import SLOTS, wrapper_ir

KERNELS = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i32 @usleep(i32)

; Copies all slots to the array in the first one.
define void @dump(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %slots, i64 768, i1 false)
  ret void
}

; Counts up element `task` of the array in the first slot.
define void @mark(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %at = getelementptr i64, ptr %out, i64 %task
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  ret void
}

define void @mark_slowly(ptr %slots, i64 %task) {
  call i32 @usleep(i32 5000)
  call void @mark(ptr %slots, i64 %task)
  ret void
}

; Follows the table in the second slot: its first array's first element goes to the first slot's.
define void @follow(ptr %slots, i64 %task) {
  %out = load ptr, ptr %slots
  %table.at = getelementptr ptr, ptr %slots, i64 1
  %table = load ptr, ptr %table.at
  %array = load ptr, ptr %table
  %value = load i64, ptr %array
  %at = getelementptr i64, ptr %out, i64 %task
  store i64 %value, ptr %at
  ret void
}
"""


def make(kernel, kinds):
    return native.builtin(kernel, jit.load(KERNELS).address(kernel), kinds)


def slots(kinds, *arguments):
    """The slots that a call of these kinds fills, after the one for the output."""
    out = np.full(SLOTS, -7, np.int64)
    assert make("dump", "a" + kinds + "n")(out, *arguments, 1) is None
    assert out[0] == out.ctypes.data
    return out[1:]


def test_arrays():
    x = np.arange(12.0).reshape(3, 4)
    empty, scalar, transposed = np.empty((0, 3)), np.array(3), x[1:, ::2].T
    found = slots("aaaaa", x, transposed, empty, scalar, None)[:5].view(np.uint64)
    expected = [x.ctypes.data, x.ctypes.data + 32, empty.ctypes.data, scalar.ctypes.data, 0]
    assert found.tolist() == expected


def test_subclasses_of_arrays():
    class Mine(np.ndarray):
        pass

    x = np.arange(3).view(Mine)
    assert slots("a", x)[0] == x.ctypes.data
    assert slots("a", np.ma.masked_array([1, 2]))[0] != 0


def test_ints():
    values = (0, -1, 5, -2**63, 2**63 - 1, True, np.int32(-3))
    assert slots("i" * 7, *values)[:7].tolist() == [int(value) for value in values]


def test_floats():
    values = (0.0, -0.0, -1.0, 3, 1e-320, float("inf"), float("nan"), np.float32(0.5), True)
    found = slots("f" * 9, *values)[:9].view(np.float64)
    np.testing.assert_array_equal(found, np.array(values, np.float64))
    assert np.signbit(found[:3]).tolist() == [False, True, True]


def test_tuples():
    assert slots("titt", (1, -1), 7, (), (2**62,))[:4].tolist() == [1, -1, 7, 2**62]
    assert slots("t", tuple(range(SLOTS - 1))).tolist() == list(range(SLOTS - 1))
    assert slots("t", Size((3, 4)))[:2].tolist() == [3, 4]


def test_lists_of_arrays():
    x, out = np.array([41, 42]), np.zeros(3, np.int64)
    follow = make("follow", "aln")
    for arrays in ([x], (x,), [x[1:], x], (x[1:],)):
        follow(out, arrays, 1)
        assert out[0] == arrays[0][0]
    many = [np.array([i]) for i in range(5000)]
    follow(out, many, 3)
    assert out.tolist() == [0, 0, 0]
    assert slots("l", [])[0] != 0


def test_several_lists():
    arrays = [[np.array(i)] for i in range(SLOTS - 1)]
    assert len(set(slots("l" * (SLOTS - 1), *arrays).tolist())) == SLOTS - 1


@pytest.mark.parametrize("tasks", [-(2**63), -2, -1, 0, 1, 2, 3, 1000])
def test_the_number_of_tasks(tasks):
    out = np.zeros(1000, np.int64)
    make("mark", "an")(out, tasks)
    assert out.sum() == out[:max(tasks, 0)].sum() == max(tasks, 0)
    assert out.max() == (tasks > 0)


def test_no_arguments():
    assert native.builtin("nothing", jit.load(
        "define void @f(ptr %s, i64 %t) { ret void }").address("f"), "n")(3) is None


X = np.zeros(SLOTS, np.int64)


@pytest.mark.parametrize(("kinds", "arguments", "error", "message"), [
    ("an", (), TypeError, r"dump\(\) takes 2 arguments, but 0 were given"),
    ("an", (X, 1, 2), TypeError, r"dump\(\) takes 2 arguments, but 3 were given"),
    ("an", ([1], 1), TypeError, r"dump\(\): argument 1 must be an ndarray or None, not <class 'li"),
    ("aan", (X, np.ndarray, 1), TypeError, "argument 2 must be an ndarray or None"),
    ("aan", (X, np.float64(1), 1), TypeError, "argument 2 must be an ndarray or None"),
    ("ain", (X, 1.0, 1), TypeError, "argument 2 must be an int of 64 bits, not <class 'float'>"),
    ("ain", (X, 2**63, 1), OverflowError, "argument 2 must be an int of 64 bits"),
    ("ain", (X, -2**63 - 1, 1), OverflowError, "argument 2 must be an int of 64 bits"),
    ("ain", (X, None, 1), TypeError, "argument 2 must be an int of 64 bits"),
    ("afn", (X, "1", 1), TypeError, "argument 2 must be a float, not <class 'str'>"),
    ("afn", (X, 1j, 1), TypeError, "argument 2 must be a float"),
    ("afn", (X, 10**400, 1), OverflowError, "argument 2 must be a float"),
    ("atn", (X, [1], 1), TypeError, "argument 2 must be a tuple of ints"),
    ("atn", (X, 1, 1), TypeError, "argument 2 must be a tuple of ints"),
    ("atn", (X, (1, 2.0), 1), TypeError, "argument 2 must be a tuple of ints"),
    ("atn", (X, (2**64,), 1), OverflowError, "argument 2 must be a tuple of ints"),
    ("aln", (X, X, 1), TypeError, "argument 2 must be a list or tuple of ndarrays"),
    ("aln", (X, [X, None], 1), TypeError, "argument 2 must be a list or tuple of ndarrays"),
    ("aln", (X, (1,), 1), TypeError, "argument 2 must be a list or tuple of ndarrays"),
    ("an", (X, None), TypeError, "argument 2 must be an int of 64 bits .the number of tasks"),
    ("an", (X, 1.5), TypeError, "argument 2 must be an int"),
    ("an", (X, 2**63), OverflowError, "argument 2 must be an int"),
    ("atn", (X, (1,) * SLOTS, 1), ValueError, "more than 96 slots"),
    ("atan", (X, (1,) * (SLOTS - 1), X, 1), ValueError, "more than 96 slots"),
    ("attn", (X, (1,) * (SLOTS - 1), (1,), 1), ValueError, "more than 96 slots"),
])
def test_wrong_arguments(kinds, arguments, error, message):
    with pytest.raises(error, match=message):
        make("dump", kinds)(*arguments)
    assert X.sum() == 0


def test_keywords_are_refused():
    with pytest.raises(TypeError, match="no keyword arguments"):
        make("mark", "an")(X, n=0)


def test_errors_of_python_code_are_passed_on():
    class Odd:
        def __index__(self):
            raise ZeroDivisionError

        __float__ = __index__

    for kinds in ("ain", "afn"):
        with pytest.raises(ZeroDivisionError):
            make("dump", kinds)(X, Odd(), 1)
    with pytest.raises(ZeroDivisionError):
        make("dump", "atn")(X, (Odd(),), 1)
    with pytest.raises(ZeroDivisionError):
        make("dump", "an")(X, Odd())


@pytest.mark.parametrize("kinds", ["", "a", "na", "nn", "axn", "a n", "a" * (SLOTS + 1) + "n"])
def test_wrong_kinds(kinds):
    with pytest.raises(ValueError):
        make("dump", kinds)


def test_name():
    assert make("mark", "an").__name__ == "mark"


def test_references_are_kept_in_balance():
    mark, follow, dump = make("mark", "an"), make("follow", "aln"), make("dump", "alaiftn")
    out, x, items, pair = np.zeros(4, np.int64), np.ones(1, np.int64), (10**10, 5), 10**20
    everything, single = [x, x], (x,)
    held = [out, x, items, everything, single, None]

    def work():
        mark(out, 1)
        mark(out, 4)
        follow(out, everything, 1)
        follow(out, single, 2)
        for wrong in ((out, [x, None], x, 1, 1.0, items, 0), (out, [x], x, 1, 1.0, [], 0),
                      (out, everything, x, pair, 1.0, items, 1),
                      (out, single, x, 1, 1.0, items, "")):
            with pytest.raises((TypeError, OverflowError)):
                dump(*wrong)

    work()
    gc.collect()
    before, blocks = [sys.getrefcount(value) for value in held], sys.getallocatedblocks()
    for _ in range(200):
        work()
    gc.collect()
    after = [sys.getrefcount(value) for value in held]
    assert after[:-1] == before[:-1]
    assert abs(after[-1] - before[-1]) < 100       # None has other users too
    assert abs(sys.getallocatedblocks() - blocks) < 400


def test_the_gil_is_released_while_tasks_run():
    out, seen = np.zeros(40, np.int64), []
    kernel = make("mark_slowly", "an")
    done = threading.Event()

    def watch():
        while not done.is_set():
            seen.append(int(out.sum()))
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    kernel(out, 40)
    done.set()
    watcher.join()
    assert out.tolist() == [1] * 40
    assert any(0 < count < 40 for count in seen)


def test_a_list_that_changes_meanwhile():
    out = np.zeros(40, np.int64)
    text = KERNELS.replace("@mark(", "@mark_it(").replace("void @follow(", "void @follow_it(")
    text += """
define void @follow_slowly(ptr %slots, i64 %task) {
  call i32 @usleep(i32 5000)
  call void @follow_it(ptr %slots, i64 %task)
  ret void
}
"""
    kernel = native.builtin("follow", jit.load(text).address("follow_slowly"), "aln")
    arrays = [np.full(100_000, 9)]
    clearing = threading.Timer(0.02, arrays.clear)
    clearing.start()
    kernel(out, arrays, 40)
    clearing.join()
    assert arrays == []
    assert out.tolist() == [9] * 40


class Alarm(Exception):
    pass


@pytest.fixture
def alarm():
    """Makes SIGALRM raise `Alarm` after the seconds given to it."""
    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("count", [1, 2])
def test_signals_are_heeded_between_tasks(alarm, count):
    kernel, before = make("mark_slowly", "an"), threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        out = np.zeros(4000, np.int64)
        alarm(0.05)
        with pytest.raises(Alarm):
            kernel(out, 4000)
        assert 0 < out.sum() < 4000
        ran = out.copy()
        time.sleep(0.05)
        assert (out == ran).all()               # nothing goes on behind our back
        out[:] = 0
        make("mark", "an")(out, 4000)
        assert (out == 1).all()
    finally:
        threads.set_num_threads(before)


def test_ctrl_c():
    kernel, out = make("mark_slowly", "an"), np.zeros(4000, np.int64)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        kernel(out, 4000)
    timer.join()
    assert 0 < out.sum() < 4000


def test_a_handler_may_run_kernels(alarm):
    out, other = np.zeros(60, np.int64), np.zeros(60, np.int64)
    signal.signal(signal.SIGALRM, lambda *_: make("mark", "an")(other, 60))
    alarm(0.05)
    make("mark_slowly", "an")(out, 60)
    assert (out == 1).all()
    assert (other == 1).all()


def test_a_handler_that_forks(alarm):
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    children = []
    try:
        signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
        out = np.zeros(100, np.int64)
        alarm(0.05)
        try:
            make("mark_slowly", "an")(out, 100)
            status = 0
        except RuntimeError as error:
            status = 7 if "forked" in str(error) else 8
        except BaseException:
            status = 9
        if children == [0]:
            if status == 7:                     # the child's own pool works
                out[:] = 0
                make("mark", "an")(out, 100)
                status = 7 if (out == 1).all() else 10
            os._exit(status)
        assert status == 0
        assert (out == 1).all()
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
    finally:
        threads.set_num_threads(before)


def test_layout_is_checked(monkeypatch):
    assert native.available()
    monkeypatch.setattr(native, "tuple", type("tuple", (), {}), raising=False)
    native.layout.cache_clear()
    try:
        assert not native.available()
    finally:
        monkeypatch.undo()
        native.layout.cache_clear()
    assert native.available()


@pytest.mark.parametrize("triple", [
    "x86_64-linux-gnu", "aarch64-linux-gnu", "arm64-apple-macosx", "riscv64-linux-gnu"])
def test_code_is_made_for_other_machines(triple):
    machine = triple.partition("-")[0]
    layout = native.layout()
    assert "pool_run_polled" in jit.assembly(wrapper_ir(layout), triple=triple)
    for futex in (False, True):
        text = jit.assembly(pool_ir.pool_ir(machine, futex), triple=triple)
        assert "pthread_create" in text
        assert ("syscall" in text) == futex


def watched(kernel="mark", kinds="an"):
    """A builtin that can be watched."""
    return native.builtin(kernel, jit.load(KERNELS).address(kernel), kinds, lambda: KERNELS)


def test_watching():
    run, unwatched, out, seen = watched(), make("mark", "an"), np.zeros(2, np.int64), []
    run(out, 2)
    with native.watching(lambda name, source: seen.append((name, source(), out.tolist()))):
        run(out, 2)
        unwatched(out, 2)
        with native.watching(lambda name, source: seen.append(name)):
            run(out, 2)
        run(out, 1)
    run(out, 1)
    assert seen == [("mark", KERNELS, [1, 1]), ("mark", KERNELS, [3, 3]), "mark",
                    ("mark", KERNELS, [4, 4])]
    assert out.tolist() == [6, 4]


def test_a_watcher_that_raises_keeps_the_kernel_from_running():
    run, out = watched(), np.zeros(1, np.int64)

    def watcher(name, source):
        raise ValueError(name)

    with pytest.raises(ValueError, match="mark"), native.watching(watcher):
        run(out, 1)
    assert out[0] == 0
    run(out, 1)
    assert out[0] == 1


def test_watching_keeps_no_references():
    run, out = watched(), np.zeros(1, np.int64)
    before = sys.getrefcount(out), sys.getrefcount(None)
    with native.watching(lambda name, source: None):
        for _ in range(1000):
            run(out, 1)
    assert sys.getrefcount(out) == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 500
