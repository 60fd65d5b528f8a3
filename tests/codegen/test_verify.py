"""The verifier finds what is wrong, and nothing wrong with what is right."""

import pytest

from iskra.codegen import ir
from iskra.codegen.ir import INT, POINTER, Function, Loop, Type, Value
from iskra.codegen.verify import verify

F4, I4, M4 = Type("f32", 4), Type("i32", 4), Type("i1", 4)
F1, I1 = Type("f32"), Type("i32")


class Sample:
    """A function with a value of several types at hand."""

    def __init__(self):
        self.f = f = Function("sample")
        self.p, self.n = f.slot(0, "ptr"), f.slot(1, "i64")
        self.x, self.i, self.m = (f.load(self.p, 0, type) for type in (F4, I4, M4))
        self.s, self.k, self.b = (f.load(self.p, 0, type) for type in (F1, I1, Type("i1")))
        self.h, self.l = f.load(self.p, 0, Type("f16", 4)), f.load(self.p, 0, Type("i64", 4))
        self.u = f.load(self.p, 0, Type("bf16"))

    def emit(self, op, type, *args, attr=None):
        return self.f.emit(op, type, args, attr)


@pytest.fixture
def sample():
    return Sample()


def test_the_sample_itself_is_right(sample):
    verify(sample.f)


def emits(op, type, *names, attr=None):
    def build(t):
        args = [getattr(t, name) if isinstance(name, str) else name for name in names]
        t.emit(op, type, *args, attr=attr)
    return build


@pytest.mark.parametrize(("build", "complaint"), [
    (emits("add", F4, "x", "i"), "operands are f32x4 and i32x4"),
    (emits("add", F4, "x", "s"), "operands are f32x4 and f32"),
    (emits("add", I4, "x", "x"), "the result is i32x4, not f32x4"),
    (emits("add", F4, "x"), "takes 2 operands, not 1"),
    (emits("fma", F4, "x", "x"), "takes 3 operands, not 2"),
    (emits("add", Type("f16", 4), "h", "h"), "no arithmetic on f16: convert it to f32"),
    (emits("neg", Type("bf16"), "u"), "no arithmetic on bf16"),
    (emits("add", M4, "m", "m"), "takes i8, i16, i32, i64, u8, ... not i1"),
    (emits("add", POINTER, "p", "p"), "not ptr"),
    (emits("and", F4, "x", "x"), "not f32"),
    (emits("shl", F4, "x", "x"), "not f32"),
    (emits("shr", M4, "m", "m"), "not i1"),
    (emits("not", F4, "x"), "not f32"),
    (emits("sqrt", I4, "i"), "takes f32, f64 not i32"),
    (emits("maximum", I4, "i", "i"), "takes f32, f64 not i32"),
    (emits("lt", F4, "x", "x"), "the result is f32x4, not i1x4"),
    (emits("lt", Type("i1"), "x", "x"), "the result is i1, not i1x4"),
    (emits("lt", Type("i1"), "p", "p"), "not ptr"),
    (emits("lt", M4, "h", "h"), "no arithmetic on f16"),
    (emits("eq", M4, "x", "i"), "operands are f32x4 and i32x4"),
    (emits("select", F4, "m", "x", "i"), "chooses between f32x4 and i32x4"),
    (emits("select", F4, "b", "x", "x"), "the condition is i1, not i1x4"),
    (emits("select", F4, "i", "x", "x"), "the condition is i32x4, not i1x4"),
    (emits("select", I4, "m", "x", "x"), "the result is i32x4, not f32x4"),
    (emits("convert", Type("i32"), "x"), "from 4 lanes"),
    (emits("convert", F4, "x"), "from f32 to itself"),
    (emits("convert", INT, "p"), "not ptr"),
    (emits("bitcast", Type("i64", 4), "x"), "f32x4 has 128 bits, i64x4 256"),
    (emits("bitcast", Type("i8", 4), "m"), "u8, ... not i1"),
    (emits("bitcast", Type("f32", 2), "x"), "from f32 to itself"),
    (emits("dot", F4, "x", "x", "x"), "sums f32 of bf16"),
    (emits("dot", F1, "u", "u", "s"), "takes two neighbours for each lane"),
    (emits("bitcast", POINTER, "n"), "not ptr"),
    (emits("splat", F4, "x"), "the operand is f32x4, not f32"),
    (emits("splat", F1, "s"), "makes a scalar"),
    (emits("lane", F1, "x", attr=4), "there is no lane 4 among 4"),
    (emits("lane", F1, "x", attr=-1), "there is no lane -1 among 4"),
    (emits("lane", F4, "x", attr=0), "the result is f32x4, not f32"),
    (emits("shuffle", F4, "x", attr=(0, 1, 2, 4)), "there is no lane 4 among 4"),
    (emits("shuffle", F4, "x", "x", attr=(0, 1, 2, 8)), "there is no lane 8 among 8"),
    (emits("shuffle", F4, "x", attr=(0, 1)), "the result is f32x4, not f32x2"),
    (emits("shuffle", F4, "x", "i", attr=(0, 1, 2, 3)), "operands are f32x4 and i32x4"),
    (emits("shuffle", F4, "x", "x", "x", attr=(0, 1, 2, 3)), "one or two operands"),
    (emits("any", Type("i1"), "i"), "takes i1 not i32"),
    (emits("any", M4, "m"), "the result is i1x4, not i1"),
    (emits("iota", M4), "not i1"),
    (emits("iota", Type("f16")), "no arithmetic on f16"),
    (emits("lanes_below", M4, "k"), "the count is i32, not i64"),
    (emits("lanes_below", I4, "n"), "takes i1 not i32"),
    (emits("load", F4, "n", "n"), "the pointer is i64, not ptr"),
    (emits("load", F4, "p", "k"), "the index is i32, not i64"),
    (emits("load", F4, "p", "l"), "the index is i64x4, not i64"),
    (emits("load", F4, "p", "n", "b"), "the mask is i1, not i1x4"),
    (emits("load", F4, "p", "n", "i"), "the mask is i32x4, not i1x4"),
    (emits("load", POINTER, "p", "n", "b"), "pointers are loaded without a mask"),
    (emits("load", Type("ptr", 4), "p", "n"), "there are no vectors of pointers"),
    (emits("load", Type("f80"), "p", "n"), "f80 is not a type"),
    (emits("load", Type("f32", 0), "p", "n"), "not 0"),
    (emits("load", Type("f32", 1000), "p", "n"), "vectors have 1 to 64 lanes, not 1000"),
    (emits("store", None, "x", "p", "k"), "the index is i32, not i64"),
    (emits("store", None, "p", "p", "n"), "not ptr"),
    (emits("store", None, "x", "p", "n", "b"), "the mask is i1, not i1x4"),
    (emits("store", F4, "x", "p", "n"), "has no result"),
    (emits("gather", F4, "p", "n"), "1 indices for 4 lanes"),
    (emits("gather", F4, "p", "x"), "takes i32, i64 not f32"),
    (emits("gather", F4, "x", "i"), "the pointer is f32x4, not ptr"),
    (emits("gather", F4, "p", "i", "b"), "the mask is i1, not i1x4"),
    (emits("scatter", None, "x", "p", "h"), "takes i32, i64 not f16"),
    (emits("scatter", None, "s", "p", "i"), "4 indices for 1 lanes"),
    (emits("scatter", F4, "x", "p", "i"), "has no result"),
    (emits("offset", POINTER, "p", "n", attr="f80"), "f80 is not a kind"),
    (emits("offset", POINTER, "p", "k", attr="f32"), "the index is i32, not i64"),
    (emits("offset", INT, "p", "n", attr="f32"), "the result is i64, not ptr"),
    (emits("prefetch", None, "p", "n", attr="f80"), "f80 is not a kind"),
    (emits("scratch", POINTER, attr=(F4, 0)), "0 is not a count"),
    (emits("scratch", POINTER, attr=(F4, 10**6)), "16000000 bytes do not fit the stack"),
    (emits("scratch", POINTER, attr=(POINTER, 1)), "not ptr"),
    (emits("explode", F4, "x"), "there is no such operation"),
    (emits("sqrt", F4, 1.5), "1.5 is used, which is not a value"),
    (emits("get", F4), "get of None, which is no variable"),
    (emits("set", None, "x"), "set of None, which is no variable"),
    (lambda t: t.f.store(t.f.const(300, Type("u8")), t.p, 0), "300 does not fit u8"),
    (lambda t: t.f.store(t.f.const(-129, Type("i8")), t.p, 0), "-129 does not fit i8"),
    (lambda t: t.f.store(t.f.const(2, Type("i1")), t.p, 0), "2 does not fit i1"),
    (lambda t: t.f.load(t.f.const(8, POINTER), 0, F4), "only constant pointer is null"),
    (lambda t: t.f.body.append("store"), "'store' is not a statement"),
    (lambda t: t.f.body.append(t.f.body[0]), "stands twice"),
    (lambda t: t.f.slot(96, "i64"), "slots are numbered 0 to 95"),
    (lambda t: t.f.slot(-1, "i64"), "slots are numbered 0 to 95"),
    (lambda t: t.f.slot(2, "i32"), "slots are i64, f64 or ptr"),
    (lambda t: t.f.slot(1, "f64"), "is i64 elsewhere"),
    (lambda t: t.f.body.append(Loop(Value(t.f, INT, "counter"), t.k, t.n, t.n, ir.Block())),
     "start is i32, not i64"),
    (lambda t: t.f.body.append(Loop(Value(t.f, I1, "counter"), t.n, t.n, t.n, ir.Block())),
     "the counter is i32, not i64"),
    (lambda t: t.f.body.append(ir.Branch(t.m, ir.Block())), "the condition is i1x4, not i1"),
    (lambda t: t.f.body.append(ir.Branch(t.n, ir.Block())), "the condition is i64, not i1"),
    (lambda t: t.f.body.insert(0, t.f.body.pop()), None),
    (lambda t: t.f.body.insert(0, (t.x + t.x) and t.f.body.pop()), "before it is defined"),
])
def test_what_is_wrong_is_found(sample, build, complaint):
    build(sample)
    if complaint is None:
        return verify(sample.f)
    with pytest.raises(ValueError) as caught:
        verify(sample.f)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("kernel sample: ")


def test_the_message_names_kernel_and_instruction(sample):
    _ = sample.x & sample.x
    with pytest.raises(ValueError) as caught:
        verify(sample.f)
    assert str(caught.value) == (
        "kernel sample: %11: f32x4 = and %2 %2: takes i1, i8, i16, i32, i64, ... not f32")


@pytest.mark.parametrize("name", ["", "a b", "1a", 'a"', "é"])
def test_names(name):
    with pytest.raises(ValueError, match="the name is not one of LLVM's"):
        verify(Function(name))


@pytest.mark.parametrize("step", [0, -1])
def test_steps_that_lead_nowhere(step):
    f = Function("f")
    with f.loop(0, 10, step):
        pass
    with pytest.raises(ValueError, match="the step is not positive"):
        verify(f)


def test_values_do_not_leave_their_block():
    f = Function("f")
    with f.loop(0, 10) as i:
        inside = i + 1
        with f.when(i > 3):
            f.store(inside, f.slot(0, "ptr"), i)  # inwards is fine
    verify(f)
    f.store(inside, f.slot(0, "ptr"), 0)
    with pytest.raises(ValueError, match="uses %2 .add. outside the block that defines it"):
        verify(f)


def test_a_counter_does_not_leave_its_loop():
    f = Function("f")
    with f.loop(0, 10) as i:
        pass
    f.store(i, f.slot(0, "ptr"), 0)
    with pytest.raises(ValueError, match="uses %1 .counter. outside the block"):
        verify(f)


def test_variables_are_set_before_they_are_read():
    f = Function("f")
    with f.when(f.task > 0):
        inner = f.variable(1)
        inner.set(inner.get() + 1)
    verify(f)
    inner.set(3)
    inner.get()  # set here again: fine
    verify(f)
    with f.when(f.task > 1):
        other = f.variable(2)
    other.get()
    with pytest.raises(ValueError, match="the variable is not set here"):
        verify(f)


def test_variables_keep_their_type():
    f = Function("f")
    v = f.variable(1.5, Type("f32", 4))
    v.set(2)
    verify(f)
    v.set(f.slot(0, "i64"))
    with pytest.raises(ValueError, match="the new value is i64x4, not f32x4"):
        verify(f)


def test_values_of_another_kernel():
    f, g = Function("f"), Function("g")
    f.store(g.slot(0, "i64"), f.slot(0, "ptr"), 0)
    with pytest.raises(ValueError, match="uses a value of another kernel"):
        verify(f)
    for use in (g.task, g.const(1, INT)):
        f = Function("f")
        f.store(use, f.slot(0, "ptr"), 0)
        with pytest.raises(ValueError, match="uses a value of another kernel"):
            verify(f)
    f = Function("f")
    v = g.variable(1)
    f.emit("set", None, (f.task,), v)
    with pytest.raises(ValueError, match="sets a variable of another kernel"):
        verify(f)


def test_constants_may_be_read_either_way():
    f = Function("f")
    out = f.slot(0, "ptr")
    for number, kind in ((0xFFFFFFFF, "i32"), (-1, "u32"), (255, "i8"), (-128, "u8"), (1, "i1")):
        f.store(f.const(number, Type(kind)), out, 0)
    assert f.slot(1, "ptr").eq(0).type == Type("i1")  # the null pointer
    verify(f)
