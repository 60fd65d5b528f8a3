"""The loops of Poisson samples: rates' bounds, and trials by numbers of a stream.

Methods: Knuth's product of uniform numbers for rates below 10, and Hörmann 1993, "The transformed
rejection method for generating Poisson random variables". `iskra.runtime.rejection` has the same
in Python, number by number.
"""

from iskra.codegen.accumulate import LANES
from iskra.codegen.ir import Function, Type, floor, select, sqrt
from iskra.codegen.kernels.gemm_call import Arguments
from iskra.codegen.kernels.sharing import my_units
from iskra.codegen.mathematics.exponentials import exp
from iskra.codegen.mathematics.gamma import lgamma
from iskra.codegen.mathematics.logarithms import log

SMALL = 10.0  # rates from here on are sampled by rejection
_REAL = Type("f64")
_FEW = 4  # lanes of what is computed for one sample


def bounds():
    """exp(-rate) of each rate."""
    f = Function("poisson_bounds")
    arg = Arguments(f, ("rates", "bounds"), ("units", "length", "tasks"))
    with my_units(f, arg.units, arg.tasks) as unit:
        base = unit * LANES
        mask = f.lanes_below(arg.length - base, LANES)
        rate = f.load(arg.rates, base, Type("f64", LANES), mask)
        f.store(exp(-rate), arg.bounds, base, mask)
    return f


def samples():
    """Samples for rates above 0, as far as a block of uniform numbers goes: one task.

    ``state``: the element that is next, how many numbers have been used, the events so far;
    ``product``: that of the element's numbers so far.
    """
    f = Function("poisson_samples")
    arg = Arguments(f, ("rates", "bounds", "numbers", "result", "state", "product"),
                    ("length", "count"))
    element, used, events = (f.variable(f.load(arg.state, n, Type("i64"))) for n in range(3))
    product = f.variable(f.load(arg.product, 0, _REAL), _REAL)
    with f.loop(0, arg.count), f.when((element.get() < arg.length) & (used.get() < arg.count)):
        rate = f.load(arg.rates, element.get(), _REAL)
        is_small = rate < SMALL
        with f.when(is_small):
            left = product.get() * f.load(arg.numbers, used.get(), _REAL)
            used.set(used.get() + 1)
            done = left <= f.load(arg.bounds, element.get(), _REAL)
            f.store(events.get().to("f64"), arg.result, element.get())
            events.set(select(done, f.coerce(0), events.get() + 1))
            product.set(select(done, f.const(1.0, _REAL), left))
            element.set(element.get() + select(done, f.coerce(1), 0))
        with f.when(~is_small & (used.get() + 1 < arg.count)):
            first, second = (f.load(arg.numbers, used.get() + n, _REAL) for n in range(2))
            used.set(used.get() + 2)
            found, taken = _trial(f, rate, first - 0.5, second)
            f.store(found, arg.result, element.get())
            element.set(element.get() + select(taken, f.coerce(1), 0))
    for number, variable in enumerate((element, used, events)):
        f.store(variable.get(), arg.state, number)
    f.store(product.get(), arg.product, 0)
    return f


def _trial(f, rate, u, v):
    """A number of events, and whether it is taken."""
    b = sqrt(rate) * 2.53 + 0.931
    a = b * 0.02483 - 0.059
    reach = 0.5 - abs(u)
    k = floor((a * 2.0 / reach + b) * u + rate + 0.43)
    k = select(reach.eq(0.0), f.const(-1.0, _REAL), k)
    at_once = (reach >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2.0))
    taken = f.variable(at_once, Type("i1"))
    refused = (k < 0.0) | ((reach < 0.013) & (v > reach))
    with f.when(~at_once & ~refused):
        inverse_alpha = 1.1328 / (b - 3.4) + 1.1239
        logs = log(_packed(f, (v, inverse_alpha, a / (reach * reach) + b, rate)))
        left = logs.lane(0) + logs.lane(1) - logs.lane(2)
        right = k * logs.lane(3) - rate - lgamma((k + 1.0).splat(_FEW)).lane(0)
        taken.set(left <= right)
    return k, taken.get()


def _packed(f, numbers):
    """Scalars as lanes of a vector."""
    lanes = f.iota(Type("i64", _FEW))
    vector = numbers[0].splat(_FEW)
    for place, number in enumerate(numbers[1:], 1):
        vector = select(lanes.eq(place), number.splat(_FEW), vector)
    return vector
