"""What a call costs when there is next to nothing to compute."""

import functools
import subprocess
import sys
import time

from benchmarks.cases import case, normal

CASES = {}
overhead = functools.partial(case, CASES)


@overhead("a + b, 8×8", goal=0.7)
def add(T):
    a, b = normal(T, 8, 8), normal(T, 8, 8, seed=1)
    return lambda: a + b


@overhead("a * 2, 8×8")
def multiply_by_number(T):
    a = normal(T, 8, 8)
    return lambda: a * 2


@overhead("a.exp(), 8×8")
def exp(T):
    a = normal(T, 8, 8)
    return lambda: a.exp()


@overhead("a.sum(), 8×8")
def total(T):
    a = normal(T, 8, 8)
    return lambda: a.sum()


@overhead("a + b with grad, 8×8", goal=0.6)
def add_with_grad(T):
    a, b = normal(T, 8, 8, requires_grad=True), normal(T, 8, 8, seed=1)
    return lambda: a + b


@overhead("(c * b).sum().backward(), 8×8")
def backward(T):
    c, b = normal(T, 8, 8, requires_grad=True), normal(T, 8, 8, seed=1)

    def step():
        c.grad = None
        (c * b).sum().backward()
        return c.grad
    return step


@overhead("linear 10 → 5, batch of 8")
def linear(T):
    layer, x = T.nn.Linear(10, 5), normal(T, 8, 10)
    return lambda: layer(x)


def training_step(T, optimizer):
    """One step of the 10-5-1 net (61 parameters) on 16 rows."""
    model = T.nn.Sequential(T.nn.Linear(10, 5), T.nn.ReLU(), T.nn.Linear(5, 1))
    loss_function = T.nn.MSELoss()
    x, y = normal(T, 16, 10), normal(T, 16, 1, seed=1)
    optimizer = optimizer(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss
    return step


@overhead("training step 10-5-1, SGD", goal=0.4)
def train_sgd(T):
    return training_step(T, T.optim.SGD)


@overhead("training step 10-5-1, Adam", goal=0.4)
def train_adam(T):
    return training_step(T, T.optim.Adam)


@overhead("a.add_(b), 8×8")
def add_in_place(T):
    a, b = T.zeros(8, 8), normal(T, 8, 8)
    return lambda: a.add_(b)


@overhead("a.add_(b, alpha=0.5), 8×8")
def add_multiple_in_place(T):
    a, b = T.zeros(8, 8), normal(T, 8, 8)
    return lambda: a.add_(b, alpha=0.5)


@overhead("a.mul_(2.0), 8×8")
def multiply_in_place(T):
    a = T.zeros(8, 8)
    return lambda: a.mul_(2.0)


@overhead("a.relu_(), 8×8")
def relu_in_place(T):
    a = normal(T, 8, 8)
    return lambda: a.relu_()


@overhead("a.copy_(b), 8×8")
def copy(T):
    a, b = T.zeros(8, 8), normal(T, 8, 8)
    return lambda: a.copy_(b)


@overhead("a.zero_(), 8×8")
def zero(T):
    a = normal(T, 8, 8)
    return lambda: a.zero_()


@overhead("add(a, b, out=c), 8×8")
def add_into(T):
    a, b, c = normal(T, 8, 8), normal(T, 8, 8, seed=1), T.zeros(8, 8)
    return lambda: T.add(a, b, out=c)


@overhead("matmul(a, b, out=c), 8×8")
def matmul_into(T):
    a, b, c = normal(T, 8, 8), normal(T, 8, 8, seed=1), T.zeros(8, 8)
    return lambda: T.matmul(a, b, out=c)


@overhead("a.view(4, 16)")
def view(T):
    a = normal(T, 8, 8)
    return lambda: a.view(4, 16)


@overhead("a.transpose(0, 1)")
def transpose(T):
    a = normal(T, 8, 8)
    return lambda: a.transpose(0, 1)


@overhead("a[2]")
def index_row(T):
    a = normal(T, 8, 8)
    return lambda: a[2]


@overhead("a[1:5, ::2]")
def index_slices(T):
    a = normal(T, 8, 8)
    return lambda: a[1:5, ::2]


@overhead("tensor of a list of 4 numbers")
def tensor_of_list(T):
    return lambda: T.tensor([1.0, 2.0, 3.0, 4.0])


@overhead("zeros(8, 8)")
def zeros(T):
    return lambda: T.zeros(8, 8)


@overhead("DataLoader: 256 rows, batches of 32")
def loader(T):
    data = T.utils.data.TensorDataset(normal(T, 256, 10), normal(T, 256, 1, seed=1))
    loader = T.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    return lambda: [batch[0] for batch in loader]


@overhead("import", goal=0.12, measures_itself=True)
def importing(T):
    """A process that imports the framework, less one that imports nothing."""
    def seconds(program):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        return time.perf_counter() - start
    return lambda: seconds(f"import {T.__name__}") - seconds("")
