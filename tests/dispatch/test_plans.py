"""The short path's plans hold for calls with default settings only."""

import pytest

import iskra as torch
from iskra.dispatch import OPERATORS


@pytest.fixture
def div():
    """`iskra.div` as in a fresh process, in which no plan is known yet."""
    op = OPERATORS["div"]
    kept = dict(op.plans)
    op.plans.clear()
    yield op.public
    op.plans.clear()
    op.plans.update(kept)


def test_a_call_with_settings_leaves_no_plan_for_calls_without(div):
    a = torch.tensor([5, 7])
    assert div(a, a, rounding_mode="floor").dtype is torch.int64
    for _ in range(2):
        quotient = div(a, a)
        assert quotient.dtype is torch.float32
        assert quotient.numpy().dtype == "float32"


def test_an_in_place_call_with_settings_leaves_none_either(div):
    a = torch.tensor([5, 7])
    torch.Tensor.div_(a, a, rounding_mode="trunc")
    assert div(a, a).numpy().dtype == "float32"


def test_plain_calls_are_remembered(div):
    a = torch.tensor([5.0])
    div(a, a)
    assert torch.float32 in OPERATORS["div"].plans


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("call", [
    lambda a, b: a + b, torch.nn.functional.mse_loss, torch.nn.functional.l1_loss, torch.lerp,
])
def test_shapes_that_do_not_broadcast_are_named_alike(call):
    operands = (torch.ones(2), torch.ones(3))
    operands += (torch.ones(2),) if call is torch.lerp else ()
    with pytest.raises(RuntimeError, match=r"size of tensor a \(2\) must match .* b \(3\)"):
        call(*operands)


@pytest.mark.parametrize("call, message", [
    (lambda: torch.chunk("x", 2), r"chunk\(\): argument 'input' .* must be Tensor, not str"),
    (lambda: torch.median(None), r"median\(\): argument 'input' .* not NoneType"),
    (lambda: torch.nn.functional.interpolate([1.0], 2), r"interpolate\(\): .* not list"),
    (lambda: torch.nn.functional.embedding(torch.tensor([0]), 5), r"argument 'weight' .* not int"),
    (lambda: torch.nn.functional.upsample(input=3, size=2), "argument 'input' .* not int"),
    (lambda: torch.hstack([torch.ones(1), 3]), "expected Tensor as element"),
])
def test_what_is_no_tensor_is_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_other_missing_attributes_are_the_users_own():
    with pytest.raises(AttributeError, match="'float' object has no attribute 'missing'"):
        torch.ones(1).apply_(lambda x: x.missing)
