"""Random programs, made by machine code wherever it knows a call, and by Python alone.

Whatever can be seen must be the same: bits, dtypes, strides, versions, graphs, gradients, errors.
"""

import numpy as np
import pytest

import iskra as torch
from iskra import graph

F = torch.nn.functional
pytestmark = pytest.mark.usefixtures("untaught")


class Silent:
    """An observer of the kernel tier: while there is one, Python makes all calls."""

    def launched(self, op, program, launch, arrays, scalars, into):
        pass

    def refused(self, op, reason):
        pass

    def swept(self, formula, found, columns):
        pass


# Of tensors x and y, which may be the same, and a number n.
VALUES = [
    lambda x, y, n: x + y, lambda x, y, n: x * y, lambda x, y, n: x - y[:1], lambda x, y, n: x * n,
    lambda x, y, n: n - x, lambda x, y, n: x / (y.abs() + 1), lambda x, y, n: x.relu(),
    lambda x, y, n: x.exp().clamp(max=9), lambda x, y, n: x.tanh(), lambda x, y, n: x.sum(),
    lambda x, y, n: x.sum(-1, keepdim=True), lambda x, y, n: x.mean(0), lambda x, y, n: x ** 2,
    lambda x, y, n: x.softmax(-1), lambda x, y, n: torch.where(x > y, x, y),
    lambda x, y, n: torch.add(x, y, alpha=n), lambda x, y, n: x.amax(0), lambda x, y, n: x.clone(),
    lambda x, y, n: F.leaky_relu(x, n), lambda x, y, n: x.detach(), lambda x, y, n: x @ y.mT,
    lambda x, y, n: F.layer_norm(x, x.shape[-1:]), lambda x, y, n: x.masked_fill(y > 0, n),
    lambda x, y, n: x.cumsum(0), lambda x, y, n: torch.cat([x, y]), lambda x, y, n: x.max(0).values,
    lambda x, y, n: F.linear(x, y), lambda x, y, n: x.to(torch.bfloat16).to(x.dtype),
    lambda x, y, n: F.mse_loss(x, y), lambda x, y, n: torch.stack([x, y]),
    lambda x, y, n: torch.maximum(x, y), lambda x, y, n: x.sort(-1).values,
]
VIEWS = [
    lambda x, y, n: x.t(), lambda x, y, n: x[1:], lambda x, y, n: x[..., ::2],
    lambda x, y, n: x.unsqueeze(0), lambda x, y, n: x.flatten(), lambda x, y, n: x[0],
    lambda x, y, n: x.expand(2, *x.shape), lambda x, y, n: x.transpose(0, -1),
]
WRITES = [
    lambda x, y, n: x.add_(y), lambda x, y, n: x.mul_(n), lambda x, y, n: x.add_(y, alpha=n),
    lambda x, y, n: x.relu_(), lambda x, y, n: x.zero_(), lambda x, y, n: x.copy_(y),
    lambda x, y, n: x.fill_(n), lambda x, y, n: x[0].mul_(2), lambda x, y, n: x.clamp_(-1, n + 1),
    lambda x, y, n: x.t().sub_(y), lambda x, y, n: x.masked_fill_(y > 0, n),
    lambda x, y, n: torch.mul(y, n, out=x), lambda x, y, n: torch.add(y, y, out=x),
    lambda x, y, n: torch.exp(x, out=x), lambda x, y, n: x.__setitem__(0, n),
    lambda x, y, n: torch.mm(x, y, out=x), lambda x, y, n: x.addcmul_(y, y, value=n),
    lambda x, y, n: x.set_(y.detach().clone()), lambda x, y, n: x.detach().add_(1),
    lambda x, y, n: x.squeeze_(), lambda x, y, n: x.cumsum_(0),
]
SHAPES = [(3, 4), (4, 4), (1, 5), (70, 64)]


def made_up(random):
    """A program: steps of a function, the numbers of its operands, and how it is called."""
    steps = []
    for _ in range(int(random.integers(2, 9))):
        kind = (VALUES, VALUES, VALUES, VIEWS, WRITES, WRITES)[random.integers(6)]
        steps.append((kind[random.integers(len(kind))], *random.integers(0, 99, 2),
                      random.random() < 0.15))
    shape = SHAPES[random.integers(len(SHAPES))]
    dtype = [torch.float32, torch.float32, torch.float64, torch.bfloat16][random.integers(4)]
    return steps, shape, dtype, random.random(3) < 0.6


def run(program, seed):
    """What can be seen of a run."""
    steps, shape, dtype, wanted = program
    random, hooked, seen = np.random.default_rng(seed), [], []
    tensors = [torch.tensor(random.uniform(-2, 2, shape)).to(dtype) for _ in range(3)]
    leaves = [t.requires_grad_() for t, wants in zip(tensors, wanted, strict=True) if wants]
    number = float(random.uniform(0.1, 2))
    for n, (function, first, second, free) in enumerate(steps):
        # Writes are to what is no leaf, often enough.
        x, y = tensors[first % len(tensors)], tensors[second % len(tensors)]
        try:
            with torch.set_grad_enabled(not free):
                found = function(x, y, number if n % 2 else 3)
            if isinstance(found, torch.Tensor) and found.requires_grad and n % 3 == 0:
                found.register_hook(lambda g: hooked.append(fingerprint(g)))
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            seen.append(f"{type(error).__name__}: {error}")
            continue
        if isinstance(found, torch.Tensor):
            tensors.append(found)
    seen += map(fingerprint, tensors)
    try:
        total = sum((t.double() ** 2).sum() for t in tensors if t.requires_grad)
        if leaves and isinstance(total, torch.Tensor):
            total.backward()
    except RuntimeError as error:
        seen.append(str(error))
    return seen, hooked, [fingerprint(leaf.grad) for leaf in leaves if leaf.grad is not None]


def fingerprint(tensor):
    """All that can be seen of a tensor; any NaN is like any other."""
    try:
        node = tensor.grad_fn
    except RuntimeError as error:   # a view that nobody may look at any more
        return str(error)
    array = tensor.detach().double().numpy().copy()
    array[np.isnan(array)] = np.nan
    edges = node and [n and n.name() for n, _ in node.next_functions]
    return (str(tensor.dtype), tuple(tensor.shape), tensor.stride(), tensor._version,
            tensor.requires_grad, tensor.is_leaf, node and node.name(), edges, array.tobytes())


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.filterwarnings("ignore")
def test_programs_are_the_same_when_their_calls_are_known(seed):
    program = made_up(np.random.default_rng(seed))
    silent = Silent()
    for turn in range(14):
        graph.observers.append(silent)
        try:
            expected = run(program, turn)
        finally:
            graph.observers.remove(silent)
        assert run(program, turn) == expected, f"the calls of turn {turn}"
