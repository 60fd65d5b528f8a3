"""Views that machine code makes."""

import gc
import sys
import warnings
import weakref

import numpy as np
import pytest

import iskra as torch
from iskra.dispatch.operator import OPERATORS

pytestmark = pytest.mark.usefixtures("untaught")
VIEWS = {
    "view": lambda t: t.view(-1),
    "view by a shape": lambda t: t.view(t.shape),
    "view by a tuple": lambda t: t.view((2, -1)),
    "view of a dtype": lambda t: t.view(torch.int16),
    "t": lambda t: t.t(),
    "transpose": lambda t: t.transpose(0, 1),
    "permute": lambda t: t.permute(1, 0),
    "movedim": lambda t: t.movedim(0, 1),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "squeeze": lambda t: t.unsqueeze(-1).squeeze(-1),
    "expand": lambda t: t.expand(3, -1, -1),
    "detach": lambda t: t.detach(),
    "T": lambda t: t.T,
    "chunk": lambda t: t.chunk(2, 1),
    "split": lambda t: t.split(2),
    "split by sizes": lambda t: t.split([1, 5], 1),
    "unbind": lambda t: t.unbind(),
    "an int": lambda t: t[1],
    "a slice": lambda t: t[:, 1:3],
    "slices": lambda t: t[::2, -3:],
    "one element": lambda t: t[0, 1],
    "a new dimension": lambda t: t[..., None],
    "select": lambda t: t.select(0, 1),
    "narrow": lambda t: t.narrow(1, 2, 3),
    "diagonal": lambda t: t.diagonal(),
    "unfold": lambda t: t.unfold(1, 2, 2),
    "nothing": lambda t: t[2:2],
    "a wrong size": lambda t: t.view(5, 5),
    "a wrong index": lambda t: t[0, 17],
}


def learnt(call, *args, calls=20):
    for _ in range(calls):
        result = call(*args)
    return result


def source(name):
    numbers = torch.arange(24.0).reshape(4, 6)
    leaf = numbers.clone().requires_grad_()
    return {
        "plain": lambda: numbers,
        "integers": lambda: torch.arange(24).reshape(4, 6),
        "leaf": lambda: leaf,
        "parameter": lambda: torch.nn.Parameter(numbers),
        "result": lambda: leaf * 2,
        "view": lambda: numbers.view(-1)[:24].view(4, 6),
        "view of a result": lambda: (leaf * 2).view(8, 3).view(4, 6),
        "view of several": lambda: torch.stack([leaf, leaf]).unbind()[1],
        "detached": lambda: (leaf * 2).detach(),
        "across": lambda: (leaf * 2).view(6, 4).t(),
    }[name]()


def described(tensor):
    base = tensor._base
    return (
        tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.tolist(),
        base is not None and base.shape, tensor._view_version, tensor._view_kind,
        str(tensor._requires_grad), tensor.requires_grad, tensor.is_leaf,
        tensor.grad_fn and (tensor.grad_fn.name(), tensor.grad_fn.output_shape),
        tensor.output_nr, tensor._array.flags.num,
    )


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("of", ["plain", "integers", "leaf", "parameter", "result", "view",
                                "view of a result", "view of several", "detached", "across"])
def test_the_same_views(of, grad):
    for call in VIEWS.values():
        tensor = source(of)

        def run(tensor=tensor, call=call):
            with torch.set_grad_enabled(grad):
                try:
                    found = call(tensor)
                except (RuntimeError, IndexError) as error:
                    return type(error), str(error)
            views = found if isinstance(found, tuple) else (found,)
            for view in views:
                assert view.untyped_storage() is tensor.untyped_storage()
                assert view._base is None or view._base is (
                    tensor if tensor._base is None else tensor._base)
            return type(found), [described(view) for view in views]

        first = run()
        assert learnt(run) == first


@pytest.mark.parametrize("name", [n for n in VIEWS if "wrong" not in n and n not in (
    "detach", "nothing", "view of a dtype")])
def test_the_same_gradients(name):
    def run():
        x = source("leaf")
        found = VIEWS[name](x * 2)
        total = sum((view ** 3).sum() for view in found) if isinstance(found, tuple) else (
            found ** 3).sum()
        (first,) = torch.autograd.grad(total, x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        return first.tolist(), second.tolist()

    first = run()
    assert learnt(run) == first


@pytest.mark.parametrize("name", ["view", "transpose", "expand", "detach", "unsqueeze", "unbind",
                                  "split", "a slice", "an int"])
def test_machine_code_makes_them(name, monkeypatch):
    x = source("leaf")
    learnt(VIEWS[name], x)

    def refuse(*args):
        raise AssertionError("left to Python")

    for place in ("dispatch.execute", "dispatch.shortcuts", "ops.subscript"):
        monkeypatch.setattr(f"iskra.{place}.as_view", refuse)
    monkeypatch.setattr("iskra.dispatch.shortcuts.outside", refuse)
    VIEWS[name](x)


def test_writes_to_views():
    def run(write):
        x = torch.arange(6.0).requires_grad_()
        y = x * 2
        view = y.view(2, 3)
        other = y.view(3, 2)
        write(view)
        (y * torch.arange(6.0)).sum().backward()
        return y.tolist(), other.tolist(), x.grad.tolist(), y._version, other.grad_fn.name()

    for write in (lambda v: v.mul_(3), lambda v: v[0].fill_(1.0), lambda v: v.t().add_(1.0)):
        first = run(write)
        assert learnt(run, write) == first
    x = torch.arange(6.0).requires_grad_()
    for _ in range(20):
        with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
            x.view(2, 3).add_(1.0)
        with pytest.raises(RuntimeError, match="function that returns multiple views"):
            (x * 2).view(2, 3).unbind()[0].add_(1.0)
        with torch.no_grad():
            view = x.view(2, 3)
        with pytest.raises(RuntimeError, match="created in no_grad mode"):
            view.add_(1.0)
    plain = torch.zeros(2, 3)
    views = learnt(lambda: plain.view(-1))
    plain.mul_(torch.ones(2, 3, requires_grad=True))
    assert views.requires_grad and views.grad_fn.name() == "AsStridedBackward0"


def test_memory_that_is_read_only_stays_so():
    array = np.zeros((2, 3), np.float32)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.from_numpy(array)
    learnt(lambda: torch.zeros(2, 3).t())
    assert not x.t()._array.flags.writeable and torch.zeros(2, 3).t()._array.flags.writeable


def test_views_hold_the_memory_and_let_it_go():
    x = torch.arange(24.0).reshape(4, 6).clone().requires_grad_()
    names = ("view", "transpose", "unbind", "a slice", "detach", "expand")

    def step():
        for name in names:
            VIEWS[name](x)
            with torch.no_grad():
                VIEWS[name](x)

    learnt(step)
    held = [x, x._array, x._storage, x._edge]
    before = [sys.getrefcount(thing) for thing in held]
    learnt(step, calls=300)
    assert [sys.getrefcount(thing) for thing in held] == before
    gc.disable()
    try:
        node = weakref.ref(x.view(-1).grad_fn)
        assert node() is None
    finally:
        gc.enable()
    view = learnt(lambda: torch.arange(24.0).reshape(4, 6).clone()[1:].t())
    assert view.sum() == sum(range(6, 24))


def test_indices_of_ever_other_values():
    x = torch.arange(2000.0).reshape(1000, 2).requires_grad_()
    for _ in range(3):
        for n in range(0, 1000, 3):
            row = x[n]
            assert row.tolist() == [2.0 * n, 2.0 * n + 1] and row.grad_fn is not None
            assert x[n:n + 2, -1].tolist() == [2.0 * m + 1 for m in (n, n + 1) if m < 1000]
    assert x[: 2 ** 40, 1:].shape == (1000, 1)
    assert x[-2 ** 70:].shape == (1000, 2)


def test_subclasses_and_interception():
    class Sub(torch.Tensor):
        pass

    x = torch.ones(2, 3)
    learnt(lambda: x.t())
    assert x.as_subclass(Sub).t().__class__ is Sub
    assert x.to("meta").t().is_meta

    class Mode(torch.overrides.TorchFunctionMode):
        seen = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Mode():
        x.t(), x.unbind()
    assert Mode.seen == ["t", "unbind"]
    with torch.inference_mode():
        assert learnt(lambda: torch.ones(2, 3).t()).is_inference()
    assert OPERATORS["t"].quick.table is not None


def test_views_in_place_move_no_elements():
    x = torch.arange(9.0).view(3, 3)
    for _ in range(20):
        x.transpose(0, 1)
    memory = x.data_ptr()
    for turn in range(20):
        assert x.transpose_(0, 1) is x
        assert x.stride() == ((1, 3) if turn % 2 == 0 else (3, 1)) and x.data_ptr() == memory
        assert x[0].tolist() == ([0, 3, 6] if turn % 2 == 0 else [0, 1, 2])
