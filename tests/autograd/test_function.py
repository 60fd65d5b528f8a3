"""Custom Functions, checkpointing, functional derivatives and gradcheck itself."""

import pytest

import iskra as torch
from iskra.autograd import Function, gradcheck, gradgradcheck, once_differentiable
from iskra.utils.checkpoint import checkpoint, checkpoint_sequential


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.shape = x.shape  # a user's own attribute
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert ctx.shape == x.shape
        return 3 * x ** 2 * g


def test_custom_function():
    x = leaf(1.0, 2.0)
    y = Cube.apply(x)
    assert repr(y).endswith("grad_fn=<CubeBackward>)")
    assert gradcheck(Cube.apply, (x,)) and gradgradcheck(Cube.apply, (x,))
    with pytest.raises(RuntimeError, match="should not be instantiated"):
        Cube()


def test_setup_context_and_needs_input_grad():
    seen = []

    class Scale(Function):
        @staticmethod
        def forward(x, factor):
            return x * factor

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.factor = inputs[1]

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g * ctx.factor, None

    x = leaf(1.0)
    Scale.apply(x, 4.0).sum().backward()
    assert x.grad.tolist() == [4] and seen == [(True, False)]


def test_wrong_number_of_gradients():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match=r"expected 2, got 1"):
        Wrong.apply(leaf(1.0), leaf(2.0)).sum().backward()


def test_several_outputs_and_missing_gradients():
    class Split(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return 2 * a + 3 * b

    x = leaf(1.0)
    first, second = Split.apply(x)
    second.sum().backward()
    assert x.grad.tolist() == [3] and first.requires_grad


def test_non_differentiable_outputs():
    class WithIndex(Function):
        @staticmethod
        def forward(ctx, x):
            best = x * 0
            ctx.mark_non_differentiable(best)
            return x * 1, best

        @staticmethod
        def backward(ctx, g, _):
            return g

    y, best = WithIndex.apply(leaf(1.0))
    assert y.requires_grad and not best.requires_grad


def test_mark_dirty():
    class AddOne(Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    x = leaf(1.0)
    y = x * 2
    z = AddOne.apply(y)
    assert z is y and z.grad_fn.name() == "AddOneBackward"
    z.sum().backward()
    assert x.grad.tolist() == [10]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        AddOne.apply(x)


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return g * 2

    x, weight = leaf(1.0), leaf(1.0)
    (first,) = torch.autograd.grad((Once.apply(x) * weight).sum(), x, create_graph=True)
    assert first.tolist() == [2]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_saved_tensors_are_checked_and_freed():
    x = leaf(1.0)
    h = x * 1
    y = Cube.apply(h)
    h.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()
    y = Cube.apply(x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    with pytest.raises(TypeError, match="can only save variables"):
        Cube._node_class().save_for_backward(3)


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, (leaf(1.0),))
    assert gradcheck(Wrong.apply, (leaf(1.0),), raise_exception=False) is False
    with pytest.raises(ValueError, match="require"):
        gradcheck(Wrong.apply, (torch.ones(1),))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant):
    calls = []

    def block(x):
        calls.append(1)
        return torch.nn.functional.dropout(x.exp() * x, 0.5).tanh()

    x = leaf(*[0.3] * 50)
    torch.manual_seed(0)
    y = checkpoint(block, x, use_reentrant=reentrant)
    y.sum().backward()
    found = x.grad.clone()
    assert len(calls) == 2
    x.grad = None
    torch.manual_seed(0)
    block(x).sum().backward()
    assert torch.equal(found, x.grad)


def test_checkpoint_sequential():
    layers = torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(4)])
    x = torch.ones(2, 3, requires_grad=True)
    found = checkpoint_sequential(layers, 2, x, use_reentrant=False)
    assert torch.equal(found, layers(x))
    found.sum().backward()
    assert all(p.grad is not None for p in layers.parameters())


def test_functional_derivatives():
    functional = torch.autograd.functional
    x, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0])
    cube = lambda x: (x ** 3).sum()
    assert functional.jacobian(lambda x: x ** 2, x).tolist() == [[2, 0], [0, 4]]
    assert functional.hessian(cube, x).tolist() == [[6, 0], [0, 12]]
    assert functional.vjp(lambda x: x ** 2, x, v)[1].tolist() == [2, 40]
    assert functional.jvp(lambda x: x ** 2, x, v)[1].tolist() == [2, 40]
    assert functional.hvp(cube, x, v)[1].tolist() == [6, 120]
    assert functional.vhp(cube, x, v)[1].tolist() == [6, 120]
    nested = functional.jacobian(lambda a, b: (a * b, a), (x, v))
    assert nested[0][1].tolist() == [[1, 0], [0, 2]] and nested[1][1].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(RuntimeError, match="strict"):
        functional.jacobian(lambda a, b: a, (x, v), strict=True)


def test_old_variables_are_tensors_on_the_same_memory():
    x = torch.ones(2, requires_grad=True) * 2
    y = torch.autograd.Variable(x)
    assert type(y) is torch.Tensor and y.is_leaf and not y.requires_grad
    assert y.data_ptr() == x.data_ptr() and isinstance(y, torch.autograd.variable.Variable)
    assert not isinstance(2, torch.autograd.Variable)
    assert torch.autograd.Variable().shape == (0,)
    with pytest.warns(UserWarning, match="volatile was removed"):
        torch.autograd.Variable(x, volatile=True)
    with pytest.raises(TypeError, match="has to be a tensor, but got list"):
        torch.autograd.Variable([1.0])


def test_names_of_custom_nodes():
    y = Cube.apply(leaf(1.0))
    assert repr(y.grad_fn).startswith("<iskra.autograd.function.CubeBackward object at 0x")
    z = checkpoint(torch.sin, leaf(1.0), use_reentrant=True)
    assert z.grad_fn.name() == "CheckpointFunctionBackward"


def test_unused_inputs_are_named_by_their_place():
    x, unused = leaf(1.0), leaf(2.0)
    with pytest.raises(RuntimeError, match="Tensor at index 1 appears to not have been used"):
        torch.autograd.grad(x.sum(), [x, unused])
