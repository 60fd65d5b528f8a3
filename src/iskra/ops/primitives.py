"""Functions of elements that NumPy lacks, by the names that the kernel compiler knows."""

import functools

import numpy as np


class Primitive:
    """A function of arrays, element by element, that is one primitive of the kernel compiler.

    Arrays go to the function that it wraps, expressions (`iskra.codegen.expr.Expr`) become one
    node, called as `iskra.codegen.primitives.PRIMITIVES` has it.
    """

    def __init__(self, name, function):
        self.name = name
        self.function = function

    def __call__(self, *operands):
        for x in operands:
            if x.__class__ is not np.ndarray and hasattr(x, "traced"):
                return x.traced(self.name, operands)
        return self.function(*operands)


@functools.cache
def scipy_function(name):
    """A function of ``scipy.special``, which is imported when the function is first called."""

    def function(*operands):
        import scipy.special

        return getattr(scipy.special, name)(*operands)

    return Primitive(name, function)


erf = scipy_function("erf")
ndtr = scipy_function("ndtr")
