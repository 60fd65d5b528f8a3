"""LBFGS and its line search, on Rosenbrock's valley: numbers from PyTorch 2.13."""

import numpy as np
import pytest

import iskra


def rosenbrock(dtype="float64", **options):
    x = iskra.nn.Parameter(iskra.tensor([-1.2, 1.0], dtype=getattr(iskra, dtype)))
    optimizer = iskra.optim.LBFGS([x], **options)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        calls.append(loss.item())
        return loss

    return x, optimizer, closure, calls


@pytest.mark.parametrize("options, losses, count, end", [
    ({}, [24.2, 1.94568747, 0.57931369], 60, [0.9998033259, 0.9996078455]),
    ({"line_search_fn": "strong_wolfe"}, [24.2, 0.4234823024, 4.2214e-10], 45,
     [0.9999814211, 0.9999619652]),
    ({"lr": 0.1, "history_size": 3, "max_iter": 5}, [24.2, 7.112950991, 5.230496996], 15,
     [-1.0563494092, 1.0611472677]),
])
def test_known_results(options, losses, count, end):
    x, optimizer, closure, calls = rosenbrock(**options)
    found = [optimizer.step(closure).item() for _ in range(3)]
    assert found == pytest.approx(losses, rel=1e-4)
    assert len(calls) == count and optimizer.state[x]["func_evals"] == count
    assert x.tolist() == pytest.approx(end, rel=1e-5)


def test_state_dict_goes_on():
    x, optimizer, closure, _ = rosenbrock(max_iter=4)
    for _ in range(2):
        optimizer.step(closure)
    y, other, other_closure, _ = rosenbrock(max_iter=4)
    other.load_state_dict(optimizer.state_dict())
    y.data.copy_(x.data)
    optimizer.step(closure)
    other.step(other_closure)
    assert y.tolist() == x.tolist()
    names = {"func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag",
             "prev_flat_grad", "prev_loss"}
    assert set(optimizer.state_dict()["state"][0]) == names


def test_several_parameters_some_without_gradient_and_a_complex_one():
    z = iskra.nn.Parameter(iskra.tensor([1 + 2j, -1j]))
    a, unused = (iskra.nn.Parameter(iskra.ones(2, 2)) for _ in range(2))
    optimizer = iskra.optim.LBFGS([z, unused, a], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (iskra.view_as_real(z) ** 2).sum() + ((a - 3) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(z.detach().numpy(), 0, atol=1e-5)
    np.testing.assert_allclose(a.detach().numpy(), 3, rtol=1e-5)
    assert unused.tolist() == [[1, 1], [1, 1]]


def test_nothing_to_do_at_the_minimum():
    x, optimizer, closure, calls = rosenbrock()
    x.data.copy_(iskra.ones(2))
    optimizer.step(closure)
    assert calls == [0.0] and x.tolist() == [1, 1]


def test_a_straight_line_has_no_minimum():
    x = iskra.nn.Parameter(iskra.zeros(1))
    optimizer = iskra.optim.LBFGS([x], max_iter=3, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (2 * x).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 0 and x.item() < -10
