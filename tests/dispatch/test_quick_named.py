"""Quick calls of operators whose several results have names."""

import gc
import math
import sys
import weakref

import numpy as np
import pytest

import iskra as torch
from iskra.dispatch.operator import OPERATORS

pytestmark = pytest.mark.usefixtures("untaught")
LEARNT = {
    "max_along": lambda x: x.max(1),
    "min_along": lambda x: x.min(dim=0, keepdim=True),
    "aminmax": lambda x: torch.aminmax(x, dim=1),
}
OTHERS = {
    "sort": lambda x: x.sort(1, descending=True),
    "topk": lambda x: x.topk(3, 0),
    "kthvalue": lambda x: x.kthvalue(2, 1),
    "median": lambda x: x.median(1),
    "cummax": lambda x: x.cummax(1),
    "mode": lambda x: x.mode(1),
    "frexp": lambda x: torch.frexp(x),
}
GRADED = {**LEARNT, **OTHERS}


def learnt(call, *args, calls=20):
    for _ in range(calls):
        result = call(*args)
    return result


def values(dtype=torch.float32):
    rows = torch.arange(30).reshape(5, 6) * 7 % 11 - 4
    return rows.to(dtype) / 2 if dtype.is_floating_point else rows.to(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "float16"])
@pytest.mark.parametrize("name", GRADED)
def test_the_same_results_and_class(name, dtype):
    x, call = values(getattr(torch, dtype)), GRADED[name]
    try:
        first = call(x)
    except (RuntimeError, NotImplementedError) as error:
        with pytest.raises(type(error)):
            learnt(call, x)
        return
    later = learnt(call, x)
    assert later.__class__ is first.__class__ and later._fields == first._fields
    for one, other in zip(first, later, strict=True):
        assert one.dtype is other.dtype and one.stride() == other.stride()
        assert one._array.tobytes() == other._array.tobytes()
    assert getattr(later, later._fields[1]) is later[1]
    assert repr(first) == repr(later)


@pytest.mark.parametrize("name", LEARNT)
def test_machine_code_knows_them(name, monkeypatch):
    x = values()
    learnt(LEARNT[name], x)
    op = OPERATORS[name]

    def refuse(*args, **kwargs):
        raise AssertionError("left to Python")

    monkeypatch.setattr("iskra.dispatch.shortcuts.wrapped", refuse)
    monkeypatch.setattr("iskra.dispatch.shortcuts.call", refuse)
    assert isinstance(LEARNT[name](x), tuple)
    assert op.quick.table is not None


@pytest.mark.parametrize("name", [n for n in GRADED if n != "frexp"])
def test_the_same_gradients(name):
    def run():
        x = values().requires_grad_()
        found = GRADED[name](x * 1)
        floats = [t for t in found if t.is_floating_point()]
        assert all(t.requires_grad for t in floats)
        assert [t.output_nr for t in floats] == list(range(len(floats)))
        assert not any(t.requires_grad or t.grad_fn for t in found if not t.is_floating_point())
        (first,) = torch.autograd.grad((floats[-1] ** 3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        node = floats[0].grad_fn
        return node.name(), node.output_shape, first.tolist(), second.tolist()

    first = run()
    assert learnt(run) == first


@pytest.mark.parametrize("numbers", [
    [math.nan, 1.0, math.nan], [0.0, -0.0, -1.0], [-0.0, 0.0, 0.0], [math.inf, -math.inf, math.inf],
    [-math.nan, 2.0, 2.0],
])
def test_ties_and_nan(numbers):
    x = torch.tensor([numbers, numbers[::-1]])
    for call in (lambda t: t.max(1), lambda t: t.min(1), lambda t: t.max(0)):
        first = call(x)
        later = learnt(call, x)
        for one, other in zip(first, later, strict=True):
            assert np.array_equal(one._array.view(np.uint8), other._array.view(np.uint8))


def test_an_index_that_was_overwritten_is_noticed():
    def run(write):
        x = values().requires_grad_()
        found = x.max(1)
        write(found)
        found.values.sum().backward()
        return x.grad

    for _ in range(20):
        run(lambda found: None)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            run(lambda found: found.indices.zero_())
    run(lambda found: found.values.detach().zero_())    # which nobody saved


def test_saved_values_have_names():
    x = values().requires_grad_()
    for _ in range(20):
        found = x.max(1)
        assert torch.equal(found.values.grad_fn._saved_indices, found.indices)


def test_nothing_is_left_behind():
    x = values().requires_grad_()

    def step():
        x.max(1).values.sum().backward()
        x.grad = None
        torch.aminmax(x, dim=0)

    learnt(step)
    kind = type(x.max(1))
    held = [x, x._array, kind, OPERATORS["max_along"].tape_plans[1]]
    before = [sys.getrefcount(thing) for thing in held]
    learnt(step, calls=200)
    gc.disable()
    try:
        node = weakref.ref(x.max(1).values.grad_fn)
        assert node() is None
    finally:
        gc.enable()
    assert [sys.getrefcount(thing) for thing in held] == before


def test_a_target_for_named_results():
    x = values()
    out = torch.empty(5), torch.empty(5, dtype=torch.int64)
    expected = x.max(1)
    for _ in range(20):
        found = torch.max(x, 1, out=out)
        assert found[0] is out[0] and torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
