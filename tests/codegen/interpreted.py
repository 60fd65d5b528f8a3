"""A program that puts the interpreter in the place of machine code and then uses Iskra.

So every kernel that is generated runs under the interpreter's checks: no access out of bounds, no
task that depends on another. Kernels are looked for at sizes a hundred times smaller than usual,
but tasks are too, so that there are several. Run by `test_generated_kernels.py`, in a process of
its own: nothing is put back.
"""

import sys
from collections import Counter

import numpy as np

import iskra
from iskra.codegen import interpret, lower
from iskra.codegen.kernels import gemm_plan, products
from iskra.graph import layout, sweep, tier  # noqa: F401  (all that calls kernels)
from iskra.runtime import jit, native

functions = {}  # text -> {name: function}; address -> function
calls = Counter()  # (kernel, whether there were several tasks)
_text, _load, _builtin = lower.text, jit.load, native.builtin


def text(*kernels):
    """`lower.text`, which remembers what it was made of."""
    found = _text(*kernels)
    functions[found] = {kernel.name: kernel for kernel in kernels}
    return found


class Code:
    """`jit.Code`, which remembers which function lies where."""

    def __init__(self, code, kernels):
        self.code, self.kernels = code, kernels

    def address(self, name):
        address = self.code.address(name)
        functions[address] = self.kernels[name]
        return address


def load(source, *args, **options):
    code = _load(source, *args, **options)
    return Code(code, functions[source]) if source in functions else code


def builtin(name, address, kinds, source=None):
    """`native.builtin`, but of the interpreter where the function is known."""
    function = functions.get(address)
    if function is None:
        return _builtin(name, address, kinds, source)

    def call(*arguments):
        slots = []
        for kind, given in zip(kinds[:-1], arguments):
            slots += given if kind == "t" else [float(given) if kind == "f" else given]
        tasks = arguments[-1]
        calls[function.name, tasks > 1] += 1
        interpret.run(function, slots, tasks, "shuffled", races=True)

    return call


def install():
    lower.text, jit.load = text, load
    for module in list(sys.modules.values()):
        if getattr(module, "builtin", None) is _builtin:
            module.builtin = builtin
    for module, name, smaller in ((gemm_plan, "TASK", 20_000), (layout, "TASK", 4096),
                                  (layout, "CHUNK", 1024)):
        assert hasattr(module, name)
        setattr(module, name, smaller)


def check(result, expected, tolerance=1e-5):
    result, expected = (np.asarray(x, np.float64) for x in (result, expected))
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, tolerance, tolerance)


def matrix_products():
    rng = np.random.default_rng(0)
    shapes = [(33, 40, 37), (7, 30, 129), (8, 64, 70), (1, 300, 70), (70, 300, 1), (65, 13, 77),
              (3, 3, 3), (130, 20, 5)]
    for number, (m, k, n) in enumerate(shapes):
        for turn in range(4):
            dtype = ("f4", "f8", "f2")[(number + turn) % 3]
            a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
            # As it lies in memory, or transposed; sliced out of something larger.
            a = np.asfortranarray(a) if turn & 1 else np.pad(a, 2)[2:-2, 2:-2]
            b = np.asfortranarray(b) if turn & 2 else b
            check(products.matmul(a, b), a.astype("f8") @ b.astype("f8"),
                  2e-2 if dtype == "f2" else 1e-4)
    a, b = rng.normal(size=(5, 9, 20)), rng.normal(size=(20, 33))
    check(products.matmul(a, b), a @ b)


def operators():
    x, y = iskra.randn(67, 101), iskra.randn(67, 101)
    a, b = x.numpy().astype("f8"), y.numpy().astype("f8")
    exps = np.exp(a)
    for result, expected in (
        (x + y, a + b), (x * 2, a * 2), (x.exp(), exps), (x.tanh(), np.tanh(a)),
        (x[:, ::2] - y[:, ::2], a[:, ::2] - b[:, ::2]), (x.t() / y.t(), a.T / b.T),
        (x + y[0], a + b[0]), (x * y[:, :1], a * b[:, :1]), (iskra.where(x > 0, x, y),
                                                             np.where(a > 0, a, b)),
        (x.double() + 1, a + 1), ((x > y).int(), a > b), (x.abs().rsqrt(), np.abs(a) ** -0.5),
        (x.sum(), a.sum()), (x.sum(0), a.sum(0)), (x.sum(1), a.sum(1)), (x.mean(), a.mean()),
        (x.amax(1), a.max(1)), (x.max(0).indices, a.argmax(0)), (x.var(0), a.var(0, ddof=1)),
        (x.softmax(1), exps / exps.sum(1, keepdims=True)), (x.softmax(0), exps / exps.sum(0)),
        (x.log_softmax(1), a - np.log(exps.sum(1, keepdims=True))),
        ((x > 3).any(1), (a > 3).any(1)),
    ):
        check(result, expected, 1e-4)
    long = iskra.randn(9001)
    check(long.sum(), long.numpy().astype("f8").sum(), 1e-3)
    half = x.bfloat16()
    check((half + half).float(), 2 * half.float().numpy())


def written_in_place():
    x, y = iskra.randn(67, 101), iskra.randn(67, 101)
    a, b = x.numpy().astype("f8"), y.numpy().astype("f8")
    x.add_(y)
    check(x, a + b)
    x.t().mul_(2)
    check(x, 2 * (a + b))
    x[1:].sub_(y[:-1])
    check(x, np.concatenate([2 * (a + b)[:1], 2 * (a + b)[1:] - b[:-1]]))
    iskra.add(x, y, out=y)
    check(y, b + x.numpy())


def training():
    layer = iskra.nn.Linear(100, 80)
    weight = layer.weight.detach().numpy().astype("f8")
    optimizer = iskra.optim.SGD(layer.parameters(), lr=0.1)
    adam = iskra.optim.Adam(layer.parameters(), lr=0.1)
    x = iskra.randn(30, 100)
    layer(x).sum().backward()
    optimizer.step()
    expected = weight - 0.1 * x.numpy().sum(0)
    check(layer.weight.detach(), expected, 1e-4)
    adam.step()
    check(layer.weight.detach(), expected - 0.1 * np.sign(x.numpy().sum(0)), 1e-4)


if __name__ == "__main__":
    install()
    for part in (matrix_products, operators, written_in_place, training):
        iskra.manual_seed(0)
        calls.clear()
        part()
        several = sum(count for (_, many), count in calls.items() if many)
        print(part.__name__, calls.total(), "calls,", several, "of several tasks")
