"""The interpreter: what operations compute, that every access is checked, that races are found."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from codegen.both import random_elements

from iskra.codegen import interpret, ir, semantics
from iskra.codegen.ir import Function, Type

F1 = Type("f32")


def copying(lanes=4, kind="f32", mask=None):
    """A kernel that copies `lanes` elements from slot 0 to slot 1, from index slot 2 on."""
    f = Function("copy")
    at = f.slot(2, "i64")
    guard = None if mask is None else f.lanes_below(mask, lanes)
    f.store(f.load(f.slot(0, "ptr"), at, Type(kind, lanes), guard), f.slot(1, "ptr"), at, guard)
    return f


# What operations compute

def computed(build, kind, *inputs):
    """The kernel's result for arrays of one kind."""
    f = Function("f")
    arrays = [np.atleast_1d(np.array(x, semantics.numpy_dtype(kind))) for x in inputs]
    lanes = len(arrays[0])
    xs = [f.load(f.slot(n, "ptr"), 0, Type(kind, lanes)) for n in range(len(arrays))]
    result = build(*xs)
    f.store(result, f.slot(len(arrays), "ptr"), 0)
    out = np.zeros(lanes, semantics.numpy_dtype(result.type.kind))
    interpret.run(f, [*arrays, out])
    return out


def test_integers_wrap_around():
    assert computed(lambda a, b: a + b, "i8", [127, -128], [1, -1]).tolist() == [-128, 127]
    assert computed(lambda a, b: a * b, "u16", [65535, 300], [65535, 300]).tolist() == [1, 24464]
    assert computed(lambda a: -a, "i32", [-(2**31), 5]).tolist() == [-(2**31), -5]
    assert computed(lambda a: -a, "u8", [0, 1]).tolist() == [0, 255]
    assert computed(abs, "i64", [-(2**63), -2]).tolist() == [-(2**63), 2]
    assert computed(lambda a: ~a, "u8", [0, 200]).tolist() == [255, 55]


def test_division_rounds_towards_zero_and_never_traps():
    a, b = [7, -7, 7, -7, 5, -128, 0], [2, 2, -2, -2, 0, -1, 0]
    assert computed(lambda a, b: a // b, "i8", a, b).tolist() == [3, -3, -3, 3, 0, -128, 0]
    assert computed(lambda a, b: a % b, "i8", a, b).tolist() == [1, -1, 1, -1, 0, 0, 0]
    big = [2**64 - 1, 2**63, 3]
    assert computed(lambda a, b: a // b, "u64", big, [2, 3, 0]).tolist() == [
        2**63 - 1, 2**63 // 3, 0]
    assert computed(lambda a, b: a % b, "f32", [5.5, -5.5], [2, 2]).tolist() == [1.5, -1.5]


def test_shifts():
    count = [0, 1, 7, 8, 100, -1]
    ones = [-1] * 6
    assert computed(lambda a, n: a << n, "i8", ones, count).tolist() == [-1, -2, -128, 0, 0, 0]
    assert computed(lambda a, n: a >> n, "i8", [-128] * 6, count).tolist() == [
        -128, -64, -1, -1, -1, -1]
    assert computed(lambda a, n: a >> n, "i8", [127] * 6, count).tolist() == [127, 63, 0, 0, 0, 0]
    assert computed(lambda a, n: a >> n, "u8", [128] * 4, [0, 7, 8, 255]).tolist() == [128, 1, 0, 0]


def test_comparisons_of_nan():
    nan = float("nan")
    for compare, expected in ((lambda a, b: a < b, [False] * 3), (lambda a, b: a >= b, [False] * 3),
                              (lambda a, b: a.eq(b), [False] * 3),
                              (lambda a, b: a.ne(b), [True] * 3)):
        assert computed(compare, "f32", [nan, nan, 1], [nan, 1, nan]).tolist() == expected


def test_maximum_and_minimum():
    a, b = [0.0, -0.0, 1, np.nan, 2, -np.inf], [-0.0, 0.0, 2, 1, np.nan, 5]
    high = computed(ir.maximum, "f64", a, b)
    low = computed(ir.minimum, "f64", a, b)
    assert [str(x) for x in high.tolist()] == ["0.0", "0.0", "2.0", "nan", "nan", "5.0"]
    assert [str(x) for x in low.tolist()] == ["-0.0", "-0.0", "1.0", "nan", "nan", "-inf"]


def test_rounding():
    x = [0.5, 1.5, 2.5, -0.5, -1.7]
    assert computed(ir.rint, "f32", x).tolist() == [0, 2, 2, -0.0, -2]
    assert computed(ir.trunc, "f32", x).tolist() == [0, 1, 2, -0.0, -1]
    assert computed(ir.floor, "f32", x).tolist() == [0, 1, 2, -1, -2]
    assert computed(ir.ceil, "f32", x).tolist() == [1, 2, 3, -0.0, -1]


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_fma_is_rounded_once(kind):
    """Against exact rationals, where rounding twice differs and where results are subnormal."""
    rng = np.random.default_rng(0)
    dtype = semantics.numpy_dtype(kind)
    a, b, c = (random_elements(rng, kind, 3000) for _ in range(3))
    with np.errstate(all="ignore"):
        c = np.where(rng.random(3000) < 0.7, (-(a.astype("f8") * b)).astype(dtype), c)
    # Ties of the product's rounding that the addend decides.
    bits = np.finfo(dtype).nmant
    a[:100], b[:100] = 1 + 2.0**-bits, 1 + 2.0 ** -(bits // 2)
    c[:100] = np.ldexp(rng.choice([-1.0, 1.0], 100), -rng.integers(0, 2 * bits, 100))
    with np.errstate(all="ignore"):
        results = semantics.fma(a, b, c)
    assert results.dtype == dtype
    usable = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    assert usable.sum() > 2000
    for x, y, z, result in zip(a[usable], b[usable], c[usable], results[usable]):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        assert nearest(exact, result), (x, y, z, result)


def nearest(exact, result):
    """Whether no neighbour of `result` is closer, and a tie went to the even one."""
    largest = Fraction(float(np.finfo(result.dtype).max))
    if np.isinf(result):
        return abs(exact) > largest and (exact > 0) == (result > 0)
    error = abs(exact - Fraction(float(result)))
    for direction in (-np.inf, np.inf):
        other = np.nextafter(result, result.dtype.type(direction))
        if np.isinf(other):
            continue
        distance = abs(exact - Fraction(float(other)))
        odd = result.view(f"i{result.itemsize}") & 1
        if distance < error or (distance == error and error and odd):
            return False
    return True


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_fma_of_unusual_values(kind):
    inf, nan = np.inf, np.nan
    big = float(np.finfo(semantics.numpy_dtype(kind)).max)
    tiny = float(np.finfo(semantics.numpy_dtype(kind)).smallest_subnormal)
    rows = [(inf, 1, -inf, nan), (inf, 0, 1, nan), (nan, 1, 1, nan), (1, 1, nan, nan),
            (big, 2, -inf, -inf), (big, big, 0, inf), (big, -2, big, -big), (big, 2, 0, inf),
            (1, -1, 1, 0.0), (-0.0, 1, -0.0, -0.0), (0.0, 1, -0.0, 0.0), (tiny, -0.25, 0, -0.0),
            (tiny, 0.5, 0, 0.0), (tiny, 0.75, 0, tiny), (inf, 2, 5, inf), (2, 3, inf, inf)]
    result = computed(ir.fma, kind, *np.array(rows).T[:3])
    assert [str(x) for x in result.tolist()] == [str(float(row[3])) for row in rows]


def test_float_to_integer():
    x = [1.9, -1.9, 300.0, -129.0, 2.0**31, -(2.0**31), 2.0**63, np.inf, -np.inf, np.nan]
    least = -(2**31)
    for kind in ("f32", "f64"):
        assert computed(lambda a: a.to("i32"), kind, x).tolist() == [
            1, -1, 300, -129, least, least, least, least, least, least]
        assert computed(lambda a: a.to("u8"), kind, x).tolist() == [1, 255, 44, 127] + [0] * 6
        assert computed(lambda a: a.to("i64"), kind, x).tolist() == [
            1, -1, 300, -129, 2**31, least] + [-(2**63)] * 4
        assert computed(lambda a: a.to("u32"), kind, x).tolist() == [
            1, 2**32 - 1, 300, 2**32 - 129, 2**31, 2**31, 0, 0, 0, 0]
        assert computed(lambda a: a.to("u64"), kind, x).tolist() == [
            1, 2**64 - 1, 300, 2**64 - 129, 2**31, 2**64 - 2**31, 2**63, 0, 2**63, 2**63]
        assert computed(lambda a: a.to("i1"), kind, [0, -0.0, 0.1, np.nan]).tolist() == [
            False, False, True, True]


def test_narrow_floats_round_to_nearest_even():
    x = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, 3.4e38, 1e39, 1e-40]
    with np.errstate(over="ignore"):
        x32 = np.array(x, "f8").astype("f4")
        expected = x32.astype(ml_dtypes.bfloat16)
    assert computed(lambda a: a.to("bf16"), "f32", x32).tolist() == expected.tolist()
    assert expected[:2].tolist() == [1, 1 + 2.0**-6]
    # From f64 by way of f32: the first rounding makes a tie of it.
    twice = 1 + 2.0**-11 + 2.0**-40
    assert computed(lambda a: a.to("f16"), "f64", [twice]).tolist() == [1.0]
    assert np.float64(twice).astype("f2") > 1
    assert computed(lambda a: a.to("f64"), "f16", [65504, 6e-8]).tolist() == [65504, 2.0**-24]


def test_bits_as():
    assert computed(lambda a: a.bits_as("i32"), "f32", [1.0, -0.0]).tolist() == [
        0x3F800000, -(2**31)]
    assert computed(lambda a: a.bits_as("bf16"), "u16", [0x3F80]).tolist() == [1.0]


# Memory

@pytest.mark.parametrize(("at", "message"), [
    (5, "reads 4 bytes at byte 32 of slot 0, which has 32"),
    (-1, "reads 4 bytes at byte -4 of slot 0, which has 32"),
    (2**62, "of slot 0, which has 32"), (-(2**63), "of slot 0, which has 32"),
])
def test_reading_out_of_bounds(at, message):
    with pytest.raises(IndexError) as caught:
        interpret.run(copying(), [np.zeros(8, "f4"), np.zeros(99, "f4"), at])
    assert message in str(caught.value)
    assert str(caught.value).startswith("kernel copy, task 0: %3: f32x4 = load %1 %0: ")


def test_writing_out_of_bounds_changes_nothing():
    out = np.zeros(7, "f4")
    with pytest.raises(IndexError, match="store %3 %2 %0: writes 4 bytes at byte 28 of slot 1"):
        interpret.run(copying(), [np.ones(8, "f4"), out, 4])
    assert not out.any()


def test_masks_keep_within_bounds():
    out = np.zeros(3, "f4")
    interpret.run(copying(mask=3), [np.arange(3, dtype="f4"), out, 0])
    assert out.tolist() == [0, 1, 2]
    interpret.run(copying(mask=0), [np.zeros(0, "f4"), np.zeros(0, "f4"), 10**9])
    with pytest.raises(IndexError):
        interpret.run(copying(mask=1), [np.zeros(0, "f4"), np.zeros(1, "f4"), 0])


def test_gathers_are_checked_lane_by_lane():
    f = Function("gather")
    indices = f.load(f.slot(1, "ptr"), 0, Type("i32", 4))
    mask = f.load(f.slot(2, "ptr"), 0, Type("i1", 4))
    f.scatter(f.gather(f.slot(0, "ptr"), indices, "f32", mask), f.slot(0, "ptr"), indices, mask)
    x = np.zeros(4, "f4")
    interpret.run(f, [x, np.array([0, 99, 3, -5], "i4"), np.array([1, 0, 1, 0], bool)])
    with pytest.raises(IndexError, match="gather .* byte -20 of slot 0"):
        interpret.run(f, [x, np.array([0, 99, 3, -5], "i4"), np.array([1, 0, 1, 1], bool)])


def test_arrays_of_any_strides():
    """The pointer starts at the first element; what lies between elements is not the array's."""
    whole = np.arange(24, dtype="f4").reshape(4, 6)
    f = Function("reads")
    f.store(f.load(f.slot(0, "ptr"), f.slot(2, "i64"), F1), f.slot(1, "ptr"), 0)
    out = np.zeros(1, "f4")
    for view in (whole[::-1, ::-1], whole[1:3, ::2], whole.T, whole[:, 2], whole[2:0:-1]):
        rows = [*np.ndindex(view.shape)]
        for place in rows:
            at = sum(i * s for i, s in zip(place, view.strides)) // 4
            interpret.run(f, [view, out, at])
            assert out[0] == view[place]
    with pytest.raises(IndexError):
        interpret.run(f, [whole[1:3], out, -1])
    with pytest.raises(IndexError):
        interpret.run(f, [whole[::-1], out, 6])
    interpret.run(f, [whole[:, ::2], out, 1])  # a gap may be read
    f = Function("writes")
    f.store(1.0 + f.load(f.slot(0, "ptr"), 0, F1), f.slot(0, "ptr"), f.slot(1, "i64"))
    interpret.run(f, [whole[:, ::2], 2])
    assert whole[0].tolist() == [0, 1, 1, 3, 4, 5]
    with pytest.raises(IndexError, match="writes between the elements of slot 0"):
        interpret.run(f, [whole[:, ::2], 1])
    interpret.run(f, [np.broadcast_to(whole[:1, :1], (3, 3)).copy(), 8])


def test_one_element_seen_many_times():
    f = copying(1)
    one = np.broadcast_to(np.float32(7), (5, 5))
    out = np.zeros(1, "f4")
    interpret.run(f, [one, out, 0])
    assert out[0] == 7
    with pytest.raises(IndexError):
        interpret.run(f, [one, np.zeros(9, "f4"), 1])


def test_arrays_that_may_not_be_written():
    out = np.zeros(4, "f4")
    out.flags.writeable = False
    with pytest.raises(ValueError, match="copy, task 0: store .* slot 1, which is read-only"):
        interpret.run(copying(), [np.zeros(4, "f4"), out, 0])


def test_misaligned_elements():
    raw = np.zeros(40, "u1")
    odd = raw[1:33] if raw.ctypes.data % 4 == 0 else raw[:32]
    with pytest.raises(IndexError, match="at places that are not multiples of 4"):
        interpret.run(copying(), [odd, np.zeros(4, "f4"), 0])


def test_bytes_that_are_not_zero_are_true():
    f = copying(4, "i1")
    out = np.zeros(4, "u1")
    interpret.run(f, [np.array([0, 1, 2, 255], "u1"), out, 0])
    assert out.tolist() == [0, 1, 1, 1]


def test_null_pointers():
    with pytest.raises(IndexError, match="reads from a null pointer"):
        interpret.run(copying(), [None, np.zeros(4, "f4"), 0])
    with pytest.raises(IndexError, match="writes to a null pointer"):
        interpret.run(copying(), [np.zeros(4, "f4"), None, 0])
    interpret.run(copying(mask=0), [None, None, 0])
    f = Function("f")
    f.load(f.const(0, ir.POINTER), 0, F1)
    with pytest.raises(IndexError, match="null"):
        interpret.run(f, [])


def test_tables():
    f = Function("pick")
    part = f.table(f.slot(0, "ptr"), f.slot(2, "i64"))
    f.store(f.load(part, 1, F1), f.slot(1, "ptr"), 0)
    parts, out = [np.array([n, n + 0.5], "f4") for n in range(3)], np.zeros(1, "f4")
    for n in range(3):
        interpret.run(f, [parts, out, n])
        assert out[0] == n + 0.5
    for n in (-1, 3):
        with pytest.raises(IndexError, match=f"reads pointer {n} of slot 0, a table of 3"):
            interpret.run(f, [parts, out, n])
    with pytest.raises(IndexError, match=r"of slot 0\[1\]"):
        interpret.run(f, [[parts[0], parts[1][:1]], out, 1])
    with pytest.raises(ValueError, match="reads a pointer from what is not a table"):
        interpret.run(f, [parts[0], out, 0])
    with pytest.raises(ValueError, match="reads numbers from slot 0, a table of pointers"):
        interpret.run(copying(), [parts, out, 0])
    with pytest.raises(ValueError, match="writes to slot 1, a table of pointers"):
        interpret.run(copying(), [np.zeros(4, "f4"), parts, 0])


def test_offsets():
    f = Function("f")
    inner = f.offset(f.offset(f.slot(0, "ptr"), 3, "f32"), -8, "i8")
    f.store(f.load(inner, 1, F1), f.slot(0, "ptr"), 0)
    x = np.arange(4, dtype="f4")
    interpret.run(f, [x])
    assert x[0] == 2
    f.load(inner, 3, F1)
    with pytest.raises(IndexError, match="byte 16 of slot 0"):
        interpret.run(f, [x])
    for far in (2**63 - 1, -(2**63), 2**61):
        f = Function("f")
        f.load(f.offset(f.slot(0, "ptr"), far, "f64"), far, Type("f64"))
        with pytest.raises(IndexError, match="of slot 0, which has 16"):
            interpret.run(f, [x])


def test_scratch_memory():
    f = Function("f")
    memory = f.scratch(Type("f32", 4), 2)
    f.store(f.slot(0, "f64").to("f32"), memory, 3)
    f.store(f.load(memory, 0, Type("f32", 8)), f.slot(1, "ptr"), 0)
    out = np.zeros(8, "f4")
    interpret.run(f, [2.5, out])
    assert out[3] == 2.5 and np.isnan(out[[0, 1, 2, 4, 5, 6, 7]]).all()
    f.load(memory, 8, F1)
    with pytest.raises(IndexError, match="byte 32 of the scratch memory"):
        interpret.run(f, [2.5, out])


def test_no_elements():
    f = Function("f")
    with f.loop(0, f.slot(1, "i64"), 4) as i:
        f.store(f.load(f.slot(0, "ptr"), i, F1), f.slot(0, "ptr"), i)
    interpret.run(f, [np.zeros((0, 3), "f4"), 0])
    interpret.run(f, [np.zeros((), "f4"), 1])


# Arguments

@pytest.mark.parametrize(("slots", "message"), [
    ([np.zeros(4, "f4"), np.zeros(4, "f4")], "reads slot 2 of 2"),
    ([np.zeros(4, "f4"), np.zeros(4, "f4"), 1.5], "slot 2 is i64, not float"),
    ([np.zeros(4, "f4"), np.zeros(4, "f4"), None], "slot 2 is i64, not NoneType"),
    ([3, np.zeros(4, "f4"), 0], "slot 0 is a pointer: .* not int"),
    ([np.zeros(4, "f4"), [1], 0], r"slot 1\[0\] is a pointer: .* not int"),
])
def test_slots_of_another_kind(slots, message):
    with pytest.raises(TypeError, match=message):
        interpret.run(copying(), slots)


def test_functions_are_verified_first():
    f = Function("f")
    _ = f.task & f.slot(0, "f64")
    with pytest.raises(ValueError, match="kernel f: "):
        interpret.run(f, [1.0])


def test_steps_must_lead_on():
    f = Function("f")
    with f.loop(0, 10, f.slot(0, "i64")):
        pass
    interpret.run(f, [1])
    with pytest.raises(ValueError, match="kernel f, task 0: loop %1 .* the step is 0"):
        interpret.run(f, [0])


# Tasks

def appending():
    """Each task writes its number where a counter in memory points: they depend on their order."""
    f = Function("append")
    count, out = f.slot(0, "ptr"), f.slot(1, "ptr")
    at = f.load(count, 0, Type("i64"))
    f.store(f.task, out, at)
    f.store(at + 1, count, 0)
    return f


@pytest.mark.parametrize(("order", "expected"), [
    ("forward", [0, 1, 2, 3]), ("reverse", [3, 2, 1, 0]), ([2, 0], [2, 0, 0, 0]),
])
def test_orders(order, expected):
    out = np.zeros(4, "i8")
    interpret.run(appending(), [np.zeros(1, "i8"), out], 4, order)
    assert out.tolist() == expected


def test_shuffled_order():
    out = np.zeros(20, "i8")
    interpret.run(appending(), [np.zeros(1, "i8"), out], 20, "shuffled")
    assert sorted(out) == list(range(20)) and out.tolist() != list(range(20))
    with pytest.raises(ValueError, match="order is forward"):
        interpret.run(appending(), [out, out], 1, "sideways")


def moving(read, write):
    """Task t copies element read(t) of slot 0 to element write(t) of slot 1."""
    f = Function("move")
    f.store(f.load(f.slot(0, "ptr"), read(f.task), F1), f.slot(1, "ptr"), write(f.task))
    return f


def test_races_between_writers():
    f = moving(lambda t: t, lambda t: t & 1)
    x = np.zeros(8, "f4")
    interpret.run(f, [x, np.zeros(8, "f4")], 2, races=True)
    interpret.run(f, [x, np.zeros(8, "f4")], 8)  # nobody looks
    with pytest.raises(RuntimeError) as caught:
        interpret.run(f, [x, np.zeros(8, "f4")], 8, races=True)
    assert "task 2: store %2 %1 %3: writes slot 1 where task 0 writes" in str(caught.value)


def test_races_between_readers_and_writers():
    x = np.zeros(9, "f4")
    ahead = moving(lambda t: t + 1, lambda t: t)
    interpret.run(ahead, [x, np.zeros(9, "f4")], 8, races=True)
    with pytest.raises(RuntimeError, match="task 1: store .* slot 1 where task 0 reads"):
        interpret.run(ahead, [x, x], 8, races=True)
    with pytest.raises(RuntimeError, match="task 6: .* load .* reads slot 0 where task 7 writes"):
        interpret.run(ahead, [x, x], 8, "reverse", races=True)
    same = moving(lambda t: t, lambda t: t)
    interpret.run(same, [x, x], 8, races=True)  # each its own
    first = moving(lambda t: t * 0, lambda t: t)
    with pytest.raises(RuntimeError, match="task 1: .* reads slot 0 where task 0 writes"):
        interpret.run(first, [x, x], 8, races=True)
    many = moving(lambda t: t * 0, lambda t: 8 - t)
    with pytest.raises(RuntimeError, match="where more than one task reads"):
        interpret.run(many, [x, x], 9, races=True)


def test_races_in_memory_that_two_arrays_share():
    x = np.zeros(9, "f4")
    f = moving(lambda t: t, lambda t: t)
    interpret.run(f, [x[1:], x[1:]], 8, races=True)
    with pytest.raises(RuntimeError, match="reads slot 0 where task 0 writes"):
        interpret.run(f, [x[:-1], x[1:]], 8, races=True)
    halves = np.zeros(8, "f4")
    interpret.run(f, [halves[:4], halves[4:]], 4, races=True)


def test_scratch_memory_is_each_tasks_own():
    f = Function("f")
    memory = f.scratch(F1)
    f.store(f.task.to("f32"), memory, 0)
    f.store(f.load(memory, 0, F1), f.slot(0, "ptr"), f.task)
    out = np.zeros(3, "f4")
    interpret.run(f, [out], 3, races=True)
    assert out.tolist() == [0, 1, 2]


def test_everything_stays_quiet():
    """Infinities and NaNs make no warning, and NumPy's settings are as they were."""
    before = np.geterr()
    computed(lambda a, b: (a / b).to("f16").to("i8"), "f32", [1, 0, np.inf], [0, 0, -np.inf])
    assert np.geterr() == before
    assert math.isnan(computed(ir.sqrt, "f64", [-1])[0])
