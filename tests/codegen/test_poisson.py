"""Poisson samples by kernels: those of the loop in Python, which leaves the generator alike."""

import numpy as np
import pytest
from codegen.handwritten import check_each_call

from iskra.codegen.kernels import poisson
from iskra.core import dtypes
from iskra.core.generator import Generator
from iskra.runtime import rejection

RATES = {
    "small": lambda random: random.random(900) * 3,
    "large": lambda random: random.random(500) * 60 + 10,
    "mixed": lambda random: random.random((30, 20)) * 25,
    "zeros": lambda random: np.round(random.random(200)) * 5,
    "tiny": lambda random: random.random(40) * 1e-300,
    "huge": lambda random: random.random(50) * 1e9,
    "one": lambda random: np.array(4.0),
    "ten": lambda random: np.full(100, 10.0),
    "nothing": lambda random: np.zeros(20),
}


@pytest.mark.parametrize("which", RATES)
@pytest.mark.parametrize("block", [16, 17, 1 << 16])
def test_same_stream(which, block, monkeypatch):
    monkeypatch.setattr(poisson, "_BLOCK", block)
    rates = RATES[which](np.random.default_rng(1))
    for seed in range(3):
        ours, reference = Generator().manual_seed(seed), Generator().manual_seed(seed)
        ours.draw32(seed), reference.draw32(seed)
        found = poisson.sample(ours, rates)
        np.testing.assert_array_equal(found, rejection.poisson(reference, rates, dtypes.float64))
        assert found.shape == rates.shape
        assert ours.random64() == reference.random64()


def test_interpreter_agrees(monkeypatch):
    seen = check_each_call(monkeypatch)
    monkeypatch.setattr(poisson, "empty", np.zeros)
    monkeypatch.setattr(poisson, "_BLOCK", 40)
    poisson.sample(Generator().manual_seed(0), np.random.default_rng(1).random(40) * 20)
    assert len(seen) > 2


def test_no_rates():
    assert poisson.sample(Generator(), np.zeros(0)) is None
