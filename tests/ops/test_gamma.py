"""Gamma and Dirichlet samples and their derivatives."""

import numpy as np
import pytest

import iskra
from iskra.core import Generator


def seeded(seed=0):
    return Generator().manual_seed(seed)


@pytest.mark.parametrize("alpha", [0.05, 0.7, 1.0, 3.0, 40.0, 999.0, 1000.0, 1e5])
def test_samples_move_along_their_quantile(alpha):
    special = pytest.importorskip("scipy.special")
    share = np.array([1e-3, 0.05, 0.3, 0.5, 0.9, 0.999])
    step = alpha * 1e-5
    x = special.gammaincinv(alpha, share)
    up, down = (special.gammaincinv(alpha + s, share) for s in (step, -step))
    found = iskra._standard_gamma_grad(
        iskra.full((6,), alpha, dtype=iskra.float64), iskra.from_numpy(x)
    )
    assert found.tolist() == pytest.approx(((up - down) / (2 * step)).tolist(), rel=2e-6)


def test_gradient_of_samples():
    alpha = iskra.tensor([0.5, 4.0, 0.0], requires_grad=True)
    x = iskra._standard_gamma(alpha, seeded())
    assert x.dtype is iskra.float32
    x.backward(iskra.tensor([1.0, 2.0, 1.0]))
    expected = iskra._standard_gamma_grad(alpha.detach(), x.detach()).tolist()
    assert alpha.grad.tolist() == pytest.approx([expected[0], 2 * expected[1], expected[2]])
    assert np.isfinite(alpha.grad._array).all()
    with pytest.raises(NotImplementedError):
        iskra._standard_gamma(iskra.ones(2, dtype=iskra.int64))


def test_dirichlet():
    concentration = iskra.tensor([[1.0, 2.0, 3.0]] * 2000, requires_grad=True)
    shares = iskra._sample_dirichlet(concentration, seeded())
    assert np.allclose(shares.detach()._array.sum(-1), 1, atol=1e-6)
    assert shares.detach()._array.mean(0).tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.02)
    shares[:, 0].sum().backward()
    # The mean share of the first is a / (a + 5): its derivative at a = 1 is 5 / 36.
    assert concentration.grad._array[:, 0].mean() == pytest.approx(5 / 36, abs=0.01)


@pytest.mark.parametrize("b", [0.05, 1.0, 300.0])
@pytest.mark.parametrize("a", [0.05, 1.0, 3.0, 40.0, 1e4])
def test_shares_move_along_their_quantile(a, b):
    special = pytest.importorskip("scipy.special")
    share = np.array([0.02, 0.3, 0.5, 0.9])
    step = a * 1e-5
    x = special.betaincinv(a, b, share)
    up, down = (special.betaincinv(a + s, b, share) for s in (step, -step))
    inside = (x > 1e-300) & (x < 1 - 1e-9)
    full = iskra.full((4,), a, dtype=iskra.float64)
    found = iskra._dirichlet_grad(iskra.from_numpy(x), full, full + b).numpy()
    with np.errstate(all="ignore"):
        expected = (up - down) / (2 * step) / (1 - x)
    assert found[inside] == pytest.approx(expected[inside], rel=1e-4)


def test_tiny_shares_have_finite_slopes():
    a = iskra.tensor([0.01, 0.5, 2.0], dtype=iskra.float64)
    found = iskra._dirichlet_grad(iskra.full((3,), 1e-250, dtype=iskra.float64), a, a + 1)
    assert found.isfinite().all() and (found > 0).all()


def test_beside_pytorch():
    torch = pytest.importorskip("torch")
    alphas = np.linspace(0.1, 9, 200, dtype=np.float32)
    ours = iskra._standard_gamma(iskra.from_numpy(alphas), seeded(3))
    theirs = torch._standard_gamma(
        torch.from_numpy(alphas), generator=torch.Generator().manual_seed(3))
    assert ours.tolist() == theirs.tolist()
    expected = torch._standard_gamma_grad(torch.from_numpy(alphas), theirs)
    found = iskra._standard_gamma_grad(iskra.from_numpy(alphas), ours)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=2e-3)  # theirs is a fit
    shares = iskra._sample_dirichlet(iskra.from_numpy(alphas).reshape(50, 4), seeded(4))
    expected = torch._sample_dirichlet(
        torch.from_numpy(alphas).reshape(50, 4), generator=torch.Generator().manual_seed(4))
    assert np.allclose(shares._array, expected.numpy(), rtol=1e-6, atol=0)
    x, alpha = expected[:, 0].contiguous(), torch.from_numpy(alphas[:50])
    slopes = torch._dirichlet_grad(x, alpha, alpha + 2)
    found = iskra._dirichlet_grad(*map(iskra.from_numpy, (x.numpy(), alphas[:50], alphas[:50] + 2)))
    assert found.tolist() == pytest.approx(slopes.tolist(), rel=5e-3)  # theirs is a fit
