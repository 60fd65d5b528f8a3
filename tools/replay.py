"""Writes every kernel's loop IR into a folder, to see what a change to the compiler changes.

    python tools/replay.py [--verify] [--interpret] FOLDER                  # the test samples
    python tools/replay.py [--verify] [--interpret] FOLDER script.py [...]  # what a script runs

`diff -r before after` of two such folders proves that a refactor changed no kernel, or shows how it
changed which. Names and order of the files depend on the calls alone. `--verify` checks each kernel
with the verifier, `--interpret` runs each call's kernels in the interpreter too, in several tasks,
with its checks of bounds and races, and compares bits. Any other run writes its kernels with
``ISKRA_REPLAY=FOLDER`` in the environment.
"""

import argparse
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from codegen.both import same_bits  # noqa: E402
from ops.table import Make, sampled_operators, samples_of  # noqa: E402

import iskra  # noqa: E402
from iskra import graph  # noqa: E402
from iskra.codegen.verify import verify  # noqa: E402
from iskra.dispatch import OPERATORS, Interceptor  # noqa: E402
from iskra.graph.replay import Replay, both_ways  # noqa: E402

DTYPES = ("float32", "float64", "bfloat16", "int64", "int32", "bool")
LAYOUTS = ("contiguous", "transposed", "gaps")
MOST = 1 << 16  # elements of a call that is interpreted


class Checker:
    """An observer that checks the kernels of each launch before they run."""

    def __init__(self, verifies, interprets):
        self.verifies, self.interprets = verifies, interprets
        self.verified, self.compared, self.failures = set(), 0, []

    def launched(self, op, program, launch, arrays, scalars, into):
        """A call runs a program's kernels."""
        values = dict(enumerate(arrays))
        small = all(a.size <= MOST for a in arrays)
        for number, step in enumerate(launch[0], 1):
            try:
                self._verify(step.kernel)
                if self.interprets and small:
                    self._compare(step, values, scalars, into)
            except (ValueError, IndexError, TypeError, RuntimeError, AssertionError) as error:
                kinds = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
                self.failures.append(f"{op.name}({kinds}), kernel {number}: {error}")
                return

    def _verify(self, kernel):
        if self.verifies and kernel not in self.verified:
            verify(kernel.function())
            self.verified.add(kernel)

    def _compare(self, step, values, scalars, into):
        ours, machines = both_ways(step, values, scalars, into)
        for one, other in zip(ours, machines, strict=True):
            same_bits(one, other, "interpreter and machine code")
        values.update(zip(step.writes, step.arranged(machines)))
        self.compared += 1

    def swept(self, formula, sweep, columns):
        """A sweep applies a formula to columns of arrays."""
        self._verify(sweep.kernel)

    def refused(self, op, reason):
        """A call is left to NumPy."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the kernels go; made if need be, empty")
    parser.add_argument("--verify", action="store_true", help="check each kernel's loop IR")
    parser.add_argument("--interpret", action="store_true", help="compare with the interpreter")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="a script and its arguments")
    options = parser.parse_args()
    if options.script and options.script[0].startswith("-"):
        parser.error(f"{options.script[0]} belongs before the folder")
    if options.folder.exists() and any(options.folder.iterdir()):
        return f"{options.folder} is not empty"
    replay, checker = Replay(options.folder), Checker(options.verify, options.interpret)
    graph.observers += [replay, checker]
    if options.script:
        sys.argv = options.script
        runpy.run_path(options.script[0], run_name="__main__")
    else:
        run_samples()
    print(f"{len(replay.names)} kernels, {len(checker.verified)} verified, "
          f"{checker.compared} calls interpreted, {len(checker.failures)} failures")
    return "\n\n".join(checker.failures) or 0


def run_samples():
    """The test samples of every operator, on the kernel tier however small they are."""
    for op in OPERATORS.values():
        op.large = 1
    for name in sampled_operators():
        op = OPERATORS[name]
        for dtype in DTYPES:
            for layout in LAYOUTS:
                run_sample(op, getattr(iskra, dtype), layout)


def run_sample(op, dtype, layout):
    if not op.computes or op.accepts is not None and dtype.category not in op.accepts:
        return
    try:
        # The complete path: short ones know by heart what is large.
        with Interceptor():
            for args, kwargs in samples_of(op, Make(dtype, layout=layout)):
                op.public(*args, **kwargs)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError):
        return  # the operator refuses this dtype


if __name__ == "__main__":
    sys.exit(main())
