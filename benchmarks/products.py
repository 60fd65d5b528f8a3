"""Matrix products of every shape that networks have, and what follows them."""

import functools

from benchmarks.cases import case, normal

CASES = {}
# Sums of thousands of products, in two orders, differ by more than single operations do.
products = functools.partial(case, CASES, tolerance=1e-3, checked_steps=1)


# As the sums are rounded in the end, most results are equal; a few are neighbours.
narrow = functools.partial(case, CASES, tolerance=1e-2, checked_steps=1)


def operands(T, m, n, k, orders):
    """(m, k) and (k, n), each as it is ("N") or as the transpose of a contiguous one ("T")."""
    a = normal(T, m, k) if orders[0] == "N" else normal(T, k, m).T
    b = normal(T, k, n, seed=1) if orders[1] == "N" else normal(T, n, k, seed=1).T
    return a, b


def add_product(m, n, k, orders, goal):
    @products(f"mm {m}×{k} by {k}×{n}, {orders}", goal=goal)
    def make(T):
        a, b = operands(T, m, n, k, orders)
        return lambda: a @ b


def add_narrow_product(size, orders):
    @narrow(f"bfloat16 mm {size}³, {orders}", goal=1.1)
    def make(T):
        a, b = (x.bfloat16() for x in operands(T, size, size, size, orders))
        return lambda: a @ b


for size in (64, 256, 512, 1024, 2048):
    for orders in ("NN", "NT", "TN"):
        add_product(size, size, size, orders, 1.0)
for sizes in ((1024, 768, 3072), (1024, 3072, 768), (128, 512, 784), (4096, 384, 384)):
    for orders in ("NN", "NT", "TN"):
        add_product(*sizes, orders, 1.0)
for orders in ("NN", "NT"):
    add_product(8, 4096, 4096, orders, 0.8)
for orders in ("NN", "NT"):
    add_product(32, 1024, 256, orders, 0.8)
for orders in ("NN", "TN"):
    add_product(16, 16, 100_000, orders, 1.0)
add_product(32, 5, 10, "NN", 0.8)
add_product(32, 10, 5, "NT", 0.8)


@products("matrix × vector, 4096×4096", goal=0.8)
def matrix_vector(T):
    a, x = normal(T, 4096, 4096), normal(T, 4096, seed=1)
    return lambda: a @ x


@products("vector × matrix, 4096×4096", goal=0.8)
def vector_matrix(T):
    a, x = normal(T, 4096, 4096), normal(T, 4096, seed=1)
    return lambda: x @ a


@products("matrix × vector, 1000×1000", goal=0.8)
def smaller_matrix_vector(T):
    a, x = normal(T, 1000, 1000), normal(T, 1000, seed=1)
    return lambda: a @ x


@products("attention's q @ k.T, 96 of 256×64", goal=1.05)
def queries_keys(T):
    q, k = normal(T, 96, 256, 64), normal(T, 96, 256, 64, seed=1)
    return lambda: q @ k.transpose(1, 2)


@products("attention's p @ v, 96 of 256×256 by 256×64", goal=1.05)
def weights_values(T):
    p, v = normal(T, 96, 256, 256), normal(T, 96, 256, 64, seed=1)
    return lambda: p @ v


def add_linear(rows, inputs, outputs, activation):
    @products(f"linear {inputs} → {outputs} and {activation}, {rows} rows", goal=0.95)
    def make(T):
        x, weight = normal(T, rows, inputs), normal(T, outputs, inputs, seed=1)
        bias, F = normal(T, outputs, seed=2), T.nn.functional
        return lambda: getattr(F, activation)(F.linear(x, weight, bias))


add_linear(128, 784, 512, "relu")
add_linear(1024, 768, 3072, "gelu")
add_linear(4096, 384, 1536, "gelu")


@products("linear 768 → 768 forward and backward, 1024 rows")
def linear_backward(T):
    layer = T.nn.Linear(768, 768)
    x = normal(T, 1024, 768, requires_grad=True)
    g = normal(T, 1024, 768, seed=1)

    def step():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)
        return x.grad, layer.weight.grad, layer.bias.grad
    return step


for size in (256, 1024):
    for orders in ("NN", "NT", "TN"):
        add_narrow_product(size, orders)


@narrow("bfloat16 linear 768 → 3072, 1024 rows", goal=1.1)
def narrow_linear(T):
    x, weight = normal(T, 1024, 768).bfloat16(), normal(T, 3072, 768, seed=1).bfloat16()
    bias, F = normal(T, 3072, seed=2).bfloat16(), T.nn.functional
    return lambda: F.linear(x, weight, bias)


@narrow("bfloat16 linear 768 → 3072 forward and backward, 1024 rows", goal=1.1)
def narrow_linear_backward(T):
    layer = T.nn.Linear(768, 3072).bfloat16()
    x = normal(T, 1024, 768).bfloat16().requires_grad_()
    g = normal(T, 1024, 3072, seed=1).bfloat16()

    def step():
        x.grad = layer.weight.grad = layer.bias.grad = None
        layer(x).backward(g)
        return x.grad, layer.weight.grad, layer.bias.grad
    return step
