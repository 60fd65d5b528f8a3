"""Products of float16 and bfloat16: summed in float32, rounded once, by BLAS or by kernels."""

import numpy as np
import pytest

import iskra
from iskra.nn import functional as F

SHAPES = [(5, 7, 9), (200, 300, 130)]  # tiny ones are BLAS's
NARROW = [iskra.float16, iskra.bfloat16]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def made(rng, dtype, *shape):
    """A tensor and its values in float64."""
    tensor = iskra.tensor(rng.standard_normal(shape)).to(dtype)
    return tensor, tensor.double().numpy()


def check(result, expected, absolute, terms, dtype):
    """One rounding of a sum whose `terms` steps may each be off by one of float32; `absolute`:
    the same sum of absolute values."""
    assert result.dtype is dtype
    bound = (terms + 1) * 2.0 ** -24 * absolute
    bound += iskra.finfo(dtype).eps / 2 * (np.abs(expected) + bound)
    assert result.shape == expected.shape
    assert (np.abs(result.detach().double().numpy() - expected) <= 1.001 * bound).all()


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=["tiny", "large"])
def test_products(rng, dtype, shape):
    m, n, k = shape
    (a, x), (b, y), (v, z) = (made(rng, dtype, *s) for s in ((m, k), (k, n), (k,)))
    whole = np.abs(x) @ np.abs(y)
    for first, second in ((a, b), (a.t().contiguous().t(), b), (a, b.t().contiguous().t())):
        for result in (first @ second, iskra.mm(first, second)):
            check(result, x @ y, whole, k, dtype)
    check(a.mv(v), x @ z, np.abs(x) @ np.abs(z), k, dtype)
    check(v @ b, z @ y, np.abs(z) @ np.abs(y), k, dtype)
    batch = a.expand(3, m, k)
    check(batch.bmm(b.expand(3, k, n)), np.stack([x @ y] * 3), np.stack([whole] * 3), k, dtype)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=["tiny", "large"])
@pytest.mark.parametrize("batch", [(), (2,)], ids=["matrix", "batch"])
def test_linear_and_its_gradients(rng, dtype, shape, batch):
    m, n, k = shape
    a, x = made(rng, dtype, *batch, m, k)
    (w, y), (b, z), (g, d) = (made(rng, dtype, *s) for s in ((n, k), (n,), (*batch, m, n)))
    for tensor in (a, w, b):
        tensor.requires_grad_()
    result = F.linear(a, w, b)
    result.backward(g)
    check(result, x @ y.T + z, np.abs(x) @ np.abs(y.T) + np.abs(z), k + 1, dtype)
    check(a.grad, d @ y, np.abs(d) @ np.abs(y), n, dtype)
    x, d = x.reshape(-1, k), d.reshape(-1, n)
    check(w.grad, d.T @ x, np.abs(d.T) @ np.abs(x), len(x), dtype)
    check(b.grad, d.sum(0), np.abs(d).sum(0), len(x), dtype)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_a_bias_that_is_broadcast_is_added_before_rounding(rng, dtype):
    (a, x), (w, y), (b, z) = (made(rng, dtype, *s) for s in ((90, 64), (80, 64), (1,)))
    check(F.linear(a, w, b), x @ y.T + z, np.abs(x) @ np.abs(y.T) + np.abs(z), 65, dtype)
