"""Reductions of a 4096×768 matrix over its last axis, its first and both; and of short rows."""

from benchmarks.cases import case, normal

CASES = {}
SHAPE = 4096, 768
AXES = {"last": (1,), "first": (0,), "all": ()}


def reduction(name, axes=AXES, **fields):
    """A case for each of `axes` of a `make` that takes the matrix and the axis, if it is one."""
    def register(make):
        for axis in axes:
            @case(CASES, f"{name}, {axis}", **{"goal": 1.0, "checked_steps": 1, **fields})
            def make_axis(T, axis=axis):
                return make(normal(T, *SHAPE), *AXES[axis])
        return make
    return register


@reduction("sum", tolerance=1e-4)
def total(a, *axis):
    return lambda: a.sum(*axis)


@case(CASES, "sum, last of 262144×8", goal=1.0, checked_steps=1)
def short_rows(T):
    a = normal(T, 262144, 8)
    return lambda: a.sum(1)


@reduction("mean", goal=0.8)
def mean(a, *axis):
    return lambda: a.mean(*axis)


@reduction("amax")
def amax(a, *axis):
    return lambda: a.amax(*axis)


@reduction("max(dim)", axes=("last", "first"))
def largest(a, axis):
    return lambda: a.max(axis)


@reduction("argmax")
def argmax(a, *axis):
    return lambda: a.argmax(*axis)


@reduction("var")
def variance(a, *axis):
    return lambda: a.var(*axis)


@reduction("norm", tolerance=1e-4)         # PyTorch's of everything is off by 6e-5
def norm(a, *axis):
    return lambda: a.norm(2, *axis)
