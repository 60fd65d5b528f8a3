"""Every operation on every type it takes: machine code and interpreter agree bit for bit."""

import itertools

import numpy as np
import pytest
from codegen.both import (
    ARITY,
    COMPARISONS,
    FLOATS,
    INTEGERS,
    KINDS,
    NUMBERS,
    OPERATIONS,
    can_run,
    compare,
    edges,
    machine,
    random_elements,
    same_bits,
)

from iskra.codegen import interpret, ir, lower
from iskra.codegen.ir import Function, Type
from iskra.codegen.kernels.gemm_tiles import host
from iskra.codegen.semantics import numpy_dtype
from iskra.runtime import jit


def kernel(name, kinds, result, lanes, compute):
    """A kernel that applies `compute` to arrays of these kinds, `lanes` elements at a time."""
    f = Function(name)
    count, out = f.slot(0, "i64"), f.slot(1, "ptr")
    with f.loop(0, count, lanes) as i:
        operands = [f.load(f.slot(2 + n, "ptr"), i, Type(kind, lanes))
                    for n, kind in enumerate(kinds)]
        f.store(compute(f, *operands), out, i)
    return f


def operands(kind, arity, most=20000):
    """Every combination of edge values and as many random ones; a multiple of 16 of each."""
    values, rng = edges(kind), np.random.default_rng(0)
    combined = np.array(list(itertools.product(range(len(values)), repeat=arity)))
    combined = rng.permutation(combined)[:most]
    count = -2 * len(combined) % 16 + 2 * len(combined)
    return [np.concatenate([values[column],
                            random_elements(rng, kind, count - len(combined))])
            for column in combined.T]


# Lanes, and the processor: this one, or a plainer one for which LLVM makes quite other code.
MACHINES = [(1, None), (16, None), (16, "x86-64-v3"), (16, "x86-64")]


def check(f, kinds, result, inputs, run=None):
    out = np.zeros(len(inputs[0]), numpy_dtype(result))
    compare(f, [len(inputs[0]), out, *inputs], run=run)


@pytest.mark.parametrize(("lanes", "cpu"), MACHINES)
@pytest.mark.parametrize("kind", ("i1", *NUMBERS))
def test_operations_on_elements(kind, lanes, cpu):
    if not can_run(cpu):
        pytest.skip(f"code for {cpu} does not run here")
    functions = []
    for op in [op for op, of in OPERATIONS if of == kind]:
        result = "i1" if op in COMPARISONS else kind
        arity = ARITY.get(op, 2)

        def emit(f, *xs, op=op, result=result):
            return f.emit(op, xs[0].type.of(result), xs)

        # Not named "floor": plain x86 calls the C library's function of that name.
        f = kernel(f"apply_{op}", [kind] * arity, result, lanes, emit)
        functions.append((arity, result, f))
    runs = machine(*(f for *_, f in functions), cpu=cpu)
    for (arity, result, f), run in zip(functions, runs):
        most = 20000 if lanes == 16 else 600
        check(f, [kind] * arity, result, operands(kind, arity, most), run)


@pytest.mark.parametrize(("lanes", "cpu"), MACHINES)
@pytest.mark.parametrize("kind", FLOATS)
def test_every_float_operation_rounds_on_its_own(kind, lanes, cpu):
    """Nothing is fused, reordered or simplified as if numbers were exact."""
    if not can_run(cpu):
        pytest.skip(f"code for {cpu} does not run here")
    functions = [kernel(f"rounds_{n}", [kind] * 3, kind, lanes, lambda f, *x, make=make: make(*x))
                 for n, make in enumerate([
                     lambda a, b, c: a * b + c, lambda a, b, c: c - a * b,
                     lambda a, b, c: (a + b) - b, lambda a, b, c: (a + b) + c,
                     lambda a, b, c: a + (b + c), lambda a, b, c: a / b * b,
                     lambda a, b, c: a * 0.0, lambda a, b, c: a - a, lambda a, b, c: a + 0.0,
                     lambda a, b, c: a / a, lambda a, b, c: 0.0 - a, lambda a, b, c: a * b / c,
                     lambda a, b, c: ir.sqrt(a * a), lambda a, b, c: a / 3.0,
                 ])]
    inputs = operands(kind, 3, 2000 if lanes == 16 else 200)
    # Of one size, so that rounding shows.
    close = np.random.default_rng(4).normal(size=(3, 512)).astype(numpy_dtype(kind))
    inputs = [np.concatenate(pair) for pair in zip(inputs, close)]
    for f, run in zip(functions, machine(*functions, cpu=cpu)):
        check(f, [kind] * 3, kind, inputs, run)


@pytest.mark.parametrize(("lanes", "cpu"), MACHINES)
@pytest.mark.parametrize("source", KINDS)
def test_conversions(source, lanes, cpu):
    if not can_run(cpu):
        pytest.skip(f"code for {cpu} does not run here")
    # Without F16C, float16 is converted by routines of the compiler's library.
    missing = {"f16"} if cpu == "x86-64" else set()
    wanted = [kind for kind in KINDS if kind != source and not {kind, source} & missing]
    functions = [kernel(f"to_{k}", [source], k, lanes, lambda f, x, k=k: x.to(k)) for k in wanted]
    inputs = operands(source, 1)
    for kind, f, run in zip(wanted, functions, machine(*functions, cpu=cpu)):
        check(f, [source], kind, inputs, run)


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("source", [kind for kind in KINDS if kind != "i1"])
def test_bits_as_another_kind(source, lanes):
    size = numpy_dtype(source).itemsize
    wanted = [k for k in KINDS if k not in ("i1", source) and numpy_dtype(k).itemsize == size]
    functions = [kernel(f"as_{k}", [source], k, lanes, lambda f, x, k=k: x.bits_as(k))
                 for k in wanted]
    inputs = operands(source, 1)
    for kind, f, run in zip(wanted, functions, machine(*functions)):
        check(f, [source], kind, inputs, run)


@pytest.mark.parametrize("lanes", [1, 3, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_moving_elements(kind, lanes):
    """Loads, stores, select, lanes, shuffles and splats of every kind, also the narrow ones."""
    rng = np.random.default_rng(1)
    f = Function("moves")
    x, y = (f.load(f.slot(n, "ptr"), 0, Type(kind, lanes)) for n in (0, 1))
    mask = f.load(f.slot(2, "ptr"), 0, Type("i1", lanes))
    held = f.variable(x, x.type)
    held.set(ir.select(mask, x, y))
    last = x.lane(lanes - 1)
    results = [held.get(), last.splat(lanes), f.const(1, x.type),
               x.shuffle([(5 * i + 1) % lanes for i in range(lanes)]),
               x.shuffle([(3 * i) % (2 * lanes) for i in range(lanes)], y)]
    for n, result in enumerate(results):
        f.store(result, f.slot(3, "ptr"), n * lanes)
    f.store(x.shuffle([lanes - 1]), f.slot(3, "ptr"), len(results) * lanes)
    f.store(last.shuffle([0, 0]), f.slot(3, "ptr"), len(results) * lanes + 1)
    out = np.zeros(len(results) * lanes + 3, numpy_dtype(kind))
    compare(f, [random_elements(rng, kind, lanes), random_elements(rng, kind, lanes),
                random_elements(rng, "i1", lanes), out], exact=True)


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("kind", NUMBERS)
def test_iota(kind, lanes):
    f = Function("iota")
    f.store(f.iota(Type(kind, lanes)), f.slot(0, "ptr"), 0)
    (result,) = compare(f, [np.zeros(lanes, numpy_dtype(kind))])
    assert result.tolist() == list(range(lanes))


@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_any_lane(lanes):
    f = Function("any_lane")
    f.store(f.load(f.slot(0, "ptr"), 0, Type("i1", lanes)).any(), f.slot(1, "ptr"), 0)
    (run,) = machine(f)
    for mask in (np.zeros(lanes, bool), *np.eye(lanes, dtype=bool), np.ones(lanes, bool)):
        _, found = compare(f, [mask, np.zeros(1, bool)], run=run)
        assert found[0] == mask.any()


@pytest.mark.parametrize("lanes", [1, 5, 16])
def test_lanes_below_any_count(lanes):
    f = Function("below")
    f.store(f.lanes_below(f.slot(1, "i64"), lanes), f.slot(0, "ptr"), 0)
    (run,) = machine(f)
    for count in (-(2**63), -(2**32), -1, *range(lanes + 2), 2**31, 2**32 + 1, 2**63 - 1):
        result, _ = compare(f, [np.zeros(lanes, bool), count], run=run)
        assert result.sum() == min(max(count, 0), lanes)


@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_masked_tails(kind, lanes):
    """At every tail length nothing beyond is read (the interpreter's check) or written."""
    f = Function("tail")
    n = f.slot(2, "i64")
    with f.loop(0, n, lanes) as i:
        mask = f.lanes_below(n - i, lanes)
        f.store(f.load(f.slot(0, "ptr"), i, Type(kind, lanes), mask), f.slot(1, "ptr"), i, mask)
    # And what excluded lanes are: 0.
    beyond = f.load(f.slot(0, "ptr"), n, Type(kind, lanes), f.lanes_below(0, lanes))
    f.store(beyond, f.slot(3, "ptr"), 0)
    (run,) = machine(f)
    rng = np.random.default_rng(2)
    for count in range(2 * lanes + 2):
        source = random_elements(rng, kind, count)
        whole = random_elements(rng, kind, count + lanes)
        rest = random_elements(rng, kind, lanes)
        after = compare(f, [source, whole, count, rest], run=run, exact=True)
        same_bits(after[1], np.concatenate([source, whole[count:]]), "what was written", True)
        assert not after[3].any()
        interpret.run(f, [source, source.copy(), count, rest])  # nothing beyond the end


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("index", ["i32", "i64"])
@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_gathers_and_scatters(kind, lanes, index, masked):
    """Also backwards from an offset, with equal indices, and with excluded ones out of bounds."""
    rng = np.random.default_rng(3)
    f = Function("scattered")
    middle = f.offset(f.slot(0, "ptr"), 20, kind)
    indices = f.load(f.slot(1, "ptr"), 0, Type(index, lanes))
    mask = f.load(f.slot(2, "ptr"), 0, Type("i1", lanes)) if masked else None
    x = f.gather(middle, indices, kind, mask)
    f.store(x, f.slot(3, "ptr"), 0)
    f.scatter(f.load(f.slot(5, "ptr"), 0, x.type), f.offset(f.slot(4, "ptr"), 20, kind), indices,
              mask)
    (run,) = machine(f)
    for _ in range(8):
        where = rng.integers(-20, 20, lanes).astype(numpy_dtype(index))
        mask = random_elements(rng, "i1", lanes)
        if masked:
            where[~mask] = np.iinfo(where.dtype).max // 16
        compare(f, [random_elements(rng, kind, 40), where, mask, random_elements(rng, kind, lanes),
                    random_elements(rng, kind, 40), random_elements(rng, kind, lanes)], run=run,
                exact=True)


@pytest.mark.parametrize("op", ["div", "rem", "shl", "shr"])
@pytest.mark.parametrize("kind", INTEGERS)
def test_constants_on_the_right(kind, op):
    """Where the second operand is known, other machine code is made."""
    bits = 8 * numpy_dtype(kind).itemsize
    numbers = (0, 1, 3, 7, bits - 1, bits, *((-1, -2) if kind[0] == "i" else ()))
    functions = [
        kernel(f"{op}_{n}", [kind], kind, 16,
               lambda f, x, c=c: f.emit(op, x.type, (x, f.const(c, x.type))))
        for n, c in enumerate(numbers)]
    inputs = operands(kind, 1)
    for f, run in zip(functions, machine(*functions)):
        check(f, [kind], kind, inputs, run)


@pytest.mark.parametrize("kind", KINDS)
def test_constants(kind):
    f = Function("constants")
    values = [0, 1, *((-1, 0.1, -0.0, 1e-41, 1e39, float("inf"), float("nan"), 1.00390625001)
                      if kind[-2:] in ("16", "32", "64") and "f" in kind else ())]
    if kind in INTEGERS:
        bits = 8 * numpy_dtype(kind).itemsize
        values += [-1, 2**bits - 1, 2 ** (bits - 1), -(2 ** (bits - 1)), 100]
    for n, number in enumerate(values):
        f.store(f.const(number, Type(kind)), f.slot(0, "ptr"), n)
        f.store(f.const(number, Type(kind, 4)), f.slot(0, "ptr"), len(values) + 4 * n)
    compare(f, [np.zeros(5 * len(values), numpy_dtype(kind))])


def test_pointers():
    """Tables, offsets, null pointers, chosen pointers and pointers in variables."""
    f = Function("pointers")
    table, out = f.slot(0, "ptr"), f.slot(1, "ptr")
    where = f.variable(f.table(table, 0), ir.POINTER)
    with f.loop(0, 3) as i:
        where.set(f.offset(f.table(table, i), i, "f32"))
        f.store(f.load(where.get(), 0, Type("f32")), out, i)
    null = f.slot(2, "ptr").eq(0)
    chosen = ir.select(null, f.table(table, 1), f.table(f.offset(table, 1, "ptr"), 1))
    f.store(f.load(chosen, 3, Type("f32")), out, 3)
    f.store(null.to("f32"), out, 4)
    f.store(f.slot(2, "ptr").ne(0).to("f32"), out, 5)
    f.prefetch(out, 1000000, "f32")
    arrays = [np.arange(4, dtype="f4") + 10 * n for n in range(3)]
    for last in (None, np.zeros(1)):
        result = compare(f, [arrays, np.zeros(6, "f4"), last])[1]
        given = last is not None
        assert result.tolist() == [0, 11, 22, 23 if given else 13, not given, given]


def test_scratch_and_scalar_slots():
    f = Function("scratch")
    memory = f.scratch(Type("f64", 4), 2)
    x = f.slot(0, "f64").splat(4)
    f.store(x, memory, 0)
    f.store(x + x, memory, 4)
    f.store(f.load(memory, 2, Type("f64", 4)), f.slot(1, "ptr"), f.slot(2, "i64") * f.task)
    _, result, _ = compare(f, [1.5, np.zeros(8), 4], tasks=2, races=True)
    assert result.tolist() == [1.5, 1.5, 3, 3] * 2


def test_loops_branches_and_variables():
    """Fibonacci, with a loop that takes no turn and a branch that is not taken."""
    f = Function("fibonacci")
    a, b = f.variable(0), f.variable(1)
    n, out = f.slot(0, "i64"), f.slot(1, "ptr")
    with f.loop(2, n, 3) as i:
        with f.when((i & 1).eq(0)):
            following = a.get() + b.get()
            a.set(b.get())
            b.set(following)
        with f.loop(i, 0):
            b.set(-1)
        with f.when(i > 20):
            with f.loop(0, 2):
                b.set(b.get() + 100)
    f.store(b.get(), out, 0)
    (run,) = machine(f)
    for n in range(0, 40, 3):
        compare(f, [n, np.zeros(1, "i8")], run=run)


def every_operation():
    """A kernel for each operation and conversion, with one lane and with sixteen."""
    for lanes in (1, 16):
        for op, kind in OPERATIONS:
            result = "i1" if op in COMPARISONS else kind
            yield kernel(f"{op}_{kind}_{lanes}", [kind] * ARITY.get(op, 2), result, lanes,
                         lambda f, *xs, op=op, r=result: f.emit(op, xs[0].type.of(r), xs))
        for source, kind in itertools.permutations(KINDS, 2):
            yield kernel(f"{source}_to_{kind}_{lanes}", [source], kind, lanes,
                         lambda f, x, kind=kind: x.to(kind))


@pytest.mark.parametrize(("triple", "cpu", "expected"), [
    ("aarch64-linux-gnu", "", "fmla"), ("aarch64-apple-darwin", "apple-m1", "fmla"),
    ("x86_64-linux-gnu", "x86-64", "addps\t%xmm"), ("x86_64-linux-gnu", "x86-64-v3", "%ymm"),
    ("x86_64-linux-gnu", "x86-64-v4", "%zmm"),
])
def test_other_processors(triple, cpu, expected):
    assert expected in jit.assembly(lower.text(*every_operation()), triple, cpu)


@pytest.mark.parametrize("lanes", [4, 16])
def test_bits_seen_as_another_kind_of_another_size(lanes):
    f = kernel("regroup", ["u32"], "u32", lanes,
               lambda f, x: (x.bits_as("u16") + 1).bits_as("u64").bits_as("u32"))
    check(f, ["u32"], "u32", operands("u32", 1))


def test_products_of_neighbours():
    if not host().dots:
        pytest.skip("this processor has no such instruction")
    f = Function("dots")
    count = f.slot(0, "i64")
    with f.loop(0, count, 16) as i:
        a, b = (f.load(f.slot(n, "ptr"), i * 2, Type("bf16", 32)) for n in (1, 2))
        f.store(ir.dot(a, b, f.load(f.slot(3, "ptr"), i, Type("f32", 16))), f.slot(4, "ptr"), i)
    rng = np.random.default_rng(3)
    n = 1 << 12
    for a, b, total in (
        [random_elements(rng, *what) for what in (("bf16", 2 * n), ("bf16", 2 * n), ("f32", n))],
        # Sums on both sides of the least that is normal, then those of one size.
        [(rng.normal(size=s) * 2.0 ** e).astype(numpy_dtype(kind)) for s, e, kind in (
            (2 * n, -62, "bf16"), (2 * n, -63, "bf16"), (n, -125, "f32"))],
        [rng.normal(size=s).astype(numpy_dtype(kind)) for s, kind in (
            (2 * n, "bf16"), (2 * n, "bf16"), (n, "f32"))],
    ):
        compare(f, [n, a, b, total, np.zeros(n, np.float32)])
