"""Writing every kernel down, to prove that a refactor changed none: compare two folders.

`Replay` is an observer of the kernel tier. With ``ISKRA_REPLAY=folder`` in the environment one is
there from the first large operand on; `tools/replay.py` runs it over scripts or all operators.
"""

import re
from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np

from iskra.codegen import interpret
from iskra.graph import observers
from iskra.graph.explain import Launch, SweepLaunch


class Replay:
    """Writes each kernel that a launch uses into a file of its own when it is first seen.

    A file is named by operator, operands' dtypes and layout class, with a number where these are
    the same for several kernels. The same calls in the same order give the same files.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.names = {}  # compiled kernel -> its file's name
        self.taken = Counter()

    def launched(self, op, program, launch, arrays, scalars, into):
        """A call runs a program's kernels."""
        self._write(op.name, [a.dtype for a in arrays if a is not None], Launch(launch))

    def swept(self, formula, sweep, columns):
        """A sweep applies a formula to columns of arrays."""
        self._write(formula.__qualname__, [c[0].dtype for c in columns], SweepLaunch(sweep))

    def refused(self, op, reason):
        """A call is left to NumPy."""

    def _write(self, what, dtypes, launch):
        for number, kernel in enumerate(launch.kernels, 1):
            if kernel.compiled in self.names:
                continue
            name = _file_name(what, dtypes, kernel)
            self.taken[name] += 1
            if self.taken[name] > 1:
                name += f".{self.taken[name]}"
            self.names[kernel.compiled] = name
            head = f"{what}: kernel {number} of {len(launch.kernels)}\n{launch.graph}\n{kernel}"
            text = f"{head}\n\n{kernel.ir}\n"
            (self.folder / f"{name}.txt").write_text(text, encoding="utf-8")


def _file_name(what, dtypes, kernel):
    runs = [(str(d), len(list(run))) for d, run in groupby(dtypes)]
    kinds = "-".join(d if n == 1 else f"{d}x{n}" for d, n in runs)
    return f"{re.sub(r'[^A-Za-z0-9_]+', '_', what)}.{kinds}.{kernel.layout_class}"


def begin(folder):
    """Write kernels into a folder for the rest of the process."""
    observers.append(Replay(folder))


def both_ways(step, values, scalars, into=None, tasks=3, order="shuffled"):
    """What a step's kernel writes, as the interpreter has it and as machine code: lists of arrays.

    values: the arrays by what `step.reads` names; they and `into` are left alone. The interpreter
    cuts the work into up to `tasks` tasks, runs them in the given order and looks for races; it
    raises what `iskra.codegen.interpret.run` raises.
    """
    integers = dict(zip(step.kernel.arguments, step.integers, strict=True))
    slots, made = _slots(step, values, scalars, into)
    tasks = min(tasks, integers["units",])
    cut = (integers | {("tasks",): tasks}).values()
    interpret.run(step.kernel.function(), [*slots, *cut], tasks, order=order, races=True)
    slots, by_machine = _slots(step, values, scalars, into)
    step.call(*slots, step.integers, step.tasks)
    return made, by_machine


def _slots(step, values, scalars, into):
    """``(arrays and numbers for a kernel, the results among them)``, all of them copies."""
    copies = {}

    def copied(array):  # of one array, one copy
        if id(array) not in copies:
            copies[id(array)] = _same_layout(array)
        return copies[id(array)]

    reads = [copied(values[r]) for r in step.reads]
    made = [copied(into)] if into is not None else [
        np.zeros(s, d) for s, d in zip(step.shapes, step.dtypes)]
    return [*reads, *made, *[scalars[s] for s in step.scalars]], made


def _same_layout(array):
    """A copy of an array with its strides, overlaps included."""
    low, high = np.lib.array_utils.byte_bounds(array)
    start = array.__array_interface__["data"][0] - low
    memory = np.zeros(high - low, np.uint8)
    copy = np.ndarray(array.shape, array.dtype, memory, start, array.strides)
    np.copyto(copy, array)
    return copy
