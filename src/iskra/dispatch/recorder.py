"""`Recorder`: the interceptor that writes operator calls into a `Region` while they run."""

import numpy as np

from iskra.autograd import no_grad
from iskra.core.interception import Interceptor
from iskra.dispatch import execute
from iskra.dispatch.operator import NONE, Operator, bind
from iskra.graph.region import Call, Region
from iskra.tensor import Tensor, wrap


class Recorder(Interceptor):
    """A block whose operator calls become a graph, those of backward and of optimizers as well.

    Tensors that no recorded call has made are the region's inputs. A write in place gives the
    tensor a new value from then on.

    >>> import iskra as torch
    >>> with Recorder() as recorder:
    ...     y = torch.ones(3).mul(2).sum()
    >>> print(recorder.finish([y]))
    %0: float32[3] = input
    %1 = mul(%0, 2)
    %2 = sum(%1, None, False, None)
    return %2
    """

    def __init__(self):
        self.region = Region()
        # Place in memory -> (the array there, kept alive; its value; the storage's version then).
        # Several tensors may share memory: a saved result, a gradient that a leaf took over.
        self._known = {}

    def intercept(self, op, args, kwargs):
        """Run the call and note it."""
        if op.kind == "composite" and isinstance(op, Operator):
            with self:  # what it is made of
                return op.compute(bind(op, args, kwargs))
        if kwargs.get("out") is not None:
            raise RuntimeError(f"{op.name}: a call with out= cannot be recorded")
        if op.kind == "inplace":
            return self._write(op, args, kwargs)
        bound = bind(op, args, kwargs) if isinstance(op, Operator) else ()
        if not any(True for _ in _tensors(bound)):
            return op.public(*args, **kwargs)  # makes a tensor out of nothing: an input
        call = self._call(op, bound)
        result = op.public(*args, **kwargs)
        call.results = [self._made(t) for t in _tensors([result])]
        self.region.calls.append(call)
        return result

    def _write(self, op, args, kwargs):
        """A write in place: the tensor has a new value afterwards."""
        base, target = op.base, args[0]
        if target._base is not None:
            raise RuntimeError(f"{op.name}: a write to a view cannot be recorded")
        if base.kind == "composite":
            raise RuntimeError(f"{op.name}: this write in place cannot be recorded")
        call = self._call(base, bind(base, args, kwargs))
        op.public(*args, **kwargs)
        call.results = [self._made(target)]
        self.region.calls.append(call)
        return target

    def _call(self, op, bound):
        """The call before it runs."""
        computes_in = stores_as = None
        tensors = list(_tensors(bound))
        if op.promote is not NONE:
            kind = execute.result_type(op, bound)
            computes_in = np.dtype(np.float32) if kind.is_narrow else kind.numpy
            stores_as = kind.numpy if kind.is_narrow else None
        elif op.computes and any(t._dtype.is_narrow for t in tensors):
            computes_in = np.dtype(np.float32)
            stores_as = next(t._dtype.numpy for t in tensors if t._dtype.is_narrow)
        if op.dim_index is not None:
            bound = execute.resolve_dims(op, bound)
        arguments = [self._argument(v) for v in bound]
        return Call(op, arguments, [], computes_in, stores_as, _reference(op))

    def _argument(self, value):
        if isinstance(value, Tensor):
            return self._value(value)
        if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
            return [self._argument(v) for v in value]
        return value

    def _value(self, tensor):
        """The value that a tensor has now."""
        known = self._known.get(_place(tensor._array))
        if known is not None and known[2] == tensor._version:
            return known[1]
        return self._note(tensor, self.region.value(tensor._array, tensor))

    def _made(self, tensor):
        """A new value for what a call has made or written."""
        return self._note(tensor, self.region.value(tensor._array))

    def _note(self, tensor, value):
        self._known[_place(tensor._array)] = tensor._array, value, tensor._version
        return value

    def finish(self, outputs):
        """The region whose outputs are the values that these tensors have now."""
        self.region.outputs = [self._value(t) for t in outputs]
        return self.region


def _place(array):
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype


def _tensors(values):
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _reference(op):
    """A function that runs the operator on arrays, outside any graph."""
    def wrapped(argument):
        if isinstance(argument, np.ndarray):
            return wrap(argument)
        return [wrapped(a) for a in argument] if isinstance(argument, list) else argument

    def run(arguments):
        with no_grad():
            result = op.run(op, tuple(wrapped(a) for a in arguments))
        return [t._array for t in _tensors([result])]

    return run
