"""Sobol' sequences, beside PyTorch's."""

import numpy as np
import pytest

import iskra
from iskra.quasirandom import SobolEngine


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("dimension", [1, 2, 7, 300])
def test_points_are_pytorchs(dimension, seed):
    torch = pytest.importorskip("torch")
    mine = SobolEngine(dimension, scramble=seed is not None, seed=seed)
    other = torch.quasirandom.SobolEngine(dimension, scramble=seed is not None, seed=seed)
    for n, kind in ((1, "float32"), (1, "float64"), (5, "float64"), (0, "float32"), (64, None)):
        if kind is None:
            points, expected = mine.draw(n), other.draw(n)
        else:
            points = mine.draw(n, dtype=getattr(iskra, kind))
            expected = other.draw(n, dtype=getattr(torch, kind)) if n else points
        assert points.shape == (n, dimension)
        np.testing.assert_array_equal(points.numpy(), expected.numpy())
        assert mine.num_generated == other.num_generated
    np.testing.assert_array_equal(mine.sobolstate.numpy(), other.sobolstate.numpy())
    np.testing.assert_array_equal(mine.shift.numpy(), other.shift.numpy())
    np.testing.assert_array_equal(mine.quasi.numpy(), other.quasi.numpy())


def test_the_global_seed_scrambles_as_in_pytorch():
    torch = pytest.importorskip("torch")
    iskra.manual_seed(5)
    torch.manual_seed(5)
    mine, other = SobolEngine(3, scramble=True), torch.quasirandom.SobolEngine(3, scramble=True)
    np.testing.assert_array_equal(mine.draw(9).numpy(), other.draw(9).numpy())


@pytest.mark.parametrize("before", [0, 1, 6])
@pytest.mark.parametrize("left_out", [0, 1, 2, 37])
def test_points_may_be_left_out(before, left_out):
    all_of_them = SobolEngine(4, scramble=True, seed=1).draw(60)
    engine = SobolEngine(4, scramble=True, seed=1)
    if before:
        engine.draw(before)
    points = engine.fast_forward(left_out).draw(5)
    begin = before + left_out
    assert points.equal(all_of_them[begin : begin + 5])
    assert engine.reset().draw(60).equal(all_of_them)


def test_balanced_draws():
    engine = SobolEngine(2)
    points = engine.draw_base2(3)
    assert (points < 0.5).sum(0).tolist() == [4, 4]
    with pytest.raises(ValueError, match="power of 2"):
        engine.draw_base2(1)


def test_out_and_default_dtype():
    out = iskra.empty(0, dtype=iskra.float64)
    assert SobolEngine(2).draw(4, out=out) is out
    assert out.shape == (4, 2)
    assert SobolEngine(2).draw(4).dtype is iskra.float32


@pytest.mark.parametrize("dimension", [0, -1, 21202])
def test_dimensions_without_direction_numbers(dimension):
    with pytest.raises(ValueError, match="21201"):
        SobolEngine(dimension)


def test_printing():
    assert repr(SobolEngine(3)) == "SobolEngine(dimension=3)"
    assert repr(SobolEngine(3, True, 2)) == "SobolEngine(dimension=3, scramble=True, seed=2)"
