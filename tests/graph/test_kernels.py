"""Whole kernels: well-formed, the same interpreted and as machine code, for every machine, and the
same bits on any number of threads.
"""

import re

import numpy as np
import pytest
from codegen.both import same_bits

import iskra
from iskra import graph
from iskra.codegen import interpret
from iskra.codegen.verify import verify
from iskra.dispatch import OPERATORS, Interceptor
from iskra.graph import sweep
from iskra.graph.explain import KernelText
from iskra.graph.replay import both_ways
from iskra.nn import functional as F
from iskra.optim import Adam

SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-40, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan]


class Launches(list):
    """An observer that keeps what the kernel tier runs, with copies of the operands."""

    def launched(self, op, program, launch, arrays, scalars, into):
        self.append((launch[0], arrays, scalars, into))

    def refused(self, op, reason):
        raise AssertionError(f"{op.name}: {reason}")

    def swept(self, formula, found, columns):
        """Looked at by itself."""


@pytest.fixture
def launches(monkeypatch):
    """What the calls in a test run, on kernels however small the operands are."""
    for op in OPERATORS.values():
        monkeypatch.setattr(op, "large", 1)
        op.plans.clear()  # they know what is large
    found = Launches()
    graph.observers.append(found)
    with Interceptor():  # the complete path: short ones know by heart what is large
        yield found
    graph.observers.remove(found)
    for op in OPERATORS.values():
        op.plans.clear()


def values(*shape, dtype=iskra.float32):
    """Numbers of both signs with the special ones among them, where the dtype has them."""
    generator = np.random.default_rng(3)
    array = generator.normal(size=shape) * 3
    if not dtype.is_floating_point:
        return iskra.tensor(np.floor(array * 20), dtype=dtype)
    flat = array.reshape(-1)
    if flat.size > 4 * len(SPECIAL):
        flat[generator.choice(flat.size, len(SPECIAL), replace=False)] = SPECIAL
    return iskra.tensor(array, dtype=dtype)


def finite(*shape, dtype=iskra.float32):
    return iskra.tensor(np.random.default_rng(4).normal(size=shape), dtype=dtype)


def gaps(*shape):
    """Every second element of a larger tensor."""
    return finite(*shape[:-1], 2 * shape[-1])[..., ::2]


def norm_gradients(x, dims=1):
    """The gradients of `layer_norm` over the last `dims` dimensions."""
    sizes = x.shape[x.dim() - dims:]
    operands = [x.detach().requires_grad_()]
    operands += [finite(*sizes, dtype=x.dtype).requires_grad_() for _ in range(2)]
    result = F.layer_norm(operands[0], sizes, *operands[1:])
    result.backward(finite(*x.shape, dtype=x.dtype))
    return [operand.grad for operand in operands]


def fixed_gradients(*shape, dtype=iskra.float32):
    """A map of the gradient and sums of it, which one pass makes."""
    channels = [finite(shape[1], dtype=dtype) for _ in range(3)]
    channels[1] = channels[1].abs()
    return OPERATORS["batch_norm_fixed_backward"].public(
        finite(*shape, dtype=dtype), finite(*shape, dtype=dtype), *channels, 1e-5)


half, double, short = iskra.bfloat16, iskra.float64, iskra.int16
CASES = {
    # Maps: around the vectors' width and a unit's length, with gaps, other orders of axes, casts.
    "exp": lambda: [values(n).exp() for n in (1, 15, 16, 17, 131, 8191, 8193)],
    "exp, 0-d": lambda: values().exp(),
    "exp of gaps": lambda: gaps(7, 19).exp(),
    "add transposed": lambda: [finite(m, n) + finite(n, m).t() for m, n in ((19, 33), (5, 16))],
    "add transposed to large": lambda: finite(131, 70) * finite(70, 131).t(),
    "add two transposed": lambda: iskra.where(
        finite(40, 33) > 0, finite(33, 40).t(), finite(33, 40, dtype=double).t()),
    "add transposed half": lambda: finite(37, 50, dtype=half) + finite(50, 37, dtype=half).t(),
    "add transposed in three": lambda: finite(3, 33, 20) + finite(20, 33, 3).permute(2, 1, 0),
    "copy transposed": lambda: finite(37, 70).t().contiguous(),
    "loss with transposed": lambda: F.mse_loss(finite(40, 33), finite(33, 40).t()),
    "add row and column": lambda: finite(17, 1) * finite(5) + finite(17, 5),
    "add in the middle": lambda: finite(3, 1, 9) + finite(5, 1),
    "add expanded": lambda: finite(1, 9).expand(4, 9) + finite(9),
    "add half": lambda: values(5, 37, dtype=half) + finite(37, dtype=half),
    "add int": lambda: values(50, dtype=short) * values(50, dtype=short),
    "add float and int": lambda: finite(50) + values(50, dtype=iskra.int64),
    "compare": lambda: (values(50) < finite(50), values(50) == 0.0),
    "where": lambda: iskra.where(values(50) > 0, finite(50), finite(50).exp()),
    "gelu": lambda: F.gelu(values(70)),
    "sigmoid of doubles": lambda: values(70, dtype=double).sigmoid(),
    "number": lambda: values(21) * 2.5,
    "in place": lambda: finite(5, 21).mul_(finite(21)),
    # Reductions along the vectors: strips, blocks, several axes, chunks.
    "sum": lambda: [finite(n).sum() for n in (2, 15, 65, 4096, 4099)],
    "sum of specials": lambda: values(200).sum(),
    "sum of doubles": lambda: finite(4500, dtype=double).sum(),
    "sum of ints": lambda: values(33, 5, dtype=short).sum(),
    "sum of rows": lambda: finite(5, 131).sum(1),
    "sum of rows with gaps": lambda: gaps(5, 131).sum(1),
    "sum of outer and inner": lambda: finite(3, 5, 17).sum((0, 2)),
    "long sum": lambda: finite(65539).sum(),
    "long mean of doubles": lambda: finite(65539, dtype=double).mean(),
    "long sum of two": lambda: finite(2, 40003).sum(1),
    "long sum of columns": lambda: finite(9371, 7).sum(0),
    "long argmax": lambda: finite(65539).argmax(),
    "long argmin of rows": lambda: finite(2, 35003).argmin(1),
    "any, all": lambda: (values(60, dtype=iskra.bool).any(), values(6, 60).bool().all(1)),
    "argmax": lambda: [values(5, n).argmax(1) for n in (3, 40, 131)],
    "argmax of ties": lambda: (values(4, 200, dtype=iskra.int8) // 64).argmax(1),
    "amax of nothing but NaN": lambda: iskra.full((3, 40), float("nan")).amax(1),
    "prod": lambda: finite(5, 40).prod(1),
    # Reductions across the vectors.
    "sum of columns": lambda: [finite(m, n).sum(0) for m, n in ((3, 7), (131, 65), (64, 16))],
    "sum of middle": lambda: finite(3, 70, 17).sum(1),
    "argmin of columns": lambda: values(37, 20).argmin(0),
    "amax of columns of doubles": lambda: values(37, 20, dtype=double).amax(0),
    # Row programs, along and across.
    "softmax": lambda: [finite(3, n).softmax(1) for n in (2, 16, 67, 4111)],
    "softmax of columns": lambda: finite(70, 19).softmax(0),
    "softmax of middle": lambda: finite(3, 18, 17).softmax(1),
    "softmax with gaps": lambda: gaps(3, 70).softmax(1),
    "softmax of specials": lambda: values(7, 50).softmax(1),
    "softmax of half": lambda: finite(3, 70, dtype=half).softmax(1),
    "log_softmax": lambda: finite(5, 37).log_softmax(1),
    "layer_norm": lambda: F.layer_norm(finite(5, 83), (83,), finite(83), finite(83)),
    "layer_norm of two": lambda: F.layer_norm(finite(3, 4, 37), (4, 37)),
    # Short rows: fewer than 16 of them, some more; squares that are full, cut, one of several.
    "sum of short rows": lambda: [finite(m, n).sum(1) for m, n in ((15, 9), (16, 3), (37, 17))],
    "sum of short rows of doubles": lambda: finite(37, 5, dtype=double).sum(1),
    "sum of short rows in planes": lambda: finite(19, 3, 5).transpose(0, 1).sum(2),
    "sum of short rows with gaps": lambda: (gaps(37, 5).sum(1), finite(37, 15)[:, :5].sum(1)),
    "softmax of short rows": lambda: [
        finite(m, n).softmax(1) for m, n in ((37, 2), (16, 10), (40, 16), (33, 31))],
    "softmax of short rows of half": lambda: finite(37, 10, dtype=half).softmax(1),
    "softmax of short rows of specials": lambda: values(37, 10).softmax(1),
    "argmax of short rows": lambda: values(37, 10).argmax(1),
    "any, all of short rows": lambda: (values(37, 5).bool().any(1), values(37, 5).bool().all(1)),
    "layer_norm of short rows": lambda: F.layer_norm(
        finite(5, 17, 7), (7,), finite(7), finite(7)),
    "cross_entropy of short rows": lambda: F.cross_entropy(
        finite(37, 10), values(37, dtype=iskra.int64) % 10),
    # Sums down the columns that row programs take along: panels of 16 rows and more, the last one
    # shorter; several dimensions of either kind; memory in which rows lie crosswise or with gaps.
    "layer_norm's gradients": lambda: [norm_gradients(finite(m, n)) for m, n in (
        (5, 83), (128, 37), (131, 16), (290, 3))],
    "layer_norm's gradients of doubles": lambda: norm_gradients(finite(140, 21, dtype=double)),
    "layer_norm's gradients of half": lambda: norm_gradients(finite(140, 21, dtype=half)),
    "layer_norm's gradients of specials": lambda: norm_gradients(values(131, 21)),
    "layer_norm's gradients of several": lambda: norm_gradients(finite(5, 27, 3, 7), 2),
    "layer_norm's gradients across": lambda: norm_gradients(finite(21, 131).t()),
    "layer_norm's gradients with gaps": lambda: norm_gradients(gaps(131, 21)),
    "layer_norm's gradients of others": lambda: norm_gradients(finite(5, 27, 9).transpose(0, 1)),
    # Outputs with one value per element that wait for no reduction.
    "a map and sums": lambda: [fixed_gradients(*n) for n in (
        (5, 83), (131, 16), (3, 7, 70), (70, 1, 37), (40, 3, 5, 5))],
    "a map and sums of half": lambda: fixed_gradients(37, 21, dtype=half),
    "a map and sums of short rows": lambda: fixed_gradients(1, 40, 7),
    "variance": lambda: finite(5, 83).var(1),
    "variance of columns": lambda: finite(83, 5).var(0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_interpreter_and_machine_code_agree(name, order, launches):
    CASES[name]()
    assert launches
    for steps, arrays, scalars, into in launches:
        held = dict(enumerate(arrays))
        for step in steps:
            verify(step.kernel.function())
            ours, machines = both_ways(step, held, scalars, into, tasks=5, order=order)
            for one, other in zip(ours, machines, strict=True):
                same_bits(one, other, f"{name}\n{KernelText(step.kernel, step)}")
            held.update(zip(step.writes, step.arranged(machines), strict=True))


def test_a_wrong_kernel_is_found(launches):
    for function in (iskra.exp, iskra.neg):
        function(finite(37))
    (step,), arrays, scalars, into = launches[0]
    (other,), *_ = launches[1]
    step.call = other.call
    ours, machines = both_ways(step, dict(enumerate(arrays)), scalars, into)
    with pytest.raises(AssertionError, match="37 of 37 differ"):
        same_bits(ours[0], machines[0], "exp")


MACHINES = [("aarch64-linux-gnu", "neoverse-v1"), ("aarch64-linux-gnu", "cortex-a72"),
            ("x86_64-linux-gnu", "x86-64-v3"), ("x86_64-linux-gnu", "x86-64-v4")]
COMPILED = ["exp", "exp of gaps", "add half", "where", "gelu", "sum", "sum of doubles", "argmax",
            "sum of columns", "long argmax", "softmax", "softmax of columns", "layer_norm",
            "layer_norm's gradients of doubles", "softmax of short rows"]


@pytest.mark.parametrize(("triple", "cpu"), MACHINES)
@pytest.mark.parametrize("name", COMPILED)
def test_assembly_for_other_machines(name, triple, cpu, launches):
    CASES[name]()
    kernels = {step.kernel for steps, *_ in launches for step in steps}
    for kernel in kernels:
        text = KernelText(kernel).assembly_for(triple, cpu)
        # x86's vectors of 256 and of 512 bits, or Arm's.
        wide = {"x86-64-v3": "%ymm", "x86-64-v4": "%zmm"}.get(cpu, r"\b[vz]\d+\.[0-9]*[bhsd]\b")
        assert "kernel:" in text and "ret" in text
        assert re.search(wide, text)


# Sizes at which the work is shared out among several tasks.
THREADED = {
    "map": lambda: finite(500, 700).tanh(),
    "map of other order": lambda: finite(500, 700).t() * finite(700, 500),
    "in place": lambda: finite(500, 700).mul_(2.0),
    "sum": lambda: finite(400_003).sum(),
    "sum of doubles": lambda: finite(400_003, dtype=double).sum(),
    "mean of all axes": lambda: finite(50, 60, 70).mean(),
    "long argmax": lambda: (finite(400_003) * 4).round().argmax(),
    "few long rows": lambda: finite(3, 100_003).sum(1),
    "few long columns": lambda: finite(100_003, 3).sum(0),
    "rows": lambda: finite(700, 501).sum(1),
    "columns": lambda: finite(501, 700).sum(0),
    "softmax": lambda: finite(700, 501).softmax(1),
    "softmax of columns": lambda: finite(501, 700).softmax(0),
    "softmax of short rows": lambda: finite(20_011, 10).softmax(1),
    "layer_norm": lambda: F.layer_norm(finite(700, 501), (501,)),
    "layer_norm's gradients": lambda: iskra.cat(
        [part.flatten() for part in norm_gradients(finite(700, 501))]),
}


@pytest.fixture
def any_threads():
    """Puts the number of threads back."""
    before = iskra.get_num_threads()
    yield
    iskra.set_num_threads(before)


@pytest.mark.parametrize("name", THREADED)
def test_bits_do_not_depend_on_threads(name, any_threads):
    found, results = Launches(), []
    graph.observers.append(found)
    try:
        for count in (1, 2, 3, 7):
            iskra.set_num_threads(count)
            results.append(THREADED[name]().numpy())
    finally:
        graph.observers.remove(found)
    assert any(step.tasks > 1 for steps, *_ in found for step in steps)
    for result in results[1:]:
        same_bits(result, results[0], name)


# Sweeps

SIZES = (1, 37, 8192, 8195, 20000)


def columns_of(dtype=np.float32):
    """A gradient, a parameter and Adam's two averages, for parameters of several sizes."""
    generator = np.random.default_rng(5)
    columns = [[generator.normal(size=n).astype(dtype) for n in SIZES] for _ in range(4)]
    columns[3] = [np.abs(a) for a in columns[3]]
    return columns


def adams_numbers():
    optimizer = Adam([iskra.nn.Parameter(iskra.ones(1))], lr=0.01)
    return optimizer._numbers(optimizer.param_groups[0], 3.0, {})


@pytest.fixture
def swept():
    """The sweeps that run in a test."""
    found = []

    class Observer(Launches):
        def swept(self, formula, sweep, columns):
            found.append(sweep)

    observer = Observer()
    graph.observers.append(observer)
    yield found
    graph.observers.remove(observer)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sweep_interpreted(dtype, swept):
    columns, numbers = columns_of(np.dtype(dtype)), adams_numbers()
    before = [[a.copy() for a in c] for c in columns]
    assert graph.sweep_arrays(Adam._formula, columns, numbers)
    (found,) = swept
    verify(found.kernel.function())
    listing, units, _ = sweep._listing(SIZES)
    floats = [n for n in numbers if n.__class__ is float]
    slots = [before[n] for n in (*found.reads, *found.writes)]
    slots += [*[floats[s] for s in found.scalars], listing, 3, units]
    interpret.run(found.kernel.function(), slots, 3, order="shuffled", races=True)
    for ours, machines in zip(before, columns, strict=True):
        for one, other in zip(ours, machines, strict=True):
            same_bits(one, other, "Adam")


def test_a_sweeps_bits_do_not_depend_on_threads(any_threads, swept):
    results = []
    for count in (1, 2, 3, 7):
        iskra.set_num_threads(count)
        columns = columns_of()
        assert graph.sweep_arrays(Adam._formula, columns, adams_numbers())
        results.append(columns)
    assert len(swept) == 4
    for columns in results[1:]:
        for ours, firsts in zip(columns, results[0], strict=True):
            for one, first in zip(ours, firsts, strict=True):
                same_bits(one, first, "Adam")
