"""The functions of `nn.functional`: the operators of that namespace, and a few made of them.

Page: https://docs.pytorch.org/docs/stable/nn.functional.html
"""

from iskra.dispatch.namespaces import functions

globals().update(functions("nn.functional"))
