"""Building functions of the loop IR, and how they are printed."""

import numpy as np
import pytest

from iskra.codegen import interpret, ir
from iskra.codegen.ir import INT, POINTER, Function, Type, Value


def test_types():
    assert str(Type("f32")) == "f32" and str(Type("u8", 16)) == "u8x16"
    assert Type("f32", 4).of("i1") == Type("i1", 4)
    assert (Type("i1").bits, Type("i1").size, Type("bf16").bits, POINTER.size) == (1, 1, 16, 8)
    signed = [kind for kind in ir.SIZES if Type(kind).is_signed]
    assert signed == ["i8", "i16", "i32", "i64"]
    assert [k for k in ir.SIZES if Type(k).is_float] == ["f16", "bf16", "f32", "f64"]


def test_constants_are_shared_but_not_zeros_of_other_sign():
    f = Function("f")
    assert f.const(1, INT) is f.const(1, INT)
    assert f.const(0.0, Type("f32")) is not f.const(-0.0, Type("f32"))
    assert f.const(1, INT) is not f.const(1, Type("i32"))
    assert f.const(True, Type("i1")).attr == 1


def test_slots_are_read_once():
    f = Function("f")
    assert f.slot(0, "ptr") is f.slot(0, "ptr")
    assert f.slot(0, "ptr") is not f.slot(1, "ptr")


@pytest.mark.parametrize(("build", "op", "order"), [
    (lambda x: x + 1, "add", "x1"), (lambda x: 1 + x, "add", "1x"), (lambda x: 1 - x, "sub", "1x"),
    (lambda x: x - 1, "sub", "x1"), (lambda x: 1 * x, "mul", "1x"), (lambda x: x / 1, "div", "x1"),
    (lambda x: 1 / x, "div", "1x"), (lambda x: x // 1, "div", "x1"), (lambda x: x % 1, "rem", "x1"),
    (lambda x: x & 1, "and", "x1"), (lambda x: x | 1, "or", "x1"), (lambda x: x ^ 1, "xor", "x1"),
    (lambda x: x << 1, "shl", "x1"), (lambda x: x >> 1, "shr", "x1"), (lambda x: x < 1, "lt", "x1"),
    (lambda x: x <= 1, "le", "x1"), (lambda x: x > 1, "gt", "x1"), (lambda x: x >= 1, "ge", "x1"),
    (lambda x: 1 < x, "gt", "x1"), (lambda x: x.eq(1), "eq", "x1"), (lambda x: x.ne(1), "ne", "x1"),
])
def test_operators_with_numbers(build, op, order):
    f = Function("f")
    x = f.slot(0, "i64")
    value = build(x)
    names = "".join("x" if arg is x else str(arg.attr) for arg in value.args)
    assert (value.op, names) == (op, order)


def test_scalars_meet_vectors():
    f = Function("f")
    scalar, vector = f.slot(0, "f64"), f.load(f.slot(1, "ptr"), 0, Type("f64", 4))
    for value in (scalar * vector, vector * scalar, ir.fma(vector, scalar, 1.0),
                  ir.select(vector < scalar, scalar, 0.0), ir.select(scalar < 1, vector, scalar)):
        assert value.type == Type("f64", 4)
        assert all(arg.type.lanes == 4 for arg in value.args)
    assert f.const(2.0, Type("f64")).splat(4) is f.const(2.0, Type("f64", 4))
    assert scalar.splat(1) is scalar
    assert vector.to("f64") is vector and vector.bits_as("f64") is vector


def test_comparing_values_with_equals_compares_the_objects():
    f = Function("f")
    x = f.slot(0, "i64")
    assert (x == x) is True and (x == x + 0) is False


def test_smaller_and_larger():
    f = Function("f")
    a, b, out = f.slot(0, "i64"), f.slot(1, "i64"), f.slot(2, "ptr")
    f.store(ir.smaller(a, b), out, 0)
    f.store(ir.larger(a, 5), out, 1)
    result = np.zeros(2, "i8")
    interpret.run(f, [-3, 2, result])
    assert result.tolist() == [-3, 5]


def test_printing_a_function_twice():
    """Numbers belong to the place, whatever was printed before something was added."""
    f = Function("growing")
    first = f.variable(1)
    str(f)
    second = f.variable(2.5, Type("f32"))
    with f.loop(0, 10) as i:
        first.set(first.get() + i)
    with f.when(f.slot(0, "i64") > 3):
        f.store(second.get(), f.slot(1, "ptr"), first.get())
    f.prefetch(f.slot(1, "ptr"), 64, "f32")
    f.load(f.slot(1, "ptr"), 0, Type("f32", 2)).shuffle([1, 0])
    assert str(f) == str(f) == """\
kernel growing(slots, task)
  %0: i64 = slot 0
  %1: ptr = slot 1
  set $0 1
  set $1 2.5
  loop %2 from 0 to 10 step 1
    %3: i64 = get $0
    %4: i64 = add %3 %2
    set $0 %4
  %5: i1 = gt %0 3
  when %5
    %6: f32 = get $1
    %7: i64 = get $0
    store %6 %1 %7
  prefetch %1 64 f32
  %8: f32x2 = load %1 0
  %9: f32x2 = shuffle %8 1,0"""


def test_constants_that_are_not_finite_are_printed():
    f = Function("f")
    x = f.load(f.slot(0, "ptr"), 0, Type("f32"))
    for number in (float("inf"), float("-inf"), float("nan"), -0.0):
        _ = x * number
    assert [line.split()[-1] for line in str(f).splitlines()[3:]] == ["inf", "-inf", "nan", "-0.0"]


def test_instructions_in_order():
    f = Function("f")
    with f.loop(0, 3) as i:
        with f.when(i < 2):
            inner = i + 1
    after = f.task + 1
    ops = list(ir.instructions(f.body))
    assert ops[-1] is after and ops[-2] is inner
    assert all(isinstance(op, Value) for op in ops)
