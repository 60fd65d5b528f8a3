"""Operators that compute every element by itself, on matrices of 4M elements: memory and vectors.

Every `make` takes the matrices' side, so that `elementwise64k` can have them smaller.
"""

import functools

from benchmarks.cases import case, normal

SIDE = 2048
CASES = {}
elementwise = functools.partial(case, CASES, goal=0.8, checked_steps=2)


def pair(T, n):
    return normal(T, n, n), normal(T, n, n, seed=1)


@elementwise("a + b")
def add(T, n=SIDE):
    a, b = pair(T, n)
    return lambda: a + b


@elementwise("a * b")
def multiply(T, n=SIDE):
    a, b = pair(T, n)
    return lambda: a * b


@elementwise("a / b")
def divide(T, n=SIDE):
    a, b = pair(T, n)
    return lambda: a / b


@elementwise("a.exp()")
def exp(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: a.exp()


@elementwise("a.tanh()")
def tanh(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: a.tanh()


@elementwise("a.sigmoid()")
def sigmoid(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: a.sigmoid()


@elementwise("gelu(a)")
def gelu(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: T.nn.functional.gelu(a)


@elementwise("where(mask, a, b)")
def where(T, n=SIDE):
    a, b = pair(T, n)
    mask = normal(T, n, n, seed=2) > 0
    return lambda: T.where(mask, a, b)


@elementwise("a ** 2")
def square(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: a ** 2


@elementwise("p ** 2.3")
def power(T, n=SIDE):
    p = normal(T, n, n).abs()
    return lambda: p ** 2.3


@elementwise("p ** b")
def power_of_tensor(T, n=SIDE):
    a, b = pair(T, n)
    p = a.abs() + 0.1
    return lambda: p ** b


@elementwise("a.add_(b)")
def add_in_place(T, n=SIDE):
    a, b = pair(T, n)
    return lambda: a.add_(b)


@elementwise("a.mul_(2.0)")
def multiply_in_place(T, n=SIDE):
    a = normal(T, n, n)         # soon infinite, which costs the same
    return lambda: a.mul_(2.0)


@elementwise("a.relu_()")
def relu_in_place(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: a.relu_()


@elementwise("a + row")
def add_row(T, n=SIDE):
    a, row = normal(T, n, n), normal(T, n, seed=1)
    return lambda: a + row


@elementwise("a + column")
def add_column(T, n=SIDE):
    a, column = normal(T, n, n), normal(T, n, 1, seed=1)
    return lambda: a + column


@elementwise("a + b.t()")
def add_transposed(T, n=SIDE):
    a, b = pair(T, n)
    return lambda: a + b.t()


@elementwise("a.bfloat16()")
def to_bfloat16(T, n=SIDE):
    a = normal(T, n, n)
    return lambda: a.bfloat16()


@elementwise("h.float(), h of bfloat16")
def from_bfloat16(T, n=SIDE):
    h = normal(T, n, n).bfloat16()
    return lambda: h.float()


@elementwise("(x*a + b).relu() * c")
def chain(T, n=SIDE):
    x, a, b, c = (normal(T, n, n, seed=seed) for seed in range(4))
    return lambda: (x * a + b).relu() * c


@elementwise("(x*a + b).relu() * c, one @fused", goal=0.35)
def fused_chain(T, n=SIDE):
    """Iskra's chain declared as one operator; PyTorch's as above."""
    x, a, b, c = (normal(T, n, n, seed=seed) for seed in range(4))
    if T.__name__ != "iskra":
        return lambda: (x * a + b).relu() * c
    step = chain_operator()
    return lambda: step(x, a, b, c)


@functools.cache
def chain_operator():
    import numpy as np

    from iskra.dispatch import fused

    @fused(operands="x a b c", method=False, function=False, out=False)
    def multiply_add_relu_multiply(x, a, b, c):
        """Return ``relu(x * a + b) * c``."""
        return np.multiply(np.maximum(np.add(np.multiply(x, a), b), 0), c)

    return multiply_add_relu_multiply
