"""The gradients of layer_norm and its relatives, and what is kept for them."""

import numpy as np
import pytest

import iskra
from iskra.nn import functional as F

EPS = 1e-5


def randoms(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 2 + 1


def standardised(x, axes):
    centred = x - x.mean(axes, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + EPS)
    return centred * scale, scale


def expected_gradients(x, weight, g, axes):
    """By the textbook, in double precision: of input, weight and bias."""
    standard, scale = standardised(x, axes)
    inner = g * weight
    inner = inner - inner.mean(axes, keepdims=True) - standard * (
        inner * standard).mean(axes, keepdims=True)
    others = tuple(a for a in range(x.ndim) if weight.shape[a - x.ndim + weight.ndim] == 1
                   or a < x.ndim - weight.ndim)
    return inner * scale, (g * standard).sum(others), g.sum(others)


# Around the number of rows at which sums down the columns come in panels, several dimensions.
SHAPES = [((1, 9), 1), ((127, 33), 1), ((128, 33), 1), ((1100, 40), 1), ((4, 70, 3, 5), 2),
          ((9, 300), 1), ((300, 4), 1)]


@pytest.mark.parametrize("shape, count", SHAPES)
@pytest.mark.parametrize("dtype, tolerance", [
    (iskra.float64, 1e-12), (iskra.float32, 2e-5), (iskra.bfloat16, 4e-2)])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_layer_norm(shape, count, dtype, tolerance, transposed):
    def leaf(array):
        order = "F" if transposed else "C"
        return iskra.tensor(np.array(array, order=order), dtype=dtype).requires_grad_()

    sizes = shape[len(shape) - count:]
    x, weight, bias = leaf(randoms(*shape)), leaf(randoms(*sizes, seed=1)), leaf(np.zeros(sizes))
    g = iskra.tensor(randoms(*shape, seed=2), dtype=dtype)
    F.layer_norm(x, sizes, weight, bias, EPS).backward(g)
    axes = tuple(range(len(shape) - count, len(shape)))
    operands = [t.detach().double().numpy() for t in (x, weight, g)]
    for found, expected in zip((x, weight, bias), expected_gradients(*operands, axes)):
        difference = abs(found.grad.double().numpy() - expected.reshape(found.shape))
        assert difference.max() <= tolerance * max(abs(expected).max(), 1)


@pytest.mark.parametrize("shape, groups", [((3, 6, 5), 2), ((150, 4, 3, 3), 4), ((40, 8, 17), 1)])
def test_gradients_of_group_norm(shape, groups):
    x, g = randoms(*shape), randoms(*shape, seed=2)
    weight = randoms(shape[1], seed=1)
    leaves = [iskra.tensor(a, dtype=iskra.float32).requires_grad_()
              for a in (x, weight, np.zeros(shape[1]))]
    F.group_norm(leaves[0], groups, *leaves[1:], EPS).backward(
        iskra.tensor(g, dtype=iskra.float32))
    split = (shape[0], groups, shape[1] // groups, *shape[2:])
    ones = (1,) * (len(shape) - 2)
    expected = expected_gradients(x.reshape(split), weight.reshape(split[1:3] + ones),
                                  g.reshape(split), tuple(range(2, len(split))))
    for leaf, wanted in zip(leaves, expected):
        found = leaf.grad.numpy()
        assert abs(found - wanted.reshape(found.shape)).max() <= 2e-5 * max(abs(wanted).max(), 1)


NORMS = {
    "layer_norm": (lambda x, w: F.layer_norm(x, (6,), w), (40, 1)),
    "rms_norm": (lambda x, w: F.rms_norm(x, (6,), w), (40, 1)),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w), (40, 2, 1)),
}


@pytest.mark.parametrize("name", NORMS)
def test_statistics_are_all_that_is_kept_of_the_result(name):
    norm, shape = NORMS[name]
    x, weight = (iskra.ones(n, requires_grad=True) for n in ((40, 6), (6,)))
    for _ in range(20):  # in the end by a quick call
        node = norm(x, weight).grad_fn
        parts = [getattr(node, f"_saved_{hidden}") for hidden in node.operator.hidden]
        assert parts
        assert all(part.shape == shape and not part.requires_grad for part in parts)
        assert "result" not in node.plan.names


@pytest.mark.parametrize("name", NORMS)
def test_narrow_statistics_are_kept_whole(name):
    """bfloat16 would leave three digits of a mean."""
    norm, _ = NORMS[name]
    values, g = randoms(40, 6) + 100, randoms(40, 6, seed=1)
    x = iskra.tensor(values, dtype=iskra.bfloat16).requires_grad_()
    node = norm(x, iskra.ones(6, dtype=iskra.bfloat16)).grad_fn
    assert node._saved_scale.dtype is iskra.float64
    gradients = []
    for dtype in (iskra.bfloat16, iskra.float32):
        x = iskra.tensor(values, dtype=iskra.bfloat16).to(dtype).requires_grad_()
        norm(x, iskra.ones(6, dtype=dtype)).backward(iskra.tensor(g, dtype=dtype))
        gradients.append(x.grad.float().numpy())
    np.testing.assert_allclose(*gradients, rtol=0, atol=0.02 * abs(gradients[1]).max())


def test_statistics_do_not_stand_in_the_way_of_second_gradients():
    def first_gradient(x, weight, bias):
        result = F.layer_norm(x, (5,), weight, bias)
        return iskra.autograd.grad(result.sin().sum(), (x, weight), create_graph=True)

    leaves = [iskra.tensor(randoms(*shape, seed=n), requires_grad=True)
              for n, shape in enumerate([(130, 5), (5,), (5,)])]
    assert iskra.autograd.gradcheck(first_gradient, leaves, fast_mode=True)
