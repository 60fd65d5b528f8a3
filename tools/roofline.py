"""What the machine can do at most, beside what calls do: where goals are missed, and why.

Prints the floating-point operations a second of a loop of nothing but multiply-adds, and the bytes
a second of a loop that reads arrays, in the cache and beyond it, and writes them back negated;
then, for calls that arithmetic or memory bounds, how much of that they reach. `--torch` adds
PyTorch's times. Least of several rounds, two threads.
"""

import argparse
import functools
import importlib
import time

import numpy as np

import iskra
from iskra.runtime import jit, native

THREADS = 2
ROUNDS = 40
LANES, SUMS = 16, 16    # of float32 in a vector; independent sums that hide an addition's latency

PEAK = """
define void @peak(ptr %slots, i64 %task) {
entry:
  %steps = load i64, ptr %slots
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
{PHIS}
{STEPS}
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %steps
  br i1 %more, label %loop, label %out
out:
{TOTAL}
  %room = getelementptr i64, ptr %slots, i64 1
  %base = load ptr, ptr %room
  %at = getelementptr [16 x float], ptr %base, i64 %task
  store <16 x float> %t{LAST}, ptr %at, align 4
  ret void
}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
"""

TOUCH = """
define void @touch(ptr %slots, i64 %task) {
entry:
  %array = load ptr, ptr %slots
  %share.at = getelementptr i64, ptr %slots, i64 1
  %share = load i64, ptr %share.at
  %first = mul i64 %task, %share
  %start = getelementptr <16 x float>, ptr %array, i64 %first
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
  %at = getelementptr <16 x float>, ptr %start, i64 %i
  %value = load <16 x float>, ptr %at, align 4
  %negative = fneg <16 x float> %value
  store <16 x float> %negative, ptr %at, align 4
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %share
  br i1 %more, label %loop, label %out
out:
  ret void
}
"""


def seconds(call):
    """The least time of a call."""
    call()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def peak():
    """Floating-point operations a second, float32."""
    zero, names = "zeroinitializer", range(SUMS)
    text = PEAK
    for key, value in {
        "PHIS": "\n".join(f"  %s{n} = phi <16 x float> [ {zero}, %entry ], [ %n{n}, %loop ]"
                          for n in names),
        "STEPS": "\n".join(
            f"  %n{n} = call <16 x float> @llvm.fma.v16f32(<16 x float> %s{n}, <16 x float> %s{n}, "
            f"<16 x float> %s{n})" for n in names),
        "TOTAL": "\n".join(f"  %t{n} = fadd <16 x float> {'%n0' if n == 1 else f'%t{n - 1}'}, %n{n}"
                           for n in names if n),
        "LAST": str(SUMS - 1),
    }.items():
        text = text.replace("{" + key + "}", value)
    call = native.builtin("peak", jit.load(text).address("peak"), "ian")
    steps, room = 200_000, np.zeros(LANES * THREADS, np.float32)
    return 2 * LANES * SUMS * steps * THREADS / seconds(lambda: call(steps, room, THREADS))


def touch(array):
    """Read an array and write it back, negated."""
    _touch()(array, array.size // LANES // THREADS, THREADS)


@functools.cache
def _touch():
    return native.builtin("touch", jit.load(TOUCH).address("touch"), "ain")


def products(T):
    """Calls that arithmetic bounds: name, operations, call."""
    a, b = T.rand(1024, 1024), T.rand(1024, 1024)
    image, kernel = T.rand(8, 64, 56, 56), T.rand(64, 64, 3, 3)
    lstm, steps = T.nn.LSTM(256, 256), T.rand(50, 32, 256)
    convolve = T.nn.functional.conv2d
    with T.no_grad():
        yield "mm 1024³", 2 * 1024**3, lambda: T.mm(a, b)
        yield ("3×3, 64 → 64 at 56×56, 8 images", 2 * 8 * 64 * 64 * 9 * 56 * 56,
               lambda: convolve(image, kernel, padding=1))
        yield "LSTM, 50 steps of 32×256", 2 * 50 * 32 * 512 * 1024, lambda: lstm(steps)


def traffic(T):
    """Calls that memory bounds: name, bytes, call."""
    a, b, c, d = (T.rand(2048, 2048) for _ in range(4))
    size = 4 * 2048 * 2048
    yield "a.mul_(2.0), 4M", 2 * size, lambda: a.mul_(1.0)
    yield "a.add_(b), 4M", 3 * size, lambda: a.add_(b)
    yield "a + b, 4M", 3 * size, lambda: a + b
    yield "(a*b + c).relu() * d, 4M", 11 * size, lambda: (a * b + c).relu() * d


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", action="store_true", help="time PyTorch too")
    frameworks = [iskra]
    if parser.parse_args().torch:
        frameworks.append(importlib.import_module("torch"))
    for T in frameworks:
        T.set_num_threads(THREADS)
    most = peak()
    print(f"multiply-adds alone: {most / 1e9:.0f} GFLOP/s on {THREADS} threads")
    for mebibytes in (1, 16, 64):
        array = np.zeros(mebibytes << 18, np.float32)
        rate = 2 * array.nbytes / seconds(functools.partial(touch, array))
        print(f"read and written, {mebibytes} MiB: {rate / 1e9:.0f} GB/s")
    for T in frameworks:
        print(f"\n{T.__name__}")
        for name, operations, call in products(T):
            took = seconds(call)
            print(f"  {name:34} {took * 1e6:8.0f} µs {operations / took / 1e9:6.0f} GFLOP/s, "
                  f"{operations / took / most:.0%}")
        for name, size, call in traffic(T):
            took = seconds(call)
            print(f"  {name:34} {took * 1e6:8.0f} µs {size / took / 1e9:6.0f} GB/s")


if __name__ == "__main__":
    main()
