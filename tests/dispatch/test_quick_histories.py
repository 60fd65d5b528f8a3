"""Writes in place that machine code records."""

import sys

import pytest

import iskra as torch
from iskra.dispatch.operator import OPERATORS

functional = torch.nn.functional
pytestmark = pytest.mark.usefixtures("untaught")

# Of an intermediate result, a constant, and a leaf.
WRITES = {
    "add": lambda y, b, x: y.add_(b),
    "add with a factor": lambda y, b, x: y.add_(b, alpha=0.5),
    "add a leaf": lambda y, b, x: y.add_(x),
    "add a leaf to a constant": lambda y, b, x: b.clone().add_(x),
    "add itself": lambda y, b, x: y.add_(y),
    "iadd": lambda y, b, x: y.__iadd__(b[0]),
    "mul": lambda y, b, x: y.mul_(b),
    "mul by a leaf": lambda y, b, x: y.mul_(x),
    "mul by a number": lambda y, b, x: y.mul_(1.5),
    "mul of a constant by a leaf": lambda y, b, x: b.clone().mul_(x),
    "div": lambda y, b, x: y.div_(b * b + 1),
    "pow": lambda y, b, x: y.pow_(3),
    "relu": lambda y, b, x: y.relu_(),
    "relu by a setting": lambda y, b, x: functional.relu(y, inplace=True),
    "leaky_relu": lambda y, b, x: functional.leaky_relu(y, 0.2, inplace=True),
    "exp": lambda y, b, x: y.exp_(),
    "sin": lambda y, b, x: y.sin_(),
    "tanh": lambda y, b, x: y.tanh_(),
    "clamp": lambda y, b, x: y.clamp_(-0.5, 0.25),
    "addcmul": lambda y, b, x: y.addcmul_(x, b, value=0.5),
    "lerp": lambda y, b, x: y.lerp_(b, 0.25),
    "copy": lambda y, b, x: b.clone().copy_(x),
    "copy over": lambda y, b, x: y.copy_(b),
    "fill": lambda y, b, x: y.fill_(2.0),
    "zero": lambda y, b, x: y.zero_(),
    "masked_fill": lambda y, b, x: y.masked_fill_(b > 0, -1.0),
    "twice": lambda y, b, x: y.mul_(b).sin_().add_(x),
    "to a view": lambda y, b, x: y[1].add_(b[0]),
    "to another": lambda y, b, x: y.t().mul_(b),
}


def times(call, *args, calls=20):
    for _ in range(calls):
        result = call(*args)
    return result


def chain(node):
    """The names of a graph's nodes."""
    if node is None:
        return None
    return node.name(), [chain(edge[0]) for edge in node.next_functions]


def constants():
    torch.manual_seed(0)
    return torch.randn(4, 4), torch.randn(4, 4)


@pytest.mark.parametrize("name", WRITES)
def test_the_same_graph_and_gradients_when_they_are_learnt(name):
    values, other = constants()

    def run():
        x = values.clone().requires_grad_()
        y = x * 2
        written = WRITES[name](y, other, x)
        loss = (written * written).sum()
        graph, version = chain(loss.grad_fn), written._version
        (first,) = torch.autograd.grad(loss, x, create_graph=True, allow_unused=True)
        second = None
        if first is not None and first.requires_grad:
            (second,) = torch.autograd.grad(first.sum(), x, allow_unused=True)
        found = [written.detach().clone(), first, second]
        return graph, version, [None if t is None else t.tolist() for t in found]

    first = run()
    assert times(run) == first


@pytest.mark.parametrize("name", ["add", "mul by a leaf", "relu", "relu by a setting", "clamp",
                                  "copy", "fill", "masked_fill"])
def test_machine_code_records(name, monkeypatch):
    values, other = constants()
    x = values.requires_grad_()
    times(lambda: WRITES[name](x * 2, other, x))
    operator = OPERATORS[name.split()[0]]

    def refuse(*args, **kwargs):
        raise AssertionError("left to Python")

    monkeypatch.setattr("iskra.dispatch.variants.write_result", refuse)
    assert WRITES[name](x * 2, other, x).grad_fn.operator is operator


def test_other_arguments_that_want_a_gradient_are_another_recording():
    values, other = constants()
    x = values.requires_grad_()
    times(lambda: (x * 2).mul_(other))
    for target, factor, leaves in [(x * 2, x, 2), (other.clone(), x, 1), (x * 2, other, 1)]:
        node = times(lambda t=target, f=factor: (t * 1).mul_(f)).grad_fn
        assert sum(edge[0] is not None for edge in node.next_functions) == leaves


def test_an_overwritten_value_that_a_formula_needs_is_noticed():
    x = torch.ones(3, requires_grad=True)

    def saved_before():
        y = x * 2
        z = y * y
        y.add_(torch.ones(3))
        z.sum().backward()

    def saved_by_the_write():
        y = (x * 2).exp_()
        y.add_(torch.ones(3))
        y.sum().backward()

    def saved_by_itself():
        y = x * 2
        y.mul_(y)
        y.sum().backward()

    for run in (saved_before, saved_by_the_write, saved_by_itself):
        messages = []
        for _ in range(20):
            with pytest.raises(RuntimeError, match="modified by an inplace operation") as error:
                run()
            messages.append(str(error.value))
        assert len(set(messages)) == 1
    y = (x * 2).exp_()
    y.sum().backward()
    assert torch.equal(x.grad, 2 * y.detach())


def test_what_python_refuses_is_refused():
    one, leaf = torch.ones(3), torch.ones(3, requires_grad=True)
    times(lambda: (leaf * 2).add_(one))
    for _ in range(3):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            leaf.add_(one)
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            leaf.add_(leaf)
        with pytest.raises(RuntimeError, match="output of a function that returns multiple views"):
            (torch.ones(2, 3) * leaf).unbind()[0].add_(one)
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            (leaf * 2)[:1].clone().add_(one)
    leaf.register_hook(lambda g: g)  # which gives it an edge
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.add_(one)
    assert leaf.tolist() == [1, 1, 1] and leaf._version == 0
    with torch.inference_mode():
        target = torch.zeros(3)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        target.add_(leaf)


def test_grad_modes():
    leaf, one = torch.ones(3, requires_grad=True), torch.ones(3)
    times(lambda: (leaf * 2).add_(one))
    y = leaf * 2
    node = y.grad_fn
    with torch.no_grad():
        assert times(lambda: y.add_(one)) is y
        with torch.enable_grad():
            z = (leaf * 2).add_(one)
    assert y.grad_fn is node and y._version == 20
    assert z.grad_fn.name() == "AddBackward0"
    z.sum().backward()
    assert leaf.grad.tolist() == [2, 2, 2]


def test_hooks_and_retained_gradients():
    leaf = torch.ones(3, requires_grad=True)

    def run():
        leaf.grad = None
        seen = []
        y = leaf * 2
        y.register_hook(lambda g: seen.append(("before", g.tolist())))
        y.mul_(3.0)
        y.register_hook(lambda g: seen.append(("after", g.tolist())))
        y.retain_grad()
        (y * 5).sum().backward()
        return seen, y.grad.tolist(), leaf.grad.tolist()

    first = run()
    assert times(run) == first
    assert first[0] == [("after", [5, 5, 5]), ("before", [15, 15, 15])]


def test_hooks_for_saved_tensors_and_anomaly_mode():
    x = torch.ones(3, requires_grad=True)

    def run():
        return (x * 2).mul_(x).exp_()

    times(run)
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: packed.append(t.tolist()) or t, lambda t: t):
        run().sum().backward()
    assert len(packed) >= 3
    with torch.autograd.set_detect_anomaly(True):
        assert run().grad_fn.metadata is not None


def test_subclasses_and_modes_see_the_call():
    class Loud(torch.Tensor):
        calls = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.calls.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

    x = torch.ones(3, requires_grad=True)
    times(lambda: functional.relu((x * 2).add_(x), inplace=True))
    loud = torch.ones(3).as_subclass(Loud)
    (x * 2).add_(loud)
    functional.relu(torch.ones(3).as_subclass(Loud), inplace=True)
    assert "add_" in Loud.calls and "relu" in Loud.calls

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            Loud.calls.append(func.__name__)
            return func(*args, **(kwargs or {}))

    Loud.calls.clear()
    y = x * 2
    with Mode():
        functional.relu(y, inplace=True)
    assert Loud.calls == ["relu"]


def test_nothing_is_left_behind():
    x, b = torch.ones(4, 4, requires_grad=True), torch.ones(4, 4)

    def step():
        y = (x * 2).add_(b).mul_(x).exp_()
        y.add_(x)
        b.clone().add_(x)

    times(step)
    held = [x, b, x._array, b._array, x._edge]
    before = [sys.getrefcount(thing) for thing in held]
    times(step, calls=300)
    assert [sys.getrefcount(thing) for thing in held] == before


@pytest.mark.parametrize("value", [0.0, -0.0, float("nan"), float("-inf"), 3, True, 1e30, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool", "bfloat16"])
def test_numbers_to_fill_with_are_settings(value, dtype):
    mask = torch.arange(16).reshape(4, 4) % 3 == 0

    def run():
        found = []
        for write in (lambda t: t.fill_(value), lambda t: t.masked_fill_(mask, value),
                      lambda t: t.masked_fill(mask, value)):
            try:
                found.append(write(torch.ones(4, 4, dtype=getattr(torch, dtype)))._array.tobytes())
            except RuntimeError as error:
                found.append(str(error))
        return found

    run()   # so that another number is known
    times(lambda: torch.ones(4, 4, dtype=getattr(torch, dtype)).fill_(0.0))
    first = run()
    assert times(run) == first
