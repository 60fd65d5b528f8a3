"""Calling a module with other parameters than its own.

Page: https://docs.pytorch.org/docs/stable/generated/torch.func.functional_call.html
"""

import contextlib
import warnings

from iskra.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Deprecated place of `torch.func.functional_call`.

    >>> import iskra as torch
    >>> from iskra.nn.utils.stateless import call_with
    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> call_with(layer, {"weight": torch.tensor([[2.0]])}, torch.ones(1))
    tensor([2.])
    """
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated. Please use "
        "`torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return call_with(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def call_with(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call `module(*args, **kwargs)` with the given tensors in the place of its own.

    What the module writes into its buffers goes into `parameters_and_buffers`. With `tie_weights`
    a tensor given for one name also stands for all names tied to it; with `strict` all names must
    be given, and no others.

    Raises RuntimeError for missing or unexpected names if strict, ValueError for several values
    of tied names.
    """
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with reparametrized(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextlib.contextmanager
def reparametrized(module, parameters_and_buffers, tie_weights=False, strict=False):
    """Within the block the module's tensors are the given ones; the names are dotted."""
    given = parameters_and_buffers
    if tie_weights:
        given = _with_tied(module, given)
    if strict:
        _check_names(module, given)
    swapped = []
    try:
        for name, value in given.items():
            swapped.append((name, *_swap(module, name, value)))
        yield module
    finally:
        for name, table, key, own in reversed(swapped):
            now = table.get(key)
            if name in parameters_and_buffers:
                parameters_and_buffers[name] = now
            if own is _ABSENT:
                del table[key]
            else:
                table[key] = own


_ABSENT = object()


def _swap(module, path, value):
    """Put `value` at a dotted path: (the table it stands in, its key there, what stood there)."""
    parent, _, name = path.rpartition(".")
    owner = module.get_submodule(parent)
    if not (value is None or isinstance(value, Tensor)):
        raise TypeError(f"{path}: expected a Tensor, but got {type(value).__name__}")
    for table in (owner._parameters, owner._buffers):
        if name in table:
            own, table[name] = table[name], value
            return table, name, own
    if name not in owner.__dict__ and hasattr(owner, name):
        raise RuntimeError(
            f"{path} is computed by {type(owner).__name__}; give what it is computed from, for "
            "example the `parametrizations...original` of a parametrized module"
        )
    table = owner.__dict__
    own = table.get(name, _ABSENT)
    table[name] = value
    return table, name, own


def _named_tensors(module):
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _check_names(module, given):
    own = {name for name, _ in _named_tensors(module)}
    lines = []
    for kind, names in (("Unexpected", set(given) - own), ("Missing", own - set(given))):
        if names:
            lines.append(f"{kind} key(s): {', '.join(map(repr, sorted(names)))}.")
    if lines:
        raise RuntimeError(
            f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(lines)
        )


def _with_tied(module, given):
    """The given tensors also under all names tied to theirs."""
    groups = {}
    for name, tensor in _named_tensors(module):
        groups.setdefault(id(tensor), []).append(name)
    complete = dict(given)
    for names in groups.values():
        values = [given[name] for name in names if name in given]
        if len({id(value) for value in values}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. "
                "Consider using tie_weights=False"
            )
        if values:
            complete.update(dict.fromkeys(names, values[0]))
    return complete
