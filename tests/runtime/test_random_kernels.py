"""The kernels of random streams give NumPy's bits, and leave the generator where NumPy does."""

import math
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from iskra.core import dtypes as d
from iskra.core.generator import Generator
from iskra.runtime import draws, exact, jit, normal, normal_ir, random, random_ir, random_kernels

SIZES = [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 100, 311, 312, 313, 623, 624, 625, 1000, 1023,
         1024, 1025, 2047, 2048, 2049, 4095, 4096, 5000, 33_000, 100_003]


@pytest.fixture(autouse=True)
def compiler():
    if not random_kernels.usable():
        pytest.skip("no compiler for this machine")


def both_ways(monkeypatch, draw):
    """``draw(generator)`` by kernels and by NumPy; checks that both leave the same state."""
    results, states = [], []
    for first in (1, 1 << 60):
        monkeypatch.setattr(draws, "kernels_from", first)
        generator = Generator().manual_seed(1234)
        generator.draw32(3)  # so that blocks of words and of samples do not fall together
        results.append([draw(generator) for _ in range(3)])
        states.append(generator.state_bytes().tobytes())
    assert states[0] == states[1]
    return zip(*results, strict=True)


def run(program):
    source = str(Path(draws.__file__).parents[2])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": source})


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


CASES = {
    "draw32": lambda g, n: draws.draw32(g, n),
    "draw64": lambda g, n: draws.draw64(g, n),
    "units24": lambda g, n: draws.units24(g, n),
    "units53": lambda g, n: draws.units53(g, n),
    "uniform": lambda g, n: random.uniform(g, (n,), d.float32),
    "uniform bounds": lambda g, n: random.uniform(g, (n,), d.float32, -3.0, 1.7),
    "uniform tiny span": lambda g, n: random.uniform(g, (n,), d.float32, 1.0, 1.0 + 2.0 ** -23),
    "uniform empty span": lambda g, n: random.uniform(g, (n,), d.float64, 2.0, 2.0),
    "uniform64": lambda g, n: random.uniform(g, (n,), d.float64, -1.0, 0.3),
    "uniform complex": lambda g, n: random.uniform(g, (n,), d.complex64),
    "uniform bfloat16": lambda g, n: random.uniform(g, (n,), d.bfloat16, -1.0, 1.0),
    "bernoulli": lambda g, n: random.bernoulli(g, (n,), d.bool_, 0.3),
    "bernoulli 0": lambda g, n: random.bernoulli(g, (n,), d.float32, 0.0),
    "bernoulli 1": lambda g, n: random.bernoulli(g, (n,), d.int64, 1.0),
    "bernoulli times": lambda g, n: random.bernoulli_times(g, (n,), d.float32, 0.9, 1 / 0.5),
    "bernoulli times 64": lambda g, n: random.bernoulli_times(g, (n,), d.float64, 0.9, 1 / 0.9),
    "bernoulli each": lambda g, n: random.bernoulli_each(
        g, np.linspace(0, 1, n, dtype=np.float32), d.float32),
    "integers": lambda g, n: random.integers(g, (n,), d.int64, -5, 1000),
    "integers of one": lambda g, n: random.integers(g, (n,), d.int64, 7, 8),
    "integers to float": lambda g, n: random.integers(g, (n,), d.float32, 0, 3),
    "integers widest": lambda g, n: random.integers(g, (n,), d.int64, 3, 3 + (1 << 28) - 1),
    "integers low end": lambda g, n: random.integers(
        g, (n,), d.int64, -(1 << 63), -(1 << 63) + 12345),
    "integers wide": lambda g, n: random.integers(g, (n,), d.int64, 0, 1 << 40),
    "integers full": lambda g, n: random.integers_full(g, (n,), d.int64),
    **{f"integers of {kind.name}": lambda g, n, kind=kind: random.integers_default(g, (n,), kind)
       for kind in (d.bool_, d.uint8, d.int8, d.int16, d.int32, d.int64, d.float16, d.bfloat16,
                    d.float32, d.float64)},
    "permutation": lambda g, n: random.permutation(g, n, d.int64),
    "permutation int16": lambda g, n: random.permutation(g, min(n, 30_000), d.int16),
    "normal": lambda g, n: random.normal(g, (n,), d.float32),
    "normal moved": lambda g, n: random.normal(g, (n,), d.float32, 1.5, 0.3),
    "normal tiny": lambda g, n: random.normal(g, (n,), d.float32, 0.0, 1e-40),
    "normal no spread": lambda g, n: random.normal(g, (n,), d.float32, 2.0, 0.0),
    "normal float16": lambda g, n: random.normal(g, (n,), d.float16),
    "normal bfloat16": lambda g, n: random.normal(g, (n,), d.bfloat16, 1.0, 2.0),
    "normal64": lambda g, n: random.normal(g, (n,), d.float64),
    "normal64 moved": lambda g, n: random.normal(g, (n,), d.float64, -1.5, 0.3),
    "normal complex": lambda g, n: random.normal(g, (n,), d.complex64),
    "normal by pairs": lambda g, n: random.normal_by_pairs(g, (n,), d.float32, 0.5, 2.0),
    "log normal": lambda g, n: random.log_normal(g, (n,), d.float64, 0.0, 1.0),
    "exponential": lambda g, n: random.exponential(g, (n,), d.float32, 1.5),
    "exponential64": lambda g, n: random.exponential(g, (n,), d.float64, 1.5),
    "cauchy": lambda g, n: random.cauchy(g, (n,), d.float64, 0.5, 2.0),
    "geometric": lambda g, n: random.geometric(g, (n,), d.int64, 0.2),
}


@pytest.mark.parametrize("name", CASES)
def test_kernels_have_numpys_bits(monkeypatch, name):
    for size in SIZES:
        for found, expected in both_ways(monkeypatch, partial(CASES[name], n=size)):
            assert same_bits(found, expected), size


def test_nothing_is_written_beyond_the_end(monkeypatch):
    monkeypatch.setattr(draws, "kernels_from", 1)
    kernels, generator = random_kernels._kernels(), Generator().manual_seed(2)
    for size in (1, 15, 17, 2047, 2049):
        memory = np.full(size + 64, 77.0, np.float32)
        kernels.uniform32(generator.address(), memory, size, 0.0, 1.0, 1.0, 1)
        assert (memory[:size] < 1).all() and (memory[size:] == 77).all()
        mask = np.full(size + 64, 77, np.uint8)
        kernels.bernoulli8(generator.address(), mask, size, 1 << 52, 1)
        assert (mask[:size] < 2).all() and (mask[size:] == 77).all()
    for size in (16, 48, 2064):
        memory = np.full(size + 64, 77.0, np.float32)
        kernels.normal32(generator.address(), memory, size, 1.0, 0.0, 1)
        assert (abs(memory[:size]) < 9).all() and (memory[size:] == 77).all()


def test_kernels_and_numpy_take_turns(monkeypatch):
    """The state may be used, marked and wound back from both sides."""
    ours, theirs = Generator().manual_seed(3), Generator().manual_seed(3)
    for count in (5, 700, 3, 1300, 624):
        monkeypatch.setattr(draws, "kernels_from", 1)
        found = draws.draw32(ours, count)
        assert found.tolist() == theirs.draw32(count).tolist()
        assert ours.random() == theirs.random()
        mark = ours.mark()
        again = draws.draw32(ours, 1000)
        ours.rewind(mark)
        assert draws.draw32(ours, 1000).tolist() == again.tolist() == theirs.draw32(1000).tolist()
    copy = ours.clone_state()
    assert draws.draw32(copy, 100).tolist() == draws.draw32(ours, 100).tolist()


@pytest.mark.parametrize(("divisor", "low"), [
    (1, 0), (2, -1), (3, 0), (7, 1 << 40), (641, 0), (65537, 0), ((1 << 24) + 1, 0),
    ((1 << 28) - 1, 0), (1 << 30, 0), ((1 << 31) - 1, 0), (1 << 31, -(1 << 62)),
])
def test_remainders_are_exact(divisor, low):
    generator, same = Generator().manual_seed(9), Generator().manual_seed(9)
    found = random_kernels.integers(generator, 200_000, divisor, low)
    words = same.draw32(200_000).astype(np.int64)
    assert np.array_equal(found, words % divisor + low)


def test_permutations_of_more_than_the_loop_shuffles():
    order = random.permutation(Generator().manual_seed(5), 300_000, d.int64)
    assert np.array_equal(np.sort(order), np.arange(300_000))


@pytest.mark.parametrize("function", list(exact._NAMES), ids=lambda f: f.__name__)
def test_the_c_librarys_functions(monkeypatch, function):
    values = np.linspace(0.0, 30.0, 5001)[1:]
    if function is exact.exp:
        values = np.concatenate((values, [709.781, 709.79, 800.0, -800.0, -math.inf]))
    if function.__name__ == "log1p":
        values = np.concatenate((-values[values < 1], values))
    values = values[: values.size // 2 * 2].reshape(2, -1).T  # not contiguous
    monkeypatch.setattr(draws, "kernels_from", 1)
    found = exact.libm(function, values)
    monkeypatch.setattr(draws, "kernels_from", 1 << 60)
    assert same_bits(found, exact.libm(function, values))


def test_fused_multiply_add(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(5000) * 2.0 ** rng.integers(-30, 30, 5000)
    for factor, term in ((0.3, 1.7), (-1e10, 3.3e-8), (2.0, 0.0), (1e-100, 1e-90)):
        monkeypatch.setattr(draws, "kernels_from", 1)
        found = exact.fma64(values, factor, term)
        monkeypatch.setattr(draws, "kernels_from", 1 << 60)
        assert same_bits(found, exact.fma64(values, factor, term))


def test_a_large_stream_is_made_in_pieces(monkeypatch):
    monkeypatch.setattr(random_kernels, "_PIECE", 4800)
    for name in ("uniform64", "normal moved", "normal64", "normal by pairs", "bernoulli"):
        for found, expected in both_ways(monkeypatch, lambda g, n=name: CASES[n](g, 20_001)):
            assert same_bits(found, expected)


def test_the_compiler_is_loaded_for_many_and_then_serves_few():
    program = """
import sys
from iskra.core.generator import Generator
from iskra.runtime import draws
g = Generator().manual_seed(0)
for size in (1000, 5000, 1000):
    draws.units24(g, size)
    print("llvmlite" in sys.modules, draws.kernels_for(1000) is not None)
"""
    assert run(program).stdout.splitlines() == ["False False", "True True", "True True"]


def test_threads_share_a_generator(monkeypatch):
    monkeypatch.setattr(draws, "kernels_from", 1)
    generator, drawn = Generator().manual_seed(8), []

    def work():
        for _ in range(50):
            drawn.append(random.uniform(generator, (1000,), d.float32))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = draws.units24(Generator().manual_seed(8), 200_000).reshape(200, 1000)
    assert sorted(map(bytes, drawn)) == sorted(map(bytes, expected))


def test_millions_of_radii_and_angles(monkeypatch):
    for found, expected in both_ways(
        monkeypatch, lambda g: normal.normal(g, (1 << 21,), d.float32)
    ):
        assert same_bits(found, expected)


def test_pytorch(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(draws, "kernels_from", 1)
    for size in (16, 17, 33, 640, 5000, 100_000):
        torch.manual_seed(size)
        generator = Generator().manual_seed(size)
        for ours, theirs in (
            (random.uniform(generator, (size,), d.float32), torch.rand(size)),
            (random.normal(generator, (size,), d.float32), torch.randn(size)),
            (random.uniform(generator, (size,), d.float32, -2.0, 3.0),
             torch.empty(size).uniform_(-2, 3)),
            (random.normal(generator, (size,), d.float32, 1.0, 2.0),
             torch.empty(size).normal_(1, 2)),
            (random.normal(generator, (size,), d.float64),
             torch.randn(size, dtype=torch.float64)),
            (random.bernoulli(generator, (size,), d.float32, 0.4),
             torch.empty(size).bernoulli_(0.4)),
            (random.integers(generator, (size,), d.int64, 0, 77), torch.randint(77, (size,))),
            (random.permutation(generator, size, d.int64), torch.randperm(size)),
            (random.log_normal(generator, (size,), d.float32),
             torch.empty(size).log_normal_()),
        ):
            assert same_bits(ours, theirs.numpy())


@pytest.mark.parametrize("trouble", [
    "sys.modules['llvmlite'] = None",
    "from iskra.runtime import native; native.available = lambda: False",
    "from iskra.runtime import random_kernels; random_kernels._knows_the_state = lambda k: False",
])
def test_without_a_compiler_numpy_serves(trouble):
    program = f"""
import sys
{trouble}
from iskra.runtime import draws
from iskra.core.generator import Generator
print(draws.kernels_for(1 << 20), draws.units24(Generator().manual_seed(0), 10000)[-1].item())
"""
    result = run(program)
    expected = draws.units24(Generator().manual_seed(0), 10000)[-1].item()
    assert result.stdout == f"None {expected}\n", result.stderr


@pytest.mark.parametrize(("triple", "cpu"), [
    ("aarch64-linux-gnu", "generic"), ("x86_64-linux-gnu", "x86-64-v2"),
    ("x86_64-linux-gnu", "x86-64-v3"),
])
def test_other_machines(triple, cpu):
    assert "remainder" in jit.assembly(random_ir.text(), triple, cpu)
    assert "normal32" in jit.assembly(normal_ir.text(), triple, cpu)


def test_many_small_draws_come_to_kernels():
    program = """if True:
        import sys
        from iskra.core.generator import Generator
        from iskra.runtime import draws
        generator, other = Generator().manual_seed(7), Generator().manual_seed(7)
        found = [draws.draw32(generator, 64) for _ in range(40)]
        assert "llvmlite" not in sys.modules
        found += [draws.draw32(generator, 64) for _ in range(60)]
        assert "llvmlite" in sys.modules and draws.kernels_from == draws.AFTERWARDS
        for words in found:
            assert (words == other.draw32(64)).all()
    """
    done = run(program)
    assert not done.returncode, done.stderr
