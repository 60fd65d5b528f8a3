"""The computation of multi-head attention, on tensors and weights.

Page: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
"""

import math

from iskra import ops
from iskra.core import bool_
from iskra.ops.warning import warn


def canonical_mask(mask, name, other_dtype, other_name, dtype):
    """A mask as numbers to be added to scores: True becomes -inf."""
    if mask is None:
        return None
    if mask.dtype != bool_ and not mask.is_floating_point():
        raise AssertionError(
            f"only bool and floating types of {name} are supported, not {mask.dtype}"
        )
    if other_dtype is not None and mask.dtype != other_dtype:
        warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both "
            "instead."
        )
    if mask.is_floating_point():
        return mask
    return ops.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)


def multi_head_attention_forward(
    query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, bias_v,
    add_zero_attn, dropout_p, out_proj_weight, out_proj_bias, training=True, key_padding_mask=None,
    need_weights=True, attn_mask=None, use_separate_proj_weight=False, q_proj_weight=None,
    k_proj_weight=None, v_proj_weight=None, static_k=None, static_v=None,
    average_attn_weights=True, is_causal=False,
):
    """Project, attend with several heads, project back: (output, weights or None).

    Shapes: query (L, N, E), key (S, N, Ek), value (S, N, Ev), or all without N; output like the
    query, weights (N, L, S) or (N, num_heads, L, S). A mask is bool, True meaning "not this one",
    or is added to the scores.

    Source: `torch.nn.functional.multi_head_attention_forward`.

    >>> import iskra as torch
    >>> x, w, b = torch.ones(2, 1, 4), torch.eye(4), torch.zeros(4)
    >>> output, weights = torch.nn.functional.multi_head_attention_forward(
    ...     x, x, x, 4, 2, torch.cat([w, w, w]), None, None, None, False, 0.0, w, b)
    >>> weights
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, embed_dim = query.shape
    _check_sizes(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    other = None if attn_mask is None else attn_mask.dtype
    padding = canonical_mask(key_padding_mask, "key_padding_mask", other, "attn_mask", query.dtype)
    if is_causal and padding is None and not need_weights:
        mask = None  # the attention itself leaves out what lies ahead
    else:
        mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype)
        mask = _mask_of_heads(mask, batch * num_heads, length, key.size(0))
        is_causal = False
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = _project_apart(query, key, value, weights, in_proj_bias)
    else:
        q, k, v = _project_packed(query, key, value, in_proj_weight, in_proj_bias)
    k, v, mask, padding = _with_bias(k, v, bias_k, bias_v, mask, padding)
    q = _split_heads(q, batch, num_heads)
    k = _split_heads(k, batch, num_heads) if static_k is None else _static("k", static_k, q)
    v = _split_heads(v, batch, num_heads) if static_v is None else _static("v", static_v, q)
    if add_zero_attn:
        k, v = ops.pad(k, (0, 0, 0, 1)), ops.pad(v, (0, 0, 0, 1))
        mask, padding = _one_more_column(mask), _one_more_column(padding)
    if padding is not None:
        mask = _merge_padding(mask, padding, batch, num_heads, k.size(1))
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        heads, weights = _attend_with_weights(q, k, v, mask, dropout_p)
        weights = weights.view(batch, num_heads, length, k.size(1))
        weights = weights.mean(dim=1) if average_attn_weights else weights
    else:
        heads, weights = _attend(q, k, v, mask, dropout_p, is_causal, batch, num_heads), None
    joined = heads.transpose(0, 1).reshape(length * batch, embed_dim)
    output = ops.linear(joined, out_proj_weight, out_proj_bias)
    output = output.view(length, batch, output.size(1))
    if not batched:
        output = output.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return output, weights


def _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether the inputs have a batch dimension; AssertionError where they do not fit."""
    dims = query.dim()
    if dims not in (2, 3):
        raise AssertionError(
            "query should be unbatched 2D or batched 3D tensor but received "
            f"{dims}-D query tensor"
        )
    kind = "batched (3-D)" if dims == 3 else "unbatched (2-D)"
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {dims}-D but found "
            f"{key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {dims - 1}-D but "
            f"found {key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{attn_mask.dim()}-D tensor instead"
        )
    if dims == 2 and attn_mask is not None and attn_mask.dim() == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise AssertionError(
                f"Expected `attn_mask` shape to be {expected} but got {tuple(attn_mask.shape)}"
            )
    return dims == 3


def _check_sizes(query, key, value, embed_dim, num_heads, separate):
    if query.size(-1) != embed_dim:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim}, but got {query.size(-1)}"
        )
    if embed_dim % num_heads:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if separate and key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    if not separate and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _mask_of_heads(mask, heads, length, keys):
    """The mask with a dimension for the heads."""
    if mask is None:
        return None
    expected = (length, keys) if mask.dim() == 2 else (heads, length, keys)
    if tuple(mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}."
        )
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _project_packed(query, key, value, weight, bias):
    """q, k and v by the three thirds of one weight, in as few products as the inputs allow."""
    if weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    if key is value:
        if query is key:
            return ops.linear(query, weight, bias).chunk(3, dim=-1)
        size = query.size(-1)
        w_q, w_kv = weight.split([size, 2 * size])
        b_q, b_kv = (None, None) if bias is None else bias.split([size, 2 * size])
        return (ops.linear(query, w_q, b_q), *ops.linear(key, w_kv, b_kv).chunk(2, dim=-1))
    return _project_apart(query, key, value, weight.chunk(3), bias)


def _project_apart(query, key, value, weights, bias):
    for name, weight in zip("qkv", weights, strict=True):
        if weight is None:
            raise AssertionError(
                f"use_separate_proj_weight is True but {name}_proj_weight is None"
            )
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [
        ops.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
    ]


def _with_bias(k, v, bias_k, bias_v, mask, padding):
    """Keys and values with a learned one at the end, which no mask hides."""
    if bias_k is None and bias_v is None:
        return k, v, mask, padding
    if bias_k is None or bias_v is None:
        raise AssertionError("bias_k and bias_v go together: one of them is None")
    batch = k.size(1)
    k, v = ops.cat([k, bias_k.repeat(1, batch, 1)]), ops.cat([v, bias_v.repeat(1, batch, 1)])
    return k, v, _one_more_column(mask), _one_more_column(padding)


def _one_more_column(mask):
    return None if mask is None else ops.pad(mask, (0, 1))


def _split_heads(x, batch, num_heads):
    """(L, N, E) -> (N * heads, L, E / heads)."""
    return x.reshape(x.size(0), batch * num_heads, -1).transpose(0, 1)


def _static(name, given, q):
    """Keys or values that are given ready, per head."""
    if given.size(0) != q.size(0) or given.size(2) != q.size(2):
        raise AssertionError(
            f"expecting static_{name} of shape ({q.size(0)}, S, {q.size(2)}), "
            f"but got {tuple(given.shape)}"
        )
    return given


def _merge_padding(mask, padding, batch, num_heads, keys):
    if tuple(padding.shape) != (batch, keys):
        raise AssertionError(
            f"Expected key_padding_mask of shape {(batch, keys)}, but got {tuple(padding.shape)}"
        )
    padding = padding.view(batch, 1, 1, keys).expand(-1, num_heads, -1, -1)
    padding = padding.reshape(batch * num_heads, 1, keys)
    return padding if mask is None else mask + padding


def _attend_with_weights(q, k, v, mask, dropout_p):
    """The heads' outputs (N * heads, L, E / heads) and the weights they were made with."""
    scaled = q * math.sqrt(1.0 / float(q.size(2)))
    keys = k.transpose(-2, -1)
    scores = ops.bmm(scaled, keys) if mask is None else ops.baddbmm(mask, scaled, keys)
    weights = ops.softmax(scores, dim=-1)
    if dropout_p > 0.0:
        weights = ops.dropout(weights, p=dropout_p)
    return ops.bmm(weights, v), weights


def _attend(q, k, v, mask, dropout_p, is_causal, batch, num_heads):
    """The heads' outputs alone, by the operator that need not keep the weights."""
    if mask is not None:
        if mask.size(0) == 1:
            mask = mask.unsqueeze(0)
        else:
            mask = mask.view(batch, num_heads, -1, k.size(1))
    q, k, v = (x.reshape(batch, num_heads, x.size(1), x.size(2)) for x in (q, k, v))
    heads = ops.scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
    return heads.reshape(batch * num_heads, heads.size(2), heads.size(3))
