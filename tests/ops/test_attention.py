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


# Calls that machine code serves


FUSED = "ScaledDotProductFlashAttentionForCpuBackward0"


def larger(lib=torch, dtype=np.float32, heads=(4, 4), **settings):
    arrays = (draw(2, heads[0], 40, 16), draw(2, heads[1], 50, 16, seed=1),
              draw(2, heads[1], 50, 8, seed=2))
    return [lib.tensor(a.astype(dtype), **settings) for a in arrays]


def results(lib, tensors, mask=None, **settings):
    """The result and the operands' gradients, as arrays."""
    attention = lib.nn.functional.scaled_dot_product_attention
    given = mask if mask is None else lib.tensor(mask)
    result = attention(*tensors, given, **settings)
    (result * result).sum().backward()
    return [result.detach(), *[t.grad for t in tensors]]


@pytest.mark.parametrize("settings", [
    {}, {"is_causal": True}, {"scale": -0.3}, {"mask": draw(40, 50) > 0},
    {"mask": draw(40, 50).astype("f4")}, {"mask": draw(2, 1, 1, 50) > 0},
    {"mask": draw(4, 40, 1).astype("f4")},
])
def test_fused_values_and_gradients_are_pytorchs(settings):
    reference = pytest.importorskip("torch")
    found = [results(lib, larger(lib, requires_grad=True), **settings)
             for lib in (torch, reference)]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"is_causal": True}, {"mask": draw(2, 1, 40, 50) > 0}])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fused_dropout_draws_pytorchs_mask(settings, dtype):
    reference = pytest.importorskip("torch")
    found = []
    for lib in (torch, reference):
        lib.manual_seed(3)
        tensors = [t.to(getattr(lib, dtype)).requires_grad_() for t in larger(lib)]
        found.append([t.float() for t in results(lib, tensors, dropout_p=0.3, **settings)])
        found[-1].append(lib.rand(5))  # the streams stand at the same place
    tolerance = 1e-4 if dtype == "float32" else 0.05
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)


def test_wrong_probabilities_are_refused():
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match="probability has to be between 0 and 1"):
            attend(*larger(), dropout_p=p)


def test_which_calls_are_fused():
    q, k, v = larger(requires_grad=True)
    mask = torch.zeros(40, 50)

    def fused(*operands, **settings):
        return type(attend(*operands, **settings).grad_fn).__name__ == FUSED

    assert fused(q, k, v) and fused(q, k, v, mask) and fused(q, k, v, is_causal=True)
    assert fused(q, k, v, dropout_p=0.5) and not fused(q, k, v, dropout_p=1.0)
    assert not fused(q, k, v, mask.requires_grad_())
    assert not fused(q[:1, :1, :4, :4], k[:1, :1, :, :4], v[:1, :1])
    with torch.no_grad():
        assert attend(q, k, v, mask).grad_fn is None


def test_both_ways_agree(monkeypatch):
    """The composition with all scores stored is the reference."""
    keep = draw(40, 50) > 0
    keep[3] = False
    for settings in ({}, {"is_causal": True}, {"mask": keep}, {"mask": draw(2, 1, 40, 50)}):
        found = results(torch, larger(dtype=np.float64, requires_grad=True), **settings)
        with monkeypatch.context() as patch:
            patch.setattr("iskra.codegen.kernels.attention.serves", lambda *arrays: False)
            expected = results(torch, larger(dtype=np.float64, requires_grad=True), **settings)
        for a, b in zip(found, expected, strict=True):
            close(a, b.numpy())


@pytest.mark.parametrize("mask", [None, draw(4, 40, 50) > 0, draw(2, 1, 40, 50)])
def test_groups_of_heads(mask):
    """Key and value heads that serve several query heads, against repeated ones."""
    q, k, v = larger(dtype=np.float64, heads=(4, 2), requires_grad=True)
    found = results(torch, (q, k, v), mask, enable_gqa=True)
    again = [x.detach().repeat_interleave(2, 1).requires_grad_() for x in (k, v)]
    expected = results(torch, (q.detach().requires_grad_(), *again), mask)
    for a, b in zip(found[:2], expected[:2], strict=True):
        close(a, b.numpy())
    for a, b in zip(found[2:], expected[2:], strict=True):
        close(a, b.numpy().reshape(2, 2, 2, *b.shape[2:]).sum(2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_narrow_floats_are_computed_as_float32(dtype, causal):
    tensors = [t.to(dtype).requires_grad_() for t in larger()]
    found = results(torch, tensors, is_causal=causal)
    wide = [t.detach().float().requires_grad_() for t in tensors]
    expected = attend(*wide, is_causal=causal)
    assert found[0].dtype is dtype and (found[0] == expected.to(dtype)).all()
    # The gradient that comes in has been rounded.
    rounded = expected.detach().to(dtype)
    expected.backward((rounded * 2).float())
    for a, tensor in zip(found[1:], wide, strict=True):
        assert a.dtype is dtype
        np.testing.assert_allclose(a.float().numpy(), tensor.grad.numpy(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("settings", [
    {}, {"is_causal": True}, {"attn_mask": torch.tensor(draw(4, 5) > -0.7)}, {"scale": 0.4},
    {"dropout_p": 0.4},
])
def test_derivatives_of_any_order(monkeypatch, settings):
    monkeypatch.setattr("iskra.codegen.kernels.attention._SCORES", 1)
    q, k, v = operands()
    # The one head of queries is broadcast.
    tensors = [t.clone().requires_grad_() for t in (q[0, :1], k[0, :2], v[0, :2, :, :3])]

    def call(*tensors):
        torch.manual_seed(0)
        return attend(*tensors, **settings)

    assert type(call(*tensors).grad_fn).__name__ == FUSED
    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors)


def test_third_derivatives_are_those_of_the_composition(monkeypatch):
    def third():
        tensors = [t.requires_grad_() for t in operands()]
        sums = attend(*tensors).pow(2).sum()
        for _ in range(2):
            grads = torch.autograd.grad(sums, tensors, create_graph=True)
            sums = sum((g * g.cos()).sum() for g in grads)
        return torch.autograd.grad(sums, tensors)

    expected = third()
    monkeypatch.setattr("iskra.codegen.kernels.attention._SCORES", 1)
    for a, b in zip(third(), expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-8, atol=1e-9)


def test_the_gradient_of_some_operands_only():
    expected = results(torch, larger(requires_grad=True))
    for number in range(3):
        tensors = larger()
        tensors[number].requires_grad_()
        result = attend(*tensors)
        (result * result).sum().backward()
        np.testing.assert_array_equal(tensors[number].grad.numpy(), expected[number + 1].numpy())


def test_operands_that_were_written_to_are_noticed():
    q, k, v = larger(requires_grad=True)
    copy = k * 1
    result = attend(q, copy, v)
    with torch.no_grad():
        copy.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_multi_head_attention_is_fused_and_pytorchs():
    reference = pytest.importorskip("torch")
    found = []
    for lib in (torch, reference):
        lib.manual_seed(1)
        layer = lib.nn.MultiheadAttention(32, 4)
        x = lib.tensor(draw(60, 2, 32).astype("f4"), requires_grad=True)
        padding = lib.tensor(np.arange(60) >= np.array([[60], [45]]))
        for settings in ({}, {"key_padding_mask": padding}):
            x.grad = None
            result, _ = layer(x, x, x, need_weights=False, **settings)
            (result * result).sum().backward()
            found.append([result.detach().numpy(), x.grad.numpy().copy()])
    for ours, theirs in zip(found[:2], found[2:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
