"""What is recorded of a call, and gradients that are one operator call."""

import itertools

import numpy as np
import pytest

import iskra as torch
from iskra.autograd import gradcheck, gradgradcheck
from iskra.nn import functional as F

float64 = torch.float64


def normal(*shape, seed=0, requires_grad=False):
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(values).requires_grad_(requires_grad)


SHAPES = [
    ((2, 3), (4, 3), (4,)), ((2, 2, 3), (4, 3), (4,)), ((3,), (4, 3), (4,)), ((2, 3), (3,), ()),
    ((3,), (3,), ()), ((0, 3), (4, 3), (4,)),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("wanted", list(itertools.product((False, True), repeat=3))[1:], ids=str)
def test_linear_has_its_gradients_together_and_apart(shapes, wanted):
    args = [normal(*s, seed=i, requires_grad=w)
            for i, (s, w) in enumerate(zip(shapes, wanted, strict=True))]
    assert gradcheck(F.linear, args)
    assert gradgradcheck(F.linear, args)


def test_linear_of_complex_numbers():
    args = [torch.complex(normal(*s), normal(*s, seed=1)).requires_grad_()
            for s in ((2, 3), (4, 3), (4,))]
    assert gradcheck(F.linear, args)
    assert gradgradcheck(F.linear, args)


CALLS = {
    "mul": lambda x, y: x * y,
    "mul by a number": lambda x, y: x * 3,
    "relu": lambda x, y: F.relu(x),
    "sum": lambda x, y: x.sum(),
    "sum along": lambda x, y: x.sum(1),
    "sum, dimensions kept": lambda x, y: x.sum((0, 1), keepdim=True),
    "mean": lambda x, y: x.mean(),
    "mean along": lambda x, y: x.mean(-1, keepdim=True),
    "mse_loss": lambda x, y: F.mse_loss(x, y),
    "mse_loss, summed": lambda x, y: F.mse_loss(x, y, reduction="sum"),
    "mse_loss, each": lambda x, y: F.mse_loss(x, y, reduction="none"),
    "linear": lambda x, y: F.linear(x, y, y[:, 0]),
}


@pytest.mark.parametrize("dtype", [torch.float32, float64, torch.bfloat16, torch.complex64],
                         ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_the_same_whether_recorded_or_not(name, dtype):
    if dtype is torch.complex64 and name in ("relu", "mse_loss"):
        pytest.skip("has no complex numbers, or no complex loss")
    x, y = (normal(3, 3, seed=i).to(dtype).requires_grad_() for i in range(2))
    result = CALLS[name](x, y)
    weight = normal(*result.shape, seed=2).to(dtype)
    for _ in range(2):  # the second time the bodies are known and run straight away
        plain = torch.autograd.grad(result, (x, y), weight, retain_graph=True, allow_unused=True)
        recorded = torch.autograd.grad(result, (x, y), weight, create_graph=True,
                                       allow_unused=True)
        for a, b in zip(plain, recorded, strict=True):
            assert (a is None) == (b is None)
            assert a is None or a.dtype is b.dtype and torch.equal(a, b)
            assert a is None or a.grad_fn is None


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_strided_operands(stride):
    x = normal(4, 6, requires_grad=True)
    y = normal(4, 6, seed=1)
    (x[:, ::stride].t() * y[:, ::stride].t()).sum().backward()
    expected = np.zeros((4, 6))
    expected[:, ::stride] = y.numpy()[:, ::stride]
    assert (x.grad.numpy() == expected).all()


@pytest.mark.parametrize("call, written", [
    (lambda x, w: x * w, 1), (lambda x, w: F.linear(x, w), 1), (lambda x, w: F.linear(x, w), 0),
    (lambda x, w: F.mse_loss(x, w), 1),
], ids=["mul", "weight of linear", "input of linear", "target of mse_loss"])
def test_saved_operands_must_not_be_written(call, written):
    args = normal(3, 3, requires_grad=True), normal(3, 3, seed=1, requires_grad=True)
    result = call(*args).sum()
    with torch.no_grad():
        args[written].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


def test_a_saved_result_must_not_be_written():
    y = F.relu(normal(3, requires_grad=True))
    loss = y.sum()
    with torch.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_weight_is_saved_only_for_the_gradient_of_an_input():
    weight, bias = normal(2, 3, requires_grad=True), normal(2, requires_grad=True)
    loss = F.linear(normal(4, 3), weight, bias).sum()
    with torch.no_grad():
        weight.add_(1)
    loss.backward()
    assert bias.grad.tolist() == [4.0, 4.0]


def test_a_gradient_that_nobody_holds_is_taken_over():
    x, seen = normal(3, requires_grad=True), []
    x.register_hook(lambda g: seen.append(g.data_ptr()))
    (x * normal(3, seed=1)).sum().backward()
    assert x.grad.data_ptr() == seen[0]


def test_a_gradient_that_somebody_holds_is_copied():
    x, kept = normal(3, requires_grad=True), []
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    x.grad.zero_()
    assert kept[0].tolist() == [2.0] * 3
    weight = torch.ones(3, dtype=float64)
    x.grad = None
    x.clone().backward(weight)
    x.grad.zero_()
    assert weight.tolist() == [1.0] * 3


def test_leaves_that_get_one_gradient_share_no_memory():
    x, y = normal(3, requires_grad=True), normal(3, seed=1, requires_grad=True)
    (x + y).sum().backward()
    x.grad.zero_()
    assert y.grad.tolist() == [1.0] * 3


def test_a_nan_lets_the_gradient_of_relu_through():
    x = torch.tensor([float("nan"), float("inf"), -0.0, 0.0, -1.0], requires_grad=True)
    F.relu(x).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("size", [0, 1, 7, 2048, 2049])
@pytest.mark.parametrize("dtype", [torch.float32, float64, torch.float16, torch.int32], ids=str)
def test_sums_of_everything(size, dtype):
    x = (torch.arange(size) % 5 - 1).to(dtype)
    expected = sum(i % 5 - 1 for i in range(size))
    for y in (x, x.flip(0), x.repeat_interleave(2)[::2], x.reshape(size, 1)):
        assert y.sum().item() == expected
        assert y.sum().shape == ()
    if dtype.is_floating_point and size:
        assert abs(x.mean().item() - expected / size) < 1e-3


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_sums_of_what_is_not_finite(value):
    x = torch.tensor([[1.0, float(value)], [2.0, 3.0]])
    assert str(x.sum().item()) == value
    assert str(x.mean().item()) == value
    mixed = torch.tensor([float("inf"), -float("inf")])
    assert mixed.sum().isnan()


def test_results_without_dimensions_are_tensors_on_arrays():
    x = torch.tensor(2.0, requires_grad=True)
    y = (x * 3 + 1).exp()
    assert isinstance(y._array, np.ndarray) and y.shape == ()
    y.backward()
    assert x.grad.shape == () and x.grad.item() == pytest.approx(3 * np.exp(7.0), rel=1e-6)


def test_hooks_and_notes_of_nodes():
    x = normal(3, requires_grad=True)
    y = x * 2
    node = y.grad_fn
    assert node.metadata == {}
    node.metadata["note"] = 1
    assert y.grad_fn.metadata == {"note": 1}
    seen = []
    node.register_hook(lambda into, out: seen.append((len(into), len(out))))
    node.register_prehook(lambda out: (out[0] * 2,))
    y.sum().backward()
    assert seen == [(2, 1)] or seen == [(1, 1)]
    assert x.grad.tolist() == [4.0] * 3


def test_what_a_node_saved_can_be_seen():
    x, y = normal(3, requires_grad=True), normal(3, seed=1, requires_grad=True)
    node = (x * y).grad_fn
    assert node._saved_other is y and node._saved_input is x
    with pytest.raises(AttributeError):
        print(node._saved_nothing)
