"""Attention in machine code: against float64, on every kind of machine, under guard."""

import itertools
import math
import re

import numpy as np
import pytest

from iskra.codegen import interpret, lower
from iskra.codegen.kernels import attention
from iskra.codegen.kernels.attention_backward import KeyGradient, QueryGradient
from iskra.codegen.kernels.attention_forward import Forward
from iskra.codegen.kernels.attention_tiles import spec_of
from iskra.codegen.kernels.gemm_tiles import AVX2, AVX512, BASELINE, NEON
from iskra.codegen.verify import verify
from iskra.runtime import jit, memory, threads

MACHINES = [AVX512, AVX2, NEON, BASELINE]
INF, NAN = float("inf"), float("nan")
# (batch, queries, keys, depth, width): around the edges of panels, tiles and blocks.
SHAPES = [
    ((), 1, 1, 1, 1), ((2,), 16, 16, 20, 33), ((), 33, 40, 17, 9), ((), 31, 129, 20, 33),
    ((2,), 70, 8, 17, 9), ((), 140, 260, 17, 9),
]
MASKS = ["none", "causal", "bools", "numbers", "both", "dropped"]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def on(monkeypatch):
    """Lets attention be computed as on another machine: its tiles, in this machine's code."""
    def choose(machine):
        monkeypatch.setattr(attention, "host", lambda: machine)
        monkeypatch.setattr(attention, "_launches", {})
    return choose


def operands(rng, shape, dtype):
    batch, queries, keys, depth, width = shape
    sizes = ((queries, depth), (keys, depth), (keys, width), (queries, width))
    return [rng.standard_normal((*batch, *size)).astype(dtype) for size in sizes]


def mask_of(rng, kind, queries, keys, dtype):
    """(the mask, whether it is causal too)."""
    if kind in ("bools", "both"):
        mask = rng.random((queries, keys)) < 0.6
        mask[:, 0] = True
        return mask, kind == "both"
    if kind == "numbers":
        mask = rng.standard_normal((queries, keys)).astype(dtype)
        mask[rng.random(mask.shape) < 0.2] = -INF
        return mask, False
    return None, kind == "causal"


def weights_of(query, key, mask, causal, scale):
    scores = query @ key.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -INF)
    if mask is not None:
        scores = scores + (np.where(mask, 0, -INF) if mask.dtype == bool else mask)
    top = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(top == -INF, 0, top))
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def reference(query, key, value, grad, mask, causal, scale, kept=None, share=1.0):
    """The result and the gradients, in float64; what is summed up for them, as absolute values."""
    q, k, v, g = (x.astype(np.float64) for x in (query, key, value, grad))
    p = weights_of(q, k, mask, causal, scale)
    noise = 1.0 if kept is None else kept * share
    out = p * noise @ v
    slopes = g @ v.swapaxes(-1, -2) * noise
    d = p * (slopes - (g * out).sum(-1, keepdims=True))
    exact = out, d @ k * scale, d.swapaxes(-1, -2) @ q * scale, (p * noise).swapaxes(-1, -2) @ g
    q, k, v, g, scale = map(np.abs, (q, k, v, g, scale))
    d = p * (g @ v.swapaxes(-1, -2) * noise + (g * (p * noise @ v)).sum(-1, keepdims=True))
    sizes = (p * noise @ v, d @ k * scale, d.swapaxes(-1, -2) @ q * scale,
             (p * noise).swapaxes(-1, -2) @ g)
    # A score's error becomes its weight's relative error.
    of_score = np.max(q @ k.swapaxes(-1, -2)) * scale
    return exact, sizes, of_score


def check(results, query, key, value, grad, mask, causal, scale, *noise):
    exact, sizes, of_score = reference(query, key, value, grad, mask, causal, scale, *noise)
    # Rounding errors: of a score one for each product, of a sum of n terms at most n. Seldom more
    # than their square roots add up; a kernel that lost a term would be off by far more.
    terms = max(*query.shape, *key.shape, value.shape[-1])
    bound = np.finfo(query.dtype).eps * (16 + of_score * math.sqrt(query.shape[-1])
                                         + math.sqrt(terms))
    for result, expected, size in zip(results, exact, sizes, strict=True):
        assert result.shape == expected.shape and result.dtype == query.dtype
        assert (np.abs(result - expected) <= bound * size + 1e-300).all()


def computed(query, key, value, grad, mask, causal, scale, kept=None, share=1.0):
    """(result, gradients for query, key and value), by the kernels."""
    settings = causal, scale, share
    out, state = attention.forward(query, key, value, mask, kept, *settings)
    return out, *attention.backward(grad, query, key, value, mask, kept, out, state, *settings)


def compare(rng, shape, dtype, kind, scale=None):
    query, key, value, grad = operands(rng, shape, dtype)
    mask, causal = mask_of(rng, kind, *shape[1:3], dtype)
    scale = shape[3] ** -0.5 if scale is None else scale
    everything = query, key, value, grad, mask, causal, scale
    if kind == "dropped":
        everything += rng.random((*shape[0], *shape[1:3])) < 0.7, 1 / 0.7
    check(computed(*everything), *everything)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("kind", MASKS)
def test_shapes_and_masks_on_every_machine(on, rng, machine, kind):
    on(machine)
    for shape, dtype in zip(SHAPES, itertools.cycle([np.float64, np.float32])):
        compare(rng, shape, dtype, kind)


@pytest.mark.parametrize("depth", [16, 64, 80, 128, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_depths(rng, depth, dtype):
    compare(rng, ((2,), 150, 170, depth, depth), dtype, "causal")


@pytest.mark.parametrize("scale", [0.0, -0.7, 3.0])
def test_scales(rng, scale):
    for kind in ("none", "numbers"):
        compare(rng, ((2,), 40, 50, 8, 8), np.float32, kind, scale)


def test_many_blocks(rng):
    for kind in MASKS:
        compare(rng, ((), 700, 600, 16, 16), np.float32, kind)


# Layouts

def test_transposed_heads_and_gaps(rng):
    query, key, value, grad = operands(rng, ((2, 3), 40, 50, 8, 6), np.float32)
    expected = computed(query, key, value, grad, None, True, 0.3)

    def heads_inside(x):
        return np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)

    def with_gaps(x):
        space = np.full((*x.shape[:-1], x.shape[-1] + 3), NAN, x.dtype)
        space[..., 1:-2] = x
        return space[..., 1:-2]

    def backwards(x):
        return np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]

    def with_the_rows_inside(x):
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)

    for layout in (heads_inside, with_gaps, backwards, with_the_rows_inside):
        results = computed(*map(layout, (query, key, value, grad)), None, True, 0.3)
        for result, same in zip(results, expected):
            np.testing.assert_array_equal(result, same)


def test_leading_dimensions_broadcast(rng):
    query, _, _, grad = operands(rng, ((4, 2, 3), 33, 20, 8, 5), np.float32)
    _, key, value, _ = operands(rng, ((2, 1), 33, 20, 8, 5), np.float32)
    mask = rng.random((4, 1, 1, 1, 20)) < 0.7
    mask[..., 0] = True
    everything = query, key, value, grad, mask, False, 0.3
    exact, _, _ = reference(*everything)
    for result, expected in zip(computed(*everything), exact):
        np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), 1e-4, 1e-5)


@pytest.mark.parametrize("shape", [(33, 20), (1, 20), (33, 1), (1, 1), (20,), ()])
@pytest.mark.parametrize("bools", [False, True])
def test_masks_broadcast(rng, shape, bools):
    query, key, value, grad = operands(rng, ((2,), 33, 20, 8, 5), np.float64)
    mask = rng.standard_normal(shape) > -0.5 if bools else rng.standard_normal(shape)
    mask = np.asarray(mask)
    everything = query, key, value, grad, mask, False, 0.3
    check(computed(*everything), *everything)


# Values out of the ordinary

def test_a_query_that_sees_nothing_gets_zeros_and_has_no_part_in_gradients(rng):
    query, key, value, grad = operands(rng, ((), 40, 50, 8, 5), np.float32)
    for mask in (np.ones((40, 50), bool), np.zeros((40, 50), np.float32)):
        mask[7] = False if mask.dtype == bool else -INF
        everything = query, key, value, grad, mask, False, 0.3
        out, *gradients = computed(*everything)
        assert (out[7] == 0).all() and (gradients[0][7] == 0).all()
        check((out, *gradients), *everything)


def test_the_lowest_number_as_a_mask_means_equal_weights(rng):
    query, key, value, grad = operands(rng, ((), 40, 50, 8, 5), np.float32)
    mask = np.full((40, 50), np.finfo(np.float32).min, np.float32)
    results = computed(query, key, value, grad, mask, False, 0.0)
    everything = query, key, value, grad, None, False, 0.0
    check(results, *everything)


def test_nan_and_infinity_reach_what_sees_them(rng):
    query, key, value, grad = operands(rng, ((), 40, 50, 8, 5), np.float32)
    query[4, 2] = NAN
    out = computed(query, key, value, grad, None, True, 0.3)[0]
    assert np.isnan(out[4]).all() and not np.isnan(np.delete(out, 4, 0)).any()
    query[4, 2], key[20, 3] = 0, NAN
    out, g_query, g_key, _ = computed(query, key, value, grad, None, True, 0.3)
    assert np.isnan(out[20:]).all() and not np.isnan(out[:20]).any()
    assert np.isnan(g_query[20:]).all() and np.isnan(g_key).all()
    key[20, 3], value[20, 1] = 0, INF
    out = computed(query, key, value, grad, None, True, 0.3)[0]
    # To queries before it the value may come with a weight of 0, as in a matrix product.
    assert (out[20:, 1] == INF).all() and np.isfinite(np.delete(out, 1, 1)).all()
    hidden = np.ones((40, 50), bool)
    hidden[:, 30] = False
    value[20, 1], key[30, 2] = 0, NAN
    # A mask is added, so what it hides may not be NaN.
    assert np.isnan(computed(query, key, value, grad, hidden, False, 0.3)[0]).all()


def test_scores_far_apart_and_large(rng):
    query, key, value, grad = operands(rng, ((2,), 40, 300, 8, 5), np.float64)
    for factor in (30, 1000):
        everything = query * factor, key, value, grad, None, False, 1.0
        check(computed(*everything), *everything)


# Bits, threads, memory

@pytest.mark.parametrize("shape", [((5,), 200, 180, 16, 16), ((), 700, 40, 8, 8)])
def test_the_bits_do_not_depend_on_the_number_of_threads(rng, shape):
    query, key, value, grad = operands(rng, shape, np.float32)
    before, results = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            threads.set_num_threads(count)
            results.append(computed(query, key, value, grad, None, True, 0.3))
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        assert [x.tobytes() for x in other] == [x.tobytes() for x in results[0]]


def test_memory_does_not_grow_with_the_square_of_the_length(rng):
    query, key, value, grad = operands(rng, ((), 4096, 4096, 16, 16), np.float32)
    memory.start()
    before = memory.memory_stats()["allocated"]
    memory.reset_peak_memory_stats()
    computed(query, key, value, grad, None, True, 0.25)
    # Six arrays of the operands' size are made; the scores would be 256 times one of them.
    assert memory.memory_stats()["peak"] - before < 10 * query.nbytes


@pytest.fixture
def interpreted(monkeypatch):
    """Kernels run in the IR's interpreter, which checks every access and looks for races."""
    kernels = []

    def compiled(build, arguments, kinds):
        function = build(*arguments)

        def call(*values):
            *values, tasks = values
            kernels.append((function.name, tasks))
            slots = [s for v in values for s in (v if isinstance(v, tuple) else (v,))]
            interpret.run(function, slots, tasks, order="shuffled", races=True)
        return call

    monkeypatch.setattr(attention, "compiled", compiled)
    monkeypatch.setattr(attention, "_launches", {})
    return kernels


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_no_access_out_of_bounds_and_no_races(on, rng, interpreted, monkeypatch, machine, kind):
    on(machine)
    monkeypatch.setattr("iskra.codegen.kernels.attention_tiles._BLOCK", 12)
    for shape, dtype in [(((2,), 19, 27, 5, 3), np.float32), (((), 35, 9, 3, 10), np.float64)]:
        compare(rng, shape, dtype, kind)
    assert {name for name, _ in interpreted} == {"Forward", "QueryGradient", "KeyGradient"}
    assert any(tasks > 1 for _, tasks in interpreted)


def test_no_access_out_of_bounds_between_strided_rows(rng, interpreted):
    query, key, value, grad = (np.pad(x, 2)[2:-2, 2:-2] for x in operands(
        rng, ((), 18, 20, 5, 3), np.float32))
    mask = np.pad(rng.random((18, 20)) < 0.5, 2, constant_values=True)[2:-2, 2:-2]
    mask[:, 0] = True
    everything = query, key, value, grad, mask, False, 0.5
    check(computed(*everything), *everything)


# The pieces

@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_every_kernel_is_well_formed(machine, kind):
    """Its scratch memory fits the stack too, up to the largest sizes that are served."""
    for size, mask, count in [(1, "", 1), (256, "i1", 1000), (256, kind, 20)]:
        spec = spec_of(machine, kind, count, size, size, mask, True, True)
        assert spec.tile.rows * spec.tile.vectors + spec.tile.vectors < machine.registers
        for kernel in (Forward, QueryGradient, KeyGradient):
            verify(kernel.function_of(spec))


def test_what_the_kernels_serve():
    def served(queries=64, keys=64, depth=16, dtype=np.float32, mask=None, value_keys=None):
        value_keys = keys if value_keys is None else value_keys
        arrays = (np.zeros(s, dtype) for s in ((queries, depth), (keys, depth), (value_keys, 8)))
        return attention.serves(*arrays, mask)

    assert served() and served(dtype=np.float64) and served(dtype=np.float16)
    assert served(mask=np.ones((64, 64), bool)) and served(mask=np.zeros(64, np.float32))
    assert not served(dtype=np.int64) and not served(mask=np.zeros(64))
    assert not served(queries=1, keys=5000) and not served(queries=8, keys=8)
    assert not served(depth=257) and not served(keys=0) and not served(depth=0)
    assert not served(value_keys=63) and not served(mask=np.ones((63, 64), bool))
    assert not served(mask=np.ones((2, 65, 64), bool)) and not served(queries=1, mask=np.ones(
        (64, 64), bool))


@pytest.mark.parametrize(("machine", "target"), [
    (AVX512, dict(triple="x86_64-linux-gnu", cpu="x86-64-v4", features="-prefer-256-bit")),
    (AVX2, dict(triple="x86_64-linux-gnu", cpu="x86-64-v3")),
    (NEON, dict(triple="aarch64-linux-gnu", cpu="neoverse-v1")),
], ids=["avx512", "avx2", "neon"])
@pytest.mark.parametrize("kernel", [Forward, QueryGradient, KeyGradient])
def test_the_sums_stay_in_registers(machine, target, kernel):
    spec = spec_of(machine, "f32", 512, 64, 64, "", True, False)
    text = jit.assembly(lower.text(kernel.function_of(spec)), **target)
    blocks = [re.split(r"\n\s+(?:j\w+|b\.\w+|cb\w+)\s", block)[0]
              for block in re.split(r"\n(?=\.L)", text)]
    # The loops of products, not those of exponentials, in which there are multiplications too.
    loops = [block for block in blocks if not re.search(r"\bv?f?mul", block)
             and len(re.findall(r"fmadd|fmla", block)) >= spec.tile.rows * spec.tile.vectors]
    assert len(loops) >= 2
    for loop in loops:
        # Nothing is stored, and no vector lies on the stack but the panel's.
        assert not re.search(r"\bv?mov\w+\s+%[xyz]mm\d+, [-\d]*\(|\bst[pr]\s+[qdsv]", loop)
        assert not re.search(r"\(%r[sb]p\), %[xyz]mm|\[sp", loop)
