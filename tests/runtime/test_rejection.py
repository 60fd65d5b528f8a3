"""Poisson, binomial and gamma samples. Literal values: PyTorch 2.13 on the CPU."""

import numpy as np
import pytest

from iskra.core import dtypes as d
from iskra.core.generator import Generator
from iskra.runtime import rejection

RATES = [0, 0.5, 3, 9.9, 10, 50, 1000, 1e6]


def made(seed=0):
    return Generator().manual_seed(seed)


def test_poisson():
    rates = np.array(RATES * 3, np.float32)
    found = rejection.poisson(made(), rates, d.float32)
    assert found.dtype == np.float32
    assert found.tolist() == [
        0, 2, 4, 10, 13, 54, 1002, 1000164, 0, 1, 3, 9, 8, 49, 1043, 999262,
        0, 2, 2, 9, 13, 55, 977, 998885,
    ]


@pytest.mark.parametrize("count", [5, 500])
def test_the_generator_ends_where_the_samples_end(count):
    """Reading ahead leaves no trace: the same samples one by one leave the same state."""
    rates = np.linspace(0, 40, count)
    together, apart = made(3), made(3)
    values = rejection.poisson(together, rates, d.float64)
    singly = [rejection.poisson(apart, rates[i:i + 1], d.float64)[0] for i in range(count)]
    assert values.tolist() == singly
    assert together.state_bytes().tolist() == apart.state_bytes().tolist()


def test_gamma_leaves_a_normal_waiting():
    together, apart = made(5), made(5)
    alphas = np.linspace(0.1, 4, 101)
    values = rejection.gamma(together, alphas, d.float64)
    singly = [rejection.gamma(apart, alphas[i:i + 1], d.float64)[0] for i in range(101)]
    assert values.tolist() == singly
    assert together.next_normal == apart.next_normal
    assert rejection.gamma(made(), np.zeros(1), d.float64)[0] == np.finfo(np.float64).tiny


def test_means():
    rate = np.full(4000, 12.5)
    assert rejection.poisson(made(), rate, d.float64).mean() == pytest.approx(12.5, rel=0.02)
    assert rejection.gamma(made(), rate, d.float64).mean() == pytest.approx(12.5, rel=0.02)
    for p in (0.1, 0.4, 0.9):
        drawn = rejection.binomial(made(), np.full(4000, 60.0), np.full(4000, p), d.float64)
        assert drawn.mean() == pytest.approx(60 * p, rel=0.02)
        assert drawn.min() >= 0 and drawn.max() <= 60
    shares = rejection.dirichlet(made(), np.tile([1.0, 3.0], (4000, 1)), d.float32)
    assert shares.dtype == np.float32
    assert shares[:, 1].mean() == pytest.approx(0.75, rel=0.02)


def test_limits_of_binomial():
    count = np.array([0.0, 10, 10, 10, 10])
    p = np.array([0.5, 0.0, 1.0, -1.0, np.nan])
    found = rejection.binomial(made(), count, p, d.float64)
    assert found[:4].tolist() == [0, 0, 10, 0] and np.isnan(found[4])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_beside_pytorch(name):
    torch = pytest.importorskip("torch")
    dtype, theirs = getattr(d, name), getattr(torch, name)
    g, t = made(2), torch.Generator().manual_seed(2)
    units = torch.rand(700, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        rate = (units**3 * 500).to(theirs)
        assert rejection.poisson(g, rate.numpy(), dtype).tolist() == (
            torch.poisson(rate, t).tolist())
        alpha = (units * 5).to(theirs)
        assert rejection.gamma(g, alpha.numpy(), dtype).tolist() == (
            torch._standard_gamma(alpha, generator=t).tolist())
        count, p = (units * 200).floor().to(theirs), units.flip(0).to(theirs)
        assert rejection.binomial(g, count.numpy(), p.numpy(), dtype).tolist() == (
            torch.binomial(count, p, generator=t).tolist())
        assert bytes(g.state_bytes()) == bytes(t.get_state().numpy())
