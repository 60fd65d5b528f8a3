"""How a benchmark is written down: the `@case` decorator, and the same inputs for everyone."""

from typing import NamedTuple

import numpy


class Case(NamedTuple):
    """One benchmark.

    `make(T)` prepares it for the torch-like module T and returns `step`, a function of no
    arguments. What `step()` returns is compared between the frameworks, unless `measures_itself`:
    then it returns the seconds that it took. `goal` is the ratio to PyTorch's time that we aim at.
    """

    name: str
    make: object
    goal: float | None
    tolerance: float
    measures_itself: bool


def case(cases, name, goal=None, tolerance=1e-5, measures_itself=False):
    """Adds the decorated `make` to the dictionary `cases`."""
    def register(make):
        cases[name] = Case(name, make, goal, tolerance, measures_itself)
        return make
    return register


def normal(T, *shape, seed=0, requires_grad=False):
    """A float32 tensor of normal values, the same in every framework."""
    values = numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)
    return T.from_numpy(values).requires_grad_(requires_grad)


def arrays(result):
    """The tensors and numbers in a step's result, as a flat list of arrays."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in arrays(part)]
    return [numpy.array(result.detach().numpy() if hasattr(result, "detach") else result)]


def difference(ours, theirs, tolerance):
    """What is wrong with our arrays beside theirs, in words; None if they agree."""
    if len(ours) != len(theirs):
        return f"{len(ours)} results instead of {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{a.dtype}{list(a.shape)} instead of {b.dtype}{list(b.shape)}"
        if not numpy.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            return f"values differ by up to {numpy.abs(a - b).max():.2g}"
    return None
