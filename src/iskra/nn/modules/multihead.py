"""`MultiheadAttention`."""

from iskra.nn.init import constant_, xavier_normal_, xavier_uniform_
from iskra.nn.module import Module
from iskra.nn.modules.linear import NonDynamicallyQuantizableLinear
from iskra.nn.multihead_forward import canonical_mask, multi_head_attention_forward
from iskra.nn.parameter import Parameter
from iskra.ops import empty

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention by several heads (Vaswani et al., 2017).

    Shapes: query (L, N, E), key (S, N, kdim), value (S, N, vdim), with `batch_first` (N, L, E) and
    so on, or without N -> output like the query, weights (N, L, S), (N, num_heads, L, S) unless
    averaged, None unless needed. Masks: bool, True meaning "not this one", or added to the scores;
    key_padding_mask (N, S), attn_mask (L, S) or (N * num_heads, L, S).

    Raises AssertionError unless num_heads divides embed_dim.
    Source: `torch.nn.MultiheadAttention`.

    >>> import iskra as torch
    >>> attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.ones(3, 5, 8)
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    (iskra.Size([3, 5, 8]), iskra.Size([3, 5, 5]))
    """

    def __init__(
        self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False, add_zero_attn=False,
        kdim=None, vdim=None, batch_first=False, device=None, dtype=None,
    ):
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(
                f"embed_dim must be divisible by num_heads; seen: {embed_dim} and {num_heads}"
            )
        where = {"device": device, "dtype": dtype}
        self._make_projections(bias, where)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **where)
        if add_bias_kv:
            self.bias_k = Parameter(empty((1, 1, embed_dim), **where))
            self.bias_v = Parameter(empty((1, 1, embed_dim), **where))
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _make_projections(self, bias, where):
        """One weight for q, k and v if all have one size, else three."""
        size, same = self.embed_dim, self._qkv_same_embed_dim
        shapes = {
            "in_proj_weight": (3 * size, size) if same else None,
            "q_proj_weight": None if same else (size, size),
            "k_proj_weight": None if same else (size, self.kdim),
            "v_proj_weight": None if same else (size, self.vdim),
            "in_proj_bias": (3 * size,) if bias else None,
        }
        # Parameters that are there come before those that are not, as in PyTorch.
        names = ["in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"]
        names = names if same else [*names[1:], names[0]]
        for name in (*names, "in_proj_bias"):
            shape = shapes[name]
            param = None if shape is None else Parameter(empty(shape, **where))
            self.register_parameter(name, param)

    def _reset_parameters(self):
        for weight in (
            self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        ):
            if weight is not None:
                xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            constant_(self.in_proj_bias, 0.0)
            constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                xavier_normal_(bias)

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
        average_attn_weights=True, is_causal=False,
    ):
        other = None if attn_mask is None else attn_mask.dtype
        key_padding_mask = canonical_mask(
            key_padding_mask, "key_padding_mask", other, "attn_mask", query.dtype
        )
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype)
        turn = self.batch_first and query.dim() == 3
        if turn:
            query, key, value = _turned(query, key, value)
        output, weights = multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight, k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight, average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (output.transpose(0, 1) if turn else output), weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """Both masks as one (N, num_heads, L, S) to be added, and 0, 1 or 2 for how it was made.

        Source: `torch.nn.MultiheadAttention.merge_masks`.
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length)
            merged = merged.expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            padding = key_padding_mask.view(batch, 1, 1, length)
            merged = merged + padding.expand(-1, self.num_heads, -1, -1)
        return merged, 2


def _turned(query, key, value):
    """Batch and length swapped; what is one tensor stays one, so that one product projects it."""
    turned = {}
    for x in (query, key, value):
        if id(x) not in turned:
            turned[id(x)] = x.transpose(0, 1)
    return turned[id(query)], turned[id(key)], turned[id(value)]
