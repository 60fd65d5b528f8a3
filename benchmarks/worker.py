"""One framework in a process of its own: answers the driver's questions over a pipe."""

import importlib
import statistics
import time

from benchmarks.cases import arrays

BLOCK = 100e-6              # calls shorter than this are timed many at once


def serve(pipe, framework, group, threads):
    """Answers ("check" | "time", case name, seconds) until None comes.

    The answer is (True, arrays or seconds a call), or (False, what went wrong).
    """
    T = importlib.import_module(framework)
    if hasattr(T, "set_num_threads"):       # else the driver's environment variables must do
        T.set_num_threads(threads)
    cases = importlib.import_module(f"benchmarks.{group}").CASES
    steps = {}
    pipe.send((True, T.__version__))
    while (question := pipe.recv()) is not None:
        what, name, seconds = question
        try:
            pipe.send((True, answer(T, what, cases[name], steps, seconds)))
        except Exception as error:          # whatever a framework may raise: the rest goes on
            pipe.send((False, f"{type(error).__name__}: {error}"))


def answer(T, what, case, steps, seconds):
    if what == "check":
        T.manual_seed(0)
        step = case.make(T)
        return [array for _ in range(case.checked_steps) for array in arrays(step())]
    if case.name not in steps:
        steps.clear()                       # one case's memory at a time
        T.manual_seed(0)
        step = case.make(T)
        steps[case.name] = step, None if case.measures_itself else block(step)
    step, calls = steps[case.name]
    return step() if case.measures_itself else burst(step, calls, seconds)


def block(step):
    """The calls to be timed at once, after one that may have to compile."""
    step()
    return range(max(1, int(BLOCK / max(timed(step, range(3)), 1e-7))))


def burst(step, calls, seconds):
    """The median time of a call, over as many blocks of calls as fit into `seconds`."""
    samples, end = [], time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < end:
        samples.append(timed(step, calls))
    return statistics.median(samples)


def timed(step, calls):
    start = time.perf_counter()
    for _ in calls:
        step()
    return (time.perf_counter() - start) / len(calls)
