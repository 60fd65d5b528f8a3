"""The derived forms of operators: in place (``add_``) and into a given tensor (``out=``).

Both compute the result whole before they write, so that an error leaves every tensor as it was.
"""

import warnings

import numpy as np

from iskra import graph
from iskra.autograd.node import gradient_edge
from iskra.autograd.view import rebase, refuse_kind
from iskra.core.local import active, local
from iskra.core.promotion import can_cast
from iskra.core.size import contiguous_strides, format_shape
from iskra.dispatch import demands, execute
from iskra.dispatch.operator import bind, body_operands
from iskra.dispatch.overrides import FOREIGN, intercept, scan
from iskra.dispatch.tape import attach, edges_of, make_node
from iskra.tensor import Parameter, Tensor, storage_of, wrap

ndarray = np.ndarray


def check_writable(tensor, name, taped=None):
    """Raise RuntimeError where writing to `tensor` in place would break autograd or memory.

    `taped` tells whether the write will be recorded; by default that is so where `tensor` itself
    requires a gradient.
    """
    if taped is None:
        taped = local.grad_enabled and tensor._requires_grad and tensor.requires_grad
    if taped:
        _check_history(tensor, name)
    if tensor._is_inference and not local.inference:
        raise RuntimeError(
            f"{name}: Inplace update to inference tensor outside InferenceMode is not allowed. "
            "You can make a clone to get a normal tensor before doing inplace update."
        )
    array = tensor._array
    if 0 in array.strides and array.size and any(
        s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)
    ):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor "
            "refers to a single memory location. Please clone() the tensor before performing the "
            "operation."
        )


def _check_history(tensor, name):
    """The errors of a recorded write."""
    base = tensor._base
    if base is None:
        if tensor._requires_grad and tensor.grad_fn is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad is being used in an in-place "
                "operation. Write under no_grad(), or to a clone()."
            )
        return
    refuse_kind(tensor, f"{name}: ", "is being modified inplace")
    if base.grad_fn is None and base.requires_grad:
        raise RuntimeError(
            f"{name}: a view of a leaf Variable that requires grad is being used in an in-place "
            "operation. Write under no_grad(), or to a clone()."
        )


def _is_taped(op, bound):
    """Whether a write of `op` into its first operand will be recorded."""
    if not local.grad_enabled:
        return False
    for index in (op.operands[0], *op.targets):
        value = bound[index]
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, Tensor) and item._requires_grad and item.requires_grad:
                return True
    return False


def make_inplace(op):
    """The function ``<name>_``: computes as `op` does and writes into its first operand."""
    name = op.name + "_"
    count = body_operands(op) if op.kind == "pointwise" else 0
    short = _wrote_alone if count == 1 else _wrote if count == 2 and op.ufunc else None
    computes = op.kind not in ("view", "composite")
    quick = op.quick

    def inplace(*args, **kwargs):
        # In place a view takes other strides, and its elements stay: nothing is to be written.
        if computes and quick.write(*args, **kwargs) is not None:
            return args[0]
        if short is not None and not kwargs and len(args) == count and short(op, *args):
            return args[0]
        if computes and _wrote_result(op, name, args, kwargs):
            return args[0]
        if local.interceptors or scan(args) & FOREIGN:
            handled, result = intercept(inplace.operator, args, kwargs)
            if handled:
                return result
        result = write_result(op, name, bind(op, args, kwargs))
        if quick.learning and computes and args:
            quick.note_write(args, kwargs)
        return result

    inplace.__name__ = inplace.__qualname__ = name
    inplace.__doc__ = f"Write the result of `{op.name}` into the first operand; return it."
    inplace.__wrapped__ = op.body
    inplace.operator = _InplaceForm(name, inplace, op)
    return inplace


def _wrote(op, target, other):
    """The short path: one NumPy call on plain tensors of one dtype outside any graph."""
    cls, other_cls = target.__class__, other.__class__
    if not (cls is Tensor or cls is Parameter) or target._base is not None or active.intercepting:
        return False
    kind = target._dtype
    if op.plans.get(kind, _NO_PLAN)[1] is not kind or target._is_inference:
        return False
    if other_cls is Tensor or other_cls is Parameter:
        if other._dtype is not kind:
            return False
        operand = other._array
        taped = target._requires_grad or other._requires_grad
    elif (other_cls is float or other_cls is int) and kind.is_floating_point:
        operand = other
        taped = target._requires_grad
    else:
        return False
    if taped and local.grad_enabled:
        return False
    array = target._array
    try:
        if array.size < op.large or not graph.write_plain(op, array, operand):
            if operand is other:
                operand = execute.constant(other, kind)
            execute.quiet_run(op.ufunc, array, operand, array)
    except Exception:  # the whole path does it again and says what is wrong
        return False
    bump(target)
    if op.quick.learning:
        op.quick.miss((target, other))
    return True


def _wrote_alone(op, target):
    """The short path of operators with one operand: the same conditions."""
    cls = target.__class__
    if not (cls is Tensor or cls is Parameter) or target._base is not None or active.intercepting:
        return False
    kind = target._dtype
    compute, result, large = op.plans.get(kind, _NO_PLAN)
    if result is not kind or target._is_inference:
        return False
    if target._requires_grad and local.grad_enabled:
        return False
    array = target._array
    try:
        if array.size < large or not graph.write_plain(op, array):
            array[...] = execute.quiet_run(compute, array)
    except Exception:  # the whole path does it again and says what is wrong
        return False
    bump(target)
    if op.quick.learning:
        op.quick.miss((target,))
    return True


_NO_PLAN = (None, None, None)
_SMALL = 4096  # elements; copying fewer takes less time than a closer look at the call


def _wrote_result(op, name, args, settings):
    """The short path of all else outside any graph: the call's result, written into its target."""
    target = args[0] if args else None
    cls = target.__class__
    if not (cls is Tensor or cls is Parameter) or active.intercepting or target._is_inference:
        return False
    flags = scan(args)
    if settings:
        flags |= scan(settings.values())
        if not op.setting_names.issuperset(settings):
            return False
    if flags and (flags & FOREIGN or _want_gradient((*args, *settings.values()))):
        return False
    array = target._array
    if array.__class__ is not ndarray or array.size >= _SMALL:
        return False
    if op.inplace_flag is not None and len(args) > op.inplace_flag:
        return False
    if array.base is not None:  # what owns its memory refers to none of it twice
        check_writable(target, name, False)
    try:
        result = op.public(*args, **settings)
        if result._array.__class__ is not ndarray:
            return False
    except Exception:  # the whole path does it again and says what is wrong
        return False
    _copy_fitting(target, result, name, op.casts)
    bump(target)
    return True


def _want_gradient(values):
    """Whether a call of these is to be recorded; lists are left to a closer look."""
    if not local.grad_enabled:
        return False
    for value in values:
        cls = value.__class__
        if cls is Tensor or cls is Parameter:
            if value._requires_grad and value.requires_grad:
                return True
        elif (cls is list or cls is tuple) and scan(value):
            return True
    return False


def _copy_fitting(target, result, name, casts):
    """Write the tensor `result` into `target`; errors are said before."""
    array, values = target._array, result._array
    if result._dtype is target._dtype and values.shape == array.shape:
        array[...] = values
        return
    _check_fits(target, values, result._dtype, name, casts)
    np.copyto(array, values, casting="unsafe")


class _InplaceForm:
    """What interceptors see of an in-place call: enough of an `Operator`."""

    def __init__(self, name, public, op):
        self.name = name
        self.public = public
        self.base = op
        self.out = False
        self.autocast = None
        self.kind = "inplace"


def write_result(op, name, bound):
    """Compute `op` and write the result into the first operand, recording the write."""
    target = bound[op.operands[0]]
    if not isinstance(target, Tensor):
        raise TypeError(
            f"{name}(): the operand written to must be a Tensor, not {type(target).__name__}"
        )
    if op.kind == "view":
        return _become(op, name, bound, target)
    check_writable(target, name, _is_taped(op, bound))
    if op.kind == "composite":
        return _write_composite(op, name, bound, target)
    execute.check_operands(op, bound)
    large = (op.kind == "pointwise" or op.moves) and execute.is_large(op, bound)
    if not large:
        array = _fitting_result(op, bound, target, name)
    edges, plan = edges_of(op, bound) if local.grad_enabled else ((), None)
    if plan is not None:
        node = _node_of_write(op, bound, target, edges, plan)
    if not (large and execute.written_by_kernels(op, bound, target)):
        if large:
            array = _fitting_result(op, bound, target, name)
        np.copyto(target._array, array, casting="unsafe")
    bump(target)
    if plan is not None:
        _finish_node(node, op, bound, target)
    return target


def _become(op, name, bound, target):
    """``unsqueeze_`` and the like: the tensor takes the shape and strides of a view of itself."""
    if local.grad_enabled and target._requires_grad and target.requires_grad:
        _check_history(target, name)
    view = op.perform(op, bound, 1)
    edge = gradient_edge(view)
    target._array = view._array
    bump(target)
    if edge is not None:
        if target._base is None:
            target._edge = edge
        else:
            target._view_edge = edge
            target._view_version = target._storage.version
    return target


def _write_composite(op, name, bound, target):
    """A composite is computed on a copy, through which its history goes on, and copied back."""
    first = op.operands[0]
    bound = tuple(target.clone() if i == first else v for i, v in enumerate(bound))
    result = op.compute(bound)
    _check_fits(target, result._array, result._dtype, name, op.casts)
    return target.copy_(result)


def _fitting_result(op, bound, target, name):
    """The array of the result, which can be written into `target`."""
    array, kind = _result_array(op, bound)
    _check_fits(target, array, kind, name, op.casts)
    return array


def _result_array(op, bound):
    """The array of the result, and its dtype."""
    arrays, kind = execute.prepare(op, bound)
    result = execute.wrap_array(execute.compute(op, arrays, bound), kind)
    if op.kind == "pointwise":
        execute.note_plan(op, bound, kind, result._dtype)
    return result._array, result._dtype


def _check_fits(target, array, kind, name, casts):
    if array.shape != target._array.shape:
        raise RuntimeError(
            f"{name}: output with shape {format_shape(target._array.shape)} doesn't match the "
            f"broadcast shape {format_shape(array.shape)}"
        )
    if not (casts or can_cast(kind, target._dtype)):
        raise RuntimeError(
            f"{name}: result type {kind.scalar_name} can't be cast to the desired output type "
            f"{target._dtype.scalar_name}"
        )


def bump(tensor):
    """Note that the tensor's memory has been written."""
    storage = tensor._storage
    if storage is None:
        storage = storage_of(tensor)
    storage.version += 1


def _node_of_write(op, bound, target, edges, plan):
    """The node, made before the write: formulas that name the operand get a copy of it."""
    first = op.operands[0]
    if op.signature.names[first] in plan.names:
        original = wrap(target._array.copy(), target._dtype)
        if target._requires_grad:
            original._edge = gradient_edge(target)
            original._requires_grad = original._edge is not None
        bound = tuple(original if i == first else v for i, v in enumerate(bound))
    return make_node(op, plan, bound, edges, None)


def _finish_node(node, op, bound, target):
    """Save the result where a formula names it, and hang the node onto the target."""
    if target._base is None:
        attach(node, (target,))
    else:
        first = op.operands[0]
        # The view's own gradient arrives at the edge of the operand written to, if it has one.
        place = list(op.targets).index(first) if first in op.targets else None
        node.output_shape, node.output_dtype = target._array.shape, target._dtype
        rebase(target, node, place)
    node.save_result(target)


def into(op, args, settings, out):
    """A call whose result goes into `out`, which is not None; None where it needs a closer look."""
    if op.quick.write_apart(out, *args, **settings) is not None:
        return out
    cls = out.__class__
    values = (*args, *settings.values(), out)
    if not (cls is Tensor or cls is Parameter) or active.intercepting:
        return None
    flags = scan(values)
    if flags & FOREIGN or flags and _want_gradient(values):
        return None
    if not demands.are_simple(op, values[:-1], out):
        return None
    result = op.public(*args, **settings)
    if (
        result.__class__ is Tensor and result._dtype is out._dtype
        and result._array.shape == out._array.shape
    ):
        check_writable(out, op.name, False)
        out._array[...] = result._array
        bump(out)
        return out
    return op.out_variant(bind(op, args, settings), out, result)


def write_out(op, bound, out, result=None):
    """The ``out=`` form: compute, then write into `out`, resizing it where need be.

    result: of the same call without `out`, if that has been made.
    """
    outs = out if isinstance(out, (tuple, list)) else (out,)
    _check_out(op, bound, outs)
    if result is None:
        result = op.perform(op, demands.in_dtype_of(op, bound, outs[0]), 0)
    results = result if isinstance(result, tuple) else (result,)
    if len(outs) != len(results):
        raise TypeError(
            f"{op.name}(): argument 'out' must be {len(results)} tensors, got {len(outs)}"
        )
    for target, value in zip(outs, results, strict=True):
        demands.check(op, bound, target, value, value is result)
        check_writable(target, op.name)
    for target, value in zip(outs, results, strict=True):
        _store(op.name, target, value)
    if not isinstance(result, tuple):
        return outs[0]
    return type(result)(outs)


def _check_out(op, bound, outs):
    for target in outs:
        if not isinstance(target, Tensor):
            raise TypeError(
                f"{op.name}(): argument 'out' must be Tensor, not {type(target).__name__}"
            )
    if local.grad_enabled:
        tensors = [v for v in bound if isinstance(v, Tensor)]
        if any(t.requires_grad for t in tensors) or any(t.requires_grad for t in outs):
            raise RuntimeError(
                f"{op.name}(): functions with out=... arguments don't support automatic "
                "differentiation, but one of the arguments requires grad."
            )


def _store(name, target, value):
    """Write `value` into `target`, which takes its shape."""
    shape = value._array.shape
    if target._array.shape != shape:
        if target._array.size:
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{format_shape(target._array.shape)}, which does not match the required output "
                f"shape {format_shape(shape)}. ({name})",
                stacklevel=4,
            )
        resize(target, shape)
    np.copyto(target._array, value._array, casting="unsafe")
    bump(target)


def resize(tensor, shape):
    """Give `tensor` another shape on its own storage, which grows where it is too small.

    Raises RuntimeError where the memory is somebody else's and too small.
    """
    array = tensor._array
    count = int(np.prod(shape, dtype=np.int64))
    storage = storage_of(tensor)
    offset = tensor.storage_offset()
    if (offset + count) * array.itemsize > storage.array.nbytes:
        demands.refuse_growth(storage)
        grown = np.empty(offset + count, array.dtype)
        held = storage.array.view(np.uint8) if storage.array.size else storage.array
        grown.view(np.uint8)[: held.nbytes] = held.view(np.uint8)
        storage.array = grown
    itemsize = array.itemsize
    strides = tuple(s * itemsize for s in contiguous_strides(shape))
    tensor._array = np.ndarray(shape, array.dtype, storage.array, offset * itemsize, strides)

