"""Kernels and their graphs as text: what `iskra.explain` and `iskra.graph.replay` show.

Everything is written anew from what a launch holds (expressions, nests, layouts) when somebody
asks for it; calls pay nothing for it.
"""

from iskra.codegen import lower
from iskra.codegen.extent import Extent
from iskra.codegen.placement import topological
from iskra.graph.fuse import CHUNKS, expressions
from iskra.runtime import jit


class Graph:
    """The expressions that a launch computes, one assignment per line.

    >>> import numpy as np
    >>> from iskra.codegen.expr import Expr, Extent
    >>> x = Expr.input(0, np.dtype(np.float32), (Extent([0]), Extent([1])))
    >>> print(Graph([x - np.maximum.reduce(x, axis=1, keepdims=True) * 2]))
    %0: float32[s0, s1] = input 0
    %1: float32[s0] = maximum.reduce(%0, axes=(1,))
    %2: float32[s0, 1] = axes(%1, (0, new))
    %3: float32[s0, 1] = multiply(%2, 2.0)
    %4: float32[s0, s1] = subtract(%0, %3)
    return %4
    """

    def __init__(self, outputs):
        self.outputs = outputs
        self.numbers = {}
        for expr in expressions(outputs):
            if expr.op not in ("const", "extent"):
                self.numbers[expr] = len(self.numbers)

    def name(self, expr):
        """What an expression is called; numbers and sizes are spelt out."""
        if expr in self.numbers:
            return f"%{self.numbers[expr]}"
        if expr.op == "extent":
            return size(expr.attr)
        whole = expr.dtype.kind in "iub"
        return str(expr.attr if whole else float(expr.attr))

    def __str__(self):
        lines = [f"{self.name(e)}: {described(e.dtype, e.shape)} = {self._right(e)}"
                 for e in self.numbers]
        return "\n".join([*lines, "return " + ", ".join(map(self.name, self.outputs))])

    def _right(self, expr):
        if expr.op in ("input", "scalar"):
            return f"{expr.op} {expr.attr}"
        args = [self.name(a) for a in expr.args]
        name = expr.op
        if expr.op == "map":
            name = expr.attr
        elif expr.op == "reduce":
            name = f"{expr.attr[0]}.reduce"
            args.append(f"axes={expr.attr[1]}")
        elif expr.op == "axes":
            args.append("(" + ", ".join("new" if a is None else str(a) for a in expr.attr) + ")")
        elif expr.op in ("index", "pick"):
            args.append(f"axis={expr.attr}")
        return f"{name}({', '.join(args)})"


def size(extent):
    """A size of a space or a shape: a number, a product of symbols, that of chunks or panels."""
    if extent == CHUNKS:
        return "chunks"
    return "panels" if extent.__class__ is Extent and extent.symbols[0] < 0 else str(extent)


def described(dtype, shape):
    """An array's dtype and shape."""
    return f"{dtype}[{', '.join(map(size, shape))}]"


class KernelText:
    """One kernel to look at.

    form: "map" (element by element), "rows" (reduces along the vectors), "columns" (reduces across
        them), "short rows" (16 rows at a time, a lane for each) or "sweep" (a map over tables of
        arrays).
    nest, layout: what it computes, and for which memory layout.
    """

    def __init__(self, compiled, step=None, graph=None):
        self.compiled = compiled
        self.nest = compiled.nest
        self.layout = compiled.layout
        self._step = step
        self._graph = graph or Graph([o.expr for o in self.nest.outputs])

    @property
    def form(self):
        """Which loops the kernel is made of."""
        if self._step is None:
            return "sweep"
        if not self.nest.reduced:
            return "map"
        if self.layout.tile is not None:
            return "short rows"
        return "rows" if set(self.layout.groups[-1]) & self.nest.reduced else "columns"

    @property
    def layout_class(self):
        """Form and layout in a word: axes merged into each loop, numbers of strided operands ..."""
        groups, *fields = self.layout
        word = f"{self.form}_" + ("-".join("".join(map(str, g)) for g in groups) or "none")
        for name, field in zip(self.layout._fields[1:], fields, strict=True):
            if field or field == 0 and field is not False:
                numbers = sorted(field) if isinstance(field, (set, frozenset)) else (
                    field if isinstance(field, tuple) else [field])
                word += f"_{name}_" + "_".join(map(str, numbers))
        return word

    @property
    def passes(self):
        """How often the loops run over the reduced axes."""
        placed = topological(o.placed for o in self.nest.outputs)
        depth = max(p.depth for p in placed)
        last = any(o.summed or o.placed.depth == depth for o in self.nest.outputs
                   if self.nest.reduced.intersection(o.axes))
        return depth + last if self.nest.reduced else 1

    @property
    def function(self):
        """The kernel in the loop IR, as `iskra.codegen.ir.Function`."""
        return self.compiled.function()

    @property
    def ir(self):
        """The loop IR."""
        return str(self.function)

    @property
    def llvm(self):
        """LLVM's IR, after the passes that are run on it."""
        return jit.optimized(lower.text(self.function))

    @property
    def assembly(self):
        """The assembly for this machine."""
        return self.assembly_for()

    def assembly_for(self, triple=None, cpu=None, features=""):
        """The assembly for another machine; see `iskra.runtime.jit.assembly`."""
        return jit.assembly(lower.text(self.function), triple, cpu, features)

    def __str__(self):
        nest, name = self.nest, self._graph.name
        space = ", ".join(map(size, nest.extents)) or "1"
        lines = [f"{self.form}: space [{space}]" + self._reduced()]
        lines.append("loops: " + " > ".join(map(self._loop, self.layout.groups)))
        lines.append("reads: " + (", ".join(map(self._operand, nest.leaves)) or "nothing"))
        lines.append("writes: " + ", ".join(
            f"{name(o.expr)} ({o.placed.dtype}{self._gaps(number)})"
            for number, o in enumerate(nest.outputs, len(nest.leaves))))
        return "\n".join(lines)

    @property
    def work(self):
        """How the call at hand shared the work out; empty where that is not known."""
        if self._step is None:
            return ""
        known = dict(zip(self.compiled.arguments, self._step.integers, strict=True))
        return f"{_count(known['units',], 'unit')} in {_count(known['tasks',], 'task')}"

    def _reduced(self):
        if not self.nest.reduced:
            return ""
        axes = ", ".join(map(str, sorted(self.nest.reduced)))
        word = "axis" if len(self.nest.reduced) == 1 else "axes"
        return f", {word} {axes} reduced, {_count(self.passes, 'pass')}"

    def _loop(self, group):
        sizes = [self.nest.extents[a] for a in group]
        return "*".join(size(s) for s in sizes if s.__class__ is not int) or "1"

    def _operand(self, leaf):
        expr, axes = leaf
        number = self.nest.leaves[leaf]
        return f"{self._graph.name(expr)} ({expr.dtype}{self._gaps(number)})"

    def _gaps(self, number):
        return ", strided" if number in self.layout.strided else ""


def _count(number, noun):
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


class WrittenKernel:
    """A kernel written by hand, such as a matrix product's: `name`, and its texts."""

    form = "by hand"
    work = ""

    def __init__(self, name, source):
        self.name = name
        self._source = source

    @property
    def ir(self):
        """The loop IR, or LLVM's IR where it was written in that."""
        return str(self._source())

    @property
    def llvm(self):
        """LLVM's IR, after the passes that are run on it."""
        return jit.optimized(self._lowered())

    @property
    def assembly(self):
        """The assembly for this machine."""
        return self.assembly_for()

    def assembly_for(self, triple=None, cpu=None, features=""):
        """The assembly for another machine; see `iskra.runtime.jit.assembly`."""
        return jit.assembly(self._lowered(), triple, cpu, features)

    def _lowered(self):
        source = self._source()
        return source if isinstance(source, str) else lower.text(source)

    def __str__(self):
        return f"by hand: {self.name}"


class Launch:
    """What one call of a program ran: its `graph` and its `kernels`, in order."""

    def __init__(self, launch):
        steps, outputs = launch
        self.graph = Graph(outputs)
        self.kernels = [KernelText(s.kernel, s, self.graph) for s in steps]


class SweepLaunch:
    """The same of a sweep."""

    def __init__(self, sweep):
        self.kernels = [KernelText(sweep.kernel)]
        self.graph = self.kernels[0]._graph
