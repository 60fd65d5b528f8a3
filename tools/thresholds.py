"""Both tiers around the sizes from which kernels serve: what `iskra.graph.threshold` goes by.

Prints µs for a call of NumPy, of the kernels from Python, and of the whole operator from machine
code (`iskra.dispatch.quick`), the least of several rounds, for operators of each kind. For matrix
products: NumPy, the kernels of products, and what `mm` is traced to (`graph.tier.MOST_WORK`).
"""

import time

import numpy as np

import iskra
from iskra import graph
from iskra.codegen import kernels
from iskra.dispatch import OPERATORS, execute
from iskra.graph import tier

CALLS = [
    ("add", 2, ()), ("exp", 1, ()), ("sigmoid", 1, ()), ("gelu", 1, ()), ("sum", 1, (1,)),
    ("variance", 1, (1, 1, False)), ("softmax", 1, (1,)), ("softmax_backward", 2, (1,)),
]
SHAPES = [(8, 8), (16, 32), (32, 64), (64, 64), (128, 64)]
PRODUCTS = [(32, 10, 5), (32, 32, 32), (64, 32, 32), (64, 64, 64), (8, 128, 128)]


def microseconds(call, *arguments, count=300, rounds=7):
    call(*arguments)
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(count):
            call(*arguments)
        found.append((time.perf_counter() - start) / count * 1e6)
    return min(found)


def main():
    random = np.random.default_rng(0)

    def array(*shape):
        return random.random(shape, np.float32)

    print(f"{'':28}   NumPy  kernel   quick  kernels serve from")
    for name, operands, settings in CALLS:
        op = OPERATORS[name]
        for shape in SHAPES:
            bound = [*(array(*shape) for _ in range(operands)), *settings]
            bound += op.signature.defaults[len(bound):]
            reference = microseconds(execute.quiet_run, op.compute, bound)
            kernel = microseconds(graph.run, op, bound)
            size = "×".join(map(str, shape))
            tensors = [iskra.tensor(b) if isinstance(b, np.ndarray) else b for b in bound]
            given = tensors[:operands + len(settings)]
            quick = microseconds(op.public, *given)
            print(f"{name:18} {size:9} {reference:7.2f} {kernel:7.2f} {quick:7.2f}  {op.large}")
    print(f"{'':28}   NumPy  kernel  traced")
    tier.MOST_WORK = 1 << 30
    for m, k, n in PRODUCTS:
        a, b = array(m, k), array(k, n)
        reference = microseconds(a.dot, b)
        kernel = microseconds(kernels.products.matmul, a, b)
        traced = microseconds(graph.run, OPERATORS["mm"], (a, b))
        print(f"{'product':18} {f'{m}×{k}×{n}':9} {reference:7.2f} {kernel:7.2f} {traced:7.2f}")


if __name__ == "__main__":
    main()
