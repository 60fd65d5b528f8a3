"""For tests of kernels that are written by hand: small tasks, and every call both ways."""

import ctypes

import numpy as np
from codegen.both import copied, same_bits

import iskra
from iskra import graph
from iskra.codegen import interpret
from iskra.codegen.kernels import (
    bags,
    bands,
    copies,
    counts,
    gathers,
    joins,
    masks,
    points,
    poisson,
    ranges,
    recurrent,
    runs,
    sampling,
    scans,
    scatters,
    searches,
    sharing,
    sorts,
    windows,
)

MODULES = (
    bags, bands, copies, counts, gathers, joins, masks, points, poisson, ranges, recurrent, runs,
    sampling, scans, scatters, searches, sorts, windows,
)


def serve_small(monkeypatch, task=64):
    """Have small operands served, in several tasks."""
    monkeypatch.setattr(graph, "LARGE", 1)
    monkeypatch.setattr(sharing, "TASK", task)


def check_each_call(monkeypatch, order="shuffled"):
    """Have every call interpreted too: no access out of bounds, no races, the same bits.

    Returns a list that grows by the calls' numbers of tasks.
    """
    seen = []

    def checking(build, arguments, kinds):
        machine, function = sharing.compiled(build, arguments, kinds), build(*arguments)

        def call(*given):
            slots = []
            for kind, value in zip(kinds, given):
                slots += value if kind == "t" else [value]
            *slots, tasks = slots
            seen.append(tasks)
            ours = copied([as_memory(s) for s in slots])
            interpret.run(function, ours, tasks, order, races=True)
            machine(*given)
            for one, other in zip(ours, map(as_memory, slots), strict=True):
                if isinstance(one, np.ndarray):
                    same_bits(one, other, str(function), exact=False)
        return call

    for module in MODULES:
        monkeypatch.setattr(module, "compiled", checking)
    return seen


def as_memory(slot):
    """What lies between an array's first and last element, if that is more or in another order."""
    if not isinstance(slot, np.ndarray) or slot.flags.c_contiguous:
        return slot
    low, high = np.lib.array_utils.byte_bounds(slot)
    return np.frombuffer(ctypes.string_at(low, high - low), slot.dtype)


def on_threads(function):
    """The function's arrays on 1, 2, 3 and 7 threads, the same bits each time; the first."""
    before, results = iskra.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            iskra.set_num_threads(count)
            results.append(function())
    finally:
        iskra.set_num_threads(before)
    for result in results[1:]:
        for one, first in zip(result, results[0], strict=True):
            same_bits(one, first, "another number of threads")
    return results[0]


def laid_out(array, how):
    """The same values, otherwise in memory."""
    if how == "columns":
        return np.asfortranarray(array)
    if how == "gaps":
        return np.repeat(array, 2, -1)[..., ::2]
    return array[::-1].copy()[::-1] if how == "backwards" else array


LAYOUTS = ["rows", "columns", "gaps", "backwards"]
