"""Convolutions in machine code: against float64, on every kind of machine, under guard."""

import itertools
import zlib

import ml_dtypes
import numpy as np
import pytest
from codegen.guard import guarded, interpreted_kernels

from iskra.codegen import ir
from iskra.codegen.kernels import (
    conv_blocks_plan,
    conv_depthwise_plan,
    conv_plan,
    conv_weights_plan,
    convolutions,
)
from iskra.codegen.kernels.conv_geometry import Geometry, Layout, backward_parts
from iskra.codegen.kernels.gemm_tiles import AVX2, AVX512, BASELINE, NEON
from iskra.runtime import threads

MACHINES = [AVX512, AVX2, NEON, BASELINE]

# samples, channels in, input, channels out, kernel, stride, padding, dilation, groups
CASES = [
    (2, 3, (9,), 5, (3,), (1,), (1,), (1,), 1),
    (2, 2, (1000,), 4, (5,), (1,), (3,), (1,), 1),
    (1, 5, (90,), 3, (4,), (3,), (2,), (2,), 1),
    (2, 3, (9, 8), 5, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 4, (20, 33), 40, (3, 3), (1, 1), (1, 1), (2, 1), 1),
    (2, 4, (20, 33), 17, (3, 2), (2, 2), (1, 0), (1, 1), 1),
    (3, 4, (13, 17), 7, (3, 2), (3, 3), (2, 2), (2, 1), 1),
    (1, 50, (14, 14), 30, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (5, 6, (7, 7), 20, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 5, (30, 3), 9, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 3, (12, 1), 4, (3, 1), (1, 1), (1, 0), (1, 1), 1),
    (3, 40, (7, 7), 17, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (2, 6, (9, 9), 4, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    (2, 6, (9, 9), 4, (2, 2), (3, 3), (0, 0), (1, 1), 2),
    (2, 6, (8, 19), 6, (3, 3), (1, 1), (1, 1), (1, 1), 6),
    (2, 6, (8, 19), 12, (3, 3), (2, 2), (1, 1), (1, 1), 6),
    (2, 6, (8, 9), 6, (2, 3), (1, 1), (2, 2), (1, 2), 6),
    (1, 3, (100, 100), 3, (3, 3), (1, 1), (1, 1), (1, 1), 3),
    (2, 8, (6, 7), 12, (3, 3), (1, 1), (1, 1), (1, 1), 4),
    (2, 3, (5, 7, 6), 4, (3, 2, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
    (1, 4, (6, 5, 7), 4, (2, 3, 2), (2, 1, 2), (0, 2, 1), (1, 2, 1), 2),
    (1, 1, (1, 1), 1, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    (1, 2, (3, 3), 2, (5, 5), (1, 1), (2, 2), (1, 1), 1),
    (1, 2, (4, 4), 2, (3, 3), (1, 1), (4, 4), (1, 1), 1),
    # One input channel of each group, several of the output.
    (5, 1, (9, 20), 7, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (3, 2, (30, 18), 10, (5, 5), (2, 1), (2, 0), (1, 1), 2),
    (40, 1, (28, 28), 6, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    # In blocks: from eight channels on.
    (2, 20, (9, 11), 34, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (3, 33, (7, 7), 20, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    (5, 16, (4, 4), 45, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 24, (17, 30), 30, (3, 2), (2, 1), (2, 0), (1, 2), 2),
    (2, 18, (25,), 16, (4,), (2,), (3,), (2,), 1),
    (1, 16, (3, 5), 16, (3, 3), (1, 1), (4, 4), (1, 1), 1),
    (2, 32, (9, 9), 16, (1, 1), (2, 2), (0, 0), (1, 1), 1),
]
BLOCKS = CASES[-7:]
# A kernel for each channel: whole vectors of channels and not, one row, few places, many taps.
DEPTHWISE = [
    (2, 32, (14, 9), 32, (3, 3), (1, 1), (1, 1), (1, 1), 32),
    (3, 37, (9, 14), 37, (3, 3), (2, 2), (1, 1), (1, 1), 37),
    (2, 20, (1, 30), 20, (1, 5), (1, 2), (0, 2), (1, 1), 20),
    (2, 16, (11, 9), 16, (5, 5), (1, 1), (2, 2), (1, 1), 16),
    (1, 16, (7, 5), 16, (7, 7), (1, 1), (3, 3), (1, 1), 16),
    (2, 33, (11, 6), 33, (2, 3), (1, 2), (2, 0), (2, 1), 33),
    (1, 18, (4, 4), 18, (3, 3), (1, 1), (4, 4), (1, 1), 18),
    (20, 16, (40, 40), 16, (3, 3), (1, 1), (1, 1), (1, 1), 16),
]


@pytest.fixture
def on(monkeypatch):
    """Lets convolutions be computed as on another machine: its tiles, in this machine's code."""
    def choose(machine):
        monkeypatch.setattr(conv_plan, "host", lambda: machine)
        monkeypatch.setattr(conv_blocks_plan, "host", lambda: machine)
        monkeypatch.setattr(conv_depthwise_plan, "host", lambda: machine)
        monkeypatch.setattr(convolutions, "_plans", {})
    return choose


def operands(case, dtype=np.float32):
    """x, w and a gradient of the result, of normal values."""
    samples, channels, size, out, kernel, stride, padding, dilation, groups = case
    rng = np.random.default_rng(zlib.crc32(repr(case).encode()))
    geometry = Geometry(samples, groups, (channels // groups, out // groups), size, kernel, stride,
                        padding, dilation)
    shapes = ((samples, channels, *size), (out, channels // groups, *kernel),
              (samples, out, *geometry.output))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def taps(case):
    """Each place in the kernel, with the slices of the padded input that it meets."""
    *_, kernel, stride, padding, dilation, _ = case
    size = case[2]
    geometry = Geometry(1, 1, (1, 1), size, kernel, stride, padding, dilation)
    for place in itertools.product(*map(range, kernel)):
        yield place, tuple(slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in zip(
            place, dilation, geometry.output, stride))


def padded(x, case):
    return np.pad(x.astype(np.float64), [(0, 0), (0, 0), *((p, p) for p in case[6])])


def grouped(x, groups, axis):
    return x.reshape(*x.shape[:axis], groups, -1, *x.shape[axis + 1:]).astype(np.float64)


def reference(x, w, case):
    """The convolution, tap by tap in float64."""
    groups, total = case[8], 0
    x, w = grouped(padded(x, case), groups, 1), grouped(w, groups, 0)
    for place, window in taps(case):
        total = total + np.einsum("ngc...,goc->ngo...", x[:, :, :, *window], w[:, :, :, *place])
    return total.reshape(total.shape[0], -1, *total.shape[3:])


def reference_input(grad, w, case):
    groups, size, padding = case[8], case[2], case[6]
    grad, w = grouped(grad, groups, 1), grouped(w, groups, 0)
    result = np.zeros((grad.shape[0], groups, w.shape[2], *(
        n + 2 * p for n, p in zip(size, padding))))
    for place, window in taps(case):
        result[:, :, :, *window] += np.einsum("ngo...,goc->ngc...", grad, w[:, :, :, *place])
    inside = tuple(slice(p, p + n) for n, p in zip(size, padding))
    result = result[:, :, :, *inside]
    return result.reshape(result.shape[0], -1, *size)


def reference_weight(grad, x, case):
    groups = case[8]
    grad, x = grouped(grad, groups, 1), grouped(padded(x, case), groups, 1)
    result = np.empty((groups, grad.shape[2], x.shape[2], *case[4]))
    for place, window in taps(case):
        seen = x[:, :, :, *window].reshape(*x.shape[:3], -1)
        result[:, :, :, *place] = np.einsum("ngol,ngcl->goc", grad.reshape(*grad.shape[:3], -1),
                                            seen)
    return result.reshape(-1, *result.shape[2:])


# What is computed, from (x, w, grad), by the kernels and in float64; which operands' NaNs reach the
# same results.
WAYS = {
    "forward": (lambda x, w, g, case: convolutions.convolve(x, w, *case[5:]),
                lambda x, w, g, case: reference(x, w, case), (0, 1)),
    "input": (lambda x, w, g, case: convolutions.convolve_input(g, w, case[2], *case[5:]),
              # A weight of NaN meets the gradient's padding too, and 0 times NaN is NaN.
              lambda x, w, g, case: reference_input(g, w, case), (2,)),
    "weight": (lambda x, w, g, case: convolutions.convolve_weight(g, x, case[4], *case[5:]),
               lambda x, w, g, case: reference_weight(g, x, case), (2, 0)),
}


def check(way, case, dtype=np.float32, change=lambda array: array):
    """Each sum of n products is within n rounding errors of each product."""
    compute, expect, _ = WAYS[way]
    arrays = operands(case, dtype)
    result = compute(*map(change, arrays), case)
    expected = expect(*arrays, case)
    magnitude = expect(*map(np.abs, arrays), case)
    ones = expect(*(np.ones_like(a) for a in arrays), case)
    unit = np.finfo(np.float64 if dtype == np.float64 else np.float32).eps / 2
    bound = (ones + 1) * unit * magnitude * (2 if dtype == np.float64 else 1.001)
    if np.dtype(dtype).itemsize == 2:
        bound = bound + float(ml_dtypes.finfo(dtype).eps) / 2 * (np.abs(expected) + bound)
    assert result.shape == expected.shape
    assert result.dtype == dtype
    assert (np.abs(result.astype(np.float64) - expected) <= bound).all()


def named(case):
    return "-".join(str(part).replace(" ", "") for part in case)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=named)
def test_against_float64(case, way):
    check(way, case)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16],
                         ids=["f64", "f16", "bf16"])
def test_other_dtypes(dtype, way):
    for case in (CASES[4], CASES[5], CASES[8], CASES[14], CASES[18], *BLOCKS[:3]):
        check(way, case, dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("machine", MACHINES[1:], ids=lambda m: m.name)
def test_other_machines(on, machine, way):
    on(machine)
    for case in (CASES[4], CASES[5], CASES[8], CASES[9], CASES[14], CASES[19], *BLOCKS[:3]):
        check(way, case)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [
    (3, 40, (28, 28), 70, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (2, 3, (64, 64), 64, (7, 7), (2, 2), (3, 3), (1, 1), 1),
    (2, 300, (10, 10), 20, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (1, 2, (3000,), 33, (9,), (1,), (4,), (1,), 1),
    (2, 72, (56, 56), 70, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    (24, 260, (4, 4), 520, (3, 3), (1, 1), (1, 1), (1, 1), 1),
], ids=named)
def test_several_stretches_and_tasks(case, way):
    check(way, case)


@pytest.mark.parametrize("way", WAYS)
def test_strided_operands(way):
    def spread(array):
        space = np.full((*array.shape[:-1], 2 * array.shape[-1] + 1), np.nan, array.dtype)
        space[..., 1::2] = array
        return space[..., 1::2]

    for case in (CASES[4], CASES[14], BLOCKS[0]):
        check(way, case, change=spread)


def last(array):
    """The array with its channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [*(case for case in CASES if len(case[2]) == 2), *DEPTHWISE],
                         ids=named)
def test_channels_last(case, way):
    check(way, case, change=last)
    result = WAYS[way][0](*map(last, operands(case)), case)
    if 1 not in result.shape and case[1] > 1:      # else an operand could be either
        assert result.strides == last(result).strides
        assert not result.flags.c_contiguous


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", range(3))
def test_formats_that_differ(way, which):
    """One operand has its channels last: so has the result, if it depends on it."""
    case = BLOCKS[0]
    arrays = operands(case)
    arrays[which] = last(arrays[which])
    result = WAYS[way][0](*arrays, case)
    expected = WAYS[way][0](*operands(case), case)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    used = {"forward": (0, 1), "input": (1, 2), "weight": (0, 2)}[way]
    assert result.flags.c_contiguous is (which not in used)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float64, np.float16], ids=["f64", "f16"])
def test_channels_last_of_other_dtypes(dtype, way):
    for case in (CASES[4], *BLOCKS[:4], *DEPTHWISE[:2]):
        check(way, case, dtype, last)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_a_kernel_for_each_channel_on_other_machines(on, machine, way):
    on(machine)
    for case in DEPTHWISE[:-1]:
        check(way, case, change=last)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_meets_each_channel_s_own_sums(way, value):
    compute, expect, used = WAYS[way]
    for case in DEPTHWISE[:4]:
        for number in used:
            arrays = operands(case)
            arrays[number].flat[arrays[number].size // 2] = value
            with np.errstate(invalid="ignore"):
                expected = expect(*arrays, case)
            result = compute(*map(last, arrays), case)
            np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)


def test_asking_for_memory_ahead_changes_no_bit(monkeypatch):
    """Of one tap's weights, where the operands are larger than the caches; also past their ends."""
    interpreted_kernels(monkeypatch, conv_weights_plan)
    case = (3, 33, (4, 5), 18, (1, 1), (1, 1), (0, 0), (1, 1), 1)
    results = []
    for most in (1 << 30, 0):
        monkeypatch.setattr(conv_weights_plan, "past_caches", lambda most=most: most)
        monkeypatch.setattr(convolutions, "_plans", {})
        check("weight", case, change=last)
        results.append(WAYS["weight"][0](*map(last, operands(case)), case).tobytes())
        (plan,) = convolutions._plans.values()
        assert plan.blocks.spec.ahead is (most == 0)
    assert results[0] == results[1]


@pytest.mark.parametrize("case", [CASES[4], CASES[8], CASES[11], CASES[14], CASES[18], *BLOCKS[:4]],
                         ids=named)
def test_bias_and_activation(case):
    x, w, _ = operands(case)
    bias = np.linspace(-1, 1, case[3], dtype=np.float32)

    def relu(value):
        return ir.maximum(value, 0.0)

    result = convolutions.convolve(x, w, *case[5:], bias=bias, epilogue=relu)
    by_channel = bias.reshape(-1, *(1,) * len(case[2]))
    expected = np.maximum(reference(x, w, case) + by_channel, 0)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_what_they_meet(way, value):
    compute, expect, used = WAYS[way]
    for case in (CASES[4], CASES[5], CASES[14], CASES[24], BLOCKS[0], BLOCKS[5]):
        for number in used:
            arrays = operands(case)
            arrays[number].flat[arrays[number].size // 2] = value
            with np.errstate(invalid="ignore"):
                expected = expect(*arrays, case)
            np.testing.assert_allclose(compute(*arrays, case), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_the_bits_do_not_depend_on_the_number_of_threads(way):
    before = threads.get_num_threads()
    try:
        for case in (CASES[4], CASES[8], CASES[14], CASES[26],
                     (8, 16, (20, 20), 30, (3, 3), (1, 1), (1, 1), (1, 1), 1), BLOCKS[1],
                     DEPTHWISE[-1]):
            results = []
            for count in (1, 2, 3, 7):
                threads.set_num_threads(count)
                results += [WAYS[way][0](*map(change, operands(case)), case).tobytes()
                            for change in (np.asarray, last)]
            assert len(set(results[::2])) == len(set(results[1::2])) == 1
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("machine", [AVX512, NEON], ids=lambda m: m.name)
def test_no_access_out_of_bounds_and_no_races(on, monkeypatch, machine, way):
    on(machine)
    kernels = interpreted_kernels(monkeypatch, conv_plan)
    kernels += interpreted_kernels(monkeypatch, conv_blocks_plan)
    kernels += interpreted_kernels(monkeypatch, conv_depthwise_plan)
    for plan in (conv_plan, conv_blocks_plan, conv_depthwise_plan):
        monkeypatch.setattr(plan, "TASK", 3000)         # many tasks, for the races
    for case in ((2, 3, (5, 6), 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
                 (2, 2, (7, 18), 3, (3, 2), (2, 2), (1, 0), (1, 1), 1),
                 (3, 2, (4, 3), 2, (2, 2), (1, 1), (0, 0), (1, 1), 2),
                 (3, 1, (5, 17), 4, (3, 2), (1, 1), (1, 1), (1, 1), 1)):
        check(way, case)
        check(way, case, change=last)
    for case in ((2, 19, (5, 6), 19, (3, 3), (1, 1), (1, 1), (1, 1), 19),
                 (2, 16, (7, 7), 16, (3, 2), (2, 2), (1, 0), (1, 1), 16)):
        check(way, case, change=last)
    check(way, (2, 9, (5, 3), 16, (3, 3), (1, 1), (1, 1), (1, 1), 1))
    assert kernels


def last_guarded(array, at_end):
    """Channels last in memory, with guards around it."""
    return np.moveaxis(guarded(np.ascontiguousarray(np.moveaxis(array, 1, -1)), at_end), -1, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("machine", [AVX512, AVX2], ids=lambda m: m.name)
def test_the_memory_around_the_operands_is_not_touched(on, machine, at_end, way):
    on(machine)
    for case in (*(CASES[i] for i in (0, 3, 4, 5, 8, 11, 14, 15, 24, 25)), *BLOCKS[:5]):
        check(way, case, change=lambda array: guarded(array, at_end))
    for case in DEPTHWISE[:5]:
        check(way, case, change=lambda array: last_guarded(array, at_end))
        if len(case[2]) == 2:
            check(way, case, change=lambda array: np.moveaxis(guarded(
                np.ascontiguousarray(np.moveaxis(array, 1, -1)), at_end), -1, 1))


def test_wrong_operands():
    x, w, one = np.ones((1, 4, 5, 5), np.float32), np.ones((2, 4, 3, 3), np.float32), (1, 1)
    with pytest.raises(ValueError, match="in 2 groups"):
        convolutions.convolve(x, w, one, (0, 0), one, 2)
    with pytest.raises(ValueError, match="cannot be convolved"):
        convolutions.convolve(x, w, (1,), (0, 0), one, 1)
    with pytest.raises(ValueError, match=r"has the shape \[1, 2, -1, 3\]"):
        convolutions.convolve(x, w, one, (0, 0), (3, 1), 1)
    with pytest.raises(ValueError, match="bias should be"):
        convolutions.convolve(x, w, one, one, one, 1, bias=np.ones(3, np.float32))
    with pytest.raises(TypeError, match="float32 and float64"):
        convolutions.convolve(x, w.astype(np.float64), one, one, one, 1)
    with pytest.raises(ValueError, match=r"not \[1, 2, 4, 4\]"):
        convolutions.convolve_input(np.ones((1, 2, 4, 4), np.float32), w, (5, 5), one, one, one, 1)


def test_worthwhile_goes_by_dtype_and_shape():
    x, w = np.ones((1, 4, 20, 20), np.float32), np.ones((2, 4, 3, 3), np.float32)
    assert convolutions.worthwhile(x, w)
    assert not convolutions.worthwhile(x.astype(np.int64), w.astype(np.int64))
    assert not convolutions.worthwhile(x, w.astype(np.float64))
    assert not convolutions.worthwhile(x.astype(">f4"), w.astype(">f4"))
    assert not convolutions.worthwhile(x[:, :, :2, :2], w)


# The pieces

def test_a_padded_copy_of_two_dimensions():
    layout = Layout((2, 3), (1, 2), (4, 6), 2)
    assert layout.sources().tolist() == [-1, 0, 3, -1]
    assert (layout.rows, layout.width, layout.size) == (4, 3, 24)
    assert layout.place((1, 3)) == (1 * 4 + 1) * 3 + 1
    assert not layout.trivial


def test_the_parts_of_an_input_cover_it():
    for size, kernel, stride, padding, dilation in itertools.product(
            range(1, 9), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)):
        geometry = Geometry(1, 1, (1, 1), (size,), (kernel,), (stride,), (padding,), (dilation,))
        (output,) = geometry.output
        if output < 1:
            continue
        met = []
        parts, layout = backward_parts(geometry)
        for part in parts:
            for i in range(part.output[0]):
                place = part.start[0] + i * stride
                assert place < size
                for (k,), (tap,) in zip(part.kernel, part.taps):
                    assert 0 <= i + tap < layout.shape[0]
                    meets = i + tap - layout.before[0]
                    if 0 <= meets < output:
                        met.append((place, k, meets))
        expected = [(l * stride + k * dilation - padding, k, l) for l in range(output)
                    for k in range(kernel) if 0 <= l * stride + k * dilation - padding < size]
        assert sorted(met) == sorted(expected)
