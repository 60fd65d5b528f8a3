"""What may take calls over: interceptors, modes, subclasses and duck-typed classes."""

import collections
import time

import pytest

import iskra as torch
from iskra import overrides
from iskra.core.local import active, local
from iskra.dispatch import Interceptor
from iskra.nn import functional as F


class Recorder(Interceptor):
    """Records names and times of the operators that run inside it."""

    def __init__(self):
        self.names = []
        self.times = collections.Counter()

    def intercept(self, op, args, kwargs):
        self.names.append(op.name)
        begin = time.perf_counter()
        result = super().intercept(op, args, kwargs)
        self.times[op.name] += time.perf_counter() - begin
        return result


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    assert local.interceptors == () and active.intercepting == 0


def test_an_interceptor_sees_every_form_of_call():
    x = torch.ones(2, 2)
    with Recorder() as seen:
        y = x + 1
        y.mul_(2)
        torch.exp(x, out=y)
        y[0] = 3
        y[0]
        F.relu(y, inplace=True)
        x.sum(0)
        x.view(4)
        torch.zeros(2)
    assert seen.names[:3] == ["add", "mul_", "exp"]
    assert seen.names[-4:] == ["relu", "sum", "view", "zeros"]
    assert y.tolist() == [[3, 3], [torch.tensor(1.0).exp()] * 2]
    assert set(seen.times) == set(seen.names) and all(t >= 0 for t in seen.times.values())
    count = len(seen.names)
    x.exp()
    assert len(seen.names) == count


def test_what_is_recorded_for_backward_stays_so():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with Recorder():
        y = (x * x).sum()
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_interceptors_nest_innermost_first():
    order = []

    class Named(Interceptor):
        def __init__(self, name):
            self.name = name

        def intercept(self, op, args, kwargs):
            order.append(self.name)
            return super().intercept(op, args, kwargs)

    with Named("outer"), Named("inner"):
        torch.ones(1)
    assert order == ["inner", "outer"]


def test_an_error_leaves_the_stack_as_it_was():
    with Recorder() as outer:
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            torch.ones(2, 3) @ torch.ones(2, 3)
        assert local.interceptors == (outer,)


def test_an_interceptor_may_answer_itself():
    class Constant(Interceptor):
        def intercept(self, op, args, kwargs):
            return 42

    x = torch.ones(1)
    with Constant():
        assert x.exp() == x + x == x.add_(1) == torch.zeros(3) == 42
    assert x.tolist() == [1.0]


class Logging(torch.Tensor):
    log = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        Logging.log.append((func, types))
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_subclass_sees_calls_and_its_results_are_of_it():
    Logging.log.clear()
    x = torch.ones(2).as_subclass(Logging)
    Logging.log.clear()
    y = torch.add(torch.ones(2), x)
    z = y.exp_()
    assert type(y) is Logging and z is y
    assert [f for f, _ in Logging.log] == [torch.add, torch.exp_]
    assert Logging.log[0][1] == (Logging,)
    assert type(torch.stack([torch.ones(2), x])) is Logging


def test_the_most_derived_class_comes_first():
    order = []

    class Base(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            order.append(cls.__name__)
            return NotImplemented

    class Derived(Base):
        pass

    base, derived = torch.ones(1).as_subclass(Base), torch.ones(1).as_subclass(Derived)
    order.clear()
    with pytest.raises(TypeError, match="no implementation found for 'iskra.add'"):
        torch.add(base, derived)
    assert order == ["Derived", "Base"]


class Diagonal:
    """Not a tensor: a diagonal matrix that knows a few functions."""

    def __init__(self, size, value):
        self.size, self.value = size, value

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.trace:
            return args[0].size * args[0].value
        if func is torch.matmul:
            first, other = *args, *kwargs.values()
            return torch.matmul(first, other.value * torch.eye(other.size))
        return NotImplemented


def test_a_duck_typed_class_takes_part():
    d = Diagonal(3, 2.0)
    assert torch.trace(d) == 6.0
    assert torch.matmul(torch.ones(1, 3), d).tolist() == [[2.0, 2.0, 2.0]]
    assert torch.matmul(torch.ones(1, 3), other=d).tolist() == [[2.0, 2.0, 2.0]]
    with pytest.raises(TypeError, match="Diagonal"):
        torch.exp(d)


class Counting(overrides.TorchFunctionMode):
    def __init__(self):
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append((func, types))
        return func(*args, **(kwargs or {}))


def test_a_mode_comes_before_classes_and_is_off_inside_itself():
    Logging.log.clear()
    x = torch.ones(2).as_subclass(Logging)
    Logging.log.clear()
    with Counting() as mode:
        y = x.exp()
        torch.ones(2)
    assert type(y) is Logging
    assert mode.seen == [(torch.exp, (Logging,)), (torch.ones, ())]
    assert [f for f, _ in Logging.log] == [torch.exp]


def test_questions():
    x, sub = torch.ones(1), torch.ones(1).as_subclass(Logging)
    assert overrides.is_tensor_like(x) and overrides.is_tensor_like(Diagonal(1, 1))
    assert not overrides.is_tensor_like(3)
    assert not overrides.has_torch_function((x, 3, None))
    assert overrides.has_torch_function((x, sub)) and overrides.has_torch_function([Diagonal(1, 1)])
    assert overrides.resolve_name(torch.exp) == "iskra.exp"
    assert overrides.resolve_name(torch.linalg.inv) == "iskra.linalg.inv"
    assert overrides.resolve_name(lambda: None) is None
    assert torch.zeros in overrides.get_ignored_functions()
    assert torch.exp not in overrides.get_ignored_functions()


def test_a_librarys_own_function_can_be_overridden():
    def twice(x):
        if overrides.has_torch_function((x,)):
            return overrides.handle_torch_function(twice, (x,), x)
        return x * 2

    class Quadruple:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return (func, types, args) if func is twice else NotImplemented

    q = Quadruple()
    assert twice(3) == 6
    assert twice(q) == (twice, (Quadruple,), (q,))
    with Counting() as mode:
        assert twice(3) == 6
    assert mode.seen[0] == (twice, ())

    @overrides.wrap_torch_function(lambda x: (x,))
    def twice(x):
        return x * 2

    assert twice(3) == 6 and twice(q)[0] is twice
    with pytest.raises(TypeError, match="twice"):
        overrides.handle_torch_function(twice, (Diagonal(1, 1),), Diagonal(1, 1))
