"""How hand-written kernels that move or scan elements share out their work, by shape alone."""

import math

from iskra.codegen.kernels.gemm_plan import compiled
from iskra.runtime.native import available

MOST = 2**31  # elements: up to here places fit into 32 bits
TASK = 1 << 15  # elements that a task should have
_MOST_TASKS = 256

__all__ = ["compiled", "folded", "is_served", "my_units", "power_above",
           "tasks_for"]


def is_served(elements):
    """Whether kernels take arrays of so many elements."""
    return 0 < elements < MOST and available()


def tasks_for(units, elements):
    """Into how many tasks to cut `units` pieces of work, which have so many elements in all."""
    return max(1, min(units, _MOST_TASKS, power_above(elements // TASK)))


def power_above(tasks):
    """The power of two that is not less: most numbers of threads share few tasks evenly then."""
    return 1 << max(tasks - 1, 0).bit_length()


def my_units(f, units, tasks):
    """The loop over the units of the kernel's task."""
    return f.loop(f.task * units // tasks, (f.task + 1) * units // tasks)


def folded(shape, axis):
    """The shape as three sizes: before the axis, along it, after it."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])
