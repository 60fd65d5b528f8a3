"""Multi-head attention and transformers: masks, shapes, and what they promise of one another."""

import numpy as np
import pytest

import iskra as torch
from iskra import nn


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape).astype(np.float32))


def close(one, two, **kwargs):
    np.testing.assert_allclose(
        one.detach().numpy(), two.detach().numpy(), **{"rtol": 1e-4, "atol": 1e-5, **kwargs}
    )


def test_with_and_without_weights():
    attention = nn.MultiheadAttention(8, 2)
    q, k = draw(4, 3, 8), draw(5, 3, 8, seed=1)
    output, weights = attention(q, k, k)
    same, nothing = attention(q, k, k, need_weights=False)
    assert nothing is None and weights.shape == (3, 4, 5)
    close(output, same)
    close(weights.sum(-1), torch.ones(3, 4))
    per_head = attention(q, k, k, average_attn_weights=False)[1]
    assert per_head.shape == (3, 2, 4, 5)
    close(per_head.mean(1), weights)


def test_batch_first_and_unbatched():
    attention = nn.MultiheadAttention(8, 2)
    first = nn.MultiheadAttention(8, 2, batch_first=True)
    first.load_state_dict(attention.state_dict())
    x = draw(4, 3, 8)
    close(attention(x, x, x)[0], first(x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1))[0]
          .transpose(0, 1))
    single = x[:, 0]
    output, weights = attention(single, single, single)
    assert output.shape == (4, 8) and weights.shape == (4, 4)
    close(output, attention(x, x, x)[0][:, 0])


@pytest.mark.parametrize("need_weights", [True, False])
def test_masks(need_weights):
    attention = nn.MultiheadAttention(8, 2)
    q, k = draw(4, 3, 8), draw(5, 3, 8, seed=1)
    hidden = torch.tensor([[False] * 3 + [True] * 2] * 3)
    masked = attention(q, k, k, key_padding_mask=hidden, need_weights=need_weights)[0]
    close(masked, attention(q, k[:3], k[:3])[0])
    as_numbers = torch.zeros(3, 5).masked_fill(hidden, float("-inf"))
    close(masked, attention(q, k, k, key_padding_mask=as_numbers, need_weights=need_weights)[0])
    everywhere = torch.tensor([[False] * 3 + [True] * 2] * 4)
    close(masked, attention(q, k, k, attn_mask=everywhere, need_weights=need_weights)[0])
    per_head = everywhere.expand(6, 4, 5)
    close(masked, attention(q, k, k, attn_mask=per_head, need_weights=need_weights)[0])


def test_causal_hint():
    attention = nn.MultiheadAttention(8, 2)
    x = draw(4, 3, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    plain = attention(x, x, x, attn_mask=mask)[0]
    close(plain, attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0])
    with pytest.raises(RuntimeError, match="Need attn_mask if specifying the is_causal hint"):
        attention(x, x, x, is_causal=True)


def test_what_attention_refuses():
    with pytest.raises(AssertionError, match="must be divisible by num_heads"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(ValueError, match="must be greater than 0"):
        nn.MultiheadAttention(8, 0)
    attention, x = nn.MultiheadAttention(8, 2), torch.ones(4, 3, 8)
    with pytest.raises(AssertionError, match="expected `key` and `value` to be 3-D"):
        attention(x, x[0], x)
    with pytest.raises(AssertionError, match="query should be unbatched 2D or batched 3D"):
        attention(x[0, 0], x, x)
    with pytest.raises(AssertionError, match="expecting embedding dimension of 8, but got 6"):
        attention(x[..., :6], x, x)
    with pytest.raises(RuntimeError, match="The shape of the 2D attn_mask"):
        attention(x, x, x, attn_mask=torch.ones(2, 2))
    with pytest.raises(AssertionError, match="only bool and floating types"):
        attention(x, x, x, attn_mask=torch.ones(4, 4, dtype=torch.int64))


def test_state_dict_names():
    assert list(nn.MultiheadAttention(8, 2).state_dict()) == [
        "in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"
    ]
    assert list(nn.MultiheadAttention(8, 2, bias=False, add_bias_kv=True, kdim=4).state_dict()) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v", "out_proj.weight"
    ]


def test_square_subsequent_mask():
    inf = float("inf")
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == [[0, -inf, -inf], [0, 0, -inf], [0, 0, 0]]


def test_encoder_layers_are_copies():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    encoder = nn.TransformerEncoder(layer, 2)
    assert len(encoder.layers) == 2
    assert encoder.layers[0].linear1.weight is not encoder.layers[1].linear1.weight
    assert torch.equal(encoder.layers[0].linear1.weight, layer.linear1.weight)


def test_a_causal_encoder_does_not_look_ahead():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    x = draw(5, 2, 8)
    changed = x.clone()
    changed[3:] = 7
    one, two = encoder(x, mask=mask), encoder(changed, mask=mask)
    close(one[:3], two[:3])
    assert not np.allclose(one[3:].detach().numpy(), two[3:].detach().numpy())


def test_padding_is_zero_in_evaluation_without_gradients():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x, padding = draw(2, 4, 8), torch.tensor([[False] * 4, [False, False, True, True]])
    with torch.no_grad():
        quick = encoder(x, src_key_padding_mask=padding)
    slow = encoder(x, src_key_padding_mask=padding)
    assert float(quick[1, 2:].abs().sum()) == 0 and float(slow[1, 2:].abs().sum().detach()) > 0
    close(quick[0], slow[0])
    close(quick[1, :2], slow[1, :2])


def test_decoder_sees_the_memory():
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, 0.0), 1)
    target, memory = draw(3, 2, 8), draw(4, 2, 8, seed=1)
    hidden = torch.tensor([[False, False, False, True]] * 2)
    changed = memory.clone()
    changed[3] = 5
    close(decoder(target, memory, memory_key_padding_mask=hidden),
          decoder(target, changed, memory_key_padding_mask=hidden))


def test_activation_by_name():
    relu = nn.TransformerEncoderLayer(8, 2, 16, activation="relu")
    assert relu.activation is nn.functional.relu and relu.activation_relu_or_gelu == 1
    assert nn.TransformerEncoderLayer(8, 2, 16, activation="gelu").activation_relu_or_gelu == 2
    assert nn.TransformerEncoderLayer(8, 2, 16, activation=nn.Tanh()).activation_relu_or_gelu == 0
    with pytest.raises(RuntimeError, match="activation should be relu/gelu, not tanh"):
        nn.TransformerEncoderLayer(8, 2, 16, activation="tanh")


def test_transformer_refuses():
    model = nn.Transformer(8, 2, 1, 1, 16)
    with pytest.raises(RuntimeError, match="batch number of src and tgt must be equal"):
        model(torch.ones(5, 2, 8), torch.ones(4, 3, 8))
    with pytest.raises(RuntimeError, match="must be equal to d_model"):
        model(torch.ones(5, 2, 6), torch.ones(4, 2, 8))
