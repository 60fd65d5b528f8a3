"""The slow interpreter: runs a `Function` of the loop IR in NumPy, one instruction at a time.

It is what kernels mean (`iskra.codegen.semantics` says what each operation computes), and it checks
what machine code does not: every access to memory lies within its array, and tasks are
independent of each other.
"""

import random

import numpy as np

from iskra.codegen.ir import Branch, Loop, Value, describe
from iskra.codegen.semantics import ELEMENTWISE, constant, convert, dot, numpy_dtype
from iskra.codegen.verify import verify
from iskra.codegen.watched import NULL, Memory, Pointer, Table, Watch

_FAULTS = (IndexError, ValueError, RuntimeError)


def run(function, slots, tasks=1, order="forward", races=False):
    """Run a kernel; it writes into the arrays that it is given.

    function: a `Function`; it is verified first.
    slots: its arguments, one for each slot: an int for "i64", a float for "f64"; for "ptr" an
        array of any dtype and strides, a list of arrays for a table of pointers, or None for null.
        A pointer starts at the array's first element.
    tasks: how many tasks there are.
    order: in which order they run: "forward", "reverse", "shuffled", or a list of their numbers.
    races: whether to look for tasks that write what another task reads or writes.

    Raises ValueError for a function that is not well-formed or writes to a read-only array,
    TypeError for a slot that is not of its kind, IndexError for an access outside of the arrays
    (or between a strided array's elements when writing, or not aligned), RuntimeError for a race.
    The message names kernel, task and instruction. Memory of `scratch` starts out as NaNs.

    >>> from iskra.codegen.ir import Function, Type
    >>> f = Function("double")
    >>> x = f.load(f.slot(0, "ptr"), 0, Type("f32", 4))
    >>> f.store(x + x, f.slot(1, "ptr"), f.task * 4)
    >>> source, result = np.arange(4, dtype="f4"), np.zeros(8, "f4")
    >>> run(f, [source, result], tasks=2, races=True)
    >>> result
    array([0., 2., 4., 6., 0., 2., 4., 6.], dtype=float32)
    >>> run(f, [source, result[:6]], tasks=2)
    Traceback (most recent call last):
    IndexError: kernel double, task 1: store %3 %1 %4: writes 4 bytes at byte 28 of slot 1, which \
has 24
    """
    verify(function)
    memories = []
    arguments = {value: _argument(value, slots, memories) for value in function.slots.values()}
    watch = Watch(memories) if races else None
    for task in _ordered(order, tasks):
        if watch:
            watch.task = task
        with np.errstate(all="ignore"):
            _Task(function, task, arguments).block(function.body)


def _ordered(order, tasks):
    numbers = range(tasks)
    if order == "forward":
        return numbers
    if order == "reverse":
        return reversed(numbers)
    if order == "shuffled":
        return random.Random(0).sample(numbers, tasks)
    if isinstance(order, str):
        raise ValueError(f"order is forward, reverse, shuffled or a list, not {order!r}")
    return order


def _argument(value, slots, memories):
    """What a slot holds while the kernel runs."""
    kind, index = value.type.kind, value.attr
    if index >= len(slots):
        raise TypeError(f"kernel {value.function.name} reads slot {index} of {len(slots)}")
    given = slots[index]
    if kind == "ptr":
        return _pointer(given, f"slot {index}", memories)
    wanted = (int, np.integer) if kind == "i64" else (int, float, np.integer, np.floating)
    if not isinstance(given, wanted):
        raise TypeError(f"kernel {value.function.name}: slot {index} is {kind}, not "
                        f"{type(given).__name__}")
    return np.array([given], numpy_dtype(kind))


def _pointer(given, name, memories):
    if given is None:
        return NULL
    if isinstance(given, (list, tuple)):
        parts = [_pointer(g, f"{name}[{i}]", memories) for i, g in enumerate(given)]
        return Pointer(Table(name, parts), 0)
    if not isinstance(given, np.ndarray):
        raise TypeError(f"{name} is a pointer: it takes an array, a list of arrays or None, not "
                        f"{type(given).__name__}")
    memory = Memory(name, given)
    memories.append(memory)
    return Pointer(memory, given.__array_interface__["data"][0] - memory.base)


class _Task:
    """One call of the kernel: the values and variables it has so far."""

    def __init__(self, function, task, arguments):
        self.name = f"kernel {function.name}, task {task}"
        self.values = {**arguments, function.task: np.array([task])}
        self.variables = {}

    def block(self, statements):
        for statement in statements:
            if isinstance(statement, Value):
                self.instruction(statement)
            elif isinstance(statement, Loop):
                self.loop(statement)
            elif isinstance(statement, Branch) and self.value(statement.condition)[0]:
                self.block(statement.body)

    def loop(self, loop):
        start, stop, step = (int(self.value(v)[0]) for v in (loop.start, loop.stop, loop.step))
        if step <= 0:
            raise ValueError(f"{self.name}: {describe(loop)}: the step is {step}")
        for counter in range(start, stop, step):
            self.values[loop.counter] = np.array([counter])
            self.block(loop.body)

    def value(self, value):
        """The value of an operand."""
        found = self.values.get(value)
        if found is None:
            null = value.type.kind == "ptr"
            found = NULL if null else constant(value.attr, value.type)
            self.values[value] = found
        return found

    def instruction(self, value):
        operands = [self.value(v) for v in value.args]
        try:
            on_pointers = any(isinstance(x, Pointer) for x in operands)
            if value.op in ELEMENTWISE and not on_pointers:
                result = ELEMENTWISE[value.op](*operands)
            else:
                result = getattr(self, "op_" + value.op)(value, *operands)
        except _FAULTS as error:
            message = f"{self.name}: {describe(value)}: {error}"
            raise type(error)(message) from error
        self.values[value] = result

    # Of pointers; elements are compared and selected lane by lane

    def op_select(self, value, condition, yes, no):
        return yes if condition[0] else no

    def op_eq(self, value, a, b):
        return np.array([a.address == b.address])

    def op_ne(self, value, a, b):
        return np.array([a.address != b.address])

    # Narrow floats, conversions and variables

    def op_dot(self, value, a, b, total):
        return dot(a, b, total)

    def op_convert(self, value, x):
        return convert(x, value.args[0].type.kind, value.type.kind)

    def op_bitcast(self, value, x):
        return x.view(numpy_dtype(value.type.kind))

    def op_get(self, value):
        return self.variables[value.attr]

    def op_set(self, value, new):
        self.variables[value.attr] = new

    # Lanes

    def op_splat(self, value, x):
        return np.repeat(x, value.type.lanes)

    def op_any(self, value, x):
        return x.any(keepdims=True)

    def op_lane(self, value, x):
        return x[[value.attr]]

    def op_shuffle(self, value, *vectors):
        return np.concatenate(vectors)[list(value.attr)]

    def op_iota(self, value):
        return np.arange(value.type.lanes).astype(numpy_dtype(value.type.kind))

    def op_lanes_below(self, value, count):
        return np.arange(value.type.lanes) < count

    # Memory

    def op_load(self, value, pointer, index, mask=None):
        if value.type.kind != "ptr":
            return self.op_gather(value, pointer, _onwards(index, value.type.lanes), mask)
        if not isinstance(pointer.memory, Table):
            raise ValueError("reads a pointer from what is not a table of pointers")
        return pointer.memory.pick(pointer.moved(int(index[0]), 8).position)

    def op_gather(self, value, pointer, indices, mask=None):
        return pointer.read(indices, _all(mask, indices), value.type.kind)

    def op_store(self, value, stored, pointer, index, mask=None):
        self.op_scatter(value, stored, pointer, _onwards(index, len(stored)), mask)

    def op_scatter(self, value, stored, pointer, indices, mask=None):
        pointer.write(stored, indices, _all(mask, indices))

    def op_offset(self, value, pointer, index):
        kind = value.attr
        return pointer.moved(int(index[0]), 8 if kind == "ptr" else numpy_dtype(kind).itemsize)

    def op_prefetch(self, value, pointer, index):
        pass

    def op_scratch(self, value):
        type, count = value.attr
        unset = np.full(count * type.lanes * type.size, 0xFF, np.uint8)
        memory = Memory(f"the scratch memory %{value.number}", unset)
        memory.base = 0  # aligned, whatever NumPy gave
        return Pointer(memory, 0)


def _onwards(index, lanes):
    return index + np.arange(lanes)


def _all(mask, indices):
    return np.ones(indices.shape, bool) if mask is None else mask
