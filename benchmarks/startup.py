"""From a new process to the end of its first training step, of the network of examples/digits.py.

PyTorch has no cache to be cold: its two numbers are the same but for the noise.
"""

import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cases import case

CASES = {}
startup = functools.partial(case, CASES, measures_itself=True)

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# The example imports iskra: it is given the framework by that name.
PROGRAM = """
import importlib, sys
torch = sys.modules["iskra"] = importlib.import_module(sys.argv[1])
sys.path.append(sys.argv[2])
from digits import Reader
torch.manual_seed(0)
model = Reader()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
images, digits = torch.rand(32, 1, 8, 8), torch.randint(0, 10, (32,))
loss = torch.nn.CrossEntropyLoss()(model(images), digits)
loss.backward()
optimizer.step()
print(loss.item(), flush=True)
"""


def first_step(framework, **environment):
    """The seconds from starting a process to its loss, and the loss."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, framework, EXAMPLES], text=True,
                          stdout=subprocess.PIPE, env={**os.environ, **environment}) as process:
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"the process ended with {process.returncode}")
    return seconds, float(line)


@startup("first training step, no kernel cache", limit=3.0)
def cold(T):
    def step():
        with tempfile.TemporaryDirectory() as folder:
            return first_step(T.__name__, ISKRA_CACHE_DIR=folder)[0]
    return step


@startup("first training step, kernels cached", limit=0.5)
def warm(T):
    return lambda: first_step(T.__name__)[0]    # the driver's warm-up has filled the cache
