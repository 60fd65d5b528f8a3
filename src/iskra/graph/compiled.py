"""A kernel as machine code, with what its text can be written from again."""

import hashlib

from iskra.codegen import lower
from iskra.codegen.nest import Kernel
from iskra.runtime import jit
from iskra.runtime.native import builtin

_NAME = "kernel"


class Compiled:
    """The kernel of a nest for one memory layout.

    `call` runs it, on operands of these `kinds` (see `iskra.runtime.native.builtin`), `address` is
    where its code lies; `arguments` lists its integer arguments. Its texts are not kept: they
    follow from nest and layout.
    """

    __slots__ = ("nest", "layout", "writer", "arguments", "address", "call")

    def __init__(self, nest, layout, kinds, writer=Kernel):
        self.nest = nest
        self.layout = layout
        self.writer = writer  # the class that writes the loops
        kernel = writer(nest, layout, _NAME)
        text = lower.text(kernel.build())
        self.arguments = kernel.arguments
        name = f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.address = jit.load(text).address(_NAME)
        self.call = builtin(name, self.address, kinds)

    def function(self):
        """The kernel in the loop IR, written anew."""
        return self.writer(self.nest, self.layout, _NAME).build()
