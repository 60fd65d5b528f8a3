"""Scaled dot-product attention.

Two ways: machine code that never stores the scores (`fused_attention`, for the shapes that
`iskra.codegen.kernels.attention.serves` names), and a composition of operators for all other calls.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
"""

import math

import numpy as np

from iskra.codegen import kernels
from iskra.core.dtypes import bfloat16, bool_, float16, float32
from iskra.core.generator import default_generator
from iskra.core.size import format_shape
from iskra.dispatch import composite, operator
from iskra.ops.comparison import where
from iskra.ops.dropout import dropout
from iskra.ops.matmul import matmul
from iskra.ops.softmax import softmax, softmax_backward
from iskra.runtime import random as streams
from iskra.tensor import wrap


def _check(query, key, value, attn_mask, is_causal):
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to have the same dtype, "
            f"but got query.dtype: {query.dtype} key.dtype: {key.dtype} and value.dtype: "
            f"{value.dtype} instead."
        )
    if min(query.dim(), key.dim(), value.dim()) < 2:
        shapes = ", ".join(format_shape(t.shape) for t in (query, key, value))
        raise RuntimeError(
            "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 "
            f"dimensional, but got shapes {shapes}"
        )
    if is_causal and attn_mask is not None:
        raise RuntimeError(
            "scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    if attn_mask is not None and attn_mask.dtype not in (bool_, query.dtype):
        raise RuntimeError(
            "scaled_dot_product_attention: Expected attn_mask dtype to be bool or float or to "
            f"match query dtype, but got attn_mask.dtype: {attn_mask.dtype} and query.dtype: "
            f"{query.dtype} instead."
        )


def _repeated(tensor, heads):
    """Key and value heads repeated so that each group of query heads has its own."""
    count = tensor.size(-3)
    if heads % count:
        raise RuntimeError(
            "scaled_dot_product_attention: with enable_gqa the number of query heads must be a "
            f"multiple of that of key and value heads, got {heads} and {count}"
        )
    return tensor if heads == count else tensor.repeat_interleave(heads // count, -3)


def _masked(scores, attn_mask, is_causal):
    """Scores with what must not be attended to at minus infinity."""
    if is_causal:
        return where(wrap(np.tri(*scores.shape[-2:], dtype=bool)), scores, -math.inf)
    if attn_mask is None:
        return scores
    if attn_mask.dtype is bool_:
        # Added, as PyTorch has it: a score that is NaN stays NaN.
        attn_mask = scores.new_zeros(attn_mask.shape).masked_fill(~attn_mask, -math.inf)
    return scores + attn_mask


def _weights(scores):
    """Softmax over the keys; a query that may attend to nothing gets zeros, not NaN."""
    nothing = np.isneginf(scores._array).all(-1, keepdims=True)
    if not nothing.any():
        return softmax(scores, -1)
    # Filled before as well, so that no NaN comes back with the gradient.
    nothing = wrap(nothing)
    return softmax(scores.masked_fill(nothing, 0.0), -1).masked_fill(nothing, 0.0)


def _composed(query, key, value, attn_mask, dropout_p, is_causal, scale):
    """Attention as a composition of operators, with all scores stored."""
    # Half of the scale on either side keeps narrow floats in range.
    root = math.sqrt(abs(scale))
    scores = matmul(query * root, key.mT * math.copysign(root, scale))
    weights = _weights(_masked(scores, attn_mask, is_causal))
    if dropout_p:
        weights = dropout(weights, dropout_p, True)
    return matmul(weights, value)


def _curvature(g, grad, query, key, value, attn_mask, kept, is_causal, scale, share):
    """The gradients of `attention_backward`: for grad, query, key and value."""
    noise = 1.0 if kept is None else kept.to(query.dtype) * share
    g_query, g_key, g_value = (
        x.new_zeros(x.shape) if given is None else given
        for x, given in zip((query, key, value), g, strict=True)
    )
    scores = matmul(query, key.mT) * scale
    weights = _weights(_masked(scores, attn_mask, is_causal))
    slopes = matmul(grad, value.mT) * noise
    slopes_of_scores = softmax_backward(slopes, weights, -1)
    g_slopes_of_scores = (matmul(g_query, key.mT) + matmul(query, g_key.mT)) * scale
    g_slopes = softmax_backward(g_slopes_of_scores, weights, -1) * noise
    g_weights = (
        g_slopes_of_scores * (slopes - (slopes * weights).sum(-1, keepdim=True))
        - slopes * (g_slopes_of_scores * weights).sum(-1, keepdim=True)
        + matmul(grad, g_value.mT) * noise
    )
    g_scores = softmax_backward(g_weights, weights, -1)
    return (
        matmul(weights * noise, g_value) + matmul(g_slopes, value),
        (matmul(g_scores, key) + matmul(slopes_of_scores, g_key)) * scale,
        (matmul(g_scores.mT, query) + matmul(slopes_of_scores.mT, g_query)) * scale,
        matmul(g_slopes.mT, grad),
    )


_INTERNAL = dict(
    method=False, function=False, out=False, node="ScaledDotProductFlashAttentionForCpuBackward0"
)


@operator(
    **_INTERNAL, operands="grad query key value attn_mask kept out state", outputs=3,
    grad={("grad", "query", "key", "value"): _curvature},
)
def attention_backward(
    grad, query, key, value, attn_mask, kept, out, state, is_causal, scale, share
):
    """The gradients of `fused_attention` for query, key and value."""
    return kernels.attention.backward(
        grad, query, key, value, attn_mask, kept, out, state, is_causal, scale, share
    )


def _gradients(g, query, key, value, attn_mask, kept, result, is_causal, scale, share):
    return attention_backward(
        g[0], query, key, value, attn_mask, kept, *result, is_causal, scale, share
    )


@operator(
    **_INTERNAL, operands="query key value attn_mask kept", outputs=2,
    grad={("query", "key", "value"): _gradients},
)
def fused_attention(query, key, value, attn_mask, kept, is_causal, scale, share):
    """The result of attention, and what its gradients need: two numbers a query.

    Weights are multiplied by `share` where `kept` is true, else by 0; None: they stay.
    """
    return kernels.attention.forward(
        query, key, value, attn_mask, kept, is_causal, scale, share
    )


def _fusable(query, key, value, attn_mask, dropout_p):
    """Whether machine code serves the call; else attention is composed of operators."""
    if not 0.0 <= dropout_p < 1.0 or attn_mask is not None and attn_mask.requires_grad:
        return False  # a mask's gradient is as large as the scores
    mask = None if attn_mask is None else attn_mask._array
    return kernels.attention.serves(query._array, key._array, value._array, mask)


def _fused(query, key, value, attn_mask, dropout_p, is_causal, scale):
    """`fused_attention`; narrow floats are computed as float32."""
    dtype = query.dtype
    narrow = dtype in (float16, bfloat16)
    if narrow:
        query, key, value = (x.to(float32) for x in (query, key, value))
        if attn_mask is not None and attn_mask.dtype is dtype:
            attn_mask = attn_mask.to(float32)
    kept, share = None, 1.0
    if dropout_p:
        kept, share = _kept(query, key, attn_mask, dropout_p), 1.0 / (1.0 - dropout_p)
    result = fused_attention(query, key, value, attn_mask, kept, is_causal, scale, share)[0]
    return result.to(dtype) if narrow else result


def _kept(query, key, attn_mask, dropout_p):
    """Which of the weights dropout keeps: the stream that `dropout` would draw for them."""
    shapes = (t.shape for t in (query, key, attn_mask) if t is not None)
    batch = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
    shape = (*batch, query.size(-2), key.size(-2))
    return wrap(streams.bernoulli(default_generator, shape, bool_, 1.0 - dropout_p))


def _grouped(query, key, value, attn_mask):
    """The operands with a dimension for the groups of query heads that share a key head."""
    heads, count = query.size(-3), key.size(-3)
    if heads == count == value.size(-3):
        return query, key, value, attn_mask
    if heads % count or count != value.size(-3):
        return query, _repeated(key, heads), _repeated(value, heads), attn_mask
    query = query.unflatten(-3, (count, heads // count))
    if attn_mask is not None and attn_mask.dim() > 2:
        one = attn_mask.size(-3) == 1
        attn_mask = attn_mask.unsqueeze(-3) if one else attn_mask.unflatten(
            -3, (count, heads // count))
    return query, key.unsqueeze(-3), value.unsqueeze(-3), attn_mask


@composite(
    autocast="lower",
    namespace="nn.functional",
    samples=lambda make: [
        ((make((2, 3, 4)), make((2, 5, 4)), make((2, 5, 3))), {}),
        ((make((1, 2, 3, 4)), make((1, 2, 3, 4)), make((1, 2, 3, 4))), {"is_causal": True}),
    ],
)
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None,
    enable_gqa=False,
):
    """Return ``softmax(query @ key.mT * scale + mask) @ value``.

    `query` is ``(..., L, E)``, `key` ``(..., S, E)``, `value` ``(..., S, Ev)``; the result is
    ``(..., L, Ev)``. A bool mask says what takes part; a float mask is added. `is_causal` lets
    each query see the keys up to its own place. `scale` is 1 / sqrt(E) if not given. With
    `enable_gqa` key and value may have fewer heads (dimension -3).
    Raises RuntimeError for shapes and dtypes that do not fit, and for two masks.

    >>> import iskra as torch
    >>> x = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    tensor([[[1.0000, 0.0000],
             [0.3302, 0.6698]]])
    """
    _check(query, key, value, attn_mask, is_causal)
    rank = query.dim()
    if enable_gqa:
        query, key, value, attn_mask = _grouped(query, key, value, attn_mask)
    scale = 1 / math.sqrt(query.size(-1)) if scale is None else scale
    if _fusable(query, key, value, attn_mask, dropout_p):
        result = _fused(
            query, key, value, attn_mask, float(dropout_p), is_causal, float(scale)
        )
    else:
        result = _composed(query, key, value, attn_mask, dropout_p, is_causal, scale)
    return result if query.dim() == rank else result.flatten(-4, -3)
