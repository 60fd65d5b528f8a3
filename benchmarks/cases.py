"""How a benchmark is written down: the `@case` decorator, and the same inputs for everyone."""

from typing import NamedTuple

import ml_dtypes
import numpy


class Case(NamedTuple):
    """One benchmark.

    `make(T)` prepares it for the torch-like module T and returns `step`, a function of no
    arguments. What `step()` returns is compared between the frameworks in the first
    `checked_steps` (several, where a step changes what the next one finds), unless
    `measures_itself`: then it returns the seconds that it took. `goal` is the ratio to PyTorch's
    time that we aim at, `limit` the time in seconds. `shown` is what times are multiplied with to
    be µs in the table; a case that measures something else has its own.
    """

    name: str
    make: object
    goal: float | None = None
    limit: float | None = None
    tolerance: float = 1e-5
    checked_steps: int = 5
    measures_itself: bool = False
    shown: float = 1e6


def case(cases, name, **fields):
    """Adds the decorated `make` to the dictionary `cases`."""
    def register(make):
        assert name not in cases, name
        cases[name] = Case(name, make, **fields)
        return make
    return register


def normal(T, *shape, seed=0, requires_grad=False):
    """A float32 tensor of normal values, the same in every framework, in memory of its own."""
    values = numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)
    return T.from_numpy(values).clone().requires_grad_(requires_grad)


def arrays(result):
    """The tensors and numbers in a step's result, as a flat list of arrays."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in arrays(part)]
    return [array_of(result) if hasattr(result, "detach") else numpy.array(result)]


def array_of(tensor):
    """A copy of the tensor's values; bfloat16 in the type of ml_dtypes."""
    tensor = tensor.detach()
    if str(tensor.dtype).endswith(".bfloat16"):         # of which PyTorch makes no array
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    return numpy.array(tensor.numpy())


def difference(ours, theirs, tolerance):
    """What is wrong with our arrays beside theirs, in words; None if they agree."""
    if len(ours) != len(theirs):
        return f"{len(ours)} results instead of {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return f"{a.dtype}{list(a.shape)} instead of {b.dtype}{list(b.shape)}"
        if not numpy.allclose(a, b, rtol=tolerance, atol=tolerance * scale(b), equal_nan=True):
            return f"values differ by up to {largest_gap(a, b):.2g}"
    return None


def largest_gap(a, b):
    """The largest difference between unequal values (NaN equals NaN, and differs by NaN)."""
    a, b = (numpy.asarray(array, numpy.result_type(array, float)) for array in (a, b))
    apart = (a != b) & ~(numpy.isnan(a) & numpy.isnan(b))
    return numpy.abs(a[apart] - b[apart]).max()


def scale(array):
    """The largest finite magnitude, 1 at most: of small values, small differences count."""
    sizes = numpy.abs(array)
    return min(1.0, float(sizes.max(initial=0, where=numpy.isfinite(sizes))))
