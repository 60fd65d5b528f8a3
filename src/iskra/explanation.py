"""``iskra.explain``: what a call of a function runs, down to the machine code."""

import threading
import types
from collections import Counter
from textwrap import indent

import numpy as np

from iskra import graph, runtime
from iskra.dispatch import Interceptor
from iskra.dispatch.operator import Operator, bind
from iskra.dispatch.overrides import FOREIGN, scan
from iskra.graph.explain import Launch, SweepLaunch, WrittenKernel
from iskra.tensor import Tensor

__all__ = ["Explanation", "OperatorCall", "explain"]

_PARTS = ("graph", "kernels", "ir", "llvm", "assembly")
_SHOWN = 80  # columns of an argument that is no tensor


def explain(f, /, *args, show="graph kernels", **kwargs):
    """Run ``f(*args, **kwargs)`` once and tell what that ran, as an `Explanation`.

    Printed, it lists the operator calls in order: dtypes and shapes, whether kernels or NumPy
    served the call, and if NumPy, why. Under a call stand its graph and its kernels; of kernels
    written by hand, such as those of matrix products, the names stand beside it. Calls inside
    a composite operator are indented. `show` names what is printed, separated by spaces: "graph"
    (the expressions), "kernels" (their loops), "ir" (the loop IR), "llvm" (LLVM's IR), "assembly".

    What runs outside any operator's call, as programs of a lowered region do, has a line of its
    own. Only operators of this thread are seen; those of ``__torch_function__`` and of calls with
    ``out=`` are seen as one. What `f` returns is kept in `result`.

    Raises TypeError where `f` cannot be called, ValueError for an unknown word in `show` and where
    `f` called no operator.

    >>> import iskra as torch
    >>> x = torch.ones(64, 128)
    >>> found = torch.explain(torch.softmax, x, 1)
    >>> print(found)
    softmax(float32[64, 128], 1) -> float32[64, 128]: 1 kernel
    ...
    >>> kernel = found.kernels[0]
    >>> kernel.form, "exp(" in str(found), "loop" in kernel.ir, "fadd" in kernel.llvm
    ('rows', True, True, True)
    >>> print(torch.explain(torch.sqrt, torch.ones(3)))
    sqrt(float32[3]) -> float32[3]: NumPy, too small: 3 elements, kernels begin at 4096
    """
    if not callable(f):
        what = "a tensor" if isinstance(f, Tensor) else f"a value of type {type(f).__name__}"
        raise TypeError(f"explain() takes a function and its arguments, not {what}: write "
                        "explain(f, x), not explain(f(x))")
    parts = _parts(show)
    watch = _Watch()
    graph.observers.append(watch)
    try:
        with runtime.native.watching(watch.written), watch:
            result = f(*args, **kwargs)
    finally:
        graph.observers.remove(watch)
    if not watch.calls:
        name = getattr(f, "__qualname__", type(f).__name__)
        raise ValueError(f"explain(): {name} called no operator on tensors")
    return Explanation(result, watch.calls, parts)


def _parts(show):
    parts = show.split()
    unknown = [p for p in parts if p not in _PARTS]
    if unknown:
        raise ValueError(f"explain() shows {', '.join(_PARTS)}, not {unknown[0]!r}")
    return parts


class Explanation:
    """What a call ran.

    result: what it returned. calls: its `OperatorCall`s, in order. kernels: those of all calls, as
    `iskra.graph.explain.KernelText`, with ``form``, ``ir``, ``llvm``, ``assembly`` and
    ``assembly_for(triple, cpu)``, or `WrittenKernel`, with the same.
    """

    def __init__(self, result, calls, parts):
        self.result = result
        self.calls = calls
        self._parts = parts

    @property
    def kernels(self):
        """The kernels of all calls, in the order in which they ran."""
        return [k for call in self.calls for k in call.kernels]

    def show(self, parts):
        """The text with other parts, named as in `explain`."""
        return "\n".join(call.text(_parts(parts)) for call in self.calls)

    def __str__(self):
        return self.show(" ".join(self._parts))

    __repr__ = __str__


class OperatorCall:
    """One operator call, or one step of an optimizer over many arrays.

    name: the operator's. signature: the call as text. served: by "kernels" or "NumPy"; "a view"
    and "the calls inside" compute nothing themselves, and "its body alone" serves a composite
    operator that calls no other. reason: why kernels did not serve the call. launches: what the
    kernel tier ran, each with `graph` and `kernels`. written: the kernels written by hand that ran,
    each as often as it did. inside: the calls of a composite operator.
    """

    def __init__(self, name, signature):
        self.name = name
        self.signature = signature
        self.served = "NumPy"
        self.reason = None
        self.launches = []
        self.written = []
        self.inside = []

    @property
    def kernels(self):
        """The kernels of this call and of the calls inside."""
        own = [k for launch in self.launches for k in launch.kernels]
        return own + self.written + [k for call in self.inside for k in call.kernels]

    def text(self, parts):
        """The call, with these parts of its kernels."""
        lines = [f"{self.signature}: {self._served()}"]
        lines += [indent(_launch_text(launch, parts), "  ") for launch in self.launches]
        lines += [indent(_kernel_text(k.name, k, parts), "  ") for k in _distinct(self.written)]
        lines += [indent(call.text(parts), "  ") for call in self.inside]
        return "\n".join(line for line in lines if line)

    def _served(self):
        """By what, in words."""
        words = []
        if self.launches:
            words.append(_counted(sum(len(launch.kernels) for launch in self.launches)))
        if self.written:
            words.append(f"{_counted(len(self.written))} by hand: {_names(self.written)}")
        return " and ".join(words) or self.served + (f", {self.reason}" if self.reason else "")

    def __repr__(self):
        return self.text(())


def _counted(kernels):
    return "1 kernel" if kernels == 1 else f"{kernels} kernels"


def _names(kernels):
    """The kernels' names, in the order in which they first ran, with how often they did."""
    counts = Counter(kernel.name for kernel in kernels)
    return ", ".join(name if n == 1 else f"{name} x {n}" for name, n in counts.items())


def _distinct(kernels):
    return {kernel.name: kernel for kernel in kernels}.values()


def _launch_text(launch, parts):
    lines = [str(launch.graph)] if "graph" in parts else []
    for number, kernel in enumerate(launch.kernels, 1):
        if "kernels" in parts:
            first, *rest = [*str(kernel).split("\n"), *filter(None, [kernel.work])]
            lines += [f"kernel {number}, {first}", *[f"  {line}" for line in rest]]
        lines.append(_kernel_text(f"kernel {number}", kernel, parts))
    return "\n".join(filter(None, lines))


def _kernel_text(name, kernel, parts):
    """The parts of one kernel that are code."""
    lines = []
    for part in ("ir", "llvm", "assembly"):
        if part in parts:
            lines += [f"{name}, {part}:", indent(getattr(kernel, part), "  ")]
    return "\n".join(lines)


class _Watch(Interceptor):
    """Sees the operator calls of its thread, and what the kernel tier does with them."""

    watches = True

    def __init__(self):
        self.calls = []
        self._open = []  # the calls that are running, the outermost first
        self._thread = threading.get_ident()

    def intercept(self, op, args, kwargs):
        call = OperatorCall(op.name, "")
        self._note(call)
        self._open.append(call)
        try:
            call.signature = f"{op.name}({_arguments(args, kwargs)})"
            result = self._run(op, args, kwargs)
        finally:
            self._open.pop()
        call.signature += f" -> {_shown(result)}"
        if call.launches or call.written:
            call.served, call.reason = "kernels", None
        elif call.inside:
            call.served = "the calls inside"
        else:
            call.served, call.reason = _without_kernels(op, args, kwargs, call.reason)
        return result

    def _run(self, op, args, kwargs):
        """The call itself; into a composite operator we follow, since it only calls others."""
        flags = scan(args) | scan(kwargs.values())
        if op.kind != "composite" or flags & FOREIGN or "out" in kwargs:
            return op.public(*args, **kwargs)
        with self:
            return op.perform(op, bind(op, args, kwargs), flags)

    def _note(self, call):
        (self._open[-1].inside if self._open else self.calls).append(call)

    # As an observer of the kernel tier

    def launched(self, op, program, launch, arrays, scalars, into):
        """A call runs a program's kernels."""
        if threading.get_ident() == self._thread:
            call = self._call(op.name, op.name if isinstance(op, Operator) else str(op))
            call.served = "kernels"
            call.launches.append(Launch(launch))

    def refused(self, op, reason):
        """A call is left to NumPy."""
        if threading.get_ident() == self._thread:
            self._call(op.name, op.name).reason = reason

    def swept(self, formula, sweep, columns):
        """A sweep applies a formula to columns of arrays."""
        if threading.get_ident() == self._thread:
            kinds = ", ".join(f"{len(c)} x {c[0].dtype}" for c in columns)
            call = OperatorCall(formula.__qualname__, f"{formula.__qualname__}({kinds})")
            call.served = "kernels"
            call.launches.append(SweepLaunch(sweep))
            self._note(call)

    def written(self, name, source):
        """A kernel written by hand is about to run."""
        if threading.get_ident() == self._thread:
            call = self._call(name, name)
            call.served = "kernels"
            call.written.append(WrittenKernel(name, source))

    def _call(self, name, signature):
        """The call that the kernel tier serves: the one that is running."""
        if not self._open:
            self._note(OperatorCall(name, signature))
            return self.calls[-1]
        return self._open[-1]


def _without_kernels(op, args, kwargs, refusal):
    """``(what served a call that ran no kernel, why no kernel did)``."""
    op = getattr(op, "base", op)  # of an in-place form
    if op.kind == "view":
        return "a view", None
    if op.kind == "composite":
        return "its body alone", None
    if refusal is not None:
        return "NumPy", refusal
    if not op.computes:
        return "NumPy", "not traced: its body moves data or calls a library"
    sizes = [t._array.size for t in _tensors([*args, *kwargs.values()])]
    largest = max(sizes, default=0)
    if largest < op.large:
        noun = "element" if largest == 1 else "elements"
        return "NumPy", f"too small: {largest} {noun}, kernels begin at {op.large}"
    return "NumPy", "the operand that decides is too small"


def _tensors(values):
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _arguments(args, kwargs):
    return ", ".join([*map(_shown, args), *(f"{k}={_shown(v)}" for k, v in kwargs.items())])


def _shown(value):
    """A value in a call's line: dtype and shape of a tensor."""
    if isinstance(value, Tensor):
        return f"{value._dtype.name}[{', '.join(map(str, value._array.shape))}]"
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        inner = ", ".join(map(_shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, types.FunctionType):
        return value.__qualname__
    text = f"array{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN - 3] + "..."
