"""`iskra.explain` and the replay of kernels."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from ops.table import Make, sampled_operators, samples_of

import iskra
from iskra import graph
from iskra.dispatch import OPERATORS, Interceptor
from iskra.graph.explain import Launch
from iskra.graph.replay import Replay
from iskra.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]


def test_a_map_beside_sums_takes_one_pass():
    x, channels = iskra.randn(64, 32), iskra.rand(32)
    backward = OPERATORS["batch_norm_fixed_backward"].public
    found = iskra.explain(backward, x, x, channels, channels, channels, 1e-5)
    (kernel,) = found.kernels
    assert (kernel.form, kernel.passes) == ("columns", 1)
    # The loops over blocks and over rows, and the one over tasks.
    assert kernel.ir.count("loop ") == 3
    assert len(kernel.nest.outputs) == 3


def test_a_row_program():
    x = iskra.randn(64, 128)
    found = iskra.explain(iskra.softmax, x, 1)
    (call,), (kernel,) = found.calls, found.kernels
    assert call.name == "softmax" and call.reason is None
    assert str(found).splitlines()[:2] == [
        "softmax(float32[64, 128], 1) -> float32[64, 128]: 1 kernel",
        "  %0: float32[s0, s1] = input 0"]
    assert "exp(" in str(found) and "return %7" in str(found)
    assert (kernel.form, kernel.passes, kernel.layout_class) == ("rows", 3, "rows_0-1")
    assert "axis 1 reduced, 3 passes" in str(kernel) and kernel.work == "64 units in 1 task"
    assert kernel.ir.startswith("kernel kernel(slots, task)") and "loop" in kernel.ir
    assert "define void @kernel" in kernel.llvm and "alloca" not in kernel.llvm
    assert "kernel:" in kernel.assembly
    assert "%ymm" in kernel.assembly_for("x86_64-linux-gnu", "x86-64-v3")
    np.testing.assert_array_equal(found.result.numpy(), x.softmax(1).numpy())


def test_parts_are_shown_where_asked_for():
    found = iskra.explain(iskra.exp, iskra.ones(5000), show="")
    assert str(found) == "exp(float32[5000]) -> float32[5000]: 1 kernel"
    text = found.show("graph kernels ir llvm assembly")
    for part in ("exp(%0)", "kernel 1, map: space [s0]", "loops: s0", "reads: %0 (float32)",
                 "kernel 1, ir:", "f32x16", "kernel 1, llvm:", "<16 x float>",
                 "kernel 1, assembly:", "ret"):
        assert part in text, part
    assert "llvm" not in found.show("graph ir") and "loops" not in found.show("graph ir")


def test_a_long_reduction_is_two_kernels():
    found = iskra.explain(iskra.sum, iskra.ones(200_000))
    first, second = found.kernels
    assert "2 kernels" in str(found) and "space [s0, chunks], axis 0 reduced, 1 pass" in str(first)
    assert "6 units in 6 tasks" in str(found)
    assert second.work == "1 unit in 1 task"


def test_gaps_and_columns():
    x = iskra.ones(100, 200)
    assert "strided" in str(iskra.explain(iskra.exp, x[:, ::2]))
    assert iskra.explain(iskra.sum, x, 0).kernels[0].form == "columns"
    assert "loops: s0*s1" in str(iskra.explain(iskra.sum, x))


@pytest.mark.parametrize(("function", "served", "reason"), [
    (lambda: iskra.ones(3).sqrt(), "NumPy", "too small: 3 elements, kernels begin at 4096"),
    (lambda: iskra.ones(1).sqrt(), "NumPy", "too small: 1 element, kernels begin at 4096"),
    (lambda: iskra.ones(3).exp(), "1 kernel", None),
    (lambda: iskra.ones(9).mul_(2), "NumPy", "too small: 9 elements, kernels begin at 4096"),
    (lambda: iskra.zeros(5000, dtype=iskra.complex64).exp(), "NumPy",
     "an operand of dtype complex64"),
    (lambda: iskra.ones(5000).flip(0), "1 kernel by hand: copy_against", None),
    (lambda: iskra.ones(5000).kthvalue(3), "NumPy", "not traced: its body moves data"),
    (lambda: iskra.nonzero_static(iskra.ones(5000), size=3),
     "2 kernels by hand: tallies_f32", None),
    (lambda: iskra.cat([iskra.ones(5000)]), "1 kernel by hand: join", None),
    (lambda: iskra.ones(5000).frexp(), "NumPy", "not traced: frexp"),
    (lambda: iskra.ones(5000).cumsum(0), "1 kernel by hand: rows_add_f32_f32", None),
    (lambda: iskra.zeros(5000), "its body alone", None),
    (lambda: iskra.ones(80, 80).t(), "a view", None),
    (lambda: iskra.ones(5000).sub_(1), "1 kernel", None),
])
def test_which_tier_serves_a_call_and_why(function, served, reason):
    call = iskra.explain(function).calls[-1]
    assert served in call.text(())
    assert call.reason is None if reason is None else call.reason.startswith(reason)


def test_kernels_written_by_hand_are_named():
    a = iskra.ones(64, 64)
    found = iskra.explain(iskra.matmul, a, a)
    (call,), (kernel,) = found.calls, found.kernels
    assert str(found) == "matmul(float32[64, 64], float32[64, 64]) -> float32[64, 64]: " \
        "1 kernel by hand: product"
    assert (call.served, call.reason, kernel.form, kernel.name) == (
        "kernels", None, "by hand", "product")
    assert kernel.ir.startswith("kernel product(slots, task)") and kernel.ir in _outdented(
        found.show("ir"))
    assert "define void @product" in kernel.llvm and "product:" in kernel.assembly
    assert "product:" in kernel.assembly_for("aarch64-linux-gnu")


def _outdented(text):
    return "\n".join(line.removeprefix("    ") for line in text.splitlines())


def test_random_streams_are_written_by_hand():
    found = iskra.explain(lambda: iskra.rand(3 << 20), show="")
    assert str(found) == "rand(3145728) -> float32[3145728]: 3 kernels by hand: uniform32 x 3"
    assert found.kernels[0].ir.count("define void @uniform32") == 1
    assert "uniform32:" in found.kernels[0].assembly


def test_kernels_by_hand_beside_others():
    found = iskra.explain(lambda: iskra.ones(64, 64).mm(iskra.ones(64, 64)).exp(), show="")
    assert [line.rpartition(": ")[2] for line in str(found).splitlines()[2:]] == [
        "product", "1 kernel"]
    assert "by hand" not in found.calls[-1].text(())


def test_an_overlapping_write_says_why():
    memory = iskra.ones(6000)

    def function():
        memory[1:].add_(memory[:-1])

    assert "overwrite elements yet to be read" in str(iskra.explain(function))


def test_calls_inside_a_composite_operator_are_indented():
    found = iskra.explain(iskra.Tensor.half, iskra.ones(5000))
    (call,) = found.calls
    assert call.served == "the calls inside" and call.inside
    assert str(found).splitlines()[1].startswith("  " + call.inside[0].name)


def test_backward_and_an_optimizers_sweep():
    weight = iskra.nn.Parameter(iskra.ones(80, 80))
    optimizer = iskra.optim.Adam([weight])

    def step():
        optimizer.zero_grad()
        weight.exp().sum().backward()
        optimizer.step()

    step()
    expected = weight.detach().clone()
    weight.data.fill_(1.0)
    optimizer.state.clear()
    found = iskra.explain(step)
    names = [call.name for call in found.calls]
    assert names[:2] == ["exp", "sum"] and names[-1] == "Adam._formula" and "mul" in names
    assert found.calls[-1].kernels[0].form == "sweep"
    assert "sqrt(" in found.calls[-1].text(["graph"])
    assert weight.equal(expected)  # watching changes nothing


def test_only_this_thread_is_seen():
    def function():
        other = threading.Thread(target=lambda: iskra.ones(80, 80).tanh().mm(iskra.ones(80, 80)))
        other.start()
        other.join()
        return iskra.zeros(5000).exp()

    text = str(iskra.explain(function))
    assert "tanh" not in text and "by hand" not in text


def test_nested_explanations():
    inner = []

    def function(x):
        inner.append(iskra.explain(iskra.exp, x))
        return x.neg()

    outer = iskra.explain(function, iskra.ones(5000))
    assert [c.name for c in inner[0].calls] == ["exp"]
    assert [c.name for c in outer.calls] == ["exp", "neg"]
    assert [len(c.kernels) for c in outer.calls] == [1, 1]


def test_errors():
    with pytest.raises(TypeError, match=r"not a tensor: write explain\(f, x\)"):
        iskra.explain(iskra.ones(3).exp())
    with pytest.raises(TypeError, match="not a value of type int"):
        iskra.explain(3)
    with pytest.raises(ValueError, match="len called no operator"):
        iskra.explain(len, [1])
    with pytest.raises(ValueError, match="shows graph, kernels, ir, llvm, assembly, not 'all'"):
        iskra.explain(iskra.exp, iskra.ones(3), show="all")
    with pytest.raises(ZeroDivisionError):
        iskra.explain(lambda: 1 / 0)
    assert graph.observers == [] and iskra.core.local.local.interceptors == ()


# Which tier serves a call does not depend on who is watching.

class Noted(list):
    """An observer that notes what runs as text."""

    def launched(self, op, program, launch, arrays, scalars, into):
        shown = Launch(launch)
        self.append((op.name, str(shown.graph), [k.layout_class for k in shown.kernels]))

    def refused(self, op, reason):
        """Also known by there being no launch."""


@pytest.fixture
def noted(monkeypatch):
    for op in OPERATORS.values():
        monkeypatch.setattr(op, "large", 1)
        op.plans.clear()  # they know what is large
    found = Noted()
    graph.observers.append(found)
    yield found
    graph.observers.remove(found)
    for op in OPERATORS.values():
        op.plans.clear()


@pytest.mark.parametrize("dtype", [iskra.float32, iskra.bfloat16, iskra.int64])
def test_both_ways_of_a_call_take_the_same_tier(dtype, noted):
    served = 0
    for name in sampled_operators():
        op = OPERATORS[name]
        try:
            calls = samples_of(op, Make(dtype))
            for args, kwargs in calls:
                op.public(*args, **kwargs)  # from now on the short way knows this dtype
        except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
            continue  # the operator refuses this dtype
        for args, kwargs in calls:
            noted.clear()
            op.public(*args, **kwargs)
            short = [*noted]
            noted.clear()
            with Interceptor():
                op.public(*args, **kwargs)
            assert short == noted, name
            served += bool(noted)
    assert served > 200


def test_what_cannot_be_traced_does_not_keep_its_operands():
    OPERATORS["frexp"].programs.clear()
    array = np.zeros(5000, np.float32)
    alive = weakref.ref(array)
    assert "not traced: frexp" in str(iskra.explain(iskra.frexp, iskra.from_numpy(array)))
    del array
    gc.collect()
    assert alive() is None


# Replay

def calls():
    x = iskra.ones(100, 90)
    x.exp().softmax(1).sum()
    x.t().softmax(1)
    x.double() + x


def test_files_are_named_by_what_they_hold(tmp_path):
    replay = Replay(tmp_path)
    graph.observers.append(replay)
    try:
        calls()
        first = {p.name: p.read_text() for p in tmp_path.iterdir()}
        calls()  # nothing new
    finally:
        graph.observers.remove(replay)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == first
    assert {"exp.float32.map_01.txt", "softmax.float32.rows_0-1.txt", "sum.float32.rows_01.txt",
            "softmax.float32.columns_1-0.txt", "add.float64-float32.map_01.txt"} <= set(first)
    text = first["softmax.float32.rows_0-1.txt"]
    assert text.startswith("softmax: kernel 1 of 1\n%0: float32[s0, s1] = input 0\n")
    assert "axis 1 reduced" in text and "\nkernel kernel(slots, task)\n" in text


def test_several_kernels_of_one_name_are_numbered(tmp_path):
    replay = Replay(tmp_path)
    graph.observers.append(replay)
    try:
        for epsilon in (1e-5, 1e-3):
            F.layer_norm(iskra.ones(100, 100), (100,), eps=epsilon)
    finally:
        graph.observers.remove(replay)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2 and names[0].endswith("rows_0-1.2.txt")


SCRIPT = """
import iskra
x = iskra.randn(30, 150)
y = (x.exp() / 3).softmax(1)
x.argmax(0), x.t() + 1, x.sum(), iskra.where(x > 0, x, y)
"""


def run(*command, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment})
    assert done.stderr == "", done.stderr
    assert done.returncode == 0
    return done.stdout


def test_the_same_calls_give_the_same_files(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run(script, ISKRA_REPLAY=str(tmp_path / "a"), PYTHONHASHSEED="1")
    tool = ROOT / "tools" / "replay.py"
    said = run(tool, "--verify", "--interpret", tmp_path / "b", script, PYTHONHASHSEED="2")
    first, second = ({p.name: p.read_text() for p in (tmp_path / f).iterdir()} for f in "ab")
    assert first == second and len(first) >= 7
    assert said.startswith(f"{len(first)} kernels, {len(first)} verified, ")
    assert said.endswith(" 0 failures\n") and " 0 calls" not in said


@pytest.mark.parametrize("rows, columns, form", [
    (37, 10, "short rows"), (15, 30, "rows"), (37, 48, "short rows"), (37, 49, "rows"),
])
def test_short_rows_are_turned(rows, columns, form):
    planes = iskra.rand(40, rows, columns)[::2]  # rows of different planes are not side by side
    (call,) = iskra.explain(lambda: planes.sum(2)).calls
    assert call.kernels[0].form == form
