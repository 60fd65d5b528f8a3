"""Runs a group of cases on two frameworks that take turns, and checks that their results agree."""

import importlib
import multiprocessing
import os
import statistics
from typing import NamedTuple

from benchmarks.cases import difference
from benchmarks.worker import serve


class Row(NamedTuple):
    """One case's outcome; times in seconds a call, `problem` in words if there is no outcome.

    `shown` is what the times are multiplied with in the table.
    """

    case: str
    ours: float = 0.0
    theirs: float = 0.0
    ratio: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    goal: float | None = None
    limit: float | None = None
    problem: str | None = None
    shown: float = 1e6

    def missed(self):
        """Whether it took longer than we aim at."""
        return (self.goal is not None and self.ratio > self.goal
                or self.limit is not None and self.ours > self.limit)


class Worker:
    """A framework's process, and the questions that it answers."""

    def __init__(self, framework, group, threads):
        context = multiprocessing.get_context("spawn")
        self.framework = framework
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=serve, args=(end, framework, group, threads))
        self.process.start()
        end.close()
        self.version = self._answer()

    def ask(self, what, case, seconds=0.0):
        """The answer to one question; RuntimeError if there is none."""
        self.pipe.send((what, case, seconds))
        return self._answer()

    def _answer(self):
        try:
            good, answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError(f"{self.framework}: the process died") from None
        if not good:
            raise RuntimeError(f"{self.framework}: {answer}")
        return answer

    def stop(self):
        if self.process.is_alive():
            self.pipe.send(None)
        self.process.join()


def limit_threads(threads):
    """For the libraries that read their number of threads when they are loaded."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)


def compare(group, frameworks, threads, rounds, seconds, chosen, report):
    """Runs the cases whose name `chosen` accepts; calls `report(row)` as each is done.

    Returns the two frameworks' versions.
    """
    limit_threads(threads)
    cases = importlib.import_module(f"benchmarks.{group}").CASES
    workers = [Worker(framework, group, threads) for framework in frameworks]
    try:
        for case in cases.values():
            if chosen(case.name):
                report(run(case, workers, rounds, seconds))
    finally:
        for worker in workers:
            worker.stop()
    return [worker.version for worker in workers]


def run(case, workers, rounds, seconds):
    """The frameworks take turns: A B A B ..., so that both see the machine's good and bad times."""
    try:
        if not case.measures_itself:
            ours, theirs = (worker.ask("check", case.name) for worker in workers)
            if problem := difference(ours, theirs, case.tolerance):
                return Row(case.name, problem=problem)
        for worker in workers:
            worker.ask("time", case.name, 0)            # warm up
        times = [[worker.ask("time", case.name, seconds) for worker in workers]
                 for _ in range(rounds)]
    except RuntimeError as error:
        return Row(case.name, problem=str(error))
    ratios = sorted(ours / theirs for ours, theirs in times)
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return Row(case.name, ours, theirs, statistics.median(ratios), ratios[0], ratios[-1],
               case.goal, case.limit, shown=case.shown)
