"""What nn.functional offers beyond the operators of the table."""

import numpy as np
import pytest

import iskra as torch
from iskra.nn import functional as F


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape).astype(np.float32))


# ---------------------------------------------------------------- grouped_mm

OFFSETS = [2, 5]


@pytest.mark.parametrize("shapes, product", [
    (((5, 3), (2, 3, 4)), lambda a, b: np.concatenate([a[:2] @ b[0], a[2:] @ b[1]])),
    (((2, 4, 3), (3, 5)), lambda a, b: np.concatenate([a[0] @ b[:, :2], a[1] @ b[:, 2:]], 1)),
    (((4, 5), (5, 3)), lambda a, b: np.stack([a[:, :2] @ b[:2], a[:, 2:] @ b[2:]])),
])
def test_grouped_mm(shapes, product):
    a, b = draw(*shapes[0]), draw(*shapes[1], seed=1)
    seen = F.grouped_mm(a, b, offs=torch.tensor(OFFSETS, dtype=torch.int32))
    np.testing.assert_allclose(seen.numpy(), product(a.numpy(), b.numpy()), rtol=1e-5, atol=1e-6)


def test_grouped_mm_of_batches_and_gradients():
    a, b = draw(2, 4, 3), draw(2, 3, 5).requires_grad_()
    assert torch.allclose(F.grouped_mm(a, b), a @ b)
    F.grouped_mm(draw(5, 3), b, offs=torch.tensor([2, 2])).sum().backward()
    assert float(b.grad[1].abs().sum()) == 0 and float(b.grad[0].abs().sum()) > 0


def test_grouped_mm_beyond_the_last_offset():
    seen = F.grouped_mm(draw(5, 3), draw(1, 3, 4), offs=torch.tensor([2]))
    assert seen.shape == (5, 4) and float(seen[2:].abs().sum()) == 0


def test_grouped_mm_refuses():
    with pytest.raises(RuntimeError, match="offs must be given"):
        F.grouped_mm(draw(5, 3), draw(2, 3, 4))
    with pytest.raises(RuntimeError, match="2-d or 3-d"):
        F.grouped_mm(draw(5), draw(2, 3, 4), offs=torch.tensor([5]))
    with pytest.raises(RuntimeError, match="offs must increase up to at most 5"):
        F.grouped_mm(draw(5, 3), draw(2, 3, 4), offs=torch.tensor([3, 2]))


# ---------------------------------------------------------------- linear_cross_entropy


@pytest.mark.parametrize("settings", [
    {}, {"reduction": "sum"}, {"ignore_index": 1}, {"label_smoothing": 0.2},
])
def test_linear_cross_entropy_is_both_in_turn(settings):
    x, w, b = draw(4, 6), draw(5, 6, seed=1), draw(5, seed=2)
    target = torch.tensor([0, 1, 4, 2])
    seen = F.linear_cross_entropy(x, w, target, linear_bias=b, **settings)
    assert torch.allclose(seen, F.cross_entropy(F.linear(x, w, b), target, **settings))


def test_linear_cross_entropy_of_more_dimensions():
    x, w = draw(4, 6), draw(5, 2, 6, seed=1)
    target = torch.tensor([[0, 1], [4, 2], [3, 3], [0, 0]])
    logits = torch.stack([x @ w[:, i].T for i in range(2)], -1)
    seen = F.linear_cross_entropy(x, w, target, reduction="none")
    assert torch.allclose(seen, F.cross_entropy(logits, target, reduction="none"), atol=1e-6)


def test_linear_cross_entropy_refuses():
    target = torch.tensor([0])
    with pytest.raises(RuntimeError, match="in_features"):
        F.linear_cross_entropy(draw(1, 3), draw(5, 4), target)
    with pytest.raises(RuntimeError, match="dimensionality 1 or 2, got 3"):
        F.linear_cross_entropy(draw(1, 1, 4), draw(5, 4), target)
    with pytest.raises(RuntimeError, match="expected linear_bias shape"):
        F.linear_cross_entropy(draw(1, 4), draw(5, 4), target, linear_bias=draw(4))
    with pytest.raises(RuntimeError, match="requires batched input"):
        F.linear_cross_entropy(draw(4), draw(5, 2, 4), target)
    with pytest.raises(RuntimeError, match="ignore_index cannot be specified"):
        F.linear_cross_entropy(draw(1, 4), draw(5, 4), torch.ones(1, 5), ignore_index=0)


def test_options():
    from iskra.nn import LinearCrossEntropyOptions

    options = LinearCrossEntropyOptions(batch_chunk_size=2, chunking_method=None)
    x, w, target = draw(4, 6), draw(5, 6), torch.tensor([0, 1, 4, 2])
    seen = F.linear_cross_entropy(x, w, target, options=options)
    assert torch.equal(seen, F.linear_cross_entropy(x, w, target))
    for wrong in ({"acc_policy": "x"}, {"chunking_method": "aspect_ratio:0"},
                  {"batch_chunk_size": 0}, {"acc_dtype": torch.int64}):
        with pytest.raises(ValueError):
            LinearCrossEntropyOptions(**wrong)


# ---------------------------------------------------------------- gradients of convolutions


def test_gradients_of_convolutions():
    from iskra.nn import grad

    x = draw(2, 4, 6, 5).requires_grad_()
    w = draw(6, 2, 3, 2, seed=1).requires_grad_()
    settings = dict(stride=(2, 1), padding=1, dilation=1, groups=2)
    y = F.conv2d(x, w, **settings)
    g = draw(*y.shape, seed=2)
    y.backward(g)
    of_input = grad.conv2d_input(x.shape, w.detach(), g, **settings)
    of_weight = grad.conv2d_weight(x.detach(), w.shape, g, **settings)
    assert torch.allclose(of_input, x.grad, atol=1e-5) and not of_input.requires_grad
    assert torch.allclose(of_weight, w.grad, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 3])
def test_gradients_of_convolutions_in_other_dimensions(dims):
    from iskra.nn import grad

    x = draw(1, 2, *(5, 4, 3)[:dims]).requires_grad_()
    w = draw(3, 2, *(2, 2, 2)[:dims], seed=1).requires_grad_()
    y = getattr(F, f"conv{dims}d")(x, w)
    y.sum().backward()
    of_input = getattr(grad, f"conv{dims}d_input")(x.shape, w.detach(), torch.ones(y.shape))
    of_weight = getattr(grad, f"conv{dims}d_weight")(x.detach(), w.shape, torch.ones(y.shape))
    assert torch.allclose(of_input, x.grad, atol=1e-5)
    assert torch.allclose(of_weight, w.grad, atol=1e-5)
