"""Calls whose operands come first, on their short path and where they must leave it."""

import numpy as np
import pytest

import iskra as torch
from iskra.nn import functional as F
from iskra.tensor.meta import MetaArray


def ones(*shape, dtype=torch.float32, requires_grad=False):
    return torch.ones(shape, dtype=dtype, requires_grad=requires_grad)


@pytest.fixture(autouse=True)
def known():
    """The dtypes that the short paths take are noted by the first call."""
    F.linear(ones(2, 3), ones(4, 3), ones(4))
    F.mse_loss(ones(2), ones(2))


def test_operands_may_be_left_out_or_named():
    x, weight, bias = ones(2, 3), ones(4, 3), ones(4)
    expected = [[4.0] * 4] * 2
    assert F.linear(x, weight, bias).tolist() == expected
    assert F.linear(x, weight, bias=bias).tolist() == expected
    assert F.linear(input=x, weight=weight, bias=bias).tolist() == expected
    assert F.linear(x, weight).tolist() == F.linear(x, weight, None).tolist() == [[3.0] * 4] * 2


@pytest.mark.parametrize("call, error, message", [
    (lambda: F.linear(ones(2, 3), ones(4, 3), 3), TypeError, "bias.*must be Tensor, not int"),
    (lambda: F.linear(ones(2, 3), ones(4, 3).double()), RuntimeError, "same dtype"),
    (lambda: F.linear(ones(2, 3), ones(4, 2)), RuntimeError, "cannot be multiplied"),
    (lambda: F.linear(ones(2, 3)), TypeError, "missing 1 required.*weight"),
    (lambda: F.linear(ones(2, 3), ones(4, 3), ones(4), 5), TypeError, "4 were given"),
    (lambda: F.mse_loss(ones(2), ones(2), reduction="best"), ValueError, "not a valid value"),
    (lambda: F.mse_loss(ones(2), ones(2), mean=True), TypeError, "unexpected keyword.*mean"),
    (lambda: F.mse_loss(ones(2), ones(3)), RuntimeError, "must match the size of tensor"),
])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_errors_name_what_was_seen(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_settings_by_name_reach_the_gradient():
    for reduction, share in (("mean", 0.5), ("sum", 1.0)):
        x = ones(2, requires_grad=True)
        F.mse_loss(x, torch.tensor([0.0, 3.0]), reduction=reduction).backward()
        assert x.grad.tolist() == [2 * share, -4 * share]


def test_a_target_and_a_weight_get_gradients_too():
    x, y, weight = (ones(3, requires_grad=True) for _ in range(3))
    F.mse_loss(x, y * 3, reduction="sum", weight=weight).backward()
    assert x.grad.tolist() == [-4.0] * 3
    assert y.grad.tolist() == [12.0] * 3
    assert weight.grad.tolist() == [4.0] * 3


def test_other_arrays_and_dtypes_leave_the_short_path():
    x = torch.empty(2, 3, device="meta")
    result = F.linear(x, torch.empty(4, 3, device="meta"))
    assert result._array.__class__ is MetaArray and result.shape == (2, 4)
    assert F.linear(ones(2, 3).bfloat16(), ones(4, 3).bfloat16()).dtype is torch.bfloat16
    assert F.linear(ones(2, 3, dtype=torch.int64), ones(4, 3, dtype=torch.int64)).tolist() == (
        [[3] * 4] * 2
    )


def test_operands_with_gaps():
    x = torch.from_numpy(np.arange(24.0).reshape(4, 6))[::2, 1::2]
    weight = torch.from_numpy(np.arange(12.0).reshape(3, 4)).t()
    expected = x.numpy() @ weight.numpy().T
    assert F.linear(x, weight).tolist() == expected.tolist()


def test_nothing_is_recorded_without_gradients():
    weight = ones(4, 3, requires_grad=True)
    with torch.no_grad():
        assert not F.linear(ones(2, 3), weight).requires_grad
    assert F.linear(ones(2, 3), weight).grad_fn.name() == "MmBackward0"
    assert F.linear(ones(2, 3), weight, ones(4)).grad_fn.name() == "AddmmBackward0"


@pytest.mark.parametrize("place", [
    np.s_[1:5, ::2], np.s_[::3], np.s_[..., 1::4], np.s_[None, 2, ::2], np.s_[6:2:1, :],
], ids=str)
def test_strided_slices_are_views_with_gradients(place):
    values = np.arange(64.0).reshape(8, 8)
    x = torch.from_numpy(values.copy()).requires_grad_()
    part = x[place]
    assert part._base is x and part.tolist() == values[place].tolist()
    part.sum().backward()
    expected = np.zeros((8, 8))
    expected[place] = 1
    assert (x.grad.numpy() == expected).all()


@pytest.mark.parametrize("step", [0, -1, 2.0])
def test_slices_step_forward_only(step):
    with pytest.raises((ValueError, TypeError)):
        ones(4)[::step]
