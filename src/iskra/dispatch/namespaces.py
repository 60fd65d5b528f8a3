"""Which operators a public module offers: read from the operator table."""

from iskra.dispatch.operator import OPERATORS


def functions(namespace):
    """The functions of one namespace (``"torch"``, ``"nn.functional"``, ``"linalg"``) by name.

    An operator names its namespaces in its declaration, several separated by spaces. Inside
    `linalg`, `special` and `fft` the namespace's own prefix is dropped from the name:
    ``linalg_inv`` is ``linalg.inv``.
    """
    prefix = namespace.rpartition(".")[2] + "_"
    found = {}
    for op in OPERATORS.values():
        if op.function and namespace in op.namespace.split():
            for name in (op.name, *op.aliases):
                found[name.removeprefix(prefix)] = op.public
                if op.inplace and namespace in ("torch", "nn.functional"):
                    found[name + "_"] = op.inplace_variant
    return found
