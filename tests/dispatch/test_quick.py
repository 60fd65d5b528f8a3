"""Calls that machine code makes whole: they must be as if Python had made them."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import iskra as torch
from iskra import graph, runtime
from iskra.dispatch import quick as quick_calls
from iskra.dispatch import quick_bodies
from iskra.dispatch.operator import OPERATORS

F = torch.nn.functional
pytestmark = pytest.mark.usefixtures("untaught")


def learnt(function, *args, calls=20):
    """The result of a call made often enough for machine code to have learnt it."""
    for _ in range(calls):
        result = function(*args)
    return result


def is_known(op, *args, **settings):
    """Whether an operator's table answers a call."""
    return OPERATORS[op].quick.call(*args, **settings) is not None


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


CALLS = {
    "add": lambda a, b: a + b,
    "mul by a number": lambda a, b: a * 2.5,
    "mul by an int": lambda a, b: a * 3,
    "power": lambda a, b: a ** 2,
    "to a dtype": lambda a, b: a.to(torch.float16),
    "relu": lambda a, b: torch.relu(a),
    "exp": lambda a, b: a.exp(),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "sum": lambda a, b: a.sum(),
    "sum along": lambda a, b: a.sum(1, keepdim=True),
    "mean": lambda a, b: a.mean(dim=0),
    "softmax": lambda a, b: a.softmax(-1),
    "mse_loss": lambda a, b: F.mse_loss(a, b),
    "mse_loss, a sum": lambda a, b: F.mse_loss(a, b, reduction="sum"),
    "linear": lambda a, b: F.linear(a, b, b.sum(1)),
    "matmul": lambda a, b: a @ b,
    "layer_norm": lambda a, b: F.layer_norm(a, (a.shape[-1],)),
    "layer_norm with parameters": lambda a, b: F.layer_norm(a, (6,), b[0], b[1]),
    "rms_norm": lambda a, b: F.rms_norm(a, (6,), b[0]),
    "group_norm": lambda a, b: F.group_norm(a.repeat(2, 1), 3, b[0], b[1]),
    "instance_norm": lambda a, b: F.instance_norm(a.view(2, 3, 6), None, None, b[0, :3], b[1, :3]),
    "batch_norm": lambda a, b: F.batch_norm(a, None, None, b[0], b[1], True),
    "batch_norm, fixed": lambda a, b: F.batch_norm(a, b[2], b[3] ** 2, b[0], b[1]),
    "max of two": lambda a, b: torch.maximum(a, b),
    "gelu by a setting": lambda a, b: F.gelu(a, approximate="tanh"),
    "add with a factor": lambda a, b: torch.add(a, b, alpha=3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.5),
    "sum along several": lambda a, b: a.view(2, 3, 6).sum((0, 2)),
    "cross_entropy": lambda a, b: F.cross_entropy(a, torch.arange(len(a)) % a.shape[1]),
    "products of matrices": lambda a, b: a.repeat(4, 4) @ b.repeat(4, 5),
    "linear of many": lambda a, b: F.linear(a.repeat(5, 4), b.repeat(4, 4), b.repeat(4, 1)[:, 0]),
    "batches": lambda a, b: torch.bmm(a.repeat(5, 4, 4), b.repeat(5, 4, 4)),
    "conv2d": lambda a, b: F.conv2d(a.repeat(2, 3, 2, 2), b.repeat(4, 3, 1, 1), padding=2),
    "max_pool2d": lambda a, b: F.max_pool2d(a.repeat(2, 3, 8, 8), 3, 2, 1),
    "clamp": lambda a, b: a.clamp(-0.5, 0.25),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", CALLS)
def test_same_bits_as_the_first_calls(name, dtype):
    call = CALLS[name]
    torch.manual_seed(0)
    a, b = torch.randn(6, 6).to(dtype), torch.randn(6, 6).to(dtype)
    first = call(a, b)
    later = learnt(call, a, b)
    assert later.dtype is first.dtype and later.shape == first.shape
    assert later.stride() == first.stride()
    assert np.array_equal(later.float().numpy(), first.float().numpy())


@pytest.mark.parametrize("name", CALLS)
def test_same_gradients_and_graph(name):
    call = CALLS[name]

    def run():
        torch.manual_seed(1)
        a, b = leaf(6, 6), leaf(6, 6)
        result = call(a, b)
        shown = result.grad_fn.name(), [n and n.name() for n, _ in result.grad_fn.next_functions]
        result.sum().backward()
        return shown, a.grad.numpy(), None if b.grad is None else b.grad.numpy()

    first, *gradients = run()
    later, *others = learnt(run)
    assert later == first
    for one, other in zip(gradients, others, strict=True):
        assert one is other is None or np.array_equal(one, other)


def test_bodies_that_run_kernels_are_learnt():
    x, w, b = torch.randn(32, 24), torch.randn(40, 24), torch.randn(40)
    learnt(F.linear, x, w, b)
    assert is_known("linear", x, w, b)
    image, kernel = torch.randn(4, 8, 16, 16), torch.randn(8, 8, 3, 3)
    result = learnt(lambda: F.conv2d(image, kernel, padding=1))
    settings = None, (1, 1), (1, 1), (1, 1), 1
    assert is_known("convolution", image, kernel, *settings)
    # Other elements, the same memory for tables and another for all else.
    others = [torch.randn(4, 8, 16, 16) for _ in range(5)]
    found = [F.conv2d(other, kernel, padding=1) for other in others]
    for other, one in zip(others, found, strict=True):
        assert torch.equal(one, F.conv2d(other.clone(), kernel.clone(), padding=1))
        assert not torch.equal(one, result)


def places_below(high, *shape):
    return torch.randint(0, high, shape)


def test_places_are_read_anew():
    table, rows = torch.randn(50, 64), places_below(50, 16, 8)
    learnt(F.embedding, rows, table)
    assert is_known("lookup", table, rows, -1, False)
    for _ in range(3):
        others = places_below(50, 16, 8)
        assert torch.equal(F.embedding(others, table), table[others])
    for wrong in (50, -1, 2**40):
        rows[-1, -1] = wrong
        with pytest.raises(IndexError, match=str(wrong)):
            F.embedding(rows, table)


@pytest.mark.parametrize("width", [1, 64, 512])
@pytest.mark.parametrize("padding", [-1, 3])
def test_sums_at_places(width, padding):
    op, count = OPERATORS["embedding_backward"], 8192 // width
    settings = 70, padding, False

    def call():
        return op.public(torch.randn(count, width), places_below(70, count), *settings)

    learnt(call)
    assert is_known("embedding_backward", torch.randn(count, width), places_below(70, count),
                    *settings)
    for _ in range(5):
        g, rows = torch.randn(count, width), places_below(70, count)
        expected = np.zeros((70, width), np.float32)
        np.add.at(expected, rows.numpy(), g.numpy())
        if padding >= 0:
            expected[padding] = 0
        junk = [torch.full((70, width), 5.0) for _ in range(4)]
        del junk
        assert np.array_equal(op.public(g, rows, *settings).numpy(), expected)
    rows[5] = 70
    with pytest.raises((IndexError, ValueError)):
        op.public(g, rows, *settings)


def test_sums_in_vast_memory_are_left_to_python():
    op, rows = OPERATORS["embedding_backward"], graph.VAST // 64
    settings = rows, -1, False
    for _ in range(20):
        g, index = torch.randn(80, 64), places_below(rows, 80)
        found = op.public(g, index, *settings)
        assert int((found != 0).any(1).sum()) == len(set(index.tolist()))
    assert not is_known("embedding_backward", g, index, *settings)


def test_gradients_of_pooling_are_learnt():
    op, shape = OPERATORS["put_back"], (4, 16, 16, 16)
    for _ in range(20):
        x, g = torch.randn(*shape, requires_grad=True), torch.randn(4, 16, 8, 8)
        F.max_pool2d(x, 2).backward(g)
        best = x.detach().unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
        chosen = torch.zeros_like(best).scatter(-1, best.argmax(-1, keepdim=True), g.unsqueeze(-1))
        assert torch.equal(x.grad.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2), chosen)
    assert op.quick.table.call(g, places_below(256, *g.shape), shape) is not None


def test_integers_alone_tell_nothing():
    bound = torch.arange(40).view(1, 1, 5, 8), (2, 2), (2, 2), (0, 0), (1, 1), False, True
    assert quick_bodies.random_like(bound) is None
    assert quick_bodies.watched(OPERATORS["max_windows"], bound) is None


def test_one_operand_twice():
    w = torch.randn(40, 40)
    learnt(torch.mm, w, w)
    other = torch.randn(40, 40)
    assert np.allclose((w @ other).numpy(), w.numpy() @ other.numpy(), atol=1e-4)


@pytest.mark.parametrize("name, settings", [
    ("native_layer_norm", ((6,),)), ("native_group_norm", (3,)), ("batch_norm_training", ()),
    ("rms_scaled", None),
])
def test_hidden_results_are_saved_by_machine_code(name, settings):
    op, x, weight, bias = OPERATORS[name], leaf(4, 6), leaf(6), leaf(6)
    args = (x, weight, (1,), 1e-5) if settings is None else (x, *settings, weight, bias)
    by_python = op.public(*args)
    expected = torch.autograd.grad(by_python[0].sin().sum(), (x, weight))
    found = learnt(op.public, *args)
    assert is_known(name, *args) and op.quick.call(*args).__class__ is tuple
    assert [t.requires_grad for t in found] == [True] + [False] * len(op.hidden)
    node, first = found[0].grad_fn, by_python[0].grad_fn
    assert (type(node), node.plan) == (type(first), first.plan)
    for hidden, value in zip(op.hidden, found[1:], strict=True):
        if hidden in node.plan.names:
            saved = getattr(node, f"_saved_{hidden}")
            assert saved._array is value._array and saved.dtype is torch.float64
    gradients = torch.autograd.grad(found[0].sin().sum(), (x, weight))
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


def test_gradients_of_gradients_of_quick_calls():
    x, w = leaf(4, 6), leaf(6)

    def second():
        first, = torch.autograd.grad(F.layer_norm(x, (6,), w).sin().sum(), x, create_graph=True)
        return torch.autograd.grad((first * first).sum(), w)[0]

    assert torch.equal(second(), learnt(second))


def test_bodies_that_do_more_are_left_to_python():
    op = OPERATORS["mm"]
    bound = torch.randn(30, 30), torch.randn(30, 30)
    answer = quick_bodies.watched(op, bound)
    assert answer is not None and len(answer[2]) >= 1
    apart = SimpleNamespace(compute=lambda arrays: np.negative(op.compute(arrays)))
    assert quick_bodies.watched(apart, bound) is None  # no kernel makes the result

    def negated(arrays):
        result = op.compute(arrays)
        return np.negative(result, out=result)

    worse = SimpleNamespace(compute=negated)
    answer = quick_bodies.watched(worse, bound)
    table = runtime.quick.Table(frozenset(), ())
    assert table.learn(bound, {}, *answer)
    assert not quick_bodies.agrees(worse, table, bound, bound)
    table.forget(bound)
    assert table.call(*bound) is None


def test_settings_are_told_by_their_values():
    a = torch.randn(300, 4)
    for _ in range(20):
        F.layer_norm(a, (int("4"),), eps=float("1e-3"))
        a.view(3, 100, 4).sum((int("0"), int("2")))
    assert is_known("sum", a.view(3, 100, 4), (0, 2))
    assert not is_known("sum", a.view(3, 100, 4), (0, 1))
    assert not is_known("sum", a.view(3, 100, 4), [0, 2])
    assert is_known("sum", a.view(3, 100, 4), torch.Size((0, 2)))


def test_targets_that_are_no_classes_raise():
    logits = torch.randn(6, 5)
    target = torch.arange(6) % 5
    assert learnt(F.cross_entropy, logits, target).ndim == 0
    target[2] = 7
    with pytest.raises(IndexError, match="7"):
        F.cross_entropy(logits, target)


def test_small_calls_are_learnt():
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    learnt(torch.add, a, b)
    assert is_known("add", a, b)
    assert not is_known("add", a, b[:, ::2])
    assert not is_known("add", torch.randn(3, 5), torch.randn(3, 5))
    assert not is_known("add", a.double(), b.double())
    assert not is_known("add", a, "b")
    assert not is_known("add", a)


def test_settings_count_by_keyword_and_by_position():
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    total = learnt(lambda: F.mse_loss(a, b, reduction="sum"))
    mean = learnt(lambda: F.mse_loss(a, b))
    assert total.item() == pytest.approx(mean.item() * 12)
    assert learnt(a.sum, 0).shape == (3,)
    assert learnt(a.sum, 1).shape == (4,)
    assert learnt(lambda: a.sum(dim=1)).shape == (4,)
    assert learnt(lambda: a.sum(dim=0, keepdim=True)).shape == (1, 3)


def test_numbers_are_values():
    a = torch.arange(4.0)
    learnt(lambda: a * 2.0)
    assert is_known("mul", a, 2.0)
    assert (a * 7.25).tolist() == [0, 7.25, 14.5, 21.75]
    assert (a * -1).tolist() == [0, -1, -2, -3]
    assert (a * float("inf"))[1:].isinf().all()
    assert (a * True).tolist() == a.tolist()
    for huge in (2**70, 2**62 + 1, 1e300):
        with np.errstate(all="ignore"):
            expected = a.numpy() * np.float32(huge)
        assert np.array_equal((a * huge).numpy(), expected, equal_nan=True)


def test_nothing_is_quick_under_interception():
    a = torch.randn(3, 3)
    learnt(lambda: a + a)
    assert is_known("add", a, a)
    with torch.inference_mode():
        assert not is_known("add", a, a)
        assert (a + a).is_inference()
    assert "1 kernel" in str(torch.explain(lambda: a.sum()))
    graph.observers.append(None)
    try:
        assert not is_known("add", a, a)
    finally:
        graph.observers.remove(None)
    assert is_known("add", a, a)


def test_subclasses_are_not_plain():
    class Mine(torch.Tensor):
        pass

    a = torch.randn(3, 3)
    learnt(lambda: a + a)
    assert type(a.as_subclass(Mine) + a) is Mine


def test_grad_modes():
    p = leaf(3, 3)
    assert learnt(lambda: p * p).requires_grad
    with torch.no_grad():
        assert not (p * p).requires_grad
        with torch.enable_grad():
            assert (p * p).requires_grad
    seen = []

    def elsewhere():
        seen.append((p * p).requires_grad)

    with torch.no_grad():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert seen == [True]


def test_views_join_their_base_s_graph():
    base = torch.randn(4, 3)
    view = base[1:]
    assert not learnt(lambda: view * view).requires_grad
    base.mul_(leaf(1))
    result = view * view
    assert result.requires_grad
    assert result.grad_fn.next_functions[0][0] is not None


def test_overwritten_values_are_noticed():
    p = leaf(3, 3)
    for _ in range(20):
        hidden = p * 1.0
        (hidden * hidden).sum().backward()
    result = (hidden * hidden).sum()
    hidden.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()
    for _ in range(20):
        p.exp().sum().backward()
    result = p.exp()
    result.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_versions_of_parameters_that_are_written_to():
    layer = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    x = torch.randn(3, 4)
    for _ in range(20):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
    loss = layer(x.clone().requires_grad_()).square().mean()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_freed_graphs_are_refused():
    p = leaf(3)
    learnt(lambda: p.exp().sum().backward())
    result = p.exp().sum()
    result.backward()
    with pytest.raises(RuntimeError, match="second time"):
        result.backward()


def test_second_gradients():
    p = leaf(3)
    learnt(lambda: F.mse_loss(p, p.detach() + 1).backward())
    for _ in range(3):
        loss = F.mse_loss(p, p.detach() + 1)
        (first,) = torch.autograd.grad(loss, p, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), p)
        assert np.allclose(second.numpy(), 2 / 3)


def test_hooks_for_saved_tensors_and_anomaly_mode():
    p = leaf(3)
    learnt(lambda: p * p)
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        (p * p).sum().backward()
    assert packed
    with torch.autograd.set_detect_anomaly(True):
        result = (p * p).grad_fn
    assert any("test_quick" in line for line in result._extras.forward_trace)


def test_nothing_leaks():
    p, a = leaf(6, 6), torch.randn(6, 6)

    def step():
        hidden = (F.linear(a, p) * a).relu().softmax(1)
        F.mse_loss(hidden, a).backward()
        return weakref.ref(hidden), weakref.ref(hidden.grad_fn)

    learnt(step)
    gc.collect()
    gc.disable()
    try:
        assert [r() for r in step()] == [None, None]
        things = p, a, a._array, torch.float32
        before = [sys.getrefcount(thing) for thing in things]
        for _ in range(100):
            step()
        after = [sys.getrefcount(thing) for thing in things]
        assert after == before
    finally:
        gc.enable()


def test_reference_counts_of_results():
    a = torch.randn(3, 3)
    learnt(lambda: a * a)
    result = a * a
    assert is_known("mul", a, a)
    counts = sys.getrefcount(result), sys.getrefcount(result._array)
    assert counts == (2, 2)


def test_errors_are_those_of_the_whole_path():
    a, b = torch.randn(3, 4), torch.randn(4, 3)
    learnt(lambda: a @ b)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        a @ a
    with pytest.raises(TypeError):
        a @ 3
    with pytest.raises(RuntimeError, match="size of tensor"):
        learnt(torch.add, a, torch.randn(3, 4)) + b


def test_ever_new_sizes_are_not_learnt():
    quick = OPERATORS["neg"].quick
    for size in range(1, 60):
        torch.neg(torch.ones(size))
    assert not is_known("neg", torch.ones(59))
    for _ in range(quick_calls._PATIENCE):
        torch.neg(torch.ones(59))
    assert is_known("neg", torch.ones(59))
    assert quick.learning


def test_a_full_table_begins_anew():
    table = runtime.quick.Table(frozenset(), ())
    dtype = np.dtype(np.float32)
    results = [((1,), dtype, torch.float32)]
    for size in range(1, 2000):
        table.learn((torch.empty(size),), {}, results, None, [])
    assert sum(entry != 0 for entry in table._entries) > 0
    while not table.full:
        size += 1
        table.learn((torch.empty(size),), {}, results, None, [])
    assert not table.learn((torch.empty(size + 1),), {}, results, None, [])


def test_several_threads_at_once():
    a = torch.randn(64, 64)
    expected = (a * a).numpy()
    wrong = []

    def work():
        for _ in range(300):
            if not np.array_equal((a * a).numpy(), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_numbers_that_programs_are_made_for():
    a = torch.rand(70, 80) + 0.5
    for n in [2, 3, 2.0, 0.5, 2, 1.5, -1] * 6:
        number = float(str(n)) if isinstance(n, float) else n  # now and then an object of its own
        for exponent in (n, number):
            expected = a.double().pow(exponent).float()
            assert torch.allclose(a ** exponent, expected, rtol=1e-6)
    whole = torch.arange(6000)
    for _ in range(20):
        assert (whole ** 2).dtype is torch.int64 and (whole ** 2.0).dtype is torch.float32


def test_conversions_are_known(monkeypatch):
    quick = OPERATORS["to_copy"].quick
    monkeypatch.setattr(quick, "learning", True)  # whatever could not be learnt before
    monkeypatch.setattr(quick, "failures", 0)
    a = torch.rand(70, 80)
    learnt(lambda: (a.half(), a.to(torch.int64), a.bool()))
    for dtype in (torch.float16, torch.int64, torch.bool):
        assert is_known("to_copy", a, dtype)
    assert not is_known("to_copy", a, torch.int8)


def test_python_can_do_all_the_work():
    program = "import iskra as t; a = t.ones(3); [a + a for _ in range(50)]; " \
              "print(t.add.operator.quick.table)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                            env={**os.environ, "ISKRA_QUICK": "0"})
    assert result.stdout == "None\n", result.stderr


def test_numbers_too_large_for_the_dtype_give_infinity_without_a_warning():
    for size in (4, 5000):
        a = torch.ones(size)
        for _ in range(12):
            assert (a * 1e300).isinf().all() and (a + 1e39).isinf().all()
            assert (a < 1e300).all() and (a.bfloat16() * 1e300).isinf().all()


def test_memory_that_numpy_filled_for_the_kernels_is_noticed():
    a, b = torch.ones(30, 0), torch.ones(0, 40)
    for _ in range(20):
        kept = [torch.full((30, 40), float("nan")) for _ in range(3)]
        del kept
        assert (a @ b).eq(0).all()
    op = OPERATORS["mm"]
    zeros = SimpleNamespace(compute=lambda arrays: op.compute(
        [np.zeros(arrays[0].shape, np.float32), arrays[1]]))
    bound = torch.randn(30, 30), torch.randn(30, 30)
    answer = quick_bodies.watched(zeros, bound)
    table = runtime.quick.Table(frozenset(), ())
    assert table.learn(bound, {}, *answer)
    assert not quick_bodies.agrees(zeros, table, bound, bound)


@pytest.mark.parametrize("call", [
    lambda i: i.clamp(0.5, 3.5), lambda i: i / 2, lambda i: i.exp(), lambda i: i * 2.5,
    lambda i: torch.add(i, 2.5), lambda i: torch.div(i, 2, rounding_mode=None),
])
def test_the_default_dtype_may_change(call):
    integers = torch.arange(5)

    assert learnt(call, integers).dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert learnt(call, integers).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert learnt(call, integers).dtype is torch.float32
