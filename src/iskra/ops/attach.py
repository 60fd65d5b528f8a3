"""From the operator table: the public functions, the Tensor methods and their in-place forms."""

from iskra.dispatch import OPERATORS
from iskra.tensor import Tensor


def attach():
    """Bind every operator onto `Tensor` and return all functions by name."""
    functions = {}
    for op in OPERATORS.values():
        for name in (op.name, *op.aliases):
            functions[name] = op.public
            if op.method:
                setattr(Tensor, name, op.public)
            if op.inplace:
                functions[name + "_"] = op.inplace_variant
                setattr(Tensor, name + "_", op.inplace_variant)
    return functions
