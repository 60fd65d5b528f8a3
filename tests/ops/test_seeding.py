"""The default generator's seed and state as users see them."""

import pytest

import iskra
from iskra import random


def test_manual_seed():
    g = iskra.manual_seed(7)
    assert g is iskra.default_generator
    assert iskra.initial_seed() == 7
    first = iskra.rand(4).tolist()
    assert iskra.manual_seed(7) is g
    assert iskra.rand(4).tolist() == first
    assert iskra.manual_seed(-1).initial_seed() == 2**64 - 1
    assert iskra.manual_seed(1.7).initial_seed() == 1
    with pytest.raises(ValueError, match="Overflow"):
        iskra.manual_seed(2**64)


def test_seed():
    assert iskra.seed() == iskra.initial_seed()
    assert iskra.seed() != iskra.seed()


def test_state_is_a_tensor():
    iskra.manual_seed(3)
    iskra.randn(3)
    state = iskra.get_rng_state()
    assert state.dtype is iskra.uint8 and state.shape == (5056,)
    first = iskra.randn(5).tolist()
    iskra.set_rng_state(state)
    assert iskra.randn(5).tolist() == first
    g = iskra.Generator()
    g.set_state(state)
    assert iskra.randn(5, generator=g).tolist() == first
    g.get_state()[:] = 0  # a copy: the generator is not harmed
    assert g.initial_seed() == 3


def test_wrong_states():
    with pytest.raises(TypeError, match="ByteTensor"):
        iskra.set_rng_state(iskra.zeros(5056))
    with pytest.raises(TypeError, match="list"):
        iskra.set_rng_state([1])
    with pytest.raises(RuntimeError, match="5056"):
        iskra.set_rng_state(iskra.zeros(3, dtype=iskra.uint8))


def test_fork_rng():
    iskra.manual_seed(0)
    with random.fork_rng():
        inside = iskra.rand(3).tolist()
        iskra.manual_seed(9)
    assert iskra.rand(3).tolist() == inside
    with pytest.raises(KeyError), random.fork_rng():
        iskra.manual_seed(9)
        raise KeyError
    assert iskra.initial_seed() == 0
    with random.fork_rng(enabled=False):
        iskra.manual_seed(9)
    assert iskra.initial_seed() == 9


def test_the_module_offers_what_the_top_does():
    for name in ("manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state"):
        assert getattr(random, name) is getattr(iskra, name)


def test_pytorch_takes_the_state_over():
    torch = pytest.importorskip("torch")
    iskra.manual_seed(12)
    iskra.randn(7)
    theirs = torch.Generator()
    theirs.set_state(torch.tensor(iskra.get_rng_state().tolist(), dtype=torch.uint8))
    assert iskra.randn(9).tolist() == torch.randn(9, generator=theirs).tolist()
