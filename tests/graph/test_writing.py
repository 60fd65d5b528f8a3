"""Calls in place on large operands: every way of the short path, several times each."""

import numpy as np
import pytest

import iskra as torch
from iskra.dispatch import OPERATORS

N = 5003


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Nothing is known of earlier calls."""
    for name in ("add", "mul", "div", "relu", "exp", "neg", "pow"):
        for what in ("launches", "direct", "programs"):
            monkeypatch.setattr(OPERATORS[name], what, {})


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("other", [2.5, 3, -0.0, float("nan"), float("inf"), 10**30, True])
def test_numbers(other):
    a = values(N)
    x = torch.from_numpy(a.copy())
    expected = torch.from_numpy(a.copy())
    for turn in range(1, 5):
        assert x.mul_(other) is x
        expected = expected * other
        np.testing.assert_array_equal(x.numpy(), expected.numpy())
        assert x._version == turn


def test_numbers_one_after_another_are_not_taken_for_each_other():
    x = torch.zeros(N)
    for number in (1.0, 2.0, 3, 0.5):
        x.add_(number)
    assert (x == 6.5).all()
    x.pow_(2.0).pow_(1.0).pow_(0.5)
    assert (x == 6.5).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bfloat16, torch.bool])
def test_other_dtypes(dtype):
    a = torch.arange(N) % 7
    x, other = a.to(dtype), a.flip(0).to(dtype)
    expected = x.clone()
    for _ in range(4):
        x.mul_(other)
        expected = expected * other
        assert torch.equal(x, expected)


def test_one_operand():
    a = values(N)
    x = torch.from_numpy(a.copy())
    for expected in (-a, a, -a):
        x.neg_()
        np.testing.assert_array_equal(x.numpy(), expected)
    for _ in range(3):
        x.relu_()
        np.testing.assert_array_equal(x.numpy(), np.maximum(-a, 0))
    assert x._version == 6


@pytest.mark.parametrize("shape", [(N,), (70, 80), (3, 40, 48)])
@pytest.mark.parametrize("pick", [
    lambda b: b, lambda b: b[:1], lambda b: b[..., :1], lambda b: b.T.copy().T, lambda b: b[::-1],
])
def test_tensors_of_every_layout(shape, pick):
    a, b = values(*shape), pick(values(*shape, seed=1))
    if b.strides and min(b.strides) < 0:
        b = b.copy()
    x, expected = torch.from_numpy(a.copy()), a.copy()
    for _ in range(3):
        x.add_(torch.from_numpy(b))
        expected += b
        np.testing.assert_array_equal(x.numpy(), expected)


def test_an_operand_that_is_the_result():
    x = torch.full((N,), 3.0)
    for expected in (6.0, 12.0, 24.0):
        x.add_(x)
        assert (x == expected).all()


def test_memory_that_overlaps():
    """The second operand's elements are those from before the call, wherever they lie."""
    for start, stop in ((0, N - 1), (1, N)):
        memory = values(N)
        other = memory[1 - start:N - start]
        for _ in range(3):
            expected = memory[start:stop] + other
            torch.from_numpy(memory[start:stop]).add_(torch.from_numpy(other))
            np.testing.assert_array_equal(memory[start:stop], expected)


def test_memory_seen_in_other_shapes():
    x = torch.from_numpy(values(80, 80))
    for _ in range(3):
        expected = x.numpy() + x.numpy().T
        x.add_(x.detach().t())
        np.testing.assert_array_equal(x.numpy(), expected)


def test_what_is_not_short():
    x = torch.ones(N)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="match"):
            x.add_(torch.ones(2, N))
        with pytest.raises(RuntimeError, match="can't be cast"):
            torch.ones(N, dtype=torch.int64).add_(0.5)
        with pytest.raises(RuntimeError, match="leaf"):
            torch.ones(N, requires_grad=True).add_(1.0)
    assert (x == 1).all() and x._version == 0
    weight = torch.nn.Parameter(torch.ones(N))
    with torch.no_grad():
        for _ in range(3):
            weight.add_(1.0).mul_(weight)
    assert (weight == 676).all() and weight._version == 6
    view = torch.ones(2, N)[0]
    for _ in range(3):
        view.mul_(2.0)
    assert (view == 8).all() and (view._base[1] == 1).all()


def test_a_graph_sees_the_write():
    w = torch.ones(N, requires_grad=True)
    y = w * 2
    z = y * y
    for _ in range(2):
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
