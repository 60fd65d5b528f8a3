"""What the kernels of products have in common: arguments by name, and what follows the sum."""

from contextlib import contextmanager
from typing import NamedTuple

from iskra.codegen.ir import smaller


class Arguments:
    """A kernel's arguments by name: pointers, then floats, then whole numbers.

    Each is read when it is first asked for, so that no kernel reads what it does not need.
    """

    def __init__(self, f, pointers, numbers, floats=()):
        self._f = f
        kinds = ("ptr",) * len(pointers) + ("f64",) * len(floats) + ("i64",) * len(numbers)
        names = (*pointers, *floats, *numbers)
        self._slots = {name: (i, kind) for i, (name, kind) in enumerate(zip(names, kinds))}

    def __getattr__(self, name):
        return self._f.slot(*self._slots[name])


@contextmanager
def task_matrices(f, arg, parts, batched):
    """The matrices of the kernel's task, in a loop, and which of the `parts` of each is meant.

    Of a batch, a task takes a part of `arg.share` matrices out of `arg.matrices`.
    """
    if not batched:
        yield f.const(0, f.task.type), f.task
        return
    first = f.task // parts * arg.share
    with f.loop(first, smaller(first + arg.share, arg.matrices)) as matrix:
        yield matrix, f.task % parts


class After(NamedTuple):
    """What becomes of sums before they are stored: function(sum * scale + bias + residual).

    function: of an IR value, or None; the others: whether there is such a thing.
    """

    scale: bool = False
    bias: bool = False
    residual: bool = False
    function: object = None

    def apply(self, value, scale, bias, residual):
        """The value as it is stored; the operands are functions, called only for what there is."""
        if self.scale:
            value = value * scale()
        if self.bias:
            value = value + bias()
        if self.residual:
            value = value + residual()
        return self.function(value) if self.function else value
