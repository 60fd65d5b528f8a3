"""Short paths: the functions that users call, for calls in which nothing is unusual.

Each of them looks whether the call is ordinary (plain tensors, dtypes that the body takes as they
are, no interceptor in the process), runs the body, and wraps and records what comes out. Anything
else, and any error, goes through `iskra.dispatch.door.call`, which is complete and says what is
wrong.
"""

import numpy as np

from iskra import graph
from iskra.core.dtypes import FLOATING, of_numpy
from iskra.core.local import active, local
from iskra.dispatch.door import call
from iskra.dispatch.execute import (
    PASSED,
    as_view,
    constant,
    outside,
    quiet_run,
    quietly,
    refuse_non_tensor,
    served,
    served_with_number,
)
from iskra.dispatch.named import return_type
from iskra.dispatch.operator import NONE, SAME, bind, pack
from iskra.dispatch.overrides import FOREIGN, scan
from iskra.dispatch.tape import PLAIN, pair_recorder, record, record_one
from iskra.dispatch.variants import into
from iskra.tensor import Parameter, Tensor
from iskra.tensor.tensor import _new as new

empty, generic = np.empty, np.generic
_PLAIN_SETTINGS = frozenset((int, bool, slice, type(...)))
_NUMBERS = frozenset((int, bool, float, complex))
ndarray = np.ndarray


def in_zero_dimensions(value):
    """NumPy's scalar as an array; None for anything else, which needs a closer look."""
    if not isinstance(value, generic):
        return None
    array = empty((), value.dtype)
    array[()] = value
    return array


def _into(op, args, settings):
    """A call with ``out=`` among its settings, which may be changed."""
    if not op.out:
        return call(op, args, settings)
    out = settings.pop("out")
    result = op.public(*args, **settings) if out is None else into(op, args, settings, out)
    return call(op, args, settings | {"out": out}) if result is None else result


def _by_door(op, args, settings):
    """A call that no short path makes, of which a quick call may be learnt."""
    if "inplace" in settings and op.inplace_flag is not None and not active.intercepting:
        function = op.inplace_variant if settings["inplace"] else op.public
        if function is not None and args and args[0].__class__ in PLAIN:
            return function(*args, **{k: v for k, v in settings.items() if k != "inplace"})
    result = call(op, args, settings)
    if op.quick.learning and result.__class__ is Tensor:
        op.quick.miss(args, settings)
    return result


def unary(op):
    """The public function of a pointwise operator with one operand.

    Settings may follow, as in `relu(input, inplace=False)`.
    """
    plans = op.plans
    quick = op.quick
    # What may be said without changing anything.
    ordinary = {"inplace": False} if "inplace" in op.body.__code__.co_varnames else None
    overwriting = {"inplace": True}

    def function(input, *rest, **settings):
        if settings and "out" in settings:
            return _into(op, (input, *rest), settings)
        if settings == overwriting and ordinary is not None and input.__class__ in PLAIN:
            if op.inplace_variant is not None and not active.intercepting:
                return op.inplace_variant(input, *rest)
        result = quick.call(input, *rest, **settings)
        if result is not None:
            if result.__class__ is list:
                return quick.record(result[0], (input, *rest), settings)
            return result
        if rest or settings and settings != ordinary:
            return _by_door(op, (input, *rest), settings)
        result = otherwise(input, settings)
        if result is None:
            return call(op, (input,), settings)
        if input._requires_grad:
            record_one(op, input, (input, *op.signature.defaults[1:]), result)
        return result

    def otherwise(input, settings):
        cls = input.__class__
        if (cls is Tensor or cls is Parameter) and not active.intercepting:
            try:
                compute, dtype, large = plans[input._dtype]
                array = input._array
                if array.size < large:
                    array = quiet_run(compute, array)
                else:
                    array = served(op, compute, array)
            except Exception:
                return None
            if array.__class__ is not ndarray:
                array = in_zero_dimensions(array)
            if array is not None:
                result = new(Tensor)
                result._array = array
                result._dtype = dtype
                if quick.learning:
                    quick.miss((input,), settings)
                return result
        return None

    return function


def binary(op):
    """The public function of a pointwise operator with two operands."""
    plans = op.plans
    quick = op.quick

    def short(input, other):
        result = quick.call(input, other)
        if result is not None:
            return quick.record(result[0], (input, other)) if result.__class__ is list else result
        result = otherwise(input, other)
        if result is None:
            return call(op, (input, other), {})
        if input._requires_grad or (
                other.__class__ is not float and other.__class__ is not int
                and other._requires_grad):
            (op.record_pair or pair_recorder(op))(input, other, result)
        return result

    def otherwise(input, other):
        cls, other_cls = input.__class__, other.__class__
        if not (cls is Tensor or cls is Parameter) or active.intercepting:
            return None
        kind = input._dtype
        try:
            compute, dtype, large = plans[kind]
            if (other_cls is Tensor or other_cls is Parameter) and other._dtype is kind:
                first, second = input._array, other._array
                if first.size < large and second.size < large:
                    array = quiet_run(compute, first, second)
                else:
                    array = served(op, compute, first, second)
            elif (other_cls is float or other_cls is int) and kind.is_floating_point:
                first = input._array
                if first.size < large:
                    array = quiet_run(compute, first, constant(other, kind))
                else:
                    array = served_with_number(op, compute, first, quietly(kind.numpy.type, other))
            else:
                return None
        except Exception:
            return None
        if array.__class__ is not ndarray:
            array = in_zero_dimensions(array)
            if array is None:
                return None
        result = new(Tensor)
        result._array = array
        result._dtype = dtype
        if quick.learning:
            quick.miss((input, other))
        return result

    def function(input, other, **settings):
        if not settings:
            return short(input, other)
        if "out" in settings:
            return _into(op, (input, other), settings)
        result = quick.call(input, other, **settings)
        if result is None:
            return _by_door(op, (input, other), settings)
        if result.__class__ is list:
            return quick.record(result[0], (input, other), settings)
        return result

    op.short = short
    return function


def mapping(op):
    """The function of other pointwise operators: a quick call, or one by the door."""
    quick = op.quick

    def function(*args, **settings):
        if settings and "out" in settings:
            return _into(op, args, settings)
        result = quick.call(*args, **settings)
        if result is None:
            return _by_door(op, args, settings)
        return quick.record(result[0], args, settings) if result.__class__ is list else result

    return function


def _takes(op, dtype):
    """Whether the body may be given arrays of this dtype as they are; noted for the next time."""
    if op.promote is not NONE:
        # Promotion leaves operands of one dtype alone, unless it makes integers floats.
        rule_keeps = op.promote == SAME or dtype.category >= FLOATING
        known = isinstance(op.promote, str) and rule_keeps and not dtype.is_narrow
    else:
        known = not (op.computes and dtype.is_narrow)
    if op.accepts is not None and dtype.category not in op.accepts:
        known = False
    op.taken[dtype] = known
    return known


def _arrays(op, args):
    """``(arrays, whether any tensor may be taped)``, or None where the call is not ordinary."""
    arrays = []
    taped = False
    kind = None
    for index, value in enumerate(args):
        cls = value.__class__
        if cls in PLAIN:
            dtype = value._dtype
            if dtype is not kind:
                taken = op.taken
                if not (taken[dtype] if dtype in taken else _takes(op, dtype)):
                    return None
                if kind is not None and op.one_dtype:
                    return None
                kind = dtype
            arrays.append(value._array)
            if value._requires_grad:
                taped = True
        elif cls in PASSED:
            if value is not None and (index in op.operands or index == op.dtype_index):
                if not (op.scalars and cls in _NUMBERS and index and op.promote is NONE):
                    return None
            arrays.append(value)
        elif cls is tuple and value and value[0].__class__ in _PLAIN_SETTINGS:
            arrays.append(value)
        elif cls is list or cls is tuple:
            kind = _list_arrays(op, value, kind, arrays)
            if kind is None:
                return None
            taped = taped or any(v is not None and v._requires_grad for v in value)
        else:
            return None
    return None if kind is None else (arrays, taped)


def _list_arrays(op, value, kind, arrays):
    """Append the arrays of a list of plain tensors; return the last one's dtype, or None."""
    found = []
    for item in value:
        if item is None:
            found.append(None)
            continue
        if item.__class__ not in PLAIN:
            return None
        dtype = item._dtype
        if not (op.taken[dtype] if dtype in op.taken else _takes(op, dtype)):
            return None
        if kind is not dtype and kind is not None and op.one_dtype:
            return None
        kind = dtype
        found.append(item._array)
    arrays.append(found)
    return kind if found else None


def _settle_dim(op, arrays, kwargs):
    """Make a reduction's `dim` non-negative; False where it needs a closer look."""
    index = op.dim_index
    dim = arrays[index] if index < len(arrays) else kwargs.get("dim")
    if dim is None:
        return True
    rank = arrays[0].ndim
    if dim.__class__ is not int or not -rank <= dim < rank:
        return False
    if dim < 0:
        if index < len(arrays):
            arrays[index] = dim + rank
        else:
            kwargs["dim"] = dim + rank
    return True


def wrapped(op, result):
    """Tensors around the body's results; None where they need a closer look."""
    if op.outputs == 1 or result.__class__ is not tuple:
        return _wrapped_array(result)
    tensors = []
    for array in result:
        tensor = None if array is None else _wrapped_array(array)
        if tensor is None and array is not None:
            return None
        tensors.append(tensor)
    return tuple(tensors) if op.result is None else return_type(op)(tensors)


def _wrapped_array(array):
    if array.__class__ is not ndarray:
        array = in_zero_dimensions(array)
        if array is None:
            return None
    tensor = new(Tensor)
    tensor._array = array
    tensor._dtype = of_numpy(array.dtype)
    return tensor


def general(op):
    """The function of an operator whose body takes arrays."""
    body = op.body
    computes, kernels = op.computes, op.has_kernels
    learns = kernels or op.repeats or op.rearranges
    code = body.__code__
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    reduces = op.kind in ("reduction", "fused") and "dim" in named
    # The operand whose size decides on the tier: the first that is named.
    main = 0 if not op.declared_operands else named.index(op.declared_operands.split()[0])

    quick = op.quick

    def function(*args, **kwargs):
        if kwargs and "out" in kwargs:
            return _into(op, args, kwargs)
        result = quick.call(*args, **kwargs)
        if result is not None:
            return quick.record(result[0], args, kwargs) if result.__class__ is list else result
        if active.intercepting or kwargs and not _are_settings(op, kwargs):
            return call(op, args, kwargs)
        found = _arrays(op, args)
        if found is None:
            return call(op, args, kwargs)
        arrays, taped = found
        settings = dict(kwargs)
        if reduces and not _settle_dim(op, arrays, settings):
            return _by_door(op, args, kwargs)
        try:
            result = None
            if kernels and arrays[main].__class__ is ndarray and arrays[main].size >= op.large:
                result = _from_kernels(op, arrays, settings)
            if result is None:
                if computes:
                    result = quiet_run(body, *arrays, **settings)
                else:
                    result = body(*arrays, **settings)
        except Exception:
            return call(op, args, kwargs)
        result = wrapped(op, result)
        if result is None:
            return call(op, args, kwargs)
        if quick.learning and learns:
            quick.miss(args, kwargs)
        if taped and op.formulas and (not active.without_grad or local.grad_enabled):
            record(op, bind(op, args, kwargs), result)
        return result

    return function


def _from_kernels(op, arrays, kwargs):
    """The result of a call on large operands from the kernel tier; None where it has none."""
    bound = [*arrays, *op.signature.defaults[len(arrays):]]
    for name, value in kwargs.items():
        bound[op.signature.position[name]] = value
    result = graph.run(op, bound)
    return None if result is graph.UNSERVED else result


def _are_settings(op, kwargs):
    """Whether the keyword arguments are the body's own and hold no tensors."""
    for name, value in kwargs.items():
        if value.__class__ not in PASSED or name not in op.setting_names and value is not None:
            return False
    return True


def viewing(op):
    """The function of a view operator with one result."""
    body = op.body
    # Views without a gradient (detach) share the memory and stay outside any graph.
    make = outside if op.grad is None else as_view
    # Where sizes may also be given one by one: where they begin.
    sizes = None if op.variadic is None else body.__code__.co_varnames.index(op.variadic)
    quick = op.quick

    def function(*args, **kwargs):
        if not kwargs:
            result = quick.view(*args)
            if result is not None:
                return quick.record(result[0], args) if result.__class__ is list else result
        if not kwargs and args and not active.intercepting:
            source = args[0]
            cls = source.__class__
            if cls is Tensor or cls is Parameter:
                try:
                    if sizes == 1 and len(args) > 1 and args[1].__class__ is int:
                        bound = source, args[1:]
                        array = body(source._array, args[1:])
                    else:
                        bound = args if sizes is None else pack(args, sizes)
                        array = body(source._array, *bound[1:])
                except Exception:
                    return call(op, args, kwargs)
                if array.__class__ is ndarray:
                    view = make(source, array)
                    if quick.learning:
                        quick.miss(args)
                    if source._requires_grad and make is as_view:
                        record(op, bind(op, bound, kwargs), view)
                    return view
        return call(op, args, kwargs)

    return function


def several_views(op):
    """The function of a view operator with several results."""
    quick = op.quick

    def function(*args, **kwargs):
        result = quick.view(*args, **kwargs)
        if result is not None:
            return quick.record(result[0], args) if result.__class__ is list else result
        result = call(op, args, kwargs)
        if quick.learning and args and args[0].__class__ in PLAIN and not active.intercepting:
            quick.miss(args, kwargs)
        return result

    return function


def composed(op):
    """The function of a composite: its body takes tensors."""
    body = op.body

    def function(*args, **kwargs):
        if active.intercepting or scan(args) & FOREIGN:
            return call(op, args, kwargs)
        for name, value in kwargs.items():
            if name not in op.setting_names or value.__class__ not in PASSED:
                return call(op, args, kwargs)
        try:
            return body(*args, **kwargs)
        except AttributeError as error:
            refuse_non_tensor(op, bind(op, args, kwargs), error)
            raise

    return function
