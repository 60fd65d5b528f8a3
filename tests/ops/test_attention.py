"""Scaled dot-product attention: against its formula, and against PyTorch."""

import math

import numpy as np
import pytest

import iskra as torch
from iskra.nn.functional import scaled_dot_product_attention as attend

INF = float("inf")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def by_formula(q, k, v, mask=0.0, scale=None):
    scores = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    weights = np.exp(scores + mask)
    return weights / weights.sum(-1, keepdims=True) @ v


def operands(lib=torch, **settings):
    arrays = draw(2, 3, 4, 6), draw(2, 3, 5, 6, seed=1), draw(2, 3, 5, 7, seed=2)
    return [lib.tensor(a, **settings) for a in arrays]


def close(seen, expected):
    np.testing.assert_allclose(seen.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [None, 0.0, 0.7, -0.5])
def test_the_formula(scale):
    q, k, v = operands()
    close(attend(q, k, v, scale=scale), by_formula(q.numpy(), k.numpy(), v.numpy(), scale=scale))


def test_masks():
    q, k, v = operands()
    keep = draw(4, 5) > -0.5
    keep[:, 0] = True
    expected = by_formula(q.numpy(), k.numpy(), v.numpy(), np.where(keep, 0, -INF))
    close(attend(q, k, v, torch.tensor(keep)), expected)
    close(attend(q, k, v, torch.tensor(np.where(keep, 0, -INF))), expected)
    bias = draw(3, 4, 5)
    expected = by_formula(q.numpy(), k.numpy(), v.numpy(), bias)
    close(attend(q, k, v, torch.tensor(bias)), expected)


def test_causal_attention_begins_at_the_first_key():
    q, k, v = operands()
    mask = np.where(np.tri(4, 5), 0, -INF)
    causal = attend(q, k, v, is_causal=True)
    close(causal, by_formula(q.numpy(), k.numpy(), v.numpy(), mask))
    close(causal[:, :, 0], v.numpy()[:, :, 0])  # the first query sees the first key only


def test_a_query_that_sees_nothing_gets_zeros_and_sends_no_gradient():
    q, k, v = operands(requires_grad=True)
    keep = torch.ones(4, 5, dtype=torch.bool)
    keep[1] = False
    result = attend(q, k, v, keep)
    assert result[:, :, 1].abs().max() == 0
    result.sum().backward()
    assert q.grad[:, :, 1].abs().max() == 0
    assert all(bool(torch.isfinite(t.grad).all()) for t in (q, k, v))


def test_fewer_heads_of_keys_serve_groups_of_queries():
    q, k, v = torch.tensor(draw(1, 4, 3, 2)), torch.tensor(draw(1, 2, 5, 2)), torch.tensor(
        draw(1, 2, 5, 3)
    )
    grouped = attend(q, k, v, enable_gqa=True)
    for head in range(4):
        close(grouped[:, head], attend(q[:, head], k[:, head // 2], v[:, head // 2]).numpy())


def test_dropout_drops_weights_and_scales_the_others():
    ones = torch.ones(1, 2, 4, 4)
    assert attend(ones, ones, ones, dropout_p=1.0).abs().max() == 0
    torch.manual_seed(0)
    seen = attend(ones, ones, ones, dropout_p=0.5).unique().tolist()
    assert len(seen) > 1 and all(x in (0, 0.5, 1, 1.5, 2) for x in seen)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_floats(dtype):
    q, k, v = (t.to(dtype) for t in operands())
    result = attend(q, k, v)
    assert result.dtype is dtype
    wide = by_formula(*[t.to(torch.float64).numpy() for t in (q, k, v)])
    np.testing.assert_allclose(result.to(torch.float64).numpy(), wide, rtol=0.05, atol=0.05)


def test_ranks_batches_and_empty_operands():
    q, k, v = operands()
    close(attend(q[0, 0], k[0, 0], v[0, 0]), attend(q, k, v)[0, 0].numpy())
    assert attend(q[:, :1], k, v).shape == (2, 3, 4, 7)
    assert attend(q[:, :, :0], k, v).shape == (2, 3, 0, 7)
    assert attend(q, k[:, :, :0], v[:, :, :0]).abs().max() == 0


@pytest.mark.parametrize("q, k, v, settings, message", [
    ((4,), (4,), (4,), {}, "2 dimensional"),
    ((2, 4), (5, 3), (5, 3), {}, None),
    ((2, 4), (5, 4), (6, 4), {}, None),
    ((4, 2, 4), (2, 5, 4), (2, 5, 4), {}, None),
    ((4, 2, 4), (3, 5, 4), (3, 5, 4), {"enable_gqa": True}, "heads"),
])
def test_shapes_that_do_not_fit_are_refused(q, k, v, settings, message):
    with pytest.raises(RuntimeError, match=message):
        attend(torch.ones(q), torch.ones(k), torch.ones(v), **settings)


def test_other_refusals():
    q, k, v = operands()
    with pytest.raises(RuntimeError, match="same dtype"):
        attend(q, k.float(), v)
    with pytest.raises(RuntimeError, match="should not be set when is_causal"):
        attend(q, k, v, torch.ones(4, 5, dtype=torch.bool), is_causal=True)
    with pytest.raises(RuntimeError, match="attn_mask dtype"):
        attend(q, k, v, torch.ones(4, 5, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="size of tensor"):
        attend(q, k, v, torch.ones(3, 5, dtype=torch.float64))


@pytest.mark.parametrize("settings", [
    {}, {"is_causal": True}, {"scale": -0.3}, {"mask": "bool"}, {"mask": "float"},
])
def test_values_and_gradients_are_pytorchs(settings):
    reference = pytest.importorskip("torch")
    settings = dict(settings)
    kind = settings.pop("mask", None)
    mask = {None: None, "bool": draw(4, 5) > 0, "float": draw(4, 5)}[kind]
    found = []
    for lib, function in ((torch, attend),
                          (reference, reference.nn.functional.scaled_dot_product_attention)):
        tensors = operands(lib, requires_grad=True)
        result = function(*tensors, None if mask is None else lib.tensor(mask), **settings)
        (result * result).sum().backward()
        found.append([result.detach().numpy(), *[t.grad.numpy() for t in tensors]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_dropout_draws_pytorchs_mask():
    reference = pytest.importorskip("torch")
    found = []
    for lib in (torch, reference):
        lib.manual_seed(3)
        x = lib.tensor(draw(2, 2, 5, 4))
        attention = lib.nn.functional.scaled_dot_product_attention
        found.append(attention(x, x, x, dropout_p=0.3).numpy())
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)
