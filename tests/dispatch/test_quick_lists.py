"""Quick calls with lists of tensors, and of operators that only rearrange."""

import sys

import numpy as np
import pytest

import iskra as torch
from iskra.dispatch.operator import OPERATORS

pytestmark = pytest.mark.usefixtures("untaught")
JOINS = {
    "cat": lambda a, b: torch.cat([a, b]),
    "cat of a tuple": lambda a, b: torch.cat((a, b, a), dim=1),
    "cat of one": lambda a, b: torch.cat([a]),
    "cat from the end": lambda a, b: torch.cat([a, b], -1),
    "cat of parts": lambda a, b: torch.cat([a[:, 1:3], b[:, ::2]], 1),
    "cat of what lies across": lambda a, b: torch.cat([a.t(), b, b.t()]),
    "cat of what is repeated": lambda a, b: torch.cat([a[:1].expand(3, 4), b]),
    "cat with nothing": lambda a, b: torch.cat([a[:0], b, torch.zeros(0).to(a.dtype)]),
    "stack": lambda a, b: torch.stack([a, b]),
    "stack in the middle": lambda a, b: torch.stack((a, b, b), 1),
    "stack at the end": lambda a, b: torch.stack([a, b], dim=-1),
    "stack of numbers": lambda a, b: torch.stack([a[0, 0], b[1, 1], a[2, 3]]),
}


def learnt(call, *args, calls=20):
    for _ in range(calls):
        result = call(*args)
    return result


def operands(dtype=torch.float32):
    return tuple((torch.arange(16).reshape(4, 4) * n % 13 - 5).to(dtype) for n in (5, 7))


@pytest.mark.parametrize("dtype", [
    "float32", "float64", "int64", "int32", "int16", "uint8", "bool", "bfloat16", "complex64",
    "complex128",
])
@pytest.mark.parametrize("name", JOINS)
def test_the_same_bits(name, dtype):
    a, b = operands(getattr(torch, dtype))
    first = JOINS[name](a, b)
    later = learnt(JOINS[name], a, b)
    assert later.dtype is first.dtype and later.stride() == first.stride()
    assert later.shape == first.shape and later._array.tobytes() == first._array.tobytes()
    others = operands(getattr(torch, dtype))[::-1]
    assert np.array_equal(JOINS[name](*others)._array, learnt(JOINS[name], *others)._array)


@pytest.mark.parametrize("name", JOINS)
def test_machine_code_knows_them(name, monkeypatch):
    a, b = operands()
    learnt(JOINS[name], a, b)

    def refuse(*args):
        raise AssertionError("left to Python")

    monkeypatch.setattr("iskra.dispatch.shortcuts._arrays", refuse)
    JOINS[name](a, b)


@pytest.mark.parametrize("name", JOINS)
def test_the_same_gradients(name):
    def run():
        a, b = (t.requires_grad_() for t in operands())
        c, (_, plain) = (a * 1, operands())
        found = []
        for pair in ((c, b), (c, plain), (plain, b), (plain, plain)):
            result = JOINS[name](*pair)
            node = result.grad_fn
            if node is None:
                found.append(None)
                continue
            edges = [e and e.name() for e, _ in node.next_functions]
            grads = torch.autograd.grad((result ** 3).sum(), (a, b), allow_unused=True,
                                        create_graph=True)
            second = [torch.autograd.grad(g.sum(), leaf, allow_unused=True, retain_graph=True)[0]
                      for g, leaf in zip(grads, (a, b)) if g is not None]
            found.append((node.name(), edges, [g is not None and g.tolist() for g in grads],
                          [g is not None and g.tolist() for g in second]))
        return found

    first = run()
    assert learnt(run) == first


def test_lists_of_many_and_of_more_than_tensors():
    for count in range(1, 16):
        def join(count=count):
            leaves = [torch.full((2,), float(n)).requires_grad_() for n in range(count)]
            joined = torch.cat(leaves)
            (joined * torch.arange(2.0 * count)).sum().backward()
            return joined.tolist(), [leaf.grad.tolist() for leaf in leaves]
        assert learnt(join) == join()
        assert join()[1] == [[2.0 * n, 2.0 * n + 1] for n in range(count)]
    for bad in ([torch.ones(2), None], [torch.ones(2), 1.0], [1.0], [], [torch.ones(2), "a"]):
        for _ in range(12):
            with pytest.raises((TypeError, ValueError, RuntimeError, AttributeError)):
                torch.cat(bad)


def test_other_lists_are_other_calls():
    a, b = operands()
    learnt(torch.cat, [a, b])
    assert torch.cat([a, b.double()]).dtype is torch.float64
    assert torch.cat([a, b, b]).shape == (12, 4)
    assert torch.cat([a, b], 1).shape == (4, 8)
    assert torch.cat([a]).shape == (4, 4)
    assert torch.cat([a, b[:2]]).shape == (6, 4)
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        torch.cat([a, b[:, :2]])

    class Sub(torch.Tensor):
        pass

    assert torch.cat([a, b.as_subclass(Sub)]).__class__ is Sub
    assert torch.cat([a.to("meta"), b.to("meta")]).is_meta


def test_a_target_that_shares_memory_is_refused():
    memory = torch.zeros(20)
    a, b, out = memory[:4], torch.ones(4), torch.empty(8)
    for _ in range(20):
        assert torch.cat([a, b], out=out) is out
        torch.cat([a, b])
    for _ in range(3):
        with pytest.raises(RuntimeError, match="refer to a single memory location"):
            torch.cat([a, b], out=memory[2:10])
    assert out.tolist() == [0] * 4 + [1] * 4 and not memory.any()


def test_grad_modes_and_overwritten_values():
    a, b = (t.requires_grad_() for t in operands())
    learnt(lambda: torch.cat([a, b]))
    with torch.no_grad():
        assert torch.cat([a, b]).grad_fn is None
    with torch.inference_mode():
        assert torch.cat([a, b]).is_inference()
    view = (a * 2)[1:3]
    joined = learnt(lambda: torch.cat([view, b]))
    joined.sum().backward()
    assert a.grad.tolist() == [[0] * 4, [2] * 4, [2] * 4, [0] * 4]
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: packed.append(t) or t, lambda t: t):
        torch.stack([a, b])


def test_nothing_is_left_behind():
    a, b = (t.requires_grad_() for t in operands())
    items = [a, b]

    def step():
        torch.cat(items)
        torch.stack((a, b), -1)
        with torch.no_grad():
            torch.cat(items)

    learnt(step)
    assert not any(a is kept for kept in OPERATORS["cat"].quick.table._kept)
    held = [a, b, items, a._array, a._edge]
    before = [sys.getrefcount(thing) for thing in held]
    learnt(step, calls=300)
    assert [sys.getrefcount(thing) for thing in held] == before


def test_several_runs_of_one_operand():
    """Steps of more than one element, backward and none at all."""
    grid = torch.arange(24).reshape(4, 6)
    for call in (
        lambda: torch.stack([grid[0].flip(0), grid[1]], 1),
        lambda: torch.cat([grid.t(), grid.t()[::2]]),
        lambda: torch.stack([grid[0, :1].expand(5), grid[1, :5]]),
    ):
        first = call().tolist()
        assert learnt(call).tolist() == first


@pytest.mark.parametrize("value", [0, 0.0, 1.0, 2, 5.0, -1.5, float("inf"), float("nan"), -0.0])
def test_numbers_that_look_like_places(value):
    """All elements are what the first places are called when it is found out where they go."""
    def run(fill):
        x = torch.full((3, 4), fill)
        return torch.nn.functional.pad(x, (1, 2, 0, 1), value=value)._array.tobytes()

    expected = {fill: run(fill) for fill in (1.0, 2.0, 7.0)}
    for fill, first in expected.items():
        assert learnt(run, fill) == first
    for fill, first in expected.items():
        assert run(fill) == first


def test_places_of_slices_and_padding_are_learnt():
    x = torch.arange(12.0).reshape(3, 4).requires_grad_()

    def run():
        y = torch.nn.functional.pad(x[1:, ::2], (1, -1, 0, 2))
        (first,) = torch.autograd.grad((y ** 3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        return y.tolist(), first.tolist(), second.tolist()

    first = run()
    assert learnt(run) == first
    assert OPERATORS["put_place"].quick.table._known
    assert OPERATORS["constant_pad_nd"].quick.table._known
