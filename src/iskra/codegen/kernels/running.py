"""What a scan carries along: states of one or more values, and how two of them combine.

A state stands for a stretch of elements. `lift` makes one of an element, `combine` joins those of
neighbouring stretches (the earlier one first), `results` gives what is stored. All work on scalars
and on vectors alike. `kinds` and `identity` list the state's values. `ordered` says that elements
must be taken in one by one, `commutes` that stretches need not be neighbours, `settles` that most
elements leave the state as it is: then `changes` tells in which lanes they don't.
"""

from iskra.codegen.ir import Type, select
from iskra.codegen.mathematics import FUNCTIONS
from iskra.codegen.primitives import PRIMITIVES, identity

exp, log = FUNCTIONS["exp"], FUNCTIONS["log"]


class Sum:
    """Sums (products are alike): of float32 in double precision, of integers in the result's."""

    name = "add"
    ordered = False
    commutes = True
    settles = False

    def __init__(self, dtype, kind):
        self.kind = kind
        self.kinds = ("f64" if kind in ("f32", "f64") else kind,)
        self.identity = (identity(self.name, dtype),)
        self.function = PRIMITIVES[self.name]

    def lift(self, x, place):
        """The state of one element at a place (i32)."""
        return (x.to(self.kinds[0]),)

    def combine(self, before, after):
        """The state of two neighbouring stretches."""
        return (self.function(before[0], after[0]),)

    def results(self, state):
        """What is stored of a state, a value for each result."""
        return (state[0].to(self.kind),)


class Product(Sum):
    """Products. A tree would overflow where a row of floats in order does not."""

    name = "multiply"

    def __init__(self, dtype, kind):
        super().__init__(dtype, kind)
        self.ordered = kind in ("f32", "f64")


class DoubleSum(Sum):
    """Sums of float64 with what their additions rounded away, which makes up for long rows."""

    def __init__(self, dtype, kind):
        super().__init__(dtype, kind)
        self.kinds *= 2
        self.identity *= 2

    def lift(self, x, place):
        return x.to("f64"), x.function.const(0.0, Type("f64", x.type.lanes))

    def combine(self, before, after):
        a, b = before[0], after[0]
        total = a + b
        # Knuth's two-sum; infinities have no such rest.
        share = total - a
        error = (a - (total - share)) + (b - share)
        error = select(abs(error) < float("inf"), error, 0.0)
        return total, (before[1] + after[1]) + error

    def results(self, state):
        return (state[0] + state[1],)


class Extremum:
    """The largest or smallest element and its place, the last of equal ones; NaN wins."""

    ordered = commutes = False
    settles = True

    def __init__(self, name, dtype, kind):
        self.kind = kind
        self.largest = name == "maximum"
        self.kinds = kind, "i32"
        self.identity = identity(name, dtype), 0

    def lift(self, x, place):
        return x, place.splat(x.type.lanes)

    def changes(self, before, after):
        """In which lanes the state of both is not that of `before`."""
        a, b = before[0], after[0]
        later = b >= a if self.largest else b <= a
        return later | b.ne(b) if b.type.is_float else later

    def combine(self, before, after):
        later = self.changes(before, after)
        return tuple(select(later, y, x) for x, y in zip(before, after))

    def results(self, state):
        return state[0], state[1].to("i64")


class LogSumExp:
    """Logarithms of sums of exponentials, as the largest element and a sum of what it is to it."""

    ordered = settles = False
    commutes = True
    kinds = ("f64", "f64")
    identity = (float("-inf"), 0.0)

    def __init__(self, dtype, kind):
        self.kind = kind

    def lift(self, x, place):
        return x.to("f64"), x.function.const(1.0, Type("f64", x.type.lanes))

    def combine(self, before, after):
        (a, s), (b, t) = before, after
        # Infinities of one sign have no difference.
        share = exp(select(a.eq(b), 0.0, -abs(a - b)))
        first = a >= b
        largest = select(a.ne(a), a, select(first, a, b))
        return largest, select(first, s, t) + select(first, t, s) * share

    def results(self, state):
        return ((state[0] + log(state[1])).to(self.kind),)


def running(name, dtype, kind):
    """The scan of this name with results of a kind: "add", "multiply", "maximum", ..."""
    if name == "logaddexp":
        return LogSumExp(dtype, kind)
    if name in ("maximum", "minimum"):
        return Extremum(name, dtype, kind)
    if name == "multiply":
        return Product(dtype, kind)
    return DoubleSum(dtype, kind) if kind == "f64" else Sum(dtype, kind)
