"""The benchmark driver: cases agree or are reported, and the command line works."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import iskra
from benchmarks.cases import arrays, difference
from benchmarks.overhead import CASES

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("ours", "theirs", "complaint"), [
    ([np.float32(1)], [np.float32(1)], None),
    ([np.float32(1)], [np.float32(1.000001)], None),
    ([np.float32(np.nan)], [np.float32(np.nan)], None),
    ([np.float32(1)], [np.float32(1.1)], "values differ by up to 0.1"),
    ([np.float32(1)], [np.float32(np.nan)], "values differ by up to nan"),
    ([np.float32(1)], [np.float64(1)], "float32[] instead of float64[]"),
    ([np.zeros(2)], [np.zeros((2, 1))], "float64[2] instead of float64[2, 1]"),
    ([np.zeros(2)], [], "1 results instead of 0"),
])
def test_difference(ours, theirs, complaint):
    assert difference(ours, theirs, 1e-5) == complaint


def test_arrays_flattens_what_a_step_returns():
    found = arrays([iskra.ones(2), (3.0, iskra.zeros(1, requires_grad=True))])
    assert [a.tolist() for a in found] == [[1, 1], 3, [0]]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_case_runs(case):
    step = case.make(iskra)
    assert step() is not None


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
