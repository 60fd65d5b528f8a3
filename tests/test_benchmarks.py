"""The benchmark driver: cases agree or are reported, and the command line works."""

import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_dtypes import bfloat16

import iskra
from benchmarks import elementwise, elementwise64k
from benchmarks.__main__ import GROUPS, print_row, print_summary
from benchmarks.cases import arrays, case, difference
from benchmarks.driver import Row
from benchmarks.startup import first_step
from benchmarks.worker import answer

ROOT = Path(__file__).resolve().parents[1]


def cases_of(group):
    return importlib.import_module(f"benchmarks.{group}").CASES


# Left out: elementwise, the longest rows and the largest products: smaller ones run the same lines.
SMALL = [(group, name) for group in GROUPS if group != "elementwise" for name in cases_of(group)
         if "512×32000" not in name and "2048×2048" not in name]


@pytest.mark.parametrize(("ours", "theirs", "complaint"), [
    ([np.float32(1)], [np.float32(1)], None),
    ([np.float32(1)], [np.float32(1.000001)], None),
    ([np.float32(np.nan)], [np.float32(np.nan)], None),
    ([np.float32(1)], [np.float32(1.1)], "values differ by up to 0.1"),
    ([np.float32(1)], [np.float32(np.nan)], "values differ by up to nan"),
    ([np.float32(1)], [np.float64(1)], "float32[] instead of float64[]"),
    ([np.zeros(2)], [np.zeros((2, 1))], "float64[2] instead of float64[2, 1]"),
    ([np.zeros(2)], [], "1 results instead of 0"),
    ([np.float32(1e-7)], [np.float32(2e-7)], "values differ by up to 1e-07"),
    ([np.float32([1, 1e-6])], [np.float32([1, 2e-6])], None),
    ([np.float32([np.inf, 1])], [np.float32([np.inf, 1])], None),
    ([np.float32([np.inf, 1])], [np.float32([np.inf, 2])], "values differ by up to 1"),
    ([np.float32([np.nan, 1])], [np.float32([np.nan, 2])], "values differ by up to 1"),
    ([np.zeros(0)], [np.zeros(0)], None),
    ([np.array([True, False])], [np.array([True, True])], "values differ by up to 1"),
    ([np.ones(2, bfloat16)], [np.ones(2, bfloat16)], None),
    ([np.ones(2, bfloat16)], [np.full(2, 1.125, bfloat16)], "values differ by up to 0.12"),
    ([np.ones(2, bfloat16)], [np.ones(2, "f4")], "bfloat16[2] instead of float32[2]"),
])
def test_difference(ours, theirs, complaint):
    assert difference(ours, theirs, 1e-5) == complaint


def test_arrays_flattens_what_a_step_returns():
    found = arrays([iskra.ones(2), (3.0, iskra.zeros(1, requires_grad=True))])
    assert [a.tolist() for a in found] == [[1, 1], 3, [0]]


@pytest.mark.parametrize("name", ["iskra", "torch"])
def test_arrays_keep_bfloat16_and_copy(name):
    T = pytest.importorskip(name)
    tensor = T.ones(2)
    plain, narrow = arrays([tensor, tensor.bfloat16()])
    tensor.mul_(2)
    assert plain.tolist() == [1, 1]
    assert (narrow.dtype, narrow.tolist()) == (bfloat16, [1, 1])


def test_names_of_cases_are_unique():
    cases = {}
    case(cases, "a")(None)
    with pytest.raises(AssertionError, match="a"):
        case(cases, "a")(None)


@pytest.mark.parametrize(("group", "name"), SMALL)
def test_every_case_runs(group, name):
    step = cases_of(group)[name].make(iskra)
    assert step() is not None


def test_elementwise64k_has_the_cases_of_elementwise_in_small():
    assert list(elementwise64k.CASES) == list(elementwise.CASES)
    step = elementwise64k.CASES["a + b"].make(iskra)
    assert step().shape == (256, 256)
    assert elementwise.SIDE ** 2 == 1 << 22


def test_the_first_step_has_the_same_loss_in_both_frameworks():
    pytest.importorskip("torch")
    (_, ours), (_, theirs) = first_step("iskra"), first_step("torch")
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_first_step_that_fails_is_an_error(capfd):
    with pytest.raises(RuntimeError, match="the process ended with 1"):
        first_step("nosuchframework")
    assert "nosuchframework" in capfd.readouterr().err


def test_a_case_that_measures_itself_runs_once_an_answer():
    calls = []
    cases = {}
    case(cases, "a", measures_itself=True)(lambda T: lambda: calls.append(T) or 1.5)
    steps = {}
    for asked in (1, 2):
        assert answer(iskra, "time", cases["a"], steps, 0.05) == 1.5
        assert len(calls) == asked


def test_a_case_is_checked_in_as_many_steps_as_it_says():
    cases = {}
    case(cases, "a", checked_steps=3)(lambda T: functools.partial(next, iter(range(9))))
    assert [a.tolist() for a in answer(iskra, "check", cases["a"], {}, 0)] == [0, 1, 2]


ROWS = [Row("quick", ours=1.0, theirs=2.0, ratio=0.5, goal=0.7, limit=3.0),
        Row("slow", ours=1.0, theirs=2.0, ratio=0.5, goal=0.4),
        Row("late", ours=4.0, theirs=8.0, ratio=0.5, limit=3.0),
        Row("free", ours=9.0, theirs=1.0, ratio=0.5),
        Row("bad", problem="ValueError: no")]


def test_a_row_shows_its_goal_or_limit(capsys):
    for row in ROWS:
        print_row(row)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip(" |").rpartition("|")[2].strip() for line in lines] == [
        "3 s", "0.40", "3 s", "0.00–0.00", "ValueError: no"]


def test_the_summary_names_what_missed_its_goal_or_limit(capsys):
    print_summary(ROWS, 0.8, ["iskra", "torch"], ["1", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ["geometric mean of 4 ratios: 0.50 (goal 0.80)",
                         "above their goal: slow, late", "without a result: bad"]


def test_the_command_line(tmp_path):
    path = tmp_path / "numbers.json"
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "overhead", "--frameworks", "iskra", "iskra",
         "--only", "exp", "--rounds", "3", "--seconds", "0.01", "--json", str(path)],
        capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": f"{ROOT}/src"})
    assert result.returncode == 0, result.stderr
    row, = json.loads(path.read_text())
    assert row["case"] == "a.exp(), 8×8"
    assert row["problem"] is None
    assert row["lowest"] <= row["ratio"] <= row["highest"]
    assert "| a.exp(), 8×8 " in result.stdout
