"""Executing one call on the reference tier: arrays in, the operator's body, tensors out."""

import contextvars
from operator import index as operator_index

import numpy as np

from iskra import graph
from iskra.core.device import memory_format
from iskra.core.dtypes import FLOATING, dtype, of_numpy
from iskra.core.local import active, local
from iskra.core.promotion import many, to_float
from iskra.core.size import broadcast, format_shape, wrap_dim, wrap_dims
from iskra.dispatch.named import return_type
from iskra.dispatch.operator import FLOAT, NONE
from iskra.runtime.recycling import recycle_in
from iskra.tensor import PERHAPS, Parameter, Tensor, storage_of, wrap
from iskra.tensor.meta import compute as compute_meta
from iskra.tensor.meta import has_meta
from iskra.tensor.tensor import _new

ndarray = np.ndarray
PASSED = frozenset({int, float, bool, str, type(None), complex, dtype, memory_format})
_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


# NumPy's warnings about overflow and the like are switched off in a context of our own, so that
# the user's settings stay as they are. Entering it costs far less than np.errstate does. In it
# NumPy takes its results' memory from our allocator, once that has started.
_quiet = contextvars.copy_context()
_quiet.run(np.seterr, all="ignore")
recycle_in(_quiet)
quiet_run = _quiet.run


# Numbers as zero-dimensional arrays: NumPy takes those in half the time.
_constants = {}


def constant(value, kind):
    """The Python number `value` as a zero-dimensional array of the dtype `kind`."""
    key = (value, kind)
    found = _constants.get(key)
    if found is None:
        found = quietly(np.array, value, kind.numpy)
        if value:  # 0.0 and -0.0 are one key
            if len(_constants) > 1000:
                _constants.clear()
            _constants[key] = found
    return found


def run_pointwise(op, bound):
    """Promote, compute, wrap; and note what the short path may do next time."""
    check_operands(op, bound)
    result = graph.UNSERVED
    if is_large(op, bound):
        result, kind = _promoted_by_kernels(op, bound)
    if result is graph.UNSERVED:
        arrays, kind = promote(op, bound)
        result = compute(op, arrays, bound)
    result = _wrap_all(op, result, kind)
    if op.outputs == 1:
        note_plan(op, bound, kind, result._dtype)
    return result


def run_general(op, bound):
    """Compute on the arrays as they are, and wrap what comes out."""
    arrays = _plain_arrays(op, bound)
    if arrays is not None:
        try:
            result = _compute_plain(op, arrays)
        except Exception:  # the whole path does it again and says what is wrong
            result = None
        if isinstance(result, np.generic):  # NumPy's answer for zero dimensions
            result = np.asarray(result)
        if result.__class__ is ndarray and op.outputs == 1:
            tensor = _new(Tensor)
            tensor._array = result
            tensor._dtype = of_numpy(result.dtype)
            return tensor
        if result is not None:
            return _wrap_all(op, result, None)
    check_operands(op, bound)
    if op.has_kernels and is_large(op, bound):
        by_kernels = _by_kernels if op.promote is NONE else _promoted_by_kernels
        result, kind = by_kernels(op, bound)
        if result is not graph.UNSERVED:
            return _wrap_all(op, result, kind)
    arrays, kind = prepare(op, bound)
    return _wrap_all(op, compute(op, arrays, bound), kind)


def is_large(op, bound):
    """Whether a call's operands are worth the kernel tier's attention."""
    large = least_size(op, bound)
    for value in bound:
        if isinstance(value, Tensor):
            array = value._array
            if array.__class__ is not ndarray:
                return False
            if array.size >= large:
                return True
    return False


def least_size(op, bound):
    """From how many elements on kernels serve a call: with settings it is not NumPy's one call."""
    if op.ufunc is not None and op.keywords is not None:
        for given, default in zip(bound[op.signature.positional:], op.settings, strict=True):
            if given is not default:
                return 1
    return op.large


def _promoted_by_kernels(op, bound, into=None):
    """The result from the kernel tier, which promotes as it reads, and its dtype."""
    arrays, target, narrow, kind = _promoted_arguments(op, bound)
    return graph.run(op, arrays, target, narrow, into), kind


def _promoted_arguments(op, bound):
    """What `graph.run` is given for a call that promotes, and the promoted dtype."""
    if op.dim_index is not None or op.dtype_index is not None:
        bound = resolve_dims(op, bound)
    kind = result_type(op, bound)
    target = np.dtype(np.float32) if kind.is_narrow else kind.numpy
    arrays = [unwrap(v) for v in bound]
    for index in op.operands:
        if isinstance(arrays[index], _NUMBERS):
            arrays[index] = number(arrays[index], target)[()]
    narrow = kind.numpy if kind.is_narrow else None
    if not any(a.__class__ is ndarray and a.dtype is not target for a in arrays):
        target = None  # nothing to convert: the same program as on the short paths
    return arrays, target, narrow, kind


def written_by_kernels(op, bound, target):
    """Whether the kernel tier has written a large pointwise result into the tensor `target`."""
    if target._array.__class__ is not ndarray or not is_large(op, bound):
        return False
    if op.moves:
        arrays = [unwrap(v) for v in bound]
        return graph.run(op, arrays, into=target._array) is not graph.UNSERVED
    if op.kind != "pointwise" or result_type(op, bound) is not target._dtype:
        return False
    if _promoted_by_kernels(op, bound, target._array)[0] is graph.UNSERVED:
        return False
    note_plan(op, bound, target._dtype, target._dtype)
    return True


def _by_kernels(op, bound):
    """The result from the kernel tier, which widens narrow floats as it reads, and their dtype."""
    arrays, computes_in, stores_as, kind = _plain_arguments(op, bound)
    return graph.run(op, arrays, computes_in, stores_as), kind


def _plain_arguments(op, bound):
    """What `graph.run` is given for a call that does not promote, and the narrow dtype, if any."""
    if op.dim_index is not None or op.dtype_index is not None:
        bound = resolve_dims(op, bound)
    arrays = [unwrap(v) for v in bound]
    kinds = (v._dtype for v in bound if isinstance(v, Tensor))
    kind = next((k for k in kinds if k.is_narrow), None)
    if kind is None or op.moves:
        return arrays, None, None, None
    return arrays, np.dtype(np.float32), kind.numpy, kind


def kernel_arguments(op, bound):
    """What `graph.run` is given for a call: the arguments, what it computes in, and stores as."""
    found = _plain_arguments if op.promote is NONE else _promoted_arguments
    return found(op, bound)[:3]


def served_with_number(op, compute, array, number):
    """The same for a large operand and a number."""
    result = graph.run(op, (array, number) + op.signature.defaults[2:])
    return quiet_run(compute, array, number) if result is graph.UNSERVED else result


def served(op, compute, *operands):
    """The result for large operands of one dtype with default settings, from whichever tier."""
    result = graph.run_plain(op, *operands)
    return quiet_run(compute, *operands) if result is graph.UNSERVED else result


def _compute_plain(op, arrays):
    """Run the body, on the kernel tier where that serves; settings with defaults are left out."""
    if op.has_kernels and arrays[op.operands[0]].size >= op.large:
        result = graph.run(op, arrays)
        if result is not graph.UNSERVED:
            return result
    split = op.signature.positional
    if op.starred or op.keywords is not None and tuple(arrays[split:]) != op.settings:
        return quietly(op.compute, arrays) if op.computes else op.compute(arrays)
    if op.keywords is not None:
        arrays = arrays[:split]
    return quiet_run(op.body, *arrays) if op.computes else op.body(*arrays)


def on_arrays(function, *arguments):
    """The result of an operator on arrays, inside another one's body: by kernels where they serve.

    For the part of a body that can be traced, where what comes before cannot.
    """
    op = function.operator
    operand = arguments[op.operands[0]]
    if operand.__class__ is ndarray and operand.size >= op.large:
        result = graph.run(op, arguments + op.signature.defaults[len(arguments):])
        if result is not graph.UNSERVED:
            return result
    return op.body(*arguments)


def _plain_arrays(op, bound):
    """The body's arguments, if the call is an ordinary one; None if it needs a closer look."""
    if op.promote is not NONE:
        return None
    if op.dim_index is not None or op.dtype_index is not None:
        dim = op.dim_index
        if dim is not None and bound[dim] is not None:
            bound = resolve_dims(op, bound)
        elif op.dtype_index is not None and bound[op.dtype_index] is not None:
            return None
    arrays = list(bound)
    accepts = op.accepts
    for index, value in enumerate(bound):
        cls = value.__class__
        if cls is Tensor or cls is Parameter:
            kind = value._dtype
            if kind.is_narrow or accepts is not None and kind.category not in accepts:
                return None
            array = arrays[index] = value._array
            if array.__class__ is not ndarray:
                return None
        elif cls not in PASSED and not (cls is tuple and value and value[0].__class__ is int):
            return None
        elif index in op.operands and value is not None:
            return None
    return arrays if bound[op.operands[0]] is not None else None


def _wrap_all(op, result, kind):
    if op.outputs == 1:
        return wrap_array(result, kind)
    tensors = [None if r is None else wrap_array(r, kind) for r in result]
    return tuple(tensors) if op.result is None else return_type(op)(tensors)


def prepare(op, bound):
    """The arguments as the body takes them, and the promoted or narrow dtype, if any."""
    if op.dim_index is not None or op.dtype_index is not None:
        bound = resolve_dims(op, bound)
    return unwrap_all(op, bound) if op.promote is NONE else promote(op, bound)


def note_plan(op, bound, kind, result_dtype):
    """Note for the short path what a call on plain tensors of this one dtype amounts to."""
    if kind.is_narrow:
        return
    for index, default in enumerate(op.signature.defaults):
        if index not in op.operands and bound[index] is not default:
            return  # settings may ask for another dtype: div(rounding_mode="floor") of integers
    for index in op.operands:
        value = bound[index]
        if isinstance(value, Tensor):
            if value._dtype is not kind:
                return
        elif not kind.is_floating_point:
            return
    large = graph.NEVER if kind.is_complex else op.large
    op.plans[kind] = (op.ufunc or op.body, result_dtype, large)


def resolve_dims(op, bound):
    """Check `dim` and give it as NumPy wants it; convert the operand where `dtype` says so."""
    values = list(bound)
    source = values[op.operands[0]]
    index = op.dim_index
    if index is not None and values[index] is not None:
        rank = source._array.ndim
        dim = values[index]
        if isinstance(dim, (tuple, list)):
            dim = wrap_dims(dim, rank)
            values[index] = dim if dim and rank else None
        else:
            dim = wrap_dim(as_index(dim, op.name), rank)
            values[index] = dim if rank else None
    index = op.dtype_index
    if index is not None and values[index] is not None and source._dtype is not values[index]:
        values[op.operands[0]] = source.to(values[index])
    return values


def as_index(value, name):
    """A Python int from anything that counts as one; TypeError otherwise."""
    try:
        return operator_index(value)
    except TypeError:
        raise TypeError(
            f"{name}(): argument 'dim' must be int or tuple of ints, not {type(value).__name__}"
        ) from None


def compute(op, arrays, bound):
    """Run the body with NumPy's warnings off; turn NumPy's errors into PyTorch's."""
    first = arrays[op.operands[0]] if op.operands else None
    try:
        if first.__class__ is not ndarray and has_meta(arrays):
            return compute_meta(op.compute, arrays)
        if op.computes:
            return quietly(op.compute, arrays)
        return op.compute(arrays)
    except (np.exceptions.AxisError, ValueError, np.linalg.LinAlgError) as error:
        raise explain(op, bound, error) from None


def quietly(function, *args):
    """Call `function` with NumPy's warnings off."""
    try:
        return quiet_run(function, *args)
    except RuntimeError as error:
        if not str(error).startswith("cannot enter context"):
            raise
    with np.errstate(all="ignore"):  # another thread is inside the context
        return function(*args)


def explain(op, bound, error):
    """PyTorch's error for what NumPy complained about."""
    shapes = [v._array.shape for v in bound if isinstance(v, Tensor)]
    if isinstance(error, np.exceptions.AxisError):
        span = max(error.ndim or 1, 1)
        return IndexError(
            f"{op.name}: Dimension out of range (expected to be in range of [{-span}, "
            f"{span - 1}], but got {error.axis})"
        )
    if len(shapes) > 1 and (op.kind == "pointwise" or "be broadcast" in str(error)):
        broadcast(*shapes)  # raises the usual message if that is what is wrong
    seen = ", ".join(format_shape(s) for s in shapes)
    name = f"{op.name}: " if op.function else ""  # users don't know an inner operator
    message = f"{name}{error} (operand shapes: {seen})"
    return type(error)(message) if type(error) is ValueError else RuntimeError(message)


def check_operands(op, bound):
    """Operands must be tensors (or numbers where promotion takes them), of an accepted dtype."""
    accepts = op.accepts
    if not op.numbers:
        _refuse_numbers(op, bound)
    for index in op.operands:
        value = bound[index]
        if isinstance(value, Tensor):
            kind = value._dtype
            if accepts is not None and kind.category not in accepts:
                raise NotImplementedError(
                    f'"{op.name}" not implemented for \'{kind.scalar_name}\''
                )
            if kind.is_float8 and op.computes:
                raise NotImplementedError(
                    f'"{op.name}" not implemented for \'{kind.scalar_name}\': float8 dtypes '
                    "only store; convert with .to(dtype) to compute"
                )
        elif not _is_operand(op, value, index, bound):
            raise _not_a_tensor(op, index, value)
    if op.uniform is not None:
        tensors = [bound[i] for i in op.operands if isinstance(bound[i], Tensor)]
        if any(t._dtype is not tensors[0]._dtype for t in tensors):
            op.uniform(*[t._dtype for t in tensors])


def _refuse_numbers(op, bound):
    for index in op.operands:
        if isinstance(bound[index], _NUMBERS):
            raise _not_a_tensor(op, index, bound[index])


def _not_a_tensor(op, index, value):
    return TypeError(
        f"{op.name}(): argument '{op.signature.names[index]}' (position {index + 1}) must be "
        f"Tensor, not {type(value).__name__}"
    )


def refuse_non_tensor(op, bound, error):
    """TypeError where the object that lacks an attribute was given in a tensor's place."""
    for index, value in enumerate(bound):
        if isinstance(value, (list, tuple)) and value is not error.obj:
            for place, item in enumerate(value):
                if item is error.obj and not isinstance(item, Tensor):
                    raise TypeError(
                        f"{op.name}(): expected Tensor as element {place} in argument "
                        f"'{op.signature.names[index]}', but got {type(item).__name__}"
                    ) from None
        elif value is error.obj and not isinstance(value, Tensor):
            if value is not op.signature.defaults[index]:
                raise _not_a_tensor(op, index, value) from None


def _is_operand(op, value, index, bound):
    if op.promote is not NONE and isinstance(value, _NUMBERS):
        if index != op.operands[0]:
            return True
        return op.scalars and any(isinstance(bound[i], Tensor) for i in op.operands)
    if isinstance(value, (list, tuple)):
        return all(isinstance(v, Tensor) for v in value)
    if op.scalars and isinstance(value, _NUMBERS):
        return index != op.operands[0]
    # An optional operand may be left out; operators behind others are called with all of theirs.
    return value is None and (op.signature.defaults[index] is None or not op.function)


def unwrap(value):
    """The array of a tensor; lists and tuples of tensors become lists of arrays."""
    if isinstance(value, Tensor):
        return value._array
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return [unwrap(v) for v in value]
    return value


def unwrap_all(op, bound):
    """The arrays of a call; narrow floats are widened where the body computes."""
    narrow = None
    arrays = list(bound)
    for index, value in enumerate(bound):
        cls = value.__class__
        if cls is Tensor or cls is Parameter:
            arrays[index] = value._array
            kind = value._dtype
        elif cls in PASSED:
            continue
        else:
            arrays[index] = unwrap(value)
            if arrays[index] is value:
                continue
            kind = getattr(value[0], "_dtype", None) if arrays[index].__class__ is list else (
                value._dtype
            )
        if op.computes and kind is not None and kind.is_narrow:
            narrow = kind
            if op.computes is True:
                arrays[index] = _widen(arrays[index])
    return arrays, narrow


def _widen(array):
    if isinstance(array, list):
        return [_widen(a) for a in array]
    return array.astype(np.float32)


def promote(op, bound):
    """Convert the operands to their common dtype; return the arrays and that dtype."""
    kind = result_type(op, bound)
    if kind.is_float8:
        raise NotImplementedError(f'"{op.name}" not implemented for \'{kind.scalar_name}\'')
    target = np.dtype(np.float32) if kind.is_narrow else kind.numpy
    arrays = [unwrap(v) for v in bound]
    for index in op.operands:
        value = arrays[index]
        if value is None:
            continue
        if isinstance(value, (list, tuple)):
            arrays[index] = [v if v.dtype == target else v.astype(target) for v in value]
        elif hasattr(value, "dtype") and not isinstance(value, np.generic):
            if value.dtype != target:
                arrays[index] = value.astype(target)
        else:
            arrays[index] = number(value, target)
    return arrays, kind


def number(value, target):
    """A Python number as a zero-dimensional value of the dtype that the operation computes in.

    Or what stands for one while a body is traced.
    """
    if hasattr(value, "astype"):
        return value.astype(target)
    if target.kind in "iu" and isinstance(value, int) and not isinstance(value, bool):
        return np.array(value & (2 ** (8 * target.itemsize) - 1), np.uint64).astype(target)
    return quietly(target.type, value)


def result_type(op, bound):
    """The dtype in which the operator computes on these operands."""
    kinds = []
    for index in op.operands:
        value = bound[index]
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, Tensor):
                kinds.append((item._dtype, item._array.ndim == 0))
            elif item is not None:
                kinds.append((_number_class(item), True))
    kind = many(kinds)
    rule = op.promote if isinstance(op.promote, str) else op.select(op.promote, bound)
    return to_float(kind) if rule is FLOAT else kind


def _number_class(value):
    for cls in (bool, int, float, complex):
        if isinstance(value, cls):
            return cls
    return type(value.item())  # a NumPy number


def wrap_array(array, kind):
    """A tensor around one result; `kind` is the promoted or narrow dtype, if there is one."""
    if array.__class__ is not ndarray and isinstance(array, (np.generic, ndarray)):
        array = np.asarray(array)
    if kind is not None and kind.is_narrow and array.dtype == np.float32:
        return wrap(quietly(array.astype, kind.numpy), kind)
    return wrap(array)


def run_view(op, bound):
    """A view shares its base's memory; the base of a view of a view is the first tensor."""
    check_operands(op, bound)
    index = op.operands[0]
    source = bound[index]
    arrays = list(bound)
    arrays[index] = source._array
    if op.storage:
        memory = storage_of(source).array
        arrays[index] = (memory, source._array.dtype, source.storage_offset())
    array = compute(op, tuple(arrays), bound)
    if not op.formulas:  # detach and the like: the same memory, outside any graph
        return outside(source, array)
    if op.outputs == 1:
        return as_view(source, array)
    views = tuple(as_view(source, a) for a in array)
    for result in views:
        result._view_kind = "multiple"
    return views


def outside(source, array):
    """A tensor on `array`, a view of `source`'s memory, that can never join its graph."""
    result = wrap(array)
    result._storage = storage_of(source)
    return result


def as_view(source, array):
    """A tensor on `array`, which is a view of `source`'s memory."""
    held = source._array
    if array is held:
        array = array.view()
    elif array.__class__ is not held.__class__:
        array = np.asarray(array)
    view = _new(Tensor)
    view._array = array
    dtype = source._dtype if array.dtype is held.dtype else of_numpy(array.dtype)
    view._dtype = dtype
    storage = source._storage
    if storage is None:
        storage = storage_of(source)
    view._storage = storage
    base = source._base
    view._base = source if base is None else base
    view._view_version = storage.version
    if dtype.category >= FLOATING:
        # The base may join a graph later, through a write; then its views have joined too.
        view._requires_grad = PERHAPS
        if active.without_grad and not local.grad_enabled:
            view._view_kind = "no_grad"
        elif base is not None and source._view_kind is not None:
            view._view_kind = source._view_kind
    return view


RUNNERS = {"pointwise": run_pointwise, "view": run_view}
