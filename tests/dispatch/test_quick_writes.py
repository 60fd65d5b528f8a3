"""Results that machine code writes into tensors: in place, and with ``out=``."""

import sys

import numpy as np
import pytest

import iskra as torch
from iskra.dispatch.operator import OPERATORS

pytestmark = pytest.mark.usefixtures("untaught")

IN_PLACE = {
    "add": lambda a, b: a.add_(b),
    "add with a factor": lambda a, b: a.add_(b, alpha=0.5),
    "add a row": lambda a, b: a.add_(b[0]),
    "add the same": lambda a, b: a.add_(a),
    "mul by a number": lambda a, b: a.mul_(1.5),
    "relu": lambda a, b: a.relu_(),
    "clamp": lambda a, b: a.clamp_(-0.5, 0.25),
    "addcmul": lambda a, b: a.addcmul_(a, b, value=0.5),
    "copy": lambda a, b: a.copy_(b),
    "add what lies across": lambda a, b: a.add_(a.t()),
    "masked_fill": lambda a, b: a.masked_fill_(b > 0, 2.0),
    "zero": lambda a, b: a.zero_(),
    "fill": lambda a, b: a.fill_(2.5),
    "fill with a tensor": lambda a, b: a.fill_(b[0, 0]),
    "tril": lambda a, b: a.tril_(),
    "cumsum": lambda a, b: a.cumsum_(1),
    "sub integers": lambda a, b: a.sub_(torch.arange(6)),
}
INTO = {
    "add": lambda a, b, out: torch.add(a, b, out=out),
    "add with a factor": lambda a, b, out: torch.add(a, b, alpha=0.5, out=out),
    "mul by a number": lambda a, b, out: torch.mul(a, 2.5, out=out),
    "exp": lambda a, b, out: torch.exp(a, out=out),
    "clamp": lambda a, b, out: torch.clamp(a, -0.5, 0.25, out=out),
    "matmul": lambda a, b, out: torch.matmul(a, b, out=out),
    "softmax": lambda a, b, out: torch.softmax(a, 1, out=out),
    "cumsum": lambda a, b, out: torch.cumsum(a, 1, out=out),
}


def tensors():
    torch.manual_seed(0)
    return torch.randn(6, 6), torch.randn(6, 6)


def times(call, *args, calls=20):
    for _ in range(calls):
        result = call(*args)
    return result


@pytest.mark.parametrize("layout", ["whole", "rows of more", "columns", "transposed"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_calls_write_the_same_when_they_are_learnt(name, layout):
    def run():
        a, b = tensors()
        target = {
            "whole": lambda: a, "rows of more": lambda: torch.cat([a, a])[3:9],
            "columns": lambda: torch.cat([a, a], 1)[:, 3:9], "transposed": a.t,
        }[layout]()
        version = target._version
        assert IN_PLACE[name](target, b) is target
        assert target._version == version + 1
        return target.numpy().copy()

    first = run()
    assert np.array_equal(times(run), first)


@pytest.mark.parametrize("name", INTO)
def test_calls_with_out_write_the_same_when_they_are_learnt(name):
    a, b = tensors()
    expected = INTO[name](a, b, None)
    out = torch.full((6, 6), torch.nan)
    version = out._version
    for n in range(1, 20):
        out.detach().fill_(torch.nan)
        assert INTO[name](a, b, out) is out and torch.equal(out, expected)
        assert out._version == version + 2 * n


@pytest.mark.parametrize("name", INTO)
def test_kernels_write_into_large_targets(name):
    torch.manual_seed(0)
    a, b, out = torch.randn(96, 96), torch.randn(96, 96), torch.full((96, 96), 7.0)
    expected = INTO[name](a, b, None)
    place = out.data_ptr()
    assert times(lambda: INTO[name](a, b, out)) is out
    assert torch.equal(out, expected)
    assert out.data_ptr() == place


def test_large_targets_that_kernels_must_not_write_to():
    a, b = torch.randn(64, 96), torch.randn(64, 96)
    times(lambda: torch.add(a, b, out=torch.empty(64, 96)))
    direct = OPERATORS["add"].quick.write_apart
    memory = torch.zeros(64 * 96 + 20)
    middle, aside = (memory[n : n + a.numel()].view(64, 96) for n in (16, 3))
    assert direct(middle, a, b) is middle
    assert torch.equal(middle, a + b)
    assert direct(aside, a, b) is aside     # where no vectors begin
    assert torch.equal(aside, a + b)
    for target in (
        torch.zeros(96, 64).t(),
        torch.zeros(64, 96, dtype=torch.float64),
        torch.zeros(96, 64),
        torch.zeros(64, 97)[:, :96],
        a, b, a[:],
    ):
        assert direct(target, a, b) is None
    memory.zero_()
    expected, kept = a + b, b.clone()
    for target in (aside, torch.zeros(96, 64).t(), b):
        assert torch.equal(torch.add(a, kept, out=target), expected)
    assert memory.count_nonzero() <= a.numel()
    assert memory[2] == memory[3 + a.numel()] == 0


def test_a_large_target_is_left_where_the_call_raises():
    x, out = torch.randn(50, 200), torch.full((50, 200), 7.0)
    index = torch.zeros(50, 200, dtype=torch.int64)
    times(lambda: torch.gather(x, 0, index, out=torch.empty(50, 200)))
    index[49, 199] = 50
    with pytest.raises((IndexError, RuntimeError)):
        torch.gather(x, 0, index, out=out)
    assert (out == 7.0).all()


@pytest.mark.parametrize("make", [
    lambda: torch.empty(0), lambda: torch.empty(2, 0, 3), lambda: torch.tensor(2.0),
    lambda: torch.ones(1, 1, 1, 1), lambda: torch.ones(3)[::2], lambda: torch.ones(5000),
    lambda: torch.ones(1).expand(1, 1),
])
def test_any_shape(make):
    def run():
        x = make()
        with torch.no_grad():
            x.add_(x).mul_(3.0)
        return x
    assert torch.equal(times(run), make() * 6)
    out = torch.empty_like(make())
    assert torch.equal(times(lambda: torch.add(make(), make(), out=out)), make() * 2)


def test_versions_and_errors_of_backward_stay():
    def run(write):
        x = torch.ones(3, requires_grad=True)
        y = x * 2
        z = y * y
        with torch.no_grad():
            write(y)
        z.sum().backward()

    times(lambda: torch.ones(3).add_(torch.ones(3)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        run(lambda y: y.add_(torch.ones(3)))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        run(lambda y: torch.add(torch.ones(3), torch.ones(3), out=y))
    run(lambda y: None)


def test_history_is_respected():
    one = torch.ones(3)
    times(lambda: torch.ones(3).add_(one))
    leaf = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.add_(one)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        leaf[:].add_(one)
    with pytest.raises(RuntimeError, match="add_.*leaf"):
        torch.nn.Parameter(torch.ones(3)).add_(one)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.add(leaf, one, out=torch.ones(3))
    with torch.no_grad():
        assert leaf.add_(one) is leaf and leaf.tolist() == [2, 2, 2] and leaf.is_leaf
        assert torch.add(leaf, one, out=one) is one
    assert one.tolist() == [3, 3, 3]
    # A write of what is recorded makes the target and the base of a view part of the graph.
    plain = torch.ones(2, 3)
    assert plain.add_(leaf).grad_fn.name() == "AddBackward0"
    base = torch.ones(2, 3)
    base[0].add_(leaf)
    assert base.grad_fn.name() == "CopySlices"
    base.sum().backward()
    assert leaf.grad.tolist() == [1, 1, 1]


def test_views_of_what_joined_a_graph_are_recorded():
    one = torch.ones(3)
    base = torch.ones(2, 3)
    view = base[0]
    times(lambda: view.add_(one))
    base.mul_(torch.tensor(2.0, requires_grad=True))
    view.add_(one)
    assert base.grad_fn.name() == "CopySlices"


def test_inference_tensors_stay_as_they_are():
    one = torch.ones(3)
    times(lambda: torch.ones(3).add_(one))
    with torch.inference_mode():
        target = torch.zeros(3)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        target.add_(one)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        torch.add(one, one, out=target)
    assert target.tolist() == [0, 0, 0]


@pytest.mark.parametrize("target", [
    torch.zeros(1, 3).expand(2, 3), torch.zeros(3), torch.zeros(2, 3, dtype=torch.int64),
    torch.zeros(2, 1),
])
def test_what_does_not_fit_is_refused_and_left(target):
    other = torch.ones(2, 3)
    times(lambda: torch.ones(2, 3).add_(other))
    before = target.clone()
    for _ in range(12):
        with pytest.raises(RuntimeError, match="add_: "):
            target.add_(other)
    assert torch.equal(target, before)


def test_memory_that_overlaps_is_refused():
    memory = torch.arange(12.0)
    x, y, apart = memory[:8], memory[4:], torch.arange(8.0)
    out = torch.empty(8)
    times(lambda: torch.add(x, y, out=out))
    assert out.tolist() == (x + y).tolist()
    for _ in range(3):
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            torch.add(x, y, out=memory[2:10])
    assert memory.tolist() == list(range(12))
    # The same memory whole is fine, but for operators that read while others write.
    assert torch.add(apart, x, out=apart) is apart
    square, index = torch.eye(3), torch.zeros(3, 3, dtype=torch.int64)
    out = torch.empty(3, 3)
    assert times(lambda: torch.gather(square, 0, index, out=out)).tolist() == [[1, 0, 0]] * 3
    for _ in range(3):
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            torch.gather(square, 0, index, out=square)
    assert torch.equal(square, torch.eye(3))


def test_out_of_another_dtype_or_shape_goes_the_whole_way():
    x = torch.ones(4)
    times(lambda: torch.add(x, x, out=torch.empty(4)))
    assert torch.add(x, x, out=torch.empty(4, dtype=torch.float64)).tolist() == [2.0] * 4
    assert torch.add(x, x, out=torch.empty(0)).tolist() == [2.0] * 4
    with pytest.warns(UserWarning, match="was resized"):
        torch.add(x, x, out=torch.empty(3))
    with pytest.raises(RuntimeError, match="can't be cast"):
        torch.add(x, x, out=torch.empty(4, dtype=torch.int64))
    with pytest.raises(TypeError, match="argument 'out' must be Tensor"):
        torch.add(x, x, out=[1.0])
    assert torch.add(x, x, out=None).tolist() == [2.0] * 4
    ints = torch.arange(4)
    narrow = torch.empty(4, dtype=torch.int32)
    assert times(lambda: torch.cumsum(ints, 0, out=narrow)).tolist() == [0, 1, 3, 6]


def test_a_call_with_out_does_not_keep_others_from_being_learnt():
    a, b = torch.ones(7, 3), torch.ones(7, 3)
    times(lambda: torch.hypot(a, b, out=torch.empty(0)))
    times(lambda: torch.hypot(a, b))
    assert OPERATORS["hypot"].quick.call(a, b) is not None


def test_overlapping_writes_in_place_see_the_old_values():
    def run():
        x = torch.arange(8.0)
        x[:-1].add_(x[1:])
        return x
    expected = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 7.0]
    assert times(run).tolist() == expected


def test_read_only_memory():
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        x = torch.from_numpy(array)
    times(lambda: torch.ones(3).add_(torch.ones(3)))
    before = array.copy()
    with pytest.raises((RuntimeError, ValueError)):
        x.add_(torch.ones(3))
    assert np.array_equal(array, before)


def test_an_inplace_setting_says_which_form_it_is():
    functional = torch.nn.functional
    x = torch.tensor([-1.0, 2.0])
    for _ in range(20):
        copy = x.clone()
        assert functional.relu(copy, inplace=True) is copy and copy.tolist() == [0, 2]
        assert copy._version == 1
        assert functional.leaky_relu(copy, 0.5, inplace=False) is not copy
        assert functional.silu(copy, inplace=True) is copy  # which has no form of its own
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="relu_: a leaf Variable"):
        functional.relu(leaf, inplace=True)
    y = leaf * 2
    assert functional.relu(y, inplace=True) is y and y.grad_fn.name() == "ReluBackward0"
    with pytest.raises(TypeError, match="inplace"):
        torch.add(x, x, inplace=True)


def test_nothing_is_left_behind():
    a, b, out = torch.zeros(4, 4), torch.ones(4, 4), torch.zeros(4, 4)
    row = torch.zeros(3, 4)[1]

    def step():
        a.add_(b)
        row.add_(b[0])
        torch.add(a, b, out=out)
        torch.add(out, b, out=out)
        (a + b).relu_()

    times(step)
    held = [a, b, out, row, a._array, out._array, a._storage]
    before = [sys.getrefcount(thing) for thing in held]
    times(step, calls=300)
    assert [sys.getrefcount(thing) for thing in held] == before


OVER = {
    "add": lambda a, b: a.add_(b),
    "add with a factor": lambda a, b: a.add_(b, alpha=0.5),
    "add a row": lambda a, b: a.add_(b[0]),
    "add itself": lambda a, b: a.add_(a),
    "add the same memory": lambda a, b: a.add_(a.view(a.shape)),
    "add itself turned round": lambda a, b: a.add_(a.flip(0)),
    "add what lies across": lambda a, b: a.add_(a.t()),
    "clamp": lambda a, b: a.clamp_(-0.5, 0.25),
    "addcmul": lambda a, b: a.addcmul_(a, b, value=0.5),
    "lerp": lambda a, b: a.lerp_(b, 0.25),
    "mul by a number": lambda a, b: a.mul_(1.5),
    "exp": lambda a, b: a.exp_(),
    "copy": lambda a, b: a.copy_(b),
    "fill": lambda a, b: a.fill_(2.5),
    "masked_fill": lambda a, b: a.masked_fill_(b > 0, 2.0),
    "cumsum": lambda a, b: a.cumsum_(1),
    "tril": lambda a, b: a.tril_(),
}


@pytest.mark.parametrize("layout", ["whole", "aside", "rows of more", "columns", "transposed"])
@pytest.mark.parametrize("name", OVER)
def test_large_operands_are_overwritten_by_kernels(name, layout):
    torch.manual_seed(0)
    values, b = torch.randn(80, 80), torch.randn(80, 80)

    def run():
        memory = torch.zeros(200, 160)
        target = {
            "whole": lambda: memory.view(-1)[:6400].view(80, 80),
            "aside": lambda: memory.view(-1)[3:6403].view(80, 80),
            "rows of more": lambda: memory.view(400, 80)[7:87],
            "columns": lambda: memory[:80, 3:83], "transposed": lambda: memory[:80, :80].t(),
        }[layout]().copy_(values)
        version = target._version
        with torch.no_grad():
            assert OVER[name](target, b) is target
        assert target._version > version
        return target._array.tobytes(), memory.count_nonzero().item()

    first = run()
    assert times(run) == first


@pytest.mark.parametrize("name", ["add with a factor", "clamp", "addcmul", "exp", "copy"])
def test_large_writes_are_recorded(name):
    torch.manual_seed(0)
    values, b = torch.randn(80, 80), torch.randn(80, 80)

    def run():
        x = values.clone().requires_grad_()
        y = x * 2
        written = OVER[name](y, b)
        assert written is y and y._version == 1
        (y * y).sum().backward()
        return y.grad_fn.name(), y.detach()._array.tobytes(), x.grad._array.tobytes()

    first = run()
    assert times(run) == first


def test_an_error_leaves_a_large_target():
    a, b = torch.ones(80, 80), torch.ones(80, 80)
    times(lambda: a.add_(b, alpha=0.5))
    before = a.clone()
    leaf = torch.ones(80, 80, requires_grad=True)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="a leaf Variable"):
            leaf.add_(b, alpha=0.5)
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            a[0].add_(b, alpha=0.5)
    assert torch.equal(a, before) and leaf.eq(1).all()
