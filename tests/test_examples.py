"""The examples run as a user runs them, and reach what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True,
                          cwd=ROOT, env=environment)


def test_digits_learns_to_read_and_leaves_a_checkpoint_and_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    result = run("examples/digits.py", "--epochs", 8, "--out", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "38,282 parameters, 1,438 digits to learn from, 359 to be tested on" in result.stdout
    assert float(re.search(r"reads ([\d.]+)%", result.stdout)[1]) >= 97
    assert "loaded again, it reads all 359 the same" in result.stdout
    assert re.search(r"epoch  8/8 .* 45/45 .*loss 0\.\d+, accuracy 9\d\.\d%", result.stderr)
    assert (tmp_path / "digits.pt").read_bytes()[:2] == b"PK"
    assert (tmp_path / "digits.png").read_bytes()[:4] == b"\x89PNG"


def test_digits_says_so_if_it_has_not_learnt_enough(tmp_path):
    pytest.importorskip("matplotlib")
    result = run("examples/digits.py", "--epochs", 1, "--out", tmp_path)
    assert result.returncode == 1
    assert "below the 97%" in result.stderr


def test_a_plain_pytorch_script_runs_as_it_is():
    result = run("-m", "iskra", "examples/two_layer_regression.py", "--steps", 400)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "Curve(",
        "  (hidden): Linear(in_features=1, out_features=32, bias=True)",
        "  (output): Linear(in_features=32, out_features=1, bias=True)",
        ")",
    ]
    # The losses that PyTorch prints for the same script.
    losses = [float(re.search(r"loss ([\d.]+)", line)[1]) for line in lines[4:6]]
    assert losses == pytest.approx([0.0070, 0.0061], abs=2e-4)
    assert lines[-1] == "weights: torch.Size([32, 1]) torch.float32"
