"""The loop of counting: how often each number occurs, or the sum of its weights."""

from iskra.codegen.ir import Function, Type
from iskra.codegen.kernels.gemm_call import Arguments


def counts(kind, ways):
    """``tables[x[i]] += 1`` for each i, in one task; `tables`: zeros for some tables of `size`.

    They are counted in by turns, so that of equal neighbours none waits for the one before, and
    added up in the first.
    """
    f = Function(f"counts{ways}_{kind}")
    arg = Arguments(f, ("x", "tables"), ("length", "size"))
    full = arg.length // ways * ways
    for low, high, step in ((f.coerce(0), full, ways), (full, arg.length, 1)):
        with f.loop(low, high, step) as base:
            for way in range(step):
                at = f.load(arg.x, base + way, Type(kind)).to("i64") + arg.size * way
                f.store(f.load(arg.tables, at, Type("i64")) + 1, arg.tables, at)
    with f.loop(0, arg.size if ways > 1 else 0) as number:
        total = f.load(arg.tables, number, Type("i64"))
        for way in range(1, ways):
            total = total + f.load(arg.tables, number + arg.size * way, Type("i64"))
        f.store(total, arg.tables, number)
    return f


def weights(kind, weight):
    """``result[x[i]] += w[i]``, in order, in float64."""
    f = Function(f"weights_{kind}_{weight}")
    arg = Arguments(f, ("x", "w", "result"), ("length",))
    with f.loop(0, arg.length) as base:
        at = f.load(arg.x, base, Type(kind)).to("i64")
        w = f.load(arg.w, base, Type(weight)).to("f64")
        f.store(f.load(arg.result, at, Type("f64")) + w, arg.result, at)
    return f
