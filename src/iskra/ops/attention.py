"""Scaled dot-product attention.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
"""

import math

import numpy as np

from iskra.core.dtypes import bool_
from iskra.core.size import format_shape
from iskra.dispatch import composite
from iskra.ops.comparison import where
from iskra.ops.dropout import dropout
from iskra.ops.matmul import matmul
from iskra.ops.softmax import softmax
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
        rows, columns = scores.shape[-2:]
        attn_mask = wrap(np.tri(rows, columns, dtype=bool))
    if attn_mask is None:
        return scores
    if attn_mask.dtype is bool_:
        return where(attn_mask, scores, -math.inf)
    return scores + attn_mask


def _weights(scores):
    """Softmax over the keys; a query that may attend to nothing gets zeros, not NaN."""
    weights = softmax(scores, -1)
    nothing = np.isneginf(scores._array).all(-1, keepdims=True)
    return weights.masked_fill(wrap(nothing), 0.0) if nothing.any() else weights


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
    if enable_gqa:
        key, value = _repeated(key, query.size(-3)), _repeated(value, query.size(-3))
    scale = 1 / math.sqrt(query.size(-1)) if scale is None else scale
    # Half of the scale on either side keeps narrow floats in range.
    root = math.sqrt(abs(scale))
    scores = matmul(query * root, key.mT * math.copysign(root, scale))
    weights = _weights(_masked(scores, attn_mask, is_causal))
    if dropout_p:
        weights = dropout(weights, dropout_p, True)
    return matmul(weights, value)
