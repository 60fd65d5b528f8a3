"""Every kernel that Iskra generates, under the interpreter's checks; see `interpreted.py`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from iskra.runtime import native

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not native.available(), reason="no machine code with this Python")
def test_no_kernel_strays_and_no_task_depends_on_another():
    result = subprocess.run(
        [sys.executable, "tests/codegen/interpreted.py"], cwd=ROOT, capture_output=True, text=True,
        env={"PYTHONPATH": "src", "ISKRA_CACHE_DIR": ""}, timeout=300)
    assert result.returncode == 0, result.stderr
    counts = {part: (int(calls), int(several)) for part, calls, several in re.findall(
        r"(\w+) (\d+) calls, (\d+) of several tasks", result.stdout)}
    # That it is kernels that were tested, and not NumPy.
    assert list(counts) == ["matrix_products", "operators", "written_in_place", "training"]
    assert all(calls for calls, _ in counts.values())
    assert counts["matrix_products"][1] and counts["operators"][1]
