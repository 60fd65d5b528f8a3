"""iskra.masked: what is masked out does as if it were not there."""

import math

import numpy as np
import pytest

import iskra as torch
from iskra import masked

X = [[1.0, 9.0, 3.0], [2.0, 4.0, 6.0]]
MASK = [[True, False, True], [False, False, False]]


def given(dtype=torch.float32):
    return torch.tensor(X, dtype=dtype), torch.tensor(MASK)


@pytest.mark.parametrize("name, arguments, values", [
    ("sum", (1,), [4, 0]), ("prod", (1,), [3, 1]), ("mean", (1,), [2, math.nan]),
    ("amax", (1,), [3, -math.inf]), ("amin", (1,), [1, math.inf]), ("argmax", (1,), [2, 0]),
    ("argmin", (1,), [0, 0]), ("median", (1,), [1, math.nan]),
    ("logsumexp", (1,), [math.log(math.e + math.e**3), -math.inf]),
    ("norm", (2.0, 1), [math.sqrt(10), 0]), ("norm", (math.inf, 1), [3, 0]),
    ("norm", (-math.inf, 1), [1, math.inf]), ("var", (1,), [2, math.nan]),
    ("std", (1, False), [1, math.nan]),
])
def test_reductions_by_hand(name, arguments, values):
    x, mask = given()
    found = getattr(masked, name)(x, *arguments, mask=mask)
    np.testing.assert_allclose(found.numpy(), values, rtol=1e-6)
    kept = getattr(masked, name)(x, *arguments, mask=mask, keepdim=True)
    assert kept.shape == (2, 1)
    np.testing.assert_allclose(kept.squeeze(1).numpy(), values, rtol=1e-6)


@pytest.mark.parametrize("name, arguments, values", [
    ("cumsum", (1,), [[1, 1, 4], [0, 0, 0]]), ("cumprod", (1,), [[1, 1, 3], [1, 1, 1]]),
    ("softmax", (0,), [[1, math.nan, 1], [0, math.nan, 0]]),
    ("log_softmax", (0,), [[0, math.nan, 0], [-math.inf, math.nan, -math.inf]]),
    ("softmin", (0,), [[1, math.nan, 1], [0, math.nan, 0]]),
    ("normalize", (1.0, 1), [[0.25, 0, 0.75], [0, 0, 0]]),
])
def test_normalisations_by_hand(name, arguments, values):
    x, mask = given()
    found = getattr(masked, name)(x, *arguments, mask=mask)
    np.testing.assert_allclose(found.numpy(), values, rtol=1e-6)


@pytest.mark.parametrize("name", [n for n in masked.__all__ if n != "logaddexp"])
def test_without_a_mask_they_are_the_plain_functions(name):
    x, _ = given()
    arguments = {"norm": (2.0, 1), "normalize": (2.0, 1)}.get(name, (1,))
    everything = getattr(masked, name)(x, *arguments, mask=torch.ones(2, 3, dtype=torch.bool))
    np.testing.assert_allclose(
        getattr(masked, name)(x, *arguments).numpy(), everything.numpy(), rtol=1e-6
    )


def test_everything_is_reduced_without_dim():
    x, mask = given()
    assert masked.sum(x, mask=mask).item() == 4 and masked.prod(x, mask=mask).item() == 3
    assert masked.mean(x, dim=(0, 1), mask=mask).item() == 2
    assert masked.amax(x, mask=mask).item() == 3 and masked.amin(x, (), mask=mask).item() == 1
    assert masked.argmax(x, mask=mask).item() == 2


def test_masks_broadcast():
    x, _ = given()
    columns = torch.tensor([True, False, True])
    assert masked.sum(x, 1, mask=columns).tolist() == [4, 8]
    assert masked.mean(x, 0, mask=torch.tensor([[1], [0]])).tolist() == [1, 9, 3]


def test_dtypes():
    x, mask = given(torch.int32)
    assert masked.sum(x, 1, mask=mask).dtype is torch.int64
    assert masked.sum(x, 1, mask=mask, dtype=torch.int32).dtype is torch.int32
    assert masked.cumsum(x, 1, mask=mask).dtype is torch.int32
    assert masked.amax(x, 1, mask=mask).tolist() == [3, torch.iinfo(torch.int32).min]
    assert masked.mean(x, 1, mask=mask, dtype=torch.float64).dtype is torch.float64
    assert masked.median(x[:1], 1, mask=mask[:1]).tolist() == [1]
    assert masked.var(x, 1, mask=mask).dtype is torch.float32


def test_logaddexp_has_a_mask_for_each_operand():
    a, b = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 5.0, 6.0])
    found = masked.logaddexp(
        a, b, input_mask=torch.tensor([True, True, False]),
        other_mask=torch.tensor([True, False, False]),
    )
    np.testing.assert_allclose(found.numpy(), [math.log(2), 1, -math.inf], rtol=1e-6)


def test_gradients_pass_by_what_is_masked_out():
    x, mask = given(torch.float64)
    x.requires_grad_()
    masked.mean(x, mask=mask).backward()
    assert x.grad.tolist() == [[0.5, 0, 0.5], [0, 0, 0]]
    x.grad = None
    (masked.softmax(x, 1, mask=torch.tensor([True, False, True]))[:, 0]).sum().backward()
    assert (x.grad[:, 1] == 0).all() and (x.grad[:, 0] > 0).all()


@pytest.mark.parametrize("call, error, message", [
    (lambda x, m: masked.mean(x.int(), mask=m), ValueError, "floating point or complex"),
    (lambda x, m: masked.sum(x, mask=m.expand(2, 2, 3)), IndexError, "more than the input's 2"),
    (lambda x, m: masked.sum(x, 2, mask=m), IndexError, "out of range"),
    (lambda x, m: masked.sum(x, (0, 0), mask=m), RuntimeError, "multiple times"),
    (lambda x, m: masked.median(x.int(), 1, mask=m), ValueError, "fully masked out"),
    (lambda x, m: masked.amax(x > 2, mask=m), NotImplementedError, "amax"),
    (lambda x, m: masked.var(x, 1, True, correction=1, mask=m), ValueError, "only one"),
    (lambda x, m: masked.sum(x, mask=torch.ones(2)), RuntimeError, "."),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(*given())
