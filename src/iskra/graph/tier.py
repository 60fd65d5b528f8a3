"""The tier rule, and the way from an operator's call on arrays to its kernels.

An operator's body is NumPy; on large operands it is traced into a `Program` once for each
combination of dtypes, pattern of sizes and settings, and from then on machine code runs instead.
What cannot be traced stays on the reference tier, for good. Which tier serves a call follows from
the operator, dtypes, shapes, strides and settings alone; but where kernels find values for which
the body would raise (`Expr.doubt`), the body is run, and does.
"""

from typing import NamedTuple

import numpy as np

from iskra.codegen.expr import Expr, answering, cast, doubting, in_rows
from iskra.codegen.extent import Extent, NotTraceable
from iskra.codegen.primitives import KINDS
from iskra.codegen.questions import Questions
from iskra.core.local import local
from iskra.graph import UNSERVED, observers
from iskra.graph.program import Program
from iskra.runtime.memory import empty
from iskra.runtime.native import available

ndarray = np.ndarray

_MOST_LAUNCHES = 4096  # remembered per operator; they are forgotten all at once
MOST_WORK = 4096  # of a traced body: in products, multiplications; `tools/thresholds.py` measures
_SHAPES = ("normalized_shape", "shape")  # settings that are sizes of operands


def run(op, arguments, computes_in=None, stores_as=None, into=None):
    """The result of `op.body` on these arguments from machine code, or `UNSERVED`.

    Operands are converted to `computes_in` on the way (where the operator does not promote, only
    narrow floats are); float32 results are stored as `stores_as`. Arguments that are neither arrays
    nor NumPy's numbers are settings. With `into` the one result is written to that array, which may
    be one of the operands. Floats among the settings, if they are not the defaults, are given to
    the kernels anew with each call, as NumPy's numbers are. What the body asks about such a number
    (`Questions`) decides which kernels; if it needs the value, they hold for that one only.
    """
    try:
        entry, arrays, scalars = _entry(op, arguments, computes_in, stores_as, into)
    except TypeError:
        return _refused(op, "a setting that has no hash")
    program, launch, form = entry
    if program is None:
        return _refused(op, launch)
    if into is not None and any(_clash(a, into) for a in arrays):
        return _refused(op, "the result would overwrite elements yet to be read")
    for observer in observers:
        observer.launched(op, program, launch, arrays, scalars, into)
    return form(program.run(arrays, scalars, launch, into))


def known(op, arguments, computes_in=None, stores_as=None):
    """``(program, launch, form)`` for arguments of `run`, or None where kernels do not serve them.

    For whoever wants to run the kernels without coming here again.
    """
    try:
        found, _, _ = _entry(op, arguments, computes_in, stores_as)
    except TypeError:
        return None
    return None if found[0] is None else found


def _entry(op, arguments, computes_in=None, stores_as=None, into=None):
    """What is known of these arguments (see `_prepare`), the arrays and the numbers in them."""
    parts, arrays, scalars = [computes_in, stores_as], [], []
    _read(with_given(op, arguments), parts, arrays, scalars)
    if into is not None:
        parts += into.shape, into.strides, into.dtype
    key = tuple(parts)
    entry = op.launches.get(key)
    if entry.__class__ is Paths:
        entry = op.launches.get(key + entry.of(scalars))
    if entry is None:
        if len(op.launches) > _MOST_LAUNCHES:
            op.launches.clear()
        entry, paths = _prepare(op, arguments, arrays, scalars, computes_in, stores_as, into)
        if paths is not None:
            op.launches[key] = paths
            key += paths.of(scalars)
        op.launches[key] = entry
    return entry, arrays, scalars


class Path(NamedTuple):
    """A way that a body goes with some numbers."""

    questions: Questions
    by_number: bool     # whether it does so with no others


class Paths(list):
    """The ways known that a body goes with arguments of one kind, which depend on numbers."""

    def of(self, numbers):
        """The part of a key that tells which way numbers go; one that is no path's for none."""
        for place, path in enumerate(self):
            if path.questions.are_answered_alike(numbers):
                return place, *(map(_told, numbers) if path.by_number else ())
        return (None,)

    def matter(self):
        """Whether there is more than one way, as far as is known."""
        return any(path.questions.answers or path.by_number for path in self)


def _read(arguments, parts, arrays, scalars):
    """Note the arrays, the numbers, and what of all arguments decides on the machine code."""
    for value in arguments:
        cls = value.__class__
        if cls is ndarray:
            arrays.append(value)
            parts.append(value.shape)
            parts.append(value.strides)
            parts.append(value.dtype)
        elif cls is list:
            parts.append(len(value))
            _read(value, parts, arrays, scalars)
        elif isinstance(value, np.generic):
            scalars.append(value.item())
            parts.append(value.dtype)
        elif cls is Given:
            scalars.append(float(value))
            parts.append(cls)
        else:
            parts.append(cls)
            parts.append(_told(value))


class Given(float):
    """A float among the settings that kernels are given anew with each call."""


def given_numbers(op, arguments, operands):
    """The `scalars` of these arguments: the value of each setting, and of each number that is an
    operand if those are wanted too, else None.
    """
    return [float(a) if a.__class__ is Given else a.item() if operands else None
            for a in with_given(op, arguments) if isinstance(a, _NUMBERS)]


def with_given(op, arguments):
    """The arguments with a `Given` for each float that is not the setting's default."""
    defaults, found = op.signature.defaults, arguments
    for place, value in enumerate(arguments):
        if value.__class__ is float and place < len(defaults) and value != defaults[place]:
            found = list(found)
            found[place] = Given(value)
    return found


def run_plain(op, *operands):
    """`run` for one or two operands of one dtype and default settings: the most frequent calls."""
    first, second = operands[0], operands[-1]
    key = first.dtype, first.shape, first.strides, second.shape, second.strides
    direct = op.direct.get(key)
    if direct is None or observers:
        arguments = operands + op.signature.defaults[len(operands):]
        result = run(op, arguments)
        if len(op.direct) > _MOST_LAUNCHES:
            op.direct.clear()
        op.direct[key] = _direct(*_entry(op, arguments)[0])
        return result
    return direct(*operands)


def _direct(program, launch, form):
    """A function of the operands that does what a launch amounts to."""
    if program is None:
        return lambda *operands: UNSERVED
    steps = launch[0]
    if len(steps) > 1 or len(steps[0].shapes) > 1 or steps[0].orders[0] or steps[0].scalars:
        return lambda *operands: form(program.run(operands, (), launch))
    step = steps[0]
    call, (shape,), (dtype,) = step.call, step.shapes, step.dtypes
    integers, tasks, reads = step.integers, step.tasks, step.reads

    def on_all(*operands):
        made = empty(shape, dtype)
        call(*operands, made, integers, tasks)
        return made

    def on_some(*operands):
        made = empty(shape, dtype)
        call(*[operands[r] for r in reads], made, integers, tasks)
        return made

    return on_all if reads in ([0], [0, 1]) else on_some


def _refused(op, reason):
    """`UNSERVED`, of which observers are told the reason."""
    for observer in observers:
        observer.refused(op, reason)
    return UNSERVED


def _clash(array, into):
    """Whether writing elements of `into` one by one would spoil elements yet to be read."""
    if array is into or not np.may_share_memory(array, into):
        return False
    addresses = {a.__array_interface__["data"] for a in (array, into)}
    return len(addresses) > 1 or array.shape != into.shape or array.strides != into.strides


def _prepare(op, arguments, arrays, scalars, computes_in, stores_as, into):
    """What `run` remembers of a combination: ``(program, launch, form of the result)``, or
    ``(None, the reason why kernels do not serve it, None)``; and the `Paths` of which it belongs to
    one, None where it holds for all numbers.
    """
    paths = None
    try:
        _check(arrays, scalars)
        if op.work is not None and op.work(*arrays) > MOST_WORK:
            raise NotTraceable("more work than a traced body is good for")
        sizes, symbol = {}, {}
        for array in arrays:
            for n in array.shape:
                if n > 1 and n not in symbol:
                    sizes[len(symbol)] = n
                    symbol[n] = len(symbol)
        arguments = with_given(op, arguments)
        found, paths = _program(op, arguments, symbol, scalars, computes_in, stores_as)
        if isinstance(found, NotTraceable):
            # Anew: one that is kept would keep the arguments too, in its traceback.
            raise NotTraceable(f"not traced: {found}")
        program, form = found
        return (program, program.launch(arrays, sizes, into), form), paths
    except (NotTraceable, NotImplementedError) as error:
        return (None, str(error), None), paths


def _check(arrays, scalars):
    """Raise NotTraceable for operands that no kernel reads."""
    if not available():
        raise NotTraceable("this Python's objects cannot be read by machine code")
    if any(s.__class__ is complex for s in scalars):
        raise NotTraceable("a complex number")
    for array in arrays:
        if array.dtype.name not in KINDS:
            raise NotTraceable(f"an operand of dtype {array.dtype.name}")
        if array.size == 0 or array.size >= 2**31:
            raise NotTraceable(f"an operand of {array.size} elements")
        if not array.dtype.isnative or not array.flags.aligned or any(
                s % array.itemsize for s in array.strides):
            raise NotTraceable("an operand that is not aligned to its elements")


def _program(op, arguments, symbol, numbers, computes_in, stores_as):
    """``(the traced program and the form of its result, or the NotTraceable that says why there is
    none; the `Paths` of which it belongs to one, None where it holds for all numbers)``, for
    arguments of this kind.
    """
    kind = tuple(_pattern(a, symbol) for a in arguments), computes_in, stores_as
    paths = op.paths.setdefault(kind, Paths())
    key = kind + paths.of(numbers)
    found = op.programs.get(key)
    if found is None:
        questions, inputs = Questions(numbers), _Inputs(op, symbol, computes_in)
        found = _traced(op, arguments, inputs, stores_as, questions)
        by_number = isinstance(found, NotTraceable) and bool(numbers)
        if by_number:  # perhaps the body needs the value itself
            inputs = _Inputs(op, symbol, computes_in, fixes_numbers=True)
            found = _traced(op, arguments, inputs, stores_as, questions)
        if paths.of(numbers) == (None,):
            paths.append(Path(questions, by_number))
            key = kind + paths.of(numbers)
        if len(op.programs) > _MOST_LAUNCHES:
            op.programs.clear()
        op.programs[key] = found
    if not paths.matter():
        return found, None
    if not isinstance(found, NotTraceable):
        op.fixes_numbers |= any(isinstance(a, np.generic) for a in arguments)
    return found, paths


_NUMBERS = (np.generic, Given)


def _pattern(value, symbol):
    """An argument's kind: its dtype and which of its sizes are equal."""
    if value.__class__ is ndarray:
        return value.dtype, _symbolic(value.shape, symbol)
    if value.__class__ is list:
        return tuple(_pattern(v, symbol) for v in value)
    if value.__class__ is Given:
        return Given
    return value.dtype if isinstance(value, np.generic) else (value.__class__, _told(value))


def _told(value):
    """A setting as part of a key: 0.0 is another than -0.0, and NaN is NaN."""
    return value.hex() if value.__class__ is float else value


def _symbolic(shape, symbol):
    return tuple(1 if n == 1 else Extent([symbol[n]]) for n in shape)


class _Inputs:
    """Expressions for a call's arguments."""

    def __init__(self, op, symbol, computes_in, fixes_numbers=False):
        self.symbol = symbol
        self.computes_in = computes_in
        self.fixes_numbers = fixes_numbers  # they are part of the program
        self.narrow_only = op.promote == "none"  # other dtypes are the body's own business
        self.moves = op.moves
        self.arrays = self.scalars = 0

    def of(self, value):
        """The expression for one argument; a setting stays what it is."""
        if value.__class__ is ndarray:
            self.arrays += 1
            shape = _symbolic(value.shape, self.symbol)
            return self._converted(Expr.input(self.arrays - 1, value.dtype, shape))
        if value.__class__ is list:
            return [self.of(v) for v in value]
        if isinstance(value, np.generic) and not self.fixes_numbers:
            self.scalars += 1
            weak = float if value.dtype.kind == "f" else int
            return cast(Expr.scalar(self.scalars - 1, weak), value.dtype)
        if value.__class__ is Given:
            self.scalars += 1
            return float(value) if self.fixes_numbers else Expr.scalar(self.scalars - 1)
        return value

    def shape(self, sizes):
        """A setting that is a shape: its sizes are those that operands have."""
        if any(n != 1 and n not in self.symbol for n in sizes):
            raise NotTraceable("a shape of sizes that no operand has")
        return _symbolic(sizes, self.symbol)

    def _converted(self, expr):
        narrow = expr.dtype.name in ("float16", "bfloat16")
        if self.computes_in is not None and (narrow or not self.narrow_only):
            return cast(expr, self.computes_in)
        if narrow and not self.moves:
            raise NotTraceable("a narrow float without a dtype to compute in")
        return expr


def _traced(op, arguments, inputs, stores_as, questions):
    """``(program, form of its result)``, or a NotTraceable that says why there is none."""
    try:
        with answering(questions):
            return _trace(op, arguments, inputs, stores_as)
    except (NotTraceable, RuntimeError, TypeError, ValueError) as error:
        # Also what a body raises: for no array, or for shapes that the reference tier names.
        return NotTraceable(str(error))


def _trace(op, arguments, inputs, stores_as):
    """Run the body on expressions."""
    values = [inputs.of(a) for a in arguments]
    for name in _SHAPES:
        place = op.signature.position.get(name)
        if place is not None and isinstance(values[place], tuple):
            values[place] = inputs.shape(values[place])
    local.tracing = True
    try:
        with doubting() as doubts:
            result = op.compute(values)
    finally:
        local.tracing = False
    several = isinstance(result, (tuple, list))
    results = list(result) if several else [result]
    outputs = []
    for r in results:
        if r is None:
            continue
        if not isinstance(r, Expr):
            raise NotTraceable("a result that is no expression")
        if stores_as is not None and r.dtype == np.float32:
            r = cast(r, stores_as)
        outputs.append(r if op.work is None else in_rows(r))  # as BLAS writes products
    if not outputs:
        raise NotTraceable("no result")
    form = _former(several, [r is not None for r in results])
    if doubts:
        return Program(outputs + doubts), _Doubtful(form, len(outputs))
    return Program(outputs), form


class _Doubtful:
    """A form of results of which those after the first `count` tell whether the body would raise.

    If so, the reference tier does it again, and says what is wrong.
    """

    def __init__(self, form, count):
        self.form, self.count = form, count
        self.places = form.places

    def __call__(self, found):
        return UNSERVED if any(found[self.count:]) else self.form(found[:self.count])


def _former(several, places):
    """A function that gives a program's results the form that the body's had."""
    if not several:
        return _single
    if all(places):
        return _All(places)
    return _Some(places)


def _single(found):
    return found[0]


_single.places = None


class _All:
    """The form of several results."""

    __call__ = staticmethod(tuple)

    def __init__(self, places):
        self.places = places


class _Some(_All):
    """The form of several results of which some are None."""

    def __call__(self, found):
        left = iter(found)
        return tuple(next(left) if there else None for there in self.places)
