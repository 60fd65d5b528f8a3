"""Operators that read and write at indices, called so often that machine code makes the calls."""

import numpy as np
import pytest

import iskra

CALLS = {
    "gather": lambda t, x, y, i, v: x.gather(1, i),
    "gather, columns": lambda t, x, y, i, v: x.gather(0, i),
    "take": lambda t, x, y, i, v: x.take(i - 3),
    "index_select": lambda t, x, y, i, v: x.index_select(1, v),
    "rows": lambda t, x, y, i, v: x[v],
    "rows from the end": lambda t, x, y, i, v: x[v - 6],
    "columns": lambda t, x, y, i, v: x[:, v],
    "points": lambda t, x, y, i, v: x[v, v - 2],
    "points of a grid": lambda t, x, y, i, v: x[v[:, None], v],
    "parts of rows": lambda t, x, y, i, v: x[v, 1:3],
    "take_along_dim": lambda t, x, y, i, v: t.take_along_dim(x, i, 1),
    "scatter": lambda t, x, y, i, v: x.scatter(1, i.sort(1)[0], y.detach() * 0 + 5),
    "scatter a number": lambda t, x, y, i, v: x.scatter(0, i, 2.5),
    "scatter_add": lambda t, x, y, i, v: x.scatter_add(1, i, y),
    "scatter_add, columns": lambda t, x, y, i, v: x.scatter_add(0, i, y),
    "scatter_reduce": lambda t, x, y, i, v: x.scatter_reduce(1, i, y, "amax"),
    "scatter_reduce, mean": lambda t, x, y, i, v: x.scatter_reduce(
        1, i, y, "mean", include_self=False),
    "index_add": lambda t, x, y, i, v: x.index_add(1, v, y),
    "index_add, alpha": lambda t, x, y, i, v: x.index_add(0, v, y, alpha=2),
    "index_copy": lambda t, x, y, i, v: x.index_copy(0, v.argsort(stable=True), y),
    "index_fill": lambda t, x, y, i, v: x.index_fill(1, v - 1, 0.5),
    "index_fill_": lambda t, x, y, i, v: (x * 1).index_fill_(0, v, -1.5),
    "put": lambda t, x, y, i, v: x.put(v - 6, y[0], False) if len(v.unique()) == 6 else x,
    "put and add": lambda t, x, y, i, v: x.put(i, y, True),
    "index_put": lambda t, x, y, i, v: x.index_put((v,), y[0]),
    "index_put, points": lambda t, x, y, i, v: x.index_put(
        (v, v.argsort(stable=True)), y[0], True),
    "index_put, once": lambda t, x, y, i, v: x.index_put((v.argsort(stable=True), v), y[0]),
    "index_put, a number": lambda t, x, y, i, v: x.index_put((v, v), y.sum().detach()),
    "index_put_": lambda t, x, y, i, v: (x * 1).index_put_((v - 6, v), y[1], accumulate=True),
}


def operands(lib, seed, size):
    rng = np.random.default_rng(seed)
    x, y = (lib.tensor(rng.normal(size=(size, size)).astype("f4"), requires_grad=True)
            for _ in range(2))
    return x, y, lib.tensor(rng.integers(0, 6, (size, size))), lib.tensor(rng.integers(0, 6, size))


@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients(name):
    torch = pytest.importorskip("torch")
    for size, times in ((6, 14), (70, 11)):
        for seed in range(times):
            results = []
            for lib in (torch, iskra):
                leaves = operands(lib, seed, size)
                found = CALLS[name](lib, *leaves)
                results.append([found.detach().numpy()])
                if found.requires_grad:
                    (found * lib.arange(float(found.numel())).reshape(found.shape)).sum().backward()
                    results[-1] += [t.grad.numpy() for t in leaves[:2] if t.grad is not None]
            for ours, theirs in zip(results[1], results[0], strict=True):
                np.testing.assert_allclose(ours, theirs, 2e-5, 2e-4)


@pytest.mark.parametrize(("call", "error"), [
    (lambda x, y, i, v: x.gather(1, i), RuntimeError),
    (lambda x, y, i, v: x.take(i), IndexError),
    (lambda x, y, i, v: x.index_select(0, v), IndexError),
    (lambda x, y, i, v: x[v], IndexError),
    (lambda x, y, i, v: x[v, v], IndexError),
    (lambda x, y, i, v: x.scatter_(1, i, y), RuntimeError),
    (lambda x, y, i, v: x.scatter_add_(0, i, y), RuntimeError),
    (lambda x, y, i, v: x.scatter_reduce_(1, i, y, "amin"), RuntimeError),
    (lambda x, y, i, v: x.index_add_(0, v, y), RuntimeError),
    (lambda x, y, i, v: x.index_copy_(0, v, y), IndexError),
    (lambda x, y, i, v: x.index_fill_(0, v, 1.0), IndexError),
    (lambda x, y, i, v: x.put_(i, y), IndexError),
    (lambda x, y, i, v: x.index_put_((v,), y), IndexError),
    (lambda x, y, i, v: x.index_put_((v, v), y[0], accumulate=True), IndexError),
])
def test_indices_out_of_range(call, error):
    """They are refused as ever, and nothing is written."""
    for seed in range(14):
        x, y, i, v = (t.detach() for t in operands(iskra, seed, 6))
        call(x, y, i, v)
    for wrong in (36, -37, 2**40):
        for place in (0, 5):
            before = x.clone()
            bad, row = i.clone(), v.clone()
            bad[place, 3] = row[place] = wrong
            with pytest.raises(error):
                call(x, y, bad, row)
            assert x.equal(before)


@pytest.mark.parametrize("call", [
    lambda t, x, i, y: x.gather(0, i), lambda t, x, i, y: x.scatter(0, i, y),
    lambda t, x, i, y: x.scatter(0, i, 2.0), lambda t, x, i, y: x.scatter_add(0, i, y),
    lambda t, x, i, y: x.scatter_reduce(0, i, y, "amax"), lambda t, x, i, y: x.take(i),
    lambda t, x, i, y: x.put(i, y), lambda t, x, i, y: x.index_select(0, i),
    lambda t, x, i, y: x.index_fill(0, i, 2.0), lambda t, x, i, y: x.index_add(0, i, y),
    lambda t, x, i, y: x.index_copy(0, i, y),
])
def test_operands_without_dimensions(call):
    """A number counts as a vector of one element; the result has the operand's own shape."""
    torch = pytest.importorskip("torch")
    for shape in ((), (1,)):
        for index_shape in ((), (1,)):
            for value_shape in ((), (1,)):
                results = []
                for lib in (torch, iskra):
                    given = (lib.full(shape, 5.0), lib.zeros(index_shape, dtype=lib.int64),
                             lib.full(value_shape, 3.0))
                    try:
                        results.append([call(lib, *given).numpy() for _ in range(12)][-1])
                    except (RuntimeError, IndexError):
                        results.append(None)
                theirs, ours = results
                if theirs is not None:
                    assert ours is not None and ours.shape == theirs.shape and ours == theirs
