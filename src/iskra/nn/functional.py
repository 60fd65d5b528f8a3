"""The functions of `nn.functional`: the operators of that namespace, and a few made of them.

Page: https://docs.pytorch.org/docs/stable/nn.functional.html
"""

from iskra.dispatch.namespaces import functions
from iskra.nn.grouped_mm import grouped_mm  # noqa: F401
from iskra.nn.linear_cross_entropy import linear_cross_entropy  # noqa: F401
from iskra.nn.multihead_forward import multi_head_attention_forward  # noqa: F401
from iskra.ops import tanh  # noqa: F401

globals().update(functions("nn.functional"))
