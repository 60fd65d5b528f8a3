"""The caching allocator: alignment, reuse, ownership, bounds, and what happens at the edges."""

import contextvars
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from iskra.runtime import jit, memory, memory_code, recycling
from iskra.runtime.recycling import recycle_in

F4 = np.dtype(np.float32)
MIB = 1 << 20
handler_of = np._core.multiarray.get_handler_name


@pytest.fixture(autouse=True)
def fresh():
    if not memory.start():
        pytest.skip("no allocator for this platform")
    gc.collect()
    memory.empty_cache()
    yield
    memory._bound()


def address(array):
    return array.__array_interface__["data"][0]


def change(before):
    """What has changed in the statistics since `before`."""
    return {name: value - before[name] for name, value in memory.memory_stats().items()}


def resident():
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Rss")


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "?", "i8", "c16", ">i4", "M8[s]"])
@pytest.mark.parametrize("shape", [
    (), (0,), (3,), (1024,), (64, 64), (1, 1000, 1, 70), (0, 1 << 40), (1 << 19, 4),
])
def test_an_array_is_an_ordinary_one(shape, dtype):
    array, expected = memory.empty(shape, np.dtype(dtype)), np.empty(shape, dtype)
    assert type(array) is np.ndarray
    assert (array.shape, array.strides, array.dtype) == (
        expected.shape, expected.strides, expected.dtype)
    assert array.flags.num == expected.flags.num
    assert array.base is None
    if array.nbytes >= memory_code.SMALLEST:
        assert address(array) % 64 == 0
        assert handler_of(array) == "iskra"
    array[...] = expected
    assert array.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(5, 40), (2, 3, 4), (50, 400)])
def test_small_and_large_arrays_are_in_c_order(shape):
    array = memory.empty(shape, np.dtype(np.float32))
    assert array.strides == np.empty(shape, np.float32).strides
    assert array.flags.c_contiguous


def test_a_dtype_of_another_package():
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    array = memory.empty((100, 100), bfloat16)
    array[...] = 3
    assert (array.dtype, handler_of(array)) == (bfloat16, "iskra")
    assert (array == 3).all()


@pytest.mark.parametrize("dtype", ["O", "U100", "S9", "V16", "i4,f8", "(2,3)f4", "T"])
def test_other_than_plain_data_is_right_too(dtype):
    array, expected = memory.empty((700,), np.dtype(dtype)), np.empty((700,), np.dtype(dtype))
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    if dtype == "O":
        assert array[0] is None


def test_shapes_in_other_forms():
    class Size(tuple):
        pass

    assert memory.empty(Size((100, 200)), F4).shape == (100, 200)
    assert handler_of(memory.empty(Size((100, 200)), F4)) == "iskra"
    assert memory.empty([100, 200], F4).shape == (100, 200)
    assert memory.empty((np.int64(100), 200), F4).shape == (100, 200)


@pytest.mark.parametrize(("shape", "error"), [
    ((-1, 3000), ValueError), ((1 << 40, 1 << 40), ValueError), (("a",), TypeError),
    ((3.0, 2000), TypeError), (None, TypeError), ((1,) * 65, ValueError),
    ((1 << 63,), ValueError),
])
def test_wrong_shapes(shape, error):
    with pytest.raises(error):
        memory._loaded.empty(shape, F4)


def test_wrong_arguments():
    make = memory._loaded.empty
    with pytest.raises(TypeError):
        make()
    with pytest.raises(TypeError):
        make((3,), "nothing")
    assert make((3,), "f4").dtype == F4


def test_memory_is_used_again():
    array = memory.empty((4096, 768), F4)
    where, before = address(array), memory.memory_stats()
    del array
    array = memory.empty((4096, 768), F4)
    assert address(array) == where
    assert change(before)["hits"] == 1
    # A little less takes the same block; much less does not.
    del array
    array = memory.empty((4096, 720), F4)
    assert address(array) == where
    del array
    assert address(memory.empty((4096, 500), F4)) != where


def test_large_blocks_are_mapped_on_their_own():
    array = memory.empty((1 << 22,), F4)
    assert address(array) % memory_code.MAPPED == memory_code.HEADER
    array[:] = 7
    assert (array == 7).all()


@pytest.mark.parametrize("exponent", range(12, 27))
def test_no_block_is_an_eighth_too_large(exponent):
    for size in {1 << exponent, (1 << exponent) + 1, (1 << exponent) * 9 // 8 + 1,
                 (2 << exponent) - 1}:
        before = memory.memory_stats()
        array = memory.empty((size,), np.dtype(np.uint8))
        held = change(before)["allocated"]
        assert size <= held < size * 9 / 8 + 1
        array[-1] = array[0] = 1
        del array
        assert change(before)["allocated"] == 0
        memory.empty_cache()


def test_ten_thousand_allocations_do_not_grow():
    numbers, kept = random.Random(5), {}
    memory.reset_peak_memory_stats()
    for turn in range(10_000):
        size = int(2 ** numbers.uniform(0, 22))
        array = memory.empty((size,), np.dtype(np.uint8))
        mark = turn % 251
        array[:64] = array[-64:] = mark
        kept[numbers.randrange(20)] = array, mark
        for held, expected in kept.values():
            assert held[0] == held[-1] == expected
        stats = memory.memory_stats()
        assert stats["cached"] <= max(256 * MIB, stats["peak"] // 2)
    assert stats["peak"] <= 21 * 4 * MIB * 1.25
    assert stats["hits"] > 5 * stats["misses"]
    # No two arrays share memory.
    spans = sorted((address(a), address(a) + a.nbytes) for a, _ in kept.values())
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))


def test_statistics_add_up():
    before = memory.memory_stats()
    arrays = [memory.empty((n, 1024), F4) for n in (1, 10, 1000, 3000)]
    now = change(before)
    assert now["blocks_in_use"] == 4
    assert now["hits"] + now["misses"] == 4
    assert now["allocated"] >= sum(a.nbytes for a in arrays)
    held = now["allocated"]
    del arrays
    now = change(before)
    assert (now["allocated"], now["blocks_in_use"]) == (0, 0)
    assert (now["cached"], now["blocks_cached"]) == (held, 4)
    memory.empty_cache()
    now = change(before)
    assert (now["cached"], now["blocks_cached"], now["released"]) == (0, 0, 4)


def test_peak():
    memory.reset_peak_memory_stats()
    start = memory.memory_stats()["peak"]
    array = memory.empty((8 * MIB,), np.dtype(np.uint8))
    del array
    assert memory.memory_stats()["peak"] == start + 8 * MIB
    memory.reset_peak_memory_stats()
    assert memory.memory_stats()["peak"] == start


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_empty_cache_gives_memory_back():
    start = resident()
    array = memory.empty((64 * MIB,), np.dtype(np.uint8))
    array[:] = 1
    assert resident() >= start + 60 * MIB
    del array
    assert resident() >= start + 60 * MIB
    memory.empty_cache()
    assert resident() < start + 10 * MIB


def test_the_cache_is_bounded_and_the_stalest_go_first():
    memory._bound(floor=20 * MIB)
    memory.reset_peak_memory_stats()
    kind = np.dtype(np.uint8)
    for size in (8, 6, 5, 4):  # one at a time: half the peak is 4 MiB
        memory.empty((size * MIB,), kind)
    stats = memory.memory_stats()
    assert stats["cached"] == 15 * MIB  # 8 had to go
    before = stats
    for size in (6, 5, 4):
        memory.empty((size * MIB,), kind)
    assert change(before)["hits"] == 3
    # A block that could never be kept does not drive out those that are.
    before = memory.memory_stats()
    memory.empty((24 * MIB,), kind)
    assert change(before)["cached"] == 0


def test_half_the_peak_is_kept():
    memory._bound(floor=0)
    memory.reset_peak_memory_stats()
    arrays = [memory.empty((4 * MIB,), np.dtype(np.uint8)) for _ in range(8)]
    arrays.clear()
    assert memory.memory_stats()["cached"] == 16 * MIB


def test_views_keep_the_memory():
    before = memory.memory_stats()
    array = memory.empty((1000, 1000), F4)
    array[:] = np.arange(1000)
    view = array[::2, 3:7].T
    flat = memoryview(view)
    del array
    assert change(before)["blocks_in_use"] == 1
    assert (view == np.arange(3, 7)[:, None]).all()
    del view
    assert flat[2, 0] == 5.0
    del flat
    assert change(before)["blocks_in_use"] == 0


def test_pickle_and_copy():
    array = memory.empty((300, 300), F4)
    array[:] = np.arange(300)
    for again in (pickle.loads(pickle.dumps(array)), array.copy(),
                  pickle.loads(pickle.dumps(array, protocol=5))):
        assert (again == array).all()
        again[0, 0] = -1
        assert array[0, 0] == 0


@pytest.mark.parametrize(("start", "ends"), [
    (2000, (2100, 100_000, 1_500_000, 1_400_000, 3000, 10, 0, 5000)),
    (3_000_000, (3_100_000, 10_000_000, 4, 2_000_000)),
])
def test_resize_in_place(start, ends):
    before = memory.memory_stats()
    array = memory.empty((start,), np.dtype(np.int16))
    array[:] = np.arange(start)
    known = start
    for end in ends:
        array.resize(end, refcheck=False)
        known = min(known, end)
        assert array.shape == (end,)
        assert (array[:known] == np.arange(known, dtype=np.int16)).all()
        assert (array[known:] == 0).all()
    del array
    assert change(before)["allocated"] == 0


def test_numpy_works_on_recycled_memory_in_a_context():
    context = contextvars.copy_context()
    recycle_in(context)
    x = np.arange(100_000.0)
    result = context.run(np.add, x, x)
    assert handler_of(result) == "iskra"
    assert address(result) % 64 == 0
    assert (result == 2 * x).all()
    assert handler_of(x + x) != "iskra"
    small = context.run(np.add, x[:3], 1)
    assert small.tolist() == [1, 2, 3]
    where = address(result)
    del result
    zeros = context.run(np.zeros, 100_000)
    assert address(zeros) == where
    assert not zeros.any()
    grown = context.run(np.resize, x, 250_000)
    assert (grown == np.arange(250_000) % 100_000).all()
    assert not context.run(np.zeros, (50, 7)).any()
    with pytest.raises(MemoryError):
        context.run(np.zeros, 1 << 60, np.uint8)


def test_resizing_small_arrays_in_a_context():
    context = contextvars.copy_context()
    recycle_in(context)
    array = context.run(np.arange, 10)
    for end in (20, 3000, 30, 7, 0, 5):
        context.run(array.resize, end, refcheck=False)
        assert array[:5].tolist() == list(range(min(5, end))) or end in (0, 5)
    assert context.run(np.fromiter, range(5000), np.int64).tolist() == list(range(5000))


def test_a_context_that_another_thread_is_in(monkeypatch):
    context = contextvars.copy_context()
    inside, leave = threading.Event(), threading.Event()

    def stay():
        inside.set()
        leave.wait()

    context.run(recycling.mark.set, context)
    thread = threading.Thread(target=context.run, args=(stay,))
    thread.start()
    inside.wait()
    monkeypatch.setattr(recycling, "waiting", [context])
    memory._equip()
    assert recycling.waiting == [context]
    assert handler_of(memory.empty((5000,), F4)) == "iskra"
    leave.set()
    thread.join()
    memory.empty((5000,), F4)
    assert recycling.waiting == []
    assert memory._make is memory._loaded.empty
    assert handler_of(context.run(np.ones, 5000)) == "iskra"


def test_arrays_outlive_their_thread_and_die_in_another():
    before, made = memory.memory_stats(), []

    def make():
        array = memory.empty((1000, 1000), F4)
        array[:] = 4
        made.append(array)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((array == 4).all() for array in made)
    assert change(before)["blocks_in_use"] == 4
    thread = threading.Thread(target=made.clear)
    thread.start()
    thread.join()
    assert change(before)["blocks_in_use"] == 0


def test_many_threads_at_once():
    before, wrong = memory.memory_stats(), []

    def work(seed):
        numbers = random.Random(seed)
        for _ in range(300):
            array = memory.empty((int(2 ** numbers.uniform(12, 19)),), np.dtype(np.uint8))
            array[:] = seed
            total = np.add.reduce(array, dtype=np.int64)  # releases the GIL
            if total != seed * array.size:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert change(before)["allocated"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_goes_on():
    array = memory.empty((1000, 1000), F4)
    array[:] = 1
    kept = memory.empty((1000, 1000), F4)
    del kept
    child = os.fork()
    if child == 0:
        try:
            array[:] = 2
            other = memory.empty((1000, 1000), F4)
            other[:] = array
            del array
            more = [memory.empty((500, 1000), F4) for _ in range(4)]
            memory.empty_cache()
            good = (other == 2).all() and len(more) == 4
        except BaseException:
            good = False
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (array == 1).all()


def test_exhaustion_gives_up_the_cache_first():
    kind = np.dtype(np.uint8)
    memory.empty((12 * MIB,), kind)  # is kept
    used = memory.memory_stats()["allocated"]
    memory._bound(limit=used + 16 * MIB)
    array = memory.empty((8 * MIB,), kind)
    assert memory.memory_stats()["cached"] == 0
    with pytest.raises(MemoryError, match=r"shape \(16, 1048576\) .*uint8 \(16777216 bytes\)"):
        memory.empty((16, MIB), kind)
    # All is as before, and what fits goes on.
    del array
    assert memory.memory_stats()["allocated"] == used
    assert memory.empty((16, MIB), kind).nbytes == 16 * MIB


def test_more_than_there_is():
    with pytest.raises(MemoryError):
        memory.empty((1 << 45,), F4)
    with pytest.raises(MemoryError):
        memory.empty((1 << 60,), F4)


def run(program, **environment):
    source = str(Path(memory.__file__).parents[2])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": source, **environment})


def test_arrays_may_outlive_everything():
    result = run("""
import builtins, numpy as np
from iskra.runtime import memory
builtins.kept = [memory.empty((1 << 20,), np.dtype(np.float64)) for _ in range(3)]
class Late:
    def __init__(self): self.array = memory.empty((1 << 20,), np.dtype(np.float64))
    def __del__(self): self.array = self.array + 1
builtins.late = Late()
import atexit; atexit.register(builtins.kept.pop)
""")
    assert (result.returncode, result.stderr) == (0, "")


def test_it_starts_with_the_first_large_array():
    result = run("""
import sys, numpy as np
from iskra.runtime import memory
f4 = np.dtype(np.float32)
memory.empty((100, 100), f4)
print("llvmlite" in sys.modules, memory.memory_stats()["allocated"])
array = memory.empty((1024, 1024), f4)
print("llvmlite" in sys.modules, memory.memory_stats()["allocated"])
""")
    assert result.stdout.splitlines() == ["False 0", f"True {4 * MIB}"], result.stderr


@pytest.mark.parametrize("trouble", [
    "sys.modules['llvmlite'] = None",
    "memory._layout_is_known = lambda: False",
    "memory.OFFSETS['array_handler'] = 80",
    "memory.OFFSETS['dtype_size'] = 48",
])
def test_without_the_allocator_numpy_serves(trouble):
    result = run(f"""
import sys, contextvars, numpy as np
from iskra.runtime import memory
from iskra.runtime.recycling import recycle_in
{trouble}
context = contextvars.copy_context()
recycle_in(context)
array = memory.empty((1024, 1024), np.dtype(np.float32))
memory.empty_cache()
print(memory.start(), array.shape, memory.memory_stats()["allocated"])
""")
    assert result.stdout == "False (1024, 1024) 0\n", result.stderr


def test_a_context_that_this_thread_is_in_when_the_allocator_starts():
    result = run("""
import contextvars, numpy as np
from iskra.runtime import memory, recycling
from iskra.runtime.recycling import recycle_in
context = contextvars.copy_context()
recycle_in(context)
context.run(memory.empty, (1024, 1024), np.dtype(np.float32))
print(np._core.multiarray.get_handler_name(context.run(np.ones, 5000)), recycling.waiting)
""")
    assert result.stdout == "iskra []\n", result.stderr


@pytest.mark.parametrize(("triple", "cpu"), [
    ("aarch64-linux-gnu", "generic"), ("x86_64-linux-gnu", "x86-64-v2"),
])
def test_other_machines(triple, cpu):
    assert "iskra_memory_empty" in jit.assembly(memory_code.text(0), triple, cpu)
