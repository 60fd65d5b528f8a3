"""`Region`: many operator calls as one graph, and its way into few kernels.

A region is what a recorder has seen: values, and the calls that make them from one another. It can
be lowered: calls whose bodies can be traced become expressions, which the fuser gathers into
kernels across operators; the others run as they are, between programs.

One-dimensional view of the work: calls are taken in order; an expression is computed (with all that
waits) when a call that cannot be traced needs it, or at the end, if it is a result.
"""

import numpy as np

from iskra.codegen.expr import Expr, cast, rearranged
from iskra.codegen.extent import Extent, NotTraceable
from iskra.graph import observers
from iskra.graph.program import Program

ndarray = np.ndarray


class Value:
    """One array that flows through a region."""

    __slots__ = ("number", "shape", "dtype", "source")

    def __init__(self, number, array, source=None):
        self.number = number
        self.shape = array.shape
        self.dtype = array.dtype
        self.source = source  # for what comes from outside: the tensor


class Call:
    """One operator call: `arguments` as the body takes them, with `Value`s for arrays."""

    __slots__ = ("op", "arguments", "results", "computes_in", "stores_as", "reference")

    def __init__(self, op, arguments, results, computes_in, stores_as, reference):
        self.op = op
        self.arguments = arguments
        self.results = results
        self.computes_in = computes_in
        self.stores_as = stores_as
        self.reference = reference  # runs the call on arrays, where it can't be traced

    def values(self):
        """The values among the arguments."""
        for argument in self.arguments:
            for item in argument if isinstance(argument, list) else (argument,):
                if isinstance(item, Value):
                    yield item

    def __str__(self):
        shown = ", ".join(_shown(a) for a in self.arguments)
        results = ", ".join(f"%{r.number}" for r in self.results)
        return f"{results} = {self.op.name}({shown})"


def _shown(argument):
    if isinstance(argument, Value):
        return f"%{argument.number}"
    if isinstance(argument, list):
        return "[" + ", ".join(map(_shown, argument)) + "]"
    return repr(argument)


class Region:
    """The graph of some operator calls. `inputs` come from outside; `outputs` are wanted."""

    def __init__(self):
        self.values = []
        self.inputs = []
        self.calls = []
        self.outputs = []

    def value(self, array, source=None):
        """A new value, like `array`."""
        value = Value(len(self.values), array, source)
        self.values.append(value)
        if source is not None:
            self.inputs.append(value)
        return value

    def needed(self):
        """The calls on which outputs depend, in order."""
        wanted, calls = set(self.outputs), []
        for call in reversed(self.calls):
            if wanted.intersection(call.results):
                calls.append(call)
                wanted.update(call.values())
        return calls[::-1]

    def __str__(self):
        lines = [f"%{v.number}: {v.dtype}{list(v.shape)} = input" for v in self.inputs]
        lines += map(str, self.calls)
        return "\n".join([*lines, "return " + ", ".join(f"%{o.number}" for o in self.outputs)])


class Fused:
    """A step of a lowered region: the program that makes `results` out of values that are there.

    `fuses` names the operators whose calls have gone into it.
    """

    name = "region"

    def __init__(self, program, results, fuses, sizes):
        self.program = program
        self.results = results
        self.fuses = fuses
        self._sizes = sizes
        self._launches = {}  # by the strides of the values

    def run(self, values):
        """The results' arrays; `values` are all that are there, by number, or None."""
        key = tuple([None if v is None else v.strides for v in values])
        launch = self._launches.get(key)
        if launch is None:
            launch = self._launches[key] = self.program.launch(values, self._sizes)
        for observer in observers:
            observer.launched(self, self.program, launch, values, (), None)
        return self.program.run(values, (), launch)

    def __str__(self):
        results = ", ".join(f"%{r.number}: {r.dtype}{list(r.shape)}" for r in self.results)
        return f"{results} = {self.name} of {', '.join(self.fuses)}"


class Lowered:
    """A region as steps: programs of kernels (`Fused`), and calls that run as they are.

    `run` takes arrays for the region's inputs, with the shapes and dtypes that were recorded, and
    returns those of its outputs. ``iskra.explain(lowered.run, arrays)`` shows the programs.
    """

    def __init__(self, region):
        self.region = region
        self.steps = []
        self.symbol, self.sizes = {}, {}
        self.expressions = {v: self._leaf(v) for v in region.inputs}
        self.there = set(region.inputs)  # values that are arrays by now
        self.calls = 0
        self._waiting = []  # names of operators whose results are expressions yet
        for call in region.needed():
            self._lower(call)
        self._materialise(region.outputs)

    def _leaf(self, value):
        return Expr.input(value.number, value.dtype, self._symbolic(value.shape))

    def _symbolic(self, shape):
        for n in shape:
            if n > 1 and n not in self.symbol:
                self.sizes[len(self.symbol)] = n
                self.symbol[n] = len(self.symbol)
        return tuple(1 if n == 1 else Extent([self.symbol[n]]) for n in shape)

    def _lower(self, call):
        try:
            results = self._traced(call)
        except (NotTraceable, NotImplementedError, TypeError, ValueError):
            self._materialise(call.values())
            self.steps.append(call)
            self.calls += 1
            self.there.update(call.results)
            results = [self._leaf(v) for v in call.results]
        else:
            self._waiting.append(call.op.name)
        self.expressions.update(zip(call.results, results, strict=True))

    def _traced(self, call):
        """Expressions for a call's results."""
        if any(0 in v.shape for v in (*call.values(), *call.results)):
            raise NotTraceable("an array without elements")
        if call.op.work is not None:
            raise NotTraceable("a product, which has kernels of its own")
        if call.op.kind == "view":
            results = [self._view(call)]
        else:
            result = call.op.compute([self._argument(call, a) for a in call.arguments])
            results = result if isinstance(result, (tuple, list)) else [result]
            results = [r for r in results if r is not None]
        if call.stores_as is not None:
            results = [cast(r, call.stores_as) if r.dtype == np.float32 else r for r in results]
        for expr, value in zip(results, call.results, strict=True):
            if not isinstance(expr, Expr) or expr.shape != self._symbolic(value.shape):
                raise NotTraceable("a result of another shape than was recorded")
            if expr.dtype != value.dtype:
                raise NotTraceable("a result of another dtype than was recorded")
        return results

    def _argument(self, call, argument):
        if isinstance(argument, list):
            return [self._argument(call, a) for a in argument]
        if not isinstance(argument, Value):
            return argument
        expr = self.expressions[argument]
        narrow = expr.dtype.name in ("float16", "bfloat16")
        if call.computes_in is not None and (narrow or call.op.promote != "none"):
            return cast(expr, call.computes_in)
        return expr

    def _view(self, call):
        """A view as a change of axes, told by what it does to the strides of some array."""
        (value,) = call.values()
        array = np.empty(value.shape, value.dtype)
        made = call.op.compute([array if a is value else a for a in call.arguments])
        expr = self.expressions[value]
        if made.__array_interface__["data"] != array.__array_interface__["data"]:
            raise NotTraceable("a view that begins elsewhere")
        left = [a for a in range(array.ndim) if array.shape[a] > 1]
        axes = []
        for size, stride in zip(made.shape, made.strides):
            found = [a for a in left if array.strides[a] == stride and array.shape[a] == size]
            axes.append(found[0] if found and size > 1 else None)
            if size > 1 and not found and stride:
                raise NotTraceable("a view that is no change of axes")
            left = [a for a in left if a not in axes]
        if left:
            raise NotTraceable("a view of a part")
        moved = rearranged(expr, tuple(axes))
        shape = self._symbolic(made.shape)
        return moved if moved.shape == shape else np.broadcast_to(moved, shape)

    def _materialise(self, values):
        """Compute what is not there yet, in one program."""
        missing = [v for v in dict.fromkeys(values) if v not in self.there]
        if not missing:
            return
        program = Program([self.expressions[v] for v in missing])
        self.steps.append(Fused(program, missing, self._waiting, self.sizes))
        self._waiting = []
        self.there.update(missing)
        self.expressions.update((v, self._leaf(v)) for v in missing)

    @property
    def programs(self):
        """The programs among the steps."""
        return [step.program for step in self.steps if isinstance(step, Fused)]

    def run(self, arrays):
        """The outputs' arrays for these inputs."""
        values = [None] * len(self.region.values)
        for value, array in zip(self.region.inputs, arrays, strict=True):
            values[value.number] = array
        for step in self.steps:
            if isinstance(step, Call):
                found = step.reference([_filled(a, values) for a in step.arguments])
            else:
                found = step.run(values)
            for value, array in zip(step.results, found, strict=True):
                values[value.number] = array
        return [values[o.number] for o in self.region.outputs]


def _filled(argument, values):
    if isinstance(argument, list):
        return [_filled(a, values) for a in argument]
    return values[argument.number] if isinstance(argument, Value) else argument
